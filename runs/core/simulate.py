"""What would happen: a run carried on in memory with recorded results in the place of effects (pure; law 3).

Nothing acts. A task whose result is not known stays open, and with it what follows; the forecast names both.
`runs.core.rehearsal` tells the same of many recorded runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from runs.core import paths
from runs.core.advance import advance
from runs.core.events import Event
from runs.core.fold import Graphs, apply
from runs.core.state import Activation, State, dump, load
from runs.core.values import MissingValue, Value, Values, get, put
from workflows.core.effort import Stopped, bounded
from workflows.core.errors import AobError
from workflows.nodes.registry import node_types

MAX_DECISIONS = 2_000
MAX_EVALUATIONS = 20_000
MAX_NAMED = 100

Outputs = Mapping[str, Value]
"""Recorded outputs of tasks and child runs by node path."""


class Forecast(msgspec.Struct, frozen=True):
    """Node paths in the order in which they would happen, each list at most MAX_NAMED long.

    `acts` would reach outside; `assumed` took a recorded result instead of acting; `open` wait for what is not known.
    `status` is how the run would end with what is known, or None. `complete` is false when the forecast was cut off,
    `stopped_at` names the node or frame where that was. `seq` is that of the state that it is made of.
    """

    starts: list[str]
    acts: list[str]
    assumed: list[str]
    open: list[str]
    skips: list[str]
    failures: list[dict[str, Any]]
    status: str | None
    output: Any
    complete: bool
    stopped_at: str | None = None
    seq: int = 0


class Budget:
    """What trying something out may cost: expressions and calls of functions, and whatever `is_over` measures."""

    def __init__(self, is_over: Callable[[], bool] = lambda: False, evaluations: int = MAX_EVALUATIONS) -> None:
        self._is_over = is_over
        self._left = evaluations

    def spend(self) -> None:
        """Raises Stopped when it is spent."""
        self._left -= 1
        self.require_more()

    def require_more(self) -> None:
        if self._left < 0 or self._is_over():
            raise Stopped("the budget of the simulation is spent")


class Recorded(msgspec.Struct, frozen=True):
    """What the outside answered in a recorded run: outputs and last errors by node path, signals by name.

    `answers` are those of people to approvals, by node path, as they stand in the log.
    """

    outputs: Outputs
    errors: Mapping[str, dict[str, Any]] = {}
    signals: Mapping[str, list[Value]] = {}
    answers: Mapping[str, list[dict[str, Any]]] = {}


class Went(msgspec.Struct, frozen=True):
    """What happened in memory: the events, and the node paths that took a recorded result.

    `spent` says that the budget was.
    """

    log: list[Event]
    assumed: Mapping[str, None]
    complete: bool
    spent: bool = False


def simulate(
    state: State, event: Event, irs: Graphs, values: Values, outputs: Outputs, budget: Budget | None = None
) -> Forecast:
    """What follows when `event` happens to the run now, as far as the budget goes. The state is not changed."""
    seq = state.seq
    state = load(dump(state))
    apply(state, event, irs)
    went = go_on(state, irs, values, Recorded(outputs), budget)
    return _told(state, went, irs, values, seq)


def go_on(state: State, irs: Graphs, values: Values, known: Recorded, budget: Budget | None = None) -> Went:
    """Lets a state go on as far as what is known and the budget lead; `state` is changed."""
    budget = budget or Budget()
    log: list[Event] = []
    assumed: dict[str, None] = {}
    heard: dict[str, int] = {}
    answered: dict[str, int] = {}
    complete, spent = True, False
    try:
        with bounded(budget.spend):
            while True:
                budget.require_more()
                made = advance(state, irs, values, log, at=state.now, max_events=1)
                if state.ended or len(log) >= MAX_DECISIONS:
                    complete = state.ended
                    break
                if made:
                    continue
                fact = _next_fact(state, known, assumed, heard, answered)
                if fact is None:
                    break
                apply(state, fact, irs)
                log.append(fact)
    except Stopped:
        complete, spent = False, True
    except (AobError, MissingValue):
        complete = False
    return Went(log, assumed, complete, spent)


def _next_fact(
    state: State, known: Recorded, assumed: dict[str, None], heard: dict[str, int], answered: dict[str, int]
) -> Event | None:
    for path, activation in state.active.items():
        if activation.result is not None:
            continue
        seq = state.seq + 1
        if activation.kind == "delay" or (activation.retrying and path in known.errors and path in state.timers):
            due = state.timers[path]
            return Event(seq, "TimerFired", max(state.now, due), path, {"due": due})
        if activation.kind == "signal":
            name = activation.name or ""
            place = heard.get(name, 0)
            if place < len(known.signals.get(name, ())):
                heard[name] = place + 1
                data: dict[str, Any] = put({"name": name}, "payload", known.signals[name][place])
                return Event(seq, "SignalReceived", state.now, None, data)
            continue
        if activation.ticket is not None:
            place = answered.get(path, 0)
            if place < len(known.answers.get(path, ())):
                answered[path] = place + 1
                data = {**known.answers[path][place], "ticket": activation.ticket.id}
                return Event(seq, "TicketAnswered", state.now, path, data)
            continue
        if activation.kind not in ("task", "child") or activation.retrying:
            continue
        fact = _answer(activation, path, known, assumed)
        if fact is not None:
            return Event(seq, fact[0], state.now, path, fact[1])
    return None


def _answer(
    activation: Activation, path: str, known: Recorded, assumed: dict[str, None]
) -> tuple[str, dict[str, Any]] | None:
    """What a task or a child run gave when it was recorded; None where that is not known."""
    is_task = activation.kind == "task"
    data: dict[str, Any] = (
        {"attempt": activation.attempt} if is_task else {"child": activation.name, "status": "completed"}
    )
    if path in known.outputs and path not in assumed:
        assumed[path] = None
        return "TaskCompleted" if is_task else "ChildEnded", put(data, "output", known.outputs[path])
    if path in known.errors and path not in known.outputs:
        assumed[path] = None
        if is_task:
            return "TaskFailed", {**data, "error": known.errors[path], "jitter": 1.0}
        return "ChildEnded", {**data, "status": "failed", "error": known.errors[path]}
    return None


def _told(state: State, went: Went, irs: Graphs, values: Values, seq: int) -> Forecast:
    log = went.log
    acts = acted(log, state, irs)
    last = log[-1] if log else None
    value = get(last.data, "output") if last is not None and last.type == "RunCompleted" else None
    failures = [
        {"node": event.node, "error": event.data["error"], "handled": event.data.get("handled")}
        for event in log
        if event.type in ("NodeFailed", "RunFailed")
    ]
    return Forecast(
        starts=started(log)[:MAX_NAMED],
        acts=[path for path in acts if path not in went.assumed][:MAX_NAMED],
        assumed=list(went.assumed)[:MAX_NAMED],
        open=[path for path, one in state.active.items() if one.kind not in ("map", "loop")][:MAX_NAMED],
        skips=[event.node for event in log if event.type == "NodeSkipped" and event.node][:MAX_NAMED],
        failures=failures[:MAX_NAMED],
        status=state.status if state.ended else None,
        output=values.load(value) if value is not None else None,
        complete=went.complete,
        stopped_at=state.agenda[0][1] if state.agenda and not went.complete else None,
        seq=seq,
    )


def started(log: list[Event]) -> list[str]:
    """The node paths that began in a part of a log, in that order."""
    return list(dict.fromkeys(event.node for event in log if event.node and event.type not in _NO_START))


_NO_START = frozenset(
    {
        "NodeSkipped", "TaskCompleted", "TimerFired", "ChildEnded", "ItemCompleted", "ItemFailed", "IterationStarted",
        "IterationCompleted",
    }
)  # fmt: skip


def acted(log: list[Event], state: State, irs: Graphs) -> list[str]:
    """The node paths that reached outside in a part of a log, in that order."""
    begun = (event.node for event in log if event.type in ("TaskScheduled", "ChildStarted") and event.node)
    return [path for path in dict.fromkeys(begun) if _acts(state, irs, path)]


def _acts(state: State, irs: Graphs, path: str) -> bool:
    frame, name = paths.split(path)
    node = irs(state.version).graphs[paths.graph_key(frame)].nodes[name]
    return node_types()[node.type].is_task or node.type == "subworkflow"


def recorded(log: list[Event]) -> dict[str, Value]:
    """The outputs of tasks and child runs in a log, by node path."""
    found: dict[str, Value] = {}
    for event in log:
        value = get(event.data, "output") if event.type in ("TaskCompleted", "ChildEnded") else None
        if value is not None and event.node:
            found[event.node] = value
    return found
