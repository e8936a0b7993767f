"""WATCH: many clients on running runs; how long an event takes from its commit to them."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from bench.system import System

AT = re.compile(rb'"at":"([^"]+)"')
PERIOD = 5
"""Seconds of one iteration; five events."""


def _steady(seconds: float) -> dict[str, Any]:
    body = {"nodes": {"wait": {"type": "delay", "config": {"for": f"{PERIOD}s"}}}}
    config = {"while": f"iteration < {int(seconds / PERIOD) + 2}", "max_iterations": 1000, "body": body}
    return {"name": "steady", "nodes": {"again": {"type": "loop", "config": config}}}


class _Client(asyncio.Protocol):
    """Counts events and their delays; understands as much of SSE and WebSocket frames as it needs."""

    def __init__(self, request: bytes, hear: Callable[[float, bytes], None]) -> None:
        self._request = request
        self._hear = hear
        self.transport: asyncio.Transport | None = None
        self.events = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.time()
        for at in AT.findall(data):
            self.events += 1
            self._hear(now, at)


def _sse(system: System, run: str) -> bytes:
    return (
        f"GET /api/v1/runs/{run}/events HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: text/event-stream\r\n"
        f"authorization: Bearer {system.token}\r\n\r\n"
    ).encode()


def _websocket(system: System, run: str) -> bytes:
    key = base64.b64encode(os.urandom(16)).decode()
    return (
        f"GET /ws/runs/{run}/ HTTP/1.1\r\nhost: 127.0.0.1\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
        f"sec-websocket-key: {key}\r\nsec-websocket-version: 13\r\nauthorization: Bearer {system.token}\r\n\r\n"
    ).encode()


async def _watch(system: System, runs: list[str], each: int, seconds: float) -> tuple[list[float], int, float]:
    loop = asyncio.get_running_loop()
    delays: list[float] = []
    from_then = [float("inf")]

    def hear(now: float, at: bytes) -> None:
        if now >= from_then[0]:
            delays.append(now - datetime.fromisoformat(at.decode().replace("Z", "+00:00")).timestamp())

    clients = []
    began = time.monotonic()
    for number in range(each * 2):
        ask = _sse if number % 2 == 0 else _websocket
        request = ask(system, runs[number // 2 % len(runs)])
        _, client = await loop.create_connection(lambda request=request: _Client(request, hear), "127.0.0.1", system.port)  # type: ignore[misc]
        clients.append(client)
        if number % 20 == 0:
            await asyncio.sleep(0.2)
    while not all(client.events for client in clients):
        await asyncio.sleep(0.2)
    connected = time.monotonic() - began
    await asyncio.sleep(PERIOD)
    from_then[0] = time.time()
    await asyncio.sleep(seconds)
    open_still = sum(1 for client in clients if client.transport is not None and not client.transport.is_closing())
    for client in clients:
        if client.transport is not None:
            client.transport.abort()
    return delays, open_still, connected


def watch(system: System, *, each: int = 1000, runs: int = 200, seconds: float = 15) -> dict[str, Any]:
    """`each` SSE clients and as many WebSocket clients on so many runs."""
    system.push(_steady(seconds + each / 10 + 60))
    started = []
    for number in range(runs):
        status, view = system.request("POST", "/api/v1/runs", {"workflow": "steady"})
        assert status == 201, view
        started.append(view["id"])
        time.sleep(PERIOD / runs if number % 2 else 0)
    with system.costing() as cost:
        began = time.monotonic()
        delays, still, connected = asyncio.run(_watch(system, started, each, seconds))
        took = time.monotonic() - began
    for run in started:
        system.request("POST", f"/api/v1/runs/{run}/cancel", {})
    ordered = sorted(delays)
    return {
        "clients": each * 2,
        "open at the end": still,
        "seconds to connect all": connected,
        "deliveries a second": len(delays) / seconds,
        "p50 ms": ordered[len(ordered) // 2] * 1000 if ordered else None,
        "p99 ms": ordered[int(len(ordered) * 0.99)] * 1000 if ordered else None,
        "max ms": ordered[-1] * 1000 if ordered else None,
        "cores": {name: round(seconds_ / took, 2) for name, seconds_ in cost.processor.items() if seconds_ / took > 0.01},
    }
