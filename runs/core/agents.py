"""Whether an agent may make its next step: its attempt still counts, the step follows the last one, the budgets have room
(pure; hazards L4, I16). A model call reserves its tokens and cost before it is made.

Of what a runner says of a call is trusted: that it sends what it records as the request and nothing beside it, what the
call costs, of which only the runner knows the price, and how much of the reservation was used. It reserves at least
what the recorded request may take, and no call counts as more than it reserved, or as less than nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runs.core import paths
from runs.core.fold import Graphs, graph_of
from runs.core.state import Activation, Agent, State
from workflows.core.errors import AobError
from workflows.core.ir import NodeIR
from workflows.nodes.agent import DEFAULT_MAX_TOKENS, budget_of, most_tokens

MICRODOLLARS = MICROSECONDS = 1_000_000
MAX_TOKENS, MAX_COST = 100_000_000, 100_000
"""No budget of an agent is larger, so no call takes more; the cost is in US dollars."""


class StepRefused(AobError):
    """A step that is not made: `agent_stopped` and `budget_exhausted` end the agent's loop, `run_paused` lets it wait."""


def check_step(state: State, irs: Graphs, path: str, data: dict[str, Any]) -> None:
    """Raises StepRefused when a step may not begin. `data` is the event's: attempt, step, kind, reserved, took."""
    agent = live(state, path, data["attempt"]).agent or Agent()
    if state.paused:
        raise StepRefused("run_paused", "The run is paused.", hint="It goes on when somebody resumes it.")
    number = agent.step if agent.open else agent.step + 1
    if data["step"] != number:
        raise StepRefused("step_out_of_order", f"The next step is {number}, not {data['step']}.", "/step/number")
    if data["kind"] == "model":
        _check_budgets(state, irs, path, agent, data.get("reserved", {}))
    budget = budget_of(node_of(state, irs, path).config.literal)
    if number > budget["steps"]:
        raise exhausted("steps", "this node", budget["steps"], "budget.steps of the node")
    if agent.time + data.get("took", 0) >= budget["seconds"] * MICROSECONDS:
        raise exhausted("seconds", "this node", budget["seconds"], "budget.seconds of the node")


def check_end(state: State, path: str, data: dict[str, Any], *, begun_as: str) -> None:
    """Raises StepRefused when the step that is to end does not go on, or began as one of another kind."""
    agent = live(state, path, data["attempt"]).agent or Agent()
    if not agent.open or agent.step != data["step"] or data["kind"] != begun_as:
        raise StepRefused("step_out_of_order", f"Step {data['step']} does not go on.", "/step/number")


def live(state: State, path: str, attempt: int) -> Activation:
    """The activation of an agent's attempt. Raises StepRefused `agent_stopped` when it no longer counts."""
    activation = state.active.get(path)
    if (
        state.ended
        or state.cancel is not None
        or activation is None
        or activation.kind != "task"
        or activation.attempt != attempt
        or activation.retrying
        or activation.result is not None
    ):
        raise StepRefused("agent_stopped", "The run went on without this attempt.")
    return activation


def is_known(state: State, path: str, data: dict[str, Any], *, open_: bool) -> bool:
    """Whether this attempt has said so before: its answer was lost, and it says it again."""
    agent = live(state, path, data["attempt"]).agent or Agent()
    return (agent.step, agent.attempt, agent.open) == (data["step"], data["attempt"], open_)


def reserved_by(what: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, int]:
    """What a model call reserves: tokens, and cost in millionths of a dollar. Raises StepRefused `step_invalid`.

    `config` is the agent's, which says how long an answer may be.
    """
    told = what.get("reserved")
    if not isinstance(told, Mapping):
        raise _invalid("A model call says what it may take.", "/step/what/reserved")
    tokens = _tokens(told.get("tokens"), "/step/what/reserved/tokens")
    least = most_tokens(what.get("request")) + int(config.get("max_tokens", DEFAULT_MAX_TOKENS))
    if tokens < least:
        raise _invalid(f"This call may take {least} tokens; only {tokens} are reserved.", "/step/what/reserved/tokens")
    return {"tokens": tokens, "cost": _cost(told.get("cost"), "/step/what/reserved/cost") or 0}


def used_by(outcome: Mapping[str, Any], agent: Agent) -> dict[str, int]:
    """What a model call has used, at most what it had reserved. Raises StepRefused `step_invalid`.

    What it cost where nobody says so is what was reserved.
    """
    usage = outcome.get("usage")
    if not isinstance(usage, Mapping):
        raise _invalid("A model call says what it has used.", "/step/outcome/usage")
    tokens = sum(_tokens(usage.get(part), f"/step/outcome/usage/{part}") for part in ("input_tokens", "output_tokens"))
    cost = _cost(outcome.get("cost"), "/step/outcome/cost")
    return {
        "tokens": min(tokens, agent.reserved_tokens),
        "cost": agent.reserved_cost if cost is None else min(cost, agent.reserved_cost),
    }


def _tokens(told: Any, pointer: str) -> int:
    if not isinstance(told, int) or isinstance(told, bool) or not 0 <= told <= MAX_TOKENS:
        raise _invalid(f"Tokens are a whole number from 0 to {MAX_TOKENS}.", pointer)
    return told


def _cost(told: Any, pointer: str) -> int | None:
    """In millionths of a dollar; None where the price is not known."""
    if told is None:
        return None
    if not isinstance(told, (int, float)) or isinstance(told, bool) or not 0 <= told <= MAX_COST:
        raise _invalid(f"A cost is a number of US dollars from 0 to {MAX_COST}.", pointer)
    return round(told * MICRODOLLARS)


def _invalid(message: str, pointer: str) -> StepRefused:
    return StepRefused("step_invalid", message, pointer)


def _check_budgets(state: State, irs: Graphs, path: str, agent: Agent, reserved: dict[str, int]) -> None:
    budget = budget_of(node_of(state, irs, path).config.literal)
    whole = irs(state.base or state.version).agent_limits
    for what, more, own, all_ in (
        ("tokens", reserved.get("tokens", 0), agent.tokens, state.tokens),
        ("cost", reserved.get("cost", 0), agent.cost, state.cost),
    ):
        for used, limit, scope, place in (
            (own, budget.get(what), "this node", f"budget.{what} of the node"),
            (all_, whole.get(what), "this run", f"limits.agents.{what} of the workflow"),
        ):
            if limit is not None and used + more > (limit if what == "tokens" else round(limit * MICRODOLLARS)):
                raise exhausted(what, scope, limit, place)


def exhausted(what: str, whose: str, limit: Any, place: str) -> StepRefused:
    """The refusal of a step for which a budget has no room: `place` names it."""
    unit = "dollars" if what == "cost" else what
    return StepRefused(
        "budget_exhausted",
        f"The next call would take the agents of {whose} beyond {limit} {unit}.",
        hint=f"Raise {place}, or let them do less.",
    )


def node_of(state: State, irs: Graphs, path: str) -> NodeIR:
    frame, name = paths.split(path)
    return graph_of(state, irs, frame).nodes[name]


def brought_by(state: State, path: str) -> list[str]:
    """The agents whose patches brought a node: who brought it, who brought that one, and so on."""
    found: list[str] = []
    agent = state.granted.get(paths.graph_key(path))
    while agent is not None and agent not in found:
        found.append(agent)
        agent = state.granted.get(paths.graph_key(agent))
    return found


def left(state: State, irs: Graphs, path: str) -> dict[str, Any]:
    """What the agent may still use of its node's budget."""
    budget = budget_of(node_of(state, irs, path).config.literal)
    agent = state.active[path].agent or Agent()
    budget["tokens"] = max(budget["tokens"] - agent.tokens, 0)
    budget["cost"] = max(budget["cost"] - agent.cost / MICRODOLLARS, 0.0)
    budget["steps"] = max(budget["steps"] - agent.step, 0)
    budget["seconds"] = max(budget["seconds"] - agent.time / MICROSECONDS, 0.0)
    return budget
