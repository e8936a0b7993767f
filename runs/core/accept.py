"""Which facts still matter to a run. What is late, doubled or of a lost attempt changes nothing (law 6)."""

from __future__ import annotations

from typing import Any

from runs.core import tickets
from runs.core.events import Fact
from runs.core.state import State


def accepts(state: State, fact: Fact) -> bool:
    """True when the fact belongs into the log of this run now."""
    if state.ended:
        return False
    kind, data = fact.type, fact.data
    if kind in ("TaskStarted", "TaskCompleted", "TaskFailed", "TaskLost"):
        activation = state.active.get(fact.node or "")
        return (
            activation is not None
            and activation.kind == "task"
            and activation.attempt == data["attempt"]
            and not activation.retrying
            and activation.result is None
            and (kind != "TaskStarted" or activation.started < data["attempt"])
        )
    if kind == "ChildEnded":
        activation = state.active.get(fact.node or "")
        return (
            activation is not None
            and activation.kind == "child"
            and activation.name == data["child"]
            and activation.result is None
        )
    if kind == "TimerFired":
        return bool(state.timers.get(fact.node or "") == data["due"])
    if kind == "SignalReceived":
        return _has_room(state, data)
    if kind in tickets.FACTS:
        return tickets.takes(state, kind, fact.node, data)
    if kind == "PauseRequested":
        return not state.paused
    if kind == "ResumeRequested":
        return state.paused
    if kind == "CancelRequested":
        return state.cancel is None
    return True


def due_timers(state: State, now: int) -> list[Fact]:
    """The timers and reminders that are due, earliest first; of a paused run only its own timeout."""
    due = sorted((at, path) for path, at in state.timers.items() if at <= now and (not state.paused or not path))
    fired = [Fact("TimerFired", path or None, {"due": at}) for at, path in due]
    if not state.reminders or state.paused:
        return fired
    late = sorted((at, path) for path, at in state.reminders.items() if at <= now)
    return [*fired, *(_reminder(state, path, at) for at, path in late)]


def _reminder(state: State, path: str, due: int) -> Fact:
    ticket = state.active[path].ticket
    assert ticket is not None
    return Fact("TicketReminded", path, {"ticket": ticket.id, "count": ticket.reminders + 1, "due": due})


def _has_room(state: State, data: dict[str, Any]) -> bool:
    return len(state.signals.get(data["name"], ())) < state.limits.max_stored_signals
