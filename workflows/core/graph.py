"""Graph checks on id-keyed nodes and edges: endpoints, cycles, reachability, ancestors. Pure and linear."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from workflows.core.document import escape_pointer
from workflows.core.problems import Problem, nearest

Adjacency = dict[str, list[str]]


def adjacency(nodes: Mapping[str, Any], edges: Iterable[Mapping[str, Any]]) -> tuple[Adjacency, Adjacency]:
    """Successors and predecessors of every node; edges with an unknown end are left out."""
    successors: Adjacency = {node: [] for node in nodes}
    predecessors: Adjacency = {node: [] for node in nodes}
    for edge in edges:
        source, target = edge["from"], edge["to"]
        if source in nodes and target in nodes:
            successors[source].append(target)
            predecessors[target].append(source)
    return successors, predecessors


def topological_order(successors: Adjacency, predecessors: Adjacency) -> list[str]:
    """The nodes in an order that respects the edges (Kahn); nodes in or behind a cycle are missing."""
    waiting = {node: len(before) for node, before in predecessors.items()}
    ready = sorted(node for node, count in waiting.items() if count == 0)
    order: list[str] = []
    while ready:
        node = ready.pop()
        order.append(node)
        for target in successors[node]:
            waiting[target] -= 1
            if waiting[target] == 0:
                ready.append(target)
    return order


def ancestors(order: list[str], predecessors: Adjacency) -> dict[str, AbstractSet[str]]:
    """For each node in `order` the nodes that come before it on some path; bit sets keep this linear in memory."""
    position = {node: place for place, node in enumerate(order)}
    masks: dict[str, int] = {}
    for node in order:
        mask = 0
        for before in predecessors[node]:
            mask |= masks[before] | (1 << position[before])
        masks[node] = mask
    return {node: Before(masks.get(node, 0), order, position) for node in predecessors}


class Before(AbstractSet[str]):
    """A set of nodes as bits; names are made only for those who ask for all of them."""

    __slots__ = ("_mask", "_order", "_position")

    def __init__(self, mask: int, order: list[str], position: Mapping[str, int]) -> None:
        self._mask = mask
        self._order = order
        self._position = position

    def __contains__(self, node: object) -> bool:
        place = self._position.get(node)  # type: ignore[call-overload]
        return place is not None and bool(self._mask >> place & 1)

    def __iter__(self) -> Iterator[str]:
        return (node for node in self._order if node in self)

    def __len__(self) -> int:
        return self._mask.bit_count()


def check_edges(nodes: Mapping[str, Any], edges: Mapping[str, Any], pointer: str) -> list[Problem]:
    """Dangling ends, edges from a node to itself, and doubled edges."""
    problems = []
    seen: dict[tuple[str, str, str, str | None], str] = {}
    for name in sorted(edges):
        edge = edges[name]
        place = f"{pointer}/edges/{escape_pointer(name)}"
        for end in ("from", "to"):
            if edge[end] not in nodes:
                problems.append(
                    Problem(
                        f"{place}/{end}",
                        "edge_dangling",
                        f"Edge {name!r} refers to node {edge[end]!r}, which does not exist in this graph.",
                        nearest(edge[end], nodes) or "Add the node or remove the edge.",
                    )
                )
        if edge["from"] == edge["to"]:
            problems.append(
                Problem(
                    place,
                    "edge_to_itself",
                    f"Edge {name!r} leads from {edge['from']!r} to itself.",
                    "Use a `loop` node for repetition.",
                )
            )
        key = (edge["from"], edge["to"], edge.get("port", "out"), edge.get("when"))
        if key in seen:
            problems.append(
                Problem(
                    place,
                    "edge_doubled",
                    f"Edge {name!r} says the same as edge {seen[key]!r}.",
                    "Remove one.",
                )
            )
        seen.setdefault(key, name)
    return problems


def check_cycles(successors: Adjacency, order: list[str], pointer: str) -> list[Problem]:
    """One problem per cycle, naming its nodes; what merely lies behind a cycle is `unreachable`."""
    left = set(successors) - set(order)
    problems = []
    behind: set[str] = set(left)
    for component in _components({node: [n for n in successors[node] if n in left] for node in sorted(left)}):
        if len(component) == 1 and component[0] not in successors[component[0]]:
            continue
        behind -= set(component)
        shown = " → ".join([*component[:8], "…" if len(component) > 8 else component[0]])
        problems.append(
            Problem(
                f"{pointer}/nodes/{escape_pointer(component[0])}",
                "cycle",
                f"These nodes form a cycle: {shown}.",
                "Remove one of the edges; use a `loop` node for repetition.",
            )
        )
    for node in sorted(behind):
        problems.append(
            Problem(
                f"{pointer}/nodes/{escape_pointer(node)}",
                "unreachable",
                f"Node {node!r} can never run: every way to it leads through a cycle.",
                "Break the cycle, or connect the node to an entry.",
            )
        )
    return problems


def _components(successors: Mapping[str, list[str]]) -> list[list[str]]:
    """Strongly connected components, each along its edges (Tarjan 1972, without recursion)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    on_stack: set[str] = set()
    found: list[list[str]] = []
    for root in successors:
        if root in index:
            continue
        work: list[tuple[str, int]] = [(root, 0)]
        while work:
            node, child = work.pop()
            if child == 0:
                index[node] = low[node] = len(index)
                stack.append(node)
                on_stack.add(node)
            descended = False
            for place in range(child, len(successors[node])):
                target = successors[node][place]
                if target not in index:
                    work.append((node, place + 1))
                    work.append((target, 0))
                    descended = True
                    break
                if target in on_stack:
                    low[node] = min(low[node], index[target])
            if descended:
                continue
            if low[node] == index[node]:
                component = []
                while True:
                    member = stack.pop()
                    on_stack.discard(member)
                    component.append(member)
                    if member == node:
                        break
                found.append(component[::-1])
            if work:
                parent = work[-1][0]
                low[parent] = min(low[parent], low[node])
    return found
