"""Watchers that stop reading, are cut anywhere, resume anywhere, or all come back at once (F24, F25, F34)."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import random
import re
import signal
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.drills.conftest import Recovery
from tests.support.installation import Installation
from tests.support.waiting import eventually

STALL_SECONDS = 4.0
STOPPED = 50
LARGE = 12_000
ITEMS = 340
PER_SOCKET = 3 * 1024 * 1024
"""What a watcher that has stopped may hold in all processes together; the log that it watches has 8 MiB."""

SIGNALS = 50
CROWD = 500

EACH = {"type": "map", "config": {"items": f"range({ITEMS})", "body": {"nodes": {}}}}
EACH["config"]["body"]["nodes"]["t"] = {"type": "transform", "config": {"output": "{{ inputs.text }}"}}  # type: ignore[index]
BIG = {"name": "big", "nodes": {"each": EACH}}
OPEN = {"name": "open", "nodes": {"wait": {"type": "signal", "config": {"name": "end"}}}}
NOTED = {
    "name": "noted",
    "nodes": {
        "later": {"type": "delay", "config": {"for": "1h"}},
        "note": {"type": "signal", "config": {"name": "note"}},
    },
    "edges": {"next": {"from": "later", "to": "note"}},
}
"""Keeps every signal that comes, as an event, and does nothing."""


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    home = Path(tmp_path_factory.mktemp("streams")) / "home"
    with Installation(home, AOB_STALL_SECONDS=str(STALL_SECONDS)) as aob:
        yield aob


def start(aob: Installation, document: Any, **inputs: Any) -> str:
    status, view = aob.request("POST", "/api/v1/runs", {"workflow": document, "inputs": inputs})
    assert status == 201, view
    return str(view["id"])


def tell(aob: Installation, run: str, name: str, payload: Any = None) -> None:
    status, answer = aob.request("POST", f"/api/v1/runs/{run}/signal", {"name": name, "payload": payload})
    assert status < 300, answer


def open_stream(aob: Installation, run: str, *, after: int | str = 0) -> http.client.HTTPConnection:
    """A connection that has asked for a run's events and read nothing yet."""
    connection = http.client.HTTPConnection("127.0.0.1", aob.port, timeout=20)
    headers = {"Authorization": f"Bearer {aob.token}", "Accept": "text/event-stream", "Last-Event-ID": str(after)}
    connection.request("GET", f"/api/v1/runs/{run}/events", headers=headers)
    return connection


def open_socket(aob: Installation, run: str, *, after: int | str = 0) -> socket.socket:
    """A WebSocket whose handshake is asked for and not read yet."""
    sock = socket.create_connection(("127.0.0.1", aob.port), timeout=20)
    sock.sendall(
        f"GET /ws/runs/{run}/?after={after} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {aob.token}\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        "Sec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    return sock


def until_closed(sock: socket.socket) -> bytes:
    """What comes over a WebSocket's connection after the handshake."""
    data = bytearray()
    with contextlib.suppress(OSError):
        while part := sock.recv(1 << 20):
            data += part
    sock.close()
    return bytes(data).partition(b"\r\n\r\n")[2]


def sse_seqs(text: bytes) -> list[int]:
    """The seqs of the frames that came whole."""
    whole = text.split(b"\n\n")[:-1]
    return [int(frame.split(b"\n")[0][4:]) for frame in whole if frame.startswith(b"id: ")]


def frames(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """The frames that came whole (RFC 6455, section 5.2): opcode, payload, where it ends."""
    at = 0
    while len(data) >= at + 2:
        size, head = data[at + 1] & 127, 2
        if size > 125:
            head = 4 if size == 126 else 10
            field = data[at + 2 : at + head]
            if len(field) < head - 2:
                return
            size = struct.unpack("!H" if size == 126 else "!Q", field)[0]
        if len(data) < at + head + size:
            return
        yield data[at] & 15, data[at + head : at + head + size], at + head + size
        at += head + size


def ws_seqs(data: bytes) -> list[int]:
    return [json.loads(payload)["seq"] for opcode, payload, _ in frames(data) if opcode == 1]


def close_code(data: bytes) -> int | None:
    codes = [struct.unpack("!H", payload[:2])[0] for opcode, payload, _ in frames(data) if opcode == 8]
    return codes[0] if codes else None


def memory(aob: Installation) -> int:
    """Bytes that all processes between the database and a watcher hold."""
    total = 0
    for pid in aob.children("aob_web.processes web") + aob.children("aob_web.processes front"):
        found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
        total += int(found.group(1)) * 1024 if found else 0
    return total


def open_files(aob: Installation) -> int:
    """Of the web process; a front has the connection until its client has taken what the kernel holds for it."""
    [web] = aob.children("aob_web.processes web")
    return len(os.listdir(f"/proc/{web}/fd"))


def delays(aob: Installation) -> list[float]:
    """Seconds from telling a run something to hearing of it on its stream."""
    run = start(aob, NOTED)
    connection = open_stream(aob, run)
    answer = connection.getresponse()
    found = []
    for number in range(SIGNALS):
        began = time.monotonic()
        tell(aob, run, "note", f"n{number}")
        while f'"n{number}"'.encode() not in answer.readline():
            pass
        found.append(time.monotonic() - began)
    connection.close()
    return sorted(found)


@pytest.mark.parametrize("kind", ["sse", "websocket"])
def test_watchers_that_stop_reading_hold_little_delay_nobody_and_resume(
    watched: Installation, recovery: Recovery, kind: str
) -> None:
    """F24: the others' delivery is as before, memory per socket is bounded, the stopped are cut off and miss nothing."""
    aob = watched
    run = start(aob, BIG, text="x" * LARGE)
    last = aob.ended(run)["last_seq"]
    before, files = delays(aob), open_files(aob)
    held = memory(aob)
    began = time.monotonic()
    stopped: list[Any] = [(open_stream if kind == "sse" else open_socket)(aob, run) for _ in range(STOPPED)]
    during = delays(aob)
    most = memory(aob)
    eventually(lambda: open_files(aob) <= files + STOPPED // 3, seconds=STALL_SECONDS + 15, every=0.2)
    recovery("F24", f"{STOPPED} {kind} watchers that stopped are cut off", time.monotonic() - began - STALL_SECONDS)
    assert most - held < STOPPED * PER_SOCKET, f"{(most - held) / STOPPED / 2**20:.1f} MiB for each stopped watcher"
    assert during[-2] < max(5 * before[-2], 1.0), (before[-2], during[-2])

    first, *others = stopped
    if kind == "sse":
        try:
            text = first.getresponse().read()
        except http.client.IncompleteRead as cut:
            text = cut.partial
        seen = sse_seqs(text)
        rest = sse_seqs(open_stream(aob, run, after=seen[-1]).getresponse().read())
    else:
        seen = ws_seqs(until_closed(first))
        rest = ws_seqs(until_closed(open_socket(aob, run, after=seen[-1])))
    assert 1 < len(seen) < last and seen + rest == list(range(1, last + 1))
    for one in others:
        one.close()


def test_a_stream_cut_at_any_byte_goes_on_without_a_gap_or_a_double(watched: Installation) -> None:
    """F25, over every byte of one frame, SSE and WebSocket."""
    aob = watched
    run = start(aob, OPEN)
    tell(aob, run, "end")
    last = aob.ended(run)["last_seq"]
    every = list(range(1, last + 1))

    text = open_stream(aob, run).getresponse().read()
    begin, end = text.index(b"id: 2\n"), text.index(b"id: 3\n")
    for cut in range(begin, end + 1):
        connection = open_stream(aob, run)
        seen = sse_seqs(connection.getresponse().read(cut))
        connection.close()
        rest = sse_seqs(open_stream(aob, run, after=seen[-1]).getresponse().read())
        assert seen + rest == every, cut

    data = until_closed(open_socket(aob, run))
    assert ws_seqs(data) == every and close_code(data) == 1000
    ends = [end for _, _, end in frames(data)]
    for cut in range(ends[0], ends[1] + 1):
        sock = open_socket(aob, run)
        got = b""
        while len(got.partition(b"\r\n\r\n")[2]) < cut:
            got += sock.recv(1 if b"\r\n\r\n" not in got else cut - len(got.partition(b"\r\n\r\n")[2]))
        sock.close()
        seen = ws_seqs(got.partition(b"\r\n\r\n")[2])
        rest = ws_seqs(until_closed(open_socket(aob, run, after=seen[-1])))
        assert seen + rest == every, cut


@pytest.mark.parametrize(
    ("after", "status", "code"),
    [
        ("x", 400, "seq_invalid"), ("-1", 400, "seq_invalid"), ("1.5", 400, "seq_invalid"), ("0x1", 400, "seq_invalid"),
        ("1e3", 400, "seq_invalid"), ("9" * 400, 400, "seq_invalid"), ("\xb2", 400, "seq_invalid"),
        ("4", 409, "seq_ahead"), ("2147483648", 409, "seq_ahead"),
    ],
)  # fmt: skip
def test_resuming_where_nobody_can_be_is_refused_with_advice(
    watched: Installation, after: str, status: int, code: str
) -> None:
    """F25: also the seq of another, longer run, which shows nothing of either."""
    run = start(watched, OPEN)
    answer = open_stream(watched, run, after=after).getresponse()
    problem = json.loads(answer.read())
    assert (answer.status, problem["code"]) == (status, code) and problem["hint"]
    if after.isascii():
        assert close_code(until_closed(open_socket(watched, run, after=after))) == status + 4000


def test_resuming_a_run_that_is_not_there_any_more_is_refused(watched: Installation) -> None:
    """F25: deleted by retention, or never there; an unknown run looks the same."""
    run = start(watched, OPEN)
    tell(watched, run, "end")
    watched.ended(run)
    with database(watched) as connection, connection.transaction():
        connection.execute("SELECT set_config('aob.retention', %s, true)", [run])
        connection.execute("DELETE FROM run_event WHERE run_id = %s", [run])
        connection.execute("DELETE FROM run WHERE id = %s", [run])
    answer = open_stream(watched, run, after=2).getresponse()
    problem = json.loads(answer.read())
    assert (answer.status, problem["code"]) == (404, "run_unknown") and problem["hint"]
    assert close_code(until_closed(open_socket(watched, run, after=2))) == 4404


def database(aob: Installation) -> psycopg.Connection[Any]:
    url = json.loads((aob.home / "run" / "runtime.json").read_text())["database_url"]
    return psycopg.connect(url, autocommit=True, connect_timeout=3)


class Crowd:
    """Clients that watch one run and come back, a little apart from each other, whenever their stream ends."""

    def __init__(self, aob: Installation, run: str) -> None:
        self._aob, self._run, self._token = aob, run, aob.token
        self.seen: list[list[int]] = [[] for _ in range(CROWD)]
        self.statuses: set[int] = set()

    async def watch(self, number: int) -> None:
        while True:
            with contextlib.suppress(OSError, EOFError, ValueError):
                await self._follow(self.seen[number])
            await asyncio.sleep(random.uniform(0.2, 1.0))

    async def _follow(self, seen: list[int]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._aob.port)
        after = seen[-1] if seen else 0
        try:
            writer.write(
                f"GET /api/v1/runs/{self._run}/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n"
                f"Authorization: Bearer {self._token}\r\nLast-Event-ID: {after}\r\n\r\n".encode()
            )
            head = await reader.readuntil(b"\r\n\r\n")
            status = int(head.split(b" ", 2)[1])
            self.statuses.add(status)
            text = b""
            while status == 200 and (size := int(await reader.readline(), 16)):
                text += (await reader.readexactly(size + 2))[:-2]
                whole, _, text = text.rpartition(b"\n\n")
                seen += sse_seqs(whole + b"\n\n")
        finally:
            writer.close()

    async def have(self, seq: int, seconds: float) -> None:
        async with asyncio.timeout(seconds):
            while not all(seen and seen[-1] >= seq for seen in self.seen):
                await asyncio.sleep(0.05)


def test_five_hundred_watchers_come_back_at_once_while_postgres_has_no_connection_left(
    watched: Installation, recovery: Recovery
) -> None:
    """F34: all get their streams back, nothing is lost, and the system itself takes only the connections of its pools."""
    aob = watched
    run = start(aob, NOTED)
    crowd = Crowd(aob, run)

    async def drill() -> int:
        watchers = [asyncio.create_task(crowd.watch(number)) for number in range(CROWD)]
        view = await asyncio.to_thread(aob.request, "GET", f"/api/v1/runs/{run}")
        await crowd.have(view[1]["last_seq"], 20)
        taken: list[psycopg.Connection[Any]] = []
        [web] = aob.children("aob_web.processes web")
        os.kill(web, signal.SIGKILL)
        with contextlib.suppress(psycopg.OperationalError):
            while True:
                taken.append(await asyncio.to_thread(database, aob))
        while 503 not in crowd.statuses:
            await asyncio.sleep(0.05)
        for connection in taken:
            connection.close()
        assert len(taken) > 20
        began = time.monotonic()
        status = 0
        while status not in (200, 202):
            status, _ = await asyncio.to_thread(aob.request, "POST", f"/api/v1/runs/{run}/signal", {"name": "note"})
            await asyncio.sleep(0.1)
        with database(aob) as connection:
            asked = connection.execute("SELECT last_seq FROM run WHERE id = %s", [run]).fetchone()
            assert asked is not None
            await crowd.have(asked[0], 20)
            used = connection.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = 'aob'").fetchone()
        recovery("F34", f"{CROWD} watchers have their streams back", time.monotonic() - began)
        assert used is not None and used[0] < 60, used
        for watcher in watchers:
            watcher.cancel()
        await asyncio.gather(*watchers, return_exceptions=True)
        return int(asked[0])

    last = asyncio.run(drill())
    assert all(seen[:last] == list(range(1, last + 1)) for seen in crowd.seen)
    assert crowd.statuses <= {200, 503}
