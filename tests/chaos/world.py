"""The effects server: answers calls, fails some of them at first, and writes down what it saw.

`python -m tests.chaos.world PORT DATABASE_URL FILE`. Before it answers it looks, over its own connection to the
database, if the event that justifies the call is committed (law 7).
"""

from __future__ import annotations

import asyncio
import json
import sys
import zlib
from typing import Any

import psycopg

FAILING = 10
"""Every tenth call fails at first."""

ANSWER = b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
LARGE = b'{"key": "%s", "text": "' + b"x" * 90_000 + b'"}'
"""Large enough for a blob in the file store, another one for each call."""

JUSTIFIED = "SELECT count(*) FROM run_event WHERE run_id = %s AND node = %s AND type = 'TaskScheduled'"


class World:
    def __init__(self, database_url: str, file: str) -> None:
        self._url = database_url
        self._file = open(file, "a", buffering=1)  # noqa: SIM115 - open as long as the process
        self._counts: dict[str, int] = {}
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._lock = asyncio.Lock()

    async def answer(self, key: str) -> tuple[int, bytes]:
        run, _, node = key.partition(":")
        count = self._counts[key] = self._counts.get(key, 0) + 1
        scheduled = await self._scheduled(run, node)
        self._file.write(json.dumps([run, node, count, scheduled]) + "\n")
        if count == 1 and zlib.crc32(key.encode()) % FAILING == 0:
            return 503, b'{"error":"busy"}'
        return 200, b'{"ok":true}'

    async def _scheduled(self, run: str, node: str) -> int | None:
        """How many attempts are in the log by now; None when the database does not answer."""
        async with self._lock:
            for _ in range(2):
                try:
                    if self._connection is None or self._connection.closed:
                        self._connection = await psycopg.AsyncConnection.connect(
                            self._url, autocommit=True, connect_timeout=3
                        )
                    row = await (await self._connection.execute(JUSTIFIED, [run, node])).fetchone()
                    return int(row[0]) if row else 0
                except psycopg.Error:
                    if self._connection is not None:
                        await self._connection.close()
                    self._connection = None
        return None


def _headers(head: bytes) -> dict[str, str]:
    lines = head.decode("latin-1").split("\r\n")[1:]
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines) if name}


async def main(port: int, database_url: str, file: str) -> None:
    world = World(database_url, file)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                headers = _headers(head)
                await reader.readexactly(int(headers.get("content-length", "0")))
                key = headers.get("idempotency-key", "")
                status, body = await world.answer(key)
                if status == 200 and head.split(b" ", 2)[1] == b"/large":
                    body = LARGE % key.encode()
                writer.write(ANSWER % (status, len(body)) + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], sys.argv[3]))
