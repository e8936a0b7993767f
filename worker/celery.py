"""The Celery worker of a plane: its one task passes doorbells on to the runner in the same process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery import Celery

from runs import dispatch
from worker.runner import Runner

MAX_IDS = 10_000


def worker_app(runner: Runner) -> Celery:
    """The Celery application with the task that rings `runner`."""
    app = dispatch.celery_app()

    @app.task(name=dispatch.EXECUTE, shared=False)
    def execute(ids: Any) -> None:
        # Whatever a broker hands us is only a hint: anything that is not a list of numbers is dropped.
        if isinstance(ids, list) and len(ids) <= MAX_IDS and all(type(one) is int for one in ids):
            runner.ring(ids)

    app.finalize()
    return app


def run_forever(plane: str, alive: Callable[[], None]) -> None:
    """The worker process of a plane; returns after a signal, its tasks finished or given up."""
    runner = Runner(plane, alive=alive)
    app = worker_app(runner)
    runner.start()
    worker = app.Worker(
        pool="solo",
        concurrency=1,
        queues=[dispatch.queue_name(plane, priority) for priority in range(3)],
        hostname=f"{plane}@%h",
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        loglevel="WARNING",
        quiet=True,
    )
    try:
        worker.start()
    finally:
        runner.stop()
