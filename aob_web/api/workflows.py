"""`/workflows`: versions and tags."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import Router

from aob_web.accounts.access import require
from aob_web.api.answers import as_json
from aob_web.api.bodies import PushBody, TagBody, ValidateBody, documented, parse
from workflows import services
from workflows.models import Draft, Workflow, WorkflowVersion

router = Router()
MAX_PAGE = 500


def _workflow(found: Workflow) -> dict[str, Any]:
    newest = found.versions.first()
    return {
        "name": found.name,
        "description": found.description,
        "version": newest.version_id if newest else None,
        "number": newest.number if newest else None,
        "tags": {tag.name: tag.version_id for tag in found.tags.all()},
        "created_at": found.created_at.isoformat(),
    }


def _version(found: WorkflowVersion) -> dict[str, Any]:
    return {
        "version": found.version_id,
        "number": found.number,
        "note": found.note,
        "created_at": found.created_at.isoformat(),
        "created_by": found.created_by.get_username() if found.created_by else None,
    }


def _is_only_drawn(name: str) -> bool:
    """A draft of which nothing has been published: a workflow without versions and tags."""
    return not Workflow.objects.filter(name=name).exists() and Draft.objects.filter(name=name).exists()


def _find(name: str) -> Workflow:
    found = Workflow.objects.filter(name=name).first()
    if found is None:
        raise services.WorkflowError(
            "workflow_unknown", f"There is no workflow {name[:128]!r}.", hint="See `aob workflow list`."
        )
    return found


def page(limit: int, cursor: str) -> dict[str, Any]:
    """Workflows by name."""
    size = max(1, min(limit, MAX_PAGE))
    found = list(Workflow.objects.filter(name__gt=cursor).prefetch_related("tags", "versions")[: size + 1])
    following = found[size - 1].name if len(found) > size else None
    return {"items": [_workflow(one) for one in found[:size]], "next": following}


def with_document(name: str, version: str) -> dict[str, Any]:
    """A version of a workflow, by hash or tag, with its document. Raises WorkflowError."""
    found = services.resolve(f"{name}@{version}")
    row = _find(name).versions.select_related("created_by").get(version_id=found)
    return {**_version(row), "name": name, "document": services.document_of(found)}


@router.get("", summary="List workflows")
def workflows(request: HttpRequest, limit: int = 100, cursor: str = "") -> HttpResponse:
    require(request, "read")
    return as_json(page(limit, cursor))


@router.post("", openapi_extra=documented(PushBody), summary="Push a version")
def push(request: HttpRequest) -> HttpResponse:
    """Keeps the document as the newest version and moves the tag `latest` (and `tag`).

    `problems` are what it is warned of, an assignee say that does not exist.
    """
    caller = require(request, "write")
    body = parse(request, PushBody)
    pushed = services.push(body.document, user=caller.user, tag=body.tag, note=body.note)
    problems = [problem.as_dict() for problem in services.problems_of(body.document)]
    return as_json({**_workflow(pushed.workflow), **_version(pushed), "problems": problems}, 201)


@router.post("/validate", openapi_extra=documented(ValidateBody), summary="Validate a document")
def validate(request: HttpRequest) -> HttpResponse:
    """Every problem of a document; nothing is stored, executed or connected to."""
    require(request, "read")
    problems = services.problems_of(parse(request, ValidateBody).document)
    valid = not any(problem.severity == "error" for problem in problems)
    return as_json({"valid": valid, "problems": [problem.as_dict() for problem in problems]})


@router.get("/{name}", summary="One workflow")
def workflow(request: HttpRequest, name: str) -> HttpResponse:
    require(request, "read")
    return as_json(_workflow(_find(name)))


@router.get("/{name}/versions", summary="Its versions")
def versions(request: HttpRequest, name: str, limit: int = 100, cursor: int = 2**31 - 1) -> HttpResponse:
    require(request, "read")
    if _is_only_drawn(name):
        return as_json({"items": [], "next": None})
    size = max(1, min(limit, MAX_PAGE))
    bound = max(0, min(cursor, 2**31 - 1))
    found = list(_find(name).versions.filter(number__lt=bound).select_related("created_by")[: size + 1])
    following = found[size - 1].number if len(found) > size else None
    return as_json({"items": [_version(one) for one in found[:size]], "next": following})


@router.get("/{name}/versions/{version}", summary="One version with its document")
def version(request: HttpRequest, name: str, version: str) -> HttpResponse:
    require(request, "read")
    return as_json(with_document(name, version))


@router.get("/{name}/tags", summary="Its tags")
def tags(request: HttpRequest, name: str) -> HttpResponse:
    require(request, "read")
    if _is_only_drawn(name):
        return as_json({"items": [], "next": None})
    items = [
        {"tag": tag.name, "version": tag.version_id, "moved_at": tag.moved_at.isoformat()}
        for tag in _find(name).tags.all()
    ]
    return as_json({"items": items, "next": None})


@router.put("/{name}/tags/{tag}", openapi_extra=documented(TagBody), summary="Move a tag")
def move_tag(request: HttpRequest, name: str, tag: str) -> HttpResponse:
    caller = require(request, "write")
    moved = services.move_tag(name, tag, parse(request, TagBody).version, user=caller.user)
    return as_json({"tag": moved.name, "version": moved.version_id, "moved_at": moved.moved_at.isoformat()})
