"""What a process shows its supervisor: that it makes progress, and that it has grown and wants a successor (law 8).

Long-lived Python processes grow: allocators keep what they once had, and libraries leak. So each process looks at its
own memory. Beyond AOB_MAX_PROCESS_MB it asks for a successor and goes on; when the successor is ready the supervisor
ends it, and it may finish what it does for as long as that takes. Where no supervisor listens it ends by itself, and is
started again by whatever started it.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from pathlib import Path

import psutil

ALIVE_SECONDS = 2.0
YOUNG_SECONDS = 8.0
"""What a process holds at this age is what it needs: its clients and its work have found it again by then."""

NEED = 1.5
"""A process may hold so many times what it needs, be that beyond the limit: else it would be replaced again and again."""

_log = logging.getLogger(__name__)


class LifeSign:
    """The sign of one process: `run/<name>.alive` holds its number. Called by its own loop, as often as it likes."""

    def __init__(self, name: str, home: Path, *, max_bytes: int, supervised: bool) -> None:
        self._alive = home / "run" / f"{name}.alive"
        self._grown = home / "run" / f"{name}.grown"
        self._alive.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._max_bytes: float = max_bytes
        self._is_young = True
        self._supervised = supervised
        self._process = psutil.Process()
        self._began = time.monotonic()
        self._last = 0.0
        self.has_grown = False
        """Whether this process has asked for a successor, so that nobody waits for its end."""

    def __call__(self) -> None:
        """Shows progress, and looks at the memory; does something every few seconds only."""
        now = time.monotonic()
        if now - self._last < ALIVE_SECONDS:
            return
        first = not self._last
        self._alive.touch(mode=0o600)  # takes no room on a disk that is full
        if first:
            self._alive.write_text(str(os.getpid()))
        self._last = now
        if self.has_grown or not self._is_too_large(now):
            return
        self.has_grown = True
        _log.warning("This process has grown beyond AOB_MAX_PROCESS_MB; a successor takes over")
        if self._supervised:
            self._grown.touch(mode=0o600)
            self._grown.write_text(str(os.getpid()))
        else:
            os.kill(os.getpid(), signal.SIGTERM)

    def _is_too_large(self, now: float) -> bool:
        if not self._max_bytes or now - self._began < YOUNG_SECONDS:
            return False
        size = self._process.memory_info().rss
        if self._is_young:
            self._is_young = False
            self._max_bytes = max(self._max_bytes, NEED * size)
        return bool(size > self._max_bytes)
