"""`/runs/{id}/patch`, `/runs/{id}/patches` and `/patches`: change the graph of a running run, review and undo.

Patches of workflows have ids of the same kind, so `/patches/{id}` serves both.
"""

from __future__ import annotations

from typing import Any, Literal

from django.http import HttpRequest, HttpResponse
from ninja import Router
from pydantic import Field

from aob_web.accounts.access import Caller, allowed, require
from aob_web.api import starts
from aob_web.api.answers import as_json
from aob_web.api.bodies import Body, documented, parse
from runs import patches, workflow_patches
from runs.patches import MAX_REASON, Proposal
from workflows.core.grants import Author
from workflows.services import LATEST

of_runs = Router()
router = Router()


class PatchBody(Body):
    operations: list[Any] = Field(description="JSON Patch (RFC 6902) on the document.")
    reason: str = Field(default="", max_length=MAX_REASON)
    base: str | None = Field(default=None, max_length=71, description="The version that the patch was made against.")
    evidence: str | None = Field(default=None, pattern="^sha256:[0-9a-f]{64}$", description="A blob that says why.")
    mode: Literal["auto", "review", "shadow"] = Field(
        default="auto", description="Stricter than the workflow's own `patches`, where that is wanted."
    )


class AnswerBody(Body):
    answer: Literal["approve", "reject"]
    reason: str = Field(default="", max_length=MAX_REASON)


class RevertBody(Body):
    reason: str = Field(default="", max_length=MAX_REASON)


class PromoteBody(Body):
    tag: str = Field(default=LATEST, max_length=64, description="The tag that gets it.")
    reason: str = Field(default="", max_length=MAX_REASON, description="That of the patch by default.")


def proposal_of(body: PatchBody, key: str | None, caller: Caller) -> Proposal:
    """What a person wants changed, under a key of their own."""
    return Proposal(
        operations=body.operations,
        reason=body.reason,
        author=Author("person", caller.name),
        base=body.base,
        evidence=body.evidence,
        mode=body.mode,
        key=starts.own_key(key, caller),
    )


@of_runs.post("/{run_id}/patch", openapi_extra=documented(PatchBody), summary="Patch a running run")
def propose(request: HttpRequest, run_id: str) -> HttpResponse:
    """Applies the patch, keeps it for review or only tries it, as the workflow's `patches` says.

    Honours `Idempotency-Key`.
    What was made against an older version is rebased where others changed other places. A refusal names in `errors`
    every place with its code and the layer that refused.
    """
    caller = require(request, "write")
    proposal = proposal_of(parse(request, PatchBody), request.headers.get("Idempotency-Key"), caller)
    return as_json(patches.propose(run_id, proposal), 201)


@of_runs.get("/{run_id}/patches", summary="The patches of a run")
def listed(request: HttpRequest, run_id: str) -> HttpResponse:
    """The oldest first, without their operations and reports; a run has few, so there is one page."""
    require(request, "read")
    return as_json({"items": patches.listed(run_id), "next": None})


@router.get("/{patch_id}", summary="One patch")
def show(request: HttpRequest, patch_id: str) -> HttpResponse:
    """With its operations, what it was made against, and what it would do (`report`).

    One of a workflow has `workflow` and `tag` in the place of `run`, and the report in `words` as well.
    """
    require(request, "read")
    if workflow_patches.is_known(patch_id):
        return as_json(workflow_patches.show(patch_id))
    return as_json(patches.show(patch_id))


@router.get("/{patch_id}/documents", summary="What a patch makes of the document")
def documents(request: HttpRequest, patch_id: str, run: str | None = None) -> HttpResponse:
    """The document without the patch (`before`) and with it (`after`); both null where it does not fit any.

    One that waits for review is told of the newest document of the run or the tag. `run` says which run is meant, should
    a replay have the same patch.
    """
    require(request, "read")
    if workflow_patches.is_known(patch_id):
        found = workflow_patches.documents(workflow_patches.show(patch_id))
    else:
        found = patches.documents(patches.show(patch_id, run_id=run))
    before, after = found or (None, None)
    return as_json({"before": before, "after": after})


@router.post("/{patch_id}/decide", openapi_extra=documented(AnswerBody), summary="Answer a patch that waits for review")
def decide(request: HttpRequest, patch_id: str) -> HttpResponse:
    """Needs the scopes `write` and `execute`, as its ticket does."""
    caller = require(request, "write")
    allowed(caller, "execute")
    body = parse(request, AnswerBody)
    if workflow_patches.is_known(patch_id):
        return as_json(
            workflow_patches.answer(
                patch_id, body.answer, by=caller.name, reason=body.reason, user=caller.user, door=caller.door
            )
        )
    return as_json(patches.answer(patch_id, body.answer, by=caller.name, reason=body.reason, door=caller.door))


@router.post("/{patch_id}/revert", openapi_extra=documented(RevertBody, required=False), summary="Undo a patch")
def revert(request: HttpRequest, patch_id: str) -> HttpResponse:
    """A new patch that takes back what this one changed, as long as nothing builds on it that has started or changed."""
    caller = require(request, "write")
    body = parse(request, RevertBody)
    author = Author("person", caller.name)
    if workflow_patches.is_known(patch_id):
        undone = workflow_patches.revert(patch_id, author=author, reason=body.reason, user=caller.user)
    else:
        undone = patches.revert(patch_id, author=author, reason=body.reason)
    return as_json(undone, 201)


@router.post("/{patch_id}/promote", openapi_extra=documented(PromoteBody, required=False), summary="Promote a patch")
def promote(request: HttpRequest, patch_id: str) -> HttpResponse:
    """An applied patch of a run for the later runs of its workflow as well; or a workflow's for another tag.

    It is rebased on what the tag names now, and held for review or only tried as any patch of the workflow.
    """
    caller = require(request, "write")
    body = parse(request, PromoteBody)
    promoted = workflow_patches.promote(
        patch_id, body.tag, author=Author("person", caller.name), reason=body.reason, user=caller.user
    )
    return as_json(promoted, 201)
