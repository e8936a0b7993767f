"""The units as plain Celery chains: `python -m bench.peers.celery_peer UNIT [COUNT]`, run by AOB's own Python.

Not durable: Redis keeps nothing on disk, a worker acknowledges a task before it executes it, and no step is committed
before the next. It is here as the floor, what the same work costs without any promise.

BROKER_URL is kombu's, `redis+socket://:password@/path?virtual_host=1`, broker and result backend in one. H3 needs
WORLD, the URL of `python -m bench.effects PORT`. The worker is a child process with two prefork processes, stopped at
the end; the client that sends the chains and awaits their results is this process, and counts. As Celery's guide to
optimizing recommends for many short tasks: a high prefetch limit, and no results of tasks that nobody asks for.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
from celery import Celery, chain, group
from celery.canvas import Signature
from celery.result import AsyncResult

from bench.documents import PAYLOAD
from bench.peers import ROOT, length, world
from bench.peers.measure import TIMED, Meter, arguments, median_ms, read, report, service, warm_up
from embedded.process import spawn, stop, wait_until

RECOMMENDED = {"W1": 5000, "W3": 1500, "W10": 400, "H3": 1000, "FAN10": 200, "FAN1000": 3}
"""Runs that take some ten seconds on two cores, half a minute when others use them too."""

PROCESSES = 2
PREFETCH = 64
"""Messages for each process; Celery's guide names 64 for short tasks, its default of 4 is for long ones."""

QUEUE = "bench-peer"
START_SECONDS = 20
MAX_SECONDS = 120
"""Of waiting for the results."""

URL = os.environ.get("BROKER_URL", "memory://")

app = Celery("bench", broker=URL, backend=URL.replace("memory://", "cache+memory://"))
app.conf.update(
    task_default_queue=QUEUE,
    worker_prefetch_multiplier=PREFETCH,
    result_backend_transport_options={"global_keyprefix": f"{QUEUE}:"},
    result_expires=600,  # of what an interrupted measurement leaves in Redis
    broker_connection_retry_on_startup=True,
)


@app.task
def add(payload: dict[str, Any]) -> dict[str, Any]:
    return {"count": payload["count"] + 1, "text": payload["text"]}


@app.task
def call(number: int) -> Any:
    return world.post(number)


@app.task
def numbers(items: int) -> list[int]:
    return list(range(items))


@app.task
def double(item: int) -> int:
    return item * 2


@app.task
def join(items: list[int]) -> int:
    return len(items)


def workflow(unit: str) -> Signature:
    """A unit's canvas."""
    steps = length(unit)
    if unit.startswith("F"):
        # A group's tasks each get the whole result before them; here each gets its item with its signature instead,
        # which is less work. All results are kept, as the chord reads them.
        return chain(numbers.si(steps), group(double.si(item) for item in range(steps)), join.s())
    if unit.startswith("W"):
        tasks = [add.s(PAYLOAD) if number == 0 else add.s() for number in range(steps)]
    else:
        tasks = [call.si(number) for number in range(steps)]
    for task in tasks[:-1]:
        task.set(ignore_result=True)
    return chain(*tasks)


def check(unit: str, result: Any) -> None:
    """Raises AssertionError when a run's result is not the unit's."""
    expected = {"W": {**PAYLOAD, "count": 1 + length(unit)}, "H": {"ok": True}, "F": length(unit)}[unit[0]]
    assert result == expected, result


def run(unit: str, count: int) -> float:
    """Seconds of so many runs at once, from the first sent to the last result."""
    began = time.perf_counter()
    results: list[AsyncResult[Any]] = [workflow(unit).apply_async() for _ in range(count)]
    for result in results:
        check(unit, result.get(timeout=MAX_SECONDS))
    return time.perf_counter() - began


def clean() -> None:
    """Takes messages and results out of Redis, which AOB's own Celery may use too."""
    app.control.purge()
    redis = app.backend.client
    for key in redis.scan_iter(f"{QUEUE}*", count=1000):
        redis.delete(key)


@contextmanager
def worker() -> Iterator[psutil.Process]:
    """A worker that answers; it ends with this process, however that ends."""
    command = [sys.executable, "-m", "celery", "-A", __spec__.name, "worker", "--pool", "prefork"]
    command += ["--concurrency", str(PROCESSES), "--queues", QUEUE, "--loglevel", "ERROR"]
    command += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    child = spawn(
        command,
        env={**os.environ, "C_FORCE_ROOT": "1", "PYTHONWARNINGS": "ignore"},  # which would be of running as root
        output=subprocess.DEVNULL,
        errors=sys.stderr.fileno(),
        cwd=ROOT,
        death_signal=signal.SIGTERM,
    )
    try:
        first = add.apply_async([PAYLOAD])
        if not wait_until(first.ready, seconds=START_SECONDS, process=child):
            raise RuntimeError("the Celery worker did not start")
        yield psutil.Process(child.pid)
    finally:
        stop(child)


def main() -> None:
    unit, count = arguments(RECOMMENDED, __doc__)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the worker is stopped
    redis = app.backend.client
    with worker() as child:
        try:
            meter = Meter([psutil.Process(), child, *service(redis.info("server")["process_id"], "redis")])
            run(unit, warm_up(count))
            meter.start()
            seconds = run(unit, count)
            cost = read(meter)
            p50 = median_ms(lambda: run(unit, 1)) if unit == TIMED else None
        finally:
            clean()
    print(report("celery", unit, count, seconds=seconds, p50_ms=p50, meter_read=cost))


if __name__ == "__main__":
    # Under its own name, so that the tasks are those that the worker knows.
    from bench.peers import celery_peer

    celery_peer.main()
