"""The state of a run: a fold of its log, small enough to keep in memory and to write as a snapshot."""

from __future__ import annotations

from typing import Any

import msgspec

from runs.core.values import Value

Entry = tuple[str, str]


class Limits(msgspec.Struct, frozen=True, omit_defaults=True):
    """Bounds that hold for the whole run; fixed in its first event so that replay meets the same ones."""

    max_value_bytes: int = 4 * 1024 * 1024
    max_items: int = 100_000
    max_stored_signals: int = 1_000


class Activation(msgspec.Struct, omit_defaults=True):
    """A node that has started and not ended.

    `kind`: task, delay, signal, child, map or loop. `result` is what arrived and is not decided on yet:
    `["ok", value]`, `["failed", error, jitter]`, `["lost"]` or `["timer"]`. `started` is the last attempt whose start
    was recorded; only full fidelity records it.
    """

    kind: str
    since: int
    attempt: int = 0
    started: int = 0
    failures: int = 0
    losses: int = 0
    retrying: bool = False
    input_seq: int = 0
    result: list[Any] | None = None
    name: str | None = None
    items: Value | None = None
    total: int = 0
    next: int = 0
    running: int = 0
    done: int = 0
    concurrency: int = 0
    collect: bool = False
    results: list[Any] = []
    iteration: int = 0
    last: Value | None = None


class Frame(msgspec.Struct, omit_defaults=True):
    """One instance of a graph: the root, a map item or a loop iteration.

    `nodes` maps an id to `ready`, `dead`, `active`, `done`, `failed` or `skipped`; ids that are missing are
    undecided. `edges` maps the decided edges to whether they were taken; `left` counts nodes not ended.
    """

    left: int
    nodes: dict[str, str] = {}
    edges: dict[str, bool] = {}
    decided: dict[str, int] = {}
    taken: dict[str, int] = {}
    outputs: dict[str, Value] = {}
    error: dict[str, Any] | None = None


class State(msgspec.Struct, omit_defaults=True):
    """Everything that the next decision depends on. `agenda` is what to decide next, in order."""

    run_id: str = ""
    version: str = ""
    seq: int = 0
    now: int = 0
    started_at: int = 0
    attempt: int = 1
    status: str = "live"
    inputs: Value = msgspec.field(default_factory=lambda: [None])
    limits: Limits = msgspec.field(default_factory=Limits)
    pins: dict[str, str] = {}
    paused: bool = False
    cancel: dict[str, Any] | None = None
    timed_out: bool = False
    failure: dict[str, Any] | None = None
    agenda: list[Entry] = []
    frames: dict[str, Frame] = {}
    active: dict[str, Activation] = {}
    timers: dict[str, int] = {}
    signals: dict[str, list[Any]] = {}
    retries: dict[str, dict[str, Any]] = {}

    @property
    def ended(self) -> bool:
        return self.status != "live"

    def next_due(self) -> int | None:
        """When the earliest timer fires, in microseconds; a paused run waits only for its own timeout."""
        if self.paused:
            return self.timers.get("")
        return min(self.timers.values(), default=None)

    def has_work(self) -> bool:
        """True when a decision is waiting to be made."""
        if self.ended:
            return False
        if self.cancel is not None or self.timed_out:
            return True
        return bool(self.agenda or self.failure) and not self.paused


_encoder = msgspec.json.Encoder(order="deterministic")
_decoder = msgspec.json.Decoder(State)


def dump(state: State) -> bytes:
    """The snapshot of a state: JSON with sorted keys, so that equal states give equal bytes."""
    return _encoder.encode(state)


def load(data: bytes) -> State:
    return _decoder.decode(data)


def public_status(state: State) -> str:
    """The status that users see: running while something is being worked on, waiting otherwise."""
    if state.ended:
        return state.status
    if state.paused:
        return "paused"
    if state.agenda or any(activation.kind == "task" and not activation.retrying for activation in state.active.values()):
        return "running"
    return "waiting" if state.active else "running"
