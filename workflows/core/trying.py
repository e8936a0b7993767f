"""A part of a document that can be run by itself: one node on given data, or everything that leads to a node (pure).

Nodes whose output is given are replaced by constants of the same id, so that every expression finds what it names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from workflows.core.document import Document
from workflows.core.errors import AobError
from workflows.core.strictjson import encode

ITEMS = "items_of_the_try"


def one_node(document: Document, path: str, data: Mapping[str, Any]) -> Document:
    """Only this node, tried once. Raises AobError `node_unknown`."""
    parts = path.split("/")
    graph = _sliced(document, parts, (), data)
    return {**_frame(document), **graph}


def until(document: Document, name: str, data: Mapping[str, Any]) -> Document:
    """A node of the top graph and everything that leads to it. Raises AobError `node_unknown`."""
    nodes, edges = document["nodes"], document.get("edges", {})
    if name not in nodes:
        raise _unknown(name)
    kept: dict[str, Any] = {}
    joined: dict[str, Any] = {}
    open_ = [name]
    while open_:
        here = open_.pop()
        if here in kept:
            continue
        is_given = here in data and here != name
        kept[here] = constant(data[here]) if is_given else nodes[here]
        if is_given:
            continue
        before = [edge["from"] for edge in edges.values() if edge["to"] == here and edge["from"] in nodes]
        open_ += before
        for one in _leading(document, here):
            # What it names may stand before a given node, which is not run and leads to nothing any more.
            if one not in before and _names(nodes[here], one) and nodes[one].get("type") != "switch":
                open_.append(one)
                joined[f"{one}-{here}-of-the-try"] = {"from": one, "to": here}
    return {
        **_frame(document),
        "nodes": kept,
        "edges": {
            **joined,
            **{
                key: _from_constant(edge) if edge["from"] in data and edge["from"] != name else edge
                for key, edge in edges.items()
                if edge["from"] in kept and edge["to"] in kept and (edge["to"] == name or edge["to"] not in data)
            },
        },
    }


def constant(value: Any) -> dict[str, Any]:
    """A node that gives this value."""
    return {"type": "transform", "config": {"output": literal(value)}}


def literal(value: Any) -> Any:
    """The value as a template that gives it again: what looks like an expression in it stays text."""
    if isinstance(value, str):
        return value.replace("{{", '{{ "{{" }}')
    if isinstance(value, list):
        return [literal(part) for part in value]
    if isinstance(value, dict):
        return {key: literal(part) for key, part in value.items()}
    return value


def _frame(document: Document) -> Document:
    parts: Document = {key: document[key] for key in ("inputs", "limits") if key in document}
    return {"name": document["name"], **parts}


def _sliced(graph: Any, parts: list[str], outer: tuple[str, ...], data: Mapping[str, Any]) -> dict[str, Any]:
    """A graph with the next node of the path alone, after constants for what leads to it."""
    name, rest = parts[0], parts[1:]
    nodes = graph.get("nodes", {})
    if name not in nodes:
        raise _unknown("/".join((*outer, name)))
    node = {key: value for key, value in nodes[name].items() if key not in ("retry", "join", "on_failure", "cache")}
    if node.get("type") not in ("map", "loop"):
        # A try shows the first failure, and not the fourth.
        node["retry"] = {"policy": "none"}
    given = {
        one: constant(data["/".join((*outer, one))]) for one in _leading(graph, name) if "/".join((*outer, one)) in data
    }
    if rest:
        path = "/".join((*outer, name))
        config = dict(node.get("config", {}))
        config["body"] = _sliced(config.get("body", {}), rest, (*outer, name), data)
        if node["type"] == "map":
            given[ITEMS] = constant([data.get(f"{path}#item")])
            config["items"] = f"nodes.{ITEMS}"
        else:
            config["while"], config["max_iterations"] = "iteration < 1", 1
        node["config"] = config
    return {
        "nodes": {**given, name: node},
        "edges": {f"{one}-{name}": {"from": one, "to": name} for one in given},
    }


def _leading(graph: Any, name: str) -> list[str]:
    edges = graph.get("edges", {}).values()
    found: dict[str, None] = {}
    open_ = [name]
    while open_:
        here = open_.pop()
        for edge in edges:
            if edge["to"] == here and edge["from"] not in found and edge["from"] in graph["nodes"]:
                found[edge["from"]] = None
                open_.append(edge["from"])
    return list(found)


def _names(node: Any, name: str) -> bool:
    """Whether the node's text names another one; true once too often does no harm."""
    return re.search(rf"""nodes(\.{name}\b|\[\\?["']{name}\\?["'])""", encode(node).decode()) is not None


def _from_constant(edge: Mapping[str, Any]) -> dict[str, Any]:
    """A constant leaves by `out` alone, and its edge is taken."""
    return {"from": edge["from"], "to": edge["to"]}


def _unknown(path: str) -> AobError:
    return AobError("node_unknown", f"There is no node {path[:200]!r} in the document.", "/node")
