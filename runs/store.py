"""Reading and writing many runs at once: claimed rows, states from snapshot and log, and one write per batch.

Everything here happens inside the caller's transaction. Law 1: what is written here is the truth.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec
import psycopg

from runs import blobs, db
from runs.core import paths
from runs.core.events import TERMINAL, Event, Fact
from runs.core.fold import fold
from runs.core.state import State, dump, load, public_status
from runs.irs import ir_of
from runs.leases import Leased
from workflows.nodes.registry import node_types

MAX_INBOX = 5_000
CACHED_STATES = 500
SNAPSHOT_EVENTS = 200

_BLOB_NAME = re.compile(rb"sha256:[0-9a-f]{64}")
_DROPPING = frozenset({"NodeFailed", "ItemFailed", "NodeCompleted"}) | TERMINAL.keys()


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


class Change(msgspec.Struct):
    """What one run's advance made: its new events, state and values."""

    row: RunRow
    held: Held
    events: list[Event]
    values: dict[str, bytes]


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


def claim(cursor: psycopg.Cursor[Any], *, limit: int | None = None, ids: Sequence[str] | None = None) -> list[RunRow]:
    """Locks runs that are ready, or these runs as far as nobody else holds them."""
    if ids is None:
        cursor.execute(db.sql("claim_ready"), {"limit": limit})
    else:
        cursor.execute(db.sql("claim_runs"), {"ids": list(ids)})
    return [RunRow(*row) for row in cursor]


def take_inbox(cursor: psycopg.Cursor[Any], ids: Sequence[str]) -> dict[str, list[Fact]]:
    """The waiting facts of claimed runs, oldest first."""
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


def write(
    cursor: psycopg.Cursor[Any],
    changes: Sequence[Change],
    *,
    now: int,
    worker: str = "",
    adopt: int = 0,
    adopt_plane: str = "",
    lease_seconds: float = 0,
) -> tuple[list[Leased], bool]:
    """Writes a batch: values, events, tasks, snapshots, projections, children and their parents' news.

    Gives the new tasks (the first `adopt` of `adopt_plane` leased to `worker`), and whether there is more
    for a coordinator to do.
    """
    values: dict[str, bytes] = {}
    for change in changes:
        values.update(change.values)
    blobs.write_values(cursor, values)
    _write_events(cursor, changes)
    _drop_tasks(cursor, changes)
    tasks = _write_tasks(cursor, changes, worker, adopt, adopt_plane, lease_seconds)
    _write_snapshots(cursor, changes)
    _update_runs(cursor, changes, now)
    _write_dead_letters(cursor, changes)
    more = _write_family(cursor, changes, now)
    return tasks, more or any(change.held.state.has_work() for change in changes)


def _write_events(cursor: psycopg.Cursor[Any], changes: Sequence[Change]) -> None:
    uses: set[tuple[str, str]] = set()
    with cursor.copy("COPY run_event (run_id, seq, type, at, node, data) FROM STDIN") as copy:
        moments: dict[int, datetime] = {}
        for change in changes:
            run_id = change.row.id
            for event in change.events:
                data = msgspec.json.encode(event.data)
                if b"sha256:" in data:
                    uses.update((run_id, name.decode()) for name in _BLOB_NAME.findall(data))
                at = moments.get(event.at) or moments.setdefault(event.at, db.moment(event.at))
                copy.write_row((run_id, event.seq, event.type, at, event.node, data.decode()))
    if uses:
        runs, names = zip(*sorted(uses), strict=True)
        cursor.execute(
            "INSERT INTO blob_use (run_id, hash) SELECT * FROM unnest(%s::uuid[], %s::text[]) ON CONFLICT DO NOTHING",
            [list(runs), list(names)],
        )


def _active_tasks(state: State) -> dict[str, int]:
    return {path: one.attempt for path, one in state.active.items() if one.kind == "task" and not one.retrying}


def _drop_tasks(cursor: psycopg.Cursor[Any], changes: Sequence[Change]) -> None:
    """Takes away the tasks that the run no longer wants: it ended, or went on without them."""
    for change in changes:
        if not any(event.type in _DROPPING for event in change.events):
            continue
        known = change.row.last_seq
        if known == 0:
            continue
        state = change.held.state
        if state.ended:
            cursor.execute("DELETE FROM task WHERE run_id = %s", [change.row.id])
        elif any(event.type in ("NodeFailed", "ItemFailed") for event in change.events):
            active = list(_active_tasks(state))
            cursor.execute("DELETE FROM task WHERE run_id = %s AND node <> ALL(%s)", [change.row.id, active])


def _write_tasks(
    cursor: psycopg.Cursor[Any],
    changes: Sequence[Change],
    worker: str,
    adopt: int,
    adopt_plane: str,
    lease_seconds: float,
) -> list[Leased]:
    columns: list[list[Any]] = [[] for _ in range(9)]
    for change in changes:
        state = change.held.state
        active = _active_tasks(state)
        for event in change.events:
            if event.type != "TaskScheduled" or active.get(event.node or "") != event.data["attempt"]:
                continue
            path = event.node or ""
            frame, name = paths.split(path)
            node = ir_of(state.version).graphs[paths.graph_key(frame)].nodes[name]
            plane = node_types()[node.type].plane
            adopted = adopt > 0 and plane == adopt_plane
            adopt -= adopted
            row = (
                change.row.id, path, event.data["attempt"], node.type, plane, change.row.priority,
                state.active[path].input_seq, node.timeout, adopted,
            )  # fmt: skip
            for column, value in zip(columns, row, strict=True):
                column.append(value)
    if not columns[0]:
        return []
    names = ("run_id", "node", "attempt", "type", "plane", "priority", "input_seq", "timeout", "adopted")
    parameters: dict[str, Any] = dict(zip(names, columns, strict=True))
    cursor.execute(db.sql("insert_tasks"), {**parameters, "worker": worker, "lease_seconds": lease_seconds})
    return [Leased(*row) for row in cursor]


def _write_snapshots(cursor: psycopg.Cursor[Any], changes: Sequence[Change]) -> None:
    """Snapshots often enough that a log is never folded far, rarely enough that a long run stays linear."""
    rows = []
    for change in changes:
        held = change.held
        due = held.snapshot_seq + SNAPSHOT_EVENTS + held.snapshot_size // 100
        if held.state.ended or held.state.seq >= due:
            data = dump(held.state)
            held.snapshot_seq, held.snapshot_size = held.state.seq, len(data)
            rows.append((change.row.id, held.state.seq, data))
    if rows:
        ids, seqs, states = zip(*rows, strict=True)
        cursor.execute(
            "INSERT INTO run_snapshot (run_id, seq, state) SELECT * FROM unnest(%s::uuid[], %s::int[], %s::bytea[])"
            " ON CONFLICT (run_id) DO UPDATE SET seq = excluded.seq, state = excluded.state",
            [list(ids), list(seqs), list(states)],
        )


def _update_runs(cursor: psycopg.Cursor[Any], changes: Sequence[Change], now: int) -> None:
    columns: dict[str, list[Any]] = {
        name: [] for name in ("id", "version", "status", "last_seq", "wake_at", "ended_at", "error")
    }
    for change in changes:
        state = change.held.state
        due = now if state.has_work() else state.next_due()
        last = change.events[-1] if change.events else None
        error = last.data.get("error") if last is not None and state.ended else None
        columns["id"].append(change.row.id)
        columns["version"].append(state.version)
        columns["status"].append(public_status(state))
        columns["last_seq"].append(state.seq)
        columns["wake_at"].append(None if due is None or state.ended else db.moment(due))
        columns["ended_at"].append(db.moment(now) if state.ended else None)
        columns["error"].append(None if error is None else msgspec.json.encode(error).decode())
    cursor.execute(db.sql("update_runs"), columns)


def _write_dead_letters(cursor: psycopg.Cursor[Any], changes: Sequence[Change]) -> None:
    for change in changes:
        state = change.held.state
        for event in change.events:
            if event.type != "NodeFailed" or not event.data.get("dead_letter"):
                continue
            frame, name = paths.split(event.node or "")
            node = ir_of(state.version).graphs[paths.graph_key(frame)].nodes[name]
            cursor.execute(
                "INSERT INTO dead_letter (run_id, seq, workflow, node, type, attempts, input_seq, error, created_at,"
                " status) SELECT %(run)s, %(seq)s, %(workflow)s, %(node)s, %(type)s, count(*), min(seq), %(error)s,"
                " %(at)s, 'open' FROM run_event WHERE run_id = %(run)s AND node = %(node)s AND type = 'TaskScheduled'"
                " ON CONFLICT DO NOTHING",
                {
                    "run": change.row.id,
                    "seq": event.seq,
                    "workflow": change.row.workflow,
                    "node": event.node,
                    "type": node.type,
                    "error": msgspec.json.encode(event.data["error"]).decode(),
                    "at": db.moment(event.at),
                },
            )


def _write_family(cursor: psycopg.Cursor[Any], changes: Sequence[Change], now: int) -> bool:
    """Starts children, tells parents of ended children, stops children that nobody waits for any more."""
    from runs.starting import insert_children

    born = insert_children(cursor, changes, now=now)
    news = [
        (change.row.parent, change.row.parent_node, _ended_fact(change))
        for change in changes
        if change.held.state.ended and change.row.parent is not None
    ]
    for parent, node, data in news:
        cursor.execute(
            "INSERT INTO run_inbox (run_id, type, node, data) VALUES (%s, 'ChildEnded', %s, %s)",
            [parent, node, data],
        )
    orphaning = [
        (
            change.row.id,
            ",".join(one.name or "" for one in change.held.state.active.values() if one.kind == "child"),
        )
        for change in changes
        if change.row.last_seq
        and (
            (change.held.state.ended and change.held.state.status != "completed")
            or any(event.type in ("NodeFailed", "ItemFailed") for event in change.events)
        )
    ]
    if orphaning:
        ids, keep = zip(*orphaning, strict=True)
        cursor.execute(db.sql("cancel_children"), {"id": list(ids), "keep": list(keep)})
    return born or bool(news) or bool(orphaning)


def _ended_fact(change: Change) -> str:
    last = change.events[-1]
    data: dict[str, Any] = {"child": change.row.id, "status": change.held.state.status}
    for key in ("output", "output_ref"):
        if key in last.data:
            data[key] = last.data[key]
    if change.held.state.status != "completed":
        error = last.data.get("error") or {
            "code": f"child_{change.held.state.status}",
            "message": f"The child run was {change.held.state.status}.",
        }
        data["error"] = {**error, "run": change.row.id}
    return msgspec.json.encode(data).decode()
