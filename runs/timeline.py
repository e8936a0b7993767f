"""The activations of a run, from its log: what ran when, in which state, with which attempts.

A `Timeline` is folded on from where it stands, and the ones that were looked at last are kept: a page that watches a
run of thousands of items costs the events that are new, not the whole log each time.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

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

MAX_LEASES = 2_000
PAGE = 1_000
"""Events that are read at a time, so that memory does not grow with the log's values."""

MAX_KEPT = 30_000
"""Activations and items of the kept timelines together; the last one is kept whatever its size."""

LIVE = frozenset({"queued", "running", "waiting"})


class Attempt(msgspec.Struct):
    """One attempt of a task. Times are in microseconds since the epoch."""

    attempt: int
    scheduled_at: int
    started_at: int | None = None
    ended_at: int | None = None
    error: dict[str, Any] | None = None


class Activation(msgspec.Struct):
    """One node in one frame. `cached`: its result was taken from the log of the run that this one replays.

    Copied events keep their times, which lie before the run that has them now: `since` is when that began.

    Of an agent: the step that goes on (`is_open`) or was the last one, tokens and cost (millionths of a dollar), what is
    reserved included, and the time that its steps took (microseconds).
    """

    node: str
    type: str
    started_at: int
    state: str = "running"
    ended_at: int | None = None
    attempts: list[Attempt] = []
    error: dict[str, Any] | None = None
    input_seq: int | None = None
    output_seq: int | None = None
    output_key: str = "output"
    progress: dict[str, Any] | None = None
    failed_items: int = 0
    child: str | None = None
    retrying: bool = False
    cached: bool = False
    waits: str | None = None
    ticket: str | None = None
    step: int = 0
    is_open: bool = False
    tokens: int = 0
    cost: int = 0
    took: int = 0
    reserved: tuple[int, int] = (0, 0)
    since: int = 0

    def lasted(self, now: int) -> int | None:
        """How long in this run until its end or `now`, in microseconds; None for what was over before."""
        return _lasted(self.since, self.started_at, self.ended_at, now)

    def as_dict(self) -> dict[str, Any]:
        """As the API shows it."""
        return {
            "node": self.node,
            "type": self.type,
            "state": self.state,
            "attempts": [
                {
                    "attempt": one.attempt,
                    "scheduled_at": instant(one.scheduled_at),
                    "started_at": _instant(one.started_at),
                    "ended_at": _instant(one.ended_at),
                    "error": one.error,
                }
                for one in self.attempts
            ],
            "started_at": instant(self.started_at),
            "ended_at": _instant(self.ended_at),
            "error": self.error,
            "input_seq": self.input_seq,
            "output_seq": self.output_seq,
            "progress": self.progress,
            "cached": self.cached,
        }


class Frame(msgspec.Struct):
    """One item of a map, or one iteration of a loop: `each[3]`."""

    path: str
    started_at: int
    state: str = "running"
    ended_at: int | None = None
    error: dict[str, Any] | None = None
    output_seq: int | None = None
    since: int = 0

    def lasted(self, now: int) -> int | None:
        """As that of an activation."""
        return _lasted(self.since, self.started_at, self.ended_at, now)


def _lasted(since: int, begin: int, end: int | None, now: int) -> int | None:
    if end is not None and end < since:
        return None
    return max((now if end is None else end) - max(begin, since), 0)


class Timeline:
    """What a log says up to `seq`. `within` names what lies in a frame (nodes) or in a node (frames), by start.

    `patches` are those that were applied; `has_patches` is true for others as well.
    """

    def __init__(self) -> None:
        self.seq = 0
        self.status = "queued"
        self.version: str | None = None
        self.base: str | None = None
        self.started_at: int | None = None
        self.last_at: int | None = None
        self.ended_at: int | None = None
        self.copied = 0
        self.patches: list[tuple[int, str]] = []
        self.has_patches = False
        self.activations: dict[str, Activation] = {}
        self.frames: dict[str, Frame] = {}
        self.within: dict[str, list[str]] = {}
        self.failures: list[str] = []
        self._ir: WorkflowIR | None = None

    def __len__(self) -> int:
        return len(self.activations) + len(self.frames)

    def apply(self, event: Event) -> None:
        """Takes the next event. Pure but for the compiled version, which its hash names."""
        self.seq, self.last_at = event.seq, event.at
        self.has_patches |= event.type.startswith("Patch")
        if event.type in ("RunStarted", "PatchApplied"):
            self._version(event)
        elif event.type in TERMINAL:
            self._close(event)
        elif event.type == "PauseRequested":
            self.status = "paused"
        elif event.type == "ResumeRequested":
            self.status = "running"
        elif event.node is not None:
            self._enter(event.node, event)
            if event.node.endswith("]"):
                self._frame_event(event.node, event)
            else:
                one = self.activations.get(event.node) or self._begin(event.node, event)
                _APPLY.get(event.type, _nothing)(one, event)
                self._after(one, event)

    def _version(self, event: Event) -> None:
        self.version = event.data["version"]
        self._ir = ir_of(event.data["version"])
        if event.type == "PatchApplied":
            self.patches.append((event.seq, event.data["version"]))
            return
        self.base = self.version
        self.status, self.started_at = "running", event.at
        self.copied = (event.data.get("forked_from") or {}).get("copied", 0)

    def _enter(self, path: str, event: Event) -> None:
        """Makes the frames around a path, outermost first."""
        around = paths.enclosing(path if path.endswith("]") else paths.split(path)[0])
        for frame in reversed(around[:-1]):
            if frame not in self.frames:
                self.frames[frame] = Frame(frame, event.at, since=self.started_at or 0)
                self.within.setdefault(paths.owner(frame)[0], []).append(frame)

    def _begin(self, path: str, event: Event) -> Activation:
        frame, name = paths.split(path)
        graph = self._ir.graphs.get(paths.graph_key(frame)) if self._ir is not None else None
        node = graph.nodes.get(name) if graph is not None else None
        one = self.activations[path] = Activation(
            path, node.type if node is not None else "", event.at, since=self.started_at or 0
        )
        self.within.setdefault(frame, []).append(path)
        return one

    def _after(self, one: Activation, event: Event) -> None:
        if event.type == "NodeFailed" and one.state == "failed":
            self.failures.append(one.node)
        if event.type == "NodeCompleted" and event.seq <= self.copied + 1:
            one.cached = True

    def _frame_event(self, path: str, event: Event) -> None:
        frame = self.frames[path]
        owner = self.activations.get(paths.owner(path)[0])
        if event.type == "IterationStarted":
            if owner is None:
                owner = self._begin(paths.owner(path)[0], event)
            owner.progress = {"done": paths.owner(path)[1], "total": None}
        elif event.type in ("ItemCompleted", "ItemFailed", "IterationCompleted"):
            failed = event.type == "ItemFailed"
            frame.state, frame.ended_at = ("failed" if failed else "done"), event.at
            frame.error = event.data.get("error") if failed else None
            frame.output_seq = None if failed else event.seq
            if owner is not None and event.type != "IterationCompleted":
                owner.failed_items += failed
                if owner.progress:
                    owner.progress["done"] += 1

    def _close(self, event: Event) -> None:
        self.status, self.ended_at = TERMINAL[event.type], event.at
        for one in self.activations.values():
            if one.ended_at is None:
                one.state, one.ended_at, one.retrying = "cancelled", event.at, False
        for frame in self.frames.values():
            if frame.ended_at is None:
                inner = (self.activations[path].state for path in self.within.get(frame.path, ()))
                frame.state, frame.ended_at = ("failed" if "failed" in inner else "cancelled"), event.at


@contextmanager
def held(run_id: str, *, upto: int | None = None) -> Iterator[Timeline]:
    """The run's timeline as it is now, or as it was after the event `upto`; not changed while it is held.

    Raises RunError `run_unknown`.
    """
    last = require(run_id)
    if upto is not None and upto < last:
        found = Timeline()
        _read(run_id, found, upto)
        yield found
        return
    with _lock:
        lock, kept = _kept.setdefault(run_id, (threading.Lock(), Timeline()))
        _kept.move_to_end(run_id)
    with lock:
        _read(run_id, kept, None)
        yield kept
    _trim()


def _read(run_id: str, into: Timeline, upto: int | None) -> None:
    while True:
        with db.transaction() as cursor:
            page = events_of(cursor, run_id, after=into.seq, limit=PAGE)
        for event in page:
            if upto is not None and event.seq > upto:
                return
            into.apply(event)
        if len(page) < PAGE:
            return


_kept: OrderedDict[str, tuple[threading.Lock, Timeline]] = OrderedDict()
_lock = threading.Lock()


def _trim() -> None:
    with _lock:
        while len(_kept) > 1 and (len(_kept) > 100 or sum(len(one) for _, one in _kept.values()) > MAX_KEPT):
            _kept.popitem(last=False)


def leases(run_id: str) -> dict[tuple[str, int], int]:
    """Since when attempts are being executed, by node and attempt. No event tells it unless AOB_FIDELITY is full."""
    with db.transaction() as cursor:
        rows = cursor.execute(
            "SELECT node, attempt, leased_at FROM task WHERE run_id = %s AND leased_at IS NOT NULL LIMIT %s",
            [run_id, MAX_LEASES],
        ).fetchall()
    return {(node, attempt): db.micros(at) for node, attempt, at in rows}


def activations(run_id: str) -> dict[str, Any]:
    """Every activation in the order of its start, and whether some were left out."""
    with held(run_id) as timeline:
        leased = leases(run_id)
        chosen = list(timeline.activations.values())[:MAX_ACTIVATIONS]
        total = len(timeline.activations)
        items = [one.as_dict() for one in chosen]
    for one in items:
        for attempt in one["attempts"]:
            started = leased.get((one["node"], attempt["attempt"]))
            if started is not None and attempt["ended_at"] is None:
                attempt["started_at"] = instant(started)
                one["state"] = "running"
    return {"items": items, "next": None, "total": total}


def started(run_id: str) -> dict[str, str]:
    """The nodes of the outermost graph that have begun, with their state: no patch may change them any more."""
    with held(run_id) as timeline:
        return {path: one.state for path, one in timeline.activations.items() if "/" not in path}


def activation(run_id: str, path: str, *, upto: int | None = None) -> Activation | None:
    """One activation, now or after the event `upto`, from its own events alone; None when it has not begun."""
    require(run_id)
    found = Timeline()
    with db.transaction() as cursor:
        # A scan of this run's part of the primary key: what else the log holds is passed over where it lies.
        rows = cursor.execute(
            "SELECT seq, type, at, node, data FROM run_event WHERE run_id = %s AND seq <= %s AND"
            " (node = %s OR node IS NULL AND type = ANY(%s)) ORDER BY seq",
            [run_id, 2**31 - 1 if upto is None else upto, path, ["RunStarted", "PatchApplied", *TERMINAL]],
        )
        for seq, kind, at, node, data in rows:
            found.apply(Event(seq, kind, db.micros(at), node, data))
    return found.activations.get(path)


def outputs(run_id: str) -> dict[str, Any]:
    """The outputs of the first activation of each node, by its path without indexes; what is too large is named.

    So are nodes that were only skipped: no expression finds them under `nodes`.
    """
    require(run_id)
    with db.transaction() as cursor:
        log = events_of(cursor, run_id)
    values = Values(fetch)
    found: dict[str, Any] = {}
    left_out: list[str] = []
    skipped: dict[str, None] = {}
    left = MAX_OUTPUTS
    for event in log:
        key = {"MapStarted": "items", "SignalReceived": "payload"}.get(event.type, "output")
        if event.type == "NodeSkipped" and event.node is not None:
            skipped[paths.graph_key(event.node)] = None
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
    return {
        "outputs": found,
        "left_out": left_out,
        "skipped": [name for name in skipped if name not in found and name not in left_out],
    }


def collect(log: Iterable[Event]) -> Timeline:
    """The timeline of a log at hand."""
    found = Timeline()
    for event in log:
        found.apply(event)
    return found


def _nothing(one: Activation, event: Event) -> None:
    return None


def _scheduled(one: Activation, event: Event) -> None:
    one.state, one.retrying = "queued", False
    one.input_seq = event.data.get("input_seq", event.seq)
    one.attempts.append(Attempt(event.data["attempt"], event.at))


def _attempt_started(one: Activation, event: Event) -> None:
    one.state = "running"
    for attempt in one.attempts:
        if attempt.attempt == event.data["attempt"]:
            attempt.started_at = event.at


def _attempt_ended(one: Activation, event: Event) -> None:
    for attempt in one.attempts:
        if attempt.attempt == event.data["attempt"]:
            attempt.ended_at = event.at
            if event.type == "TaskLost":
                attempt.error = {"code": "worker_lost", "message": "The worker fell silent."}
            else:
                attempt.error = event.data.get("error")
    if event.type == "TaskCompleted":
        one.output_seq = event.seq


def _retrying(one: Activation, event: Event) -> None:
    one.state, one.retrying = "waiting", True


def _waiting(one: Activation, event: Event) -> None:
    one.state = "waiting"
    if event.type == "ChildStarted":
        one.child, one.waits, one.input_seq = event.data.get("child"), "child run", event.seq
    else:
        one.waits, one.ticket = event.data.get("kind"), event.data.get("ticket")
        if one.waits == "approval":
            one.input_seq = event.seq


def _arrived(one: Activation, event: Event) -> None:
    one.output_seq = event.seq
    one.output_key = "payload" if event.type == "SignalReceived" else "output"


def _completed(one: Activation, event: Event) -> None:
    one.state, one.ended_at = "done", event.at
    if "output" in event.data or "output_ref" in event.data:
        one.output_seq, one.output_key = event.seq, "output"


def _failed(one: Activation, event: Event) -> None:
    one.state = "skipped" if event.data["handled"] == "skip" else "failed"
    one.ended_at, one.error, one.retrying = event.at, event.data["error"], False


def _skipped(one: Activation, event: Event) -> None:
    one.state, one.ended_at = "skipped", event.at


def _map_started(one: Activation, event: Event) -> None:
    one.progress = {"done": 0, "total": event.data["count"]}
    one.input_seq = event.seq


def _step_started(one: Activation, event: Event) -> None:
    """What a step that is begun again had reserved stays used, as in the fold."""
    one.state, one.step, one.is_open = "running", event.data["step"], True
    reserved = event.data.get("reserved", {})
    one.reserved = (reserved.get("tokens", 0), reserved.get("cost", 0))
    one.tokens, one.cost = one.tokens + one.reserved[0], one.cost + one.reserved[1]
    one.took += event.data.get("took", 0)


def _step_ended(one: Activation, event: Event) -> None:
    used = event.data.get("used", {})
    one.tokens += used.get("tokens", 0) - one.reserved[0]
    one.cost += used.get("cost", 0) - one.reserved[1]
    one.is_open, one.reserved = False, (0, 0)
    one.took += event.data.get("took", 0)


def _instant(at: int | None) -> str | None:
    return None if at is None else instant(at)


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
    "AgentStepStarted": _step_started,
    "AgentStepEnded": _step_ended,
}
