"""The patches behind a workflow's tags: what each changed and would have made of recorded runs, answers, experiments."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from aob_web.accounts.access import door_of
from runs import experiments, workflow_patches
from runs.patches import MAX_REASON
from workflows.core.errors import AobError
from workflows.core.grants import Author
from workflows.models import Workflow

SHOWN = 10
MAX_TAGS = 20
MAX_OPERATIONS = 200
MAX_VALUE = 2_000
MARKS = {
    "applied": "done",
    "pending_review": "waiting",
    "shadow": "draft",
    "rejected": "cancelled",
    "reverted": "skipped",
    "squashed": "skipped",
}
"""The marks of states that fit how a patch stands."""


def section(workflow: Workflow) -> dict[str, Any]:
    """What the workflow's page shows of its patches and experiments, by tag."""
    tags = sorted({*workflow.patches.values_list("tag", flat=True), *workflow.experiments.values_list("tag", flat=True)})
    chains = [_chain(workflow, tag) for tag in tags[:MAX_TAGS]]
    waiting = [one for chain in chains for one in chain["patches"] if one["status"] in ("pending_review", "shadow")]
    return {"chains": chains, "variants": waiting}


def _chain(workflow: Workflow, tag: str) -> dict[str, Any]:
    page = workflow_patches.listed(workflow.name, tag=tag, limit=SHOWN)
    patches = [workflow_patches.show(one["id"]) if one["status"] == "pending_review" else one for one in page["items"]]
    found = experiments.latest(workflow.name, tag)
    experiment = experiments.outcomes(workflow.name, tag) if found else None
    numbers = _numbers(workflow, patches, experiment)
    for one in patches:
        _marked(one, numbers)
    for version in experiment["versions"] if experiment else ():
        version["number"] = numbers.get(version["version"])
    return {
        "tag": tag,
        "patches": patches,
        "more": page["next"] is not None,
        "can_squash": sum(one["status"] in ("applied", "reverted") for one in patches) > 1,
        "experiment": experiment,
        "goes_on": experiment is not None and experiment["status"] in ("live", "overtaken"),
    }


def _numbers(workflow: Workflow, patches: list[dict[str, Any]], experiment: dict[str, Any] | None = None) -> Any:
    """The numbers of the versions that are named."""
    named = {one.get(key) for one in patches for key in ("before", "version")}
    named |= {one["version"] for one in experiment["versions"]} if experiment else set()
    return dict(workflow.versions.filter(version_id__in=named).values_list("version_id", "number"))


def _marked(patch: dict[str, Any], numbers: dict[str, int]) -> None:
    """Adds to a patch what a page needs: its mark, and the numbers of the versions to compare."""
    patch["mark"] = MARKS[patch["status"]]
    old, new = (numbers.get(patch.get(key, "")) for key in ("before", "version"))
    patch["compare"] = f"#versions={old}..{new}" if old and new and old != new else None


@require_GET
@login_required
def patch(request: HttpRequest, name: str, patch_id: str) -> HttpResponse:
    """One patch: its operations, its report, and what can be done with it."""
    workflow = Workflow.objects.filter(name=name).first()
    if workflow is None:
        raise Http404
    found = _found(name, patch_id)
    _marked(found, _numbers(workflow, [found]))
    operations = [
        {**one, "text": json.dumps(one["value"], ensure_ascii=False, indent=2)[:MAX_VALUE] if "value" in one else None}
        for one in found["operations"][:MAX_OPERATIONS]
    ]
    context = {
        "workflow": workflow,
        "patch": found,
        "operations": operations,
        "more_operations": len(found["operations"]) - len(operations),
        "other_tags": workflow.tags.exclude(name=found["tag"]),
    }
    return render(request, "ui/workflow-patch.html", context)


@require_POST
@login_required
def settle(request: HttpRequest, name: str, patch_id: str, action: str) -> HttpResponse:
    """Approves, rejects, undoes or promotes a patch; a refusal is told on the patch's page."""
    if action not in _DO:
        raise Http404
    _found(name, patch_id)
    try:
        _said(request, _DO[action](request, patch_id))
    except AobError as error:
        _refused(request, error)
        return redirect("workflow-patch", name=name, patch_id=patch_id)
    return _back(name)


@require_POST
@login_required
def squash(request: HttpRequest, name: str) -> HttpResponse:
    try:
        workflow_patches.squash(
            name, request.POST.get("tag", ""), author=_author(request), reason=_reason(request), user=request.user
        )
        messages.success(request, "The chain is one patch now; the version is the same.")
    except AobError as error:
        _refused(request, error)
    return _back(name)


@require_POST
@login_required
def experiment(request: HttpRequest, name: str) -> HttpResponse:
    """Begins an experiment, changes its share, or ends it."""
    tag = request.POST.get("tag", "")
    by = request.user.get_username()
    ends = request.POST.get("end")
    try:
        if ends in ("keep", "drop"):
            told = experiments.end(name, tag, keep=ends == "keep", by=by, user=request.user, door=door_of(request))
            messages.success(request, f"The experiment has ended: {told['status']}.")
        else:
            kind, _, wanted = request.POST.get("variant", "").partition(" ")
            share = request.POST.get("share", "")
            told = experiments.begin(
                name,
                tag,
                share=int(share) if share.isascii() and share.isdigit() and len(share) < 4 else 0,
                by=by,
                version=wanted if kind == "version" else None,
                patch=wanted if kind == "patch" else None,
            )
            messages.success(request, f"{told['share']} in 100 new runs of {name}@{tag} get the variant from now on.")
    except AobError as error:
        _refused(request, error)
    return _back(name)


def _answer(verdict: str) -> Callable[[HttpRequest, str], dict[str, Any]]:
    def answer(request: HttpRequest, patch_id: str) -> dict[str, Any]:
        by = request.user.get_username()
        return workflow_patches.answer(
            patch_id, verdict, by=by, reason=_reason(request), user=request.user, door=door_of(request)
        )

    return answer


def _undo(request: HttpRequest, patch_id: str) -> dict[str, Any]:
    return workflow_patches.revert(patch_id, author=_author(request), reason=_reason(request), user=request.user)


def _promote(request: HttpRequest, patch_id: str) -> dict[str, Any]:
    tag = request.POST.get("tag", "")
    return workflow_patches.promote(patch_id, tag, author=_author(request), reason=_reason(request), user=request.user)


_DO: dict[str, Callable[[HttpRequest, str], dict[str, Any]]] = {
    "approve": _answer("approve"),
    "reject": _answer("reject"),
    "undo": _undo,
    "promote": _promote,
}


def _said(request: HttpRequest, patch: dict[str, Any]) -> None:
    tag = f"{patch['workflow']}@{patch['tag']}"
    messages.success(
        request,
        {
            "applied": f"Applied: new runs of {tag} begin with the version that it makes.",
            "pending_review": f"The patch of {tag} waits for review, as the workflow wants it.",
            "shadow": f"The patch of {tag} was only tried, as the workflow wants it.",
            "rejected": f"Rejected: {tag} stays as it is.",
        }[patch["status"]],
    )


def _refused(request: HttpRequest, error: AobError) -> None:
    messages.error(request, f"{error.message} {error.hint or ''}".strip())


def _back(name: str) -> HttpResponse:
    response = redirect("workflow", name=name)
    response["Location"] += "#patches"
    return response


def _found(name: str, patch_id: str) -> dict[str, Any]:
    try:
        found = workflow_patches.show(patch_id)
    except AobError:
        raise Http404 from None
    if found["workflow"] != name:
        raise Http404
    return found


def _author(request: HttpRequest) -> Author:
    return Author("person", request.user.get_username())


def _reason(request: HttpRequest) -> str:
    return request.POST.get("reason", "").strip()[:MAX_REASON]
