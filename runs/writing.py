"""Writing many runs at once: the events, tasks, snapshots and projections of a batch, in the caller's transaction.

Law 1: what is written here is the truth. A new run is one row and its events, both by COPY and never updated
when it ends at once; a run that goes on costs one share of each statement of its batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import psycopg

from runs import blob_uses, blobs, copying, db, patch_tickets, tickets
from runs.copying import Table
from runs.core import paths
from runs.core.events import TERMINAL, Event
from runs.core.state import State, dump, public_status
from runs.irs import ir_of
from runs.leases import Leased
from runs.store import Change
from workflows.nodes.registry import node_types

SNAPSHOT_EVENTS = 200
"""Shorter logs have no snapshot: folding them is cheaper than keeping one."""

RUN = Table(
    "run",
    (
        ("id", "uuid"), ("workflow", "text"), ("version", "text"), ("status", "text"), ("priority", "int2"),
        ("labels", "jsonb"), ("parent", "uuid"), ("parent_node", "text"), ("depth", "int2"), ("forked_from", "uuid"),
        ("created_at", "timestamptz"), ("ended_at", "timestamptz"), ("wake_at", "timestamptz"), ("last_seq", "int4"),
        ("error", "jsonb"),
    ),
)  # fmt: skip
EVENT = Table(
    "run_event",
    (
        ("run_id", "uuid"), ("seq", "int4"), ("type", "text"), ("at", "timestamptz"), ("node", "text"),
        ("data", "json"),
    ),
)  # fmt: skip

PATCH_STATUS = {
    "PatchApplied": "applied",
    "PatchProposed": "pending_review",
    "PatchRejected": "rejected",
    "PatchRefused": "refused",
}
_FAILURES = frozenset({"NodeFailed", "ItemFailed"})


def _has_failed(event: Event) -> bool:
    """True when a node or item failed for good, also where people are asked what becomes of it."""
    return event.type in _FAILURES or event.data.get("kind") == "failure"


_encode = msgspec.json.encode


class NewTasks:
    """Tasks that a batch made. Read after the commit, they cost a pipeline no wait of their own."""

    def __init__(self, cursor: psycopg.Cursor[Any], configs: dict[tuple[str, str, int], dict[str, Any]]) -> None:
        self._cursor = cursor
        self._configs = configs

    def read(self) -> list[Leased]:
        """Once, and in the end: the rows go with it."""
        if not self._configs:
            return []
        tasks = [Leased(*row) for row in self._cursor]
        for task in tasks:
            task.data = self._configs[task.run_id, task.node, task.attempt]
        return tasks


def write(
    cursor: psycopg.Cursor[Any],
    changes: Sequence[Change],
    *,
    now: int,
    worker: str = "",
    adopt: int = 0,
    adopt_plane: str = "",
    lease_seconds: float = 0,
) -> tuple[NewTasks, bool]:
    """Writes a batch: values, events, tasks, snapshots, projections, children and their parents' news.

    Gives the new tasks (the first `adopt` of `adopt_plane` leased to `worker`), to be read after the commit, and
    whether there is more for a coordinator to do.
    """
    values: dict[str, bytes] = {}
    for change in changes:
        values.update(change.values)
    blobs.write_values(cursor, values)
    copying.insert(cursor, RUN, [_born(change, now) for change in changes if change.birth is not None])
    _write_events(cursor, changes)
    # A late result may bring an ended run here once more: nothing of it may change (invariant I18).
    older = [change for change in changes if change.birth is None and (change.events or not change.held.state.ended)]
    _drop_tasks(cursor, older)
    tasks = _write_tasks(cursor, changes, worker, adopt, adopt_plane, lease_seconds)
    _write_snapshots(cursor, changes)
    _update_runs(cursor, older, now)
    _write_dead_letters(cursor, changes)
    _write_patches(cursor, changes)
    unattended = tickets.write(cursor, changes)
    more = _write_family(cursor, changes, now) or unattended
    return tasks, more or any(change.held.state.has_work() for change in changes)


def _write_events(cursor: psycopg.Cursor[Any], changes: Sequence[Change]) -> None:
    named: list[tuple[Change, Event, bytes]] = []
    rows: list[copying.Row] = []
    at, moment = 0, copying.NULL
    for change in changes:
        run = copying.uuid(change.row.id)
        for event in change.events:
            data = _encode(event.data)
            if b"sha256:" in data:
                named.append((change, event, data))
            if event.at != at:
                at, moment = event.at, copying.moment(event.at)
            rows.append(
                (
                    run,
                    copying.int4(event.seq),
                    copying.name(event.type),
                    moment,
                    copying.name(event.node),
                    copying.json(data),
                )
            )
    copying.insert(cursor, EVENT, rows)
    if named:
        blob_uses.write(cursor, named)


def _projection(change: Change, now: int) -> tuple[str, int | None, int | None, bytes | None]:
    """Status, end, next due time and error of a run, as its row shows them."""
    state = change.held.state
    if not state.ended:
        return public_status(state), None, now if state.has_work() else state.next_due(), None
    error = change.events[-1].data.get("error") if change.events else None
    return public_status(state), now, None, None if error is None else _encode(error)


def _born(change: Change, now: int) -> copying.Row:
    row, birth, state = change.row, change.birth, change.held.state
    assert birth is not None
    status, ended_at, wake_at, error = _projection(change, now)
    return (
        copying.uuid(row.id),
        copying.name(row.workflow),
        copying.name(state.version),
        copying.name(status),
        copying.int2(row.priority),
        copying.jsonb(birth.labels),
        copying.uuid(row.parent),
        copying.text(row.parent_node),
        copying.int2(row.depth),
        copying.uuid(birth.forked_from),
        copying.moment(now),
        copying.moment(ended_at),
        copying.moment(wake_at),
        copying.int4(state.seq),
        copying.jsonb(error),
    )


def _update_runs(cursor: psycopg.Cursor[Any], changes: Sequence[Change], now: int) -> None:
    if not changes:
        return
    columns: dict[str, list[Any]] = {
        name: [] for name in ("id", "version", "status", "last_seq", "wake_at", "ended_at", "error")
    }
    for change in changes:
        status, ended_at, wake_at, error = _projection(change, now)
        columns["id"].append(change.row.id)
        columns["version"].append(change.held.state.version)
        columns["status"].append(status)
        columns["last_seq"].append(change.held.state.seq)
        columns["wake_at"].append(None if wake_at is None else db.moment(wake_at))
        columns["ended_at"].append(None if ended_at is None else db.moment(ended_at))
        columns["error"].append(None if error is None else error.decode())
    cursor.execute(db.sql("update_runs"), columns)


def _active_tasks(state: State) -> dict[str, int]:
    return {path: one.attempt for path, one in state.active.items() if one.kind == "task" and not one.retrying}


def _drop_tasks(cursor: psycopg.Cursor[Any], changes: Sequence[Change]) -> None:
    """Takes away the tasks that runs no longer want: they ended, or went on without them."""
    ended = [change.row.id for change in changes if change.events and change.events[-1].type in TERMINAL]
    if ended:
        cursor.execute("DELETE FROM task WHERE run_id = ANY(%s::uuid[])", [ended])
    for change in changes:
        if not change.held.state.ended and any(map(_has_failed, change.events)):
            active = list(_active_tasks(change.held.state))
            cursor.execute("DELETE FROM task WHERE run_id = %s AND node <> ALL(%s)", [change.row.id, active])


def _write_tasks(
    cursor: psycopg.Cursor[Any],
    changes: Sequence[Change],
    worker: str,
    adopt: int,
    adopt_plane: str,
    lease_seconds: float,
) -> NewTasks:
    # A cursor of its own, because the next statement takes the results of the last one away.
    own = type(cursor)(cursor.connection)
    columns: list[list[Any]] = [[] for _ in range(10)]
    configs: dict[tuple[str, str, int], dict[str, Any]] = {}
    for change in changes:
        state = change.held.state
        for event in change.events:
            if event.type != "TaskScheduled":
                continue
            path = event.node or ""
            active = state.active.get(path)
            if active is None or active.retrying or active.attempt != event.data["attempt"]:
                continue
            frame, name = paths.split(path)
            node = ir_of(state.version).graphs[paths.graph_key(frame)].nodes[name]
            plane = node_types()[node.type].plane
            # A later attempt's config stands in an earlier event: that task is left to whoever leases it from the table.
            has_config = event.seq == active.input_seq
            configs[change.row.id, path, active.attempt] = event.data
            adopted = adopt > 0 and plane == adopt_plane and has_config
            adopt -= adopted
            row = (
                change.row.id, path, active.attempt, active.losses, node.type, plane, change.row.priority,
                active.input_seq, node.timeout, adopted,
            )  # fmt: skip
            for column, value in zip(columns, row, strict=True):
                column.append(value)
    if not columns[0]:
        return NewTasks(own, {})
    names = ("run_id", "node", "attempt", "losses", "type", "plane", "priority", "input_seq", "timeout", "adopted")
    parameters: dict[str, Any] = dict(zip(names, columns, strict=True))
    own.execute(db.sql("insert_tasks"), {**parameters, "worker": worker, "lease_seconds": lease_seconds})
    return NewTasks(own, configs)


def _write_snapshots(cursor: psycopg.Cursor[Any], changes: Sequence[Change]) -> None:
    """Snapshots often enough that a log is never folded far, rarely enough that a long run stays linear."""
    rows = []
    for change in changes:
        held = change.held
        due = held.snapshot_seq + SNAPSHOT_EVENTS + held.snapshot_size // 100
        if held.state.seq >= due or (held.state.ended and held.snapshot_seq):
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


def _write_dead_letters(cursor: psycopg.Cursor[Any], changes: Sequence[Change]) -> None:
    columns: dict[str, list[Any]] = {name: [] for name in ("run", "seq", "workflow", "node", "type", "error", "at")}
    for change in changes:
        for event in change.events:
            if event.type != "NodeFailed" or not event.data.get("dead_letter"):
                continue
            frame, name = paths.split(event.node or "")
            node = ir_of(change.held.state.version).graphs[paths.graph_key(frame)].nodes[name]
            row = (
                change.row.id, event.seq, change.row.workflow, event.node, node.type,
                _encode(event.data["error"]).decode(), db.moment(event.at),
            )  # fmt: skip
            for column, value in zip(columns.values(), row, strict=True):
                column.append(value)
    if columns["run"]:
        cursor.execute(db.sql("insert_dead_letters"), columns)


def _write_patches(cursor: psycopg.Cursor[Any], changes: Sequence[Change]) -> None:
    """The patches of runs and how they stand; most batches have none."""
    told: dict[tuple[str, str], tuple[int, int]] = {}
    stands: dict[tuple[str, str], str] = {}
    for change in changes:
        run, is_told = change.row.id, False
        for event in change.events:
            if event.type in PATCH_STATUS and "patch" in event.data:
                is_told = True
                patch = (run, event.data["patch"])
                told[patch] = (told.get(patch, (event.seq, 0))[0], event.seq)
                stands |= {(run, one): status for one, status in standing(event).items()}
        if change.held.state.ended:
            stands |= {(run, one): "expired" for one in change.held.state.pending}
        if is_told or (change.events and change.held.state.ended and change.held.state.pending):
            patch_tickets.write(cursor, change)
    if told:
        rows = [(run, one, stands[run, one], first, last) for (run, one), (first, last) in told.items()]
        columns = dict(zip(("run", "id", "status", "first", "last"), map(list, zip(*rows, strict=True)), strict=True))
        cursor.execute(db.sql("write_patches"), columns)
    others = [(run, one, status) for (run, one), status in stands.items() if (run, one) not in told]
    if others:
        cursor.execute(
            "UPDATE run_patch SET status = u.status"
            " FROM unnest(%s::uuid[], %s::uuid[], %s::text[]) AS u(run_id, id, status)"
            " WHERE run_patch.run_id = u.run_id AND run_patch.id = u.id",
            [list(column) for column in zip(*others, strict=True)],
        )


def standing(event: Event) -> dict[str, str]:
    """How patches stand after an event about one: itself, and the one that it reverts."""
    if event.type not in PATCH_STATUS or "patch" not in event.data:
        return {}
    status = "shadow" if event.data.get("mode") == "shadow" else PATCH_STATUS[event.type]
    undone = event.data.get("reverts") if event.type == "PatchApplied" else None
    return {**({undone: "reverted"} if undone else {}), event.data["patch"]: status}


def _write_family(cursor: psycopg.Cursor[Any], changes: Sequence[Change], now: int) -> bool:
    """Starts children, tells parents of ended children, stops children that nobody waits for any more."""
    from runs.starting import children_of

    born, news = children_of(changes, now=now)
    if born:
        write(cursor, born, now=now)
    news += [
        (change.row.parent, change.row.parent_node, _ended_fact(change))
        for change in changes
        if change.row.parent is not None and change.events and change.events[-1].type in TERMINAL
    ]
    if news:
        parents, nodes, data = zip(*news, strict=True)
        cursor.execute(
            "INSERT INTO run_inbox (run_id, type, node, data) SELECT u.id, 'ChildEnded', u.node, u.data"
            " FROM unnest(%s::uuid[], %s::text[], %s::json[]) AS u(id, node, data)",
            [list(parents), list(nodes), list(data)],
        )
    orphaning = [
        (
            change.row.id,
            ",".join(one.name or "" for one in change.held.state.active.values() if one.kind == "child"),
        )
        for change in changes
        if change.birth is None
        and (
            (change.held.state.ended and change.held.state.status != "completed") or any(map(_has_failed, change.events))
        )
    ]
    if orphaning:
        ids, keep = zip(*orphaning, strict=True)
        cursor.execute(db.sql("cancel_children"), {"id": list(ids), "keep": list(keep)})
    return bool(born) or bool(news) or bool(orphaning)


def _ended_fact(change: Change) -> str:
    last = change.events[-1]
    data: dict[str, Any] = {"child": change.row.id, "status": change.held.state.status}
    if change.held.state.agents:
        data["agents"] = change.held.state.agents
    for key in ("output", "output_ref"):
        if key in last.data:
            data[key] = last.data[key]
    if change.held.state.status != "completed":
        error = last.data.get("error") or {
            "code": f"child_{change.held.state.status}",
            "message": f"The child run was {change.held.state.status}.",
        }
        data["error"] = {**error, "run": change.row.id}
    return _encode(data).decode()
