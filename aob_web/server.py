"""Daphne that waits for slow readers: what a client does not take is not made, instead of kept here (hazard F24)."""

from __future__ import annotations

import asyncio
from typing import Any

from daphne.server import Server as Daphne
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer


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
    """An application's `send` returns when there is room for more."""

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        tap = self.connections[protocol]["tap"] = Tap()
        if scope["type"] == "websocket":
            # The request that was upgraded is still registered there.
            protocol.transport.unregisterProducer()
        protocol.registerProducer(tap, True)
        return super().create_application(protocol, scope)

    async def handle_reply(self, protocol: Any, message: dict[str, Any]) -> None:
        ends = message["type"] == "http.response.body" and not message.get("more_body")
        tap = self.connections.get(protocol, {}).get("tap")
        if ends and tap is not None:
            protocol.unregisterProducer()
        await super().handle_reply(protocol, message)
        if tap is not None and not ends:
            await tap.open.wait()
