"""The inbox, and a ticket with everything on one screen: what is asked, what led here, what each answer will do."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from aob_web.accounts.access import door_of
from aob_web.api.problems import status_of
from aob_web.ui import forms
from aob_web.ui.markdown import MAX_TEXT, as_html
from aob_web.ui.pages import run_patches
from aob_web.ui.pages.showing import pretty, shown
from approvals import inbox as tickets
from approvals import parts, services
from approvals.people import Person, person
from approvals.reading import contexts
from runs import logs, patches, queries, reading, workflow_patches
from runs.core import paths
from workflows.core.errors import AobError
from workflows.nodes.registry import node_types
from workflows.services import document_of

PER_PAGE = 50
STEPS = 8
"""So many events before the ticket tell what led to it."""

SHOWN = 5
"""So many refusals of a bulk decision are told one by one."""

MAX_LATER = 12
"""So many nodes are named of what comes later on a way."""

SEEN = "seen."
"""Before a ticket's id in the list, what its row showed of it."""

FIELD = "form."
"""Before the names of a form's own fields, so that none of them is taken for the answer or its reason."""

TABS = {"mine": "Waiting for me", "groups": "For my groups", "open": "All open", "closed": "Decided"}


def _me(request: HttpRequest) -> Person:
    return person(request.user, may_decide=True, may_change=True, door=door_of(request))


@require_GET
@login_required
def inbox(request: HttpRequest) -> HttpResponse:
    """Tickets by their due time; the part with the rows asks for itself again."""
    tab = request.GET.get("tab", "mine")
    tab = tab if tab in TABS else "mine"
    text = request.GET.get("q", "").strip()
    me = _me(request)
    try:
        page = tickets.tickets(
            me,
            status=tab if tab in ("open", "closed") else None,
            mine=tab == "mine",
            groups=tab == "groups",
            text=text or None,
            limit=PER_PAGE,
            cursor=request.GET.get("cursor") or None,
        )
    except AobError as error:
        messages.error(request, error.message)
        return redirect("approvals")
    may_bulk = tab in ("mine", "groups")
    together = [one for one in page["items"] if one["bulk"]] if may_bulk else []
    seen = contexts([one["ticket"] for one in together]) if together else {}
    for one in together:
        one["seen"] = seen.get(one["ticket"], "")
    counts = tickets.counts(me)
    tabs = TABS if me.groups else {key: words for key, words in TABS.items() if key != "groups"}
    if me.groups:
        counts["groups"] = tickets.group_count(me)
    context = {
        "page": page,
        "tickets": page["items"],
        "tab": tab,
        "tabs": [(key, words, counts.get(key)) for key, words in tabs.items()],
        "mine": counts["mine"] if counts["mine"] < tickets.COUNTED else f"{tickets.COUNTED - 1}+",
        "may_bulk": may_bulk,
        "has_bulk": bool(together),
        "seen_prefix": SEEN,
        "max_reason": services.MAX_REASON,
        "text": text,
        "cursor": request.GET.get("cursor", ""),
        "looked_at": tickets.LOOKED_AT,
        "counted": tickets.COUNTED,
    }
    is_part = bool(request.htmx)  # type: ignore[attr-defined]
    return render(request, "ui/parts/ticket-rows.html" if is_part else "ui/approvals.html", context)


@require_http_methods(["GET", "POST"])
@login_required
def ticket(request: HttpRequest, ticket_id: str) -> HttpResponse:
    """One ticket; POST decides it."""
    me = _me(request)
    try:
        found = services.ticket(ticket_id, me)
    except AobError:
        raise Http404 from None
    if request.GET.get("part") == "thread":
        return render(request, "ui/parts/ticket-thread.html", {**_thread(found), "is_part": True})
    problems: list[str] = []
    status = 200
    if request.method == "POST":
        answer = request.POST.get("answer", "")
        try:
            form = forms.read(request, found["form"], into="form", prefix=FIELD) if answer == "approve" else None
            reason = request.POST.get("reason", "")
            seen = request.POST.get("seen") or None
            found = services.decide(ticket_id, answer, by=me, reason=reason, form=form or None, seen=seen)
            messages.success(request, _told(found))
            return redirect("approvals")
        except AobError as error:
            status = status_of(error)
            problems = _words(error)
            found = services.ticket(ticket_id, me)
    return _page(request, found, me, problems, status)


def _page(request: HttpRequest, found: dict[str, Any], me: Person, problems: list[str], status: int) -> HttpResponse:
    if found["patch"] is not None:
        return _patch(request, found, me, problems, status)
    fields = forms.fields(found["form"])
    if "answer" in request.POST:
        forms.refill(fields, request, prefix=FIELD)
    refused = services.refusal(found["ticket"], me)
    context = {
        **_thread(found),
        "me": me.name,
        "comment": request.POST.get("text", ""),
        "to": request.POST.get("to", ""),
        "max_comment": parts.MAX_COMMENT,
        "problems": problems,
        "fields": fields,
        "prefix": FIELD,
        "reason": request.POST.get("reason", "") if "answer" in request.POST else "",
        "max_reason": services.MAX_REASON,
        "has_answered": me.name in found["answered"],
        "refused": f"{refused.message} {refused.hint or ''}".strip() if refused else "",
        "body": as_html(found["body"]) if isinstance(found["body"], str) else "",
        "body_json": pretty(found["body"]) if found["body"] is not None and not isinstance(found["body"], str) else "",
        "is_cut": isinstance(found["body"], str) and len(found["body"]) > MAX_TEXT,
        "values": shown(found["run"], reading.reading(found["run"], found["seq"], ("values",))),
        "steps": _steps(found),
        "run": queries.run(found["run"], with_values=False),
        "ways": _ways(found),
    }
    return render(request, "ui/ticket.html", context, status=status)


def _patch(request: HttpRequest, found: dict[str, Any], me: Person, problems: list[str], status: int) -> HttpResponse:
    """The ticket of a patch: what it changes, why, and what would follow."""
    of_run = found["run"] is not None
    patch = patches.show(found["patch"], run_id=found["run"]) if of_run else workflow_patches.show(found["patch"])
    refused = services.refusal(found["ticket"], me)
    context = {
        **run_patches.reviewed(patch),
        "ticket": found,
        "run": queries.run(found["run"], with_values=False) if of_run else None,
        "problems": problems,
        "reason": request.POST.get("reason", ""),
        "max_reason": services.MAX_REASON,
        "is_own": found["status"] == "open" and found["not_by"] == me.name,
        "refused": f"{refused.message} {refused.hint or ''}".strip() if refused else "",
    }
    return run_patches.rendered(request, "ui/ticket-patch.html", context, status=status)


@require_POST
@login_required
def act(request: HttpRequest, ticket_id: str, action: str) -> HttpResponse:
    """What is done with a ticket beside deciding it."""
    me, given = _me(request), request.POST
    acts = {
        "claim": lambda: parts.claim(ticket_id, by=me),
        "release": lambda: parts.release(ticket_id, by=me),
        "comment": lambda: parts.comment(ticket_id, given.get("text", ""), by=me),
        "delegate": lambda: parts.delegate(ticket_id, given.get("to", "").strip(), by=me, reason=given.get("reason")),
    }
    if action not in acts:
        raise Http404
    try:
        acts[action]()
    except AobError as error:
        if error.code == "ticket_unknown":
            raise Http404 from None
        return _page(request, services.ticket(ticket_id, me), me, _words(error), status_of(error))
    if action == "delegate":
        messages.success(request, f"{given.get('to', '').strip()} decides in your place now.")
    return redirect("ticket", ticket_id)


@require_POST
@login_required
def bulk_tickets(request: HttpRequest) -> HttpResponse:
    """Decides the chosen tickets, each on its own, and says what came of it."""
    answer = request.POST.get("answer", "")
    back = request.POST.get("back", "")
    try:
        chosen = request.POST.getlist("ticket")
        seen = {one: shown for one in chosen if (shown := request.POST.get(SEEN + one))}
        reason = request.POST.get("reason")
        outcomes = services.decide_many(chosen, answer, by=_me(request), reason=reason, seen=seen)
    except AobError as error:
        messages.error(request, " ".join(_words(error)))
        outcomes = []
    done = sum(one["done"] for one in outcomes)
    refused = [one["error"]["message"] for one in outcomes if not one["done"]]
    if done:
        verb = "Approved" if answer == "approve" else "Rejected"
        messages.success(request, f"{verb} {done} ticket{'' if done == 1 else 's'}.")
    if refused:
        more = f" And {len(refused) - SHOWN} more." if len(refused) > SHOWN else ""
        messages.error(request, f"{len(refused)} not decided: {' '.join(refused[:SHOWN])}{more}")
    if not outcomes and not chosen:
        messages.error(request, "Choose tickets first.")
    is_ours = url_has_allowed_host_and_scheme(back, allowed_hosts=None) and back.startswith(reverse("approvals"))
    return redirect(back if is_ours else "approvals")


def _words(error: AobError) -> list[str]:
    return [f"{one.message} {one.hint or ''}".strip() for one in getattr(error, "problems", None) or [error]]


def _thread(found: dict[str, Any]) -> dict[str, Any]:
    """What happened to the ticket, as the page shows it; text that people wrote as harmless HTML."""
    thread = [
        {
            **one,
            "html": as_html(one["text"]) if isinstance(one.get("text"), str) else "",
            "form_text": pretty(one["form"]) if "form" in one else "",
        }
        for one in found["thread"]
    ]
    return {"ticket": found, "thread": thread, "asked_first": found["thread"][0].get("assignees", [])}


def _told(found: dict[str, Any]) -> str:
    if found["status"] == "open":
        return f"Your approval is recorded; “{found['title']}” waits for others as well."
    return f"{found['status'].capitalize()}: {found['title']}"


def _steps(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The last events before the ticket was opened, in words."""
    lines = logs.page(
        found["run"], logs.Wanted(), after=max(found["seq"] - 1 - STEPS, 0), upto=found["seq"] - 1, limit=STEPS * 4
    )
    return list(lines["items"])[-STEPS:]


def _ways(found: dict[str, Any]) -> list[dict[str, Any]]:
    """What follows each answer: the nodes behind its port, in the graph that the run has now."""
    ports: tuple[tuple[str, str], ...] = (
        ("approved", "Approve"), ("rejected", "Reject"), ("timed_out", "Nobody decides in time")
    )  # fmt: skip
    if found["kind"] == "failure":
        ports = (("out", "Approve: retry that succeeds, or skip"),)
    elif found["kind"] != "approval":
        return []
    frame, name = paths.split(found["node"])
    graph: Any = document_of(queries.version_at(found["run"], None))
    for owner in paths.graph_key(frame).split("/") if frame else ():
        graph = graph["nodes"][owner]["config"]["body"]
    ways = []
    edges_of = graph.get("edges", {}).values()
    for port, words in ports:
        if port == "timed_out" and not (found["due_at"] and found["on_timeout"] == "timed_out"):
            continue
        edges = [edge for edge in edges_of if edge["from"] == name and edge.get("port", "out") == port]
        nodes = [{**_shown_node(graph, edge["to"]), "when": edge.get("when", "")} for edge in edges]
        later = _behind(edges_of, [edge["to"] for edge in edges])
        then = [_shown_node(graph, one) for one in later[:MAX_LATER]]
        ways.append({"port": port, "words": words, "nodes": nodes, "then": then, "more": len(later) - len(then)})
    return ways


def _shown_node(graph: Any, name: str) -> dict[str, Any]:
    node = graph["nodes"][name]
    acts = node_types()[node["type"]].kind in ("effect", "agent")
    return {"id": name, "title": node.get("title", ""), "type": node["type"], "acts": acts}


def _behind(edges: Iterable[Any], starts: list[str]) -> list[str]:
    """What may run after these nodes, the nearest first."""
    following: dict[str, list[str]] = {}
    for edge in edges:
        following.setdefault(edge["from"], []).append(edge["to"])
    found = dict.fromkeys(starts)
    queue = deque(found)
    while queue:
        fresh = [one for one in following.get(queue.popleft(), ()) if one not in found]
        found |= dict.fromkeys(fresh)
        queue.extend(fresh)
    return list(found)[len(set(starts)) :]
