"""What goes on, in numbers: for the first page and the lists. Every statement is bounded, however many runs there are.

Runs by which the editor tries a node are counted nowhere here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from runs import db
from runs.core.ids import time_id
from runs.models import TRY_LABEL
from runs.queries import COLUMNS, view_of_row

LIVE = ("queued", "running", "waiting", "paused")
BAD = ("failed", "timed_out", "cancelled")
MANY = 1_000
"""Counts of runs in a state end here and are shown as `1,000+`."""

HOURS = 6
INTERVALS = 24
INTERVAL_MS = HOURS * 3_600_000 // INTERVALS
MOST_BAD = 500
"""So many failed runs of one interval are counted."""

CHUNK = 20_000
SECONDS = 0.025
SETTLED_MS = 15_000
"""Older ids are all committed: a start is held open for less than a session's time-out, 15 s."""

RECENT = 20
"""So many of a workflow's last runs are looked at for its marks, its share of successes and its usual duration."""

AMONG = 10
"""So many times the runs that are wanted are looked at: tries may stand between them."""

IS_TRY = f"labels ? '{TRY_LABEL}'"


def live_counts() -> dict[str, int]:
    """How many runs are in each state that has not ended, at most MANY of each."""
    with db.transaction() as cursor:
        rows = cursor.execute(
            "SELECT wanted, (SELECT count(*) FROM (SELECT labels FROM run WHERE status = wanted AND"
            f" status <> 'completed' LIMIT {MANY}) few WHERE NOT {IS_TRY}) FROM unnest(%s::text[]) wanted",
            [list(LIVE)],
        ).fetchall()
    return {state: int(number) for state, number in rows}


def newest_in(statuses: Sequence[str], *, limit: int, since_ms: int | None = None) -> list[dict[str, Any]]:
    """The newest runs in these states (none of which is `completed`)."""
    lowest = time_id(since_ms or 0, b"\0" * 10)
    with db.transaction() as cursor:
        rows = cursor.execute(
            f"SELECT {COLUMNS} FROM (SELECT one.* FROM unnest(%s::text[]) wanted, LATERAL (SELECT * FROM run"
            " WHERE status = wanted AND status <> 'completed' AND id >= %s::uuid"
            f" ORDER BY id DESC LIMIT {limit * AMONG:d}) one WHERE NOT one.{IS_TRY}"
            f" ORDER BY one.id DESC LIMIT {limit:d}) run ORDER BY run.id DESC",
            [list(statuses), lowest],
        ).fetchall()
    return [view_of_row(row) for row in rows]


def is_used() -> bool:
    """True once there is a run."""
    with db.transaction() as cursor:
        return cursor.execute("SELECT 1 FROM run LIMIT 1").fetchone() is not None


class Recent(msgspec.Struct, frozen=True):
    """A workflow's last runs, the oldest first: (id, state) each; and what they say."""

    runs: list[tuple[str, str]]
    success: int | None
    """In hundredths, of those that have ended by themselves."""
    seconds: float | None
    """The median duration of those that completed."""

    @property
    def summary(self) -> str:
        """`17 completed, 2 failed, 1 waiting`."""
        states = [state for _, state in self.runs]
        counts = {state: states.count(state) for state in dict.fromkeys(states)}
        return ", ".join(f"{number} {state.replace('_', ' ')}" for state, number in counts.items())


def recent(workflows: Sequence[str]) -> dict[str, Recent]:
    """The last runs of each workflow: one short walk down the index (workflow, id) for each."""
    with db.transaction() as cursor:
        rows = cursor.execute(
            "SELECT name, one.id::text, one.status, extract(epoch FROM one.ended_at - one.created_at)::float8"
            " FROM unnest(%s::text[]) name, LATERAL (SELECT * FROM (SELECT id, status, created_at, ended_at, labels"
            " FROM run WHERE (workflow, id) >= (name, '00000000-0000-0000-0000-000000000000'::uuid)"
            " AND (workflow, id) <= (name, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)"
            f" ORDER BY workflow DESC, id DESC LIMIT {RECENT * AMONG}) few WHERE NOT {IS_TRY}"
            f" ORDER BY id DESC LIMIT {RECENT}) one",
            [list(workflows)],
        ).fetchall()
    found: dict[str, list[Any]] = {name: [] for name in workflows}
    for name, run_id, status, seconds in rows:
        found[name].append((run_id, status, seconds))
    return {name: _recent(sorted(runs)) for name, runs in found.items()}


def _recent(runs: list[Any]) -> Recent:
    judged = [status for _, status, _ in runs if status in ("completed", "failed", "timed_out")]
    took = sorted(seconds for _, status, seconds in runs if status == "completed" and seconds is not None)
    return Recent(
        runs=[(run_id, status) for run_id, status, _ in runs],
        success=round(100 * judged.count("completed") / len(judged)) if judged else None,
        seconds=took[len(took) // 2] if took else None,
    )


class Interval(msgspec.Struct, frozen=True):
    """Runs that were started in an interval, and what became of them; None: not counted to the end yet."""

    start_ms: int
    started: int | None
    failed: int
    cancelled: int
    live: int


class Throughput:
    """How many runs were started in each of the last intervals.

    Counting a million rows takes a tenth of a second, so each call counts for SECONDS at most, newest first, and keeps
    what it counted: of an interval that is over and settled nothing is counted again.
    """

    def __init__(self) -> None:
        self._counted: dict[int, _Count] = {}
        self._lock = threading.Lock()

    def intervals(self) -> list[Interval]:
        """The oldest first."""
        now = int(time.time() * 1000)
        starts = [(now // INTERVAL_MS - back) * INTERVAL_MS for back in range(INTERVALS)]
        with self._lock, db.transaction() as cursor:
            self._counted = {start: self._counted.get(start) or _Count(start) for start in starts}
            until = time.monotonic() + SECONDS
            started = [self._counted[start].go_on(cursor, now, until) for start in starts]
            others = _others(cursor, starts)
        return [Interval(start, number, *others[start]) for start, number in zip(starts, started, strict=True)][::-1]


class _Count:
    """The runs of one interval: those below `below_ms` are counted for good."""

    def __init__(self, start: int) -> None:
        self._end = start + INTERVAL_MS
        self._after = time_id(start, b"\0" * 10)
        self._number = 0
        self._is_done = False

    def go_on(self, cursor: Any, now: int, until: float) -> int | None:
        if self._is_done:
            return self._number
        settled = min(self._end, now - SETTLED_MS)
        while time.monotonic() < until:
            number, looked_at, last = self._chunk(cursor, time_id(settled, b"\0" * 10))
            self._number += number
            self._after = last or self._after
            if looked_at < CHUNK:
                self._is_done = settled == self._end
                return self._number + (0 if self._is_done else self._chunk(cursor, time_id(self._end, b"\0" * 10))[0])
        return None

    def _chunk(self, cursor: Any, below: str) -> tuple[int, int, str | None]:
        """The runs among the next CHUNK of all, how many all were, and the last of them."""
        row = cursor.execute(
            f"SELECT count(*) FILTER (WHERE NOT {IS_TRY}), count(*), (array_agg(id::text ORDER BY id DESC))[1] FROM"
            f" (SELECT id, labels FROM run WHERE id > %s::uuid AND id < %s::uuid ORDER BY id LIMIT {CHUNK}) few",
            [self._after, below],
        ).fetchone()
        return int(row[0]), int(row[1]), row[2]


def _others(cursor: Any, starts: Sequence[int]) -> dict[int, tuple[int, int, int]]:
    """Failed, cancelled and live runs of each interval, by the partial index (status, id)."""
    rows = cursor.execute(
        "SELECT at, wanted, (SELECT count(*) FROM (SELECT labels FROM run WHERE status = wanted AND"
        f" status <> 'completed' AND id >= low::uuid AND id < high::uuid LIMIT {MOST_BAD}) few WHERE NOT {IS_TRY})"
        " FROM unnest(%s::bigint[], %s::text[], %s::text[]) one(at, low, high), unnest(%s::text[]) wanted",
        [
            list(starts),
            [time_id(start, b"\0" * 10) for start in starts],
            [time_id(start + INTERVAL_MS, b"\0" * 10) for start in starts],
            [*BAD, *LIVE],
        ],
    ).fetchall()
    found = {start: dict.fromkeys([*BAD, *LIVE], 0) for start in starts}
    for at, state, number in rows:
        found[at][state] = int(number)
    return {
        start: (one["failed"] + one["timed_out"], one["cancelled"], sum(one[state] for state in LIVE))
        for start, one in found.items()
    }
