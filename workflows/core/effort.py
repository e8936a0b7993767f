"""How far evaluating may go (pure; law 8): whoever bounds it is asked before each expression and each function.

What is cut off is no decision: a simulation says that it is incomplete, and a run makes the decision at another time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class Stopped(Exception):
    """Enough was done. No AobError: it is nothing that an expression or a node did, so no node fails of it."""


asked: ContextVar[Callable[[], None] | None] = ContextVar("asked", default=None)
"""Raises Stopped; None where nobody asks."""


@contextmanager
def bounded(ask: Callable[[], None]) -> Iterator[None]:
    """What is evaluated in here asks first."""
    token = asked.set(ask)
    try:
        yield
    finally:
        asked.reset(token)


def require_more() -> None:
    """Raises Stopped where whoever bounds it wants no more."""
    ask = asked.get()
    if ask is not None:
        ask()
