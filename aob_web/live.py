"""WebSockets: `/ws/runs/{id}/` sends a run's events as they are committed (hazards S4, S20)."""

from __future__ import annotations

import asyncio
import logging
from typing import Any
from urllib.parse import parse_qs

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer

from aob_web.accounts.access import AccessError, Caller, allowed, bearer, origin_allowed
from aob_web.accounts.models import SCOPES
from runs import previews, stream
from runs.services import RunError

UNAUTHENTICATED = 4401
FORBIDDEN = 4403
REFUSED = {"run_unknown": 4404, "seq_invalid": 4400, "seq_ahead": 4409}
ENDED = 1000
FAILED = 1011

_log = logging.getLogger(__name__)


class Guarded(AsyncWebsocketConsumer):  # type: ignore[misc]
    """A consumer that knows who asks, and that they may read."""

    async def refuse(self, code: int) -> None:
        await self.accept()
        await self.close(code)

    async def turn_away(self, error: AccessError) -> None:
        await self.refuse(UNAUTHENTICATED if error.code == "unauthenticated" else FORBIDDEN)

    async def caller(self) -> Caller:
        """Raises AccessError: `unauthenticated`, `origin`, or `forbidden` without the scope `read`."""
        caller = await self._authenticated()
        allowed(caller, "read")
        return caller

    async def _authenticated(self) -> Caller:
        headers = {name.decode("latin-1").lower(): text.decode("latin-1") for name, text in self.scope["headers"]}
        origin = headers.get("origin")
        caller: Caller | None = await database_sync_to_async(bearer)(headers.get("authorization"))
        if caller is not None and origin is None:
            return caller
        if not origin_allowed(origin):
            raise AccessError("origin", "This origin may not open WebSockets.")
        if caller is not None:
            return caller
        user = self.scope.get("user")
        if user is None or not user.is_authenticated:
            raise AccessError("unauthenticated", "Sign in, or send an API token.")
        scopes = frozenset(SCOPES if user.is_superuser else ("read",))
        return Caller(user, scopes, session=self.scope["session"].session_key)


class RunConsumer(Guarded):
    """Sends each event as one JSON text; `?after=SEQ` resumes, `?view=brief` leaves out its values. Reads nothing.

    With `?text=1` there is also what agents' models say right now, as messages without a seq.
    """

    _task: asyncio.Task[None] | None = None
    _preview: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        run_id = self.scope["url_route"]["kwargs"]["run_id"]
        try:
            caller = await self.caller()
            query = parse_qs(self.scope["query_string"].decode("ascii", "replace"))
            after = await database_sync_to_async(stream.resume_at)(run_id, query.get("after", ["0"])[0])
        except AccessError as error:
            await self.turn_away(error)
            return
        except RunError as error:
            await self.refuse(REFUSED[error.code])
            return
        await self.accept()
        self._task = asyncio.create_task(
            self._send_events(run_id, after, caller, is_brief=query.get("view") == ["brief"])
        )
        if query.get("text") == ["1"]:
            self._preview = asyncio.create_task(self._send_texts(run_id))

    async def disconnect(self, code: int) -> None:
        for task in (self._task, self._preview):
            if task is not None:
                task.cancel()

    async def _send_texts(self, run_id: str) -> None:
        async for message in previews.follow(run_id):
            await self.send(text_data=message)

    async def _send_events(self, run_id: str, after: int, caller: Caller, *, is_brief: bool) -> None:
        permitted = database_sync_to_async(caller.still_valid)
        try:
            async for event in stream.follow(run_id, after, permitted=permitted):
                if event is not None:
                    await self.send(text_data=event.brief if is_brief else event.text)
            await self.close(ENDED if await permitted() else UNAUTHENTICATED)
        except asyncio.CancelledError:
            return
        except Exception:
            # A watcher that hears nothing more must know it, to come back and go on at its seq.
            _log.exception("The events of run %s cannot be sent", run_id)
            await self.close(FAILED)

    async def receive(self, text_data: Any = None, bytes_data: Any = None) -> None:
        return
