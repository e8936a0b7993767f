"""A patch in words."""

from __future__ import annotations

from typing import Any

from workflows.core.changes import changes

BODY: dict[str, Any] = {"nodes": {"get": {"type": "log", "config": {"message": "a"}}}, "edges": {}}
BEFORE: dict[str, Any] = {
    "name": "w",
    "nodes": {
        "wait": {"type": "signal", "config": {"name": "go"}},
        "each": {"type": "map", "config": {"items": "[1]", "body": BODY}},
        "mail": {"type": "email", "config": {"to": "a@b.c"}},
    },
    "edges": {"1": {"from": "wait", "to": "each"}, "2": {"from": "each", "to": "mail", "when": "true"}},
    "layout": {"wait": {"x": 0, "y": 0}},
}


def said(after: dict[str, Any]) -> list[str]:
    return [change.words() for change in changes(BEFORE, after)]


def test_nodes_and_edges_are_told_by_name_and_the_rest_by_pointer() -> None:
    nodes = {**BEFORE["nodes"], "more": {"type": "transform", "config": {"output": 1}}}
    nodes["mail"] = {"type": "email", "config": {"to": "x@y.z"}}
    edges = {**BEFORE["edges"], "3": {"from": "wait", "to": "more", "port": "timed_out", "when": "x > 1"}}
    assert said({**BEFORE, "nodes": nodes, "edges": edges, "output": 1}) == [
        "adds node `more` (transform)",
        "changes `/nodes/mail/config/to`",
        "adds edge wait → more (by timed_out, when x > 1)",
        "changes `/output`",
    ]


def test_what_is_in_a_body_is_told_by_itself() -> None:
    body = {"nodes": {"got": {"type": "log", "config": {"message": "a"}}, **BODY["nodes"]}, "edges": {}}
    body["edges"] = {"a/b": {"from": "get", "to": "got"}}
    each = {"type": "map", "config": {"items": "[2]", "body": body}}
    assert said({**BEFORE, "nodes": {**BEFORE["nodes"], "each": each}}) == [
        "adds node `each/got` (log)",
        "changes `/nodes/each/config/items`",
        "adds edge get → got (in each)",
    ]


def test_an_edge_that_leads_elsewhere_is_another_one() -> None:
    edges = {"1": {"from": "wait", "to": "mail"}, "2": {"from": "each", "to": "mail", "when": "false"}}
    assert said({**BEFORE, "edges": edges}) == [
        "adds edge wait → mail",
        "removes edge wait → each",
        "changes `/edges/2/when`",
    ]


def test_what_is_only_drawn_is_counted() -> None:
    assert said({**BEFORE, "layout": {"wait": {"x": 1, "y": 0}}, "notes": {"n": {"text": "x"}}}) == [
        "moves 1 node on the canvas",
        "changes `/notes`",
    ]
    assert said(BEFORE) == []
