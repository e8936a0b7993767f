"""Simulations: what would follow, and that trying it out costs no more than its budget."""

from __future__ import annotations

from typing import Any

import pytest

from runs.core.events import Event
from runs.core.rehearsal import would_go
from runs.core.simulate import Budget, Forecast, simulate
from tests.support.engine import Engine
from tests.unit.runs_core.test_engine import graph, value
from workflows.core.effort import Stopped, bounded
from workflows.core.expressions import compile_expression


def foreseen(nodes: dict[str, Any], budget: Budget | None = None) -> Forecast:
    """What follows when these nodes come to a run that waits for a signal."""
    document = graph({"wait": {"type": "signal", "config": {"name": "go"}}})
    engine = Engine(document).run()
    version = engine.add_version({**document, "nodes": {**document["nodes"], **nodes}})
    by = {"kind": "person", "name": "ada"}
    data = {"patch": "p", "by": by, "before": engine.state.version, "version": version}
    event = Event(engine.state.seq + 1, "PatchApplied", engine.now, None, data)
    return simulate(engine.state, event, engine.irs.__getitem__, engine.values, {}, budget)


def test_a_forecast_names_the_state_that_it_is_made_of() -> None:
    told = foreseen({"a": value("{{ 1 + 1 }}")})
    assert (told.complete, told.stopped_at, told.seq, told.starts) == (True, None, 2, ["a"])


@pytest.mark.parametrize("budget", [Budget(evaluations=3), None])
def test_a_spent_budget_cuts_it_off_and_says_where(budget: Budget | None) -> None:
    looked = iter([False] * 12 + [True] * 1_000)
    told = foreseen({f"n{number}": value("{{ 1 + 1 }}") for number in range(9)}, budget or Budget(lambda: next(looked)))
    assert not told.complete and told.failures == [] and told.status is None
    assert 0 < len(told.starts) < 9 and told.stopped_at == f"n{len(told.starts)}"


def test_a_single_node_and_a_single_expression_are_cut_off_as_well() -> None:
    many = {f"k{number}": "{{ 1 + 1 }}" for number in range(100)}
    told = foreseen({"a": value(many), "b": value(1)}, Budget(evaluations=50))
    assert (told.starts, told.stopped_at, told.failures) == ([], "a", [])
    calls = ", ".join(["[1, 2].sum()"] * 100)
    told = foreseen({"a": value(f"{{{{ [{calls}] }}}}")}, Budget(evaluations=50))
    assert (told.starts, told.stopped_at, told.failures) == ([], "a", [])


def test_a_rehearsal_keeps_to_its_budget() -> None:
    engine = Engine(graph({f"n{number}": value("{{ 1 + 1 }}") for number in range(9)})).run()
    with pytest.raises(Stopped):
        would_go(engine.log, engine.state.version, {}, engine.irs.__getitem__, engine.values, Budget(evaluations=5))


def test_an_expression_that_fails_by_itself_fails_as_ever_within_a_budget() -> None:
    expression = compile_expression("1 / 0", pointer="", allowed=frozenset())
    with bounded(Budget().spend), pytest.raises(Exception, match="divide by zero"):
        expression.evaluate({})
