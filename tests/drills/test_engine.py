"""F18, F19, F21: results that come too late, transactions that stay open, and functions that run wild."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from runs import bells as bells_module
from runs import db, dispatch, queries, stream
from runs.coordinator import Advancer, leave
from runs.core.events import Fact
from runs.leases import Finished, Leased
from runs.verify import verify
from tests.drills.conftest import Recovery
from tests.support.checker import violations
from tests.support.servers import HttpServer
from tests.support.system import ended, engine, start
from tests.support.waiting import eventually
from tests.unit.runs_core.test_engine import graph, value
from worker.executors import function

FUNCTIONS = """
import os, signal, sys, time

def note(mark): open(mark, "a").write(f"{os.getpid()}\\n")
def dies(mark): note(mark); os.kill(os.getpid(), signal.SIGKILL)
def spins(mark):
    note(mark)
    while True: pass
def allocates(mark):
    note(mark)
    kept = []
    while True: kept.append(bytearray(16 * 1024 * 1024))
def forks(mark):
    note(mark)
    for _ in range(30):
        if os.fork() == 0:
            note(mark)
            while True: time.sleep(0.1)
    while True: time.sleep(0.1)
def prints(mark):
    note(mark)
    for _ in range(1024): sys.stdout.write("x" * 1024 * 1024)
    return "printed"
def ignores(mark):
    note(mark)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP): signal.signal(number, signal.SIG_IGN)
    while True: time.sleep(0.1)
def good(n): return n
"""
WILD = {
    "dies": "function_crashed", "spins": "timeout", "allocates": "function_memory", "forks": "timeout",
    "prints": None, "ignores": "timeout",
}  # fmt: skip


@pytest.fixture
def functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of functions as an operator installs it; gives the file where they note their processes."""
    from worker.functions import registry

    (tmp_path / "wild.py").write_text(FUNCTIONS)
    info = tmp_path / "wild-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: wild\nVersion: 1.0\n")
    points = "".join(f"wild.{name} = wild:{name}\n" for name in (*WILD, "good"))
    (info / "entry_points.txt").write_text(f"[aob.functions]\n{points}")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("AOB_FUNCTION_MEMORY", str(512 * 1024 * 1024))
    registry.functions.cache_clear()
    yield tmp_path / "pids"
    registry.functions.cache_clear()


def runs_now(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_functions_that_run_wild_end_alone_and_leave_no_process(
    database: None, functions: Path, recovery: Recovery
) -> None:
    def node(name: str, **args: Any) -> dict[str, Any]:
        config = {"name": f"wild.{name}", "args": args}
        # Those that end by themselves have all the time that a busy machine makes them wait.
        timeout = "4s" if WILD.get(name) == "timeout" else "40s"
        return graph({"f": {"type": "function", "config": config, "timeout": timeout, "retry": {"policy": "none"}}})

    memory = resident()
    with HttpServer() as server, engine(slots=8) as runner:
        wild = {name: start(node(name, mark=str(functions))) for name in WILD}
        more = [start(node("spins", mark=str(functions))) for _ in range(12)]
        call = graph({"c": {"type": "http", "config": {"method": "GET", "url": server.url}}})
        began = time.monotonic()
        neighbours = [start(call) for _ in range(30)]
        assert {ended(run, seconds=10)["status"] for run in neighbours} == {"completed"}
        recovery("F21", "neighbours of wild functions are done", time.monotonic() - began)
        good = [start(node("good", n=n)) for n in range(5)]
        found = {name: (ended(run, seconds=45)["error"] or {}).get("code") for name, run in wild.items()}
        assert found == WILD and {ended(run)["error"]["code"] for run in more} == {"timeout"}
        assert [ended(run, seconds=10)["output"]["f"] for run in good] == list(range(5))
        recovery("F21", "functions run again after wild ones", time.monotonic() - began)
        pids = [int(line) for line in functions.read_text().split()]
        assert len(pids) > len(WILD) + 10, "the one that forks had not the time to fork"
        alive = {host._process.pid for host in function._pools[runner._loop]._free if host._process is not None}
        eventually(lambda: not [pid for pid in pids if pid not in alive and runs_now(pid)], seconds=5)
        runner._loop.call_soon_threadsafe(function._pools[runner._loop].close)
        eventually(lambda: not any(map(runs_now, pids)), seconds=5)
    assert resident() - memory < 200 * 1024 * 1024
    log = [event["data"].get("log") for event in queries.events(wild["prints"])["items"]]
    assert len(str(log)) < 10_000


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Held:
    """A worker that leased everything and keeps it."""

    def __init__(self) -> None:
        self.tasks: list[Leased] = dispatch.lease(worker="held", plane="runner", types=["http"], limit=100)

    def result(self, run: str, node: str) -> list[Finished]:
        return [
            Finished(one, Fact("TaskCompleted", node, {"attempt": one.attempt, "output": "late"}), {})
            for one in self.tasks
            if (one.run_id, one.node) == (run, node)
        ]


@pytest.fixture
def quiet(database: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """No doorbells: the test itself drives the coordinator and the worker."""
    monkeypatch.setattr(bells_module.Bells, "ring", lambda self, **what: None)


HTTP = {"type": "http", "config": {"method": "GET", "url": "http://127.0.0.1:9/"}, "retry": {"policy": "none"}}


def log_of(run: str) -> list[Any]:
    return list(queries.events(run)["items"])


@pytest.mark.parametrize("door", ["worker", "inbox"])
@pytest.mark.parametrize("end", ["cancelled", "failed", "timed out"])
def test_results_after_the_end_of_a_run_change_nothing(quiet: None, door: str, end: str) -> None:
    """By a worker with its lease's token, and by an inbox in which another process left the result."""
    run = start(graph({"a": HTTP, "b": HTTP}, **({"limits": {"timeout": "1s"}} if end == "timed out" else {})))
    held, advancer = Held(), Advancer()
    late, other = held.result(run, "a"), held.result(run, "b")
    assert len(late) == len(other) == 1
    if end == "cancelled":
        leave_one(run, Fact("CancelRequested", None, {"reason": None, "by": "test"}))
    elif end == "failed":
        error = {"code": "x", "message": "x", "transient": False}
        failed = Finished(other[0].task, Fact("TaskFailed", "b", {"attempt": 1, "error": error, "jitter": 0.5}), {})
        assert advancer.runs([run], [failed]).runs == 1
    eventually(lambda: advancer.ready() and queries.run(run)["ended_at"])
    before, log = queries.run(run), log_of(run)
    if door == "worker":
        Advancer().runs([run], late)
    else:
        leave_one(run, late[0].fact)
    eventually(lambda: advancer.ready().runs == 0)
    assert queries.run(run) == before and log_of(run) == log
    with db.transaction() as cursor:
        assert cursor.execute("SELECT count(*) FROM run_inbox").fetchone() == (0,)
        assert not [one for one in violations(cursor.connection) if run in one]


def leave_one(run: str, fact: Fact) -> None:
    with db.transaction() as cursor:
        leave(cursor, run, fact)


def test_results_for_nodes_that_were_skipped_or_do_not_exist_change_nothing(quiet: None) -> None:
    nodes = {
        "choose": {"type": "branch", "config": {"cases": [{"when": "false", "port": "yes"}]}},
        "never": HTTP,
        "wait": {"type": "signal", "config": {"name": "go"}},
    }
    run = start(
        graph({"first": value(1), "never": {**HTTP}, "wait": nodes["wait"]}, ("first", "never", {"when": "false"}))
    )
    advancer = Advancer()
    assert any(event["type"] == "NodeSkipped" and event["node"] == "never" for event in log_of(run))
    before = log_of(run)
    for node in ("never", "wait", "removed", "first", "each[3]/x", ""):
        for kind in ("TaskCompleted", "TaskFailed", "TaskLost"):
            error = {"code": "x", "message": "x", "transient": False}
            leave_one(run, Fact(kind, node, {"attempt": 1, "output": 1, "error": error, "jitter": 0.1}))
    eventually(lambda: advancer.ready().runs == 0)
    assert log_of(run) == before and verify(run)["ok"]
    leave_one(run, Fact("SignalReceived", None, {"name": "go", "payload": 1, "by": "test"}))
    eventually(lambda: advancer.ready() and queries.run(run)["ended_at"])
    assert queries.run(run)["status"] == "completed" and verify(run)["ok"]


@contextmanager
def watching(runs: list[str]) -> Iterator[dict[str, list[int]]]:
    """The seqs that a watcher of each run has got."""
    seen: dict[str, list[int]] = {run: [] for run in runs}
    stop = asyncio.Event()

    async def watch(run: str) -> None:
        async for event in stream.follow(run, 0):
            if event is not None:
                seen[run].append(event.seq)

    async def everyone() -> None:
        tasks = [asyncio.create_task(watch(run)) for run in runs]
        await stop.wait()
        for task in tasks:
            task.cancel()
        hub = stream.hub()
        for task in hub._tasks:
            task.cancel()
        await asyncio.gather(*tasks, *hub._tasks, return_exceptions=True)
        await hub.pool.close()

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=lambda: loop.run_until_complete(everyone()))
    thread.start()
    try:
        yield seen
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(20)
        loop.close()


def test_transactions_that_stay_open_hold_up_their_own_run_and_no_stream(database: None, recovery: Recovery) -> None:
    """An inserter that does not commit, one that is idle and holds a run, a dump's snapshot."""
    steps = {f"s{n}": {"type": "delay", "config": {"for": "200ms"}} for n in range(8)}
    document = graph(steps, *[(f"s{n}", f"s{n + 1}") for n in range(7)])
    runs = [start(document) for _ in range(6)]
    locked, idle = runs[0], runs[1]
    url = make_conninfo(db.conninfo(), options="-c idle_in_transaction_session_timeout=4000")
    lost = psycopg.connect(url)
    with psycopg.connect(db.conninfo()) as dump, psycopg.connect(db.conninfo()) as inserter:
        dump.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        counted = dump.execute("SELECT count(*) FROM run_event").fetchone()
        inserter.execute("SELECT 1 FROM run WHERE id = %s FOR UPDATE", [locked])
        fact = 'INSERT INTO run_inbox (run_id, type, data) VALUES (%s, \'SignalReceived\', \'{"name": "n", "by": "t"}\')'
        inserter.execute(fact, [locked])
        lost.execute("SELECT 1 FROM run WHERE id = %s FOR UPDATE", [idle])
        began = time.monotonic()
        with engine(), watching(runs) as seen:
            assert {ended(run, seconds=10)["status"] for run in runs[2:]} == {"completed"}
            for run in runs[2:]:
                last = queries.run(run)["last_seq"]
                eventually(lambda: seen[run] == list(range(1, last + 1)), seconds=3)  # noqa: B023
            assert time.monotonic() - began < 8
            # The idle one is ended by the server; the inserter commits at last.
            assert ended(idle, seconds=12)["status"] == "completed"
            recovery(
                "F19", "a run held by an idle session of 4 s ends (delays of 1.6 s included)", time.monotonic() - began
            )
            assert queries.run(locked)["status"] == "waiting" or queries.run(locked)["ended_at"] is None
            inserter.commit()
            began = time.monotonic()
            assert ended(locked, seconds=10)["status"] == "completed"
            recovery("F19", "a run of 8 delays of 0.2 s that an open transaction held", time.monotonic() - began)
            for run in runs[:2]:
                last = queries.run(run)["last_seq"]
                eventually(lambda: seen[run] == list(range(1, last + 1)), seconds=3)  # noqa: B023
        assert dump.execute("SELECT count(*) FROM run_event").fetchone() == counted
    lost.close()
    assert all(verify(run)["ok"] for run in runs)
    with db.statement() as cursor:
        assert cursor.execute("SHOW idle_in_transaction_session_timeout").fetchone() == ("15s",)
