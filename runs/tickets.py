"""The table `ticket`: what the log says about questions to people, written in the transaction of its events (law 2).

Rules, doors and the inbox are in `approvals`; here is only the projection, and what it must be by a log.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import psycopg
from msgspec import json

from runs import db, patch_tickets
from runs.core.events import TERMINAL, Event
from runs.core.state import State
from runs.core.state import Ticket as TicketState
from runs.core.tickets import can_approve, next_step
from runs.irs import ir_of
from runs.models import PRIORITIES, Ticket
from runs.store import Change

_FAILURES = frozenset({"NodeFailed", "ItemFailed"})
_ASKS = frozenset({"NodeWaiting", "TicketEscalated"})

_ANSWERED = "UPDATE ticket SET answered = array_append(answered, %(by)s) WHERE id = %(ticket)s"
_ESCALATED = (
    "UPDATE ticket SET assignees = %(assignees)s::text[], answered = '{}', away = '{}', claimed_by = NULL,"
    " due_at = %(due)s WHERE id = %(ticket)s"
)
_DELEGATED = (
    "UPDATE ticket SET assignees = array_append(array_remove(assignees, 'user:' || %(by)s), 'user:' || %(to)s),"
    " away = array_append(away, %(by)s), claimed_by = nullif(claimed_by, %(by)s) WHERE id = %(ticket)s"
)
# A patch changed what was answered, so these answers count no more.
_ASKED_AGAIN = "UPDATE ticket SET answered = '{}' WHERE id = ANY(%(tickets)s::uuid[])"
_CLAIMED = "UPDATE ticket SET claimed_by = %(by)s WHERE id = %(ticket)s"
_TOLD = (
    "INSERT INTO ticket_message (run_id, ticket, seq, kind) VALUES (%(run)s, %(ticket)s, %(seq)s, %(kind)s)"
    " ON CONFLICT DO NOTHING"
)
_DECIDED = (
    "UPDATE ticket SET status = %(status)s, decided_at = %(at)s, decided_by = %(by)s, reason = %(reason)s"
    " WHERE id = %(ticket)s"
)

_SUPERUSERS = "SELECT username FROM auth_user WHERE is_active AND is_superuser ORDER BY id LIMIT 20"
_UNATTENDED = "INSERT INTO run_inbox (run_id, type, node, data) VALUES (%s, 'TicketUnattended', %s, %s)"

# By the index on the run; what is open when its node or its run goes away was never decided.
_CANCELLED = (
    "UPDATE ticket SET status = 'cancelled', decided_at = %(at)s"
    " WHERE run_id = %(run)s AND status = 'open' AND id <> ALL(%(keep)s::uuid[])"
)


def write(cursor: psycopg.Cursor[Any], changes: Sequence[Change]) -> bool:
    """Writes what a batch did to tickets. A run whose graph has no approval costs one look at its IR.

    True when a run was told that nobody of those whom it asks exists, and has to go on.
    """
    asks: list[tuple[str, str, TicketState]] = []
    for change in changes:
        state = change.held.state
        if change.events and ir_of(state.version).has_approvals:
            forked = change.events[0].data.get("forked_from") or {}
            _write(cursor, change.row.id, change.row.workflow, change.events, state, forked.get("copied", 0))
            asks += [(change.row.id, path, ticket) for path, ticket in _asked_now(change.events, state)]
    return _tell_unattended(cursor, asks)


def _write(
    cursor: psycopg.Cursor[Any], run_id: str, workflow: str, events: Iterable[Event], state: State, copied: int
) -> None:
    ends = None
    for event in events:
        kind, data = event.type, event.data
        if kind in TERMINAL or kind in _FAILURES:
            ends = event.at
        elif kind == "PatchApplied" and event.seq > copied + 1:
            cursor.execute(_ASKED_AGAIN, {"tickets": list(data.get("asks_again", {}).values())})
        elif "ticket" not in data or event.seq <= copied + 1:
            # Tickets in what a replay took over belong to the run that opened them.
            continue
        elif kind == "NodeWaiting":
            cursor.execute(db.sql("insert_ticket"), _opened(run_id, workflow, event))
            _tell(cursor, run_id, event, "opened")
        elif kind == "TicketAnswered":
            cursor.execute(_ANSWERED, {"ticket": data["ticket"], "by": data["by"]})
        elif kind == "TicketDelegated":
            cursor.execute(_DELEGATED, {"ticket": data["ticket"], "by": data["by"], "to": data["to"]})
            _tell(cursor, run_id, event, "delegated")
        elif kind == "TicketReminded":
            _tell(cursor, run_id, event, "reminded")
        elif kind in ("TicketClaimed", "TicketReleased"):
            by = data["by"] if kind == "TicketClaimed" else None
            cursor.execute(_CLAIMED, {"ticket": data["ticket"], "by": by})
        elif kind == "TicketEscalated":
            due = db.moment(data["due"]) if "due" in data else None
            cursor.execute(_ESCALATED, {"ticket": data["ticket"], "assignees": _audience(data["assignees"]), "due": due})
            _tell(cursor, run_id, event, "escalated")
        elif kind == "TicketDecided":
            names = ("ticket", "status", "by", "reason")
            cursor.execute(_DECIDED, {**{name: data[name] for name in names}, "at": db.moment(event.at)})
            _tell(cursor, run_id, event, "decided")
    if ends is not None:
        cursor.execute(_CANCELLED, {"run": run_id, "keep": sorted(_waiting(state)), "at": db.moment(ends)})


def _waiting(state: State) -> set[str]:
    """The tickets that a run waits for, those of patches with them."""
    waiting = {one.ticket.id for one in state.active.values() if one.ticket is not None}
    return waiting if state.ended else waiting | set(state.pending)


def _asked_now(events: Iterable[Event], state: State) -> Iterator[tuple[str, TicketState]]:
    """Tickets that were opened or handed to others in this batch, and wait for them still."""
    for path in dict.fromkeys(event.node or "" for event in events if event.type in _ASKS and "ticket" in event.data):
        activation = state.active.get(path)
        if activation is None or activation.ticket is None or activation.result is not None:
            continue
        if activation.ticket.assignees and not activation.ticket.forsaken:
            yield path, activation.ticket


def _tell_unattended(cursor: psycopg.Cursor[Any], asks: Sequence[tuple[str, str, TicketState]]) -> bool:
    """Tells runs that too few of those whom they ask exist, so that they ask others at once.

    Who exists is nothing that the log knows; so it comes to the run as a fact, with the superusers as the last resort,
    without the one who may not decide.
    """
    lost = unattended(cursor, [ticket for _, _, ticket in asks])
    if not lost:
        return False
    superusers = [name for (name,) in cursor.execute(_SUPERUSERS)]
    is_told = False
    for run_id, path, ticket in asks:
        to = [f"user:{name}" for name in superusers if name not in ticket.barred]
        if ticket.id in lost and (to or next_step(ticket) is not None):
            data = {"ticket": ticket.id, "assignees": ticket.assignees, "to": to}
            cursor.execute(_UNATTENDED, [run_id, path, json.encode(data).decode()])
            is_told = True
    return is_told


def unattended(cursor: psycopg.Cursor[Any], tickets: Sequence[TicketState]) -> set[str]:
    """The ids of those tickets that cannot be approved, because too few of their assignees exist and may decide."""
    if not tickets:
        return set()
    names = {name.partition(":")[::2] for ticket in tickets for name in ticket.assignees}
    named = {f"{kind}s": sorted(name for of, name in names if of == kind) for kind in ("user", "group")}
    people: dict[str, set[str]] = {}
    for name, who in cursor.execute(db.sql("existing_people"), named):
        people.setdefault(name, set()).add(who)
    return {ticket.id for ticket in tickets if not can_approve(ticket, people)}


def _tell(cursor: psycopg.Cursor[Any], run_id: str, event: Event, kind: str) -> None:
    """People are told of this event; the messenger (`approvals.messenger`) sees to it."""
    cursor.execute(_TOLD, {"run": run_id, "ticket": event.data["ticket"], "seq": event.seq, "kind": kind})


def _opened(run_id: str, workflow: str, event: Event) -> dict[str, Any]:
    data = event.data
    return {
        "id": data["ticket"],
        "run": run_id,
        "seq": event.seq,
        "node": event.node,
        "kind": data["kind"],
        "workflow": workflow,
        "title": data["title"],
        "assignees": _audience(data["assignees"]),
        "not_by": data.get("not_by"),
        "nor_by": data.get("nor_by", []),
        "priority": PRIORITIES[data["priority"]],
        "bulk": data.get("bulk", False),
        "due": db.moment(data["due"]) if "due" in data else None,
        "at": db.moment(event.at),
    }


def _audience(assignees: list[str]) -> list[str]:
    return assignees or [Ticket.ANYONE]


def from_log(log: Sequence[Event], state: State) -> dict[str, dict[str, Any]]:
    """What the rows of a run's tickets must say, from its log and the state that it folds to."""
    copied = (log[0].data.get("forked_from") or {}).get("copied", 0)
    own = [event for event in log if event.seq > copied + 1]
    found = patch_tickets.from_log(own)
    for event in own:
        kind, data = event.type, event.data
        for ticket in data.get("asks_again", {}).values() if kind == "PatchApplied" else ():
            found[ticket]["answered"] = []
        if "ticket" not in data:
            continue
        one = found.setdefault(data["ticket"], {"status": "open", "by": None, "reason": None})
        if kind in _ASKS:
            one |= {"assignees": _audience(data["assignees"]), "due": data.get("due")}
            one |= {"answered": [], "away": [], "claimed": None}
        elif kind == "TicketDelegated":
            by = data["by"]
            one["assignees"] = [*(name for name in one["assignees"] if name != f"user:{by}"), f"user:{data['to']}"]
            one |= {"away": [*one["away"], by], "claimed": None if one["claimed"] == by else one["claimed"]}
        elif kind in ("TicketClaimed", "TicketReleased"):
            one["claimed"] = data["by"] if kind == "TicketClaimed" else None
        elif kind == "TicketAnswered":
            one["answered"] = [*one["answered"], data["by"]]
        elif kind == "TicketDecided":
            one |= {name: data[name] for name in ("status", "by", "reason")}
    waiting = _waiting(state)
    for ticket, one in found.items():
        if one["status"] == "open" and ticket not in waiting:
            one["status"] = "cancelled"
    return found


def stored(cursor: psycopg.Cursor[Any], run_id: str) -> dict[str, dict[str, Any]]:
    """What the rows say, in the same form."""
    cursor.execute(
        "SELECT id::text, status, answered, decided_by, reason, assignees, away, claimed_by, due_at FROM ticket"
        " WHERE run_id = %s",
        [run_id],
    )
    names = ("status", "answered", "by", "reason", "assignees", "away", "claimed", "due")
    return {
        ticket: dict(zip(names, (*row, None if due is None else db.micros(due)), strict=True))
        for ticket, *row, due in cursor
    }
