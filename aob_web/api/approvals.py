"""`/approvals`: tickets that wait for people, and their answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from ninja import Router

from aob_web.accounts.access import Throttle, door_of, person, require
from aob_web.api import starts
from aob_web.api.answers import as_json
from aob_web.api.bodies import (
    CallbackBody,
    CommentBody,
    DecideBody,
    DecideManyBody,
    DelegateBody,
    EmptyBody,
    documented,
    parse,
    raw,
)
from approvals import audit, inbox, links, parts, services, webhooks
from approvals.errors import TicketError
from runs.admission import Overloaded

router = Router()
_throttle = Throttle(most=30)


@router.get("", summary="List tickets")
def tickets(
    request: HttpRequest,
    status: str | None = None,
    mine: bool = False,
    groups: bool = False,
    workflow: str | None = None,
    run: str | None = None,
    text: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> HttpResponse:
    """Open ones by their due time, closed ones the newest first.

    `status` is `open`, `closed`, or how a ticket was closed: `approved`, `rejected`, `timed_out`, `cancelled`. `mine`
    gives those that wait for you, `groups` those that wait for a group of yours. `text` stands in the title or the
    workflow's name. For a filter that fits few, a bounded number is looked at; then `complete` is false, and `next`
    goes on. A patch that waits for review is a ticket of kind `patch`, with the patch's id; `run` is null for one of a
    workflow. Deciding it needs the scope `write` as well.
    """
    caller = require(request, "read")
    page = inbox.tickets(
        person(caller),
        status=status,
        mine=mine,
        groups=groups,
        workflow=workflow,
        run=run,
        text=text,
        limit=limit,
        cursor=cursor,
    )
    return as_json(page)


@router.get("/audit", summary="Export who decided what")
def audit_export(
    request: HttpRequest, format: str = "jsonl", since: str | None = None, until: str | None = None
) -> StreamingHttpResponse:
    """Every answer, delegation, escalation, comment and decision of the tickets that were closed in that time, the oldest
    first, those of patches with them.

    `format` is `csv` or `jsonl`; `since` and `until` are instants, or durations before now. Needs the scope `admin`.
    """
    require(request, "admin")
    if format not in audit.FORMATS:
        raise TicketError("format_unknown", f"There is no format {format[:40]!r}.", "/format", "Use csv or jsonl.")
    first, last = audit.period(since, until)
    answer = StreamingHttpResponse(_exported(first, last, format), content_type=audit.FORMATS[format])
    answer["Content-Disposition"] = f'attachment; filename="approvals.{format}"'
    answer["X-Content-Type-Options"] = "nosniff"
    return answer


async def _exported(since: datetime, until: datetime, form: str) -> AsyncIterator[str]:
    """Page by page: each is read when the one before has been taken."""
    yield audit.head(form)
    pages = audit.pages(since, until)
    while (lines := await sync_to_async(lambda: next(pages, None))()) is not None:
        yield audit.written(lines, form)


@router.post("/decide-many", openapi_extra=documented(DecideManyBody), summary="Decide several tickets")
def decide_many(request: HttpRequest) -> HttpResponse:
    """Of tickets that allow it (`bulk`), 100 at most: each is decided on its own, and `items` says what came of each."""
    caller = require(request, "execute")
    body = parse(request, DecideManyBody)
    items = services.decide_many(body.tickets, body.answer, by=person(caller), reason=body.reason, seen=body.seen)
    return as_json({"items": items})


@router.post(
    "/callback/{token}", openapi_extra=documented(CallbackBody), summary="Decide a ticket as a webhook's receiver"
)
def callback(request: HttpRequest, token: str) -> HttpResponse:
    """Signed with the webhook's secret as its posts are (standardwebhooks.com); decides as whom the operator named.

    A token decides once. The signature is checked before the body is looked at.
    """
    data = raw(request)
    try:
        headers = {name.lower(): value for name, value in request.headers.items()}
        link = webhooks.verified(token, data, headers, door_of(request))
    except TicketError as error:
        if error.code == "callback_refused":
            if _throttle.blocked(error.code):
                raise Overloaded("callbacks_refused", "Too many callbacks were refused; wait a minute.") from None
            _throttle.failed(error.code)
        raise
    body = parse(request, CallbackBody)
    said = f"{body.reason or ''} (by {body.by}, through a webhook)".strip() if body.by else body.reason
    return as_json(links.decide(link, body.answer, reason=said, form=body.form, seen=body.seen))


@router.get("/{ticket}", summary="One ticket")
def ticket(request: HttpRequest, ticket: str) -> HttpResponse:
    """With what it asks, its form's schema, the answers so far and `thread`, all that happened to it in order.

    `context` names what it shows: send it as `seen` when you decide, and a ticket that shows something else by then is
    refused.
    """
    return as_json(services.ticket(ticket, person(require(request, "read"))))


@router.post("/{ticket}/decide", openapi_extra=documented(DecideBody), summary="Decide a ticket")
def decide(request: HttpRequest, ticket: str) -> HttpResponse:
    """Counts once it is answered with 200. Somebody who comes second gets 409, with who was first.

    Honours `Idempotency-Key`, but for patches.
    """
    caller = require(request, "execute")
    body = parse(request, DecideBody)
    found = services.decide(
        ticket,
        body.answer,
        by=person(caller),
        reason=body.reason,
        form=body.form,
        seen=body.seen,
        key=starts.own_key(request.headers.get("Idempotency-Key"), caller),
    )
    return as_json(found)


@router.post("/{ticket}/delegate", openapi_extra=documented(DelegateBody), summary="Hand your part in a ticket over")
def delegate(request: HttpRequest, ticket: str) -> HttpResponse:
    """The other user decides in your place; you cannot any more."""
    caller = require(request, "execute")
    body = parse(request, DelegateBody)
    return as_json(parts.delegate(ticket, body.to, by=person(caller), reason=body.reason))


@router.post("/{ticket}/claim", openapi_extra=documented(EmptyBody, required=False), summary="Say that you look at it")
def claim(request: HttpRequest, ticket: str) -> HttpResponse:
    """Others see it in their inboxes; it keeps nobody from deciding."""
    caller = require(request, "execute")
    parse(request, EmptyBody)
    return as_json(parts.claim(ticket, by=person(caller)))


@router.post("/{ticket}/release", openapi_extra=documented(EmptyBody, required=False), summary="Take your claim back")
def release(request: HttpRequest, ticket: str) -> HttpResponse:
    caller = require(request, "execute")
    parse(request, EmptyBody)
    return as_json(parts.release(ticket, by=person(caller)))


@router.post("/{ticket}/comment", openapi_extra=documented(CommentBody), summary="Comment on a ticket")
def comment(request: HttpRequest, ticket: str) -> HttpResponse:
    """Markdown of 10,000 characters at most, while the ticket is open."""
    caller = require(request, "execute")
    return as_json(parts.comment(ticket, parse(request, CommentBody).text, by=person(caller)))
