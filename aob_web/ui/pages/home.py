"""The first page: what goes on now, what waits for somebody, what failed lately."""

from __future__ import annotations

import time
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from aob_web.ui import chart
from aob_web.ui.pages.workflows import page_of_workflows
from approvals import inbox
from approvals.people import person
from runs import deadletters, overview, queries
from workflows.models import Draft, Workflow

NEWEST = 5
WAITING_LOOKED_AT = 25
"""Of so many waiting runs the state is read, to say what they wait for."""

FAILED_HOURS = 24
PEOPLE = ("signal", "paused")
"""Kinds of waiting that a person or another program ends, beside tickets."""

_throughput = overview.Throughput()


@require_GET
@login_required
def home(request: HttpRequest) -> HttpResponse:
    """The page, or the part of it that changes."""
    if not overview.is_used():
        begun = Workflow.objects.exists() or Draft.objects.exists()
        context = {"has_workflows": begun, "workflows": page_of_workflows(limit=6)["items"] if begun else []}
        return render(request, "ui/home-empty.html", context)
    is_part = bool(request.htmx)  # type: ignore[attr-defined]
    context = _now()
    context["tickets"] = inbox.tickets(person(request.user, may_decide=True), mine=True, limit=NEWEST)["items"]
    return render(request, "ui/parts/home.html" if is_part else "ui/home.html", context)


def _now() -> dict[str, Any]:
    counts = overview.live_counts()
    since = int((time.time() - FAILED_HOURS * 3600) * 1000)
    return {
        "counts": counts,
        "running": counts["queued"] + counts["running"],
        "waiting": counts["waiting"] + counts["paused"],
        "most": overview.MANY,
        "newest": _with_progress(overview.newest_in(("running", "queued"), limit=NEWEST)),
        "for_people": _for_people(),
        "failed": overview.newest_in(("failed", "timed_out"), limit=NEWEST, since_ms=since),
        "letters": deadletters.dead_letters(limit=NEWEST)["items"],
        "chart": chart.columns(_throughput.intervals()),
        "hours": overview.HOURS,
        "workflows": page_of_workflows(sort="edited", limit=NEWEST)["items"],
    }


def _with_progress(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a run is at: the oldest of its open activations."""
    waits = queries.waits_of([run["id"] for run in runs])
    return [{**run, "at": next(iter(waits.get(run["id"], [])), None)} for run in runs]


def _for_people() -> list[dict[str, Any]]:
    """The newest runs that somebody can let go on, each with what it waits for."""
    runs = overview.newest_in(("paused", "waiting"), limit=WAITING_LOOKED_AT)
    waits = queries.waits_of([run["id"] for run in runs])
    found = []
    for run in runs:
        mine = [one for one in waits.get(run["id"], []) if one["kind"] in PEOPLE]
        if mine:
            found.append({**run, "at": mine[0]})
    return found[:NEWEST]
