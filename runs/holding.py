"""Holding a run: what must be judged and written while nobody else advances it, such as a patch or an agent's step."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from runs import db
from runs.bells import bells
from runs.blobs import fetch
from runs.coordinator import EVENTS_PER_TURN
from runs.core.advance import advance
from runs.core.events import Event
from runs.core.fold import apply
from runs.core.state import State
from runs.core.values import Values
from runs.errors import Unavailable, is_id, unknown_run
from runs.irs import ir_of
from runs.store import Change, StateCache, claim_runs, load_states
from runs.turns import TURN_SECONDS, within
from runs.writing import write

HOLD_MS = 5_000
"""So long one waits for a run that others advance."""

WAIT_MS = 100
"""So long one waits for it at a time: whoever waits takes a connection and a place of those who hold other runs."""

PAUSE_SECONDS = 0.02

_holding = threading.BoundedSemaphore(db.POOL_SIZE // 2)
"""Who holds a run may need a second connection to read what it names; half of them are left for that."""


class _Busy(Exception):
    """Somebody else has the run."""


class Held:
    """A run that a transaction holds: its state, and what is to be written to its log."""

    def __init__(self, cursor: psycopg.Cursor[Any], run_id: str) -> None:
        claimed = claim_runs(cursor, [run_id], [])
        self.cursor = cursor
        self.now = claimed.now
        self.values = Values(fetch)
        self.events: list[Event] = []
        self._row = claimed.rows[0]
        self._held = load_states(cursor, [self._row], StateCache())[run_id]

    @property
    def state(self) -> State:
        return self._held.state

    def event(self, kind: str, data: dict[str, Any], node: str | None = None) -> Event:
        return Event(self.state.seq + 1, kind, self.now, node, data)

    def append(self, kind: str, data: dict[str, Any], node: str | None = None) -> None:
        event = self.event(kind, data, node)
        apply(self.state, event, ir_of)
        self.events.append(event)

    def change(self) -> Change:
        """What was appended, with what follows from it."""
        in_time = within(TURN_SECONDS)
        advance(self.state, ir_of, self.values, self.events, at=self.now, max_events=EVENTS_PER_TURN, go_on=in_time)
        return Change(self._row, self._held, self.events, self.values.new)


@contextmanager
def hold(run_id: str) -> Iterator[Held]:
    """Holds the run, waiting for whoever advances it, and commits what is appended. Raises RunError, Unavailable."""
    if not is_id(run_id):
        raise unknown_run(run_id)
    tasks, more = None, False
    deadline = time.monotonic() + HOLD_MS / 1000
    while True:
        try:
            with _place(deadline), db.transaction() as cursor:
                _lock(cursor, run_id)
                held = Held(cursor, run_id)
                yield held
                if held.events:
                    tasks, more = write(cursor, [held.change()], now=held.now)
                break
        except _Busy:
            if time.monotonic() > deadline:
                raise Unavailable("run_busy", "The run is busy; nothing was changed.", hint="Try again.") from None
            # Without it the place would be taken again before whoever waits for it has woken.
            time.sleep(PAUSE_SECONDS)
    if tasks is not None:
        bells.ring(tasks=tasks.read(), changed=[run_id], ready=more)


@contextmanager
def _place(deadline: float) -> Iterator[None]:
    if not _holding.acquire(timeout=max(0.0, deadline - time.monotonic())):
        raise Unavailable("run_busy", "Too many runs are busy; nothing was changed.", hint="Try again.")
    try:
        yield
    finally:
        _holding.release()


def _lock(cursor: psycopg.Cursor[Any], run_id: str) -> None:
    """Locks the run's row. Raises _Busy, after a while, when somebody else has it."""
    try:
        cursor.execute(f"SET LOCAL lock_timeout = {WAIT_MS}")
        if not cursor.execute("SELECT 1 FROM run WHERE id = %s FOR UPDATE", [run_id]).fetchone():
            raise unknown_run(run_id)
    except psycopg.errors.LockNotAvailable:
        raise _Busy from None
    cursor.execute(f"SET LOCAL lock_timeout = {HOLD_MS}")
