"""What differs between two documents, in words that people read before they say yes (pure).

Nodes and edges are told by name, what else changed by its JSON Pointer. Places on the canvas are counted only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec

from workflows.core.document import Document, escape_pointer
from workflows.core.grants import pointer_of
from workflows.core.guards import body_of, nodes_of
from workflows.core.patches import difference, same

Kind = Literal["added", "removed", "changed", "moved"]
VERBS: dict[Kind, str] = {"added": "adds", "removed": "removes", "changed": "changes", "moved": "moves"}

_APART = frozenset({"nodes", "edges", "layout", "notes"})


class Change(msgspec.Struct, frozen=True):
    """One sentence: `kind` says what happens, `what` (may be empty) to which sort of thing, `name` to which.

    `detail` is a node's type, or what an edge is taken by.
    """

    kind: Kind
    what: str
    name: str
    detail: str = ""

    def words(self) -> str:
        name = self.name if self.what == "edge" or self.kind == "moved" else f"`{self.name}`"
        more = f" ({self.detail})" if self.detail else ""
        return " ".join(part for part in (VERBS[self.kind], self.what, f"{name}{more}") if part)


def changes(before: Document, after: Document) -> list[Change]:
    """Nodes first, then edges, then the other parts of the workflow, what is only drawn last."""
    return [
        *_nodes(dict(nodes_of(before)), dict(nodes_of(after))),
        *_edges(dict(_edges_of(before)), dict(_edges_of(after))),
        *_parts(before, after),
        *_drawn(before, after),
    ]


def _nodes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    yield from (Change("added", "node", path, node["type"]) for path, node in new.items() if path not in old)
    yield from (Change("removed", "node", path, node["type"]) for path, node in old.items() if path not in new)
    for path in (path for path in new if path in old):
        for operation in difference(_without_graph(old[path]), _without_graph(new[path])):
            yield Change("changed", "", f"{pointer_of(path)}{operation['path']}")


def _without_graph(node: Mapping[str, Any]) -> dict[str, Any]:
    """A node without the nodes and edges inside of it, which are told by themselves."""
    if not body_of(node):
        return dict(node)
    body = {key: value for key, value in body_of(node).items() if key not in ("nodes", "edges")}
    return {**node, "config": {**node["config"], "body": body}}


def _edges_of(document: Document) -> Iterator[tuple[str, Mapping[str, Any]]]:
    graphs: list[tuple[str, str, Mapping[str, Any]]] = [("", "", document)]
    graphs += [(pointer_of(path), path, body_of(node)) for path, node in nodes_of(document) if body_of(node)]
    for place, path, graph in graphs:
        inside = f"{place}/config/body" if place else ""
        for name, edge in graph.get("edges", {}).items():
            yield f"{inside}/edges/{escape_pointer(name)}", {**edge, "": path}


def _edges(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    """An edge that leads elsewhere is another one: an id is only a name."""
    kept = {place for place in old.keys() & new.keys() if _ends(old[place]) == _ends(new[place])}
    yield from (_edge("added", edge) for place, edge in new.items() if place not in kept)
    yield from (_edge("removed", edge) for place, edge in old.items() if place not in kept)
    for place in sorted(kept):
        for operation in difference(old[place], new[place]):
            yield Change("changed", "", f"{place}{operation['path']}")


def _ends(edge: Mapping[str, Any]) -> tuple[str, str, str]:
    return edge["from"], edge["to"], edge.get("port", "out")


def _edge(kind: Kind, edge: Mapping[str, Any]) -> Change:
    port = edge.get("port", "out")
    parts = [f"in {edge['']}"] if edge[""] else []
    parts += [f"by {port}"] if port != "out" else []
    parts += [f"when {edge['when']}"] if "when" in edge else []
    return Change(kind, "edge", f"{edge['from']} → {edge['to']}", ", ".join(parts))


def _parts(before: Document, after: Document) -> Iterator[Change]:
    left, right = ({key: value for key, value in one.items() if key not in _APART} for one in (before, after))
    yield from (Change("changed", "", operation["path"]) for operation in difference(left, right))


def _drawn(before: Document, after: Document) -> Iterator[Change]:
    old, new = before.get("layout", {}), after.get("layout", {})
    there = {path for path, _ in nodes_of(before)} & {path for path, _ in nodes_of(after)}
    moved = [path for path in there if not same(old.get(path), new.get(path))]
    if moved:
        yield Change("moved", "", f"{len(moved)} {'node' if len(moved) == 1 else 'nodes'} on the canvas")
    if not same(before.get("notes", {}), after.get("notes", {})):
        yield Change("changed", "", "/notes")
