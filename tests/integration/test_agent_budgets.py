"""Budgets of agents at the doors of the agent plane: what a runner says is checked, and nothing is spent beyond them."""

from __future__ import annotations

import json
import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from runs import agents, budgets, conversations, db, queries, services, timeline
from runs.agents import Lease
from runs.coordinator import tell_all
from runs.core.agents import StepRefused, brought_by
from runs.core.events import Fact
from runs.core.state import State
from runs.sweeper import retain, sweep
from runs.verify import verify
from tests.support.spending import overspent
from tests.support.system import start
from workflows.services import push

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
    tell_all(services.advancer(), [(run, Fact(kind, "think", data))])


def subworkflow(name: str, **more: Any) -> dict[str, Any]:
    return {"type": "subworkflow", "config": {"workflow": name}, **more}


def each(node: dict[str, Any], items: int) -> dict[str, Any]:
    config = {"items": f"range({items})", "max_concurrency": items, "on_item_error": "collect"}
    return {"type": "map", "config": {**config, "body": {"nodes": {"one": node}}}}


def push_family(**limits: Any) -> None:
    """`child` has an agent; `middle` runs it, under limits of its own."""
    push({"name": "child", "nodes": {"think": agent(budget={"tokens": 100_000})}}, tag="latest")
    push({"name": "middle", "nodes": {"down": subworkflow("child")}, "limits": {"agents": limits}}, tag="latest")


def parent(node: dict[str, Any], *, items: int = 4, **limits: Any) -> str:
    whole = {"max_agents": 100, "agents": limits}
    run = start({"name": "parent", "limits": whole, "nodes": {"each": each(node, items)}})
    while services.advancer().ready().more:
        pass
    return run


def begun(leases: list[Lease], step: dict[str, Any]) -> tuple[int, list[StepRefused]]:
    """How many of the agents could begin a step, and why the others could not."""
    refusals = []
    for lease in leases:
        try:
            agents.begin(lease, step)
        except StepRefused as refused:
            refusals.append(refused)
    return len(leases) - len(refusals), refusals


@pytest.mark.parametrize("below", ["child", "middle"])
@pytest.mark.parametrize(
    ("limits", "fit"),
    [
        ({"tokens": 500}, 0),
        ({"tokens": 5_000}, 2),
        ({"cost": 0.6}, 1),
        ({"steps": 3}, 3),
        ({"seconds": 0}, 0),
        ({"daily_tokens": 5_000}, 2),
        ({"daily_cost": 0.9}, 2),
        ({}, 4),
    ],
)
def test_what_child_runs_use_counts_against_the_budgets_of_the_run_above(
    below: str, limits: dict[str, Any], fit: int
) -> None:
    push_family()
    run = parent(subworkflow(below), **limits)
    leases = claimed()
    assert len(leases) == 4 and run not in {lease.run for lease in leases}
    count, refusals = begun(leases, call(cost=0.4))
    assert count == fit and all(one.code == "budget_exhausted" for one in refusals)
    assert overspent_here() == []


def test_a_run_between_has_limits_of_its_own() -> None:
    push_family(tokens=1_999)
    parent(subworkflow("middle"), tokens=100_000)
    count, refusals = begun(claimed(), call())
    assert count == 0 and "of those that it started beyond 1999 tokens" in refusals[0].message


def test_what_a_child_run_did_not_use_is_free_for_the_others() -> None:
    push_family()
    run = parent(subworkflow("child"), tokens=2 * ROOM + 30)
    leases = claimed()
    for lease in leases:
        agents.begin(lease, call())
        agents.end(lease, answered(tokens=10))
    assert used_by_all(run) == (40, 0, 4)
    with pytest.raises(StepRefused, match=f"beyond {2 * ROOM + 30} tokens"):
        agents.begin(leases[0], call(2))
    assert used_by_all(run) == (40, 0, 4) and overspent_here() == []


def test_a_page_of_a_run_tells_what_its_child_runs_used() -> None:
    push_family()
    run = parent(subworkflow("child"), tokens=10 * ROOM, steps=9)
    lease = claimed()[0]
    agents.begin(lease, call(cost=0.5))
    with timeline.held(run) as found:
        meters = conversations.whole(found, budgets.used_by_run(run))
    assert [(one.what, one.used, one.limit) for one in meters] == [
        ("tokens", 2 * ROOM, 10 * ROOM), ("cost", 0.5, None), ("steps", 1, 9), ("seconds", 0, None),
    ]  # fmt: skip


def test_a_lost_call_of_a_child_run_stays_reserved_above() -> None:
    push_family()
    run = parent(subworkflow("child"), tokens=5 * ROOM)
    first = claimed()[0]
    agents.begin(first, call())
    lose(first)
    [again] = claimed(first.run)
    agents.begin(again, call())
    agents.end(again, answered())
    assert used_by_all(run) == (2 * ROOM + 10, 0, 1)
    assert [used_by_all(first.run), used(first.run), spent(run)] == [
        (2 * ROOM + 10, 0, 1),
        (2 * ROOM + 10, 0),
        (2 * ROOM + 10, 0),
    ]
    agents.begin(again, call(2))
    lose(again)
    [again] = claimed(first.run)
    with pytest.raises(StepRefused, match="beyond 5000 tokens"):
        agents.begin(again, call(2))


def test_calls_of_many_child_runs_at_one_time_stay_within_the_budget_of_the_run_above() -> None:
    push_family()
    run = parent(subworkflow("child"), items=24, tokens=10 * ROOM, steps=100)
    leases = claimed()
    assert len(leases) == 24

    def work(lease: Lease) -> int:
        try:
            agents.begin(lease, call(cost=0.001))
        except StepRefused:
            return 0
        return 1

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(work, leases)) == 5
    assert used_by_all(run) == (10 * ROOM, 5_000, 5)
    with ThreadPoolExecutor(6) as pool:
        ends = pool.map(
            lambda lease: agents.end(lease, answered(tokens=ROOM)), [one for one in leases if used(one.run) != (0, 0)]
        )
        assert list(ends) == [None] * 5
    assert used_by_all(run) == (5 * ROOM, 5_000, 5) and overspent_here() == []


def used_by_all(run: str) -> tuple[int, int, int]:
    """Tokens, cost and steps of a run and of those that it started."""
    found = budgets.used_by_run(run)
    return (0, 0, 0) if found is None else (found["tokens"], found["cost"], found["steps"])


def overspent_here() -> list[str]:
    with db.transaction() as cursor:
        return overspent(cursor.connection)


MORE = {"type": "agent", "config": {"model": "scripted:talk", "prompt": "Go on", "max_tokens": ROOM}}


def author(node: dict[str, Any] = MORE, **budget: Any) -> tuple[str, Lease]:
    """A run whose agent has used a thousand tokens, and added a node."""
    may = {"node_types": ["agent", "subworkflow"], "workflows": ["child"]}
    thinks = agent(budget=budget, patches="auto", may_add=may)
    run = start({"name": "authored", "nodes": {"think": thinks}})
    [lease] = claimed(run)
    agents.begin(lease, call(cost=0.1))
    agents.end(lease, answered(tokens=ROOM, cost=0.1))
    patch = agents.patch(lease, "1", [{"op": "add", "path": "/nodes/more", "value": node}], "More is needed.")
    assert patch["status"] == "applied"
    return run, lease


@pytest.mark.parametrize("is_over", [False, True])
@pytest.mark.parametrize(
    ("budget", "what"),
    [
        ({"tokens": 3 * ROOM - 1}, "2999 tokens"),
        ({"cost": 0.15}, "0.15 dollars"),
        ({"steps": 1}, "1 steps"),
    ],
)
def test_an_agent_that_an_agent_added_has_what_is_left_of_its_authors_budget(
    is_over: bool, budget: dict[str, Any], what: str
) -> None:
    run, thinks = author(**budget)
    if is_over:
        agents.finish(thinks, output="done")
    [more] = [one for one in claimed(run) if one.node == "more"]
    with pytest.raises(StepRefused, match=f"'think', with those that its patches brought, beyond {what}") as refused:
        agents.begin(more, call(cost=0.1))
    assert refused.value.code == "budget_exhausted" and "of 'think'" in (refused.value.hint or "")
    assert overspent_here() == [] and verify(run)["ok"]


def test_what_an_added_agent_uses_is_not_left_for_its_author() -> None:
    run, thinks = author(tokens=4 * ROOM)
    [task] = [one for one in agents.claim("tests", 100) if one["run"] == run]
    assert task["budget"]["tokens"] == 3 * ROOM
    more = Lease(**task["lease"])
    agents.begin(more, call(tokens=3 * ROOM))
    with pytest.raises(StepRefused, match="beyond 4000 tokens"):
        agents.begin(thinks, call(2, tokens=ROOM + 10))
    agents.end(more, answered(tokens=10))
    agents.begin(thinks, call(2))
    assert overspent_here() == []


def test_the_seconds_of_an_added_agent_are_its_authors(clock: Any) -> None:
    run, thinks = author(seconds=60)
    [more] = claimed(run)
    agents.begin(more, call())
    clock(50)
    agents.end(more, answered())
    agents.begin(more, tool(2))
    clock(15)
    agents.end(more, done(2))
    for lease, step in ((more, call(3)), (thinks, call(2))):
        with pytest.raises(StepRefused, match="beyond 60 seconds"):
            agents.begin(lease, step)


def test_a_child_run_that_an_agent_added_has_what_is_left_of_its_authors_budget() -> None:
    push_family()
    run, thinks = author(subworkflow("child"), tokens=3 * ROOM - 1)
    services.advancer().ready()
    [inner] = claimed()
    assert inner.run != run
    with pytest.raises(StepRefused, match="'think', with those that its patches brought, beyond 2999 tokens"):
        agents.begin(inner, call())
    assert budgets.used_by_run(inner.run) is None


def test_who_brought_a_node_is_known_to_the_first_agent() -> None:
    state = State(granted={"b": "each[3]/a", "c/d": "b", "each/a": "first"})
    assert brought_by(state, "c[7]/d") == ["b", "each[3]/a", "first"]
    assert brought_by(state, "first") == []


def test_what_agents_used_goes_with_their_runs() -> None:
    run, lease = author()
    services.cancel(run, reason="enough", by="ada")
    assert used_by_all(run) == (ROOM, 100_000, 1)
    retain(0)
    assert budgets.used_by_run(run) is None
