"""Group commit: starts that arrive while another group is being committed share the next transaction."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar

from runs.admission import Overloaded

Request = TypeVar("Request")
Outcome = TypeVar("Outcome")

MAX_WAITING = 4_000
MAX_GROUP = 500


class Groups(Generic[Request, Outcome]):
    """Hands what arrives to `commit` in groups, so that nobody waits longer than the group before.

    `commit` takes a list of requests and gives an outcome for each, in a thread. What it raises is raised to
    every member of the group: nothing of it was accepted.
    """

    def __init__(self, commit: Callable[[list[Request]], Sequence[Outcome]]) -> None:
        self._commit = commit
        self._waiting: deque[tuple[Sequence[Request], asyncio.Future[list[Outcome]]]] = deque()
        self._count = 0
        self._busy = False
        # One thread: while a group waits for the disk, the next one gathers and is larger, which costs less.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="group")

    async def submit(self, requests: Sequence[Request]) -> list[Outcome]:
        """The outcomes of these requests, which stay together. Raises Overloaded, or what `commit` raises."""
        if self._count + len(requests) > MAX_WAITING and self._waiting:
            raise Overloaded(
                "overloaded", "More starts are waiting than can be taken in.", hint="Try again a little later."
            )
        answer: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()
        self._waiting.append((requests, answer))
        self._count += len(requests)
        self._go_on()
        return await answer

    def _go_on(self) -> None:
        if self._busy or not self._waiting:
            return
        members: list[tuple[Sequence[Request], asyncio.Future[list[Outcome]]]] = []
        size = 0
        while self._waiting and (not members or size + len(self._waiting[0][0]) <= MAX_GROUP):
            members.append(self._waiting.popleft())
            size += len(members[-1][0])
        self._count -= size
        self._busy = True
        self._running = asyncio.get_running_loop().create_task(self._run(members))

    async def _run(self, members: list[tuple[Sequence[Request], asyncio.Future[list[Outcome]]]]) -> None:
        requests = [request for several, _ in members for request in several]
        try:
            outcomes: Any = await asyncio.get_running_loop().run_in_executor(self._thread, self._commit, requests)
        except Exception as error:
            for _, answer in members:
                if not answer.done():
                    answer.set_exception(error)
        else:
            place = 0
            for several, answer in members:
                if not answer.done():
                    answer.set_result(outcomes[place : place + len(several)])
                place += len(several)
        finally:
            self._busy = False
            self._go_on()
