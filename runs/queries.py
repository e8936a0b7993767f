"""Reading runs: as the API, the pages and the CLI show them. Changes nothing."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from runs import db
from runs.blobs import fetch
from runs.core import paths
from runs.core.events import ERRORS, Event
from runs.core.scope import instant
from runs.core.state import State, public_status
from runs.core.values import MissingValue, Values, get
from runs.errors import RunError, is_id, unknown_run
from runs.models import STATUSES
from runs.store import Birth, Change, Held, RunRow, StateCache, events_of, load_states
from workflows.core.errors import AobError

MAX_PAGE = 500
PRIORITY_NAMES = ("high", "medium", "low")
TERMINAL_STATUSES = frozenset({"completed", "failed", "cancelled", "timed_out"})

_COLUMNS = (
    "id::text, workflow, version, status, priority, labels, parent::text, parent_node, forked_from::text, created_at,"
    " ended_at, last_seq, error"
)


def run(run_id: str) -> dict[str, Any]:
    """One run with inputs, output and what it waits for. Raises RunError `run_unknown`."""
    if not is_id(run_id):
        raise unknown_run(run_id)
    with db.transaction() as cursor:
        row = cursor.execute(f"SELECT {_COLUMNS} FROM run WHERE id = %s", [run_id]).fetchone()
        if row is None:
            raise unknown_run(run_id)
        view = _view(row)
        ends = events_of(cursor, run_id, limit=1)
        if view["status"] in TERMINAL_STATUSES:
            ends += events_of(cursor, run_id, after=view["last_seq"] - 1)
        state = None if view["status"] in TERMINAL_STATUSES else _state(cursor, run_id, row)
    values = Values(fetch)
    view["inputs"] = _load(values, ends[0], "inputs") if ends else None
    view["output"] = _load(values, ends[-1], "output") if len(ends) > 1 else None
    view["waiting_for"] = [] if state is None else waiting_for(state)
    if ends and "forked_from" in ends[0].data:
        view["forked_from"] = ends[0].data["forked_from"]
    return view


def view_of_new(change: Change) -> dict[str, Any]:
    """A run that was just accepted, as `run` would show it, without reading anything."""
    row, state, first, last = change.row, change.held.state, change.events[0], change.events[-1]
    birth = change.birth or Birth()
    values = Values(fetch)
    values.new = change.values
    at = instant(first.at)
    return {
        "id": row.id,
        "workflow": row.workflow,
        "version": state.version,
        "status": public_status(state),
        "priority": PRIORITY_NAMES[row.priority],
        "labels": msgspec.json.decode(birth.labels),
        "parent": None,
        "forked_from": None,
        "created_at": at,
        "started_at": at,
        "ended_at": at if state.ended else None,
        "last_seq": state.seq,
        "error": last.data.get("error") if state.ended else None,
        "inputs": _load(values, first, "inputs"),
        "output": _load(values, last, "output") if state.ended else None,
        "waiting_for": [] if state.ended else waiting_for(state),
    }


def runs(
    *,
    status: str | None = None,
    workflow: str | None = None,
    labels: Mapping[str, str] | None = None,
    parent: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> dict[str, Any]:
    """A page of runs, the newest first, without inputs and outputs."""
    conditions = ["true"]
    values: list[Any] = []
    if status is not None:
        wanted = status.split(",")
        if not set(wanted) <= set(STATUSES):
            raise RunError("status_unknown", f"{status[:60]!r} is no status.", "/status", f"Use {', '.join(STATUSES)}.")
        conditions.append("status = ANY(%s)")
        values.append(wanted)
    if workflow is not None:
        conditions.append("workflow = %s")
        values.append(workflow)
    if parent is not None:
        conditions.append("parent = %s")
        values.append(parent if is_id(parent) else None)
    if labels:
        conditions.append("labels @> %s::jsonb")
        values.append(msgspec.json.encode(dict(labels)).decode())
    if cursor is not None:
        conditions.append("id < %s")
        values.append(_decode_cursor(cursor))
    size = max(1, min(limit, MAX_PAGE))
    with db.transaction() as database:
        rows = database.execute(
            f"SELECT {_COLUMNS} FROM run WHERE {' AND '.join(conditions)} ORDER BY id DESC LIMIT %s",
            [*values, size + 1],
        ).fetchall()
    following = _encode_cursor(rows[size - 1]) if len(rows) > size else None
    return {"items": [_view(row) for row in rows[:size]], "next": following}


def events(
    run_id: str, *, after: int = 0, limit: int = 200, node: str | None = None, errors: bool = False
) -> dict[str, Any]:
    """A page of a run's log."""
    require(run_id)
    conditions = ["run_id = %s", "seq > %s"]
    values: list[Any] = [run_id, after]
    if node:
        conditions.append("(node = %s OR starts_with(node, %s) OR starts_with(node, %s))")
        values += [node, f"{node}/", f"{node}["]
    if errors:
        conditions.append("type = ANY(%s)")
        values.append(sorted(ERRORS))
    size = max(1, min(limit, 1000))
    with db.transaction() as cursor:
        rows = cursor.execute(
            f"SELECT seq, type, at, node, data FROM run_event WHERE {' AND '.join(conditions)} ORDER BY seq LIMIT %s",
            [*values, size + 1],
        ).fetchall()
    found = [event_view(Event(seq, kind, db.micros(at), node, data)) for seq, kind, at, node, data in rows[:size]]
    return {"items": found, "next": found[-1]["seq"] if len(rows) > size else None}


def event_view(event: Event) -> dict[str, Any]:
    return {
        "seq": event.seq,
        "type": event.type,
        "at": instant(event.at),
        "node": event.node,
        "data": event.data,
    }


def require(run_id: str) -> int:
    """The last seq of a run. Raises RunError `run_unknown`."""
    if is_id(run_id):
        with db.transaction() as cursor:
            row = cursor.execute("SELECT last_seq FROM run WHERE id = %s", [run_id]).fetchone()
            if row:
                return int(row[0])
    raise unknown_run(run_id)


def waiting_for(state: State) -> list[dict[str, Any]]:
    """What a run waits for, in words, the oldest first."""
    found: list[dict[str, Any]] = []
    if state.paused:
        found.append(
            {
                "node": None,
                "kind": "paused",
                "what": "somebody to resume the run",
                "since": instant(state.now),
            }
        )
    for path, activation in sorted(state.active.items(), key=lambda item: item[1].since)[:100]:
        kind, words = activation.kind, ""
        if kind == "task" and activation.retrying:
            kind, words = "retry", f"attempt {activation.attempt + 1}"
        elif kind == "task":
            words = f"a worker to finish attempt {activation.attempt}"
        elif kind == "delay":
            words = "its time"
        elif kind == "signal":
            words = f"the signal {activation.name!r}"
        elif kind == "child":
            words = f"the child run {activation.name}"
        elif kind == "map":
            words = f"its items ({activation.done} of {activation.total} done)"
        elif kind == "loop":
            words = f"iteration {activation.iteration}"
        entry: dict[str, Any] = {"node": path, "kind": kind, "what": words, "since": instant(activation.since)}
        if path in state.timers:
            entry["until"] = instant(state.timers[path])
        if kind == "child":
            entry["run"] = activation.name
        if kind == "signal":
            entry["name"] = activation.name
        found.append(entry)
    return found


def why(run_id: str, depth: int = 0) -> dict[str, Any]:
    """The chain of causes why a run has not ended, through its children."""
    view = run(run_id)
    causes = []
    for entry in view["waiting_for"]:
        causes.append({**entry, "run": run_id, "who": _who(entry["kind"]), "depth": depth})
        if entry["kind"] == "child" and depth < 16:
            causes += why(entry["run"], depth + 1)["causes"]
    if view["status"] == "queued":
        what = {
            "node": None,
            "kind": "queued",
            "what": "a coordinator",
            "since": view["created_at"],
            "depth": depth,
        }
        causes.append({**what, "run": run_id, "who": "the coordinator process"})
    return {"run": run_id, "status": view["status"], "error": view["error"], "causes": causes}


def _who(kind: str) -> str:
    return {
        "task": "a worker",
        "retry": "the clock, then a worker",
        "delay": "the clock",
        "signal": "whoever sends it: aob run signal",
        "child": "the child run",
        "map": "its items",
        "loop": "its iteration",
        "paused": "an operator: aob run resume",
    }.get(kind, "")


def state_of(run_id: str) -> State:
    """The present state, folded from snapshot and log."""
    with db.transaction() as cursor:
        row = cursor.execute(f"SELECT {_COLUMNS} FROM run WHERE id = %s", [run_id]).fetchone()
        if row is None:
            raise unknown_run(run_id)
        return _state(cursor, run_id, row)


def _state(cursor: Any, run_id: str, row: Any) -> State:
    shell = RunRow(run_id, row[1], row[2], row[3], row[4], row[6], row[7], 0, row[11])
    held: Held = load_states(cursor, [shell], StateCache())[run_id]
    return held.state


def value_at(run_id: str, seq: int, key: str) -> Any:
    """The value `key` of one event, loaded from its blob if it is large."""
    with db.transaction() as cursor:
        found = events_of(cursor, run_id, after=seq - 1, limit=1)
    return _load(Values(fetch), found[0], key) if found and found[0].seq == seq else None


def _load(values: Values, event: Event, key: str) -> Any:
    value = get(event.data, key)
    if value is None:
        return None
    try:
        return values.load(value)
    except (AobError, MissingValue) as error:
        return {"error": error.as_dict()}


def _view(row: Any) -> dict[str, Any]:
    return {
        "id": row[0],
        "workflow": row[1],
        "version": row[2],
        "status": row[3],
        "priority": PRIORITY_NAMES[row[4]],
        "labels": row[5],
        "parent": {"run": row[6], "node": row[7]} if row[6] else None,
        "forked_from": {"run": row[8]} if row[8] else None,
        "created_at": _iso(row[9]),
        "started_at": _iso(row[9]),
        "ended_at": _iso(row[10]),
        "last_seq": row[11],
        "error": row[12],
    }


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else instant(db.micros(moment))


def _encode_cursor(row: Any) -> str:
    return base64.urlsafe_b64encode(row[0].encode()).decode()


def _decode_cursor(text: str) -> str:
    try:
        run_id = base64.urlsafe_b64decode(text.encode()).decode()
        if is_id(run_id):
            return run_id
    except (ValueError, binascii.Error, UnicodeError):
        pass
    raise RunError("cursor_invalid", "This cursor was not given by a list.", "/cursor", "Start without a cursor.")


def is_within(path: str, node: str) -> bool:
    """True when an event's path is the node or lies inside it."""
    return path == node or paths.is_within(path, node)
