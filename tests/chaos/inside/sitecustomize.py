"""What the harness needs inside every process of the system under test: a clock that it can move, and planted bugs.

`CHAOS_CLOCK` is a file with the seconds by which the wall clock is wrong. `CHAOS_BUG` names a bug that the harness
must find: `ack` tells clients "accepted" before the commit; `stale` takes results whose lease was lost;
`cursor` lets streams go on from the highest seq there is instead of the last one that was sent; `types` lets the `test`
of a patch take `true` for 1.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Any


def _plant_ack() -> None:
    from runs import accepting

    real = accepting._commit

    def commit(changes: Any, requests: Any, outcomes: Any, tasks: Any, now: int) -> bool:
        for place, change in changes.items():
            outcomes[place] = accepting.Started(change.row.id, change)

        def later() -> None:
            time.sleep(0.05)
            real(changes, requests, [None] * len(requests), [], now)

        threading.Thread(target=later, daemon=True).start()
        return True

    accepting._commit = commit


def _plant_stale() -> None:
    from runs import coordinator, dispatch

    def accepts(state: Any, fact: Any) -> bool:
        activation = state.active.get(fact.node or "")
        if fact.type in ("TaskCompleted", "TaskFailed") and activation is not None and activation.kind == "task":
            return not state.ended and activation.result is None and not activation.retrying
        return real(state, fact)

    real = coordinator.accepts
    coordinator.accepts = accepts

    def claim_runs(cursor: Any, ids: Any, tasks: Any) -> Any:
        held = claim(cursor, ids, tasks)
        held.finished = {task.id for task in tasks}
        return held

    claim = coordinator.claim_runs
    coordinator.claim_runs = claim_runs
    dispatch.renew = lambda tasks: {task.id for task in tasks}


def _plant_cursor() -> None:
    import asyncio

    from runs import stream

    real = stream.Hub._distribute

    async def distribute(self: Any, feeds: Any) -> None:
        await real(self, feeds)
        await asyncio.sleep(0.02)
        async with self.pool.connection() as connection:
            for run, feed in feeds.items():
                row = await (
                    await connection.execute("SELECT max(seq) FROM run_event WHERE run_id = %s", [run])
                ).fetchone()
                if row[0] > feed.top:
                    feed.begin(row[0])
                    feed._recent.clear()

    stream.Hub._distribute = distribute
    stream.Feed.after = lambda self, seq: [event for event in self._recent if event.seq > seq]
    stream.Feed.floor = property(lambda self: 0, lambda self, value: None)


def _plant_types() -> None:
    import jsonpatch

    jsonpatch._json_equal = lambda stored, tested: stored == tested


def _setup_with_bug(*arguments: Any, **options: Any) -> None:
    _setup(*arguments, **options)
    plant = {"ack": _plant_ack, "stale": _plant_stale, "cursor": _plant_cursor, "types": _plant_types}
    plant[os.environ["CHAOS_BUG"]]()


class _Clock:
    """time.time() and time.time_ns(), wrong by what the file says; it is read once a second."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._wrong = 0
        self._read = 0.0

    def offset(self) -> int:
        now = time.monotonic()
        if now - self._read > 1:
            self._read = now
            try:
                with open(self._file) as file:
                    self._wrong = int(file.read() or 0)
            except (OSError, ValueError):
                self._wrong = 0
        return self._wrong


if os.environ.get("CHAOS_CLOCK"):
    _clock = _Clock(os.environ["CHAOS_CLOCK"])
    _time, _time_ns = time.time, time.time_ns
    time.time = lambda: _time() + _clock.offset()
    time.time_ns = lambda: _time_ns() + _clock.offset() * 1_000_000_000

if os.environ.get("CHAOS_BUG"):
    import django

    _setup = django.setup
    django.setup = _setup_with_bug
