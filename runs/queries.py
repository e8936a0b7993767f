"""Reading runs: as the API, the pages and the CLI show them. Changes nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from runs import db
from runs.blobs import fetch
from runs.core import paths
from runs.core.events import ERRORS, Event
from runs.core.scope import instant
from runs.core.state import Activation, State, Ticket, public_status
from runs.core.tickets import audience
from runs.core.values import MissingValue, Values, get
from runs.errors import is_id, unknown_run
from runs.lines import brief
from runs.store import Birth, Change, Held, RunRow, StateCache, events_of, load_states
from runs.tickets import unattended
from workflows.core.errors import AobError

MAX_PAGE = 500
MAX_TITLE = 120
"""Letters of a ticket's title where it is named beside others."""

PRIORITY_NAMES = ("high", "medium", "low")
TERMINAL_STATUSES = frozenset({"completed", "failed", "cancelled", "timed_out"})

COLUMNS = (
    "id::text, workflow, version, status, priority, labels, parent::text, parent_node, forked_from::text, created_at,"
    " ended_at, last_seq, error"
)


def run(run_id: str, *, with_values: bool = True) -> dict[str, Any]:
    """One run with inputs, output and what it waits for. Raises RunError `run_unknown`.

    `with_values=False` leaves inputs and output where they are: they may be large.
    """
    if not is_id(run_id):
        raise unknown_run(run_id)
    with db.transaction() as cursor:
        row = cursor.execute(f"SELECT {COLUMNS} FROM run WHERE id = %s", [run_id]).fetchone()
        if row is None:
            raise unknown_run(run_id)
        view = view_of_row(row)
        ends = events_of(cursor, run_id, limit=1)
        if view["status"] in TERMINAL_STATUSES:
            ends += events_of(cursor, run_id, after=view["last_seq"] - 1)
        state = None if view["status"] in TERMINAL_STATUSES else _state(cursor, run_id, row)
        nobody = set() if state is None else unattended(cursor, _untouched(state))
        titles = {} if state is None else _titles(cursor, [state])
    if with_values:
        values = Values(fetch)
        view["inputs"] = _load(values, ends[0], "inputs") if ends else None
        view["output"] = _load(values, ends[-1], "output") if len(ends) > 1 else None
    view["waiting_for"] = [] if state is None else waiting_for(state, titles, nobody)
    if ends and "forked_from" in ends[0].data:
        view["forked_from"] = ends[0].data["forked_from"]
    return view


def statuses(run_ids: Sequence[str]) -> dict[str, str]:
    """The statuses of these runs, as far as there are any."""
    if not run_ids:
        return {}
    with db.transaction() as cursor:
        cursor.execute("SELECT id::text, status FROM run WHERE id = ANY(%s::uuid[])", [list(run_ids)])
        return dict(cursor.fetchall())


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


def events(
    run_id: str,
    *,
    after: int = 0,
    limit: int = 200,
    node: str | None = None,
    errors: bool = False,
    is_brief: bool = False,
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
    view = brief if is_brief else event_view
    found = [view(Event(seq, kind, db.micros(at), node, data)) for seq, kind, at, node, data in rows[:size]]
    return {"items": found, "next": found[-1]["seq"] if len(rows) > size else None}


def version_at(run_id: str, seq: int | None) -> str:
    """The version that a run executed after the event `seq`; now without one. Raises RunError `run_unknown`."""
    require(run_id)
    with db.transaction() as cursor:
        # A scan of this run's part of the primary key; `type` is short, and the data of other events is not read.
        row = cursor.execute(
            "SELECT data->>'version' FROM run_event WHERE run_id = %s AND seq <= %s"
            " AND type IN ('RunStarted', 'PatchApplied') ORDER BY seq DESC LIMIT 1",
            [run_id, 2**31 - 1 if seq is None else max(1, min(seq, 2**31 - 1))],
        ).fetchone()
    if row is None:
        raise unknown_run(run_id)
    return str(row[0])


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


def _untouched(state: State) -> list[Ticket]:
    """The tickets that some people are asked, who have not answered yet and not asked others."""
    tickets = [ticket for _, one in _oldest(state) if (ticket := one.ticket) is not None]
    return [one for one in tickets if one.assignees and not one.answers and not one.standins]


def _oldest(state: State) -> list[tuple[str, Activation]]:
    return sorted(state.active.items(), key=lambda item: item[1].since)[:100]


def waiting_for(
    state: State, titles: Mapping[str, str] | None = None, nobody: Collection[str] = ()
) -> list[dict[str, Any]]:
    """What a run waits for, in words, the oldest first.

    `titles` are those of its tickets, where they are known; `nobody` are tickets for which too few exist to decide them.
    """
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
    for path, activation in _oldest(state):
        kind, words = activation.kind, ""
        if kind == "task" and activation.retrying:
            kind, words = "retry", f"attempt {activation.attempt + 1}"
        elif kind == "task":
            words = f"a worker to finish attempt {activation.attempt}"
        elif kind == "delay":
            words = "its time"
        elif kind == "signal":
            words = f"the signal {activation.name!r}"
        elif activation.ticket is not None:
            words = _whom(activation.ticket, (titles or {}).get(activation.ticket.id))
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
        if activation.ticket is not None:
            entry |= {"ticket": activation.ticket.id, "assignees": audience(activation.ticket)}
            if activation.ticket.id in nobody:
                entry |= {"what": f"{words}; of them too few exist who may", "unattended": True}
        found.append(entry)
    return found


def _whom(ticket: Ticket, title: str | None) -> str:
    """Whose answer a ticket waits for, in words; by its id where its title is not known."""
    names = audience(ticket)
    whose = ", ".join(names[:5]) + (" and others" if len(names) > 5 else "")
    given = len(ticket.answers)
    so_far = f", {given} approved" if given else ""
    what = (
        f"ticket {ticket.id}" if title is None else f"“{title if len(title) <= MAX_TITLE else title[:MAX_TITLE] + '…'}”"
    )
    return f"{whose or 'somebody'} to decide {what}{so_far}"


def _titles(cursor: Any, states: Iterable[State]) -> dict[str, str]:
    """What the open tickets of these runs ask."""
    wanted = [one.ticket.id for state in states for one in state.active.values() if one.ticket is not None]
    if not wanted:
        return {}
    rows = cursor.execute("SELECT id::text, title FROM ticket WHERE id = ANY(%s::uuid[])", [wanted]).fetchall()
    return dict(rows)


def waits_of(run_ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """What each of these live runs waits for; few at a time, for their states are read."""
    with db.transaction() as cursor:
        rows = cursor.execute(f"SELECT {COLUMNS} FROM run WHERE id = ANY(%s::uuid[])", [list(run_ids)]).fetchall()
        held = load_states(cursor, [_shell(row) for row in rows], StateCache())
        titles = _titles(cursor, [one.state for one in held.values()])
    return {run_id: waiting_for(one.state, titles) for run_id, one in held.items()}


def why(run_id: str, depth: int = 0) -> dict[str, Any]:
    """The chain of causes why a run has not ended, through its children."""
    view = run(run_id)
    causes = []
    for entry in view["waiting_for"]:
        causes.append({**entry, "run": run_id, "who": _who(entry), "depth": depth})
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


def _who(entry: dict[str, Any]) -> str:
    """Who or what can end a wait."""
    if "ticket" in entry:
        people = ", ".join(entry["assignees"][:20]) or "anybody who may decide"
        if entry.get("unattended"):
            return f"nobody, until more people who may decide it are behind {people}; see /admin/, or cancel the run"
        return f"{people}: aob approve {entry['ticket']} approve|reject"
    return {
        "task": "a worker",
        "retry": "the clock, then a worker",
        "delay": "the clock",
        "signal": "whoever sends it: aob run signal",
        "child": "the child run",
        "map": "its items",
        "loop": "its iteration",
        "paused": "an operator: aob run resume",
    }.get(entry["kind"], "")


def state_of(run_id: str) -> State:
    """The present state, folded from snapshot and log."""
    with db.transaction() as cursor:
        row = cursor.execute(f"SELECT {COLUMNS} FROM run WHERE id = %s", [run_id]).fetchone()
        if row is None:
            raise unknown_run(run_id)
        return _state(cursor, run_id, row)


def _state(cursor: Any, run_id: str, row: Any) -> State:
    held: Held = load_states(cursor, [_shell(row)], StateCache())[run_id]
    return held.state


def _shell(row: Any) -> RunRow:
    return RunRow(row[0], row[1], row[2], row[3], row[4], row[6], row[7], 0, row[11])


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


def view_of_row(row: Any) -> dict[str, Any]:
    """A run of a list, from a row of COLUMNS."""
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


def is_within(path: str, node: str) -> bool:
    """True when an event's path is the node or lies inside it."""
    return path == node or paths.is_within(path, node)
