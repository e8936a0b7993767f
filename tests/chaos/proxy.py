"""A proxy between Unix sockets that can cut, delay, stop, and lose the answer to a commit."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from pathlib import Path

CHUNK = 64 * 1024
COMMITS = (b"COMMIT", b"commit")


class Proxy:
    """Listens on `listen`, connects to `target`; its faults are switched on and off from any thread."""

    def __init__(self, listen: Path, target: Path) -> None:
        self.listen, self.target = listen, target
        self.delay = 0.0
        self.stopped = False
        self.lose_commits = 0
        self.lost = 0
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self._ready = threading.Event()
        threading.Thread(target=self._run, name=f"proxy {listen.name}", daemon=True).start()
        self._ready.wait(10)

    def cut(self) -> None:
        """Breaks every connection."""
        self._loop.call_soon_threadsafe(self._cut)

    def _cut(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        self.listen.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(self._connected, str(self.listen))
        self._ready.set()
        await server.serve_forever()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            up_reader, up_writer = await asyncio.open_unix_connection(str(self.target))
        except OSError:
            writer.transport.abort()
            return
        pair = {writer, up_writer}
        self._writers |= pair
        committing = asyncio.Event()
        try:
            await asyncio.wait(
                [
                    asyncio.create_task(self._pump(reader, up_writer, committing, upward=True)),
                    asyncio.create_task(self._pump(up_reader, writer, committing, upward=False)),
                ],
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            self._writers -= pair
            for one in pair:
                one.transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, committing: asyncio.Event, *, upward: bool
    ) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while data := await reader.read(CHUNK):
                while self.stopped:
                    await asyncio.sleep(0.02)
                if self.delay:
                    await asyncio.sleep(self.delay)
                if upward and self.lose_commits > 0 and any(word in data for word in COMMITS):
                    committing.set()
                elif not upward and committing.is_set() and self.lose_commits > 0:
                    # The server has answered the commit; the client never hears of it (hazard F9).
                    self.lose_commits -= 1
                    self.lost += 1
                    return
                writer.write(data)
                await writer.drain()
