"""Budgets of agents at the doors of the agent plane: what a runner says is checked, and nothing is spent beyond them."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from runs import agents, db, queries
from runs.agents import Lease
from runs.core.agents import StepRefused
from runs.sweeper import sweep
from runs.verify import verify
from tests.support.system import start

ROOM = 1_000
"""So many tokens an answer may have; what is asked is short."""


def agent(**config: Any) -> dict[str, Any]:
    return {"type": "agent", "config": {"model": "scripted:talk", "prompt": "Look", "max_tokens": ROOM, **config}}


def alone(**config: Any) -> str:
    return start({"name": "alone", "nodes": {"think": agent(**config)}})


def claimed(*runs: str) -> list[Lease]:
    """The leases of the agents of these runs, of all runs where none is named, in the order of their nodes."""
    found = [Lease(**task["lease"]) for task in agents.claim("tests", 100)]
    return sorted((one for one in found if not runs or one.run in runs), key=lambda one: (one.node, one.run))


def call(number: int = 1, *, tokens: Any = 2 * ROOM, cost: Any = None, request: Any = None) -> dict[str, Any]:
    what = {"model": "scripted:talk", "request": request or {}, "reserved": {"tokens": tokens, "cost": cost}}
    return {"number": number, "kind": "model", "what": what}


def answered(number: int = 1, *, tokens: Any = 10, cost: Any = None, **more: Any) -> dict[str, Any]:
    usage = {"input_tokens": tokens, "output_tokens": 0}
    return {**call(number), "outcome": {"answer": {}, "usage": usage, "cost": cost, **more}}


def tool(number: int = 1, name: str = "read_blob") -> dict[str, Any]:
    return {"number": number, "kind": "tool", "what": {"call": "c", "tool": name, "args": {}, "key": str(number)}}


def done(number: int = 1, name: str = "read_blob") -> dict[str, Any]:
    return {**tool(number, name), "outcome": {"result": 1}}


def used(run: str) -> tuple[int, int]:
    state = queries.state_of(run)
    return state.tokens, state.cost


def spent(run: str) -> tuple[int, int]:
    """What counts today of the workflow of a run."""
    with db.transaction() as cursor:
        row = cursor.execute(
            "SELECT s.tokens, s.cost FROM agent_spend s JOIN run USING (workflow) WHERE run.id = %s", [run]
        ).fetchone()
    return (0, 0) if row is None else (row[0], row[1])


@pytest.mark.parametrize(
    "reserved",
    [
        None,
        {},
        [],
        {"tokens": None},
        {"tokens": -5_000},
        {"tokens": 5_000.5},
        {"tokens": True},
        {"tokens": "5000"},
        {"tokens": math.nan},
        {"tokens": 10**12},
        {"tokens": ROOM - 1},
        {"tokens": 2 * ROOM, "cost": -1},
        {"tokens": 2 * ROOM, "cost": math.nan},
        {"tokens": 2 * ROOM, "cost": math.inf},
        {"tokens": 2 * ROOM, "cost": 1e300},
        {"tokens": 2 * ROOM, "cost": "1"},
    ],
)
def test_a_call_that_does_not_say_what_it_may_take_does_not_begin(reserved: Any) -> None:
    run = alone()
    [lease] = claimed(run)
    step = call()
    step["what"]["reserved"] = reserved
    with pytest.raises(StepRefused) as refused:
        agents.begin(lease, step)
    assert refused.value.code == "step_invalid" and (refused.value.pointer or "").startswith("/step/what/reserved")
    assert (used(run), spent(run)) == ((0, 0), (0, 0))


def test_a_reservation_covers_the_request_and_the_longest_answer() -> None:
    [lease] = claimed(alone())
    request = {"messages": [{"content": "ä" * 400}]}
    least = len(json.dumps(request, ensure_ascii=False, separators=(",", ":")).encode()) + ROOM
    with pytest.raises(StepRefused, match=f"may take {least} tokens"):
        agents.begin(lease, call(tokens=least - 1, request=request))
    agents.begin(lease, call(tokens=least, request=request))


@pytest.mark.parametrize(
    "outcome",
    [
        {},
        {"usage": None},
        {"usage": {"input_tokens": 10}},
        {"usage": {"input_tokens": -10_000, "output_tokens": 0}},
        {"usage": {"input_tokens": 20, "output_tokens": -10}},
        {"usage": {"input_tokens": math.nan, "output_tokens": 0}},
        {"usage": {"input_tokens": 10**15, "output_tokens": 0}},
        {"usage": {"input_tokens": 1, "output_tokens": 1}, "cost": -0.5},
        {"usage": {"input_tokens": 1, "output_tokens": 1}, "cost": math.nan},
    ],
)
def test_a_call_that_does_not_say_what_it_used_keeps_its_reservation(outcome: dict[str, Any]) -> None:
    run = alone()
    [lease] = claimed(run)
    agents.begin(lease, call(cost=0.25))
    with pytest.raises(StepRefused) as refused:
        agents.end(lease, {**call(), "outcome": outcome})
    assert refused.value.code == "step_invalid"
    assert used(run) == spent(run) == (2 * ROOM, 250_000)


def test_no_call_counts_as_more_than_it_reserved() -> None:
    run = alone()
    [lease] = claimed(run)
    agents.begin(lease, call(cost=0.25))
    agents.end(lease, answered(tokens=50 * ROOM, cost=90))
    assert used(run) == spent(run) == (2 * ROOM, 250_000)


def test_a_call_without_its_price_costs_what_it_reserved() -> None:
    run = alone()
    [lease] = claimed(run)
    agents.begin(lease, call(cost=0.25))
    agents.end(lease, answered(tokens=7))
    assert used(run) == spent(run) == (7, 250_000)


def test_a_call_does_not_end_as_a_tool_and_take_its_reservation_back() -> None:
    run = alone()
    [lease] = claimed(run)
    agents.begin(lease, call())
    with pytest.raises(StepRefused, match="does not go on"):
        agents.end(lease, done())
    assert used(run) == spent(run) == (2 * ROOM, 0)


def test_steps_are_counted_over_all_attempts_by_the_server() -> None:
    run = alone(budget={"steps": 2}, tools=["read_blob"])
    [lease] = claimed(run)
    agents.begin(lease, call())
    agents.end(lease, answered())
    agents.begin(lease, tool(2))
    lose(lease)
    [again] = claimed(run)
    agents.begin(again, tool(2))
    agents.end(again, done(2))
    for step in (tool(3), call(3)):
        with pytest.raises(StepRefused, match="beyond 2 steps") as refused:
            agents.begin(again, step)
        assert refused.value.code == "budget_exhausted"


def lose(lease: Lease) -> None:
    """The runner falls silent, and its lease runs out."""
    with db.transaction() as cursor:
        cursor.execute("UPDATE task SET lease_until = clock_timestamp() WHERE id = %s", [lease.task])
    sweep()
    from runs import services

    services.advancer().runs([lease.run])


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lets time pass for who holds a run, and for the sweeper."""
    from runs import holding

    passed = 0
    claim_runs = holding.claim_runs

    def later(*given: Any) -> Any:
        claim = claim_runs(*given)
        claim.now += passed
        return claim

    def go_on(seconds: float) -> None:
        nonlocal passed
        passed += round(seconds * 1_000_000)

    monkeypatch.setattr(holding, "claim_runs", later)
    return go_on


def told(lease: Lease) -> Any:
    """What is left of the budget of an agent that a runner claims once more."""
    lose(lease)
    [task] = [one for one in agents.claim("tests", 100) if one["run"] == lease.run]
    return Lease(**task["lease"]), task["budget"]


def test_the_seconds_of_a_node_are_one_budget_for_all_its_attempts(clock: Any) -> None:
    run = alone(budget={"seconds": 60}, tools=["read_blob"])
    [lease] = claimed(run)
    agents.begin(lease, call())
    clock(40)
    agents.end(lease, answered())
    clock(1_000)
    lease, budget = told(lease)
    assert 19 < budget["seconds"] < 20.1
    agents.begin(lease, tool(2))
    clock(21)
    agents.end(lease, done(2))
    with pytest.raises(StepRefused, match="beyond 60 seconds") as refused:
        agents.begin(lease, call(3))
    assert refused.value.code == "budget_exhausted" and "budget.seconds" in (refused.value.hint or "")
    lease, budget = told(lease)
    assert budget["seconds"] == 0
    assert verify(run)["ok"]


def test_what_waits_for_people_or_other_runs_takes_no_seconds(clock: Any) -> None:
    run = alone(budget={"seconds": 60}, tools=["ask_human", {"type": "workflow", "name": "other"}], consent="all")
    [lease] = claimed(run)
    for number, name in enumerate(("ask_human", "workflow_other", "ask_consent"), 1):
        agents.begin(lease, tool(number, name))
        clock(1_000)
        agents.end(lease, done(number, name))
    assert told(lease)[1]["seconds"] > 59


def test_a_tool_that_waits_is_one_that_the_agent_has(clock: Any) -> None:
    run = alone(budget={"seconds": 60})
    [lease] = claimed(run)
    agents.begin(lease, tool(1, "ask_human"))
    clock(1_000)
    agents.end(lease, done(1, "ask_human"))
    with pytest.raises(StepRefused, match="beyond 60 seconds"):
        agents.begin(lease, tool(2))


def test_a_lost_step_went_on_as_long_as_its_runner_was_heard_of() -> None:
    """The lease is found expired much later, when the whole installation was away for an hour."""
    run = alone(budget={"seconds": 60})
    [lease] = claimed(run)
    agents.begin(lease, call())
    with db.transaction() as cursor:
        row = cursor.execute(
            "UPDATE task SET lease_until = clock_timestamp() - interval '1 hour' WHERE id = %s"
            " RETURNING (extract(epoch FROM lease_until) * 1000000)::bigint",
            [lease.task],
        ).fetchone()
        assert row is not None
    sweep()
    assert [data["alive"] for kind, data in inbox(run) if kind == "TaskLost"] == [row[0] - 3_000_000]


def inbox(run: str) -> list[tuple[str, dict[str, Any]]]:
    with db.transaction() as cursor:
        return [*cursor.execute("SELECT type, data FROM run_inbox WHERE run_id = %s ORDER BY id", [run])]


def test_a_step_that_is_lost_again_and_again_uses_up_the_seconds() -> None:
    run = alone(budget={"seconds": 60})
    for _ in range(2):
        [lease] = claimed(run)
        agents.begin(lease, call())
        with db.transaction() as cursor:
            cursor.execute("DELETE FROM task WHERE id = %s", [lease.task])
        now = queries.state_of(run).now
        tell(run, "TaskLost", {"attempt": lease.attempt, "worker": "gone", "alive": now + 40_000_000})
    [lease] = claimed(run)
    with pytest.raises(StepRefused, match="beyond 60 seconds"):
        agents.begin(lease, call())


def tell(run: str, kind: str, data: dict[str, Any]) -> None:
    from runs import services
    from runs.coordinator import tell_all
    from runs.core.events import Fact

    tell_all(services.advancer(), [(run, Fact(kind, "think", data))])
