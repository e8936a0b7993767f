"""Which effects stand behind which gates, in every way that leads to them (pure).

A gate is passed by an edge that leaves it: an approval by its port `approved` alone, an audit log by any, and what may
hold approvals of its own (a body with one, a sub-workflow) by its port `out`. As a node runs once enough of the edges
into it are taken, what must have been passed before it runs is a choice between sets of gates: either of two approvals
is another thing than both of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from math import comb
from typing import Any

import msgspec

from workflows.core import graph
from workflows.core.document import Document
from workflows.nodes.registry import node_types

PASSES: dict[str, str | None] = {"approval": "approved", "log": None}
"""The types that guard, and the port by which one passes; None for any."""

MAX_WAYS = 64
"""So many ways to a node are told apart; where there are more, its surroundings must stay as they are."""

Way = frozenset[str]
"""The gates that one way to a node passes, by their keys."""

Ways = frozenset[Way] | None
"""The ways to a node that pass the least: one of them has been passed whenever it runs. None: too many to tell."""


def nodes_of(part: Mapping[str, Any], key: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every node with its key (`each/parse` for one in a body), those of bodies included."""
    for name, node in part.get("nodes", {}).items():
        path = f"{key}/{name}" if key else name
        yield path, node
        yield from nodes_of(body_of(node), path)


def body_of(node: Mapping[str, Any]) -> dict[str, Any]:
    """The body graph of a map or loop; empty for others, whose `body` is something else (that of a request, say)."""
    node_type = node_types().get(node["type"])
    if node_type is None or node_type.kind != "structure":
        return {}
    body = node.get("config", {}).get("body")
    return body if isinstance(body, dict) else {}


def acts(node: Mapping[str, Any]) -> bool:
    """True when the node does something outside, itself or by a workflow or model that it calls."""
    node_type = node_types().get(node["type"])
    return node_type is None or node_type.is_task or node["type"] == "subworkflow"


class Gates(msgspec.Struct, frozen=True):
    """What stands before a node. `followed` are the gates from which some way leads to it, passing them."""

    ways: Ways
    followed: frozenset[str]

    @property
    def is_guarded(self) -> bool:
        return self.ways is None or frozenset() not in self.ways


def gates(document: Document) -> dict[str, Gates]:
    """For every node of a valid document, bodies included, the gates before it."""
    found: dict[str, Gates] = {}
    _walk(document, "", Gates(_OPEN, frozenset()), found)
    return found


def implies(after: Ways, before: Ways) -> bool | None:
    """Whether whoever came by one of the ways `after` has come by one of those `before` as well; None: nobody can say."""
    if after is None or before is None:
        return None
    return all(any(one <= way for one in before) for way in after)


def either(several: Iterable[Ways]) -> Ways:
    """The ways of which one is in any of these."""
    union: set[Way] = set()
    for ways in several:
        if ways is None:
            return None
        union |= ways
    return _least(union)


def surroundings(document: Document, path: str) -> list[tuple[str, str, str, str]]:
    """Every edge and join on some way to a node, in a form that can be compared."""
    found: list[tuple[str, str, str, str]] = []
    part: Mapping[str, Any] = document
    key = ""
    for name in path.split("/"):
        if name not in part["nodes"]:
            return []
        behind, todo = {name}, [name]
        edges = part.get("edges", {}).values()
        while todo:
            target = todo.pop()
            found.append((key, target, "join", str(part["nodes"][target].get("join", "all"))))
            for edge in edges:
                if edge["to"] == target:
                    found.append((key, edge["from"], target, edge.get("port", "out")))
                    if edge["from"] not in behind:
                        behind.add(edge["from"])
                        todo.append(edge["from"])
        key = f"{key}/{name}" if key else name
        part = body_of(part["nodes"][name]) or {"nodes": {}}
    return sorted(found)


_OPEN: Ways = frozenset({frozenset()})
_ASKING = ("approval", "subworkflow")


def _walk(part: Mapping[str, Any], key: str, outer: Gates, found: dict[str, Gates]) -> None:
    nodes, edges = part["nodes"], part.get("edges", {})
    successors, predecessors = graph.adjacency(nodes, edges.values())
    into: dict[str, list[Gates]] = {name: [] for name in nodes}
    leaving: dict[str, list[Mapping[str, Any]]] = {name: [] for name in nodes}
    for edge in edges.values():
        leaving[edge["from"]].append(edge)
    for name in graph.topological_order(successors, predecessors):
        path = f"{key}/{name}" if key else name
        node = nodes[name]
        found[path] = here = _joined(into[name], node.get("join", "all")) if into[name] else outer
        passed = None
        for edge in leaving[name]:
            if _passes(node, edge):
                passed = passed or _passed(here, path)
                into[edge["to"]].append(passed)
            else:
                into[edge["to"]].append(here)
        body = body_of(node)
        if body:
            _walk(body, path, here, found)


def _joined(into: Sequence[Gates], join: Any) -> Gates:
    followed = frozenset().union(*(one.followed for one in into))
    need = min(join["n"], len(into)) if isinstance(join, Mapping) else 1
    if need == 1:
        return Gates(either({one.ways: one.ways for one in into}), followed)
    if comb(len(into), need) > MAX_WAYS:
        return Gates(None, followed)
    return Gates(either(_all_of([one.ways for one in chosen]) for chosen in combinations(into, need)), followed)


def _all_of(several: Sequence[Ways]) -> Ways:
    """The ways that pass one of each."""
    whole: Ways = _OPEN
    for ways in several:
        if ways is None or whole is None:
            return None
        whole = _least({one | way for one in whole for way in ways})
    return whole


def _least(ways: set[Way]) -> Ways:
    """Without the ways that pass more than another does."""
    if frozenset() in ways:
        return _OPEN
    kept: list[Way] = []
    for way in sorted(ways, key=len):
        if not any(one <= way for one in kept):
            kept.append(way)
        if len(kept) > MAX_WAYS:
            return None
    return frozenset(kept)


def _passed(here: Gates, path: str) -> Gates:
    ways = None if here.ways is None else frozenset(way | {path} for way in here.ways)
    return Gates(ways, here.followed | {path})


def _passes(node: Mapping[str, Any], edge: Mapping[str, Any]) -> bool:
    port = edge.get("port", "out")
    if node["type"] in PASSES:
        return PASSES[node["type"]] in (None, port)
    return bool(port == "out" and may_ask(node))


def may_ask(node: Mapping[str, Any]) -> bool:
    """True when people may be asked inside: a body that holds an approval, or a workflow of its own."""
    return any(one["type"] in _ASKING for one in (node, *(inner for _, inner in nodes_of(body_of(node)))))
