"""JSON in text columns."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects import sqlite

from jupyterhub.hub.store.tables import JsonText

DIALECT = sqlite.dialect()
COLUMN = JsonText()

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12)


def stored(value: Any) -> str | None:
    return COLUMN.process_bind_param(value, DIALECT)


def read(text: str | None) -> Any:
    return COLUMN.process_result_value(text, DIALECT)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.text(), VALUES) | st.lists(VALUES))
def test_what_is_stored_is_read_again_bytes_too(value):
    assert read(stored(value)) == value


@pytest.mark.parametrize("text", [None, "", "null", "{", "nonsense"])
def test_nothing_and_what_is_no_json_read_as_none(text):
    assert read(text) is None


def test_bytes_are_marked_as_the_original_does():
    assert json.loads(stored({"file": b"\x00\xff"}) or "") == {"file": {"__jupyterhub_bytes__": True, "data": "AP8="}}


def test_bytes_that_the_original_wrote_are_read():
    """Taken from a database of JupyterHub 6.1.1, and as it breaks longer ones into lines."""
    written = '{"file": {"__jupyterhub_bytes__": true, "data": "AP8=\\n"}, "obj": null, "t": [1, 2], "n": 1}'
    assert read(written) == {"file": b"\x00\xff", "obj": None, "t": [1, 2], "n": 1}
    long = bytes(range(256))
    broken = {"__jupyterhub_bytes__": True, "data": base64.encodebytes(long).decode()}
    assert read(json.dumps([broken])) == [long]


def test_a_value_that_is_no_json_becomes_null():
    assert read(stored({"handle": object(), "n": 1})) == {"handle": None, "n": 1}


def test_tuples_and_sets_become_lists():
    assert read(stored({"a": (1, 2), "b": {3}})) == {"a": [1, 2], "b": [3]}


def test_a_column_is_never_bytes_whatever_people_send():
    sent = '{"__jupyterhub_bytes__": true, "data": "AP8="}'
    assert read(sent) == json.loads(sent)


@pytest.mark.parametrize(
    "sent",
    [
        {"__jupyterhub_bytes__": True, "data": "not base64!"},
        {"__jupyterhub_bytes__": True, "data": 5},
        {"__jupyterhub_bytes__": 1, "data": "AP8="},
        {"__jupyterhub_bytes__": True, "data": "AP8=", "more": 1},
    ],
)
def test_what_only_looks_like_the_mark_stays_as_it_is(sent):
    assert read(json.dumps([sent])) == [sent]
