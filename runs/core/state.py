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
    max_nodes: int = 5_000
    max_agents: int = 5


class Agent(msgspec.Struct, omit_defaults=True):
    """How far an agent has come and what it has used, over all attempts of its node.

    `step` is the number of the last step that began, by the attempt `attempt`; `open` whether it still goes on. Reserved
    tokens and cost (in millionths of a dollar) count as used until the step has ended. `time` is how long its steps took
    in microseconds, those that wait for people or other runs not counted. `outside` says that its tools gave it what came
    from outside AOB.
    """

    step: int = 0
    attempt: int = 0
    open: bool = False
    tokens: int = 0
    cost: int = 0
    reserved_tokens: int = 0
    reserved_cost: int = 0
    time: int = 0
    outside: bool = False


class Answer(msgspec.Struct, omit_defaults=True):
    """What somebody said to a ticket. `groups` are those of theirs that the ticket was given to."""

    answer: str
    by: str
    at: int
    reason: str | None = None
    form: Value | None = None
    groups: list[str] = []


class Ticket(msgspec.Struct, omit_defaults=True):
    """A question to people. `quorum` is how many have to approve, 0 meaning every assignee; `not_by` may not answer, nor
    may those of `nor_by`.

    `period` is how long it waits before it is escalated or decided by `on_timeout`, `every` how long until the next
    reminder, both in microseconds. It is escalated to `escalate_to`, then to those of `later` in turn; `forsaken` says
    that it was handed to those who look after the installation, because nobody of its assignees exists. `vetoes` names
    whose single rejection decides; None is anyone's. `away` handed their part to others: `standins` says for which
    assignees these stand. `notes` counts claims, releases and comments, which are bounded. `each` says that with a
    quorum of 0 every assignee needs a person of its own.
    """

    id: str
    assignees: list[str] = []
    quorum: int = 1
    not_by: str | None = None
    nor_by: list[str] = []
    on_timeout: str = "reject"
    escalate_to: list[str] = []
    period: int | None = None
    escalated: bool = False
    answers: list[Answer] = []
    later: list[list[str]] = []
    forsaken: bool = False
    vetoes: list[str] | None = None
    every: int | None = None
    reminders: int = 0
    away: list[str] = []
    standins: dict[str, list[str]] = {}
    claimed: str | None = None
    notes: int = 0
    each: bool = False

    @property
    def barred(self) -> set[str]:
        """Those who may not answer it."""
        return {*self.nor_by, *([] if self.not_by is None else [self.not_by])}


class Activation(msgspec.Struct, omit_defaults=True):
    """A node that has started and not ended.

    `kind`: task, delay, signal, approval, failure, child, map or loop. `result` is what arrived and is not decided on
    yet: `["ok", value]`, `["failed", error, jitter]`, `["lost"]`, `["timer"]`, of a ticket `["answered"]`,
    `["unattended", people]` and `["decided", status, at, by]`. `started` is the last attempt whose start was recorded;
    only full fidelity records it. `failed` is what people are asked about where the node failed and waits for review.
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
    agents: int = 0
    agent: Agent | None = None
    ticket: Ticket | None = None
    failed: dict[str, Any] | None = None


class Frame(msgspec.Struct, omit_defaults=True):
    """One instance of a graph: the root, a map item or a loop iteration.

    `nodes` maps an id to `ready`, `dead`, `active`, `done`, `failed` or `skipped`; ids that are missing are
    undecided. `edges` maps the decided edges to whether they were taken; `left` counts nodes not ended. `ports` says by
    which port nodes left that did not leave by `out`.
    """

    left: int
    nodes: dict[str, str] = {}
    edges: dict[str, bool] = {}
    decided: dict[str, int] = {}
    taken: dict[str, int] = {}
    outputs: dict[str, Value] = {}
    ports: dict[str, str] = {}
    error: dict[str, Any] | None = None


class State(msgspec.Struct, omit_defaults=True):
    """Everything that the next decision depends on. `agenda` is what to decide next, in order.

    `base` is the version that the run started with, where patches changed it; `agents` how many agents have started or
    are promised to child runs; `granted` under whose grant nodes stand that an agent's patch brought (agent's node path
    by node key); `pending` the patches that wait for review; `refused` how many were refused; `tokens` and `cost` what
    all agents of the run have used or reserved; `outside` that its inputs came from outside AOB by way of a parent.
    `started_before` are those who started the runs that it was forked from. `rules` are those by which the run decides
    (`events.RULES`).
    `reminders` is when people are reminded of the ticket of a node, beside `timers`.
    `settling` names approvals that were answered or whose time is up. What becomes of their tickets is decided before
    all else, also in a run that is paused or cancelled: whoever answered is told at once, and it stays so.
    """

    run_id: str = ""
    version: str = ""
    seq: int = 0
    now: int = 0
    started_at: int = 0
    started_by: str | None = None
    started_before: list[str] = []
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
    settling: list[str] = []
    frames: dict[str, Frame] = {}
    active: dict[str, Activation] = {}
    timers: dict[str, int] = {}
    reminders: dict[str, int] = {}
    signals: dict[str, list[Any]] = {}
    retries: dict[str, dict[str, Any]] = {}
    base: str = ""
    agents: int = 0
    granted: dict[str, str] = {}
    pending: list[str] = []
    tokens: int = 0
    cost: int = 0
    refused: int = 0
    outside: bool = False
    rules: int = 0

    @property
    def ended(self) -> bool:
        return self.status != "live"

    def next_due(self) -> int | None:
        """When the earliest timer fires, in microseconds; a paused run waits only for its own timeout."""
        if self.paused:
            return self.timers.get("")
        return min((*self.timers.values(), *self.reminders.values()), default=None)

    def has_work(self) -> bool:
        """True when a decision is waiting to be made."""
        if self.ended:
            return False
        if self.cancel is not None or self.timed_out or self.settling:
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
