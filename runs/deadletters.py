"""Dead letters: tasks that failed for good, with what is needed to replay or to discard them."""

from __future__ import annotations

from typing import Any

from runs import db, services
from runs.queries import MAX_PAGE, value_at
from workflows.core.errors import AobError

STATUSES = ("open", "replayed", "discarded")
_COLUMNS = (
    "id, run_id::text, workflow, node, type, attempts, error, created_at, status, replayed_as::text, input_seq, reason"
)


class DeadLetterError(AobError):
    """A dead letter that is unknown or dealt with already."""


def dead_letters(*, status: str | None = "open", limit: int = 50, cursor: str | None = None) -> dict[str, Any]:
    """A page of dead letters, the newest first."""
    if status is not None and status not in STATUSES:
        raise DeadLetterError(
            "status_unknown", f"{status[:40]!r} is no status.", "/status", f"Use {', '.join(STATUSES)}."
        )
    if cursor is not None and not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
        raise DeadLetterError("cursor_invalid", "This cursor was not given by a list.", "/cursor")
    size = max(1, min(limit, MAX_PAGE))
    with db.transaction() as database:
        rows = database.execute(
            f"SELECT {_COLUMNS} FROM dead_letter WHERE (%(status)s::text IS NULL OR status = %(status)s)"
            " AND (%(cursor)s::bigint IS NULL OR id < %(cursor)s) ORDER BY id DESC LIMIT %(size)s",
            {"status": status, "cursor": cursor, "size": size + 1},
        ).fetchall()
    return {
        "items": [_view(row) for row in rows[:size]],
        "next": str(rows[size - 1][0]) if len(rows) > size else None,
    }


def dead_letter(number: int) -> dict[str, Any]:
    """One dead letter with the input of its task. Raises DeadLetterError."""
    row = _row(number)
    return {**_view(row), "input": value_at(row[1], row[10], "input")}


def replay(number: int, *, by: str) -> str:
    """Replays the run from the failed node; gives the new run's id."""
    row = _row(number)
    _require_open(row)
    run_id = services.replay(row[1], row[3], by=by)
    _resolve(number, "replayed", replayed_as=run_id)
    return run_id


def discard(number: int, *, reason: str | None) -> None:
    """Marks it as dealt with."""
    _require_open(_row(number))
    _resolve(number, "discarded", reason=reason)


def _row(number: int) -> Any:
    with db.transaction() as cursor:
        row = cursor.execute(f"SELECT {_COLUMNS} FROM dead_letter WHERE id = %s", [number]).fetchone()
    if row is None:
        raise DeadLetterError(
            "dead_letter_unknown", f"There is no dead letter {number}.", hint="See `aob deadletter list`."
        )
    return row


def _require_open(row: Any) -> None:
    if row[8] != "open":
        raise DeadLetterError("dead_letter_closed", f"Dead letter {row[0]} is {row[8]} already.")


def _resolve(number: int, status: str, *, replayed_as: str | None = None, reason: str | None = None) -> None:
    with db.transaction() as cursor:
        cursor.execute(
            "UPDATE dead_letter SET status = %s, replayed_as = %s, reason = %s, resolved_at = clock_timestamp()"
            " WHERE id = %s",
            [status, replayed_as, reason and reason[:2000], number],
        )


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
