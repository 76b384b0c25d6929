"""Bodies of API requests: what is taken, what is refused, and what the refusal says."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jupyterhub.hub.web import bodies
from jupyterhub.words.errors import Invalid
from jupyterhub.words.unset import UNSET

SHAPES = [
    shape
    for shape in vars(bodies).values()
    if isinstance(shape, type) and dataclasses.is_dataclass(shape) and shape.__module__ == bodies.__name__
]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: s.__name__)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_json_is_either_read_or_refused_with_a_message(shape, data):
    keys = [field.name for field in dataclasses.fields(shape)]
    value = data.draw(json_values | st.dictionaries(st.sampled_from([*keys, "unknown"]), json_values, max_size=4))
    try:
        parsed = bodies.read(shape, json.loads(json.dumps(value)))
    except Invalid as error:
        refusal = str(error)
    else:
        refusal = None
        assert isinstance(parsed, shape) and isinstance(value, dict)
        for key in keys:
            if isinstance(value.get(key), str | bool | int):
                assert getattr(parsed, key) == value[key]
    assert refusal is None or refusal.startswith("Wrong request body: ")


@pytest.mark.parametrize(
    ("shape", "value", "message"),
    [
        (bodies.NewUsers, [], "it must be an object, not a list"),
        (bodies.NewUsers, {}, "usernames must be a list of strings, not missing"),
        (bodies.NewUsers, {"usernames": "ada"}, "usernames must be a list of strings, not a string"),
        (bodies.NewUsers, {"usernames": ["ada", 5]}, "usernames[1] must be a string, not a number"),
        (bodies.NewUsers, {"usernames": [], "admin": "yes"}, "admin must be true or false, not a string"),
        (bodies.NewUsers, {"usernames": [], "colour": 1}, "colour is not known here"),
        (bodies.NewUser, {"groups": {}}, "groups must be a list of strings, not an object"),
        (bodies.UserChange, {"name": None}, "name must be a string, not null"),
        (bodies.UserChange, {"groups": []}, "groups is not known here"),
        (bodies.NewToken, {"expires_in": 1.5}, "expires_in must be a whole number, not a number"),
        (bodies.NewToken, {"expires_in": True}, "expires_in must be a whole number, not true"),
        (bodies.ActivityReport, {"servers": {"lab": "now"}}, "servers['lab'] must be an object, not a string"),
        (bodies.ActivityReport, {"servers": {"": {}}}, "servers[''].last_activity must be a string, not missing"),
        (bodies.ServerChange, {"user_options": None}, "user_options must be an object, not null"),
        (bodies.NewGroup, {"users": ["a\0b"]}, "users[0] must be text"),
        (bodies.NewGroup, {"users": ["a\ud800"]}, "users[0] must be text"),
    ],
)
def test_a_refusal_names_the_place_and_what_was_expected(shape, value, message):
    with pytest.raises(Invalid) as refusal:
        bodies.read(shape, value)
    assert message in str(refusal.value)


def test_a_refusal_never_repeats_a_value():
    with pytest.raises(Invalid) as refusal:
        bodies.read(bodies.NewService, {"api_token": ["the-secret"]})
    assert "the-secret" not in str(refusal.value)


def test_what_is_not_given_is_told_from_null():
    assert bodies.read(bodies.UserChange, {}).auth_state is UNSET
    with pytest.raises(Invalid):
        bodies.read(bodies.UserChange, {"auth_state": None})


@pytest.mark.parametrize("nothing", [None, {}, [], "", 0, False])
def test_a_falsy_body_of_a_server_gives_no_options(nothing):
    assert bodies.read_server_options(nothing) == bodies.ServerOptions()


@pytest.mark.parametrize(
    ("value", "display_name", "user_options"),
    [
        ({"image": "x"}, None, {"image": "x"}),
        ({"user_options": {"image": "x"}}, None, {"image": "x"}),
        ({"user_options": {}}, None, {}),
        ({"user_options": None}, None, None),
        ({"display_name": "Lab"}, "Lab", None),
        ({"display_name": "Lab", "user_options": {"n": 1}}, "Lab", {"n": 1}),
    ],
)
def test_options_of_a_server_stand_alone_or_below_a_key(value: Any, display_name, user_options):
    options = bodies.read_server_options(value)
    assert (options.label, options.user_options) == (display_name, user_options)


def test_a_key_beside_the_options_of_a_server_is_let_pass():
    assert bodies.read_server_options({"user_options": {"a": 1}, "zz": 2}).user_options == {"a": 1}


def test_a_label_that_is_null_is_refused():
    with pytest.raises(Invalid):
        bodies.read_server_options({"display_name": None})
