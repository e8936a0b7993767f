"""Whether an agent may make its next step: its attempt still counts, the step follows the last one, the budgets have room
(pure; hazards L4, I16). A model call reserves its tokens and cost before it is made.
"""

from __future__ import annotations

from typing import Any

from runs.core import paths
from runs.core.fold import Graphs, graph_of
from runs.core.state import Activation, Agent, State
from workflows.core.errors import AobError
from workflows.core.ir import NodeIR
from workflows.nodes.agent import budget_of

MICRODOLLARS = 1_000_000


class StepRefused(AobError):
    """A step that is not made: `agent_stopped` and `budget_exhausted` end the agent's loop, `run_paused` lets it wait."""


def check_step(state: State, irs: Graphs, path: str, data: dict[str, Any]) -> None:
    """Raises StepRefused when a step may not begin. `data` is the event's: attempt, step, kind, reserved."""
    agent = live(state, path, data["attempt"]).agent or Agent()
    if state.paused:
        raise StepRefused("run_paused", "The run is paused.", hint="It goes on when somebody resumes it.")
    number = agent.step if agent.open else agent.step + 1
    if data["step"] != number:
        raise StepRefused("step_out_of_order", f"The next step is {number}, not {data['step']}.", "/step/number")
    if data["kind"] == "model":
        _check_budgets(state, irs, path, agent, data.get("reserved", {}))
    steps = budget_of(node_of(state, irs, path).config.literal).get("steps")
    if steps is not None and number > steps:
        raise _exhausted("steps", "node", steps, "budget.steps of the node")


def check_end(state: State, path: str, data: dict[str, Any]) -> None:
    """Raises StepRefused when the step that is to end does not go on."""
    agent = live(state, path, data["attempt"]).agent or Agent()
    if not agent.open or agent.step != data["step"]:
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


def _check_budgets(state: State, irs: Graphs, path: str, agent: Agent, reserved: dict[str, int]) -> None:
    budget = budget_of(node_of(state, irs, path).config.literal)
    whole = irs(state.base or state.version).agent_limits
    for what, more, own, all_ in (
        ("tokens", reserved.get("tokens", 0), agent.tokens, state.tokens),
        ("cost", reserved.get("cost", 0), agent.cost, state.cost),
    ):
        for used, limit, scope, place in (
            (own, budget.get(what), "node", f"budget.{what} of the node"),
            (all_, whole.get(what), "run", f"limits.agents.{what} of the workflow"),
        ):
            if limit is not None and used + more > (limit if what == "tokens" else round(limit * MICRODOLLARS)):
                raise _exhausted(what, scope, limit, place)


def _exhausted(what: str, scope: str, limit: Any, place: str) -> StepRefused:
    unit = {"cost": " dollars", "steps": " steps", "tokens": " tokens"}[what]
    return StepRefused(
        "budget_exhausted",
        f"The next call would take the agents of this {scope} beyond {limit}{unit}.",
        hint=f"Raise {place}, or let them do less.",
    )


def node_of(state: State, irs: Graphs, path: str) -> NodeIR:
    frame, name = paths.split(path)
    return graph_of(state, irs, frame).nodes[name]


def left(state: State, irs: Graphs, path: str) -> dict[str, Any]:
    """What the agent may still use of its node's budget."""
    budget = budget_of(node_of(state, irs, path).config.literal)
    agent = state.active[path].agent or Agent()
    budget["tokens"] = max(budget["tokens"] - agent.tokens, 0)
    budget["cost"] = max(budget["cost"] - agent.cost / MICRODOLLARS, 0.0)
    budget["steps"] = max(budget["steps"] - agent.step, 0)
    return budget
