"""A load generator that costs little itself: raw HTTP/1.1 over keep-alive connections, one request at a time on each."""

from __future__ import annotations

import asyncio
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field


@dataclass
class Load:
    """What a load measured. Latencies in seconds, of answers with a 2xx status alone."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    errors: int = 0

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.seconds if self.seconds else 0.0

    def quantile(self, part: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(int(len(ordered) * part), len(ordered) - 1)] if ordered else 0.0


def request(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """The bytes of a request. Header names have `_` for `-`."""
    lines = [f"{method} {path} HTTP/1.1", "host: 127.0.0.1", f"content-length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class _Connection(asyncio.Protocol):
    def __init__(
        self, requests: Iterator[bytes], load: Load, ended: Callable[[], None], hear: Callable[[bytes], None] | None
    ) -> None:
        self._requests = requests
        self._load = load
        self._ended = ended
        self._hear = hear
        self._buffer = b""
        self._began = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._next()

    def _next(self) -> None:
        assert self._transport is not None
        data = next(self._requests, None)
        if data is None:
            self._transport.close()
            return
        self._began = time.perf_counter()
        self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            self._buffer = buffer
            return
        place = buffer.lower().find(b"content-length:", 0, end)
        length = int(buffer[place + 15 : buffer.find(b"\r\n", place)]) if place >= 0 else 0
        if len(buffer) < end + 4 + length:
            self._buffer = buffer
            return
        self._buffer = b""
        status = int(buffer[9:12])
        self._load.statuses[status] += 1
        if 200 <= status < 300:
            self._load.latencies.append(time.perf_counter() - self._began)
            if self._hear is not None:
                self._hear(buffer[end + 4 :])
        self._next()

    def connection_lost(self, error: Exception | None) -> None:
        if error is not None or self._buffer:
            self._load.errors += 1
        self._ended()


async def _run(
    host: str, port: int, requests: Iterator[bytes], connections: int, hear: Callable[[bytes], None] | None
) -> Load:
    load, loop = Load(), asyncio.get_running_loop()
    left, done = connections, asyncio.Event()

    def ended() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            done.set()

    began = time.perf_counter()
    for _ in range(connections):
        await loop.create_connection(lambda: _Connection(requests, load, ended, hear), host, port)
    await done.wait()
    load.seconds = time.perf_counter() - began
    return load


def run(
    port: int,
    requests: Iterator[bytes],
    *,
    connections: int,
    host: str = "127.0.0.1",
    hear: Callable[[bytes], None] | None = None,
) -> Load:
    """Sends every request over so many connections; `hear` gets the body of each 2xx answer."""
    return asyncio.run(_run(host, port, requests, connections, hear))


_sockets: dict[int, socket.socket] = {}


def blocking(port: int, data: bytes, answers: list[bytes]) -> float:
    """Sends one request over a connection that is kept; gives the seconds until its whole answer was there."""
    connection = _sockets.get(port)
    if connection is None:
        connection = _sockets[port] = socket.create_connection(("127.0.0.1", port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    began = time.perf_counter()
    connection.sendall(data)
    buffer = b""
    while True:
        part = connection.recv(65536)
        if not part:
            raise ConnectionError("the server closed the connection")
        buffer += part
        end = buffer.find(b"\r\n\r\n")
        place = buffer.lower().find(b"content-length:", 0, max(end, 0))
        if end >= 0 and len(buffer) >= end + 4 + int(buffer[place + 15 : buffer.find(b"\r\n", place)]):
            answers.append(buffer[end + 4 :])
            return time.perf_counter() - began
