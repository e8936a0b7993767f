"""An HTTP server that answers at once: the outside world of the benchmark. `python -m bench.effects HOST PORT`.

`GET /log` gives when requests came since the last time it was asked, in seconds of the monotonic clock, which all
processes of a machine share.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.installation import ROOT, free_port

MAX_LOG = 100_000
ANSWER = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n{"ok":true}'


_log: list[float] = []


class _World(asyncio.Protocol):
    """Counts complete requests by the end of their heads; bodies are read away by Content-Length."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            place = head.find(b"content-length:")
            length = int(head[place + 15 :].split(b"\r\n", 1)[0]) if place >= 0 else 0
            if len(self._buffer) < end + 4 + length:
                return
            self._buffer = self._buffer[end + 4 + length :]
            if head.startswith(b"get /log "):
                body = json.dumps(_log).encode()
                _log.clear()
                self._transport.write(f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
                continue
            self._transport.write(ANSWER)
            if len(_log) < MAX_LOG:
                _log.append(time.monotonic())


async def main(host: str, port: int) -> None:
    server = await asyncio.get_running_loop().create_server(_World, host, port)
    print(f"http://{host}:{port}", flush=True)
    await server.serve_forever()


@contextmanager
def serving(host: str = "127.0.0.1") -> Iterator[str]:
    """The server in a process of its own; gives its URL."""
    port = free_port()
    command = [sys.executable, "-m", "bench.effects", host, str(port)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.kill()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
