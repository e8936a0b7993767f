"""Stops the real shell code at a chosen statement, commit, message or blob write, and starts it again.

A crash is an exception that nothing catches, after which everything in memory is thrown away, connections
included; the database is all that is left. Client, coordinator, sweeper and worker run in one thread, in turn,
so that a run of a scenario always passes the same points.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from django.db import OperationalError

from approvals.errors import TicketError
from approvals.people import Person
from approvals.services import decide
from runs import bells as bells_module
from runs import blobs, db, dispatch, services, sweeper, wake
from runs.coordinator import Advancer
from runs.core.events import Fact
from tests.support.checker import Call, History, violations
from worker import runner as runner_module
from worker.executors import executors
from worker.executors.base import TaskContext, TaskError
from worker.runner import Runner

MAX_ROUNDS = 400
AWAY = (psycopg.OperationalError, OperationalError)
LIVE = "SELECT 1 FROM run WHERE ended_at IS NULL LIMIT 1"


class Crash(BaseException):
    """The process dies here."""


class Points:
    """Counts the points that are passed; raises at the chosen ones."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.fatal: set[int] = set()
        self.lost: set[int] = set()
        self.counting = False

    def start(self, *, fatal: set[int] = frozenset(), lost: set[int] = frozenset()) -> None:  # type: ignore[assignment]
        """`fatal` are points to die at; `lost` are commits that happen and whose answer is lost (hazard F9)."""
        self.names, self.fatal, self.lost, self.counting = [], set(fatal), set(lost), True

    def reached(self, name: str) -> None:
        if not self.counting:
            return
        self.names.append(name)
        number = len(self.names)
        if number in self.fatal:
            raise Crash(f"{number}: {name}")
        if number in self.lost and name == "after commit":
            raise psycopg.OperationalError("the answer of the commit was lost")

    @contextmanager
    def paused(self) -> Iterator[None]:
        """For what the harness itself does."""
        before, self.counting = self.counting, False
        try:
            yield
        finally:
            self.counting = before


class World:
    """The outside: effects with a plan of failures, and what they saw."""

    def __init__(self, points: Points) -> None:
        self.points = points
        self.calls: list[Call] = []
        self.fails: dict[tuple[str, int], TaskError] = {}
        self.answers: dict[str, Any] = {}

    async def call(self, config: dict[str, Any], context: TaskContext) -> Any:
        with self.points.paused(), db.statement() as cursor:
            visible = cursor.execute(
                "SELECT 1 FROM run_event WHERE run_id = %s AND node = %s AND type = 'TaskScheduled'"
                " AND data->>'attempt' = %s",
                [context.run_id, context.path, str(context.attempt)],
            ).fetchone()
        self.calls.append(
            Call(context.run_id, context.path, context.attempt, context.idempotency_key, visible is not None)
        )
        name = context.path.rpartition("/")[2]
        failure = self.fails.get((name, context.attempt))
        if failure is not None:
            raise failure
        return self.answers.get(name, {"status": 200, "headers": {}, "body": {"node": context.path}})


class Machine:
    """Every process of the system, driven in turn; `restart` is what is left after a crash."""

    def __init__(self, points: Points, world: World) -> None:
        self.points = points
        self.world = world
        self.history = History()
        self.problems: list[str] = []
        self.crashes: list[str] = []
        self._boot()

    def _boot(self) -> None:
        services.advancer.cache_clear()
        runner_module._advancer.cache_clear()
        self.advancer = Advancer()
        self.runner = Runner("runner", slots=4)

    def restart(self, crash: Crash) -> None:
        """Memory is gone; time passes until the leases of the dead have run out."""
        self.crashes.append(str(crash))
        with self.points.paused():
            self.runner._loop.close()
            db.close_pool()
            bells_module.bells._clear()
            with db.transaction() as cursor:
                cursor.execute("UPDATE task SET lease_until = now() - interval '1 s' WHERE lease_until IS NOT NULL")
                cursor.execute("UPDATE task SET rung_at = now() - interval '1 h'")
            self._boot()

    def client(self, action: Callable[[], None]) -> None:
        """What a client does, again and again until it has an answer."""
        while True:
            try:
                action()
                return
            except Crash as crash:
                self.restart(crash)
            except AWAY:
                continue

    def start(self, document: Any, inputs: Any, key: str) -> None:
        def action() -> None:
            run = services.start(services.StartRequest(document, inputs, key=key)).id
            wrong = self.history.learned(key, run)
            if wrong is not None:
                self.problems.append(wrong)

        self.client(action)

    def settle(self) -> None:
        """Lets everybody work until nothing is live."""
        for _ in range(MAX_ROUNDS):
            with self.points.paused(), db.statement() as cursor:
                if not cursor.execute(LIVE).fetchone():
                    return
            for part in (sweeper.sweep, self.advancer.ready, self._work):
                try:
                    part()
                except Crash as crash:
                    self.restart(crash)
                except AWAY:
                    continue
        self.problems.append(f"I2: still live after {MAX_ROUNDS} rounds")

    def _work(self) -> None:
        self.runner._loop.run_until_complete(self._step())

    async def _step(self) -> None:
        runner = self.runner
        try:
            await runner._take()
        except psycopg.OperationalError:
            runner._unsure = True
        works = [work for _, work in runner._running.values()]
        if works:
            await asyncio.wait(works)
        for work in works:
            work.result()
        while runner._finished:
            group, runner._finished = runner._finished, []
            try:
                await runner._record_group(group)
            except psycopg.OperationalError:
                runner._unsure = True
                runner._finished = group + runner._finished
                return

    def check(self) -> list[str]:
        """What is wrong now that everything has ended."""
        from runs.verify import verify

        with self.points.paused(), db.transaction() as cursor:
            found = violations(cursor.connection, history=self.history, calls=self.world.calls)
            runs = [row[0] for row in cursor.execute("SELECT id::text FROM run").fetchall()]
        with self.points.paused():
            for run in runs:
                found += [f"I5/I6: run {run}: {problem}" for problem in verify(run)["problems"]]
        return self.problems + found


@contextmanager
def simulation(patch: pytest.MonkeyPatch) -> Iterator[Points]:
    """The shell's ways out, with a point before and after each."""
    points = Points()

    def around(owner: Any, name: str, label: Callable[..., str], *, after: bool = True) -> None:
        real = getattr(owner, name)

        def wrapped(*arguments: Any, **options: Any) -> Any:
            what = label(*arguments)
            points.reached(f"before {what}")
            answer = real(*arguments, **options)
            if after:
                points.reached(f"after {what}")
            return answer

        patch.setattr(owner, name, wrapped)

    around(psycopg.Cursor, "execute", lambda _, query, *rest: f"statement {_head(query)}")
    around(psycopg.Cursor, "copy", lambda _, query, *rest: f"copy {_head(query)}", after=False)
    around(psycopg.Connection, "commit", lambda _: "commit")
    _commits_of_pipelines(points, patch)
    around(blobs, "_store", lambda name, *rest: "blob write")
    patch.setattr(dispatch, "ring_ids", lambda batches: points.reached("message") if batches else None)
    patch.setattr(wake, "_publish", lambda channel, text: points.reached(f"publish {channel}"))
    ring = bells_module.Bells.ring

    def ring_now(self: bells_module.Bells, **what: Any) -> None:
        self._thread = object()  # type: ignore[assignment]
        ring(self, **what)
        self.deliver()

    patch.setattr(bells_module.Bells, "ring", ring_now)
    try:
        yield points
    finally:
        points.counting = False
        bells_module.bells._thread = None


def _commits_of_pipelines(points: Points, patch: pytest.MonkeyPatch) -> None:
    """A pipeline's commit is sent like any statement and answered at the pipeline's end: that is where it is known."""
    real = psycopg.Pipeline.__exit__

    def leave(pipeline: psycopg.Pipeline, kind: Any, error: Any, trace: Any) -> None:
        real(pipeline, kind, error, trace)
        if kind is None:
            points.reached("after commit")

    patch.setattr(psycopg.Pipeline, "__exit__", leave)


@contextmanager
def effects(world: World) -> Iterator[None]:
    """The http node calls this world instead of the network."""
    real = executors()["http"]
    executors()["http"] = world.call
    try:
        yield
    finally:
        executors()["http"] = real


def wipe() -> None:
    """Empties the database, the log too: each run's log by the one way that retention has."""
    with db.transaction() as cursor:
        runs = [row[0] for row in cursor.execute("SELECT DISTINCT run_id::text FROM run_event").fetchall()]
        for run in runs:
            cursor.execute("SELECT set_config('aob.retention', %s, true)", [run])
            cursor.execute("DELETE FROM run_event WHERE run_id = %s", [run])
        cursor.execute("TRUNCATE run, run_snapshot, run_inbox, task, dead_letter, ticket, start_key, blob_use, blob_part")
        cursor.execute("DELETE FROM blob")


def signalled(machine: Machine, name: str, key: str) -> None:
    """Sends a signal to the only run."""

    def action() -> None:
        with machine.points.paused(), db.statement() as cursor:
            row = cursor.execute("SELECT id::text, ended_at FROM run").fetchone()
        assert row is not None
        if row[1] is None:
            services.signal(row[0], name, {"n": 1}, by="client", key=key)

    machine.client(action)


def decided(machine: Machine, who: str, answer: str) -> None:
    """Decides the only ticket; who comes second, or did it already without hearing so, is told."""

    def action() -> None:
        with machine.points.paused(), db.statement() as cursor:
            row = cursor.execute("SELECT id::text FROM ticket").fetchone()
        assert row is not None
        with contextlib.suppress(TicketError):
            decide(row[0], answer, by=Person(who, frozenset(), True))

    machine.client(action)


def _head(query: Any) -> str:
    text = query.decode() if isinstance(query, bytes) else str(query)
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("--")]
    return " ".join(lines[0].split())[:60] if lines else ""


__all__ = ["Crash", "Fact", "Machine", "Points", "World", "decided", "effects", "signalled", "simulation", "wipe"]
