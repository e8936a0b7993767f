"""`/workflows/{name}/patches` and `/workflows/{name}/tags/{tag}/experiment`: change workflows, and compare outcomes."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from ninja import Router
from pydantic import Field

from aob_web.accounts.access import allowed, require
from aob_web.api.answers import as_json
from aob_web.api.bodies import Body, documented, parse
from aob_web.api.patches import PatchBody, proposal_of
from runs import experiments, workflow_patches
from runs.patches import MAX_REASON
from workflows.core.grants import Author
from workflows.services import LATEST

router = Router()


class WorkflowPatchBody(PatchBody):
    tag: str = Field(default=LATEST, max_length=64, description="The tag that gets the version.")


class SquashBody(Body):
    tag: str = Field(default=LATEST, max_length=64)
    reason: str = Field(default="", max_length=MAX_REASON)


class ExperimentBody(Body):
    share: int = Field(description="1 to 99: so many in a hundred new runs get the variant.")
    version: str | None = Field(default=None, max_length=71, description="A hash or a tag of the workflow.")
    patch: str | None = Field(default=None, max_length=36, description="A patch that waits for review, or is only tried.")


@router.post("/{name}/patches", openapi_extra=documented(WorkflowPatchBody), summary="Patch a workflow")
def propose(request: HttpRequest, name: str) -> HttpResponse:
    """Tries the patch on recorded runs, then applies it, keeps it for review or only tries it, as `patches` says.

    Applied, it is a new version, and the tag moves to it. Honours `Idempotency-Key`. What was made against an older
    version is rebased where others changed other places.
    """
    caller = require(request, "write")
    body = parse(request, WorkflowPatchBody)
    proposal = proposal_of(body, request.headers.get("Idempotency-Key"), caller)
    return as_json(workflow_patches.propose(name, body.tag, proposal, user=caller.user), 201)


@router.get("/{name}/patches", summary="The patches of a workflow")
def listed(
    request: HttpRequest, name: str, tag: str | None = None, limit: int = 100, cursor: str | None = None
) -> HttpResponse:
    """The newest first, without their operations and reports."""
    require(request, "read")
    return as_json(workflow_patches.listed(name, tag=tag, limit=limit, cursor=cursor))


@router.post("/{name}/patches/squash", openapi_extra=documented(SquashBody, required=False), summary="Squash a chain")
def squash(request: HttpRequest, name: str) -> HttpResponse:
    """One patch of all since the last version that was pushed by hand; the version stays the same."""
    caller = require(request, "write")
    body = parse(request, SquashBody)
    author = Author("person", caller.name)
    return as_json(workflow_patches.squash(name, body.tag, author=author, reason=body.reason, user=caller.user), 201)


@router.put(
    "/{name}/tags/{tag}/experiment", openapi_extra=documented(ExperimentBody), summary="Try a version on a share of runs"
)
def begin(request: HttpRequest, name: str, tag: str) -> HttpResponse:
    """New runs of `name@tag` get the version, or what the patch makes, in so many of a hundred; or changes the share."""
    caller = require(request, "write")
    body = parse(request, ExperimentBody)
    begun = experiments.begin(name, tag, share=body.share, by=caller.name, version=body.version, patch=body.patch)
    return as_json(begun)


@router.get("/{name}/tags/{tag}/experiment", summary="Outcomes of an experiment")
def outcomes(request: HttpRequest, name: str, tag: str) -> HttpResponse:
    """Runs of both versions since it began: how many completed and failed, and how long they took, in seconds."""
    require(request, "read")
    return as_json(experiments.outcomes(name, tag))


@router.delete("/{name}/tags/{tag}/experiment", summary="End an experiment")
def end(request: HttpRequest, name: str, tag: str, keep: bool = False) -> HttpResponse:
    """With `keep` the tag moves to the variant, or its patch is applied; without, the patch is rejected.

    As it may decide a patch, it needs the scopes `write` and `execute`.
    """
    caller = require(request, "write")
    allowed(caller, "execute")
    return as_json(experiments.end(name, tag, keep=keep, by=caller.name, user=caller.user, door=caller.door))
