"""One-time links that decide a ticket as the user who was mailed them (hazard S21).

A token has 256 random bits, is stored as its hash, and stands for one user and one ticket; which answer it gives is said
on the page that it opens. Whether the user may decide is asked when it is used, as of everybody else.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from approvals import reading, services
from approvals.errors import TicketError
from approvals.models import TicketLink
from approvals.people import Person, person

_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True)
class Link:
    """A link that is good, with the ticket that it decides and as whom."""

    digest: str
    ticket: dict[str, Any]
    by: Person


def issue(user: Any, ticket: str, due: datetime | None, *, webhook: Any = None) -> str:
    """Makes a link and gives its token, which cannot be read again."""
    token = secrets.token_urlsafe(32)
    expires = timezone.now() + timedelta(days=settings.AOB_LINK_DAYS)
    TicketLink.objects.create(
        digest=digest(token),
        ticket=ticket,
        user=user,
        stamp=_stamp(user),
        webhook=webhook,
        expires_at=expires if due is None else min(due, expires),
    )
    return token


def find(token: str, *, door: Mapping[str, str], webhook: int | None = None) -> Link:
    """What a token stands for: one of a mail, or of the callback of this webhook. `door` goes into the audit.

    Raises TicketError: `link_unknown`; `link_void` for one that is expired, or whose user is not the same any more;
    `link_used` and `ticket_decided` or `run_ended`, which say who decided the ticket.
    """
    found = None
    if _TOKEN.fullmatch(token):
        found = TicketLink.objects.select_related("user").filter(digest=digest(token), webhook=webhook).first()
    if found is None:
        raise TicketError("link_unknown", "This link is not whole, or not one of ours.", hint="Copy it from the mail.")
    if not found.user.is_active or not constant_time_compare(found.stamp, _stamp(found.user)):
        raise TicketError("link_void", "This link is void.", hint="Sign in to see what waits for you.")
    # The link stands in the answer that it gives: that it is used up is known as soon as the answer counts.
    by = person(found.user, may_decide=True, door={**door, "link": found.digest})
    try:
        ticket = services.ticket(str(found.ticket), by)
    except TicketError:
        # Retention took the run away.
        raise TicketError("link_void", "What this link was for does not exist any more.") from None
    refused = services.refusal(str(found.ticket), by)
    if refused is not None and refused.code in ("ticket_decided", "run_ended"):
        raise refused
    if _is_used(found):
        raise _used(by.name)
    if found.expires_at <= timezone.now():
        raise TicketError("link_void", "This link is expired.", hint="Sign in to see what waits for you.")
    if refused is not None:
        raise refused
    return Link(found.digest, ticket, by)


def decide(link: Link, answer: str, *, reason: str | None, form: Any, seen: str | None = None) -> dict[str, Any]:
    """Decides the ticket as the link's user; the link is used up then. Raises as `services.decide`, and `link_used`.

    Who holds the link's row decides by it, so of two posts one does. The answer is committed before the row is: after a
    crash between them the answer tells that the link is used.
    """
    with transaction.atomic():
        kept = TicketLink.objects.select_for_update().filter(digest=link.digest).first()
        if kept is None:
            raise TicketError("link_void", "This link is void.", hint="Sign in to see what waits for you.")
        if _is_used(kept):
            raise _used(link.by.name)
        found = services.decide(link.ticket["ticket"], answer, by=link.by, reason=reason, form=form, seen=seen)
        TicketLink.objects.filter(digest=link.digest).update(used_at=timezone.now())
    return found


def _is_used(link: TicketLink) -> bool:
    return link.used_at is not None or any(
        event.type == "TicketAnswered" and (event.data.get("from") or {}).get("link") == link.digest
        for event in reading.find(str(link.ticket)).said
    )


def _used(name: str) -> TicketError:
    return TicketError("link_used", f"{name} has used this link already; the ticket waits for others.")


def make_void(user: Any) -> int:
    """Makes all links void that were mailed to a user; gives how many."""
    return int(TicketLink.objects.filter(user=user, webhook=None, used_at=None).delete()[0])


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _stamp(user: Any) -> str:
    """Changes with the password, as sessions end with it, and with the address that mails go to."""
    return hashlib.sha256(f"{user.get_session_auth_hash()} {user.email}".encode()).hexdigest()
