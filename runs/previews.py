"""What agents' models are saying right now, for those who watch a run: a preview that nobody depends on.

The whole answer comes with the event that ends its step. Who is slow loses pieces, and without Redis there are none.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from weakref import WeakKeyDictionary

import redis.asyncio
from django.conf import settings

from runs.wake import TEXT

HELD = 64
"""So many pieces are held for one watcher; further ones are dropped until it has taken them."""

MAX_TEXT = 16_000
"""Characters that one message carries at most; of more the newest."""

GATHER_SECONDS = 0.1
LOOK_SECONDS = 0.5
"""So often it is looked whether other runs are watched."""

_log = logging.getLogger(__name__)
_all: WeakKeyDictionary[asyncio.AbstractEventLoop, _Previews] = WeakKeyDictionary()


class _Previews:
    """One for each event loop: hears of the watched runs, and hands on to all of their watchers."""

    def __init__(self) -> None:
        self._watchers: dict[str, set[asyncio.Queue[str]]] = {}
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def watch(self, run_id: str) -> asyncio.Queue[str]:
        queue: asyncio.Queue[str] = asyncio.Queue(HELD)
        self._watchers.setdefault(run_id, set()).add(queue)
        self._wanted.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._listen())
        return queue

    def leave(self, run_id: str, queue: asyncio.Queue[str]) -> None:
        watching = self._watchers[run_id]
        watching.discard(queue)
        if not watching:
            del self._watchers[run_id]

    async def _listen(self) -> None:
        while True:
            await self._wanted.wait()
            try:
                client = redis.asyncio.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=5)
                async with client, client.pubsub(ignore_subscribe_messages=True) as subscription:
                    heard: set[str] = set()
                    while self._watchers:
                        watched = {f"{TEXT}:{run_id}" for run_id in self._watchers}
                        if more := watched - heard:
                            await subscription.subscribe(*more)
                        if over := heard - watched:
                            await subscription.unsubscribe(*over)
                        heard = watched
                        message = await subscription.get_message(timeout=LOOK_SECONDS)
                        if message is not None:
                            self._hand(
                                bytes(message["channel"]).decode(), bytes(message["data"]).decode("utf-8", "replace")
                            )
                    self._wanted.clear()
            except redis.RedisError as error:
                _log.warning("No previews of what models say: %s", error)
                await asyncio.sleep(1)

    def _hand(self, channel: str, text: str) -> None:
        for queue in self._watchers.get(channel.removeprefix(f"{TEXT}:"), ()):
            if not queue.full():
                queue.put_nowait(text)


async def follow(run_id: str) -> AsyncIterator[str]:
    """Messages `{"type": "AgentText", "node", "step", "text"}` as JSON, without a seq; never ends by itself."""
    loop = asyncio.get_running_loop()
    previews = _all.setdefault(loop, _Previews())
    queue = previews.watch(run_id)
    try:
        while True:
            pieces = [await queue.get()]
            await asyncio.sleep(GATHER_SECONDS)
            while not queue.empty():
                pieces.append(queue.get_nowait())
            for message in _joined(pieces):
                yield message
    finally:
        previews.leave(run_id, queue)


def _joined(pieces: list[str]) -> list[str]:
    """The pieces of one step as one message."""
    texts: dict[tuple[str, int], str] = {}
    for piece in pieces:
        said = json.loads(piece)
        key = (str(said["node"]), int(said["step"]))
        texts[key] = (texts.get(key, "") + str(said["text"]))[-MAX_TEXT:]
    return [
        json.dumps({"type": "AgentText", "node": node, "step": step, "text": text}, ensure_ascii=False)
        for (node, step), text in texts.items()
    ]
