"""Says everything that is wrong with a document, each problem with its place, code, message and hint.

Looks only at the document and the node registry; whether a named sub-workflow exists is asked elsewhere.
"""

from __future__ import annotations

from typing import Any

from workflows.core.compile import build
from workflows.core.document import BODY_SCHEMA, DOCUMENT_SCHEMA, Document, DocumentLimits
from workflows.core.errors import AobError
from workflows.core.ir import WorkflowIR
from workflows.core.problems import MAX_PROBLEMS, Problem, from_error
from workflows.core.schemas import compile_schema
from workflows.core.strictjson import check, encode


def validate(document: Any, *, limits: DocumentLimits | None = None) -> list[Problem]:
    """All problems of a decoded document, at most MAX_PROBLEMS; empty when it may run."""
    return checked(document, limits=limits)[1]


def checked(document: Any, *, limits: DocumentLimits | None = None) -> tuple[WorkflowIR | None, list[Problem]]:
    """The IR of a decoded document with all its problems; of use only when none of them is an error."""
    limits = limits or DocumentLimits()
    too_large = _size_problems(document, limits)
    if too_large:
        return None, too_large
    shape = [from_error(fault, "") for fault in compile_schema(DOCUMENT_SCHEMA).problems(document)]
    if shape:
        return None, [*shape, *_rest_of(document, shape, limits)][:MAX_PROBLEMS]
    ir, problems = build(document, limits=limits)
    return ir, problems[:MAX_PROBLEMS]


def body_problems(body: Any, pointer: str) -> list[Problem]:
    """What is wrong with the shape of a body graph."""
    return [from_error(fault, pointer) for fault in compile_schema(BODY_SCHEMA).problems(body, pointer=pointer)]


def _rest_of(document: Any, shape: list[Problem], limits: DocumentLimits) -> list[Problem]:
    """The problems of the parts whose shape is right, so that one look shows everything."""
    if not isinstance(document, dict) or not isinstance(document.get("nodes"), dict):
        return []
    bad_nodes = {problem.pointer.split("/")[2] for problem in shape if problem.pointer.startswith("/nodes/")}
    bad_edges = {problem.pointer.split("/")[2] for problem in shape if problem.pointer.startswith("/edges/")}
    edges = document.get("edges", {})
    nodes = document["nodes"]
    pruned: Document = {
        "name": document["name"] if isinstance(document.get("name"), str) else "unnamed",
        "nodes": {
            name: {"type": "transform", "config": {"output": None}} if name in bad_nodes else node
            for name, node in nodes.items()
        },
        "edges": {
            name: edge for name, edge in (edges.items() if isinstance(edges, dict) else ()) if name not in bad_edges
        },
    }
    for part in ("inputs", "output"):
        if part in document and not any(problem.pointer.startswith(f"/{part}") for problem in shape):
            pruned[part] = document[part]
    if compile_schema(DOCUMENT_SCHEMA).problems(pruned):
        return []
    known = {(problem.pointer, problem.code) for problem in shape}
    return [problem for problem in build(pruned, limits=limits)[1] if (problem.pointer, problem.code) not in known]


def _size_problems(document: Any, limits: DocumentLimits) -> list[Problem]:
    try:
        check(document)
    except AobError as error:
        return [from_error(error, "")]
    problems = []
    for part, limit, setting in (
        ("nodes", limits.max_nodes, "AOB_MAX_NODES"),
        ("edges", limits.max_edges, "AOB_MAX_EDGES"),
    ):
        count = _count(document, part)
        if count > limit:
            problems.append(
                Problem(
                    f"/{part}",
                    f"limit_{part}",
                    f"The document has {count} {part}; the limit is {limit}.",
                    f"Split it into sub-workflows, or raise {setting}.",
                )
            )
    size = len(encode(document))
    if size > limits.max_document_bytes:
        problems.append(
            Problem(
                "",
                "limit_document_bytes",
                f"The document has {size} bytes; the limit is {limits.max_document_bytes}.",
                "Move large constants to inputs or blobs, or raise AOB_MAX_DOCUMENT_BYTES.",
            )
        )
    return problems


def _count(graph: Any, part: str) -> int:
    """How many nodes or edges a graph has, those of its bodies included."""
    if not isinstance(graph, dict) or not isinstance(graph.get(part, {}), dict):
        return 0
    count = len(graph.get(part, {}))
    nodes = graph.get("nodes")
    for node in nodes.values() if isinstance(nodes, dict) else ():
        config = node.get("config") if isinstance(node, dict) else None
        body = config.get("body") if isinstance(config, dict) else None
        if isinstance(body, dict):
            count += _count(body, part)
    return count
