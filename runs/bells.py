"""Doorbells are rung behind the committer's back: whoever committed goes on at once, and bells of many commits merge.

Nothing depends on a bell (law 1): one that is lost with its process costs a wait, never a result.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable

from runs import dispatch, wake
from runs.leases import Leased

Tasks = dict[tuple[str, int], list[int]]


class Bells:
    """What is to be rung, and the thread that rings it."""

    def __init__(self) -> None:
        self._forget()
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._wanted = threading.Event()
        self._thread: threading.Thread | None = None
        self._clear()

    def _clear(self) -> None:
        self._tasks: Tasks = {}
        self._changed: dict[str, None] = {}
        self._ready = False

    def ring(self, *, tasks: Iterable[Leased] = (), changed: Iterable[str] = (), ready: bool = False) -> None:
        """Wakes workers for tasks that nobody holds, watchers of runs whose logs grew, and coordinators."""
        with self._lock:
            for task in tasks:
                if task.token is None:
                    self._tasks.setdefault((task.plane, task.priority), []).append(task.id)
            self._changed.update(dict.fromkeys(changed))
            self._ready |= ready
            if not (self._tasks or self._changed or self._ready):
                return
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="bells", daemon=True)
                self._thread.start()
        self._wanted.set()

    def _work(self) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            self.deliver()

    def deliver(self) -> None:
        """Rings what is waiting."""
        with self._lock:
            tasks, changed, ready = self._tasks, self._changed, self._ready
            self._clear()
        dispatch.ring_ids(tasks)
        if ready:
            wake.ready()
        wake.changed(changed)


bells = Bells()
"""The bells of this process."""
