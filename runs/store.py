"""Reading many runs at once: claimed rows, waiting facts, states from snapshot and log.

Everything here happens inside the caller's transaction.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import psycopg

from runs import db
from runs.core.events import Event, Fact
from runs.core.fold import fold
from runs.core.state import State, load
from runs.irs import ir_of
from runs.leases import Leased

MAX_INBOX = 5_000
CACHED_STATES = 500


class RunRow(msgspec.Struct):
    """A claimed row of `run`."""

    id: str
    workflow: str
    version: str
    status: str
    priority: int
    parent: str | None
    parent_node: str | None
    depth: int
    last_seq: int


class Held(msgspec.Struct):
    """A state in memory, and where its last snapshot stands."""

    state: State
    snapshot_seq: int = 0
    snapshot_size: int = 0


class Birth(msgspec.Struct, frozen=True):
    """What is known of a new run beside its log. `labels` is JSON.

    `inputs_of` is the run that gave the inputs where it is not the parent and nobody else did: they let the new run read
    those blobs that this one may read.
    """

    labels: bytes = b"{}"
    forked_from: str | None = None
    inputs_of: str | None = None


class Change(msgspec.Struct):
    """What one run's advance made: its new events, state and values; `birth` when the run is new."""

    row: RunRow
    held: Held
    events: list[Event]
    values: dict[str, bytes]
    birth: Birth | None = None


class StateCache:
    """States of runs that this process advanced lately; valid only when the row's last_seq agrees."""

    def __init__(self) -> None:
        self._held: OrderedDict[str, Held] = OrderedDict()

    def get(self, run_id: str) -> Held | None:
        held = self._held.get(run_id)
        if held is not None:
            self._held.move_to_end(run_id)
        return held

    def keep(self, run_id: str, held: Held) -> None:
        self._held[run_id] = held
        self._held.move_to_end(run_id)
        while len(self._held) > CACHED_STATES:
            self._held.popitem(last=False)

    def drop(self, run_ids: Iterable[str]) -> None:
        for run_id in run_ids:
            self._held.pop(run_id, None)


class Claimed(msgspec.Struct):
    """Runs that are locked for this transaction, those among them for which facts wait, and the database's time.

    `finished` are the ids of the tasks that were taken away because their leases still held.
    """

    rows: list[RunRow]
    told: list[str]
    now: int
    finished: set[int]


def claim_ready(cursor: psycopg.Cursor[Any], limit: int, *, resting: Sequence[str] = ()) -> Claimed:
    """Locks the next runs that need a coordinator, without those that are to rest."""
    return _claimed(cursor.execute(db.sql("claim_ready"), {"limit": limit, "resting": list(resting)}).fetchall())


def claim_runs(cursor: psycopg.Cursor[Any], ids: Sequence[str], tasks: Sequence[Leased]) -> Claimed:
    """Locks these runs as far as nobody else holds them, and takes away tasks under their fencing tokens."""
    cursor.execute(
        db.sql("claim_runs"),
        {"ids": list(ids), "tasks": [task.id for task in tasks], "tokens": [task.token for task in tasks]},
    )
    return _claimed(cursor.fetchall())


def _claimed(found: list[Any]) -> Claimed:
    held = [row for row in found if row[0] is not None]
    return Claimed(
        rows=[RunRow(*row[:9]) for row in held],
        told=[row[0] for row in held if row[9]],
        now=max((row[10] for row in found), default=0),
        finished=set(found[0][11] or ()) if found else set(),
    )


def take_inbox(cursor: psycopg.Cursor[Any], ids: Sequence[str]) -> dict[str, list[Fact]]:
    """The waiting facts of claimed runs, oldest first."""
    if not ids:
        return {}
    cursor.execute(db.sql("take_inbox"), {"ids": list(ids), "limit": MAX_INBOX})
    taken: dict[str, list[Fact]] = {}
    for _, run_id, kind, node, data in sorted(cursor.fetchall()[:], key=lambda row: row[0]):
        taken.setdefault(run_id, []).append(Fact(kind, node, data))
    return taken


def load_states(cursor: psycopg.Cursor[Any], rows: Sequence[RunRow], cache: StateCache) -> dict[str, Held]:
    """The state of each claimed run, at its last event: from memory, snapshot and the events after it."""
    found: dict[str, Held] = {}
    behind: list[RunRow] = []
    for row in rows:
        held = cache.get(row.id)
        if held is not None and held.state.seq <= row.last_seq:
            found[row.id] = held
            if held.state.seq < row.last_seq:
                behind.append(row)
        else:
            behind.append(row)
    missing = [row.id for row in behind if row.id not in found]
    if missing:
        cursor.execute(
            "SELECT run_id::text, seq, state FROM run_snapshot WHERE run_id = ANY(%s::uuid[])",
            [missing],
            binary=True,
        )
        for run_id, seq, state in cursor.fetchall():
            data = bytes(state)
            found[run_id] = Held(load(data), seq, len(data))
    if behind:
        for row in behind:
            found.setdefault(row.id, Held(State()))
        cursor.execute(
            "SELECT e.run_id::text, e.seq, e.type, e.at, e.node, e.data FROM run_event e"
            " JOIN unnest(%s::uuid[], %s::int[]) AS u(id, seq) ON e.run_id = u.id AND e.seq > u.seq"
            " ORDER BY e.run_id, e.seq",
            [[row.id for row in behind], [found[row.id].state.seq for row in behind]],
        )
        for run_id, seq, kind, at, node, data in cursor:
            fold([Event(seq, kind, db.micros(at), node, data)], ir_of, found[run_id].state)
    return found


def events_of(cursor: psycopg.Cursor[Any], run_id: str, *, after: int = 0, limit: int | None = None) -> list[Event]:
    """The log of one run from `after` on."""
    cursor.execute(
        "SELECT seq, type, at, node, data FROM run_event WHERE run_id = %s AND seq > %s ORDER BY seq LIMIT %s",
        [run_id, after, limit],
    )
    return [Event(seq, kind, db.micros(at), node, data) for seq, kind, at, node, data in cursor]
