"""Daphne behind a Unix socket that always leads to a living process, and that waits for slow readers.

What a client does not take is not made, instead of kept here (hazard F24).
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import time
from pathlib import Path
from typing import Any

from daphne.server import Server as Daphne
from twisted.internet import defer, reactor, tcp, unix
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

BACKLOG = 4096
PARTING_SECONDS = 5.0
"""So long the last requests are answered before the process ends. Streams are cut at once: they are resumed elsewhere."""

PROBE_SECONDS = 5.0
_ASKED_NOTHING = b"?\r\n\r\n"
"""No request at all, so the event loop itself answers it (400), whatever the database does."""


def answers(path: Path, *, seconds: float = PROBE_SECONDS) -> bool:
    """Whether the socket leads to this very process, and its event loop answers there."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(seconds)
            connection.connect(str(path))
            pid, _, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            connection.sendall(_ASKED_NOTHING)
            return bool(pid == os.getpid() and connection.recv(1))
    except OSError:
        return False


class Port(unix.Port):  # type: ignore[misc]
    """Begins to listen under a name of its own, which then becomes `path`: a predecessor answers there until then.

    It never removes `path`, where its successor listens when it ends.
    """

    def __init__(self, path: Path, factory: Any) -> None:
        self._path = path
        # No longer than `web.sock`, as the paths of sockets are limited.
        self._own = path.with_name(f"w{os.getpid()}")
        self._own.unlink(missing_ok=True)
        super().__init__(os.fsencode(self._own), factory, BACKLOG, 0o600, reactor)

    def startListening(self) -> None:
        super().startListening()
        self._own.replace(self._path)

    def connectionLost(self, reason: Any) -> None:
        tcp.Port.connectionLost(self, reason)


@implementer(IPushProducer)
class Tap:
    """Shut by Twisted while more than 64 KiB wait for the other end of a connection."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()

    def pauseProducing(self) -> None:
        self.open.clear()

    def resumeProducing(self) -> None:
        self.open.set()

    def stopProducing(self) -> None:
        """The connection is gone: what is still written is dropped, and the application hears of it."""
        self.open.set()


class Server(Daphne):  # type: ignore[misc]
    """An application's `send` returns when there is room for more. Ends when the last requests are answered."""

    def __init__(self, path: Path, **options: Any) -> None:
        super().__init__(endpoints=[f"unix:{path}"], ready_callable=self._listen, **options)
        self.endpoints: list[str] = []  # `_listen` does it
        self._path = path

    def _listen(self) -> None:
        self._port = Port(self._path, self.http_factory)
        self._port.startListening()

    def kill_all_applications(self) -> Any:
        """Before the end of the process, which waits for this."""
        return defer.Deferred.fromFuture(asyncio.ensure_future(self._part()))

    async def _part(self) -> None:
        self._port.stopListening()
        until = time.monotonic() + PARTING_SECONDS
        # At least once, so that what has arrived is read.
        await asyncio.sleep(0.1)
        while any(_is_answered(details) for details in self.connections.values()) and time.monotonic() < until:
            await asyncio.sleep(0.02)
        running = [one for details in self.connections.values() if (one := details.get("application_instance"))]
        for application in running:
            application.cancel()
        if running:
            await asyncio.wait(running, timeout=PARTING_SECONDS)

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        details = self.connections[protocol]
        details["streams"] = scope["type"] == "websocket"
        tap = details["tap"] = Tap()
        if scope["type"] == "websocket":
            # The request that was upgraded is still registered there.
            protocol.transport.unregisterProducer()
        protocol.registerProducer(tap, True)
        return super().create_application(protocol, scope)

    async def handle_reply(self, protocol: Any, message: dict[str, Any]) -> None:
        ends = message["type"] == "http.response.body" and not message.get("more_body")
        details = self.connections.get(protocol, {})
        if message["type"] == "http.response.start":
            details["streams"] = any(value.startswith(b"text/event-stream") for _, value in message.get("headers", ()))
        tap = details.get("tap")
        if ends and tap is not None:
            protocol.unregisterProducer()
        await super().handle_reply(protocol, message)
        if tap is not None and not ends:
            await tap.open.wait()


def _is_answered(details: dict[str, Any]) -> bool:
    """Whether this connection has a request that is being answered."""
    application = details.get("application_instance")
    return application is not None and not application.done() and not details["streams"]
