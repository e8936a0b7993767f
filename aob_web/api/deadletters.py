"""`/dead-letters`: tasks that failed for good."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from ninja import Router

from aob_web.accounts.access import require
from aob_web.api.answers import as_json
from aob_web.api.bodies import EmptyBody, ReasonBody, documented, parse
from runs import deadletters, queries
from workflows.core.errors import AobError

router = Router()


def _number(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) < 19:
        return int(text)
    raise AobError("dead_letter_unknown", f"There is no dead letter {text[:40]!r}.")


@router.get("", summary="List dead letters")
def dead_letters(
    request: HttpRequest,
    status: str | None = None,
    workflow: str | None = None,
    node_type: str | None = None,
    code: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> HttpResponse:
    """The newest first. `code` is the code of the error."""
    require(request, "read")
    page = deadletters.dead_letters(
        status=status, workflow=workflow, node_type=node_type, code=code, limit=limit, cursor=cursor
    )
    return as_json(page)


@router.get("/{number}", summary="One dead letter")
def dead_letter(request: HttpRequest, number: str) -> HttpResponse:
    require(request, "read")
    return as_json(deadletters.dead_letter(_number(number)))


@router.post("/{number}/replay", openapi_extra=documented(EmptyBody, required=False), summary="Replay it")
def replay(request: HttpRequest, number: str) -> HttpResponse:
    caller = require(request, "execute")
    parse(request, EmptyBody)
    return as_json(queries.run(deadletters.replay(_number(number), by=caller.name)), 201)


@router.post("/{number}/discard", openapi_extra=documented(ReasonBody, required=False), summary="Discard it")
def discard(request: HttpRequest, number: str) -> HttpResponse:
    require(request, "execute")
    deadletters.discard(_number(number), reason=parse(request, ReasonBody).reason)
    return as_json(deadletters.dead_letter(_number(number)))
