"""The event log's vocabulary. An event is either a fact (something arrived) or a decision (what follows).

Facts carry everything that is not determined by the log before them: times, random values, results.
"""

from __future__ import annotations

from typing import Any

import msgspec

FACTS = frozenset(
    {
        "RunStarted",
        "TaskStarted",
        "TaskCompleted",
        "TaskFailed",
        "TaskLost",
        "TimerFired",
        "SignalReceived",
        "TicketAnswered",
        "TicketDelegated",
        "TicketClaimed",
        "TicketReleased",
        "TicketCommented",
        "TicketReminded",
        "TicketUnattended",
        "ChildEnded",
        "PauseRequested",
        "ResumeRequested",
        "CancelRequested",
        "RetryOverridden",
        "AgentStepStarted",
        "AgentStepEnded",
        "PatchProposed",
        "PatchApplied",
        "PatchRejected",
        "PatchRefused",
        "EngineFailed",
    }
)
DECISIONS = frozenset(
    {
        "TaskScheduled",
        "RetryScheduled",
        "NodeCompleted",
        "NodeFailed",
        "NodeSkipped",
        "NodeWaiting",
        "NodeRouted",
        "TicketEscalated",
        "TicketDecided",
        "MapStarted",
        "ItemCompleted",
        "ItemFailed",
        "IterationStarted",
        "IterationCompleted",
        "ChildStarted",
        "RunCompleted",
        "RunFailed",
        "RunCancelled",
        "RunTimedOut",
    }
)
RULES = 1
"""The rules by which a run decides, as its first event says; of a change only runs hear that begin after it, so that
every log replays. 0, where nothing is said: titles are kept as they come, of `quorum: all` one person may stand for many,
and whoever computes nobody asks everybody."""

MAX_LOSSES = 3
"""So many attempts may lose their worker before the node fails as `worker_lost` (hazard P6)."""

TERMINAL = {
    "RunCompleted": "completed",
    "RunFailed": "failed",
    "RunCancelled": "cancelled",
    "RunTimedOut": "timed_out",
}
ERRORS = frozenset({"TaskFailed", "TaskLost", "NodeFailed", "ItemFailed", "RunFailed", "RunTimedOut"})


class Event(msgspec.Struct):
    """One entry of a run's log. `at` is in microseconds since the epoch, by the database's clock.

    `node` is the node path (`each[3]/parse`), the frame path for items and iterations (`each[3]`), or None.
    """

    seq: int
    type: str
    at: int
    node: str | None
    data: dict[str, Any]


class Fact(msgspec.Struct, frozen=True):
    """Something that arrived for a run and is not in its log yet."""

    type: str
    node: str | None
    data: dict[str, Any]
