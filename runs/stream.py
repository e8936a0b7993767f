"""Committed events of a run, in order, to whoever watches: first from Postgres, then as they come.

Redis only wakes; what is sent is read by seq, so a watcher misses nothing and gets nothing twice, over any
number of reconnects (hazards P13, I13). What is new in a run is read once for all of its watchers, and each takes it
at its own pace: one that is slow falls behind into the log and holds nobody back (hazard F24).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from itertools import islice
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
import psycopg_pool
import redis.asyncio
from django.conf import settings
from psycopg_pool import AsyncConnectionPool

from runs import db
from runs.core.events import TERMINAL, Event
from runs.errors import RunError
from runs.lines import brief
from runs.queries import event_view, require
from runs.wake import EVENTS

PAGE = 100
PAGE_BYTES = 256 * 1024
"""At most so much is read for one watcher at a time, or a single event: a watcher that has stopped holds no more."""

RECENT = 500
RECENT_BYTES = 4 * 1024 * 1024
"""So much of a run is kept for its watchers; who is further behind reads from Postgres at its own pace."""

CATCHING_UP = 2
"""So many watchers read from the log at a time; the other connections are for what is new."""

HANDED = 16
"""So many of these a watcher holds at a time."""

MAX_READ = 1_000
LOOK_SECONDS = 2.0
"""So often every watched run is looked at without a bell, all of them in one statement."""

MAX_DIGITS = 10
KEEP_SECONDS = 10.0
RECHECK_SECONDS = 5.0

_log = logging.getLogger(__name__)
_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()


class Streamed:
    """An event on its way to watchers; its JSON is written once for all of them."""

    __slots__ = ("seq", "type", "node", "_event", "_text", "_brief")

    def __init__(self, event: Event) -> None:
        self.seq, self.type, self.node = event.seq, event.type, event.node
        self._event = event
        self._text: str | None = None
        self._brief: str | None = None

    @property
    def brief(self) -> str:
        """Without its values, with a level and a text: what pages take."""
        if self._brief is None:
            self._brief = json.dumps(brief(self._event), ensure_ascii=False, separators=(",", ":"))
        return self._brief

    @property
    def text(self) -> str:
        if self._text is None:
            self._text = json.dumps(event_view(self._event), ensure_ascii=False, separators=(",", ":"))
        return self._text


class Feed:
    """The newest events of one watched run: those with seq from `floor` + 1 to `top`."""

    def __init__(self) -> None:
        self.watchers = 0
        self.floor = self.top = -1
        self.ended = False
        self._recent: deque[Streamed] = deque()
        self._bytes = 0
        self._change: asyncio.Future[None] | None = None

    @property
    def begun(self) -> bool:
        return self.top >= 0

    def begin(self, seq: int) -> None:
        self.floor = self.top = seq

    def add(self, event: Streamed) -> None:
        if event.seq != self.top + 1:
            return
        self._recent.append(event)
        self.top = event.seq
        self.ended = event.type in TERMINAL
        self._bytes += len(event.text)
        while len(self._recent) > RECENT or (self._bytes > RECENT_BYTES and len(self._recent) > 1):
            oldest = self._recent.popleft()
            self.floor = oldest.seq
            self._bytes -= len(oldest.text)

    def after(self, seq: int) -> list[Streamed]:
        """The next events that follow this seq, which must not be below `floor`."""
        if seq >= self.top:
            return []
        return list(islice(self._recent, seq - self.floor, seq - self.floor + HANDED))

    def tell(self) -> None:
        if self._change is not None and not self._change.done():
            self._change.set_result(None)
        self._change = None

    async def changed(self, seconds: float) -> None:
        """Until something is added, at most so long."""
        if self._change is None:
            self._change = asyncio.get_running_loop().create_future()
        await asyncio.wait([self._change], timeout=seconds)


class Hub:
    """One for each event loop: hears which runs changed, and reads for all of their watchers at once."""

    def __init__(self) -> None:
        self._feeds: dict[str, Feed] = {}
        self._dirty: set[str] = set()
        self._wanted = asyncio.Event()
        self.pool: AsyncConnectionPool[Any] = AsyncConnectionPool(
            db.conninfo(), min_size=0, max_size=4, max_idle=20, configure=_configure, timeout=30, open=False
        )
        self.behind = asyncio.Semaphore(CATCHING_UP)
        self._opened = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self._change: asyncio.Future[None] | None = None

    async def open(self) -> None:
        async with self._opened:
            if not self._tasks:
                await self.pool.open()
                self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._read())]

    def watch(self, run_id: str) -> Feed:
        feed = self._feeds.setdefault(run_id, Feed())
        feed.watchers += 1
        return feed

    def leave(self, run_id: str, feed: Feed) -> None:
        feed.watchers -= 1
        if feed.watchers == 0 and self._feeds.get(run_id) is feed:
            del self._feeds[run_id]

    def any_change(self) -> asyncio.Future[None]:
        """Done as soon as any run has changed: for what is about all of them."""
        if self._change is None or self._change.done():
            self._change = asyncio.get_running_loop().create_future()
        return self._change

    def look(self, run_ids: Iterable[str]) -> None:
        """These runs may have new events."""
        if self._change is not None and not self._change.done():
            self._change.set_result(None)
        found = self._feeds.keys() & set(run_ids)
        if found:
            self._dirty |= found
            self._wanted.set()

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
                            self.look(bytes(message["data"]).decode("ascii", "replace").split(" "))
            except redis.RedisError as error:
                _log.warning("No wake-ups from Redis: %s", error)
                await asyncio.sleep(1)

    async def _read(self) -> None:
        """Reads what is new in the runs that changed, in one statement for all that changed meanwhile."""
        looked = time.monotonic()
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wanted.wait(), LOOK_SECONDS)
            self._wanted.clear()
            if time.monotonic() - looked > LOOK_SECONDS:
                looked = time.monotonic()
                self._dirty |= self._feeds.keys()
            asked, self._dirty = self._dirty, set()
            feeds = {run: self._feeds[run] for run in asked if run in self._feeds and self._feeds[run].begun}
            if not feeds:
                continue
            try:
                await self._distribute(feeds)
            except (psycopg.Error, psycopg_pool.PoolTimeout, OSError) as error:
                _log.warning("The events of watched runs cannot be read: %s", error)
                self._dirty |= feeds.keys()
                await asyncio.sleep(0.5)

    async def _distribute(self, feeds: dict[str, Feed]) -> None:
        async with self.pool.connection() as connection:
            rows = await connection.execute(
                db.sql("events_after"),
                {"run": list(feeds), "seq": [feed.top for feed in feeds.values()], "limit": MAX_READ},
            )
            found = await rows.fetchall()
        for run, seq, kind, at, node, data in found:
            feeds[run].add(Streamed(Event(seq, kind, db.micros(at), node, data)))
        for feed in {row[0]: feeds[row[0]] for row in found}.values():
            feed.tell()
        if len(found) == MAX_READ:
            self.look(feeds)


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


def resume_at(run_id: str, text: str) -> int:
    """The seq after which a watcher goes on. Raises RunError `run_unknown`, `seq_invalid`, `seq_ahead`."""
    last = require(run_id)
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS):
        raise RunError("seq_invalid", f"{text[:40]!r} is not a seq.", "/after", "Use the seq of the last event you have.")
    if int(text) > last:
        # Only after an older state of the database was restored: what it has seen is no longer what happened.
        hint = "Drop what you have of this run and read it from after=0."
        raise RunError("seq_ahead", f"The log of this run ends at {last}, before {text}.", "/after", hint)
    return int(text)


async def _always() -> bool:
    return True


async def follow(
    run_id: str, after: int, *, permitted: Callable[[], Awaitable[bool]] = _always
) -> AsyncIterator[Streamed | None]:
    """The events of a run after a seq, then new ones as they are committed, up to the run's end.

    None stands for "still here" (a keep-alive). Ends also when the watcher is no longer permitted.
    """
    bells = hub()
    await bells.open()
    feed = bells.watch(run_id)
    checked = time.monotonic()
    try:
        while True:
            if time.monotonic() - checked > RECHECK_SECONDS:
                if not await permitted():
                    return
                checked = time.monotonic()
            behind = not feed.begun or after < feed.floor
            events = await _page(bells, run_id, after) if behind else feed.after(after)
            for event in events:
                yield event
                after = event.seq
                if event.type in TERMINAL:
                    return
            if not events:
                if feed.ended and after >= feed.top:
                    return
                if not feed.begun:
                    ended, last = await _standing(bells, run_id)
                    if ended and after >= last:
                        return
                    if not feed.begun:
                        feed.begin(min(after, last))
                        bells.look([run_id])
                if feed.top > after:
                    # It came while something else was awaited above, and rang for nobody.
                    continue
                before = feed.top
                await feed.changed(KEEP_SECONDS)
                if feed.top == before:
                    yield None
    finally:
        bells.leave(run_id, feed)


async def _page(bells: Hub, run_id: str, after: int) -> list[Streamed]:
    async with bells.behind, bells.pool.connection() as connection:
        rows = await connection.execute(
            "SELECT seq, type, at, node, data, octet_length(data::text) FROM run_event"
            " WHERE run_id = %s AND seq > %s ORDER BY seq LIMIT %s",
            [run_id, after, PAGE],
        )
        events: list[Streamed] = []
        left = PAGE_BYTES
        async for seq, kind, at, node, data, size in rows:
            left -= size
            if events and left < 0:
                break
            events.append(Streamed(Event(seq, kind, db.micros(at), node, data)))
        return events


async def _standing(bells: Hub, run_id: str) -> tuple[bool, int]:
    """Whether a run has ended, and its last seq."""
    async with bells.pool.connection() as connection:
        cursor = await connection.execute("SELECT ended_at IS NOT NULL, last_seq FROM run WHERE id = %s", [run_id])
        row = await cursor.fetchone()
        return (row[0], row[1]) if row else (True, 0)
