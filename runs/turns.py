"""How long runs may decide at a stretch, so that none holds up the others: the borders of turns are no decisions.

The pure core asks no clock: it is handed a function that says whether to go on, and asks it between two decisions. One
decision cannot be interrupted, so each run that has a turn makes at least one, however long that takes.
"""

from __future__ import annotations

import time
from collections.abc import Callable

TURN_SECONDS = 0.25
"""So long a run decides at a stretch; one that takes longer for it is slow."""

BATCH_SECONDS = 2.0
"""So long a batch goes on giving its runs their turns; far from where the server ends its session (`runs/db.py`)."""

GROUP_SECONDS = 1.0
"""So long starts that are accepted together run ahead: each of them waits for the last."""


def within(seconds: float) -> Callable[[], bool]:
    """True until so many seconds are over, from now."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() < end
