"""One ticket as its run's log tells it: what it asks, what was said, and the context that whoever decides has seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from approvals.errors import TicketError
from approvals.inbox import COLUMNS, view
from runs import db
from runs.blobs import fetch
from runs.core.events import Event
from runs.core.scope import instant
from runs.core.values import Values, get
from runs.errors import is_id
from runs.patch_tickets import PATCH
from runs.store import events_of
from workflows.core.canonical import value_hash

TOLD = {
    "NodeWaiting": "asked",
    "TicketAnswered": "answered",
    "TicketEscalated": "escalated",
    "TicketUnattended": "unattended",
    "TicketDelegated": "delegated",
    "TicketClaimed": "claimed",
    "TicketReleased": "released",
    "TicketCommented": "commented",
    "TicketReminded": "reminded",
    "TicketDecided": "decided",
}
"""What happens to a ticket, by the events that say so."""

_THREAD = (
    "SELECT seq, type, at, node, data FROM run_event WHERE run_id = %s AND seq > %s AND node = %s AND type = ANY(%s)"
    " AND data->>'ticket' = %s ORDER BY seq"
)
# By the primary keys of run and log, one ticket at a time.
_CONTEXTS = (
    "SELECT t.id::text, asked.data, run.version, coalesce((SELECT max(seq) FROM run_event e WHERE e.run_id = t.run_id"
    " AND e.seq > t.seq AND e.node = t.node AND e.type = 'TicketEscalated' AND e.data->>'ticket' = t.id::text), t.seq)"
    " FROM ticket t JOIN run ON run.id = t.run_id JOIN run_event asked ON asked.run_id = t.run_id AND asked.seq = t.seq"
    " WHERE t.id = ANY(%s::uuid[]) AND t.kind <> 'patch'"
)


@dataclass(frozen=True)
class Found:
    """`shown` is the ticket as lists show it, `asked` the event that opened it, `said` what came after it, in order.

    `version` is the graph that its run has now.
    """

    shown: dict[str, Any]
    asked: Event
    said: list[Event]
    version: str

    @property
    def answers(self) -> list[Event]:
        """The answers that count: those since the ticket was handed to others."""
        found: list[Event] = []
        for event in self.said:
            if event.type == "TicketEscalated":
                found = []
            elif event.type == "TicketAnswered":
                found.append(event)
        return found

    @property
    def context(self) -> str:
        """A name for everything that the ticket shows to whoever decides it: question, form, graph, whom it asks."""
        asks = [self.asked.seq, *(event.seq for event in self.said if event.type == "TicketEscalated")]
        return _context(self.asked.data, self.version, asks[-1])


def _context(asked: dict[str, Any], version: str, step: int) -> str:
    """`step` is the seq of the event that asked those who are asked now."""
    parts = {key: get(asked, key) for key in ("body", "values", "form")}
    shown = {"title": asked["title"], **parts, "version": version, "asked": step}
    # Without its prefix: it names no blob, and what looks like a blob's name in an event is kept as one.
    return value_hash(shown).removeprefix("sha256:")


def contexts(ticket_ids: Sequence[str]) -> dict[str, str]:
    """The contexts of some tickets that nodes ask, as `Found` has them."""
    with db.transaction() as cursor:
        rows = cursor.execute(_CONTEXTS, [list(ticket_ids)]).fetchall()
    return {ticket: _context(asked, version, step) for ticket, asked, version, step in rows}


def row(ticket_id: str) -> dict[str, Any]:
    """The ticket as lists show it. Raises TicketError `ticket_unknown`."""
    with db.transaction() as cursor:
        return view(_row(cursor, ticket_id))


def find(ticket_id: str) -> Found:
    """Raises TicketError: `ticket_unknown`, or `ticket_of_patch` for one that is not asked by a node."""
    with db.transaction() as cursor:
        found = _row(cursor, ticket_id)
        shown = view(found)
        if shown["kind"] == PATCH:
            raise TicketError(
                "ticket_of_patch", "This ticket is a patch: it is approved or rejected, and nothing else is done with it."
            )
        asked = events_of(cursor, shown["run"], after=shown["seq"] - 1, limit=1)[0]
        cursor.execute(_THREAD, [shown["run"], shown["seq"], shown["node"], list(TOLD), shown["ticket"]])
        said = [Event(seq, kind, db.micros(at), node, data) for seq, kind, at, node, data in cursor]
    return Found(shown, asked, said, found[-1])


def _row(cursor: Any, ticket_id: str) -> Any:
    """COLUMNS, and the version of the graph that its run has now."""
    found = None
    if is_id(ticket_id):
        version = "(SELECT version FROM run WHERE run.id = ticket.run_id)"
        found = cursor.execute(f"SELECT {COLUMNS}, {version} FROM ticket WHERE id = %s", [ticket_id]).fetchone()
    if found is None:
        raise TicketError("ticket_unknown", f"There is no ticket {ticket_id[:60]!r}.", hint="See `aob approvals list`.")
    return found


def thread(found: Found) -> list[dict[str, Any]]:
    """What happened to a ticket, in the order of the log."""
    values = Values(fetch)
    return [_told(event, values) for event in (found.asked, *found.said)]


def _told(event: Event, values: Values) -> dict[str, Any]:
    names = ("by", "to", "answer", "reason", "assignees", "count", "status", "because", "due")
    one = {name: event.data[name] for name in names if event.data.get(name) is not None}
    if "due" in one:
        one["due"] = instant(one["due"])
    for key in ("text", "form"):
        if event.type != "NodeWaiting" and (given := value(values, event, key)) is not None:
            one[key] = given
    return {"seq": event.seq, "at": instant(event.at), "what": TOLD[event.type], **one}


def value(values: Values, event: Event, key: str) -> Any:
    """A value of an event, loaded from its blob if it is large."""
    stored = get(event.data, key)
    return None if stored is None else values.load(stored)
