"""WebSockets on their way to the web process: what a client hears when nobody answers, or when it is not let in."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from aob_web.front.passing import Passing


def sent_by(socket: Path, *, answers: int | None = None) -> list[dict[str, Any]]:
    """What a client is sent whose WebSocket goes to a web process that is away, or answers with a status."""

    async def run() -> list[dict[str, Any]]:
        sent: list[dict[str, Any]] = []
        runner = None
        if answers is not None:
            app = web.Application()
            app.router.add_get("/ws/inbox/", _answering(answers))
            runner = web.AppRunner(app, access_log=None)
            await runner.setup()
            await web.UnixSite(runner, str(socket)).start()

        async def receive() -> dict[str, Any]:
            return {"type": "websocket.connect"}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        scope = {"type": "websocket", "path": "/ws/inbox/", "query_string": b"", "headers": [], "client": ("::1", 1)}
        passing = Passing(socket)
        await passing.websocket(scope, receive, send)
        await passing.close()
        if runner is not None:
            await runner.cleanup()
        return sent

    return asyncio.run(run())


def _answering(status: int) -> Any:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status)

    return answer


def test_a_websocket_while_the_web_is_away_is_told_to_try_again_and_not_refused(tmp_path: Path) -> None:
    first, last = sent_by(tmp_path / "web.sock")
    assert first["type"] == "websocket.accept"
    assert (last["type"], last["code"]) == ("websocket.close", 1013)


@pytest.mark.parametrize("status", [403, 404])
def test_a_websocket_that_the_web_refuses_is_refused(tmp_path: Path, status: int) -> None:
    [only] = sent_by(tmp_path / "web.sock", answers=status)
    assert (only["type"], only["code"]) == ("websocket.close", 1008)
