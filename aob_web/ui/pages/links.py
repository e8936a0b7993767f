"""The page that a link in a mail opens: it shows what the mail showed, and decides only when its form is sent (S21)."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from aob_web.accounts.access import AccessError, Throttle, check_csrf, door_of
from aob_web.api.problems import status_of
from aob_web.ui import forms
from aob_web.ui.markdown import MAX_TEXT, as_html
from aob_web.ui.pages.approvals import FIELD
from aob_web.ui.pages.errors import forbidden
from aob_web.ui.pages.showing import files_in, pretty, shown
from approvals import links, services
from runs import reading
from workflows.core.errors import AobError

UNKNOWN = "unknown"
TITLES = {
    "link_unknown": "This link does not work",
    "link_void": "This link is void",
    "link_used": "You have answered",
    "ticket_decided": "Decided already",
    "ticket_answered": "You have answered",
    "run_ended": "Nothing waits any more",
    "ticket_forbidden": "Not yours to decide",
}
_throttle = Throttle(most=30)


@csrf_exempt
@require_http_methods(["GET", "HEAD", "POST"])
def link(request: HttpRequest, token: str) -> HttpResponse:
    """Whoever only looks, a scanner of mails say, decides nothing; POST decides as the user whom the link was mailed to.

    Its address is a secret, so no page learns of it and nothing keeps it. Browsers leave out where such a page's form
    comes from, which Django's check would take amiss: it is checked here, before anything else.
    """
    response = _answer(request, token)
    response["Referrer-Policy"] = "no-referrer"
    response["Cache-Control"] = "no-store"
    response["X-Robots-Tag"] = "noindex"
    return response


def _answer(request: HttpRequest, token: str) -> HttpResponse:
    if request.method == "POST":
        if request.META.get("HTTP_ORIGIN") == "null":
            del request.META["HTTP_ORIGIN"]
        try:
            check_csrf(request)
        except AccessError:
            return forbidden(request)
    try:
        found = links.find(token, door={**door_of(request), "door": "email"})
    except AobError as error:
        if error.code == "link_unknown":
            if _throttle.blocked(UNKNOWN):
                text = "Too many links that do not work were tried; wait a minute."
                return _told(request, "Wait a minute", text, 429)
            _throttle.failed(UNKNOWN)
        return _told(request, TITLES.get(error.code, "Not possible"), _words(error), status_of(error))
    if request.user.is_authenticated and request.user.get_username() != found.by.name:
        # A link that was passed on, or a browser that several people use: nobody decides in another's name by mistake.
        return render(request, "ui/link-elsewhose.html", {"by": found.by.name}, status=403)
    if request.method != "POST":
        return _page(request, found)
    answer = request.POST.get("answer", "")
    try:
        form = forms.read(request, found.ticket["form"], into="form", prefix=FIELD) if answer == "approve" else None
        seen = request.POST.get("seen") or None
        decided = links.decide(found, answer, reason=request.POST.get("reason", ""), form=form or None, seen=seen)
    except AobError as error:
        if error.code in TITLES:
            return _told(request, TITLES[error.code], _words(error), status_of(error))
        problems = [_words(one) for one in getattr(error, "problems", None) or [error]]
        return _page(request, found, problems=problems, status=status_of(error))
    return _done(request, found, decided, answer)


def _page(
    request: HttpRequest, found: links.Link, *, problems: list[str] | None = None, status: int = 200
) -> HttpResponse:
    ticket = found.ticket
    fields = forms.fields(ticket["form"])
    if request.method == "POST":
        forms.refill(fields, request, prefix=FIELD)
    context = {
        "ticket": ticket,
        "by": found.by.name,
        "problems": problems or [],
        "fields": fields,
        "prefix": FIELD,
        "reason": request.POST.get("reason", ""),
        "max_reason": services.MAX_REASON,
        "wanted": request.GET.get("answer", ""),
        "body": as_html(ticket["body"]) if isinstance(ticket["body"], str) else "",
        "body_json": pretty(ticket["body"]) if ticket["body"] is not None and not isinstance(ticket["body"], str) else "",
        "is_cut": isinstance(ticket["body"], str) and len(ticket["body"]) > MAX_TEXT,
        "values": shown(ticket["run"], reading.reading(ticket["run"], ticket["seq"], ("values",))),
        "files": files_in(ticket["values"]),
    }
    return render(request, "ui/link.html", context, status=status)


def _done(request: HttpRequest, found: links.Link, decided: dict[str, Any], answer: str) -> HttpResponse:
    if decided["status"] == "open":
        title, text = "Your answer is recorded", f"“{decided['title']}” waits for others as well."
    else:
        title, text = decided["status"].capitalize(), f"“{decided['title']}”, by {found.by.name}."
    return _told(request, title, text, 200, state="approved" if answer == "approve" else "rejected")


def _told(request: HttpRequest, title: str, text: str, status: int, *, state: str = "") -> HttpResponse:
    return render(request, "ui/link-told.html", {"title": title, "text": text, "state": state}, status=status)


def _words(error: AobError) -> str:
    hint = error.hint if error.code.startswith("link_") or error.code not in TITLES else None
    return f"{error.message} {hint or ''}".strip()
