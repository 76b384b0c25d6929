"""Which content security policy a page has: a strict one, unless the deployment's own HTML is on it.

Everything that the packaged templates need comes from this hub, and their few inline scripts carry a nonce; so injected
HTML cannot load or run anything. What a deployment's templates and plugins' forms need, nobody can know: pages with
their HTML keep the policy that JupyterHub has, which says who may frame the page and no more. The template variable
``strict_csp`` decides otherwise: True puts all pages under the strict policy, False none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .render import Templates

#: variables with HTML from the configuration or from plugins; announcements come on top
_FOREIGN_HTML = ("custom_html", "spawner_options_form", "message_html", "extra_error_html", "failed_html_message")
#: what of HTML the strict policy would keep from working
_BLOCKED = re.compile(
    r"<\s*(?:script|style|link|iframe|object|embed|img|video|audio|base)\b|\s(?:style|on\w+)\s*=", re.I
)


def directives(nonce: str) -> str:
    """Give what the strict policy adds to the one of all answers.

    There is no ``form-action``: browsers hold redirects after a form against it too, and those of login and consent
    lead to servers and services with hosts of their own.
    """
    return (
        f"default-src 'none'; script-src 'self' 'nonce-{nonce}'; style-src 'self' 'nonce-{nonce}'; "
        "img-src 'self'; font-src 'self'; connect-src 'self'; base-uri 'none'"
    )


def applies(templates: Templates, name: str, namespace: Mapping[str, Any]) -> bool:
    """Say whether this page goes under the strict policy."""
    wanted = templates.template_vars.get("strict_csp")
    if wanted is not None:
        return bool(wanted)
    return templates.is_packaged(name) and not any(map(_needs_more, _foreign(templates, namespace)))


def _foreign(templates: Templates, namespace: Mapping[str, Any]) -> list[Any]:
    variables = templates.template_vars
    announcements = [value for name, value in variables.items() if name.startswith("announcement")]
    return [*announcements, *(namespace.get(name) for name in _FOREIGN_HTML)]


def _needs_more(html: Any) -> bool:
    # A function's answer depends on the user, and is not known yet.
    return callable(html) or (html is not None and _BLOCKED.search(str(html)) is not None)
