"""What Celery and Redis are known to do to others, done to a running system; each test is a pitfall of the list."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from base64 import b64decode
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from kombu import Connection
from websockets.exceptions import ConnectionClosedOK
from websockets.sync.client import connect

from bench import effects
from embedded.redis import Redis
from tests.support.checker import violations
from tests.support.installation import ROOT, Installation
from tests.support.servers import HttpServer
from tests.support.waiting import eventually

QUEUE = "node.jobs.medium"
WORKER = "aob_web.processes worker-runner"
SLOTS = 8
LEASE = 3
RECOVERY = 10.0
"""Seconds within which work goes on after every fault (invariant I19)."""


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A system that is going to be hurt; short leases so that it recovers within the test, few slots to fill them."""
    home = Path(tmp_path_factory.mktemp("pitfalls")) / "home"
    with Installation(
        home, AOB_LEASE_SECONDS=str(LEASE), AOB_WORKER_SLOTS=str(SLOTS), AOB_HTTP_ALLOW="127.0.0.1"
    ) as installation:
        yield installation


@pytest.fixture(autouse=True)
def sound(fragile: Installation) -> Iterator[None]:
    """Whatever a test did: all of its runs have ended, and nothing is wrong in the database."""
    yield
    with database(fragile) as connection:
        eventually(lambda: not connection.execute("SELECT 1 FROM run WHERE ended_at IS NULL").fetchone(), every=0.1)
        assert violations(connection) == []


def database(aob: Installation) -> psycopg.Connection[Any]:
    runtime = json.loads((aob.home / "run" / "runtime.json").read_text())
    return psycopg.connect(runtime["database_url"], autocommit=True)


def redis_of(aob: Installation, number: int = 1) -> redis.Redis[Any]:  # type: ignore[type-arg]
    """The broker is database 1, wake-ups go through 0."""
    return redis.Redis.from_url(Redis(aob.home).url.replace("db=0", f"db={number}"), socket_timeout=5)


def effect(url: str, **config: Any) -> dict[str, Any]:
    """A workflow of one call."""
    return {"name": "w", "nodes": {"call": {"type": "http", "config": {"method": "POST", "url": url, **config}}}}


def start(aob: Installation, document: Any, inputs: Any = None) -> str:
    status, view = aob.request("POST", "/api/v1/runs", {"workflow": document, "inputs": inputs or {}})
    assert status == 201, view
    return str(view["id"])


def completed(aob: Installation, *runs: str, seconds: float = RECOVERY) -> None:
    deadline = time.monotonic() + seconds
    for run in runs:
        view = aob.ended(run, seconds=max(deadline - time.monotonic(), 0))
        assert view["status"] == "completed", view["error"]


def called(server: HttpServer) -> Counter[str]:
    """How often each node of each run called."""
    return Counter(request["headers"]["idempotency-key"] for request in server.requests)


def once(*runs: str) -> Counter[str]:
    return Counter(f"{run}:call" for run in runs)


@contextlib.contextmanager
def frozen_workers(aob: Installation) -> Iterator[None]:
    """Nobody reads the queue: what is sent stays in it until the end of the block."""
    pids = aob.children("aob_web.processes worker-")
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        eventually(lambda: redis_of(aob).info("clients")["blocked_clients"] == 0)
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def doorbells(aob: Installation) -> list[bytes]:
    return redis_of(aob).lrange(QUEUE, 0, -1)  # type: ignore[return-value]


def args_of(message: bytes) -> Any:
    """The positional arguments of a Celery message."""
    return json.loads(b64decode(json.loads(message)["body"]))[0]


def rung_for(aob: Installation) -> set[int]:
    """The tasks whose doorbells lie in the queue."""
    return {number for message in doorbells(aob) for number in args_of(message)[0]}


def redis_answers(aob: Installation) -> bool:
    try:
        return bool(redis_of(aob).ping())
    except redis.RedisError:
        return False


def test_p1_a_doorbell_that_is_delivered_again_and_again_while_its_task_runs_changes_nothing(
    fragile: Installation,
) -> None:
    """Another application at this broker has a visibility timeout of 1 s, and the shortest one wins."""
    with (
        HttpServer(delay=LEASE + 1) as server,
        Connection(Redis(fragile.home).broker_url, transport_options={"visibility_timeout": 1}) as neighbour,
    ):
        with frozen_workers(fragile):
            runs = [start(fragile, effect(server.url)) for _ in range(3)]
            eventually(lambda: len(rung_for(fragile)) == 3)
            messages = doorbells(fragile)
        eventually(lambda: len(server.requests) == 3)

        def deliver_again() -> bool:
            neighbour.default_channel.qos.restore_visible(num=1000)
            redis_of(fragile).lpush(QUEUE, *messages)
            return all(fragile.request("GET", f"/api/v1/runs/{run}")[1]["ended_at"] for run in runs)

        eventually(deliver_again, seconds=20, every=0.2)
        completed(fragile, *runs)
        assert called(server) == once(*runs)


def test_p2_a_message_that_is_lost_between_redis_and_a_killed_worker_costs_only_time(fragile: Installation) -> None:
    broker = redis_of(fragile)
    with HttpServer() as server:
        [worker] = fragile.children(WORKER)
        sent = broker.info("commandstats").get("cmdstat_lpush", {}).get("calls", 0)
        os.kill(worker, signal.SIGSTOP)
        run = start(fragile, effect(server.url))
        eventually(lambda: broker.info("commandstats").get("cmdstat_lpush", {}).get("calls", 0) > sent)
        # Mostly Redis has popped it for the worker by now; else it is lost like this.
        broker.delete(QUEUE)
        os.kill(worker, signal.SIGKILL)
        assert not broker.exists(QUEUE, "unacked")
        completed(fragile, run)
        assert called(server) == once(run)


def test_p3_a_worker_consumes_again_after_redis_cut_its_connections_several_times(fragile: Installation) -> None:
    broker = redis_of(fragile)
    workers = fragile.children(WORKER)
    with HttpServer() as server:
        with frozen_workers(fragile):
            first = start(fragile, effect(server.url))
            eventually(lambda: rung_for(fragile))
            messages = doorbells(fragile) * 20
        completed(fragile, first)
        for _ in range(8):
            broker.lpush(QUEUE, *messages)
            broker.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            broker.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            with contextlib.suppress(AssertionError):
                eventually(lambda: not broker.llen(QUEUE), seconds=0.4)
        broker.lpush(QUEUE, *messages)
        eventually(lambda: not broker.llen(QUEUE), seconds=RECOVERY)
        runs = [start(fragile, effect(server.url)) for _ in range(20)]
        completed(fragile, *runs)
        assert called(server) == once(first, *runs)
    assert fragile.children(WORKER) == workers


def test_p4_what_was_waiting_in_a_redis_that_died_is_done_when_it_is_back(fragile: Installation) -> None:
    with HttpServer() as server:
        with frozen_workers(fragile):
            runs = [start(fragile, effect(server.url)) for _ in range(12)]
            eventually(lambda: len(rung_for(fragile)) == 12)
            fragile.kill("redis-server")
            eventually(lambda: redis_answers(fragile))
            assert doorbells(fragile) == []
        completed(fragile, *runs)
        assert called(server) == once(*runs)


def test_p5_an_old_snapshot_of_redis_rings_for_what_is_done_or_being_done(fragile: Installation) -> None:
    broker = redis_of(fragile)
    dump = fragile.home / "run" / "dump.rdb"
    with HttpServer() as quick, HttpServer(delay=60) as slow:
        with frozen_workers(fragile):
            done = start(fragile, effect(quick.url))
            running = start(fragile, effect(slow.url))
            eventually(lambda: len(rung_for(fragile)) == 2)
            broker.set("age", "old")
            broker.save()
            broker.set("age", "new")
        completed(fragile, done)
        eventually(lambda: slow.requests)
        fragile.kill("redis-server")
        eventually(lambda: redis_answers(fragile) and broker.get("age") == b"old")
        dump.unlink()
        eventually(lambda: not broker.llen(QUEUE))
        assert fragile.request("GET", f"/api/v1/runs/{running}")[1]["status"] == "running"
        later = start(fragile, effect(quick.url))
        completed(fragile, later)
        slow.release()
        completed(fragile, running)
        assert called(quick) == once(done, later) and called(slow) == once(running)


class Deadly(HttpServer):
    """Kills its caller before it answers."""

    def __init__(self, kill: Callable[[], None]) -> None:
        super().__init__()
        self._kill = kill

    def answer(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        self._kill()
        super().answer(handler, body)


def test_p6_a_node_that_kills_its_worker_three_times_becomes_a_dead_letter_and_takes_nobody_along(
    fragile: Installation,
) -> None:
    with Deadly(lambda: fragile.kill(WORKER)) as deadly, HttpServer(delay=0.5) as server:
        with frozen_workers(fragile):
            neighbours = [start(fragile, effect(server.url)) for _ in range(3)]
            poison = start(fragile, effect(deadly.url))
        view = fragile.ended(poison, seconds=40)
        assert (view["status"], view["error"]["code"]) == ("failed", "worker_lost")
        assert called(deadly) == {f"{poison}:call": 3}
        [letter] = [one for one in fragile.request("GET", "/api/v1/dead-letters")[1]["items"] if one["run"] == poison]
        assert (letter["node"], letter["error"]["code"], letter["attempts"]) == ("call", "worker_lost", 3)
        completed(fragile, *neighbours)


@contextlib.contextmanager
def second_worker(aob: Installation) -> Iterator[None]:
    [first] = aob.children(WORKER)
    environment = dict(
        entry.split("=", 1) for entry in Path(f"/proc/{first}/environ").read_text().split("\0") if "=" in entry
    )
    command = [sys.executable, "-m", *WORKER.split()]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.kill()


def leased(aob: Installation) -> int:
    with database(aob) as connection:
        return connection.execute("SELECT count(*) FROM task WHERE lease_until IS NOT NULL").fetchone()[0]  # type: ignore[index]


def test_p7_nothing_waits_behind_a_long_task_and_what_waits_is_not_leased(fragile: Installation) -> None:
    """The busy worker takes doorbells too; another one must not need them."""
    with HttpServer(delay=60) as slow, HttpServer() as quick:
        long = [start(fragile, effect(slow.url)) for _ in range(SLOTS)]
        eventually(lambda: len(slow.requests) == SLOTS)
        waiting = [start(fragile, effect(quick.url)) for _ in range(4)]
        eventually(lambda: not doorbells(fragile))
        assert leased(fragile) == SLOTS and not quick.requests
        with second_worker(fragile):
            completed(fragile, *waiting)
            for _ in range(4):
                completed(fragile, start(fragile, effect(quick.url)), seconds=2)
            assert leased(fragile) == SLOTS
            slow.release()
            completed(fragile, *long)
        assert called(slow) == once(*long) and set(called(quick).values()) == {1}


def test_p8_a_message_that_stays_unacknowledged_for_ever_is_not_needed(fragile: Installation) -> None:
    """As after a worker that died with the message, and another that died with the mutex of its restoration."""
    broker = redis_of(fragile)
    with HttpServer() as server:
        with frozen_workers(fragile):
            run = start(fragile, effect(server.url))
            eventually(lambda: rung_for(fragile))
            broker.set("unacked_mutex", "for ever")
            message = broker.rpop(QUEUE)
            broker.hset("unacked", "tag", json.dumps([json.loads(message), "", QUEUE]))
            broker.zadd("unacked_index", {"tag": time.time()})
            fragile.kill(WORKER)
        completed(fragile, run)
        assert called(server) == once(run)
        assert broker.hkeys("unacked") == [b"tag"]
        broker.delete("unacked", "unacked_index", "unacked_mutex")


def test_p9_a_cancelled_run_stays_cancelled_when_no_worker_remembers_it(fragile: Installation) -> None:
    with HttpServer(delay=20) as server:
        running = start(fragile, effect(server.url))
        eventually(lambda: server.requests)
        with frozen_workers(fragile):
            waiting = start(fragile, effect(server.url))
            eventually(lambda: rung_for(fragile))
            for run in (running, waiting):
                assert fragile.request("POST", f"/api/v1/runs/{run}/cancel", {})[0] == 200
            for run in (running, waiting):
                assert fragile.ended(run)["status"] == "cancelled"
            fragile.kill(WORKER)
        with HttpServer() as quick:
            completed(fragile, start(fragile, effect(quick.url)))
        eventually(lambda: not doorbells(fragile))
        assert called(server) == once(running)


DOORBELLS, CALLS = 2_000, 400
LEAK_KIB = 1_024
"""A process may grow by so much in the second half of the work, for fragments: 0.5 KiB for each doorbell."""


def memory(aob: Installation) -> dict[str, int]:
    """KiB of the processes that send or take messages, and of Redis by its own account."""
    found = {"redis": int(redis_of(aob).info("memory")["used_memory"]) // 1024}
    for name in ("coordinator", "sweeper", "worker-runner"):
        [pid] = aob.children(f"aob_web.processes {name}")
        [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")]
        found[name] = int(line.split()[1])
    return found


def test_p10_memory_is_flat_over_thousands_of_doorbells_and_tasks(fragile: Installation) -> None:
    broker = redis_of(fragile)
    each = {"items": "inputs.urls", "body": {"nodes": effect("{{ item }}")["nodes"]}, "max_concurrency": 50}
    document = {"name": "w", "nodes": {"each": {"type": "map", "config": each}}}
    with effects.serving() as world:
        with frozen_workers(fragile):
            first = start(fragile, document, {"urls": [world]})
            eventually(lambda: rung_for(fragile))
            messages = doorbells(fragile)
        completed(fragile, first)

        def work() -> tuple[dict[str, int], set[bytes]]:
            run = start(fragile, document, {"urls": [world] * CALLS})
            broker.lpush(QUEUE, *messages * DOORBELLS)
            completed(fragile, run, seconds=30)
            eventually(lambda: not broker.llen(QUEUE), seconds=30, every=0.1)
            return memory(fragile), set(broker.keys())

        before, keys = work()
        after, more_keys = work()
        assert not {name: (before[name], after[name]) for name in after if after[name] - before[name] > LEAK_KIB}
        assert after["redis"] - before["redis"] < 100
        assert keys == more_keys and not broker.exists("unacked")


@pytest.mark.parametrize("name", ["SIGTERM", "SIGQUIT"])
def test_p11_a_worker_that_is_asked_to_stop_finishes_what_it_does_and_nothing_twice(
    fragile: Installation, name: str
) -> None:
    [worker] = fragile.children(WORKER)
    with HttpServer(delay=1.5) as server:
        runs = [start(fragile, effect(server.url)) for _ in range(SLOTS)]
        eventually(lambda: len(server.requests) == SLOTS)
        os.kill(worker, signal.Signals[name])
        runs += [start(fragile, effect(server.url)) for _ in range(SLOTS)]
        completed(fragile, *runs)
        assert called(server) == once(*runs)
    assert worker not in fragile.children(WORKER)


def test_p12_values_that_kombu_would_interpret_pass_unchanged_and_are_in_no_message(fragile: Installation) -> None:
    inputs = {
        "uuid": {"__type__": "uuid", "__value__": {"hex": "x"}},
        "unknown": {"__type__": "x", "__value__": 1},
        "bytes": {"__type__": "base64", "__value__": "eA=="},
        "moment": {"__type__": "datetime", "__value__": "2026-01-01T00:00:00"},
    }
    with HttpServer() as server:
        with frozen_workers(fragile):
            run = start(fragile, effect(server.url, json="{{ inputs }}"), inputs)
            eventually(lambda: doorbells(fragile))
            for message in doorbells(fragile):
                [ids] = args_of(message)
                assert all(type(one) is int for one in ids) and b"__type__" not in message
        view = fragile.ended(run)
        assert view["output"]["call"]["body"]["echo"] == inputs and view["inputs"] == inputs


def test_p13_a_websocket_gets_every_event_though_every_wake_up_is_dropped(fragile: Installation) -> None:
    wakes = redis_of(fragile, 0)
    with HttpServer() as server:
        document = effect(server.url)
        document["nodes"]["ask"] = {"type": "signal", "config": {"name": "go"}}
        document["edges"] = {"e": {"from": "ask", "to": "call"}}
        wakes.execute_command("ACL", "SETUSER", "default", "-publish")
        try:
            with pytest.raises(redis.exceptions.NoPermissionError):
                wakes.publish("aob:events", "x")
            run = start(fragile, document)
            credentials = {"Authorization": f"Bearer {fragile.token}"}
            url = f"ws://127.0.0.1:{fragile.port}/ws/runs/{run}/"
            with connect(url, additional_headers=credentials, proxy=None) as socket:
                seen = [json.loads(socket.recv(RECOVERY))]
                while seen[-1]["type"] != "NodeWaiting":
                    seen.append(json.loads(socket.recv(RECOVERY)))
                assert fragile.request("POST", f"/api/v1/runs/{run}/signal", {"name": "go"})[0] == 202
                with contextlib.suppress(ConnectionClosedOK):
                    while True:
                        seen.append(json.loads(socket.recv(RECOVERY)))
        finally:
            wakes.execute_command("ACL", "SETUSER", "default", "+publish")
        view = fragile.request("GET", f"/api/v1/runs/{run}")[1]
        assert view["status"] == "completed"
        assert [event["seq"] for event in seen] == list(range(1, view["last_seq"] + 1))
