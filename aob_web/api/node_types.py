"""`/node-types`: the registry, for editors, agents and people."""

from __future__ import annotations

from typing import Any

import msgspec
from django.http import HttpRequest, HttpResponse
from ninja import Router

from aob_web.accounts.access import require
from aob_web.api.answers import as_json
from workflows.core.document import NODE_SCHEMA
from workflows.core.errors import AobError
from workflows.nodes.registry import NodeType, node_types

router = Router()


def describe(node_type: NodeType) -> dict[str, Any]:
    """A node type as JSON."""
    return {
        "name": node_type.name,
        "kind": node_type.kind,
        "title": node_type.title,
        "help": node_type.help,
        "icon": node_type.icon,
        "category": node_type.category,
        "ports": [*node_type.ports, "error"],
        "parts": node_type.parts,
        "config_schema": node_type.config_schema,
        "node_schema": NODE_SCHEMA,
        "output_schema": node_type.output_schema,
        "retry": node_type.retry,
        "timeout": node_type.timeout,
        "example": node_type.example,
        "examples": [_without_empty(msgspec.to_builtins(one)) for one in node_type.examples],
        "errors": [msgspec.to_builtins(one) for one in node_type.all_errors()],
    }


def _without_empty(example: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in example.items() if key not in ("inputs", "nodes") or value}


def named(name: str) -> dict[str, Any]:
    """One node type. Raises AobError `node_type_unknown`."""
    found = node_types().get(name)
    if found is None:
        raise AobError("node_type_unknown", f"There is no node type {name[:80]!r}.", hint="See `aob node-types`.")
    return describe(found)


@router.get("", summary="List node types")
def all_types(request: HttpRequest) -> HttpResponse:
    require(request, "read")
    return as_json({"items": [describe(node_type) for node_type in node_types().values()], "next": None})


@router.get("/{name}", summary="One node type")
def one_type(request: HttpRequest, name: str) -> HttpResponse:
    require(request, "read")
    return as_json(named(name))
