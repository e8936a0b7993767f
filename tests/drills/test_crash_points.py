"""Every point at which the shell can die, in turn: nothing is lost, nothing happens twice, the log stays exact.

One scenario is executed once to count its statements, commits, messages and blob writes, then once more for each
of them with a crash there, with each commit's answer lost, and for a sample of pairs.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.crashes import Machine, Points, World, decided, effects, signalled, simulation, wipe
from worker.executors.base import TaskError

PAIRS = 25
Scenario = Callable[[Machine], None]


def http(**more: Any) -> dict[str, Any]:
    return {"type": "http", "config": {"method": "POST", "url": "http://world.example/"}, **more}


def value(output: Any) -> dict[str, Any]:
    return {"type": "transform", "config": {"output": output}}


def row(*names: str) -> dict[str, Any]:
    return {f"{a}-{b}": {"from": a, "to": b} for a, b in zip(names, names[1:], strict=False)}


SOON = {"retry": {"schedule": ["1ms", "1ms"], "on": "any"}}


def pure(machine: Machine) -> None:
    nodes = {"a": value("{{ inputs.x + 1 }}"), "b": value("{{ nodes.a * 2 }}"), "c": value("{{ nodes.b }}")}
    machine.start({"name": "pure", "nodes": nodes, "edges": row("a", "b", "c")}, {"x": 1}, "k")


def two_runs_with_a_retry(machine: Machine) -> None:
    machine.world.fails["a", 1] = TaskError("http_status", "busy", transient=True)
    document = {"name": "retry", "nodes": {"a": http(**SOON), "b": http()}, "edges": row("a", "b")}
    machine.start(document, {}, "k1")
    machine.start(document, {}, "k2")


def a_map_of_calls(machine: Machine) -> None:
    machine.world.fails["get", 1] = TaskError("http_status", "busy", transient=True)
    body = {"nodes": {"get": http(**SOON), "shape": value("{{ nodes.get.status }}")}, "edges": row("get", "shape")}
    each = {"type": "map", "config": {"items": "[1, 2, 3]", "body": body, "max_concurrency": 2}}
    machine.start({"name": "map", "nodes": {"each": each, "end": value(1)}, "edges": row("each", "end")}, {}, "k")


def a_dead_letter(machine: Machine) -> None:
    for attempt in (1, 2, 3):
        machine.world.fails["a", attempt] = TaskError("http_status", "gone", transient=False)
    machine.start({"name": "dead", "nodes": {"a": http(**SOON), "b": http()}}, {}, "k")


def a_child(machine: Machine) -> None:
    from workflows.services import push

    with machine.points.paused():
        push({"name": "inner", "nodes": {"a": http()}})
    nodes = {"sub": {"type": "subworkflow", "config": {"workflow": "inner"}}, "end": value("{{ nodes.sub }}")}
    machine.start({"name": "outer", "nodes": nodes, "edges": row("sub", "end")}, {}, "k")


def waiting(machine: Machine) -> None:
    nodes = {
        "wait": {"type": "signal", "config": {"name": "go"}},
        "pause": {"type": "delay", "config": {"for": "2ms"}},
        "call": http(),
    }
    machine.start({"name": "wait", "nodes": nodes, "edges": row("wait", "pause", "call")}, {}, "k")
    signalled(machine, "go", "s")


def a_decision(machine: Machine) -> None:
    ask = {"type": "approval", "config": {"title": "Go?", "values": {"n": 1}}}
    edges = {
        "yes": {"from": "ask", "to": "call", "port": "approved"},
        "no": {"from": "ask", "to": "no", "port": "rejected"},
    }
    machine.start({"name": "ask", "nodes": {"ask": ask, "call": http(), "no": value(0)}, "edges": edges}, {}, "k")
    decided(machine, "anna", "approve")
    decided(machine, "berta", "reject")


def large_values(machine: Machine) -> None:
    machine.world.answers["a"] = {"status": 200, "headers": {}, "body": "x" * 100_000}
    nodes = {"a": http(), "b": value("{{ nodes.a.body + 'y' }}")}
    machine.start({"name": "large", "nodes": nodes, "edges": row("a", "b")}, {"text": "z" * 20_000}, "k")


SCENARIOS: list[Scenario] = [
    pure, two_runs_with_a_retry, a_map_of_calls, a_dead_letter, a_child, waiting, a_decision, large_values,
]  # fmt: skip


@pytest.fixture
def points(database: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Points]:
    wipe()
    with simulation(monkeypatch) as found:
        yield found
    wipe()


def play(scenario: Scenario, points: Points, *, fatal: set[int], lost: set[int]) -> tuple[list[str], list[str]]:
    """One execution; gives the points that it passed and what is wrong in the end."""
    with points.paused():
        wipe()
    world = World(points)
    machine = Machine(points, world)
    points.start(fatal=fatal, lost=lost)
    with effects(world):
        scenario(machine)
        machine.settle()
    names = points.names
    problems = machine.check()
    points.counting = False
    return names, problems


@pytest.mark.timeout(300)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_a_crash_at_every_point(scenario: Scenario, points: Points) -> None:
    names, problems = play(scenario, points, fatal=set(), lost=set())
    assert problems == []
    assert names
    commits = {number for number, name in enumerate(names, 1) if name == "after commit"}
    chance = random.Random(scenario.__name__)
    pairs = [set(chance.sample(range(1, len(names) + 1), 2)) for _ in range(PAIRS)]
    wrong = []
    for fatal, lost in [
        *(({number}, set()) for number in range(1, len(names) + 1)),
        *((set(), {number}) for number in commits),
        *((pair, set()) for pair in pairs),
    ]:
        passed, problems = play(scenario, points, fatal=fatal, lost=lost)
        where = [f"{at} {passed[at - 1]}" for at in sorted(fatal | lost) if at <= len(passed)]
        wrong += [f"{'lost' if lost else 'died'} at {where}: {one}" for one in problems]
        if len(wrong) > 10:
            break
    assert wrong == []
    print(f"{scenario.__name__}: {len(names)} points, {len(commits)} lost answers, {len(pairs)} pairs")
