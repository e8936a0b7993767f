"""Back-pressure: when more work waits than can soon be done, new runs are refused instead of piled up (law 8)."""

from __future__ import annotations

import threading
import time

from django.conf import settings

from runs import db
from workflows.core.errors import AobError

LOOK_SECONDS = 0.5


class Overloaded(AobError):
    """More is asked for than can be done; the caller may try again."""


class Backlog:
    """How much waits, counted at most twice a second and never further than the limit."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._looked = 0.0
        self._full: str | None = None

    def admit(self) -> None:
        """Raises Overloaded while more than AOB_MAX_BACKLOG runs or tasks wait."""
        if time.monotonic() - self._looked > LOOK_SECONDS and self._lock.acquire(blocking=False):
            try:
                self._full = self._look()
                self._looked = time.monotonic()
            finally:
                self._lock.release()
        if self._full is not None:
            raise Overloaded("overloaded", self._full, hint="Nothing was accepted; try again a little later.")

    def _look(self) -> str | None:
        limit = settings.AOB_MAX_BACKLOG
        with db.statement() as cursor:
            row = cursor.execute(db.sql("count_backlog"), {"limit": limit + 1}).fetchone()
        assert row is not None
        for count, what in zip(row, ("runs", "tasks"), strict=True):
            if count > limit:
                return f"More than {limit} {what} wait to be taken up (AOB_MAX_BACKLOG)."
        return None


backlog = Backlog()
"""The backlog as this process sees it."""
