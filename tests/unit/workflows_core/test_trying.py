"""Parts of documents that run by themselves: they validate, hold what is needed and nothing else, and change no data."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflows.core import trying
from workflows.core.errors import AobError
from workflows.core.preview import preview
from workflows.core.templates import compile_template
from workflows.core.validate import validate

TEXT = st.text(alphabet=st.sampled_from("ab{}\"\\ '%é"), max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)

BODY = {
    "nodes": {
        "get": {"type": "transform", "config": {"output": "{{ item * 2 + nodes.list[0] }}"}},
        "keep": {"type": "transform", "config": {"output": "{{ nodes.get + index }}"}},
    },
    "edges": {"1": {"from": "get", "to": "keep"}},
}
DOCUMENT: dict[str, Any] = {
    "name": "w",
    "nodes": {
        "list": {"type": "transform", "config": {"output": [1, 2]}},
        "pick": {"type": "switch", "config": {"cases": [{"name": "big", "when": "size(nodes.list) > 1"}]}},
        "each": {"type": "map", "config": {"items": "nodes.list", "body": BODY}},
        "other": {"type": "transform", "config": {"output": "{{ nodes.list }}"}},
        "sum": {"type": "transform", "config": {"output": "{{ nodes.each }}"}},
    },
    "edges": {
        "a": {"from": "list", "to": "pick"},
        "b": {"from": "pick", "to": "each", "port": "big"},
        "c": {"from": "list", "to": "other"},
        "d": {"from": "each", "to": "sum"},
    },
}


def sound(document: dict[str, Any]) -> None:
    assert not [one for one in validate(document) if one.severity == "error"], validate(document)


@given(JSON)
def test_a_literal_is_a_template_that_gives_the_value_again(value: Any) -> None:
    assert compile_template(trying.literal(value), pointer="", allowed=frozenset()).evaluate({}) == value


def test_one_node_stands_alone_after_what_its_expressions_name() -> None:
    tried = trying.one_node(DOCUMENT, "sum", {"each": [{"a": "{{ no.expression }}"}], "other": 1})
    sound(tried)
    assert set(tried["nodes"]) == {"each", "sum"}
    assert tried["nodes"]["each"]["type"] == "transform"


def test_a_node_of_a_body_runs_on_one_item() -> None:
    tried = trying.one_node(DOCUMENT, "each/keep", {"list": [5], "each/get": 7, "each#item": {"id": 1}})
    sound(tried)
    assert tried["nodes"]["each"]["config"]["items"] == f"nodes.{trying.ITEMS}"
    assert set(tried["nodes"]["each"]["config"]["body"]["nodes"]) == {"get", "keep"}


def test_until_keeps_what_leads_there_and_replaces_what_is_given() -> None:
    tried = trying.until(DOCUMENT, "sum", {"pick": {"case": "big"}})
    sound(tried)
    assert set(tried["nodes"]) == {"list", "pick", "each", "sum"}, "the body names the list"
    given = trying.until(DOCUMENT, "sum", {"each": [1]})
    sound(given)
    assert set(given["nodes"]) == {"each", "sum"}
    assert tried["edges"]["b"] == {"from": "pick", "to": "each"}
    whole = trying.until(DOCUMENT, "sum", {})
    sound(whole)
    assert set(whole["nodes"]) == {"list", "pick", "each", "sum"}


@pytest.mark.parametrize("path", ["nobody", "each/nobody", "list/x", ""])
def test_an_unknown_node_is_named(path: str) -> None:
    with pytest.raises(AobError) as failure:
        trying.one_node(DOCUMENT, path, {})
    assert failure.value.code == "node_unknown"


def test_a_preview_gives_values_and_the_errors_of_a_run() -> None:
    scope = {"nodes": {"a": {"n": 2}}, "inputs": {}, "secrets": {"x": 1}}
    assert preview("expression", "nodes.a.n * 2", scope) == 4
    assert preview("template", {"t": "n is {{ nodes.a.n }}"}, scope) == {"t": "n is 2"}
    for text in ("nodes.b.n", "nodes.a.n +", "secrets.x", "1 / 0"):
        with pytest.raises(AobError):
            preview("expression", text, scope)
