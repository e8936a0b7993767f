"""Reading values' blobs while runs are held: with patience for so long only, because others wait for the same batch.

What comes too late is kept, so that the run finds it when it has rested (hazard F30).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor

from runs import blobs
from runs.blobs import StorageUnavailable

PATIENCE = 1.0
READERS = 2
KEPT_BYTES = 32 * 1024 * 1024
"""So many bytes that came too late are kept until they are asked for again, or a single blob."""


class Fetcher:
    """`fetch` for the core, in threads of its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="fetch")
        self._reading: dict[str, Future[bytes]] = {}
        self._late: OrderedDict[str, bytes] = OrderedDict()

    def fetch(self, name: str) -> bytes:
        """All bytes of a value's blob. Raises MissingValue, StorageUnavailable also when it takes too long."""
        with self._lock:
            kept = self._late.get(name)
            if kept is not None:
                return kept
            known = self._reading.get(name)
            if known is not None:
                # Somebody has waited for it already, and whoever claimed its run again should not.
                raise _slow(name)
            future = self._readers.submit(blobs.fetch, name)
            self._reading[name] = future
        try:
            data = future.result(PATIENCE)
        except TimeoutError:
            future.add_done_callback(lambda done: self._came_late(name, done))
            raise _slow(name) from None
        except BaseException:
            self._forget(name)
            raise
        self._forget(name)
        return data

    def _forget(self, name: str) -> None:
        with self._lock:
            self._reading.pop(name, None)

    def _came_late(self, name: str, done: Future[bytes]) -> None:
        with self._lock:
            self._reading.pop(name, None)
            if done.exception() is not None:
                return
            self._late[name] = done.result()
            while len(self._late) > 1 and sum(map(len, self._late.values())) > KEPT_BYTES:
                self._late.popitem(last=False)


def _slow(name: str) -> StorageUnavailable:
    return StorageUnavailable(f"The blob storage does not give {name} in {PATIENCE:.0f} s")
