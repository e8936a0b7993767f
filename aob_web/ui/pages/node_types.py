"""The reference of node types, made from the registry."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from aob_web.ui.pages.showing import pretty
from workflows import gallery
from workflows.nodes import reading
from workflows.nodes.registry import NodeType
from workflows.nodes.registry import node_types as registry

KINDS = {
    "pure": "Pure: computed in memory from what is known, at once. It changes nothing outside.",
    "effect": "Effect: a worker executes it and it may act on the outside, so it has attempts, retries and a timeout.",
    "wait": "Wait: it holds the run until a time, a signal or a decision. Waiting costs nothing and survives restarts.",
    "structure": "Structure: it holds other nodes or another workflow, and ends when they have ended.",
    "agent": "Agent: a language model works on it, within a budget.",
}
PORTS = {
    "out": "when it has succeeded",
    "error": "when it has failed for good; without an edge here the node’s “on failure” decides",
    "approved": "when enough people have approved",
    "rejected": "when somebody has rejected",
    "timed_out": "when its time was up",
    "default": "when no case holds",
}


@login_required
@require_GET
def node_types(request: HttpRequest) -> HttpResponse:
    """Every node type, by category, or those that hold every word."""
    words = request.GET.get("q", "")[:200]
    kind = request.GET.get("kind", "")
    found = [one for one in registry().values() if _fits(one, words) and (not kind or one.kind == kind)]
    by_category: dict[str, list[NodeType]] = {}
    for one in found:
        by_category.setdefault(one.category, []).append(one)
    context = {
        "categories": by_category.items(),
        "count": len(found),
        "words": words,
        "kind": kind,
        "kinds": [one for one in KINDS if any(each.kind == one for each in registry().values())],
        "about": KINDS.get(kind),
    }
    return render(request, "ui/node-types.html", context)


@login_required
@require_GET
def node_type(request: HttpRequest, name: str) -> HttpResponse:
    """One node type: what it does, its config, ports, examples and errors."""
    found = registry().get(name)
    if found is None:
        raise Http404
    context = {
        "type": found,
        "kind": KINDS.get(found.kind, found.kind),
        "ports": _ports(found),
        "rows": [_row(row) for row in reading.rows(found)],
        "examples": [_example(found, one) for one in found.examples],
        "errors": found.all_errors(),
        "output": pretty(found.output_schema) if found.output_schema else "",
        "templates": gallery.search(node_type=name),
        "others": registry().values(),
    }
    return render(request, "ui/node-type.html", context)


def _fits(one: NodeType, words: str) -> bool:
    codes = " ".join(note.code for note in one.errors)
    text = f"{one.name} {one.title} {one.help} {one.category} {one.kind} {codes}".lower()
    return all(word in text for word in words.lower().split())


def _ports(found: NodeType) -> list[tuple[str, str]]:
    named = [("its cases", "the name of the first case that holds")] if found.name == "switch" else []
    return [*named, *((port, PORTS.get(port, "")) for port in (*found.ports, "error"))]


def _row(row: reading.Row) -> dict[str, Any]:
    default = pretty(row.default) if row.has_default else ""
    return {
        "row": row,
        "default": default,
        "indent": f"depth-{min(row.depth, 3)}",
        "read_as": "" if row.depth else reading.READ_AS[row.read_as],
    }


def _example(found: NodeType, one: Any) -> dict[str, Any]:
    scope = {**({"inputs": one.inputs} if one.inputs else {}), **({"nodes": one.nodes} if one.nodes else {})}
    return {
        "title": one.title,
        "config": pretty({"type": found.name, "config": one.config}),
        "scope": pretty(scope) if scope else "",
        "result": pretty(one.result),
        "port": one.port,
    }
