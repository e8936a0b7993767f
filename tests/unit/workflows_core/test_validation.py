"""Validation reports everything that is wrong, each with its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflows.core.validate import validate

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*/*workflow.json"))
T = {"type": "transform", "config": {"output": 1}}


def problems(nodes: Any, edges: Any = None, **more: Any) -> set[tuple[str, str]]:
    found = validate({"name": "w", "nodes": nodes, "edges": edges or {}, **more})
    return {(problem.pointer, problem.code) for problem in found}


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.parent.name)
def test_the_examples_are_valid(file: Path) -> None:
    assert validate(json.loads(file.read_text())) == []


def test_everything_is_reported_at_once() -> None:
    found = problems(
        {
            "a": {"type": "nope"},
            "b": {"type": "transform", "config": {"outptu": 1}},
            "c": {"type": "transform", "config": {"output": "{{ nodes.gone }}"}},
            "d": {"type": "delay", "config": {"for": "soon"}},
        },
        {"x": {"from": "a", "to": "zz"}, "y": {"from": "b", "to": "c", "port": "left"}},
    )
    assert {code for _, code in found} >= {
        "unknown_node_type", "unknown_field", "field_missing", "unknown_node", "duration_syntax", "edge_dangling",
        "unknown_port",
    }  # fmt: skip
    assert ("/edges/x/to", "edge_dangling") in found
    assert ("/nodes/a/type", "unknown_node_type") in found


def test_cycles_unreachable_nodes_and_missing_entries() -> None:
    ring = {"1": {"from": "a", "to": "b"}, "2": {"from": "b", "to": "a"}, "3": {"from": "b", "to": "c"}}
    codes = {code for _, code in problems({"a": T, "b": T, "c": T}, ring)}
    assert codes == {"cycle", "unreachable", "no_entry"}
    assert "edge_to_itself" in {code for _, code in problems({"a": T}, {"1": {"from": "a", "to": "a"}})}


def test_an_expression_may_only_use_what_comes_before_it() -> None:
    late = {"type": "transform", "config": {"output": "{{ nodes.b }}"}}
    assert problems({"a": late, "b": T}) == {("/nodes/a/config/output", "node_not_upstream")}
    assert problems({"a": late, "b": T}, {"e": {"from": "b", "to": "a"}}) == set()


@pytest.mark.parametrize(
    ("node", "code"),
    [
        ({"type": "loop", "config": {"while": "true", "body": {"nodes": {"x": T}}}}, "field_missing"),
        ({"type": "map", "config": {"items": "inputs.l", "body": {"nodes": {}}}}, "schema_min_properties"),
        ({"type": "map", "config": {"items": "inputs.l", "body": {"nodes": {"a": T}}}}, "id_shadows"),
        ({"type": "transform", "config": {"output": "{{ item }}"}}, "expression_unknown_name"),
        ({"type": "transform", "config": {"output": "{{ 1 + }}"}}, "expression_syntax"),
        ({"type": "signal", "config": {"name": "x", "schema": {"$ref": "http://x"}}}, "schema_remote_reference"),
        ({**T, "retry": {"policy": "sometimes"}}, "schema_enum"),
        ({**T, "join": {"n": 3}}, "join_unreachable"),
        ({**T, "on_failure": "explode"}, "schema_one_of"),
        (
            {"type": "switch", "config": {"cases": [{"name": "a", "when": "true"}, {"name": "a", "when": "true"}]}},
            "case_doubled",
        ),
        ({"type": "http", "config": {"method": "GET", "url": "http://x", "json": 1, "body": "x"}}, "schema_not"),
    ],
)
def test_single_faults(node: Any, code: str) -> None:
    assert code in {found for _, found in problems({"a": node})}


def test_limits_are_named() -> None:
    many = {f"n{number}": T for number in range(100_000)}
    assert [code for _, code in problems(many)] == ["limit_nodes"]
    large = {"a": {"type": "transform", "config": {"output": "x" * (50 * 1024 * 1024)}}}
    assert [code for _, code in problems(large)] == ["limit_document_bytes"]
    deep: Any = {"nodes": {"n0": T}}
    for number in range(1, 12):
        deep = {"nodes": {f"n{number}": {"type": "map", "config": {"items": "inputs.l", "body": deep}}}}
    assert {code for _, code in problems(deep["nodes"])} & {"limit_body_depth", "json_too_deep"}


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_no_value_makes_validation_fail_in_another_way(value: Any) -> None:
    assert validate(value)
    assert isinstance(validate({"name": "w", "nodes": {"a": value}, "edges": {"e": value}, "output": value}), list)


@pytest.mark.parametrize(
    ("config", "message", "hint"),
    [
        ({"method": "GET", "url": ""}, "`url` is empty.", "Give it a value."),
        ({"method": "GET"}, "`url` is missing.", "Give it a value."),
        ({"method": "GET", "url": "x", "uri": 1}, "`uri` is not known here.", "Is it misspelt?"),
        ({"method": "GET", "url": 7}, "7 is not text.", None),
    ],
)
def test_faults_of_the_schema_are_told_in_plain_words(config: Any, message: str, hint: str | None) -> None:
    problems = validate({"name": "w", "nodes": {"a": {"type": "http", "config": config}}})
    assert (message, hint) in [(problem.message, problem.hint) for problem in problems]


def test_a_name_that_none_may_have_is_told_where_it_stands() -> None:
    assert problems({"a/b": T, "": T}) == {("/nodes/a~1b", "schema_pattern"), ("/nodes/", "schema_pattern")}
    assert ("/edges/", "schema_pattern") in problems({"a": T, "b": T}, {"": {"from": "a", "to": "b"}})
