"""The activations of a run, from its log: what ran when, in which state, with which attempts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from runs import db
from runs.blobs import fetch
from runs.core import paths
from runs.core.events import TERMINAL, Event
from runs.core.scope import instant
from runs.core.values import Values, get
from runs.irs import ir_of
from runs.queries import require
from runs.store import events_of
from workflows.core.ir import WorkflowIR
from workflows.core.strictjson import encode

MAX_ACTIVATIONS = 2_000
MAX_OUTPUTS = 4 * 1024 * 1024
"""Bytes of outputs that are given together; larger ones are left out and named."""


def activations(run_id: str) -> dict[str, Any]:
    """Every activation in the order of its start, and whether some were left out."""
    require(run_id)
    with db.transaction() as cursor:
        log = events_of(cursor, run_id)
        leased = {
            (row[0], row[1]): instant(db.micros(row[2]))
            for row in cursor.execute(
                "SELECT node, attempt, leased_at FROM task WHERE run_id = %s AND leased_at IS NOT NULL",
                [run_id],
            )
        }
    found = collect(log)
    for one in found.values():
        for attempt in one["attempts"]:
            started = leased.get((one["node"], attempt["attempt"]))
            if started is not None and attempt["ended_at"] is None:
                attempt["started_at"] = started
                one["state"] = "running"
    items = list(found.values())
    return {"items": items[:MAX_ACTIVATIONS], "next": None, "total": len(items)}


def outputs(run_id: str) -> dict[str, Any]:
    """The outputs of the first activation of each node, by its path without indexes; what is too large is named."""
    require(run_id)
    with db.transaction() as cursor:
        log = events_of(cursor, run_id)
    values = Values(fetch)
    found: dict[str, Any] = {}
    left_out: list[str] = []
    left = MAX_OUTPUTS
    for event in log:
        key = {"MapStarted": "items", "SignalReceived": "payload"}.get(event.type, "output")
        stored = get(event.data, key)
        if stored is None or event.node is None or event.node.endswith("]"):
            continue
        name = paths.graph_key(event.node) + ("#item" if key == "items" else "")
        if name in found or name in left_out:
            continue
        value = values.load(stored)
        if key == "items":
            value = value[0] if value else None
        left -= len(encode(value))
        if left < 0:
            left_out.append(name)
        else:
            found[name] = value
    return {"outputs": found, "left_out": left_out}


def collect(log: Iterable[Event]) -> dict[str, dict[str, Any]]:
    """Activations by node path. Pure."""
    found: dict[str, dict[str, Any]] = {}
    ir: WorkflowIR | None = None
    for event in log:
        if event.type in ("RunStarted", "PatchApplied"):
            ir = ir_of(event.data["version"])
        elif event.type in TERMINAL:
            _close(found, event)
        elif event.node is not None and ir is not None:
            path = paths.owner(event.node)[0] if event.node.endswith("]") else event.node
            one = found.get(path) or found.setdefault(path, _new(path, ir, event))
            _APPLY.get(event.type, _nothing)(one, event)
    return found


def _new(path: str, ir: WorkflowIR, event: Event) -> dict[str, Any]:
    frame, name = paths.split(path)
    graph = ir.graphs.get(paths.graph_key(frame))
    node = graph.nodes.get(name) if graph is not None else None
    return {
        "node": path,
        "type": node.type if node is not None else "",
        "state": "running",
        "attempts": [],
        "started_at": instant(event.at),
        "ended_at": None,
        "error": None,
        "input_seq": None,
        "output_seq": None,
        "progress": None,
    }


def _nothing(one: dict[str, Any], event: Event) -> None:
    return None


def _scheduled(one: dict[str, Any], event: Event) -> None:
    one["state"] = "queued"
    one["input_seq"] = event.data.get("input_seq", event.seq)
    one["attempts"].append(
        {
            "attempt": event.data["attempt"],
            "scheduled_at": instant(event.at),
            "started_at": None,
            "ended_at": None,
            "error": None,
        }
    )


def _attempt_started(one: dict[str, Any], event: Event) -> None:
    one["state"] = "running"
    for attempt in one["attempts"]:
        if attempt["attempt"] == event.data["attempt"]:
            attempt["started_at"] = instant(event.at)


def _attempt_ended(one: dict[str, Any], event: Event) -> None:
    for attempt in one["attempts"]:
        if attempt["attempt"] == event.data["attempt"]:
            attempt["ended_at"] = instant(event.at)
            if event.type == "TaskLost":
                attempt["error"] = {"code": "worker_lost", "message": "The worker fell silent."}
            else:
                attempt["error"] = event.data.get("error")
    if event.type == "TaskCompleted":
        one["output_seq"] = event.seq


def _retrying(one: dict[str, Any], event: Event) -> None:
    one["state"] = "waiting"


def _waiting(one: dict[str, Any], event: Event) -> None:
    one["state"] = "waiting"


def _arrived(one: dict[str, Any], event: Event) -> None:
    one["output_seq"] = event.seq


def _completed(one: dict[str, Any], event: Event) -> None:
    one["state"] = "done"
    one["ended_at"] = instant(event.at)
    if "output" in event.data or "output_ref" in event.data:
        one["output_seq"] = event.seq


def _failed(one: dict[str, Any], event: Event) -> None:
    one["state"] = "skipped" if event.data["handled"] == "skip" else "failed"
    one["ended_at"] = instant(event.at)
    one["error"] = event.data["error"]


def _skipped(one: dict[str, Any], event: Event) -> None:
    one["state"] = "skipped"
    one["ended_at"] = instant(event.at)


def _map_started(one: dict[str, Any], event: Event) -> None:
    one["progress"] = {"done": 0, "total": event.data["count"]}


def _item_ended(one: dict[str, Any], event: Event) -> None:
    if one["progress"]:
        one["progress"]["done"] += 1


def _iteration(one: dict[str, Any], event: Event) -> None:
    one["progress"] = {"done": paths.owner(event.node or "")[1], "total": None}


def _close(found: dict[str, dict[str, Any]], event: Event) -> None:
    for one in found.values():
        if one["ended_at"] is None:
            one["state"] = "cancelled"
            one["ended_at"] = instant(event.at)


_APPLY = {
    "TaskScheduled": _scheduled,
    "TaskStarted": _attempt_started,
    "TaskCompleted": _attempt_ended,
    "TaskFailed": _attempt_ended,
    "TaskLost": _attempt_ended,
    "RetryScheduled": _retrying,
    "NodeWaiting": _waiting,
    "ChildStarted": _waiting,
    "SignalReceived": _arrived,
    "ChildEnded": _arrived,
    "NodeCompleted": _completed,
    "NodeFailed": _failed,
    "NodeSkipped": _skipped,
    "MapStarted": _map_started,
    "ItemCompleted": _item_ended,
    "ItemFailed": _item_ended,
    "IterationStarted": _iteration,
}
