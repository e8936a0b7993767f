"""Claim, advance, commit: many runs in one transaction, their pure nodes run ahead in memory (law 7).

Stateless: any number of these may run. One run's bad data must not fail the others of its batch, so a
batch that Postgres refuses is split until the one is found (hazard F22).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from typing import Any

import msgspec
import psycopg
import psycopg_pool
from django.conf import settings
from django.db import close_old_connections

from runs import db, wake
from runs.bells import bells
from runs.blobs import StorageUnavailable
from runs.core.accept import accepts, due_timers
from runs.core.advance import advance
from runs.core.events import Event, Fact
from runs.core.fold import apply
from runs.core.values import MissingValue, Values
from runs.fetching import Fetcher
from runs.irs import NotUnderstood, ir_of
from runs.leases import Adoption, Finished, Leased
from runs.store import Change, Held, RunRow, StateCache, claim_ready, claim_runs, load_states, take_inbox
from runs.suspects import MAX_DEATHS, Suspects
from runs.turns import BATCH_SECONDS, TURN_SECONDS, within
from runs.writing import NewTasks, write
from workflows.core.errors import AobError

BATCH_RUNS = 200
EVENTS_PER_TURN = 500
"""So many decisions a run may make before the others have their turn; bounds memory and lock time."""

EVENTS_PER_BATCH = 10_000
"""So many decisions a batch makes, give or take one a run; keeps its transaction far from the server's limit."""

IDLE_SECONDS = 1.0
HELD_SECONDS = (0.005, 0.1)
"""So soon the coordinator looks again for what another process holds, doubling from the first to the second."""

RESTING_SECONDS = 0.1
"""So seldom the coordinator looks without a bell while runs rest: their facts wait, and are not looked for in vain."""

REST_SECONDS = 2.0
"""A run whose values cannot be read or kept now, or whose version another AOB made, is left alone for so long and holds
up no other (hazards F30, F33)."""

SLOW_SECONDS = 30.0
"""So long a run whose turn took too long is advanced alone; in a process that advances others only it is left to
coordinators."""

BLAMED_SECONDS = 2.0
"""When a batch is lost in which a run had so much of this process's own time, the run may be why: the server ends the
session of whoever leaves it alone for too long."""

MAX_SLOW = 1_000
MAX_LOST = 3
"""So many batches a run may lose, the last of them with nothing in it but itself, before it fails."""

_log = logging.getLogger(__name__)


class Advanced(msgspec.Struct):
    """What a batch did: runs whose logs grew, the tasks that the caller adopted, and if more waits.

    `unrecorded` are results that could not be recorded because the blob storage does not take their values.
    """

    runs: int = 0
    adopted: list[Leased] = []
    more: bool = False
    unrecorded: list[Finished] = []


class Advancer:
    """Advances runs in this process; keeps the states that it saw last."""

    def __init__(self, suspects: Suspects | None = None) -> None:
        self._suspects = suspects
        self._cache = StateCache()
        self._lock = threading.RLock()
        self._fetcher = Fetcher()
        self._resting: dict[str, float] = {}
        self._slow: dict[str, float] = {}
        self._lost: dict[str, int] = {}
        self._took: dict[str, float] = {}

    def ready(self, *, limit: int = BATCH_RUNS) -> Advanced:
        """Advances the runs that are ready, and then one of those that are slow, alone: they wait for each other only."""
        now = time.monotonic()
        self._resting = {run: until for run, until in self._resting.items() if until > now}
        self._slow = {run: until for run, until in self._slow.items() if until > now}
        quick = self._batch(None, limit, [], None)
        slow = next((run for run in self._slow if run not in self._resting), None)
        if slow is None:
            return quick
        del self._slow[slow]
        if self._lost.get(slow, 0) >= MAX_LOST:
            del self._lost[slow]
            _fail(slow, *_TOO_SLOW, [])
        return _sum(quick, self._batch([slow], 1, [], None))

    @property
    def resting(self) -> bool:
        """Whether a run waits for the blob storage."""
        return bool(self._resting)

    def runs(self, ids: Sequence[str], finished: Sequence[Finished] = (), adoption: Adoption | None = None) -> Advanced:
        """Records results and advances these runs; what another process holds gets the facts by its inbox.

        So does a run that is slow here: whoever waits for the others shall not wait for it.
        """
        now = time.monotonic()
        quick = [run_id for run_id in ids if self._slow.get(run_id, 0.0) < now]
        return self._batch(quick, len(quick), list(finished), adoption)

    def _batch(self, ids: list[str] | None, limit: int, finished: list[Finished], adoption: Adoption | None) -> Advanced:
        touched: list[str] = []
        with self._lock:
            self._took = {}
            try:
                with db.transaction(pipelined=ids is not None and len(ids) <= db.PIPELINED_RUNS) as cursor:
                    result, new_tasks = self._advance(cursor, ids, limit, finished, adoption, touched)
                tasks = new_tasks.read() if new_tasks else []
            except (psycopg.DataError, psycopg.IntegrityError) as error:
                self._cache.drop(touched)
                return self._isolate(touched, finished, adoption, error)
            except (StorageUnavailable, NotUnderstood) as error:
                self._cache.drop(touched)
                several = {*touched, *(one.task.run_id for one in finished)}
                if len(several) > 1:
                    return self._isolate(touched, finished, adoption, error)
                self._rest(several, error)
                if isinstance(error, StorageUnavailable):
                    return Advanced(unrecorded=finished)
                return _hand_on(finished)
            except (psycopg.Error, psycopg_pool.PoolTimeout, OSError):
                self._cache.drop(touched)
                self._blame()
                raise
            except Exception as error:
                # A defect of ours. It must not keep the other runs of the batch from going on.
                self._cache.drop(touched)
                if len(touched) > 1:
                    return self._isolate(touched, finished, adoption, error)
                _log.exception("Run %s cannot be advanced", touched)
                return Advanced()
            except BaseException:
                self._cache.drop(touched)
                raise
        bells.ring(tasks=tasks, changed=touched, ready=result.more)
        result.adopted = [task for task in tasks if task.token is not None]
        return result

    def _set_aside(self, run_id: str) -> None:
        self._slow.pop(run_id, None)
        self._slow[run_id] = time.monotonic() + SLOW_SECONDS
        while len(self._slow) > MAX_SLOW:
            del self._slow[next(iter(self._slow))]

    def _blame(self) -> None:
        """A batch is lost. If one of its runs took so long that the server gave up on us, it is not taken with others."""
        run_id = max(self._took, key=lambda run: self._took[run], default=None)
        if run_id is not None and self._took[run_id] > BLAMED_SECONDS:
            self._set_aside(run_id)
            self._lost[run_id] = self._lost.get(run_id, 0) + 1
            _log.warning("A batch was lost in which run %s took %.0f s; it goes on alone", run_id, self._took[run_id])

    def _rest(self, run_ids: Iterable[str], error: Exception) -> None:
        if not self._resting:
            _log.warning("%s; what needs it waits", error)
        self._resting |= dict.fromkeys(run_ids, time.monotonic() + REST_SECONDS)

    def _isolate(
        self, touched: list[str], finished: list[Finished], adoption: Adoption | None, error: Exception
    ) -> Advanced:
        # Also the runs that another process held: their results must reach their inboxes.
        ids = list(dict.fromkeys([*touched, *(one.task.run_id for one in finished)]))
        if len(ids) <= 1:
            _log.error("Postgres refused the events of run %s: %s", ids, error)
            reason = f"The run's data cannot be stored: {str(error).splitlines()[0][:500]}"
            for run_id in ids:
                _fail(run_id, "engine_data_refused", reason, [one for one in finished if one.task.run_id == run_id])
            return Advanced(more=True)
        middle = len(ids) // 2
        total = Advanced()
        for half in (ids[:middle], ids[middle:]):
            own = [one for one in finished if one.task.run_id in half]
            total = _sum(total, self.runs(half, own, adoption))
        return total

    def _advance(
        self,
        cursor: psycopg.Cursor[Any],
        ids: list[str] | None,
        limit: int,
        finished: list[Finished],
        adoption: Adoption | None,
        touched: list[str],
    ) -> tuple[Advanced, NewTasks | None]:
        if ids is None:
            held = claim_ready(cursor, limit, resting=[*self._resting, *self._slow])
        else:
            held = claim_runs(cursor, ids, [one.task for one in finished])
        finished = [one for one in finished if one.task.id in held.finished]
        rows, now = held.rows, held.now
        claimed = {row.id for row in rows}
        _leave_in_inbox(cursor, [one for one in finished if one.task.run_id not in claimed])
        if not rows:
            return Advanced(more=bool(finished)), None
        touched.extend(row.id for row in rows)
        inbox = take_inbox(cursor, held.told)
        states = load_states(cursor, rows, self._cache)
        results: dict[str, list[Finished]] = {}
        for one in finished:
            results.setdefault(one.task.run_id, []).append(one)
        changes: list[Change] = []
        left = EVENTS_PER_BATCH
        in_time = within(BATCH_SECONDS)
        for row in rows:
            # Who comes too late keeps its facts and is ready at once.
            turn = min(EVENTS_PER_TURN, max(left, 1)) if in_time() or not changes else 0
            began, clock = time.monotonic(), time.thread_time()
            with self._suspects.advancing(row.id) if self._suspects else nullcontext():
                change = self._advance_run(
                    row, states[row.id], inbox.get(row.id, []), results.get(row.id, []), now, max_events=turn
                )
            self._took[row.id] = time.thread_time() - clock
            if time.monotonic() - began > TURN_SECONDS and change.held.state.has_work():
                self._set_aside(row.id)
            left -= len(change.events)
            changes.append(change)
        tasks, more = write(
            cursor,
            changes,
            now=now,
            worker=adoption.worker if adoption else "",
            adopt=adoption.slots if adoption else 0,
            adopt_plane=adoption.plane if adoption else "",
            lease_seconds=settings.AOB_LEASE_SECONDS,
        )
        for change in changes:
            if change.held.state.ended:
                self._cache.drop([change.row.id])
            else:
                self._cache.keep(change.row.id, change.held)
            self._lost.pop(change.row.id, None)
        unclaimed = any(one.task.run_id not in claimed for one in finished)
        return Advanced(len(rows), more=more or unclaimed), tasks

    def _advance_run(
        self, row: RunRow, held: Held, inbox: list[Fact], results: list[Finished], now: int, *, max_events: int
    ) -> Change:
        values = Values(self._fetcher.fetch)
        events: list[Event] = []
        state = held.state
        for one in results:
            values.new.update(one.values)
        try:
            for fact in [*inbox, *(one.fact for one in results), *due_timers(state, now)]:
                if accepts(state, fact):
                    events.append(_append(held, fact, now))
            advance(state, ir_of, values, events, at=now, max_events=max_events, go_on=within(TURN_SECONDS))
        except (psycopg.Error, OSError, NotUnderstood):
            raise
        except Exception as failure:
            # Node errors are decisions, so this is a lost blob or a defect of ours. Whatever it is, it must end
            # this one run in the open and not stop the coordinator for all the others.
            _log.exception("Run %s cannot go on", row.id)
            error = (
                failure.as_dict()
                if isinstance(failure, (AobError, MissingValue))
                else {"code": "engine_error", "message": f"{type(failure).__name__}: {failure}"[:2000]}
            )
            events.append(_append(held, Fact("EngineFailed", None, {"error": error}), now))
            advance(state, ir_of, values, events, at=now, max_events=1)
        return Change(row, held, events, values.new)


def _sum(one: Advanced, other: Advanced) -> Advanced:
    return Advanced(
        one.runs + other.runs,
        one.adopted + other.adopted,
        one.more or other.more,
        one.unrecorded + other.unrecorded,
    )


def _append(held: Held, fact: Fact, now: int) -> Event:
    event = Event(held.state.seq + 1, fact.type, now, fact.node, fact.data)
    apply(held.state, event, ir_of)
    return event


def _leave_in_inbox(cursor: psycopg.Cursor[Any], finished: list[Finished]) -> None:
    from runs.blobs import write_values

    for one in finished:
        write_values(cursor, one.values)
        leave(cursor, one.task.run_id, one.fact)


def _hand_on(finished: list[Finished]) -> Advanced:
    """Leaves results to whoever can go on with their runs."""
    with db.transaction() as cursor:
        held = claim_runs(cursor, [], [one.task for one in finished])
        _leave_in_inbox(cursor, [one for one in finished if one.task.id in held.finished])
    return Advanced()


def leave(cursor: psycopg.Cursor[Any], run_id: str, fact: Fact) -> None:
    """Puts a fact into a run's inbox."""
    cursor.execute(
        "INSERT INTO run_inbox (run_id, type, node, data) VALUES (%s, %s, %s, %s)",
        [run_id, fact.type, fact.node, msgspec.json.encode(fact.data).decode()],
    )


def tell_all(advancer: Advancer, facts: Sequence[tuple[str, Fact]]) -> None:
    """Gives facts to many runs and lets them go on; what another process holds finds its fact in the inbox."""
    with db.transaction() as cursor:
        for run_id, fact in facts:
            leave(cursor, run_id, fact)
    ids = list(dict.fromkeys(run_id for run_id, _ in facts))
    if advancer.runs(ids).runs < len(ids):
        bells.ring(ready=True)


_TOO_SLOW = (
    "engine_too_slow",
    "One decision of the run takes longer than the database waits for it. An expression in it has too much to do.",
)


def _fail_guilty(suspects: Suspects) -> None:
    """Ends the runs that nobody survives."""
    for run_id in suspects.guilty():
        _log.error("Run %s fails: %d processes ended while they advanced it", run_id, MAX_DEATHS)
        message = (
            f"{MAX_DEATHS} coordinators, one after another, ended or had to be stopped while they advanced this run."
        )
        _fail(run_id, "coordinator_lost", message, [])
        suspects.forget(run_id)


def _fail(run_id: str, code: str, message: str, finished: Sequence[Finished]) -> None:
    """Replaces what cannot be done by a plain failure of this one run."""
    error = {"code": code, "message": message}
    with db.transaction() as cursor:
        claim_runs(cursor, [], [one.task for one in finished])
        cursor.execute("DELETE FROM run_inbox WHERE run_id = %s", [run_id])
        leave(cursor, run_id, Fact("EngineFailed", None, {"error": error}))


def run_forever(stop: threading.Event, alive: Callable[[], None]) -> None:
    """The coordinator process: works while there is work, else sleeps until a doorbell or a second passed."""
    suspects = Suspects(settings.AOB_HOME)
    advancer = Advancer(suspects)
    bell = wake.Waiter(wake.READY)
    pause = 0.0
    shortest, longest = HELD_SECONDS
    patience = shortest
    while not stop.is_set():
        alive()
        try:
            _fail_guilty(suspects)
            busy = advancer.ready().runs > 0
            pause = 0.0
        except (psycopg.Error, OSError) as error:
            # The database is away: wait a little longer each time, so that it is not stormed when it returns.
            pause = min(pause * 2 + 0.1, 5.0)
            _log.warning("The database does not answer (%s); trying again in %.1f s", error, pause)
            close_old_connections()
            stop.wait(pause)
            continue
        if busy:
            patience = shortest
            continue
        idle = _until_next_work()
        if idle > 0:
            bell.wait(idle)
            patience = shortest
        else:
            # There is work, and others have it. They go on with it; this one is here in case that they do not.
            bell.wait(max(patience, RESTING_SECONDS if advancer.resting else 0))
            patience = min(patience * 2, longest)
    suspects.close()


def _until_next_work() -> float:
    """Seconds to the earliest timer, at most IDLE_SECONDS; 0 when something is due or facts wait."""
    try:
        with db.statement() as cursor:
            row = cursor.execute(db.sql("next_work")).fetchone()
    except psycopg.Error:
        return IDLE_SECONDS
    assert row is not None
    due, facts = row
    if facts:
        return 0.0
    return IDLE_SECONDS if due is None else max(0.0, min(float(due), IDLE_SECONDS))


__all__ = ["Adoption", "Advanced", "Advancer", "Finished", "leave", "run_forever", "tell_all"]
