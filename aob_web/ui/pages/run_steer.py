"""What can be done with a run: each action says what it will do, or why it cannot be done, before it is done."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from aob_web.ui import forms
from aob_web.ui.pages.run import run_or_404
from runs import queries, reading, services, timeline
from workflows.core.errors import AobError

NAMED = 12
"""So many nodes are named in a forecast; of the others the number is told."""


@dataclass
class Plan:
    """An action as it is offered: what it will do in sentences, or why it is not possible now."""

    title: str
    button: str
    sentences: list[str]
    refused: str = ""
    danger: bool = False
    node: str = ""
    edits_inputs: bool = False
    asks_reason: bool = False
    is_signal: bool = False
    kept: list[str] = field(default_factory=list)
    redone: list[str] = field(default_factory=list)


@require_http_methods(["GET", "POST"])
@login_required
def steer(request: HttpRequest, run_id: str, action: str) -> HttpResponse:
    """GET tells what the action will do and asks; POST does it."""
    if action not in _PLANS:
        raise Http404
    view = run_or_404(run_id)
    if request.method == "GET":
        return _asked(request, view, action)
    try:
        target = _DO[action](request, view)
    except AobError as error:
        return _refused(request, view, action, f"{error.message} {error.hint or ''}".strip())
    where = reverse("run", args=[target])
    if request.htmx:  # type: ignore[attr-defined]
        return HttpResponse(status=204, headers={"X-Run": where})
    return redirect(where)


def _refused(request: HttpRequest, view: dict[str, Any], action: str, message: str) -> HttpResponse:
    if request.htmx or "inputs" in request.POST:  # type: ignore[attr-defined]
        return _asked(request, view, action, fault=message, status=422)
    messages.error(request, message)
    return redirect("run", run_id=view["id"])


def _asked(
    request: HttpRequest, view: dict[str, Any], action: str, *, fault: str = "", status: int = 200
) -> HttpResponse:
    node = request.POST.get("from") or request.GET.get("from", "")
    try:
        plan = _PLANS[action](view, node)
    except AobError as error:
        plan = Plan("This cannot be done", "", [], f"{error.message} {error.hint or ''}")
    context: dict[str, Any] = {"run": view, "plan": plan, "action": action, "fault": fault}
    context["name"] = request.GET.get("name", "") or request.POST.get("name", "")
    context["payload"] = request.POST.get("payload", "")
    if plan.edits_inputs and not plan.refused:
        found = reading.reading(view["id"], 1, ("inputs",))
        context["inputs_large"] = found is not None and not found.whole
        if found is not None and found.whole:
            context["inputs"] = request.POST.get("inputs") or json.dumps(found.value, indent=2, ensure_ascii=False)
    template = "ui/parts/steer.html" if request.htmx else "ui/run-steer.html"  # type: ignore[attr-defined]
    return render(request, template, context, status=status)


# What each action will do


def _ended(view: dict[str, Any]) -> str:
    if view["status"] in queries.TERMINAL_STATUSES:
        return f"The run has ended: {view['status'].replace('_', ' ')}. Replay it, or run it again."
    return ""


def _executing(run_id: str) -> str:
    count = len(timeline.leases(run_id))
    return (
        "Nothing is being executed now"
        if not count
        else f"{count} {'node is' if count == 1 else 'nodes are'} being executed"
    )


def _plan_cancel(view: dict[str, Any], node: str) -> Plan:
    return Plan(
        "Cancel this run?",
        "Cancel the run",
        [
            f"{_executing(view['id'])}; what is being executed is stopped, and its result is not recorded.",
            "The run ends as cancelled. What has been done stays done, and can be replayed from any node.",
        ],
        _ended(view),
        danger=True,
        asks_reason=True,
    )


def _plan_pause(view: dict[str, Any], node: str) -> Plan:
    refused = _ended(view) or ("The run is paused already." if view["status"] == "paused" else "")
    return Plan(
        "Pause this run?",
        "Pause",
        [
            f"Nothing new starts. {_executing(view['id'])}; that is finished and recorded.",
            "Timers go on; what they bring waits until the run is resumed.",
        ],
        refused,
    )


def _plan_resume(view: dict[str, Any], node: str) -> Plan:
    refused = _ended(view) or ("" if view["status"] == "paused" else "The run is not paused.")
    return Plan(
        "Resume this run?", "Resume", ["The run goes on where it was paused; nothing is executed twice."], refused
    )


def _plan_again(view: dict[str, Any], node: str) -> Plan:
    return Plan(
        f"Run {view['workflow']} again?",
        "Start a new run",
        [
            "A new run begins at the start, with the same version. Every node is executed again.",
            "This run stays as it is.",
        ],
        edits_inputs=True,
    )


def _items_stay(node: str) -> list[str]:
    """Said where changed inputs would not reach the item or the round that is executed again."""
    owner, bracket, _ = node.rpartition("[")
    return (
        [f"The items or rounds of {owner} stay those of the log; to change that, replay from {owner}."] if bracket else []
    )


def _plan_replay(view: dict[str, Any], node: str) -> Plan:
    kept, redone = services.foresee(view["id"], node)
    taken = f"{len(kept)} {'node is' if len(kept) == 1 else 'nodes are'} taken from the log and not executed again"
    return Plan(
        f"Replay from {node}?",
        "Start the replay",
        [
            f"A new run begins at {node}; {taken}.",
            f"{len(redone)} of the nodes that had run {'is' if len(redone) == 1 else 'are'} executed again,"
            " and what follows from them.",
            *_items_stay(node),
            "This run stays as it is.",
        ],
        node=node,
        edits_inputs=True,
        kept=kept[:NAMED],
        redone=redone[:NAMED],
    )


def _plan_retry(view: dict[str, Any], node: str) -> Plan:
    found = _first_unfinished(view)
    if not found:
        reason = "No node has failed in this run." if _ended(view) else "The run goes on; wait for its end, or cancel it."
        return Plan("Retry what failed?", "Retry", [], reason)
    plan = _plan_replay(view, found)
    plan.title, plan.button = "Retry what failed?", "Retry"
    plan.edits_inputs = False
    return plan


def _first_unfinished(view: dict[str, Any]) -> str:
    """The node that failed the run or was cut off with it; "" while it goes on or when there is none."""
    if view["status"] not in queries.TERMINAL_STATUSES:
        return ""
    with timeline.held(view["id"]) as found:
        for path in found.failures:
            if found.activations[path].state == "failed":
                return path
        cut_off = [one.node for one in found.activations.values() if one.state == "cancelled"]
    return cut_off[-1] if cut_off else ""


def _plan_signal(view: dict[str, Any], node: str) -> Plan:
    sentences = ["The nodes that wait for this signal go on with the payload. It is kept if none waits for it yet."]
    return Plan("Send a signal", "Send", sentences, _ended(view), is_signal=True)


_PLANS: dict[str, Callable[[dict[str, Any], str], Plan]] = {
    "cancel": _plan_cancel,
    "pause": _plan_pause,
    "resume": _plan_resume,
    "again": _plan_again,
    "replay": _plan_replay,
    "retry": _plan_retry,
    "signal": _plan_signal,
}


# Doing it; each gives the id of the run to show


def _by(request: HttpRequest) -> str:
    return str(request.user.get_username())


def _inputs(request: HttpRequest, run_id: str) -> Any:
    """The inputs that were edited, or None for those that the run had."""
    text = request.POST.get("inputs", "").strip()
    if not text:
        return None
    try:
        edited = forms.decode(text)
    except AobError as error:
        raise AobError(error.code, f"The inputs are not JSON: {error.message}", "/inputs", error.hint) from None
    before = reading.reading(run_id, 1, ("inputs",))
    return None if before is not None and before.whole and before.value == edited else edited


def _cancel(request: HttpRequest, view: dict[str, Any]) -> str:
    services.cancel(view["id"], reason=request.POST.get("reason") or None, by=_by(request))
    return str(view["id"])


def _pause(request: HttpRequest, view: dict[str, Any]) -> str:
    services.pause(view["id"], by=_by(request))
    return str(view["id"])


def _resume(request: HttpRequest, view: dict[str, Any]) -> str:
    services.resume(view["id"], by=_by(request))
    return str(view["id"])


def _again(request: HttpRequest, view: dict[str, Any]) -> str:
    return services.again(view["id"], inputs=_inputs(request, view["id"]), by=_by(request))


def _replay(request: HttpRequest, view: dict[str, Any]) -> str:
    start = request.POST.get("from", "")
    return services.replay(view["id"], start, inputs=_inputs(request, view["id"]), by=_by(request))


def _retry(request: HttpRequest, view: dict[str, Any]) -> str:
    found = _first_unfinished(view)
    if not found:
        raise AobError("nothing_failed", "No node has failed in this run.")
    return services.replay(view["id"], found, by=_by(request))


def _signal(request: HttpRequest, view: dict[str, Any]) -> str:
    payload = forms.decode(request.POST.get("payload") or "null")
    services.signal(view["id"], request.POST.get("name", ""), payload, by=_by(request))
    return str(view["id"])


_DO: dict[str, Callable[[HttpRequest, dict[str, Any]], str]] = {
    "cancel": _cancel,
    "pause": _pause,
    "resume": _resume,
    "again": _again,
    "replay": _replay,
    "retry": _retry,
    "signal": _signal,
}
