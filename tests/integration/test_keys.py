"""One request that arrives several times at one instant, at every door that promises to do it once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from runs import agents, db, patches, services, workflow_patches
from runs.patches import Proposal
from tests.integration.test_patches import ADA, add
from tests.support.parallel import at_once
from tests.support.system import start
from tests.unit.runs_core.test_engine import graph, value
from workflows.models import TagMove, WorkflowVersion
from workflows.services import push

ROUNDS = 5
Door = tuple[Callable[[], Any], Callable[[], int]]
"""What is asked several times, and how much has been done at this door."""


def waiting(name: str = "w") -> dict[str, Any]:
    nodes = {"wait": {"type": "signal", "config": {"name": "go"}}, "last": value("{{ inputs.x }}")}
    return {**graph(nodes, ("wait", "last")), "name": name}


def count(statement: str, *parameters: Any) -> int:
    with db.transaction() as cursor:
        row = cursor.execute(statement, list(parameters)).fetchone()
    assert row is not None
    return int(row[0])


def runs() -> int:
    return count("SELECT count(*) FROM run")


def events(run: str, kind: str) -> int:
    return count("SELECT count(*) FROM run_event WHERE run_id = %s AND type = %s", run, kind)


def of_document(key: str) -> Door:
    return lambda: start(waiting(), {"x": 1}, key=key), runs


def of_name(key: str) -> Door:
    push(waiting())
    return lambda: start("w", {"x": 1}, key=key), runs


def of_large_inputs(key: str) -> Door:
    return lambda: start(waiting(), {"x": key + "x" * 100_000}, key=key), runs


def of_batch(key: str) -> Door:
    def ask() -> list[str]:
        requests = [services.StartRequest(waiting(), {"x": place}, key=f"{key}#{place}") for place in range(20)]
        return [outcome.id for outcome in services.start_many(requests)]  # type: ignore[union-attr]

    return ask, lambda: runs() // 20


def of_agent(key: str) -> Door:
    push({**graph({"a": value(1)}), "name": "tool"})
    config = {"model": "scripted:x", "prompt": "Hi.", "tools": [{"type": "workflow", "name": "tool"}]}
    start(graph({"x": {"type": "agent", "config": config}}))
    [told] = agents.claim("r1", 1)
    lease = agents.Lease(**told["lease"])
    return lambda: agents.start_workflow(lease, key, "tool", {}), runs


def of_signal(key: str) -> Door:
    run = start(waiting(), {"x": 1})
    return lambda: services.signal(run, "go", {"n": 1}, by="ada", key=key), lambda: events(run, "SignalReceived")


def of_patch(key: str) -> Door:
    run = start(waiting(), {"x": 1})
    proposal = Proposal(operations=add("more", "{{ 41 }}"), reason="because", author=ADA, key=key)
    return lambda: patches.propose(run, proposal)["id"], lambda: events(run, "PatchApplied")


def of_workflow_patch(key: str) -> Door:
    push(waiting(key))
    proposal = Proposal(operations=add("more", "{{ 41 }}"), reason="because", author=ADA, key=key)
    return lambda: workflow_patches.propose(key, "latest", proposal)["id"], lambda: versions(key)


def of_publishing(key: str) -> Door:
    """Its key is what is published."""
    return lambda: push(waiting(key)).number, lambda: versions(key)


def versions(workflow: str) -> int:
    moves = TagMove.objects.filter(workflow__name=workflow).count()
    assert moves == WorkflowVersion.objects.filter(workflow__name=workflow).count()
    return moves


DOORS = [
    of_document, of_name, of_large_inputs, of_batch, of_agent, of_signal, of_patch, of_workflow_patch, of_publishing,
]  # fmt: skip


@pytest.mark.parametrize("door", DOORS, ids=[door.__name__ for door in DOORS])
def test_the_same_request_several_times_at_once_is_done_once_and_answered_alike(door: Callable[[str], Door]) -> None:
    for number in range(ROUNDS):
        ask, done = door(f"k{number}")
        before = done()
        outcomes = at_once(ask, ask, ask)
        assert outcomes == [outcomes[0]] * 3 and not isinstance(outcomes[0], Exception), outcomes
        assert ask() == outcomes[0] and done() == before + 1


@pytest.mark.parametrize("door", ["start", "signal"])
def test_of_two_requests_under_one_key_at_once_one_is_refused(door: str) -> None:
    run = start(waiting(), {"x": 1})
    calls = {
        "start": lambda n: start(waiting(), {"x": n}, key="1:k"),
        "signal": lambda n: services.signal(run, "go", n, by="ada", key="1:k"),
    }
    outcomes = at_once(*[lambda n=n: calls[door](n) for n in (1, 2)])
    [refused] = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    assert isinstance(refused, services.RunError) and refused.code == "idempotency_key_reused"
