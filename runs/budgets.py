"""What agents use, counted against every budget that bounds it, in the transaction of the step (hazards L4, I16).

A step counts for its agent's node, for the agents whose patches brought that node, and for its run; and so on upwards,
for the agents whose patches brought the node that started the run, and for the run above. Each has a row of `agent_use`,
and each workflow among them a row of the day. Whoever reserves holds the rows of the root until the commit, so of two
calls at one time the second sees what the first has reserved, in whatever runs they are made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from django.conf import settings

from runs import db
from runs.core import agents as rules
from runs.core import paths
from runs.core.agents import MICRODOLLARS, MICROSECONDS, StepRefused
from runs.holding import Held
from runs.irs import ir_of
from workflows.nodes.agent import budget_of

UNITS = {"tokens": 1, "cost": MICRODOLLARS, "steps": 1, "seconds": MICROSECONDS}
"""So many of what is counted are one of a budget's."""


class _Run(msgspec.Struct, frozen=True):
    """A run whose limits bound a step: what it runs now and began with, and who brought the node that started it."""

    id: str
    workflow: str
    version: str
    base: str
    brought_by: list[str]


class _Budget(msgspec.Struct, frozen=True):
    """What a row of `agent_use` is bounded by. `whose` and `place` (with the part in it) say it to people."""

    run: str
    node: str
    limits: Mapping[str, Any]
    whose: str
    place: str


def reserve(held: Held, node: str, data: Mapping[str, Any]) -> None:
    """Counts what a step may use that is about to begin, as its event says. Raises StepRefused beyond a limit."""
    agent = held.state.active[node].agent
    is_again = agent is not None and agent.open
    reserved = data.get("reserved", {})
    runs = _lineage(held)
    if reserved:
        _count_today(held, runs, reserved.get("tokens", 0), reserved.get("cost", 0), is_limited=True)
    budgets = _budgets(held, node, runs)
    more = {
        "tokens": reserved.get("tokens", 0),
        "cost": reserved.get("cost", 0),
        "steps": 0 if is_again else 1,
        "micros": data.get("took", 0),
    }
    sums = _count(held, budgets, more)
    for budget in budgets:
        _check(budget, sums[budget.run, budget.node], is_call=bool(reserved))


def settle(held: Held, node: str, data: Mapping[str, Any]) -> None:
    """Counts what a step has used that is about to end, in the place of what it had reserved."""
    agent = held.state.active[node].agent
    assert agent is not None
    used = data.get("used", {})
    tokens, cost = used.get("tokens", 0) - agent.reserved_tokens, used.get("cost", 0) - agent.reserved_cost
    runs = _lineage(held)
    if tokens or cost:
        _count_today(held, runs, tokens, cost, is_limited=False)
    _count(
        held,
        _budgets(held, node, runs),
        {"tokens": tokens, "cost": cost, "steps": 0, "micros": data.get("took", 0)},
    )


def left(held: Held, node: str) -> dict[str, Any]:
    """What an agent may still use of its node's budget, and of those of the agents that brought it."""
    budget = rules.left(held.state, ir_of, node)
    nodes = [node, *rules.brought_by(held.state, node)]
    rows = held.cursor.execute(
        "SELECT node, tokens, cost, steps, micros FROM agent_use WHERE run_id = %s AND node = ANY(%s)",
        [held.state.run_id, nodes],
    ).fetchall()
    used = {row[0]: row[1:] for row in rows}
    for one in nodes:
        whole = budget_of(rules.node_of(held.state, ir_of, one).config.literal)
        for (what, unit), amount in zip(UNITS.items(), used.get(one, (0, 0, 0, 0)), strict=True):
            rest = whole[what] - (amount if unit == 1 else amount / unit)
            budget[what] = min(budget[what], max(rest, 0))
    return budget


def used_by_run(run_id: str) -> dict[str, int] | None:
    """What the agents of a run and of the runs that it started used or reserved, as it is counted; None without any."""
    with db.statement() as cursor:
        row = cursor.execute(
            "SELECT tokens, cost, steps, micros FROM agent_use WHERE run_id = %s AND node = ''", [run_id]
        ).fetchone()
    return None if row is None else dict(zip(("tokens", "cost", "steps", "micros"), row, strict=True))


def _lineage(held: Held) -> list[_Run]:
    """The runs whose limits bound a step of this one: itself at the end, the root first."""
    rows = held.cursor.execute(db.sql("lineage"), {"run": held.state.run_id}).fetchall()
    return [_Run(run, workflow, version, base, by or []) for run, workflow, version, base, by in rows]


def _budgets(held: Held, node: str, runs: Sequence[_Run]) -> list[_Budget]:
    """Every budget that bounds a step of a node, the root's first, which is always locked first."""
    found = []
    for run, below in zip(runs, [*runs[1:], None], strict=True):
        whose = "this run" if below is None else f"the run {run.id} and of those that it started"
        found.append(_Budget(run.id, "", ir_of(run.base).agent_limits, whose, "limits.agents.{} of the workflow"))
        authors = rules.brought_by(held.state, node) if below is None else below.brought_by
        for author in reversed(authors):
            whose = f"{author!r}, with those that its patches brought,"
            found.append(_Budget(run.id, author, _budget_at(run, author), whose, f"budget.{{}} of {author!r}"))
    whole = budget_of(rules.node_of(held.state, ir_of, node).config.literal)
    return [*found, _Budget(held.state.run_id, node, whole, "this node", "budget.{} of the node")]


def _budget_at(run: _Run, path: str) -> dict[str, Any]:
    """The budget of an agent that has started, which no patch changes any more."""
    frame, name = paths.split(path)
    return budget_of(ir_of(run.version).graphs[paths.graph_key(frame)].nodes[name].config.literal)


def _count(held: Held, budgets: Sequence[_Budget], more: Mapping[str, int]) -> dict[tuple[str, str], tuple[int, ...]]:
    columns = {"runs": [one.run for one in budgets], "nodes": [one.node for one in budgets]}
    rows = held.cursor.execute(db.sql("use"), {**columns, **more}).fetchall()
    return {(run, node): tuple(sums) for run, node, *sums in rows}


def _check(budget: _Budget, sums: Sequence[int], *, is_call: bool) -> None:
    for (what, unit), used in zip(UNITS.items(), sums, strict=True):
        limit = budget.limits.get(what)
        if limit is None or (what in ("tokens", "cost") and not is_call):
            continue
        # Seconds are counted when they are over: those of the step that begins come later.
        if used > round(limit * unit) or (what == "seconds" and used >= limit * unit):
            raise rules.exhausted(what, budget.whose, limit, budget.place.format(what))


def _count_today(held: Held, runs: Sequence[_Run], tokens: int, cost: int, *, is_limited: bool) -> None:
    """Counts into today's sums of all and of each workflow among the runs. Raises StepRefused beyond a limit."""
    of_all = {"daily_tokens": settings.AOB_AGENT_DAILY_TOKENS, "daily_cost": settings.AOB_AGENT_DAILY_COST}
    limits = [("", of_all), *((run.workflow, ir_of(run.base).agent_limits) for run in runs)]
    sums: dict[str, Any] = {}
    for workflow in dict.fromkeys(name for name, _ in limits):
        more = {"workflow": workflow, "tokens": tokens, "cost": cost}
        sums[workflow] = held.cursor.execute(db.sql("spend"), more).fetchone()
    for workflow, limit_of in limits if is_limited else ():
        for what, used in zip(("tokens", "cost"), sums[workflow], strict=True):
            limit = limit_of.get(f"daily_{what}")
            if limit is None or used <= round(limit * UNITS[what]):
                continue
            setting = f"limits.agents.daily_{what}" if workflow else f"AOB_AGENT_DAILY_{what.upper()}"
            raise StepRefused(
                "budget_exhausted",
                f"The next call would go beyond today's limit of {what} of " + (workflow or "this AOB") + ".",
                hint=f"Raise {setting}, or wait until tomorrow (UTC).",
            )
