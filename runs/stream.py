"""Committed events of a run, in order, to whoever watches: first from Postgres, then as they come.

Redis only wakes; what is sent is read by seq, so a watcher misses nothing and gets nothing twice, over any
number of reconnects (hazards P13, I13).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from weakref import WeakKeyDictionary

import redis.asyncio
from django.conf import settings
from psycopg_pool import AsyncConnectionPool

from runs import db
from runs.core.events import TERMINAL, Event
from runs.queries import event_view
from runs.wake import EVENTS

PAGE = 500
LOOK_SECONDS = 2.0
RECHECK_SECONDS = 5.0

_log = logging.getLogger(__name__)
_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()


class Hub:
    """One subscription per event loop; it wakes the watchers of the runs that changed."""

    def __init__(self) -> None:
        self._watchers: dict[str, set[asyncio.Event]] = {}
        self.pool: AsyncConnectionPool[Any] = AsyncConnectionPool(
            db.conninfo(), min_size=0, max_size=4, max_idle=20, configure=_configure, timeout=10, open=False
        )
        self._opened = asyncio.Lock()
        self._listener: asyncio.Task[None] | None = None

    async def open(self) -> None:
        async with self._opened:
            if self._listener is None:
                await self.pool.open()
                self._listener = asyncio.create_task(self._listen())

    def watch(self, run_id: str) -> asyncio.Event:
        bell = asyncio.Event()
        self._watchers.setdefault(run_id, set()).add(bell)
        return bell

    def leave(self, run_id: str, bell: asyncio.Event) -> None:
        bells = self._watchers.get(run_id, set())
        bells.discard(bell)
        if not bells:
            self._watchers.pop(run_id, None)

    async def _listen(self) -> None:
        while True:
            try:
                client = redis.asyncio.Redis.from_url(
                    settings.REDIS_URL, socket_connect_timeout=5, health_check_interval=10
                )
                async with client.pubsub(ignore_subscribe_messages=True) as subscription:
                    await subscription.subscribe(EVENTS)
                    while True:
                        message = await subscription.get_message(timeout=15)
                        if message is not None:
                            self._wake(bytes(message["data"]).decode("ascii", "replace").split(" "))
            except redis.RedisError as error:
                _log.warning("No wake-ups from Redis: %s", error)
                await asyncio.sleep(1)

    def _wake(self, run_ids: list[str]) -> None:
        for run_id in run_ids:
            for bell in self._watchers.get(run_id, ()):
                bell.set()


async def _configure(connection: Any) -> None:
    db.configure(connection)
    await connection.set_autocommit(True)


def hub() -> Hub:
    """The hub of the running event loop."""
    loop = asyncio.get_running_loop()
    found = _hubs.get(loop)
    if found is None:
        found = _hubs[loop] = Hub()
    return found


async def _always() -> bool:
    return True


async def follow(
    run_id: str, after: int, *, permitted: Callable[[], Awaitable[bool]] = _always
) -> AsyncIterator[dict[str, Any] | None]:
    """The events of a run after a seq, then new ones as they are committed, up to the run's end.

    None stands for "still here" (a keep-alive). Ends also when the watcher is no longer permitted.
    """
    bells = hub()
    await bells.open()
    bell = bells.watch(run_id)
    checked = time.monotonic()
    try:
        while True:
            bell.clear()
            page = await _page(bells, run_id, after)
            for event in page:
                yield event_view(event)
                after = event.seq
                if event.type in TERMINAL:
                    return
            if not page and await _has_ended(bells, run_id, after):
                return
            if time.monotonic() - checked > RECHECK_SECONDS:
                if not await permitted():
                    return
                checked = time.monotonic()
            if len(page) == PAGE:
                continue
            try:
                await asyncio.wait_for(bell.wait(), LOOK_SECONDS)
            except TimeoutError:
                yield None
    finally:
        bells.leave(run_id, bell)


async def _page(bells: Hub, run_id: str, after: int) -> list[Event]:
    async with bells.pool.connection() as connection:
        rows = await connection.execute(
            "SELECT seq, type, at, node, data FROM run_event WHERE run_id = %s AND seq > %s ORDER BY seq LIMIT %s",
            [run_id, after, PAGE],
        )
        return [Event(seq, kind, db.micros(at), node, data) async for seq, kind, at, node, data in rows]


async def _has_ended(bells: Hub, run_id: str, after: int) -> bool:
    """True when a watcher who has seen `after` has seen everything there will be."""
    async with bells.pool.connection() as connection:
        cursor = await connection.execute(
            "SELECT 1 FROM run WHERE id = %s AND ended_at IS NOT NULL AND last_seq <= %s", [run_id, after]
        )
        return await cursor.fetchone() is not None
