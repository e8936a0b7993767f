"""`POST /api/v1/runs` and `/api/v1/runs/batch` without Django's request stack: 15,000 requests a second, not 1,500.

The same tokens, checks, services and answers as the API's views. Requests without a bearer token (a browser's
session) are not for this module.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import msgspec
import psycopg
import psycopg_pool
from django.conf import settings
from django.db import DatabaseError, InterfaceError, close_old_connections

from aob_web.accounts.access import Caller, allowed, bearer
from aob_web.api import problems, starts
from aob_web.front.grouping import Groups
from runs import services
from runs.errors import Unavailable
from workflows.core.errors import AobError, LimitExceeded

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

ONE = "/api/v1/runs"
BATCH = "/api/v1/runs/batch"
TRUST_SECONDS = 1.0
"""A token that was good is not looked up again for so long; a revoked one stops working after it."""

MAX_TRUSTED = 1_000
MAX_BODIES = 256 * 1024 * 1024
"""So many bytes of requests this process holds at a time."""

LARGE_BODY = 128 * 1024
MAX_DRAINED = 64 * 1024 * 1024
"""So many bytes of a refused request are taken in and dropped, so that its client reads why."""

AWAY = (psycopg.OperationalError, psycopg.InterfaceError, psycopg_pool.PoolTimeout, DatabaseError, InterfaceError)

_log = logging.getLogger(__name__)
_JSON = (b"content-type", b"application/json")
_PROBLEM = (b"content-type", b"application/problem+json")
_SAFE = (b"x-content-type-options", b"nosniff")


class _ClientGone(Exception):
    """The client went away before its request was complete."""


Grouped = Groups[services.StartRequest, services.Started | AobError]


def _commit(requests: Sequence[services.StartRequest], *, run_ahead: bool) -> list[services.Started | AobError]:
    close_old_connections()
    return services.start_many(requests, run_ahead=run_ahead)


class Starts:
    """Answers starts; `handles` says which requests these are."""

    def __init__(self) -> None:
        self._ahead: Grouped = Groups(partial(_commit, run_ahead=True))
        self._later: Grouped = Groups(partial(_commit, run_ahead=False))
        self._trusted: OrderedDict[str, tuple[Caller, float]] = OrderedDict()
        self._asked: dict[str, asyncio.Future[Caller]] = {}
        self._readers = ThreadPoolExecutor(4, thread_name_prefix="read")
        self._held = 0

    def handles(self, scope: Scope, headers: dict[str, str]) -> bool:
        return scope["method"] == "POST" and scope["path"] in (ONE, BATCH) and "authorization" in headers

    async def __call__(self, scope: Scope, headers: dict[str, str], receive: Receive, send: Send) -> None:
        body = b""
        try:
            caller = await self._caller(headers["authorization"])
            allowed(caller, "execute")
            body = await self._body(headers, receive)
            await self._start(scope, headers, body, caller, send)
        except _ClientGone:
            return
        except AobError as error:
            await refuse(send, problems.problem(error))
        except AWAY as error:
            _log.warning("A start was not accepted, the database is away: %s", error)
            await refuse(send, problems.unavailable_details("The database does not answer."))
        except Exception:
            _log.exception("A start failed")
            await refuse(send, problems.internal_details())
        finally:
            self._held -= len(body)

    async def _start(self, scope: Scope, headers: dict[str, str], body: bytes, caller: Caller, send: Send) -> None:
        ahead = starts.runs_ahead(headers)
        groups = self._ahead if ahead else self._later
        preferred = () if ahead else ((b"preference-applied", b"respond-async"),)
        if scope["path"] == BATCH:
            requests, answers = await self._read(starts.many, body, headers, caller)
            outcomes = await groups.submit(requests) if requests else []
            if any(isinstance(one, services.Started) and one.change is None for one in outcomes):
                items = await self._in_thread(starts.answer_many, answers, outcomes)
            else:
                items = starts.answer_many(answers, outcomes)
            await _answer(send, 200, items, *preferred)
            return
        [outcome] = await groups.submit([await self._read(starts.one, body, headers, caller)])
        if isinstance(outcome, AobError):
            raise outcome
        if outcome.change is None:
            view = await self._in_thread(starts.answer_one, outcome)
        else:
            view = starts.answer_one(outcome)
        await _answer(send, 201, view, (b"location", f"{ONE}/{outcome.id}".encode()), *preferred)

    async def _read(self, read: Callable[..., Any], body: bytes, *how: Any) -> Any:
        """What a body asks for; a large one is read beside the event loop, so that others are answered meanwhile."""
        return await self._in_thread(read, body, *how) if len(body) > LARGE_BODY else read(body, *how)

    async def _caller(self, header: str) -> Caller:
        known = self._trusted.get(header)
        if known is not None and time.monotonic() < known[1]:
            return known[0]
        asked = self._asked.get(header)
        if asked is None:
            # Once for all who ask at the same time: with hundreds of connections that is each time.
            asked = self._asked[header] = asyncio.ensure_future(self._in_thread(bearer, header))
            asked.add_done_callback(lambda _: self._asked.pop(header, None))
        caller: Caller = await asyncio.shield(asked)
        self._trusted[header] = (caller, time.monotonic() + TRUST_SECONDS)
        self._trusted.move_to_end(header)
        if len(self._trusted) > MAX_TRUSTED:
            self._trusted.popitem(last=False)
        return caller

    async def _in_thread(self, call: Callable[..., Any], *arguments: Any) -> Any:
        def run() -> Any:
            close_old_connections()
            try:
                return call(*arguments)
            finally:
                close_old_connections()

        return await asyncio.get_running_loop().run_in_executor(self._readers, run)

    async def _body(self, headers: dict[str, str], receive: Receive) -> bytes:
        """The whole body; what it takes is in `_held` then, until the caller takes it out."""
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        announced = headers.get("content-length", "0")
        parts: list[bytes] = []
        size = int(announced) if announced.isdigit() else 0
        taken = 0
        is_whole = False
        try:
            while size <= limit:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise _ClientGone
                part = message.get("body", b"")
                # Counted as it comes: a body that is never finished is held like any other.
                if self._held + len(part) > MAX_BODIES:
                    raise Unavailable("overloaded", "Too many large requests at a time.", hint="Try again later.")
                self._held += len(part)
                parts.append(part)
                taken += len(part)
                size = max(size, taken)
                if not message.get("more_body"):
                    is_whole = True
                    return parts[0] if len(parts) == 1 else b"".join(parts)
        finally:
            if not is_whole:
                self._held -= taken
                parts.clear()
        await drain(receive, MAX_DRAINED - taken)
        raise LimitExceeded(
            "request_too_large",
            f"The request has more than {limit} bytes.",
            hint="Send large data as a blob, or raise AOB_MAX_REQUEST_BYTES.",
        )


async def drain(receive: Receive, most: int) -> None:
    """Takes in the rest of a refused request: a client that is still sending would not see the answer."""
    while most > 0:
        message = await receive()
        most -= len(message.get("body", b""))
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            return


async def _answer(send: Send, status: int, value: Any, *headers: tuple[bytes, bytes]) -> None:
    await _send(send, status, msgspec.json.encode(value), _JSON, *headers)


async def refuse(send: Send, details: dict[str, Any], *more: tuple[bytes, bytes]) -> None:
    """Answers with problem details (RFC 9457)."""
    headers = [_PROBLEM, *more]
    if "retry_after" in details:
        headers.append((b"retry-after", str(details["retry_after"]).encode()))
    if details["status"] == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await _send(send, details["status"], msgspec.json.encode(details), *headers)


async def _send(send: Send, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [length, _SAFE, *headers]})
    await send({"type": "http.response.body", "body": body})
