"""A whole engine inside the test process: coordinator, sweeper and a worker on the real services."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from runs import coordinator, queries, services, sweeper
from tests.support.waiting import eventually
from worker.runner import Runner

ENDED = ("completed", "failed", "cancelled", "timed_out")


@contextmanager
def engine(*, slots: int = 32, coordinators: int = 1) -> Iterator[Runner]:
    stop = threading.Event()
    threads = [
        threading.Thread(target=coordinator.run_forever, args=(stop, lambda: None), daemon=True)
        for _ in range(coordinators)
    ]
    threads.append(threading.Thread(target=sweeper.run_forever, args=(stop, lambda: None), daemon=True))
    runner = Runner("runner", slots=slots)
    for thread in threads:
        thread.start()
    runner.start()
    try:
        yield runner
    finally:
        stop.set()
        runner.stop()
        for thread in threads:
            thread.join(10)


def start(document: Any, inputs: Any = None, **more: Any) -> str:
    return services.start(services.StartRequest(document, inputs or {}, **more)).id


def ended(run_id: str, *, seconds: float = 30.0) -> dict[str, Any]:
    """The run once it has ended."""

    def probe() -> dict[str, Any] | None:
        view = queries.run(run_id)
        return view if view["status"] in ENDED else None

    return eventually(probe, seconds=seconds) or {}
