"""Dead letters: tasks that failed for good, with what is needed to replay or to discard them."""

from __future__ import annotations

from typing import Any

import psycopg

from runs import db, services
from runs.queries import MAX_PAGE, value_at
from workflows.core.errors import AobError

STATUSES = ("open", "replayed", "discarded")
MAX_NUMBER = 2**63 - 1
_COLUMNS = (
    "id, run_id::text, workflow, node, type, attempts, error, created_at, status, replayed_as::text, input_seq, reason"
)


class DeadLetterError(AobError):
    """A dead letter that is unknown or dealt with already."""


MOST_LOOKED_AT = 50_000
BATCH = 5_000
COUNTED = 100
MAX_FILTER = 200


def dead_letters(
    *,
    status: str | None = "open",
    workflow: str | None = None,
    node_type: str | None = None,
    code: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> dict[str, Any]:
    """A page of dead letters, the newest first; `code` is the code of their error.

    Of a filter that fits few, at most MOST_LOOKED_AT are looked at; then `complete` is false, and `next` goes on.
    """
    if status is not None and status not in STATUSES:
        raise DeadLetterError(
            "status_unknown", f"{status[:40]!r} is no status.", "/status", f"Use {', '.join(STATUSES)}."
        )
    if cursor is not None and not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
        raise DeadLetterError("cursor_invalid", "This cursor was not given by a list.", "/cursor")
    size = max(1, min(limit, MAX_PAGE))
    fits = {"workflow": workflow, "type": node_type, "error ->> 'code'": code}
    wanted = {name: text[:MAX_FILTER] for name, text in fits.items() if text}
    below = MAX_NUMBER if cursor is None else int(cursor)
    batch = BATCH if wanted else size + 1
    found: list[Any] = []
    looked_at = 0
    while True:
        rows, number, last = _look(status, wanted, below, batch)
        found += rows
        looked_at += number
        if len(found) > size or number < batch:
            following = str(found[size - 1][0]) if len(found) > size else None
            return {"items": [_view(row) for row in found[:size]], "next": following, "complete": True}
        below = last
        if looked_at >= MOST_LOOKED_AT:
            return {"items": [_view(row) for row in found], "next": str(below), "complete": False}


def _look(status: str | None, wanted: dict[str, str], below: int, size: int) -> tuple[list[Any], int, int]:
    """One walk down the index (status, id), or the primary key, that ends at `size` rows; of these those that fit."""
    by_status = "" if status is None else "status = %(status)s AND "
    fits = " AND ".join(f"{name} = %(fit{place})s" for place, name in enumerate(wanted)) or "true"
    with db.transaction() as cursor:
        rows = cursor.execute(
            f"WITH batch AS MATERIALIZED (SELECT * FROM dead_letter WHERE {by_status}id < %(below)s ORDER BY id DESC"
            f" LIMIT {size:d}) SELECT seen.number, seen.last, letter.* FROM"
            " (SELECT count(*) AS number, coalesce(min(id), 0) AS last FROM batch) seen"
            f" LEFT JOIN (SELECT {_COLUMNS} FROM batch WHERE {fits}) letter ON true ORDER BY letter.id DESC",
            {"status": status, "below": below} | {f"fit{place}": text for place, text in enumerate(wanted.values())},
        ).fetchall()
    return [row[2:] for row in rows if row[2] is not None], rows[0][0], rows[0][1]


def open_count() -> int:
    """How many wait to be dealt with, COUNTED at most."""
    with db.transaction() as cursor:
        row = cursor.execute(
            f"SELECT count(*) FROM (SELECT 1 FROM dead_letter WHERE status = 'open' LIMIT {COUNTED}) few"
        ).fetchone()
    return int(row[0]) if row else 0


def dead_letter(number: int) -> dict[str, Any]:
    """One dead letter with the input of its task. Raises DeadLetterError."""
    row = _row(number)
    return {**_view(row), "input": value_at(row[1], row[10], "input")}


def replay(number: int, *, by: str) -> str:
    """Replays the run from the failed node; gives the new run's id. Once: raises DeadLetterError to who comes later."""
    row = _row(number)
    _require_open(row)
    return services.replay(
        row[1], row[3], by=by, guard=lambda cursor, new: _resolve(cursor, number, "replayed", replayed_as=new)
    )


def discard(number: int, *, reason: str | None) -> None:
    """Marks it as dealt with."""
    _require_open(_row(number))
    with db.transaction() as cursor:
        _resolve(cursor, number, "discarded", reason=reason)


def _row(number: int) -> Any:
    with db.transaction() as cursor:
        return _found(cursor, number)


def _found(cursor: psycopg.Cursor[Any], number: int) -> Any:
    row = cursor.execute(f"SELECT {_COLUMNS} FROM dead_letter WHERE id = %s", [number]).fetchone()
    if row is None:
        raise DeadLetterError(
            "dead_letter_unknown", f"There is no dead letter {number}.", hint="See `aob deadletter list`."
        )
    return row


def _require_open(row: Any) -> None:
    number, status, replayed_as = row[0], row[8], row[9]
    if status != "open":
        as_which = f", as run {replayed_as}" if replayed_as else ""
        raise DeadLetterError("dead_letter_closed", f"Dead letter {number} is {status} already{as_which}.")


def _resolve(
    cursor: psycopg.Cursor[Any], number: int, status: str, *, replayed_as: str | None = None, reason: str | None = None
) -> None:
    """Closes it, unless somebody has by now: who does it at the same time waits here until the other has committed."""
    cursor.execute(
        "UPDATE dead_letter SET status = %s, replayed_as = %s, reason = %s, resolved_at = clock_timestamp()"
        " WHERE id = %s AND status = 'open'",
        [status, replayed_as, reason and reason[:2000], number],
    )
    if not cursor.rowcount:
        _require_open(_found(cursor, number))


def _view(row: Any) -> dict[str, Any]:
    return {
        "id": row[0],
        "run": row[1],
        "workflow": row[2],
        "node": row[3],
        "type": row[4],
        "attempts": row[5],
        "error": row[6],
        "created_at": row[7].isoformat(),
        "status": row[8],
        "replayed_as": row[9],
        "reason": row[11],
    }
