"""One executor per effect node type."""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points

from worker.executors.base import Executor


@cache
def executors() -> dict[str, Executor]:
    """Every executor by node type: the built-in ones and those of the entry-point group `aob.executors`."""
    from worker.executors import email, function, http, notify

    known: dict[str, Executor] = {
        "http": http.execute,
        "function": function.execute,
        "email": email.execute,
        "notify": notify.execute,
    }
    for point in sorted(entry_points(group="aob.executors"), key=lambda point: point.name):
        known.setdefault(point.name, point.load())
    return known
