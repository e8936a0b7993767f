"""The list of runs: its filters, those that a user keeps, and what is done to many runs at once."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from aob_web.accounts.models import SavedFilter
from runs import bulk, search
from runs.models import STATUSES, TRY_LABEL
from workflows.core.errors import AobError
from workflows.models import Workflow

PER_PAGE = 50
RANGES = {"15m": "last 15 minutes", "1h": "last hour", "24h": "last 24 hours", "7d": "last 7 days", "30d": "last 30 days"}
FIELDS = ("status", "workflow", "range", "since", "until", "input_text", "where", "tries")
"""What of an address is a filter; the rest is not kept with it."""

NAMES_SHOWN = 500
STEP = 20
"""So many runs are acted on between two signs of progress."""

MAX_QUERY = 4_000


@require_GET
@login_required
def runs(request: HttpRequest) -> HttpResponse:
    """The runs that fit, the newest first; the part with the rows asks for itself again."""
    problems: dict[str, str] = {}
    page: dict[str, Any] = {"items": [], "next": None, "looked_at": 0, "complete": True, "unjudged": 0, "why": None}
    wanted = search.Filter()
    try:
        wanted = _filter(request.GET)
        page = search.search(wanted, limit=PER_PAGE, cursor=request.GET.get("cursor") or None)
    except AobError as error:
        problems[(error.pointer or "/").strip("/")] = f"{error.message} {error.hint or ''}".strip()
    query = _kept(request.GET)
    context = {
        "page": page,
        "runs": [{**run, "tried": run["labels"].get(TRY_LABEL)} for run in page["items"]],
        "problems": problems,
        "problem": next((text for name, text in problems.items() if name not in FIELDS), ""),
        "chosen": request.GET.getlist("status") if len(request.GET.getlist("status")) != 1 else list(wanted.statuses),
        "values": request.GET,
        "statuses": STATUSES,
        "ranges": RANGES,
        "query": query,
        "is_filtered": bool(query),
        "has_more_filters": any(request.GET.get(name) for name in ("where", "since", "until", "tries")),
        # What no index serves is looked for only when somebody asks.
        "is_live": wanted.is_exact() and not request.GET.get("cursor") and not problems,
        "cursor": request.GET.get("cursor", ""),
    }
    if request.htmx:  # type: ignore[attr-defined]
        return render(request, "ui/parts/run-rows.html", context)
    context["saved"] = [(one, one.query == query) for one in SavedFilter.objects.filter(user=request.user)]
    context["names"] = Workflow.objects.values_list("name", flat=True)[:NAMES_SHOWN]
    return render(request, "ui/runs.html", context, status=422 if problems else 200)


def _filter(values: QueryDict) -> search.Filter:
    return search.read_filter(
        status=",".join(values.getlist("status")),
        workflow=values.get("workflow"),
        since=values.get("since") or values.get("range"),
        until=values.get("until"),
        text=values.get("input_text"),
        where=values.get("where"),
        tries=bool(values.get("tries")),
    )


def _kept(values: QueryDict) -> str:
    """The filter's part of an address, written in one way."""
    kept = QueryDict(mutable=True)
    for name in FIELDS:
        found = [text for text in values.getlist(name) if text]
        if found:
            kept.setlist(name, found)
    return str(kept.urlencode())


@require_POST
@login_required
def save_filter(request: HttpRequest) -> HttpResponse:
    """Keeps the filter under a name; the same name again means the new filter."""
    name = request.POST.get("name", "").strip()[:60]
    query = _kept(QueryDict(request.POST.get("query", "")[:MAX_QUERY]))
    mine = SavedFilter.objects.filter(user=request.user)
    if not name or not query:
        messages.error(request, "Give the filter a name, and choose something to filter by.")
    elif mine.exclude(name=name).count() >= SavedFilter.MOST:
        messages.error(request, f"You have {SavedFilter.MOST} filters; delete one first.")
    elif len(query) > MAX_QUERY:
        messages.error(request, f"This filter is longer than {MAX_QUERY} characters.")
    else:
        try:
            with transaction.atomic():
                SavedFilter.objects.update_or_create(user=request.user, name=name, defaults={"query": query})
        except IntegrityError:
            messages.error(request, "It was saved at the same moment in another window.")
    return redirect(f"{reverse('runs')}?{query}")


@require_POST
@login_required
def delete_filter(request: HttpRequest, number: int) -> HttpResponse:
    SavedFilter.objects.filter(user=request.user, pk=number).delete()
    return redirect(f"{reverse('runs')}?{_kept(QueryDict(request.POST.get('query', '')[:MAX_QUERY]))}")


@require_POST
@login_required
def bulk_runs(request: HttpRequest) -> HttpResponse:
    """Asks what an action on many runs would do; once confirmed, does it step by step and says what came of each."""
    action = request.POST.get("action", "")
    try:
        if action not in bulk.ACTIONS:
            raise AobError("action_unknown", "Choose what to do with the runs.")
        context = _step(request, action) if "confirmed" in request.POST else _question(request, action)
    except AobError as error:
        context = {"problem": f"{error.message} {error.hint or ''}".strip()}
    context |= {"action": action, "query": request.POST.get("query", "")[:MAX_QUERY]}
    is_part = bool(request.htmx)  # type: ignore[attr-defined]
    return render(request, "ui/parts/bulk.html" if is_part else "ui/bulk.html", context)


def _question(request: HttpRequest, action: str) -> dict[str, Any]:
    """How many runs the action reaches: the chosen ones that take it, or the newest that fit the filter."""
    if request.POST.get("scope") != "all":
        chosen = list(dict.fromkeys(request.POST.getlist("run")))[: bulk.MOST]
        if not chosen:
            raise AobError("nothing_chosen", "Choose runs first.", hint="Tick them in the list.")
        states = search.states_of(chosen)
        reached = [run_id for run_id in chosen if states.get(run_id) in bulk.TAKES[action]]
        return {"reached": reached, "left_out": len(chosen) - len(reached), "takes": bulk.TAKES[action]}
    values = QueryDict(request.POST.get("query", "")[:MAX_QUERY])
    page = search.search(
        bulk.within(_filter(values), action),
        limit=bulk.MOST,
        cursor=request.POST.get("cursor") or None,
        budget=search.Budget(rows=1_000_000, seconds=5.0),
    )
    return {"reached": [run["id"] for run in page["items"]], "more": page["next"], "is_all": True, "page": page}


def _step(request: HttpRequest, action: str) -> dict[str, Any]:
    """Acts on the next few runs. What came of those before is handed from step to step by the form."""
    reached = [run_id for run_id in request.POST.get("reached", "").split(",") if run_id][: bulk.MOST]
    outcomes = bulk.apply(
        action, reached[:STEP], by=request.user.get_username(), reason=request.POST.get("reason") or None
    )
    refused = request.POST.get("refused", "").splitlines()[: bulk.MOST]
    refused += [f"{one.run} {one.why}" for one in outcomes if not one.done]
    done = _number(request.POST.get("done")) + sum(one.done for one in outcomes)
    return {
        "is_step": True,
        "left": reached[STEP:],
        "done": done,
        "refused": [line.partition(" ")[::2] for line in refused],
        "refused_text": "\n".join(refused),
        "total": done + len(refused) + len(reached[STEP:]),
        "more": request.POST.get("more", ""),
        "reason": request.POST.get("reason", ""),
    }


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 7 else 0
