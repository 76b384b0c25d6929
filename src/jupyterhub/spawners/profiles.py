"""``Spawner.profile_list``: kinds of servers that an administrator offers, and what choosing one means.

Here is what a list may hold, its form, how an answer to the form (or a link, or a request to the API) becomes
``user_options``, and which overrides follow from those. A spawner with an options form of its own, or a
``profile_list`` of its own, as KubeSpawner has, knows nothing of this.

``user_options`` of a choice are flat, so that links and programs can write them: ``{"profile": "gpu", "disk": "big"}``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from tornado.web import HTTPError

if TYPE_CHECKING:
    from jinja2 import Template

_PROFILE_KEYS = frozenset({"slug", "display_name", "description", "default", "spawner_override", "profile_options"})
_OPTION_KEYS = frozenset({"display_name", "description", "choices", "attribute", "default", "pattern", "message"})
_CHOICE_KEYS = frozenset({"display_name", "default", "spawner_override"})
#: the option of ``user_options`` that names the profile
PROFILE = "profile"


class WrongChoice(HTTPError):
    """400: the answer cannot be right. ``jupyterhub_fields`` says which field of the form, for the page."""

    def __init__(self, text: str, field_name: str = "") -> None:
        super().__init__(400, text)
        self.jupyterhub_message = text
        self.jupyterhub_fields = {field_name: text} if field_name else {}


@dataclass(frozen=True, kw_only=True)
class Choice:
    key: str
    title: str
    overrides: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Option:
    """One question of a profile: some choices, or a text that sets an attribute."""

    key: str
    title: str
    description: str = ""
    choices: Sequence[Choice] = ()
    #: of a text: the attribute that it sets; its value is read as on the command line
    attribute: str = ""
    #: key of the choice, or the text, that is there at first
    default: str = ""
    #: of a text: what it must match as a whole, and what is said if it does not
    pattern: str = ""
    message: str = ""

    def given(self, value: str, field_name: str) -> Iterator[tuple[str, Any, bool]]:
        """Give (attribute, value, whether it is text still) of each override; WrongChoice if the answer is none."""
        if self.attribute:
            if self.pattern and not re.fullmatch(self.pattern, value):
                raise WrongChoice(self.message or f"{self.title}: {value!r} is not possible.", field_name)
            yield self.attribute, value, True
            return
        for choice in self.choices:
            if choice.key == value:
                yield from ((name, override, False) for name, override in choice.overrides.items())
                return
        raise WrongChoice(f"{self.title}: there is no choice {value!r}.", field_name)


@dataclass(frozen=True, kw_only=True)
class Profile:
    slug: str
    title: str
    description: str = ""
    is_default: bool = False
    overrides: Mapping[str, Any] = field(default_factory=dict)
    options: Sequence[Option] = ()

    def field_of(self, option: Option) -> str:
        """Give the name of the form's field: the same option of two profiles has two of them."""
        return f"profile-option-{self.slug}--{option.key}"


def read(configured: Sequence[Mapping[str, Any]]) -> list[Profile]:
    """Read the setting. ValueError says what in it is wrong."""
    profiles = [_profile(entry, number) for number, entry in enumerate(configured, 1)]
    slugs = [profile.slug for profile in profiles]
    if len(set(slugs)) < len(slugs):
        raise ValueError("two profiles have the same slug")
    return profiles


def _profile(entry: Mapping[str, Any], number: int) -> Profile:
    where = f"profile {number}"
    _check_keys(entry, _PROFILE_KEYS, where)
    title = str(entry.get("display_name") or "")
    if not title:
        raise ValueError(f"{where} needs a display_name")
    slug = str(entry.get("slug") or "") or re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or f"profile-{number}"
    options = entry.get("profile_options") or {}
    return Profile(
        slug=slug,
        title=title,
        description=str(entry.get("description") or ""),
        is_default=bool(entry.get("default")),
        overrides=entry.get("spawner_override") or {},
        options=[_option(str(key), given, f"{where}, option {key!r}") for key, given in options.items()],
    )


def _option(key: str, entry: Mapping[str, Any], where: str) -> Option:
    _check_keys(entry, _OPTION_KEYS, where)
    if key == PROFILE:
        raise ValueError(f"{where}: this name is taken")
    if ("choices" in entry) == ("attribute" in entry):
        raise ValueError(f"{where} needs either choices or an attribute")
    choices, default = [], str(entry.get("default") or "")
    for name, given in (entry.get("choices") or {}).items():
        _check_keys(given, _CHOICE_KEYS, f"{where}, choice {name!r}")
        title = str(given.get("display_name") or name)
        choices.append(Choice(key=str(name), title=title, overrides=given.get("spawner_override") or {}))
        default = default or (str(name) if given.get("default") else "")
    return Option(
        key=key,
        title=str(entry.get("display_name") or key),
        description=str(entry.get("description") or ""),
        choices=choices,
        attribute=str(entry.get("attribute") or ""),
        default=default or (choices[0].key if choices else ""),
        pattern=str(entry.get("pattern") or ""),
        message=str(entry.get("message") or ""),
    )


def _check_keys(entry: Mapping[str, Any], known: frozenset[str], where: str) -> None:
    unknown = sorted(set(entry) - known)
    if unknown:
        raise ValueError(f"{where} has {', '.join(map(repr, unknown))}; there is {', '.join(sorted(known))}")


def chosen(profiles: Sequence[Profile], user_options: Mapping[str, Any]) -> Profile:
    """Give the profile that these options name, the default one if they name none; WrongChoice if there is no such."""
    slug = _text(user_options.get(PROFILE))
    for profile in profiles:
        if profile.slug == slug or (not slug and profile.is_default):
            return profile
    if slug:
        raise WrongChoice(f"There is no profile {slug!r}.", PROFILE)
    return profiles[0]


def options_from_form(profiles: Sequence[Profile], data: Mapping[str, Any]) -> dict[str, str]:
    """Turn a form, or the query of a link, into ``user_options``, all of which are checked."""
    profile = chosen(profiles, data)
    options = {PROFILE: profile.slug}
    for option in profile.options:
        value = data.get(profile.field_of(option), data.get(option.key))
        options[option.key] = option.default if value is None else _text(value)
    for _ in overrides(profiles, options):
        pass
    return options


def overrides(profiles: Sequence[Profile], user_options: Mapping[str, Any]) -> Iterator[tuple[str, Any, bool]]:
    """Give (attribute, value, whether it is text still) of all that follows from a choice, in order."""
    profile = chosen(profiles, user_options)
    yield from ((name, value, False) for name, value in profile.overrides.items())
    for option in profile.options:
        value = user_options.get(option.key)
        if value is None:
            value = option.default
        yield from option.given(_text(value), profile.field_of(option))


def _text(value: Any) -> str:
    """Give what was answered: forms give lists of texts, programs plain values."""
    if isinstance(value, (list, tuple)):
        value = value[0] if value else None
    return "" if value is None else str(value)


def form(profiles: Sequence[Profile], user_options: Mapping[str, Any]) -> str:
    """Give the form, with what was chosen the last time chosen; "" if there is nothing to choose."""
    if len(profiles) == 1 and not profiles[0].options:
        return ""
    try:
        last = chosen(profiles, user_options)
    except WrongChoice:
        last = chosen(profiles, {})
    return _template().render(profiles=profiles, last=last, remembered=user_options, text=_text)


@cache
def _template() -> Template:
    from jinja2 import Environment  # whoever has no profiles does not pay for it

    return Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(_FORM)


#: what belongs to profiles that are not chosen is hidden by the stylesheet alone (.choice-options)
_FORM = """\
<fieldset class="plain profiles">
<legend class="visually-hidden">Server</legend>
{% for profile in profiles %}
<div class="choice">
  <label>
    <input type="radio" name="profile" value="{{ profile.slug }}" required
      {%- if profile is sameas last %} checked{% endif %}
      {%- if profile.description %} aria-describedby="profile-{{ profile.slug }}-about"{% endif %}>
    <span><span class="choice-title">{{ profile.title }}</span>
    {% if profile.description %}
    <span class="muted" id="profile-{{ profile.slug }}-about">{{ profile.description }}</span>
    {% endif %}
    </span>
  </label>
  {% if profile.options %}
  <div class="choice-options columns-2">
    {% for option in profile.options %}
    {% set name = profile.field_of(option) %}
    {% set kept = text(remembered.get(option.key)) if profile is sameas last else "" %}
    <div class="field">
      <label for="{{ name }}">{{ option.title }}</label>
      {% if option.choices %}
      {% set picked = kept if kept in option.choices | map(attribute="key") else option.default %}
      <select class="form-control" id="{{ name }}" name="{{ name }}"
        {%- if option.description %} aria-describedby="{{ name }}-help"{% endif %}>
        {% for choice in option.choices %}
        <option value="{{ choice.key }}"{% if choice.key == picked %} selected{% endif %}>{{ choice.title }}</option>
        {% endfor %}
      </select>
      {% else %}
      <input class="form-control" id="{{ name }}" name="{{ name }}" value="{{ kept or option.default }}"
        {%- if option.description %} aria-describedby="{{ name }}-help"{% endif %}>
      {% endif %}
      {% if option.description %}<p class="field-help" id="{{ name }}-help">{{ option.description }}</p>{% endif %}
    </div>
    {% endfor %}
  </div>
  {% endif %}
</div>
{% endfor %}
</fieldset>"""
