"""Steps that are recorded: what was done by an earlier attempt is given back, the rest is begun, done and ended.

Reserves the budget before each step, here and in the journal (hazard L4): of two limits the nearer one holds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal

from worker.agent.journal import AgentTask, Journal, Refused, Step
from worker.executors.base import TaskError
from workflows.core.canonical import value_hash
from workflows.core.errors import AobError
from workflows.nodes.agent import DEFAULT_BUDGET

Act = Callable[[Step], Awaitable[dict[str, Any]]]
"""Does what a step is for and gives its outcome."""

TOLD = frozenset({"capability", "capability_missing"})
"""Refusals to begin a tool call that are told to the model; any other ends the agent."""

FATAL = frozenset({"budget_exhausted", "agent_stopped", "step_out_of_order"})
"""Refusals of what a tool call asks of the control plane that end the agent; any other is told to the model."""


class Recorder:
    """The steps of one attempt, one after the other."""

    def __init__(self, task: AgentTask, journal: Journal) -> None:
        self._task = task
        self._journal = journal
        self._past = list(journal.past)
        self._number = 0
        self._is_heard = True
        self._refused: list[dict[str, Any]] = []
        """Tool calls since the last step that the journal did not let begin; the next step keeps them."""

        budget = {**DEFAULT_BUDGET, **{key: value for key, value in task.budget.items() if value is not None}}
        self._tokens: float = budget["tokens"]
        self._cost: float = budget["cost"]
        self._steps: float = budget["steps"]
        self._seconds: float = budget["seconds"]
        self._until: float | None = None
        """When the seconds are over; they begin with the first step that is not replayed."""

    def next_key(self) -> str:
        """The idempotency key of the next step: the same in every attempt."""
        return f"{self._task.run}:{self._task.node}:{self._number + 1}"

    async def text(self, step: Step, delta: str) -> None:
        """Hands on live text, as long as it is taken."""
        if not self._is_heard:
            return
        try:
            await self._journal.text(step.number, delta)
        except Exception:
            # Whatever fails here must not look like a failure of the model; the text stands in the answer anyway.
            self._is_heard = False

    async def model(self, name: str, request: Any, reserved: dict[str, Any], act: Act) -> dict[str, Any]:
        """The outcome of a model call. Raises TaskError."""
        while True:
            step = {"model": name, "request": request, "reserved": reserved}
            outcome = await self._step("model", step, act)
            if not self._is_asked_again(outcome):
                return outcome

    def _is_asked_again(self, outcome: Mapping[str, Any]) -> bool:
        """Whether a call that failed in an earlier attempt was made again since, or is to be, as retries are for that.

        Only the last of the past is made again: what followed on another failure was another model.
        """
        error = outcome.get("error")
        if not error or not error.get("transient") or self._number > len(self._past):
            return False
        failed, following = self._past[self._number - 1], self._past[self._number : self._number + 1]
        if failed.outcome is None:
            return False
        return not following or (following[0].kind == "model" and _meaning(following[0]) == _meaning(failed))

    async def tool(self, call: str, tool: str, args: Any, act: Act, *, is_waiting: bool = False) -> dict[str, Any]:
        """The outcome of a tool call; waiting for people and other runs costs no seconds. Raises TaskError."""
        what = {"call": call, "tool": tool, "args": args, "key": self.next_key()}
        return await self._step("tool", what, act, is_waiting=is_waiting)

    async def _step(
        self, kind: Literal["model", "tool"], what: dict[str, Any], act: Act, *, is_waiting: bool = False
    ) -> dict[str, Any]:
        step = Step(self._number + 1, kind, what)
        past = self._past[self._number] if self._number < len(self._past) else None
        if past is not None:
            refused = past.what.get("refused", [])[len(self._refused) :]
            if refused and refused[0]["call"] == what.get("call"):
                self._refused.append(refused[0])
                return {"error": refused[0]["error"]}
            _must_be_same(past, step)
            if past.outcome is not None:
                self._number += 1
                self._refused = []
                return past.outcome
        reserved = what.get("reserved", {})
        self._admit(reserved, is_new=past is None)
        if self._refused:
            what["refused"] = self._refused
        try:
            await self._journal.begin(step)
        except Refused as refusal:
            if kind == "tool" and refusal.code in TOLD:
                error = refusal.as_dict() | ({"errors": refusal.errors} if refusal.errors else {})
                self._refused = [*self._refused, {"call": what["call"], "error": error}]
                return {"error": error}
            raise as_task_error(refusal) from None
        self._number += 1
        self._refused = []
        step.outcome = await self._act(step, act, is_waiting)
        self._settle(step, reserved)
        try:
            await self._journal.end(step)
        except Refused as refusal:
            raise as_task_error(refusal) from None
        if is_spent(step.outcome):
            raise TaskError("agent_budget", step.outcome["error"]["message"], transient=False)
        return step.outcome

    async def _act(self, step: Step, act: Act, is_waiting: bool) -> dict[str, Any]:
        assert self._until is not None
        begun = time.monotonic()
        try:
            async with asyncio.timeout_at(None if is_waiting else _loop_time(self._until)) as limit:
                return await act(step)
        except TimeoutError:
            if not limit.expired():
                return {"error": {"code": "timeout", "message": "No answer came in time."}}
            message = f"The agent's budget of {self._seconds:g} s is used up."
            return {"error": {"code": "agent_budget", "message": message}, **_reserved_as_used(step)}
        finally:
            if is_waiting:
                self._until += time.monotonic() - begun

    def _admit(self, reserved: Mapping[str, Any], *, is_new: bool) -> None:
        """Raises TaskError `agent_budget` when what the step may take is more than what is left."""
        if is_new and self._steps < 1:
            raise _over("steps", 1, self._steps)
        if self._until is None:
            self._until = time.monotonic() + self._seconds
        if time.monotonic() >= self._until:
            raise _over("seconds", 1, 0)
        if reserved.get("tokens", 0) > self._tokens:
            raise _over("tokens", reserved["tokens"], self._tokens)
        if (reserved.get("cost") or 0) > self._cost:
            raise _over("cost", reserved["cost"], self._cost)
        self._steps -= 1 if is_new else 0

    def _settle(self, step: Step, reserved: Mapping[str, Any]) -> None:
        assert step.outcome is not None
        if step.kind == "model":
            usage = step.outcome["usage"]
            self._tokens -= usage["input_tokens"] + usage["output_tokens"]
            self._cost -= step.outcome["cost"] or 0


def _loop_time(until: float) -> float:
    return asyncio.get_running_loop().time() + until - time.monotonic()


def _reserved_as_used(step: Step) -> dict[str, Any]:
    """What a model call is charged with whose end is not known: all that was reserved."""
    if step.kind != "model":
        return {}
    reserved = step.what["reserved"]
    usage = {"input_tokens": reserved["tokens"], "output_tokens": 0}
    return {"usage": usage, "cost": reserved["cost"], "model": step.what["model"]}


def _over(part: str, wanted: float, left: float) -> TaskError:
    return TaskError(
        "agent_budget",
        f"The next step may take {wanted:g} {part}; {max(left, 0):g} are left of the budget.",
        transient=False,
        pointer=f"/config/budget/{part}",
        hint=f"Raise `budget.{part}`, or give the agent less to do.",
    )


def is_spent(outcome: Mapping[str, Any]) -> bool:
    error = outcome.get("error")
    return isinstance(error, dict) and error.get("code") == "agent_budget"


def _must_be_same(past: Step, now: Step) -> None:
    """Raises TaskError: a silent difference would be a second payment, or an effect under a key of another one."""
    if past.number == now.number and past.kind == now.kind and _meaning(past) == _meaning(now):
        return
    raise TaskError(
        "agent_nondeterministic",
        f"Step {now.number} was recorded as {_named(past)}; now it would be {_named(now)}, or ask something else.",
        transient=False,
        hint="Start a new run; a change of AOB between the attempts is the usual cause.",
    )


def _meaning(step: Step) -> str:
    parts = ("model", "request") if step.kind == "model" else ("tool", "args", "key")
    return value_hash([step.what.get(part) for part in parts])


def _named(step: Step) -> str:
    return f"a call of {step.what.get('model') if step.kind == 'model' else step.what.get('tool')!r}"


def as_task_error(refusal: AobError) -> TaskError:
    """A refusal that ends the agent, in the words of tasks."""
    code = "agent_budget" if refusal.code == "budget_exhausted" else refusal.code
    return TaskError(code, refusal.message, transient=code == "agent_stopped", pointer=refusal.pointer, hint=refusal.hint)
