"""Tells people of tickets: takes the messages that were written with the events, and mails whoever may answer.

At least once, and recorded for each recipient: a crash in the middle mails at most the one again who was being mailed,
under the same Message-ID. Any number of messengers may run; each message is one's own while its lease lasts.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg
from django.conf import settings
from django.db import Error as DatabaseError
from django.db import close_old_connections
from django.utils import timezone

from approvals import links, messages, services
from approvals.errors import TicketError
from approvals.models import TicketLink, TicketMail
from approvals.people import Person, person
from runs import db
from runs.mail import MailError, send
from runs.models import TicketMessage
from workflows.core.errors import AobError

LOOK_SECONDS = 1.0
LEASE_SECONDS = 300
"""So long a message is one messenger's own; renewed before each mail."""

FIRST_WAIT, LONGEST_WAIT = 30, 3_600
DAY = 86_400
"""What could not be told within a day is given up."""

TIDY_SECONDS = 3_600

_CLAIM = """
UPDATE ticket_message SET attempts = attempts + 1, next_at = clock_timestamp() + make_interval(secs => %(lease)s)
WHERE id = (
    SELECT id FROM ticket_message WHERE state = 'due' AND next_at <= clock_timestamp()
    ORDER BY next_at, id LIMIT 1 FOR UPDATE SKIP LOCKED
)
RETURNING id, ticket::text, seq, kind, attempts, created_at < clock_timestamp() - make_interval(secs => %(day)s)
"""
_RENEW = (
    "UPDATE ticket_message SET next_at = clock_timestamp() + make_interval(secs => %(lease)s)"
    " WHERE id = %(id)s AND attempts = %(attempts)s AND state = 'due'"
)
_SETTLE = (
    "UPDATE ticket_message SET state = %(state)s, error = %(error)s,"
    " next_at = clock_timestamp() + make_interval(secs => %(wait)s)"
    " WHERE id = %(id)s AND attempts = %(attempts)s AND state = 'due'"
)
_OVERTAKEN = "SELECT 1 FROM ticket_message WHERE ticket = %s AND seq > %s AND kind IN ('escalated', 'delegated') LIMIT 1"

_NOBODY = Person("", frozenset(), False)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Claimed:
    id: int
    ticket: str
    seq: int
    kind: str
    attempts: int
    is_old: bool


class _Lost(Exception):
    """The message is another messenger's by now."""


def run_forever(stop: threading.Event, turn: Callable[[], bool]) -> None:
    """A thread that tells people: by mails, or (with `webhooks.turn`) webhooks, each at its own pace."""
    tidied = time.monotonic()
    while not stop.is_set():
        busy = False
        try:
            busy = turn()
            if time.monotonic() - tidied > TIDY_SECONDS:
                tidied = time.monotonic()
                tidy()
        except (psycopg.Error, DatabaseError, OSError) as error:
            _log.warning("Messages about tickets wait: %s", error)
        finally:
            close_old_connections()
        if not busy:
            stop.wait(LOOK_SECONDS)


def turn() -> bool:
    """Sees to one message that is due; False when there is none."""
    with db.transaction() as cursor:
        row = cursor.execute(_CLAIM, {"lease": LEASE_SECONDS, "day": DAY}).fetchone()
    if row is None:
        return False
    claimed = _Claimed(*row)
    try:
        state, error = _tell(claimed)
    except _Lost:
        return True
    except (psycopg.Error, DatabaseError):
        raise
    except Exception as defect:
        # Of ours, with this one message; it is tried and given up like any other, and the others are told all the same.
        _log.exception("A message about a ticket failed")
        state, error = TicketMessage.DUE, f"{type(defect).__name__}: {defect}"[:2000]
    wait = min(FIRST_WAIT * 2 ** min(claimed.attempts - 1, 20), LONGEST_WAIT)
    if state == TicketMessage.DUE and claimed.is_old:
        state, error = TicketMessage.GIVEN_UP, f"Given up after {claimed.attempts} attempts: {error}"
    settled = {"id": claimed.id, "attempts": claimed.attempts, "state": state, "error": error, "wait": wait}
    with db.transaction() as cursor:
        cursor.execute(_SETTLE, settled)
    return True


def _tell(message: _Claimed) -> tuple[str, str | None]:
    """Mails everybody who has not been; gives the message's state then, and what went wrong."""
    if message.kind == "decided":
        return TicketMessage.DONE, None
    try:
        ticket = services.ticket(message.ticket, _NOBODY)
    except TicketError:
        return TicketMessage.VOID, None
    if ticket["status"] != "open" or _is_overtaken(message):
        return TicketMessage.VOID, None
    known = set(TicketMail.objects.filter(message=message.id).values_list("user_id", flat=True))
    refused: list[str] = []
    for user in messages.recipients(ticket["assignees"]):
        if user.pk in known or services.refusal(message.ticket, person(user, may_decide=True)) is not None:
            continue
        if _has_enough(user):
            refused.append(f"{user.get_username()}: had {settings.AOB_TICKET_MAILS_PER_HOUR} mails within an hour")
            continue
        _renew(message)
        try:
            _mail(message, ticket, user)
        except MailError as error:
            if error.code == "email_connection":
                # The others would find the server as it is.
                return TicketMessage.DUE, error.message
            refused.append(f"{user.get_username()}: {error.message}")
    return (TicketMessage.DUE, "; ".join(refused)[:2000]) if refused else (TicketMessage.DONE, None)


def _mail(message: _Claimed, ticket: dict[str, Any], user: Any) -> None:
    """Raises MailError when it may be tried again. What the server refuses for good is written down as that."""
    due = None if ticket["due_at"] is None else datetime.fromisoformat(ticket["due_at"])
    token = links.issue(user, message.ticket, due)
    error = None
    try:
        send(messages.mail(message.kind, message.seq, ticket, user, token))
    except AobError as failure:
        TicketLink.objects.filter(digest=links.digest(token)).delete()
        if isinstance(failure, MailError) and failure.transient:
            raise
        error = failure.message
    _record(message, user, error)


def _record(message: _Claimed, user: Any, error: str | None) -> None:
    """Whoever is slower, when a lease ran out in the middle, finds it written."""
    row = TicketMail(message=message.id, ticket=message.ticket, user=user, address=user.email, error=error)
    TicketMail.objects.bulk_create([row], ignore_conflicts=True)


def _has_enough(user: Any) -> bool:
    """Whether a user got as many mails as it may: a map opens thousands of tickets at once."""
    hour_ago = timezone.now() - timedelta(hours=1)
    recent = TicketMail.objects.filter(user=user, sent_at__gt=hour_ago)[: settings.AOB_TICKET_MAILS_PER_HOUR]
    return recent.count() >= settings.AOB_TICKET_MAILS_PER_HOUR


def _renew(message: _Claimed) -> None:
    with db.transaction() as cursor:
        cursor.execute(_RENEW, {"lease": LEASE_SECONDS, "id": message.id, "attempts": message.attempts})
        if cursor.rowcount != 1:
            raise _Lost


def _is_overtaken(message: _Claimed) -> bool:
    """Whether the ticket was handed to others since; they are told by the message of that."""
    with db.transaction() as cursor:
        return cursor.execute(_OVERTAKEN, [message.ticket, message.seq]).fetchone() is not None


def try_again(ids: list[int]) -> int:
    """Gives messages that were given up another day; gives how many."""
    with db.transaction() as cursor:
        cursor.execute(
            "UPDATE ticket_message SET state = 'due', next_at = clock_timestamp(), created_at = clock_timestamp()"
            " WHERE id = ANY(%s) AND state IN ('due', 'given_up')",
            [ids],
        )
        return cursor.rowcount


def tidy() -> None:
    """Forgets mails, posts and links of tickets that retention took away."""
    with db.transaction() as cursor:
        for table in ("ticket_mail", "ticket_link", "ticket_post"):
            cursor.execute(
                f"DELETE FROM {table} one WHERE NOT EXISTS (SELECT 1 FROM ticket WHERE ticket.id = one.ticket)"
            )
