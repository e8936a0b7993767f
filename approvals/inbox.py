"""Lists of tickets and their numbers: each a bounded walk along one index. Changes nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from approvals.errors import TicketError
from approvals.people import Person
from runs import db
from runs.core.scope import instant
from runs.errors import is_id
from runs.models import PRIORITIES, Ticket
from runs.patch_tickets import PATCH
from workflows.core.lines import one_line

OPEN, CLOSED = "open", "closed"
ENDS = ("approved", "rejected", "timed_out", "cancelled")
STATUSES = (OPEN, CLOSED, *ENDS)
"""What a list may be filtered by; `closed` is everything but open."""

MAX_PAGE = 200
MAX_TEXT = 200
LOOKED_AT = 20_000
"""So many tickets are looked at for a filter that no index serves; then the list says so, and can be gone on with."""

COUNTED = 1_000
COLUMNS = (
    "id::text, run_id::text, seq, node, kind, workflow, title, assignees, answered, not_by, status, priority, due_at,"
    " created_at, decided_at, decided_by, reason, away, claimed_by, bulk, nor_by"
)
_MINE = (
    "assignees && %(mine)s::text[] AND NOT %(me)s = ANY(answered) AND NOT %(me)s = ANY(away)"
    " AND not_by IS DISTINCT FROM %(me)s AND NOT %(me)s = ANY(nor_by)"
)
_TIME = re.compile(r"infinity|[0-9]{4,5}-[0-9]{2}-[0-9]{2} [0-9:.]{8,15}\+00")


class _Walk:
    """The way through the table: `where` and `key`, a time, are those of one index."""

    def __init__(self, where: str, key: str, direction: str) -> None:
        self.where, self.key, self.direction = where, key, direction
        self.back = "DESC" if direction == "ASC" else "ASC"
        self.after = ">" if direction == "ASC" else "<"


_BY_DUE = _Walk("status = 'open'", "coalesce(due_at, 'infinity'::timestamptz)", "ASC")
_BY_END = _Walk("status <> 'open'", "decided_at", "DESC")
_BY_AGE = _Walk("true", "created_at", "DESC")


def tickets(
    person: Person,
    *,
    status: str | None = None,
    mine: bool = False,
    groups: bool = False,
    workflow: str | None = None,
    run: str | None = None,
    text: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> dict[str, Any]:
    """A page of tickets: open ones by their due time, closed ones the newest first, all of them by age.

    `mine` are open ones that this person may decide and has not answered; `groups` are those of them that are for one of
    the person's groups. `text` stands in title or workflow.
    """
    if status is not None and status not in STATUSES:
        raise TicketError("status_unknown", f"{status[:40]!r} is no status.", "/status", f"Use {', '.join(STATUSES)}.")
    status = OPEN if mine or groups else status
    walk = _BY_DUE if status == OPEN else _BY_AGE if status is None else _BY_END
    size = max(1, min(limit, MAX_PAGE))
    values: dict[str, Any] = {"me": person.name, "size": size + 1}
    along, fits = [walk.where], []
    if run is not None:
        along.append("run_id = %(run)s")
        values["run"] = run if is_id(run) else None
    if status in ENDS:
        fits.append("status = %(status)s")
        values["status"] = status
    if mine or groups:
        fits.append(_MINE)
        values["mine"] = person.group_audiences() if groups else person.audiences()
    if workflow:
        fits.append("workflow = %(workflow)s")
        values["workflow"] = workflow[:128]
    if text:
        fits.append("strpos(lower(title || ' ' || workflow), lower(%(text)s)) > 0")
        values["text"] = text[:MAX_TEXT]
    if cursor is not None:
        values |= _read_cursor(cursor)
        along.append(f"({walk.key}, id) {walk.after} (%(key)s::timestamptz, %(id)s::uuid)")
    rows, seen, last = _read(walk, along, fits, values, LOOKED_AT if fits else size + 1)
    found = [view(row[1:]) for row in rows[:size]]
    if len(rows) > size:
        return {"items": found, "next": f"{rows[size - 1][0]}~{rows[size - 1][1]}", "complete": True}
    is_complete = not fits or seen < LOOKED_AT
    return {"items": found, "next": None if is_complete else last, "complete": is_complete}


def _read(
    walk: _Walk, along: list[str], fits: list[str], values: Mapping[str, Any], bound: int
) -> tuple[list[Any], int, str]:
    order = f"ORDER BY key {walk.direction}, id {walk.direction}"
    # The key may be infinite, which Python has no word for: only its text and the turn of a row come back.
    statement = (
        f"WITH batch AS MATERIALIZED (SELECT *, {walk.key} AS key FROM ticket WHERE {' AND '.join(along)}"
        f" {order} LIMIT {bound:d}) SELECT seen.number, seen.last, found.* FROM (SELECT count(*) AS number,"
        f" (SELECT key::text || '~' || id FROM batch ORDER BY key {walk.back}, id {walk.back} LIMIT 1) AS last"
        f" FROM batch) seen LEFT JOIN (SELECT key::text, {COLUMNS}, row_number() OVER ({order}) AS turn FROM batch"
        f" WHERE {' AND '.join(fits) or 'true'} {order} LIMIT %(size)s) found ON true ORDER BY found.turn"
    )
    with db.transaction() as cursor:
        rows = cursor.execute(statement, values).fetchall()
    return [row[2:-1] for row in rows if row[2] is not None], rows[0][0], rows[0][1] or ""


def _read_cursor(cursor: str) -> dict[str, str]:
    key, _, name = cursor.partition("~")
    if _TIME.fullmatch(key) is None or not is_id(name):
        raise TicketError("cursor_invalid", "This cursor was not given by a list.", "/cursor")
    return {"key": key, "id": name}


_NUMBERS = (
    f"(SELECT count(*) FROM (SELECT FROM ticket WHERE status = 'open' LIMIT {COUNTED}) few),"
    f" (SELECT count(*) FROM (SELECT FROM ticket WHERE status = 'open' AND {_MINE} LIMIT {COUNTED}) few)"
)
_NEWEST = (
    "SELECT id::text, title, created_at"
    f" FROM (SELECT * FROM ticket ORDER BY created_at DESC, id DESC LIMIT {COUNTED}) few"
    f" WHERE status = 'open' AND {_MINE} ORDER BY created_at DESC, id DESC LIMIT 1"
)


def counts(person: Person) -> dict[str, int]:
    """How many tickets are open, and how many of them wait for this person; COUNTED at most."""
    with db.transaction() as cursor:
        row = cursor.execute(f"SELECT {_NUMBERS}", {"mine": person.audiences(), "me": person.name}).fetchone()
    assert row is not None
    return {"open": int(row[0]), "mine": int(row[1])}


def standing(person: Person) -> dict[str, Any]:
    """The counts, and as `newest` the newest ticket that waits for this person: `ticket`, `title` and `at`.

    All of one moment. `at` is when it was opened, as text that sorts. None where it is not among the COUNTED newest.
    """
    with db.transaction() as cursor:
        row = cursor.execute(
            f"SELECT {_NUMBERS}, newest.* FROM (SELECT) one LEFT JOIN ({_NEWEST}) newest ON true",
            {"mine": person.audiences(), "me": person.name},
        ).fetchone()
    assert row is not None
    newest = None
    if row[2] is not None:
        at = row[4].astimezone(UTC).isoformat(timespec="microseconds")
        newest = {"ticket": row[2], "title": one_line(row[3]), "at": at}
    return {"open": int(row[0]), "mine": int(row[1]), "newest": newest}


def group_count(person: Person) -> int:
    """How many open tickets wait for this person as a member of a group; COUNTED at most."""
    with db.transaction() as cursor:
        row = cursor.execute(
            f"SELECT count(*) FROM (SELECT FROM ticket WHERE status = 'open' AND {_MINE} LIMIT {COUNTED}) few",
            {"mine": person.group_audiences(), "me": person.name},
        ).fetchone()
    assert row is not None
    return int(row[0])


def view(row: Any) -> dict[str, Any]:
    """A ticket of a list, from a row of COLUMNS."""
    names = {number: name for name, number in PRIORITIES.items()}
    return {
        "ticket": row[0],
        "run": row[1],
        "seq": row[2],
        "node": row[3],
        "kind": row[4],
        "patch": row[0] if row[4] == PATCH else None,
        "workflow": row[5],
        # Runs that began with an older AOB have their titles as they came.
        "title": one_line(row[6]),
        "status": row[10],
        "assignees": [one for one in row[7] if one != Ticket.ANYONE],
        "answered": row[8],
        "not_by": row[9],
        "priority": names[row[11]],
        "due_at": _iso(row[12]),
        "created_at": _iso(row[13]),
        "decided_at": _iso(row[14]),
        "decided_by": row[15],
        "reason": row[16],
        "away": row[17],
        "claimed_by": row[18],
        "bulk": row[19],
        "nor_by": row[20],
    }


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else instant(db.micros(moment))
