"""What of a graph depends on what: by the expressions that read values, and by the edges that lead on (pure).

Nodes are named by their keys (`each/parse` for one in a body), in the compiled graph.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from workflows.core.expressions import Expression
from workflows.core.guards import body_of, nodes_of
from workflows.core.ir import NodeIR, WorkflowIR
from workflows.core.patches import same
from workflows.core.templates import Template
from workflows.nodes.registry import node_types

OUTSIDE = frozenset({"effect", "agent"})
OUTSIDE_TYPES = frozenset({"signal", "subworkflow"})


def same_node(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether a node is the same but for its body, whose nodes are looked at one by one."""
    return same(_without_body(before), _without_body(after))


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> set[str]:
    """The nodes of `after` that are new or another, and those into which edges lead that are, or led."""
    known = dict(nodes_of(before))
    found = {path for path, node in nodes_of(after) if path not in known or not same_node(known[path], node)}
    old, new = dict(_graphs(before)), dict(_graphs(after))
    for key, part in new.items():
        was, is_ = old.get(key, {}).get("edges", {}), part.get("edges", {})
        for name in was.keys() | is_.keys():
            if not (name in was and name in is_ and same(was[name], is_[name])):
                targets = {edge["to"] for edge in (was.get(name), is_.get(name)) if edge is not None}
                found |= {join(key, target) for target in targets if target in part["nodes"]}
    return found


def sources(ir: WorkflowIR, key: str, *, only: Collection[str] | None = None) -> tuple[set[str], set[str]]:
    """The nodes of whose values the config of a node is made, those of their values followed; and the roots read.

    Of a node with a body that is what stands in the body as well. `only` are the keys of the config that are looked at.
    """
    roots: set[str] = set()
    seen: set[str] = set()
    open_ = [*_read(ir, key, only, roots)]
    while open_:
        here = open_.pop()
        if here not in seen:
            seen.add(here)
            open_ += _read(ir, here, None, roots)
            open_ += [join(here, name) for name in (ir.graphs[here].nodes if here in ir.graphs else ())]
    return seen, roots


def fed(ir: WorkflowIR, keys: Collection[str]) -> set[str]:
    """The nodes whose config is made of values of these, straight or by way of others: `sources`, backwards."""
    readers: dict[str, list[str]] = {}
    for owner, graph in ir.graphs.items():
        for name in graph.nodes:
            key = join(owner, name)
            for read in _read(ir, key, None, set()):
                readers.setdefault(read, []).append(key)
            if owner:
                readers.setdefault(key, []).append(owner)
    seen: set[str] = set()
    open_ = [reader for key in keys for reader in readers.get(key, ())]
    while open_:
        key = open_.pop()
        if key not in seen:
            seen.add(key)
            open_ += readers.get(key, ())
    return seen


def comes_from_outside(keys: Iterable[str], ir: WorkflowIR) -> bool:
    """Whether values of these nodes come from outside AOB: from an effect, a model, a signal, another run (hazard L2)."""
    return any(_is_outside(_node(ir, key).type) for key in keys)


def _is_outside(kind: str) -> bool:
    return node_types()[kind].kind in OUTSIDE or kind in OUTSIDE_TYPES


def reached(
    ir: WorkflowIR, keys: Iterable[str], *, stops: Callable[[str, str], bool] = lambda key, port: False
) -> set[str]:
    """The nodes to which edges lead from these, themselves with them; into bodies and out of them too.

    `stops` says of a node and a port that nothing which passes there counts.
    """
    seen: set[str] = set()
    open_ = list(keys)
    while open_:
        key = open_.pop()
        if key in seen:
            continue
        seen.add(key)
        owner, name = split(key)
        if owner in ir.graphs and name in ir.graphs[owner].nodes:
            edges = ir.graphs[owner].nodes[name].outgoing
            open_ += [join(owner, edge.target) for edge in edges if stops is None or not stops(key, edge.port)]
        if key in ir.graphs:
            open_ += [join(key, inner) for inner in ir.graphs[key].nodes]
        if owner:
            open_.append(owner)
    return seen


def join(owner: str, name: str) -> str:
    return f"{owner}/{name}" if owner else name


def split(key: str) -> tuple[str, str]:
    """The key of a node's graph, and the node's id."""
    owner, _, name = key.rpartition("/")
    return owner, name


def _read(ir: WorkflowIR, key: str, only: Collection[str] | None, roots: set[str]) -> Iterator[str]:
    """The nodes that a node reads itself; the roots are added to those given."""
    owner, _ = split(key)
    graph, node = ir.graphs[owner], _node(ir, key)
    parts: list[Expression | Template] = [
        part for place, part in node.config.parts.items() if only is None or place in only
    ]
    parts += [case for _, case in node.config.cases] if only is None or "cases" in only else []
    for part in parts:
        roots |= part.roots
        refs = part.node_refs if part.node_refs is not None else graph.nodes.keys() if "nodes" in part.roots else ()
        yield from (found for one in sorted(refs) if (found := nearest(ir, owner, one)) is not None)
        if part.roots & {"item", "index", "last", "iteration"} and owner:
            yield owner


def _node(ir: WorkflowIR, key: str) -> NodeIR:
    owner, name = split(key)
    return ir.graphs[owner].nodes[name]


def nearest(ir: WorkflowIR, owner: str, name: str) -> str | None:
    """The node of that name in a graph or the ones around it."""
    while True:
        if name in ir.graphs[owner].nodes:
            return join(owner, name)
        if not owner:
            return None
        owner = split(owner)[0]


def _graphs(part: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield "", part
    for path, node in nodes_of(part):
        if body := body_of(node):
            yield path, body


def _without_body(node: Mapping[str, Any]) -> dict[str, Any]:
    if not body_of(node):
        return dict(node)
    body = {key: value for key, value in body_of(node).items() if key not in ("nodes", "edges")}
    return {**node, "config": {**node["config"], "body": body}}
