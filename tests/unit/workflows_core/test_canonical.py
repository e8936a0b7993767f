"""Canonical bytes (law 5): whichever way they are made, they are those of RFC 8785."""

from __future__ import annotations

import json
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from workflows.core.canonical import canonical

TEXTS = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(["\x00\x1f\x7f", '"\\/\b\f\n\r\t', "\u2028"])
WHOLE = st.integers(-(2**53) + 1, 2**53 - 1)
PLAIN = st.none() | st.booleans() | WHOLE | TEXTS
ANY = PLAIN | st.floats(allow_nan=False, allow_infinity=False)


def values(leaves: st.SearchStrategy[Any], keys: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    return st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(keys, inner))


@given(values(PLAIN, st.text(st.characters(max_codepoint=127))) | values(ANY, TEXTS))
def test_the_bytes_are_those_of_rfc_8785(value: Any) -> None:
    assert canonical(value) == rfc8785.dumps(value)


@given(values(PLAIN | st.integers(-(2**63), 2**63 - 1), TEXTS))
def test_whole_numbers_stay_exact(value: Any) -> None:
    assert json.loads(canonical(value)) == value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"\ue000": 1, "\U0001f600": 2}, '{"\U0001f600":2,"\ue000":1}'),  # by UTF-16, not by code points
        ({"b": 1e21, "a": [1.0, -0.0, 1e-7]}, '{"a":[1,0,1e-7],"b":1e+21}'),
        ({"a": True, "b": 1}, '{"a":true,"b":1}'),
        (2**63 - 1, "9223372036854775807"),
    ],
)
def test_what_the_fast_way_would_do_otherwise(value: Any, expected: str) -> None:
    assert canonical(value).decode() == expected


@pytest.mark.parametrize("value", ["\ud800", {"\ud800": 1}, {1: 2}, float("nan"), float("inf"), b"x", {"a": {1, 2}}])
def test_what_is_no_json_is_refused(value: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        canonical(value)
