"""One run: its graph, timeline, values and log. Whatever a reader chose stands in the address (see `ui/gantt.py`)."""

from __future__ import annotations

import json
import time
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from aob_web.ui import gantt, patched
from aob_web.ui.pages import showing
from runs import budgets, conversations, logs, queries, reading, services, timeline

FIRST_LINES = 50
SHORT = 400
"""Results of an agent's steps up to so many characters are shown at once."""


def run_or_404(run_id: str) -> dict[str, Any]:
    """The run without its values. Raises Http404."""
    try:
        return queries.run(run_id, with_values=False)
    except services.RunError:
        raise Http404 from None


@require_GET
@login_required
def run(request: HttpRequest, run_id: str) -> HttpResponse:
    """One run: what it is doing, its graph, timeline, inputs and output, its log."""
    context = _live(request, run_id)
    wanted: gantt.Wanted = context["wanted"]
    view = context["run"]
    context |= _values(run_id, view, wanted.at)
    path = request.GET.get("node", "")
    if path:
        context |= {"node": _node(run_id, path, wanted.at), "at": wanted.at}
    after = max((wanted.at or view["last_seq"]) - FIRST_LINES, 0)
    context["lines"] = logs.page(run_id, logs.Wanted(), after=after, upto=wanted.at, limit=FIRST_LINES * 2)["items"]
    context["levels"] = logs.LEVELS
    found = reading.blobs_of(run_id)
    context["blobs"] = [showing.blob(one) for one in found[: reading.MAX_BLOBS]]
    context["more_blobs"] = found[reading.MAX_BLOBS - 1]["blob"] if len(found) > reading.MAX_BLOBS else ""
    return render(request, "ui/run.html", context)


@require_GET
@login_required
def timeline_part(request: HttpRequest, run_id: str) -> HttpResponse:
    """The part of the run page that changes while the run goes on."""
    return render(request, "ui/parts/live.html", _live(request, run_id))


@require_GET
@login_required
def values_part(request: HttpRequest, run_id: str) -> HttpResponse:
    """Inputs and output, as they are now or were at a seq."""
    view = run_or_404(run_id)
    return render(request, "ui/parts/values.html", _values(run_id, view, gantt.Wanted.of(request.GET).at))


@require_GET
@login_required
def node(request: HttpRequest, run_id: str) -> HttpResponse:
    """Input, output, attempts and error of one activation, as they are now or were at a seq."""
    run_or_404(run_id)
    at = gantt.Wanted.of(request.GET).at
    found = _node(run_id, request.GET.get("path", ""), at)
    if found is None:
        return render(request, "ui/parts/no-node.html", {"at": at})
    return render(request, "ui/parts/node.html", {"node": found, "run": {"id": run_id}})


@require_GET
@login_required
def conversation(request: HttpRequest, run_id: str) -> HttpResponse:
    """What an agent asked, said and did, as it is now or was at a seq."""
    run_or_404(run_id)
    path, at = request.GET.get("path", ""), gantt.Wanted.of(request.GET).at
    context = {"node": {"node": path, "at": at}, "run": {"id": run_id}, "conversation": _conversation(run_id, path, at)}
    return render(request, "ui/parts/conversation.html", context)


@require_GET
@login_required
def blobs(request: HttpRequest, run_id: str) -> HttpResponse:
    """Further files of a run."""
    view = run_or_404(run_id)
    found = reading.blobs_of(run_id, after=request.GET.get("after", ""))
    context = {
        "run": view,
        "blobs": [showing.blob(one) for one in found[: reading.MAX_BLOBS]],
        "more_blobs": found[reading.MAX_BLOBS - 1]["blob"] if len(found) > reading.MAX_BLOBS else "",
    }
    return render(request, "ui/run-files.html", context)


def _live(request: HttpRequest, run_id: str) -> dict[str, Any]:
    view = run_or_404(run_id)
    wanted = gantt.Wanted.of(request.GET)
    if wanted.at is not None and wanted.at >= view["last_seq"]:
        wanted = gantt.replace(wanted, at=None)
    is_live = view["status"] not in queries.TERMINAL_STATUSES
    leased = timeline.leases(run_id) if is_live and wanted.at is None else {}
    with timeline.held(run_id, upto=wanted.at) as found:
        drawing = gantt.Drawing(found, wanted, leased, time.time_ns() // 1000)
        chart = drawing.chart()
        status = found.status if wanted.at is not None else view["status"]
        took = gantt.took(drawing.now - drawing.zero)
        has_patches, version = found.has_patches, found.version
        agents = conversations.agents_of(found)
        used = budgets.used_by_run(run_id) if wanted.at is None else None
        totals = [("this run", conversations.whole(found, used))] if agents or used else []
        if totals and wanted.at is None:
            totals += conversations.today(found, view["workflow"])
    return {
        "run": view,
        "status": status,
        "version": version or view["version"],
        "took": took,
        "patches": patched.rows(run_id, wanted.at) if has_patches else [],
        "agents": agents,
        "agent_totals": totals,
        "wanted": wanted,
        "chart": chart,
        "running": json.dumps(chart.running),
        "live": is_live,
        "states": gantt.STATES,
        "states_of_chart": [(state, chart.counts[state]) for state in gantt.STATES if state in chart.counts],
    }


def _values(run_id: str, view: dict[str, Any], at: int | None) -> dict[str, Any]:
    """Inputs and output for `parts/values.html`."""
    ended = view["status"] in queries.TERMINAL_STATUSES and (at is None or at >= view["last_seq"])
    inputs = reading.reading(run_id, 1, ("inputs",))
    output = reading.reading(run_id, view["last_seq"], ("output",)) if ended else None
    return {
        "run": view,
        "ended": ended,
        "at": at,
        "inputs": showing.shown(run_id, inputs),
        "output": showing.shown(run_id, output),
    }


def _node(run_id: str, path: str, at: int | None) -> dict[str, Any] | None:
    try:
        one = timeline.activation(run_id, path, upto=at) if path else None
    except services.RunError:
        return None
    if one is None:
        return None
    state = "retrying" if one.retrying else "cached" if one.cached else one.state
    if state == "queued" and one.attempts and at is None:
        state = "running" if (path, one.attempts[-1].attempt) in timeline.leases(run_id) else state
    view = one.as_dict()
    return {
        **view,
        "state": state,
        "child": one.child,
        "ticket": one.ticket,
        "at": at,
        "took": gantt.took(one.lasted(one.ended_at)) if one.ended_at else "",
        "inputs": showing.shown(run_id, reading.reading(run_id, one.input_seq, reading.INPUT_KEYS)),
        "output": showing.shown(run_id, reading.reading(run_id, one.output_seq, (one.output_key,))),
        "error_text": showing.pretty(one.error) if one.error else "",
        "replayable": state not in ("skipped",) and at is None,
        "conversation": _conversation(run_id, path, at) if one.type == "agent" else None,
    }


def _conversation(run_id: str, path: str, at: int | None) -> dict[str, Any]:
    steps, older = conversations.conversation(run_id, path, upto=at)
    return {
        "steps": [_step(one) for one in steps],
        "older": older,
        "scripted": conversations.is_scripted([one.name for one in steps if one.kind == "model"]),
    }


def _step(step: conversations.Step) -> dict[str, Any]:
    """A step with its values as text; all that a model or a tool said is shown as it was written."""
    parts = []
    for what, words, call in (("args", "Arguments", step.args), ("result", "Result", step.result)):
        if call is not None and (call.blob is not None or call.value is not None):
            words = "Request" if what == "args" and step.kind == "model" else words
            text = call.value if isinstance(call.value, str) else showing.pretty(call.value)
            is_open = what == "result" and len(text) <= SHORT
            parts.append(
                {"what": what, "words": words, "blob": call.blob, "text": text[: showing.MAX_SHOWN], "open": is_open}
            )
    said = [{"who": one.who, "text": one.text[: showing.MAX_SHOWN]} for one in step.said]
    usage = f"{step.tokens:,} tokens, ${step.cost:.4f}" if step.tokens else ""
    return {
        **{name: getattr(step, name) for name in ("number", "kind", "at", "name", "error", "is_open", "is_outside")},
        "said": said,
        "asked_for": step.asked_for,
        "patch": step.patch,
        "parts": parts,
        "usage": usage,
    }
