"""Doorbells out of the broker: lists of task numbers. Whatever else stands in a queue is dropped (hazards S16, F7).

Of a message only its name and its numbers are read, by our own decoder. So nobody who can write to the broker can name
a task, a time, a result or a next message that Celery would see to, and nothing there can end the worker.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from celery.worker.consumer import Consumer
from kombu.transport import TRANSPORT_ALIASES, redis, virtual
from redis.exceptions import DataError

from runs import dispatch
from workflows.core.errors import AobError
from workflows.core.strictjson import decode

MAX_IDS = 10_000
MAX_BYTES = 1024 * 1024
MAX_ID = 2**63 - 1

_MALFORMED = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError, DataError)
"""What kombu raises for an entry of a queue that is no message, or one without what a message has."""

_log = logging.getLogger(__name__)


class Doorbells(Consumer):  # type: ignore[misc]
    """Celery's consumer, that hands on numbers instead of running tasks. Takes first whom to hand them to."""

    def __init__(self, ring: Callable[[list[int]], None], *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._ring = ring

    def create_task_handler(self, *arguments: Any, **more: Any) -> Callable[[Any], None]:
        def take(message: Any) -> None:
            try:
                self._ring(ids_of(message))
            except AobError as error:
                _log.warning("A message of the broker was dropped: %s", error.message)
            finally:
                # Before anything is done about it: tasks are in Postgres, and the sweeper rings again.
                message.ack_log_error(_log, self.connection_errors)

        return take

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        _log.warning("A message of the broker was dropped: %s", _short(exc))
        message.ack_log_error(_log, self.connection_errors)


def ids_of(message: Any) -> list[int]:
    """The numbers of a message. Raises AobError for everything that is no doorbell."""
    headers = message.headers if isinstance(message.headers, dict) else {}
    if headers.get("task") != dispatch.EXECUTE or message.content_type != "application/json":
        raise AobError("no_doorbell", "It is no doorbell.")
    body = message.body if isinstance(message.body, (bytes, str)) else b""
    found = decode(body, max_bytes=MAX_BYTES)
    match found:
        case [[[*ids]], *_] if len(ids) <= MAX_IDS and all(type(one) is int and 0 < one <= MAX_ID for one in ids):
            return ids
    raise AobError("no_doorbell", f"Its arguments are no list of at most {MAX_IDS:,} task numbers.")


class _Message(virtual.Message):  # type: ignore[misc]
    """kombu's, that unpacks nothing: we compress no doorbells, and a small body could stand for a large one."""

    def __init__(self, payload: Any, **more: Any) -> None:
        if payload["headers"].get("compression"):
            raise ValueError("it is compressed")
        super().__init__(payload, **more)


class _Channel(redis.Channel):  # type: ignore[misc]
    """kombu's, that outlives entries of its queues that are no messages."""

    Message = _Message  # type: ignore[assignment]

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)
        except _MALFORMED as error:
            # It has left the queue already.
            _log.warning("An entry of a queue was dropped, which is no message: %s", _short(error))
            return True


class Transport(redis.Transport):  # type: ignore[misc]
    """kombu's, with such channels."""

    Channel = _Channel


def _short(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]


def careful() -> None:
    """From now on this process reads queues in Redis as `Transport` does."""
    for alias in ("redis", "rediss"):
        TRANSPORT_ALIASES[alias] = f"{__name__}:Transport"
