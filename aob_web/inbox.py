"""WebSockets: `/ws/inbox/` says how many tickets are open, and which of them wait for whoever asks (hazards S4, S20).

A wake-up only makes it look sooner; what it says is read from Postgres. Looked is for each user once in LOOK_SECONDS,
whatever the number of its sockets, and once more for each that is opened: its page may know of something newer.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import Any

import psycopg
import psycopg_pool
from channels.db import database_sync_to_async
from django.db import Error as DatabaseError

from aob_web.accounts.access import AccessError, Caller, person
from aob_web.live import UNAUTHENTICATED, Guarded
from approvals import inbox
from runs import stream

LOOK_SECONDS = 0.5
IDLE_SECONDS = 5.0
"""So often it is looked at without a wake-up, and whether the user is still good."""

MAX_KEPT = 10_000

_log = logging.getLogger(__name__)
_counted: dict[tuple[str, frozenset[str]], tuple[float, dict[str, Any]]] = {}


def _counts(caller: Caller, *, since: float) -> dict[str, Any]:
    """What is true at `since` (in monotonic time) or later."""
    known = (caller.name, caller.scopes)
    at, told = _counted.get(known, (0.0, {}))
    if at >= since:
        return told
    at = time.monotonic()
    found = inbox.standing(person(caller))
    if len(_counted) > MAX_KEPT:
        _counted.clear()
    _counted[known] = (at, found)
    return found


class InboxConsumer(Guarded):
    """Sends `{"open": n, "mine": n, "newest": {"ticket", "title", "at"} | null}` at once and whenever it changes.

    `newest` is of those that wait for whoever asks. Reads nothing.
    """

    _task: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        try:
            caller = await self.caller()
        except AccessError as error:
            await self.turn_away(error)
            return
        await self.accept()
        self._task = asyncio.create_task(self._send_counts(caller))

    async def disconnect(self, code: int) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _send_counts(self, caller: Caller) -> None:
        told: dict[str, Any] | None = None
        since = time.monotonic()
        bells = stream.hub()
        await bells.open()
        while await database_sync_to_async(caller.still_valid)():
            heard = bells.any_change()
            try:
                found = await database_sync_to_async(_counts)(caller, since=since)
            except (psycopg.Error, psycopg_pool.PoolTimeout, DatabaseError) as error:
                _log.warning("The inbox cannot be counted: %s", error)
                found = told
            if found is not None and found != told:
                told = found
                await self.send(text_data=json.dumps(found))
            await asyncio.wait([heard], timeout=IDLE_SECONDS)
            since = time.monotonic()
            await asyncio.sleep(LOOK_SECONDS)
        await self.close(UNAUTHENTICATED)

    async def receive(self, text_data: Any = None, bytes_data: Any = None) -> None:
        return
