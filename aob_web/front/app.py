"""The ASGI application at the public port, and the server that runs it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path

from granian.constants import Interfaces
from granian.log import LogLevels
from granian.server.embed import Server

from aob_web.front.passing import Passing
from aob_web.front.starts import Receive, Scope, Send, Starts

BEAT_SECONDS = 1.0


class Front:
    """Starts are answered here, everything else by the web process behind `socket`."""

    def __init__(self, socket: Path) -> None:
        self._starts = Starts()
        self._passing = Passing(socket)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            if self._starts.handles(scope, headers):
                await self._starts(scope, headers, receive, send)
            else:
                await self._passing.http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._passing.websocket(scope, receive, send)

    async def close(self) -> None:
        await self._passing.close()


async def serve(host: str, port: int, socket: Path, alive: Callable[[], None]) -> None:
    """Serves until a signal comes; requests that are being answered are finished first."""
    front = Front(socket)
    server = Server(
        front,
        address=host,
        port=port,
        interface=Interfaces.ASGINL,
        backlog=2048,
        log_enabled=True,
        log_level=LogLevels.warning,
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    serving = asyncio.create_task(server.serve())
    while not stop.is_set() and not serving.done():
        alive()
        try:
            await asyncio.wait_for(stop.wait(), BEAT_SECONDS)
        except TimeoutError:
            continue
    server.stop()
    await serving
    await front.close()


def run(host: str, port: int, socket: Path, alive: Callable[[], None]) -> None:
    """The process."""
    asyncio.run(serve(host, port, socket, alive))
