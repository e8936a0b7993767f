"""The Celery worker: its consumer passes doorbells on to the runner in the same process."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

from kombu.exceptions import ChannelError, OperationalError

from runs import dispatch
from worker import doorbells
from worker.runner import Runner

PLANE = "runner"
LOOK_SECONDS = 5.0
DEAF_SECONDS = 15.0
"""A consumer that took nothing for so long although doorbells waited has gone deaf (hazard P3)."""

_log = logging.getLogger(__name__)


def _waiting(queues: Sequence[str]) -> int:
    """How many messages wait in these queues. Raises OperationalError when the broker does not answer."""
    count = 0
    with dispatch.celery_app().connection_for_read() as connection:
        for queue in queues:
            try:
                count += connection.default_channel.queue_declare(queue, passive=True).message_count
            except ChannelError:  # nobody has sent anything there yet
                continue
    return count


class Hearing:
    """Whether the consumer still takes what waits for it. A broker that does not answer is no fault of the consumer."""

    def __init__(self, waiting: Callable[[], int], *, now: Callable[[], float] = time.monotonic) -> None:
        self._waiting = waiting
        self._now = now
        self._heard = now()
        self._since: float | None = None

    def heard(self) -> None:
        self._heard = self._now()

    def look(self) -> bool:
        """False when doorbells have been waiting for DEAF_SECONDS and none was taken meanwhile."""
        try:
            waits = self._waiting() > 0
        except (OperationalError, OSError):
            waits = False
        if not waits:
            self._since = None
            return True
        if self._since is None:
            self._since = self._now()
        return self._now() - max(self._since, self._heard) < DEAF_SECONDS


def run_forever(alive: Callable[[], None], finish_all: Callable[[], bool]) -> None:
    """The worker process; returns after a signal, its tasks finished or, unless `finish_all`, given up."""
    queues = [dispatch.queue_name(priority) for priority in range(3)]
    hearing = Hearing(lambda: _waiting(queues))
    deaf = threading.Event()
    # The supervisor restarts what shows no progress; a runner that works on while its consumer is deaf must not hide it.
    runner = Runner(PLANE, alive=lambda: None if deaf.is_set() else alive())

    def ring(ids: list[int]) -> None:
        hearing.heard()
        runner.ring(ids)

    doorbells.careful()
    threading.Thread(target=_listen, args=(hearing, deaf), name="hearing", daemon=True).start()
    runner.start()
    worker = dispatch.celery_app().Worker(
        consumer_cls=partial(doorbells.Doorbells, ring),
        pool="solo",
        concurrency=1,
        queues=queues,
        hostname=f"{PLANE}@%h",
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        loglevel="WARNING",
        quiet=True,
    )
    try:
        worker.start()
    finally:
        runner.stop(finish_all=finish_all())


def _listen(hearing: Hearing, deaf: threading.Event) -> None:
    while not deaf.wait(LOOK_SECONDS):
        if not hearing.look():
            _log.error("Doorbells wait and none was taken for %.0f s: the consumer is deaf", DEAF_SECONDS)
            deaf.set()
