"""What the editor asks beside publishing: drafts, tries, previews of expressions."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from django.http import HttpRequest, HttpResponse
from ninja import Router
from pydantic import Field

from aob_web.accounts.access import require
from aob_web.api import problems
from aob_web.api.answers import as_json
from aob_web.api.bodies import Body, documented, parse
from runs import queries
from runs import services as runs
from runs.models import TRY_LABEL
from workflows import drafts
from workflows.core import trying
from workflows.core.errors import AobError
from workflows.core.language import callables
from workflows.core.preview import preview

router = Router()


class DraftBody(Body):
    document: dict[str, Any]
    revision: int = Field(ge=0)
    pins: dict[str, Any] = Field(default_factory=dict)


class TryBody(Body):
    document: dict[str, Any]
    node: str = Field(max_length=2000)
    mode: Literal["node", "until"] = "node"
    inputs: Any = Field(default_factory=dict)
    data: dict[str, Any] = Field(default_factory=dict, description="Outputs by node path; these nodes are not run.")


class PreviewBody(Body):
    kind: Literal["template", "expression"]
    text: Any
    scope: dict[str, Any] = Field(default_factory=dict)


@router.get("/workflows/{name}/draft", summary="The draft of a workflow")
def draft(request: HttpRequest, name: str) -> HttpResponse:
    require(request, "read")
    return as_json(drafts.draft_of(name))


@router.put("/workflows/{name}/draft", openapi_extra=documented(DraftBody), summary="Save a draft")
def save_draft(request: HttpRequest, name: str) -> HttpResponse:
    """409 with the present `draft` when somebody saved since `revision`."""
    caller = require(request, "write")
    body = parse(request, DraftBody)
    try:
        return as_json(drafts.save_draft(name, body.document, revision=body.revision, pins=body.pins, user=caller.user))
    except drafts.DraftStale as error:
        return as_json({**problems.problem(error), "draft": error.draft}, 409)


@router.post("/workflows/try", openapi_extra=documented(TryBody), summary="Try a node")
def try_node(request: HttpRequest) -> HttpResponse:
    """Runs one node, or everything that leads to it, with outputs that are given in the place of other nodes."""
    caller = require(request, "execute")
    body = parse(request, TryBody)
    if not isinstance(body.document.get("nodes"), dict) or not isinstance(body.document.get("edges", {}), dict):
        raise AobError("draft_invalid", "A document is an object with `nodes`.", "/document")
    make = trying.one_node if body.mode == "node" else trying.until
    document = make(body.document, body.node, body.data)
    run = runs.start(runs.StartRequest(document, body.inputs, labels={TRY_LABEL: body.node[:200]}, by=caller.name))
    return as_json(queries.run(run.id), 201)


@router.post("/expressions/preview", openapi_extra=documented(PreviewBody), summary="Evaluate an expression")
def preview_expression(request: HttpRequest) -> HttpResponse:
    """Its value on the given scope, or why there is none."""
    require(request, "read")
    body = parse(request, PreviewBody)
    try:
        return as_json({"ok": True, "value": preview(body.kind, body.text, body.scope)})
    except AobError as error:
        return as_json({"ok": False, "error": error.message, "hint": error.hint})


@router.get("/expressions/functions", summary="List what expressions may call")
def functions(request: HttpRequest) -> HttpResponse:
    """Signatures, help and an example with its value; `on` is the type before the dot."""
    require(request, "read")
    return as_json({"items": [msgspec.to_builtins(one) for one in callables()], "next": None})
