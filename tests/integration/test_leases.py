"""What a lease is worth: its attempt is executed once, and who has lost it does nothing more (law 6)."""

from __future__ import annotations

import threading
from typing import Any

import psycopg
import pytest

from runs import db, dispatch, queries
from runs.coordinator import Advancer
from tests.support.servers import HttpServer
from tests.support.system import ended, start
from tests.support.waiting import eventually
from tests.unit.runs_core.test_engine import graph
from worker.runner import Runner


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
