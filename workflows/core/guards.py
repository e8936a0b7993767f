"""Which effects stand behind which approvals and audit logs, in every way that leads to them (pure).

A guard is passed by an edge that leaves it: an approval by its port `approved` alone, a log by any. A node is behind a
guard when every path from an entry to it passes the guard: the guard dominates it. As nodes run only where a taken edge
leads to them, this holds for every join.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from workflows.core import graph
from workflows.core.document import Document
from workflows.nodes.registry import node_types

PASSES: dict[str, str | None] = {"approval": "approved", "log": None}
"""The types that guard, and the port by which one passes; None for any."""


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


def guards(document: Document) -> dict[str, frozenset[str]]:
    """For every node of a valid document, bodies included, the keys of the guards that it is behind."""
    found: dict[str, frozenset[str]] = {}
    _walk(document, "", frozenset(), found)
    return found


def _walk(part: Mapping[str, Any], key: str, outer: frozenset[str], found: dict[str, frozenset[str]]) -> None:
    nodes, edges = part["nodes"], part.get("edges", {})
    successors, predecessors = graph.adjacency(nodes, edges.values())
    into: dict[str, list[frozenset[str]]] = {name: [] for name in nodes}
    leaving: dict[str, list[Mapping[str, Any]]] = {name: [] for name in nodes}
    for edge in edges.values():
        leaving[edge["from"]].append(edge)
    for name in graph.topological_order(successors, predecessors):
        path = f"{key}/{name}" if key else name
        behind = frozenset.intersection(*into[name]) if into[name] else outer
        found[path] = behind
        for edge in leaving[name]:
            into[edge["to"]].append(behind | {path} if _passes(nodes[name], edge) else behind)
        body = body_of(nodes[name])
        if body:
            _walk(body, path, behind, found)


def _passes(node: Mapping[str, Any], edge: Mapping[str, Any]) -> bool:
    if node["type"] not in PASSES:
        return False
    port = PASSES[node["type"]]
    return port is None or edge.get("port", "out") == port
