"""Executes leased tasks concurrently and records their results in groups, advancing the runs on the way.

Doorbells only hasten it: it also looks by itself. A result counts only under its lease's token (law 6).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import socket
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import psycopg
from django.conf import settings

from runs import dispatch
from runs.blobs import AsyncBlobs, fetch
from runs.core.events import Fact
from runs.core.values import MissingValue, Values, get, put
from runs.leases import Adoption, Finished, Leased
from worker.executors import executors
from worker.executors.base import TaskContext, TaskError, standing_aside
from workflows.core.errors import AobError
from workflows.nodes.registry import node_types

if TYPE_CHECKING:
    from runs.coordinator import Advancer

LOOK_SECONDS = 1.0
RECORD_BATCH = 200
MAX_LOG_LINES = 100
FINISH_SECONDS = 5.0
ASIDE_SECONDS = 0.1
"""Who waits in line for longer, for a host or a process, gives its slot to others (hazards F21, F29)."""

MAX_ASIDE = 1_000
STORAGE_SECONDS = 1.0
"""So seldom a result is tried to be recorded whose value the blob storage does not take (hazard F30)."""

_log = logging.getLogger(__name__)


@cache
def _advancer() -> Advancer:
    """Loaded with the first result: an idle worker stays small."""
    from runs.coordinator import Advancer

    return Advancer()


def _record_starts(tasks: Sequence[Leased], worker: str) -> None:
    from runs.coordinator import tell_all

    facts = [(one.run_id, Fact("TaskStarted", one.node, {"attempt": one.attempt, "worker": worker})) for one in tasks]
    tell_all(_advancer(), facts)


def _text(failure: Exception) -> str:
    return f"{type(failure).__name__}: {failure}"[:2000].replace("\x00", "�")


class Runner:
    """The executing part of a worker process; runs its own event loop in a thread."""

    def __init__(self, plane: str, *, slots: int | None = None, alive: Callable[[], None] = lambda: None) -> None:
        self.plane = plane
        self.name = f"{plane}@{socket.gethostname()}:{os.getpid()}:{os.urandom(4).hex()}"
        self._slots = slots or settings.AOB_WORKER_SLOTS
        self._alive = alive
        self._types = sorted(
            name for name, node_type in node_types().items() if node_type.is_task and node_type.plane == plane
        )
        self._running: dict[int, tuple[Leased, asyncio.Task[None]]] = {}
        self._aside: set[int] = set()
        self._finished: list[Finished] = []
        self._loop = asyncio.new_event_loop()
        self._bell = asyncio.Event()
        self._done = asyncio.Event()
        self._rung_for: list[int] = []
        self._unsure = False
        self._telling = asyncio.Lock()
        """Held from the commit that leases tasks to this worker until they are begun: between the two, nothing here
        knows them, and they look as if the answer had been lost."""
        self._given_up: set[int] = set()
        """Attempts that were executed here and could not be recorded; they are not executed again."""
        self._stopping = False
        self._patience: float | None = FINISH_SECONDS
        self._drained = False
        self._thread = threading.Thread(target=self._main, name="runner", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def ring(self, ids: Sequence[int]) -> None:
        """A doorbell: these tasks may be waiting. Safe from any thread; returns at once."""
        self._loop.call_soon_threadsafe(self._hear, list(ids))

    def stop(self, *, finish_all: bool = False) -> None:
        """Takes no more tasks, lets the running ones finish for a while, gives the rest up to others.

        With `finish_all` however long they take: so no effect is repeated where nobody waits for the end.
        """
        self._patience = None if finish_all else FINISH_SECONDS
        self._loop.call_soon_threadsafe(self._stop)
        self._thread.join(None if finish_all else 2 * FINISH_SECONDS)

    def _hear(self, ids: list[int]) -> None:
        self._rung_for.extend(ids)
        self._bell.set()

    def _stop(self) -> None:
        self._stopping = True
        self._bell.set()

    def _main(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._work())

    async def _work(self) -> None:
        helpers = [asyncio.create_task(self._record()), asyncio.create_task(self._heartbeat())]
        while not self._stopping:
            self._alive()
            took = 0
            try:
                took = await self._take()
            except (psycopg.Error, OSError) as error:
                self._unsure = True
                _log.warning("No tasks can be leased: %s", error)
            if took == 0:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._bell.wait(), LOOK_SECONDS)
                self._bell.clear()
        if self._running:
            await asyncio.wait([work for _, work in self._running.values()], timeout=self._patience)
        self._drained = True
        self._done.set()
        await asyncio.wait(helpers[:1], timeout=FINISH_SECONDS)
        for helper in helpers:
            helper.cancel()

    def _free(self) -> int:
        return self._slots - len(self._running) + min(len(self._aside), MAX_ASIDE)

    @contextlib.contextmanager
    def _standing_aside(self, task: Leased) -> Iterator[None]:
        def give_way() -> None:
            self._aside.add(task.id)
            self._bell.set()

        later = self._loop.call_later(ASIDE_SECONDS, give_way)
        try:
            yield
        finally:
            later.cancel()
            self._aside.discard(task.id)

    async def _take(self) -> int:
        """Leases as many tasks as there are free slots and starts them."""
        free = self._free()
        if free <= 0 or not self._types:
            self._rung_for.clear()
            return 0
        if self._unsure:
            await self._take_again()
        ids, self._rung_for = self._rung_for, []
        tasks = await asyncio.to_thread(
            dispatch.lease, worker=self.name, plane=self.plane, types=self._types, limit=free, ids=ids or None
        )
        if not tasks and ids:
            return 1
        await self._begin(tasks)
        return len(tasks)

    async def _take_again(self) -> None:
        """Starts what the database may have leased to us in a commit whose answer was lost (hazard F9)."""
        async with self._telling:
            held = [*self._running, *self._given_up]
            again = await asyncio.to_thread(dispatch.lease_again, worker=self.name, held=held)
            self._unsure = False
            await self._begin(again)

    async def _begin(self, tasks: Sequence[Leased]) -> None:
        """Starts leased tasks; in full fidelity only when their start is recorded."""
        if tasks and settings.AOB_FIDELITY == "full":
            await asyncio.to_thread(_record_starts, tasks, self.name)
        self._start(tasks)

    def _start(self, tasks: Sequence[Leased]) -> None:
        for task in tasks:
            if task.id not in self._running:
                self._running[task.id] = (task, self._loop.create_task(self._execute(task)))

    async def _execute(self, task: Leased) -> None:
        lines: list[dict[str, str]] = []
        values = Values(fetch)
        blobs = AsyncBlobs(task.run_id)
        answer: dict[str, Any] = {"attempt": task.attempt, "worker": self.name}
        kind = "TaskCompleted"
        standing_aside.set(partial(self._standing_aside, task))
        try:
            async with asyncio.timeout(task.timeout):
                stored = get(task.data, "input") or [{}]
                if isinstance(stored, list):
                    config = stored[0]
                else:
                    # It holds megabytes from here on, so it keeps its slot while it waits for anything else (law 8).
                    standing_aside.set(contextlib.nullcontext)
                    config = await asyncio.to_thread(values.load, stored)
                output = await executors()[task.type](config, self._context(task, lines, blobs))
            put(
                answer,
                "output",
                values.store(output, max_bytes=settings.AOB_MAX_VALUE_BYTES, what=f"The output of node {task.node!r}"),
            )
            if blobs.made:
                answer["blobs"] = sorted(blobs.made)
        except asyncio.CancelledError:
            # The lease is gone: the run went on without this attempt, so there is nothing to record.
            self._running.pop(task.id, None)
            return
        except TimeoutError:
            message = f"The attempt took longer than its timeout of {task.timeout:g} s."
            kind, error = "TaskFailed", {"code": "timeout", "message": message, "transient": True}
            answer |= {"error": error, "jitter": random.random()}
        except TaskError as failure:
            kind = "TaskFailed"
            answer |= {"error": failure.as_dict(), "jitter": random.random()}
        except MissingValue as failure:
            kind = "TaskFailed"
            answer |= {"error": {**failure.as_dict(), "transient": True}, "jitter": random.random()}
        except AobError as failure:
            kind = "TaskFailed"
            answer |= {"error": {**failure.as_dict(), "transient": False}, "jitter": random.random()}
        except OSError as failure:
            # A full disk, a blob storage that is away: nothing that the node did wrong.
            kind = "TaskFailed"
            error = {"code": getattr(failure, "code", "io_error"), "message": _text(failure), "transient": True}
            answer |= {"error": error, "jitter": random.random()}
        except Exception as failure:
            # The executor has a defect; the whole exception is recorded and no other task suffers from it.
            _log.exception("The executor of %s failed", task.type)
            lines_of = traceback.format_exception(failure)[-10:]
            error = {
                "code": "executor_error",
                "message": _text(failure),
                "transient": False,
                "details": {"traceback": "".join(lines_of)[-4000:].replace("\x00", "�")},
            }
            kind = "TaskFailed"
            answer |= {"error": error, "jitter": random.random()}
        if lines:
            answer["log"] = lines
        self._finished.append(Finished(task, Fact(kind, task.node, answer), values.new))
        self._done.set()

    def _context(self, task: Leased, lines: list[dict[str, str]], blobs: AsyncBlobs) -> TaskContext:
        def log(level: str, message: str) -> None:
            if len(lines) < MAX_LOG_LINES:
                lines.append({"level": level, "message": message[:4000]})

        return TaskContext(
            run_id=task.run_id,
            path=task.node,
            attempt=task.attempt,
            idempotency_key=f"{task.run_id}:{task.node}",
            blobs=blobs,
            max_value_bytes=settings.AOB_MAX_VALUE_BYTES,
            max_blob_bytes=settings.AOB_MAX_BLOB_BYTES,
            log=log,
            hosts=task.data.get("hosts"),
        )

    async def _record(self) -> None:
        """Records what is finished, as a group per commit, and starts what follows if it is for this plane."""
        while not (self._drained and not self._finished):
            await self._done.wait()
            self._done.clear()
            while self._finished:
                group, self._finished = self._finished[:RECORD_BATCH], self._finished[RECORD_BATCH:]
                try:
                    await self._record_group(group)
                except (psycopg.Error, OSError) as error:
                    self._unsure = True
                    _log.warning("Results cannot be recorded yet: %s", error)
                    self._finished = group + self._finished
                    await asyncio.sleep(0.5)
                except Exception:
                    # A defect of ours: these attempts run out with their leases; all others are recorded.
                    _log.exception("Results cannot be recorded")
                    for one in group:
                        self._given_up.add(one.task.id)
                        self._running.pop(one.task.id, None)

    async def _record_group(self, group: list[Finished]) -> None:
        async with self._telling:
            await self._record_and_begin(group)

    async def _record_and_begin(self, group: list[Finished]) -> None:
        free = 0 if self._stopping else max(self._free() + len(group), 0)
        ids = list(dict.fromkeys(one.task.run_id for one in group))
        advanced = await asyncio.to_thread(
            _advancer().runs, ids, group, Adoption(worker=self.name, plane=self.plane, slots=free)
        )
        for one in group:
            if one not in advanced.unrecorded:
                self._running.pop(one.task.id, None)
        if advanced.unrecorded:
            # Their leases are renewed meanwhile; the others of the group are done.
            self._loop.call_later(STORAGE_SECONDS, self._record_again, advanced.unrecorded)
        await self._begin(advanced.adopted)
        self._bell.set()

    def _record_again(self, unrecorded: list[Finished]) -> None:
        self._finished.extend(unrecorded)
        self._done.set()

    async def _heartbeat(self) -> None:
        """Renews the leases; a task whose lease is gone is stopped."""
        while True:
            await asyncio.sleep(min(settings.AOB_LEASE_SECONDS / 3, 2.0))
            held = list(self._running.values())
            if not held:
                continue
            try:
                kept = await asyncio.to_thread(dispatch.renew, [task for task, _ in held])
            except (psycopg.Error, OSError) as error:
                _log.warning("Leases cannot be renewed: %s", error)
                continue
            finishing = {one.task.id for one in self._finished}
            for task, work in held:
                if task.id not in kept and task.id not in finishing:
                    work.cancel()
