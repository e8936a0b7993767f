"""One action on many runs: each by its own door (law 10), and each with what came of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from runs import queries, services
from runs.errors import RunError
from runs.search import Filter
from workflows.core.errors import AobError

MOST = 500
"""An action reaches at most so many runs; then it is asked again."""

ACTIONS = ("cancel", "pause", "resume", "retry")

LIVE = ("queued", "running", "waiting", "paused")
TAKES = {"cancel": LIVE, "pause": LIVE[:3], "resume": ("paused",), "retry": ("failed", "timed_out")}
"""The states in which a run takes an action."""


class Outcome(msgspec.Struct, frozen=True):
    """What came of one run: done, with the run that a retry started, or why not."""

    run: str
    done: bool
    new: str | None = None
    why: str | None = None


def apply(action: str, runs: Iterable[str], *, by: str, reason: str | None = None) -> list[Outcome]:
    """Does it to each run. What one of them refuses does not stop the others."""
    outcomes = []
    for run_id in runs:
        try:
            outcomes.append(Outcome(run_id, True, new=_apply(action, run_id, by, reason)))
        except AobError as error:
            outcomes.append(Outcome(run_id, False, why=error.message))
    return outcomes


def _apply(action: str, run_id: str, by: str, reason: str | None) -> str | None:
    if action == "cancel":
        services.cancel(run_id, reason=reason, by=by)
    elif action == "pause":
        if queries.run(run_id)["status"] == "paused":
            raise RunError("run_paused", f"The run {run_id} is paused already.")
        services.pause(run_id, by=by)
    elif action == "resume":
        services.resume(run_id, by=by)
    elif action == "retry":
        return services.replay(run_id, _failed_node(run_id), by=by)
    else:
        raise RunError("action_unknown", f"{action[:40]!r} is no action on runs.", hint=f"Use {', '.join(ACTIONS)}.")
    return None


def _failed_node(run_id: str) -> str:
    """Where a failed run is replayed from. Raises RunError for one that did not fail at a node."""
    view: dict[str, Any] = queries.run(run_id)
    if view["status"] not in TAKES["retry"]:
        raise RunError("run_not_failed", f"The run {run_id} has not failed; it is {view['status']}.")
    node = (view["error"] or {}).get("node")
    if not node:
        raise RunError("node_unknown", f"The run {run_id} did not fail at a node; replay it from a node of your choice.")
    return str(node)


def within(wanted: Filter, action: str) -> Filter:
    """The filter for those of its runs that take the action. Raises RunError when it can have none."""
    statuses = tuple(one for one in TAKES[action] if not wanted.statuses or one in wanted.statuses)
    if not statuses:
        raise RunError(
            "nothing_to_do",
            f"No run that fits the filter takes this: it is for runs that are {' or '.join(TAKES[action])}.",
            hint="Change the states of the filter.",
        )
    return msgspec.structs.replace(wanted, statuses=statuses)
