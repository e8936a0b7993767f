"""Finding runs: by state, workflow, time, labels, text in their inputs, or an expression. Changes nothing.

What an index serves is found at once. Everything else looks at the newest candidates batch by batch, within a budget
of rows and seconds (law 8); where that ends, the answer says how many were looked at, and its cursor goes on there.
"""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from typing import Any

import msgspec

from runs import db
from runs.blobs import StorageUnavailable, fetch
from runs.core.ids import time_id
from runs.core.values import MissingValue
from runs.errors import RunError, is_id
from runs.models import STATUSES, TRY_LABEL
from runs.queries import COLUMNS, MAX_PAGE, view_of_row
from runs.where import Judge, judging
from workflows.core.durations import parse_duration
from workflows.core.errors import AobError

MAX_TEXT = 200
MAX_WHERE = 2_000
LOWEST = "00000000-0000-0000-0000-000000000000"
HIGHEST = "ffffffff-ffff-ffff-ffff-ffffffffffff"
FIRST_BATCH = 200
LARGEST_BATCH = 5_000
JUDGED_AT_ONCE = 500
"""Values of so many runs are in memory at a time: each is up to 16 KiB, and one in a blob up to MAX_BLOB."""

MAX_BLOB = 1024 * 1024
"""Larger inputs and outputs are not searched; such runs count as not judged."""

SELECTIVE = 5_000
"""Fewer runs than this in the wanted states: it is quicker to go through them than through a workflow's runs."""


class Budget(msgspec.Struct, frozen=True):
    """When a search stops looking."""

    rows: int = 200_000
    seconds: float = 1.5


class Filter(msgspec.Struct, frozen=True):
    """What is looked for. `since` and `until` are milliseconds since the epoch; `tries` of nodes are runs, too."""

    statuses: tuple[str, ...] = ()
    workflow: str | None = None
    since: int | None = None
    until: int | None = None
    text: str | None = None
    where: str | None = None
    labels: dict[str, str] = {}
    parent: str | None = None
    tries: bool = True

    def is_exact(self) -> bool:
        """True when only an index is asked, so that looking again costs little."""
        return not (self.text or self.where or self.labels)


def read_filter(
    *,
    status: str | Iterable[str] | None = None,
    workflow: str | None = None,
    since: str | None = None,
    until: str | None = None,
    text: str | None = None,
    where: str | None = None,
    labels: Mapping[str, str] | None = None,
    parent: str | None = None,
    tries: bool = True,
) -> Filter:
    """A filter from what people and programs write. Raises RunError with the pointer of the field that is wrong."""
    wanted = status.split(",") if isinstance(status, str) else list(status or ())
    wanted = [one for one in dict.fromkeys(wanted) if one]
    for one in wanted:
        if one not in STATUSES:
            raise RunError("status_unknown", f"{one[:60]!r} is no status.", "/status", f"Use {', '.join(STATUSES)}.")
    first, last = milliseconds(since, "/since"), milliseconds(until, "/until")
    if first is not None and last is not None and first >= last:
        raise RunError("time_invalid", "The end of the time is before its start.", "/until", "Swap them.")
    return Filter(
        statuses=() if len(wanted) == len(STATUSES) else tuple(wanted),
        workflow=workflow or None,
        since=first,
        until=last,
        text=_short(text, MAX_TEXT, "/input_text"),
        where=_short(where, MAX_WHERE, "/where"),
        labels=dict(labels or {}),
        parent=parent or None,
        tries=tries,
    )


def _short(text: str | None, limit: int, pointer: str) -> str | None:
    text = (text or "").strip()
    if len(text) > limit:
        raise RunError("filter_too_long", f"This has {len(text)} characters; the limit is {limit}.", pointer)
    return text or None


def milliseconds(text: str | None, pointer: str) -> int | None:
    """`2h` (so long ago), a date, or a date-time; without an offset it is UTC, as on the pages."""
    text = (text or "").strip()
    if not text:
        return None
    try:
        return int((time.time() - parse_duration(text)) * 1000)
    except AobError:
        pass
    try:
        moment = datetime.fromisoformat(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max(0, min(int(moment.timestamp() * 1000), (1 << 48) - 1))
    except (ValueError, OverflowError):
        raise RunError(
            "time_invalid",
            f"{text[:60]!r} is no time.",
            pointer,
            "Write 15m, 2h or 7d for so long ago, 2030-01-31, or 2030-01-31T09:00 (UTC).",
        ) from None


def search(wanted: Filter, *, limit: int = 50, cursor: str | None = None, budget: Budget | None = None) -> dict[str, Any]:
    """A page of the runs that fit, the newest first, without inputs and outputs.

    `looked_at` is how many runs were read for it, `complete` is false when the budget ended before the page was full;
    `next` goes on then as well. `unjudged` runs lack what `where` asks for, `why` is the first reason.
    """
    judge: AbstractContextManager[Judge | None] = judging(wanted.where) if wanted.where else nullcontext()
    with judge as found:
        return _Search(wanted, max(1, min(limit, MAX_PAGE)), budget or Budget(), found).page(cursor)


def newest_cursor() -> str:
    """A cursor before which all runs stand that were started until now."""
    return encode_cursor(time_id(int(time.time() * 1000), b"\xff" * 10))


def states_of(run_ids: Iterable[str]) -> dict[str, str]:
    """The state of each of these runs; what is no run is left out."""
    with db.transaction() as cursor:
        rows = cursor.execute(
            "SELECT id::text, status FROM run WHERE id = ANY(%s::uuid[])", [[one for one in run_ids if is_id(one)]]
        ).fetchall()
    return dict(rows)


class _Search:
    def __init__(self, wanted: Filter, size: int, budget: Budget, judge: Judge | None) -> None:
        self._wanted = wanted
        self._size = size
        self._budget = budget
        self._judge = judge
        self._until = time.monotonic() + budget.seconds
        self._roots = judge.roots() if judge else frozenset()
        self._unjudged = 0
        self._looked_at = 0

    def page(self, cursor: str | None) -> dict[str, Any]:
        wanted = self._wanted
        below = HIGHEST if wanted.until is None else time_id(wanted.until, b"\0" * 10)
        if cursor is not None:
            below = min(below, decode_cursor(cursor))
        source = self._source(below)
        plain = wanted.is_exact() and not source.filters
        batch = self._size + 1 if plain else FIRST_BATCH
        found: list[Any] = []
        while True:
            looked = self._look(source, below, batch)
            self._looked_at += looked.rows
            found += looked.found
            if len(found) > self._size or looked.last is None:
                break
            below = looked.last
            if self._looked_at >= self._budget.rows or time.monotonic() >= self._until:
                return self._answer(found, below, complete=False)
            batch = min(batch * 4, LARGEST_BATCH)
        following = found[self._size - 1][0] if len(found) > self._size else None
        return self._answer(found[: self._size], following, complete=True)

    def _answer(self, found: list[Any], following: str | None, *, complete: bool) -> dict[str, Any]:
        return {
            "items": [view_of_row(row) for row in found],
            "next": None if following is None else encode_cursor(following),
            "looked_at": self._looked_at,
            "complete": complete,
            "unjudged": self._unjudged,
            "why": self._judge.why if self._judge else None,
        }

    def _source(self, below: str) -> _Source:
        """The index that leads to what is wanted with the fewest rows in between."""
        wanted = self._wanted
        lowest = LOWEST if wanted.since is None else time_id(wanted.since, b"\0" * 10)
        by_state = bool(wanted.statuses) and "completed" not in wanted.statuses
        if wanted.parent is not None:
            return _Source("parent", lowest, filters=True)
        if by_state and (wanted.workflow is None or self._few(lowest, below)):
            return _Source("state", lowest, filters=wanted.workflow is not None)
        return _Source("workflow" if wanted.workflow else "time", lowest, filters=bool(wanted.statuses))

    def _few(self, lowest: str, below: str) -> bool:
        with db.transaction() as cursor:
            row = cursor.execute(
                "SELECT count(*) FROM (SELECT 1 FROM unnest(%s::text[]) wanted, LATERAL (SELECT 1 FROM run WHERE"
                f" status = wanted AND status <> 'completed' AND id >= %s AND id < %s LIMIT {SELECTIVE}) one"
                f" LIMIT {SELECTIVE}) few",
                [list(self._wanted.statuses), lowest, below],
            ).fetchone()
        return row is not None and int(row[0]) < SELECTIVE

    def _look(self, source: _Source, below: str, size: int) -> _Looked:
        """Looks at one batch."""
        wanted = self._wanted
        reads_inputs = bool(wanted.text) or "inputs" in self._roots
        values = _INPUTS if reads_inputs else ", NULL, NULL"
        values += _OUTPUT if "output" in self._roots else ", NULL, NULL"
        fits = ["true"]
        if wanted.statuses:
            fits.append("status = ANY(%(statuses)s)")
        if wanted.workflow is not None:
            fits.append("workflow = %(workflow)s")
        if wanted.labels:
            fits.append("labels @> %(labels)s::jsonb")
        if not wanted.tries:
            fits.append("NOT labels ? %(try)s")
        if wanted.text is not None:
            fits.append(_TEXT)
        statement = db.sql("search_runs").decode()
        for name, part in {
            "candidates": source.sql(size),
            "columns": COLUMNS,
            "values": values,
            "fits": " AND ".join(fits),
        }.items():
            statement = statement.replace(f"{{{name}}}", part)
        parameters = {
            "statuses": list(wanted.statuses),
            "workflow": wanted.workflow,
            "labels": msgspec.json.encode(wanted.labels).decode(),
            "parent": wanted.parent if is_id(wanted.parent or "") else None,
            "try": TRY_LABEL,
            "pattern": _pattern(wanted.text or ""),
            "lowest": source.lowest,
            "below": below,
        }
        with db.transaction() as cursor:
            rows = cursor.execute(statement, parameters).fetchall()
        looked_at, last = rows[0][0], rows[0][1]
        found = [row[2:] for row in rows if row[2] is not None]
        if wanted.text is not None:
            found = [row for row in found if row[-3] is None or self._holds(row[-3])]
        if self._judge is not None:
            kept: list[Any] = []
            for start in range(0, len(found), JUDGED_AT_ONCE):
                some = found[start : start + JUDGED_AT_ONCE]
                kept += self._judged(some)
                rest = len(found) - start - len(some)
                if rest and time.monotonic() >= self._until:
                    # The next page begins with the rest of this batch.
                    return _Looked(kept, looked_at - rest, some[-1][0])
            found = kept
        return _Looked(found, looked_at, last if looked_at == size else None)

    def _holds(self, name: str) -> bool:
        """True when inputs that are kept as a blob hold the text."""
        data = _blob(name)
        if data is None:
            self._unjudged += 1
            return False
        return (self._wanted.text or "").casefold() in data.decode(errors="replace").casefold()

    def _judged(self, rows: list[Any]) -> list[Any]:
        assert self._judge is not None
        judged, runs = [], []
        for row in rows:
            one = self._variables(row)
            if one is None:
                self._unjudged += 1
            else:
                judged.append(row)
                runs.append(one)
        if not runs:
            return []
        # Twice the budget: one slow expression on few runs may still give an answer.
        seconds = max(self._until - time.monotonic(), self._budget.seconds)
        verdicts = self._judge.verdicts(runs, seconds)
        self._unjudged += sum(verdict is None for verdict in verdicts)
        return [row for row, verdict in zip(judged, verdicts, strict=True) if verdict]

    def _variables(self, row: Any) -> dict[str, Any] | None:
        """What the expression sees of a run; None when a value is too large to be searched."""
        view = view_of_row(row)
        ended = row[10] or datetime.now(UTC)
        found: dict[str, Any] = {
            "status": view["status"],
            "workflow": view["workflow"],
            # An error with nothing in it, so that `error.code == "x"` is false for runs without one.
            "error": {"code": "", "message": "", "node": "", **(view["error"] or {})},
            "duration": (ended - row[9]).total_seconds(),
        }
        inline_inputs, inputs_ref, inline_output, output_ref = row[-4:]
        for name, text, ref in (("inputs", inline_inputs, inputs_ref), ("output", inline_output, output_ref)):
            if name not in self._roots:
                continue
            data = _blob(ref) if ref else (text or "null").encode()
            if data is None:
                return None
            found[name] = msgspec.Raw(data)
        return found


class _Looked(msgspec.Struct, frozen=True):
    """What fits of a batch, how many runs it had, and the last of them; None when there are no more."""

    found: list[Any]
    rows: int
    last: str | None


class _Source(msgspec.Struct, frozen=True):
    """Where candidates come from; `filters` says that not every one of them fits."""

    index: str
    lowest: str
    filters: bool

    def sql(self, size: int) -> str:
        # The size is written out: of a parameter Postgres would think that it may be a tenth of the table, and sort.
        bounds = f"id >= %(lowest)s::uuid AND id < %(below)s::uuid ORDER BY id DESC LIMIT {size:d}"
        if self.index == "state":
            # One walk down the partial index for each state, merged: with ANY, Postgres would sort them all.
            return (
                "SELECT one.* FROM unnest(%(statuses)s::text[]) wanted, LATERAL (SELECT * FROM run"
                f" WHERE status = wanted AND status <> 'completed' AND {bounds}) one"
                f" ORDER BY one.id DESC LIMIT {size:d}"
            )
        if self.index == "parent":
            return f"SELECT * FROM run WHERE parent = %(parent)s::uuid AND {bounds}"
        if self.index == "workflow":
            # Compared as rows, so that no plan but a walk down the index (workflow, id) fits: by statistics of other
            # workflows Postgres would rather walk down all runs and look for these.
            return (
                "SELECT * FROM run WHERE (workflow, id) >= (%(workflow)s, %(lowest)s::uuid)"
                " AND (workflow, id) < (%(workflow)s, %(below)s::uuid)"
                f" ORDER BY workflow DESC, id DESC LIMIT {size:d}"
            )
        return f"SELECT * FROM run WHERE {bounds}"


# The values of a run stand in its first and last event; the key of the log leads to each.
_FIRST = "(SELECT data ->> '{0}' FROM run_event WHERE run_id = run.id AND seq = 1)"
_LAST = "(SELECT data ->> '{0}' FROM run_event WHERE run_id = run.id AND seq = run.last_seq)"
_INPUTS = f", {_FIRST.format('inputs').replace('->>', '->')}::text, {_FIRST.format('inputs_ref')}"
_OUTPUT = f", {_LAST.format('output').replace('->>', '->')}::text, {_LAST.format('output_ref')}"
_TEXT = (
    "EXISTS (SELECT 1 FROM run_event WHERE run_id = run.id AND seq = 1 AND (data ->> 'inputs_ref' IS NOT NULL"
    " OR (data -> 'inputs')::text ILIKE %(pattern)s))"
)


def _pattern(text: str) -> str:
    """An ILIKE pattern for a text as it stands in JSON."""
    written = json.dumps(text, ensure_ascii=False)[1:-1]
    return "%" + written.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"


def _blob(name: str) -> bytes | None:
    """A value's blob, or None when it is too large or cannot be read now."""
    with db.transaction() as cursor:
        row = cursor.execute("SELECT size FROM blob WHERE hash = %s", [name]).fetchone()
    if row is None or row[0] > MAX_BLOB:
        return None
    try:
        return fetch(name)
    except (MissingValue, StorageUnavailable):
        return None


def encode_cursor(run_id: str) -> str:
    return base64.urlsafe_b64encode(run_id.encode()).decode()


def decode_cursor(text: str) -> str:
    try:
        run_id = base64.urlsafe_b64decode(text.encode()).decode()
        if is_id(run_id):
            return run_id
    except (ValueError, binascii.Error, UnicodeError):
        pass
    raise RunError("cursor_invalid", "This cursor was not given by a list.", "/cursor", "Start without a cursor.")
