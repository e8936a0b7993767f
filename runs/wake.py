"""Doorbells through Redis: they only shorten waits. Everything works, a little later, when Redis is gone."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterable
from functools import cache
from typing import Any

import redis
from django.conf import settings

READY = "aob:ready"
"""Somebody left work for a coordinator."""

EVENTS = "aob:events"
"""Runs whose logs grew, as ids separated by spaces."""

TEXT = "aob:text"
"""With a run's id behind it: what its agents' models say right now, as JSON."""

_log = logging.getLogger(__name__)


@cache
def client() -> redis.Redis[Any]:  # type: ignore[type-arg]
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=2, socket_connect_timeout=2)


def ready() -> None:
    _publish(READY, "1")


def changed(run_ids: Iterable[str]) -> None:
    ids = " ".join(run_ids)
    if ids:
        _publish(EVENTS, ids)


def text(run_id: str, node: str, step: int, delta: str) -> None:
    """What a model is saying right now, for those who watch."""
    _publish(f"{TEXT}:{run_id}", json.dumps({"node": node, "step": step, "text": delta}))


_quiet_until = 0.0


def _publish(channel: str, text: str) -> None:
    """A failing Redis is left alone for a second, so that it slows nothing down."""
    global _quiet_until
    if time.monotonic() < _quiet_until:
        return
    try:
        client().publish(channel, text)
    except redis.RedisError as error:
        _quiet_until = time.monotonic() + 1
        _log.warning("Redis does not take wake-ups: %s", error)


class Waiter:
    """Waits for a doorbell, at most so long; a thread listens and reconnects by itself."""

    def __init__(self, channel: str) -> None:
        self._channel = channel
        self._rung = threading.Event()
        threading.Thread(target=self._listen, name=f"listen {channel}", daemon=True).start()

    def wait(self, seconds: float) -> bool:
        rung = self._rung.wait(seconds)
        self._rung.clear()
        return rung

    def ring(self) -> None:
        self._rung.set()

    def _listen(self) -> None:
        while True:
            try:
                connection = redis.Redis.from_url(
                    settings.REDIS_URL,
                    socket_timeout=None,
                    socket_connect_timeout=5,
                    health_check_interval=10,
                )
                subscription = connection.pubsub(ignore_subscribe_messages=True)
                subscription.subscribe(self._channel)
                while True:
                    if subscription.get_message(timeout=15) is not None:
                        self._rung.set()
            except redis.RedisError:
                self._rung.set()
                time.sleep(1)
