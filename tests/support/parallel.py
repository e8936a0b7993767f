"""Several calls at one instant, each in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from django.db import connections


def at_once(*calls: Callable[[], Any], seconds: float = 60.0) -> list[Any]:
    """What each gave, or the exception that it raised."""
    outcomes: list[Any] = [None] * len(calls)
    barrier = threading.Barrier(len(calls))

    def one(place: int) -> None:
        try:
            barrier.wait(seconds)
            outcomes[place] = calls[place]()
        except Exception as error:
            outcomes[place] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=one, args=(place,)) for place in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds)
    return outcomes


def meanwhile(call: Callable[[], Any]) -> Any:
    """What a call gives that another process makes meanwhile: on connections of its own, and to its end."""
    [outcome] = at_once(call)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome
