"""What a lease is worth: its attempt is executed once, and who has lost it does nothing more (law 6)."""

from __future__ import annotations

import threading
from typing import Any

import psycopg
import pytest

from runs import agents, db, dispatch, holding, patches, queries, services, sweeper
from runs.coordinator import Advancer
from runs.core.agents import StepRefused
from tests.integration.test_patches import add
from tests.support.parallel import meanwhile
from tests.support.servers import HttpServer
from tests.support.system import ended, start
from tests.support.waiting import eventually
from tests.unit.runs_core.test_engine import graph, value
from worker.runner import Runner
from workflows.services import push


def call(server: HttpServer, path: str) -> dict[str, Any]:
    return {"type": "http", "config": {"method": "GET", "url": server.url + path}, "timeout": "30s"}


def paths(server: HttpServer) -> list[str]:
    return [one["path"] for one in server.requests]


def test_what_a_commit_gave_a_worker_is_not_taken_for_lost_before_it_has_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    committing, failed, asked = threading.Event(), threading.Event(), threading.Event()
    lease, lease_again, runs = dispatch.lease, dispatch.lease_again, Advancer.runs

    def fails_once(**wanted: Any) -> Any:
        if committing.is_set() and not failed.is_set():
            failed.set()
            raise psycopg.OperationalError("terminating connection")
        return lease(**wanted)

    def asks(**wanted: Any) -> Any:
        asked.set()
        return lease_again(**wanted)

    def slowly(advancer: Advancer, ids: Any, finished: Any = (), adoption: Any = None) -> Any:
        if finished:
            committing.set()
            assert failed.wait(10)
        advanced = runs(advancer, ids, finished, adoption)
        if advanced.adopted:
            asked.wait(1.5)
        return advanced

    with HttpServer() as server:
        run = start(graph({"one": call(server, "/one"), "two": call(server, "/two")}, ("one", "two")))
        runner = Runner("runner", slots=4)
        monkeypatch.setattr(dispatch, "lease", fails_once)
        monkeypatch.setattr(dispatch, "lease_again", asks)
        monkeypatch.setattr(Advancer, "runs", slowly)
        runner.start()
        try:
            assert ended(run)["status"] == "completed"
            assert eventually(asked.is_set)
            eventually(lambda: not runner._running)
        finally:
            runner.stop()
        assert paths(server) == ["/one", "/two"]


def test_an_attempt_whose_lease_ran_out_is_not_taken_up_by_the_worker_that_stopped_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    again: list[Any] = []
    lease, lease_again = dispatch.lease, dispatch.lease_again
    with HttpServer(delay=30) as server:
        run = start(graph({"one": call(server, "/one")}))
        runner = Runner("runner", slots=4)
        begun = threading.Event()

        def away(real: Any, answers: list[Any]) -> Any:
            def asked(**wanted: Any) -> Any:
                if begun.is_set() and runner._running:
                    raise psycopg.OperationalError("the database is away")
                answers.append(real(**wanted))
                return answers[-1]

            return asked

        monkeypatch.setattr(dispatch, "lease", away(lease, []))
        monkeypatch.setattr(dispatch, "lease_again", away(lease_again, again))
        runner.start()
        try:
            eventually(lambda: server.requests)
            begun.set()
            runner._loop.call_soon_threadsafe(runner._bell.set)
            eventually(lambda: runner._unsure)
            with db.transaction() as cursor:
                cursor.execute("UPDATE task SET lease_until = clock_timestamp() - interval '1 s'")
            eventually(lambda: again)
        finally:
            runner.stop()
        assert again == [[]] and paths(server) == ["/one"]
        assert queries.run(run)["status"] == "running"


def agent(**config: Any) -> dict[str, Any]:
    return {"type": "agent", "config": {"model": "scripted:x", "prompt": "Hi.", **config}, "on_failure": "skip"}


def lose(run: str) -> None:
    """The lease runs out, and the run goes on with another attempt."""
    with db.transaction() as cursor:
        cursor.execute("UPDATE task SET lease_until = clock_timestamp() - interval '1 s' WHERE run_id = %s", [run])
    meanwhile(sweeper.sweep)
    services.advancer().runs([run])


def claimed() -> agents.Lease:
    [told] = agents.claim("r1", 1)
    return agents.Lease(**told["lease"])


def test_a_patch_of_an_agent_that_has_lost_its_lease_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    run = start(graph({"x": agent(patches="auto"), "y": {"type": "signal", "config": {"name": "go"}}}))
    lease = claimed()
    propose = patches.propose

    def later(*arguments: Any, **more: Any) -> Any:
        lose(run)
        return propose(*arguments, **more)

    monkeypatch.setattr(patches, "propose", later)
    for operations in (add("more", "{{ 41 }}", before="y"), [{"op": "remove", "path": "/nodes/nothing"}]):
        with pytest.raises(StepRefused, match="lease"):
            agents.patch(lease, f"k{len(operations)}", operations, "Because.")
    assert patches.listed(run) == []
    assert not any(event["type"].startswith("Patch") for event in queries.events(run)["items"])


@pytest.mark.parametrize("how", ["workflow", "question", "consent"])
def test_an_agent_that_has_lost_its_lease_starts_nothing(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    push({**graph({"a": value(1)}), "name": "tool"})
    tools = [{"type": "workflow", "name": "tool"}, {"type": "ask_human"}]
    consent = {"consent": ["workflow:tool"]} if how == "consent" else {}
    run = start(graph({"x": agent(tools=tools, **consent)}))
    lease = claimed()
    start_run = services.start

    def later(*arguments: Any, **more: Any) -> Any:
        meanwhile(lambda: services.cancel(run, by="ada"))
        return start_run(*arguments, **more)

    acts = {
        "workflow": lambda: agents.start_workflow(lease, "k", "tool", {}),
        "question": lambda: agents.ask(lease, "k", "May I?", None),
        "consent": lambda: agents.ask_consent(lease, "k", "workflow:tool", {"inputs": {}}),
    }
    monkeypatch.setattr(services, "start", later)
    with pytest.raises(StepRefused, match="lease"):
        acts[how]()
    with db.transaction() as cursor:
        assert cursor.execute("SELECT count(*) FROM run").fetchone() == (1,)
        assert cursor.execute("SELECT count(*) FROM start_key").fetchone() == (0,)


def test_an_agent_whose_run_ended_as_it_was_claimed_takes_no_other_along(monkeypatch: pytest.MonkeyPatch) -> None:
    gone, healthy = start(graph({"x": agent()})), start(graph({"x": agent()}))
    lease = dispatch.lease

    def and_cancels(**wanted: Any) -> Any:
        leased = lease(**wanted)
        meanwhile(lambda: services.cancel(gone, by="ada"))
        return leased

    monkeypatch.setattr(dispatch, "lease", and_cancels)
    assert [told["run"] for told in agents.claim("r1", 10)] == [healthy]


def test_an_agent_whose_run_is_busy_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "HOLD_MS", 50)
    busy, healthy = start(graph({"x": agent()})), start(graph({"x": agent()}))
    with db.transaction() as cursor:
        cursor.execute("SELECT 1 FROM run WHERE id = %s FOR UPDATE", [busy])
        assert [told["run"] for told in agents.claim("r1", 10)] == [healthy]
    assert [told["run"] for told in agents.claim("r2", 10)] == [busy]
