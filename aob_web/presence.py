"""WebSockets: `/ws/workflows/{name}/` says who else has a workflow open, and at which node.

Only what people see of each other; saving is safe without it. So it goes through Redis alone, and what is lost there
comes again with the next beat.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import time
import uuid
from typing import Any

from channels.db import database_sync_to_async

from aob_web.accounts.access import AccessError, Caller
from aob_web.live import UNAUTHENTICATED, Guarded
from workflows.core.strictjson import JsonError, decode

BEAT_SECONDS = 10.0
GONE_SECONDS = 25.0
MAX_TEXT = 4_000
MAX_OTHERS = 50


class PresenceConsumer(Guarded):
    """Takes `{"node": path or null}`, sends `{"others": [{"user", "node"}]}`."""

    _beat: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        try:
            caller = await self.caller()
        except AccessError as error:
            await self.turn_away(error)
            return
        name = self.scope["url_route"]["kwargs"]["name"]
        # A group has a short name of few letters; a workflow's name may be longer.
        self._group = f"drawing-{hashlib.sha256(name.encode()).hexdigest()[:32]}"
        self._me = uuid.uuid4().hex
        self._user = caller.name
        self._node: str | None = None
        self._others: dict[str, tuple[str, str | None, float]] = {}
        self._told: list[dict[str, Any]] | None = None
        await self.accept()
        await self.channel_layer.group_add(self._group, self.channel_name)
        self._beat = asyncio.create_task(self._beats(caller))

    async def disconnect(self, code: int) -> None:
        if self._beat is not None:
            self._beat.cancel()
            await self._say("presence.gone")
            with contextlib.suppress(OSError):
                await self.channel_layer.group_discard(self._group, self.channel_name)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if text_data is None or len(text_data) > MAX_TEXT or self._beat is None:
            return
        try:
            value = decode(text_data)
        except JsonError:
            return
        node = value.get("node") if isinstance(value, dict) else None
        self._node = node[:500] if isinstance(node, str) else None
        await self._say("presence.here")

    async def presence_here(self, event: dict[str, Any]) -> None:
        if event["who"] == self._me or (event["who"] not in self._others and len(self._others) >= MAX_OTHERS):
            return
        is_new = event["who"] not in self._others
        self._others[event["who"]] = (event["user"], event["node"], time.monotonic())
        if is_new:
            await self._say("presence.here")
        await self._tell()

    async def presence_gone(self, event: dict[str, Any]) -> None:
        if self._others.pop(event["who"], None) is not None:
            await self._tell()

    async def _beats(self, caller: Caller) -> None:
        while await database_sync_to_async(caller.still_valid)():
            await self._say("presence.here")
            await asyncio.sleep(BEAT_SECONDS)
            limit = time.monotonic() - GONE_SECONDS
            self._others = {who: one for who, one in self._others.items() if one[2] > limit}
            await self._tell()
        await self.close(UNAUTHENTICATED)

    async def _say(self, kind: str) -> None:
        # Without Redis nobody sees the others; nothing else is lost.
        with contextlib.suppress(OSError):
            await self.channel_layer.group_send(
                self._group, {"type": kind, "who": self._me, "user": self._user, "node": self._node}
            )

    async def _tell(self) -> None:
        others = [{"user": user, "node": node} for user, node, _ in self._others.values()]
        if others != self._told:
            self._told = others
            await self.send(text_data=json.dumps({"others": others}))
