"""The patches of a run: what each changes and would do, and the answer to one that waits for review."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from aob_web.accounts.access import door_of
from aob_web.ui import patched
from aob_web.ui.pages import run_compare, showing
from aob_web.ui.pages.run import run_or_404
from runs import patches, queries, reading, workflow_patches
from runs.core.patching import PatchRefused
from runs.patches import MAX_REASON
from workflows.core.changes import VERBS, changes
from workflows.core.errors import AobError
from workflows.core.grants import Author
from workflows.core.patches import PatchConflict

NAMED = 30
"""So many nodes of a forecast are named; of the others the number is told."""

MAX_CHANGES = 200


@require_GET
@login_required
def patches_of(request: HttpRequest, run_id: str) -> HttpResponse:
    """The list is a part of the run's page."""
    run_or_404(run_id)
    return redirect(f"{reverse('run', args=[run_id])}#patches")


@require_GET
@login_required
def patch(request: HttpRequest, run_id: str, patch_id: str) -> HttpResponse:
    """One patch as it is reviewed."""
    if "news" in request.GET:
        ended = run_or_404(run_id)["status"] in queries.TERMINAL_STATUSES
        return render(request, "ui/parts/patch-news.html", {"patch": _found(run_id, patch_id), "ended": ended})
    return _page(request, run_id, patch_id)


@require_GET
@login_required
def draw(request: HttpRequest, run_id: str) -> HttpResponse:
    """The editor on the run's graph as it is; what is drawn there is proposed as a patch."""
    view = run_or_404(run_id)
    if view["status"] in queries.TERMINAL_STATUSES:
        messages.error(request, "The run has ended, so its graph stays as it is. Replay it with another version.")
        return redirect("run", run_id=run_id)
    nonce = secrets.token_urlsafe(16)
    response = render(request, "ui/editor.html", {"name": view["workflow"], "run": view["id"], "nonce": nonce})
    response.style_nonce = nonce  # type: ignore[attr-defined]
    return response


@require_POST
@login_required
def settle(request: HttpRequest, run_id: str, patch_id: str, action: str) -> HttpResponse:
    """Approves, rejects or undoes; a refusal is told where it was asked for."""
    if action not in _DO:
        raise Http404
    _found(run_id, patch_id)
    try:
        shown, said = _DO[action](request, run_id, patch_id)
    except AobError as error:
        status = 409 if isinstance(error, PatchConflict) else 422
        return _page(request, run_id, patch_id, fault=_fault(error), status=status)
    messages.success(request, said)
    return redirect("run-patch", run_id=run_id, patch_id=shown)


def _approve(request: HttpRequest, run_id: str, patch_id: str) -> tuple[str, str]:
    _answer(request, run_id, patch_id, "approve")
    return patch_id, "The patch is applied: from now on the run goes on with the changed graph."


def _reject(request: HttpRequest, run_id: str, patch_id: str) -> tuple[str, str]:
    _answer(request, run_id, patch_id, "reject")
    return patch_id, "The patch is rejected; the run's graph stays as it is."


def _answer(request: HttpRequest, run_id: str, patch_id: str, verdict: str) -> None:
    by, door = request.user.get_username(), door_of(request)
    patches.answer(patch_id, verdict, by=by, reason=_reason(request), run_id=run_id, door=door)


def _undo(request: HttpRequest, run_id: str, patch_id: str) -> tuple[str, str]:
    author = Author("person", request.user.get_username())
    made = patches.revert(patch_id, author=author, reason=_reason(request), run_id=run_id)
    if made["status"] == "applied":
        return made["id"], "Undone. This is the patch that took the change back."
    return made["id"], "This patch takes the change back; it waits for review, as the workflow wants it."


_DO: dict[str, Callable[[HttpRequest, str, str], tuple[str, str]]] = {
    "approve": _approve,
    "reject": _reject,
    "undo": _undo,
}


def _reason(request: HttpRequest) -> str:
    return request.POST.get("reason", "").strip()[:MAX_REASON]


def _fault(error: AobError) -> dict[str, Any]:
    """What a refusal says, with every place that it names."""
    if isinstance(error, PatchRefused):
        return {"message": "The patch is not admitted now, and nothing was changed.", "errors": error.errors()}
    return {"message": f"{error.message} {error.hint or ''}".strip(), "errors": []}


def _found(run_id: str, patch_id: str) -> dict[str, Any]:
    try:
        return patches.show(patch_id, run_id=run_id)
    except patches.RunError:
        raise Http404 from None


def _page(
    request: HttpRequest, run_id: str, patch_id: str, *, fault: dict[str, Any] | None = None, status: int = 200
) -> HttpResponse:
    view = run_or_404(run_id)
    context = {
        **reviewed(_found(run_id, patch_id)),
        "run": view,
        "ended": view["status"] in queries.TERMINAL_STATUSES,
        "fault": fault,
        "reason": request.POST.get("reason", ""),
    }
    return rendered(request, "ui/run-patch.html", context, status=status)


def reviewed(found: dict[str, Any]) -> dict[str, Any]:
    """What is shown of a patch to those who judge it: of a run's (as `patches.show` gives it), or of a workflow's."""
    is_of_run = "run" in found
    both = patches.documents(found) if is_of_run else workflow_patches.documents(found)
    told = [] if both is None else changes(*both)
    blobs = {one["blob"] for one in reading.blobs_of(found["run"])} if is_of_run and "evidence" in found else set()
    return {
        "patch": {**found, **patched.named(found)},
        "sentences": found.get("words", ()),
        "changes": [{"verb": VERBS[one.kind], "change": one} for one in told[:MAX_CHANGES]],
        "more_changes": max(len(told) - MAX_CHANGES, 0),
        "forecast": _forecast(found["report"]) if is_of_run and "report" in found else None,
        "difference": None if both is None else run_compare.documents_compared(*both),
        "has_graph": both is not None,
        "operations": showing.pretty(found["operations"]) if "operations" in found else "",
        "evidence_is_file": found.get("evidence") in blobs,
        "nonce": secrets.token_urlsafe(16),
    }


def rendered(request: HttpRequest, template: str, context: dict[str, Any], *, status: int = 200) -> HttpResponse:
    """A page with the graph of a patch."""
    response = render(request, template, context, status=status)
    # CodeMirror writes its styles into the page.
    response.style_nonce = context["nonce"]  # type: ignore[attr-defined]
    return response


def _forecast(report: dict[str, Any]) -> dict[str, Any]:
    """A report in words: what of the run would come, and how it would end."""
    lists = (
        ("would run", report["starts"]),
        ("would act outside", report["acts"]),
        ("taken from an earlier run", report["assumed"]),
        ("would wait, or act and then go on", report["open"]),
        ("would be skipped", report["skips"]),
    )
    failures = [one for one in report["failures"] if one.get("node")]
    return {
        "lists": [
            {"words": words, "nodes": nodes[:NAMED], "more": max(len(nodes) - NAMED, 0)}
            for words, nodes in lists
            if nodes
        ],
        "failures": failures[:NAMED],
        "status": report["status"],
        "cut": not report["complete"],
        "stopped_at": report.get("stopped_at"),
        "output": "" if report["output"] is None else showing.pretty(report["output"]),
    }
