"""F23, F28, F29: names that do not resolve, peers that misbehave, and callers that send far too much."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runs import db, queries
from tests.drills.conftest import Recovery
from tests.support.installation import Installation
from tests.support.servers import HttpServer
from tests.support.system import ended, engine, start
from tests.support.waiting import eventually
from tests.unit.runs_core.test_engine import graph

NEVER = 60.0
HEAD = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n"


class Peer:
    """A server that behaves as the path of the request says."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=500)
        self._closing = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Peer:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *arguments: Any) -> None:
        self._closing.set()
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=(self._listener.accept()[0],), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                part = connection.recv(65_536)
                if not part:
                    return
                head += part
            manner = head.split(b" ", 2)[1].decode().strip("/")
            self.calls[manner] += 1
            getattr(self, f"_{manner}")(connection.sendall)

    def _silent(self, send: Callable[[bytes], None]) -> None:
        self._closing.wait(NEVER)

    def _late(self, send: Callable[[bytes], None]) -> None:
        self._closing.wait(3)
        send(HEAD.format(2).encode() + b"ok")

    def _drip(self, send: Callable[[bytes], None]) -> None:
        send(HEAD.format(10_000).encode())
        while not self._closing.wait(0.2):
            send(b"x")

    def _dripping_head(self, send: Callable[[bytes], None]) -> None:
        send(b"HTTP/1.1 200 OK\r\nx-long: ")
        while not self._closing.wait(0.2):
            send(b"x")

    def _endless_head(self, send: Callable[[bytes], None]) -> None:
        send(b"HTTP/1.1 200 OK\r\n")
        while True:
            send(b"x-more: " + b"y" * 4000 + b"\r\n")

    def _cut(self, send: Callable[[bytes], None]) -> None:
        send(HEAD.format(1000).encode() + b"half of it")

    def _short(self, send: Callable[[bytes], None]) -> None:
        send(HEAD.format(2).encode() + b"more than two")

    def _no_http(self, send: Callable[[bytes], None]) -> None:
        send(b"\x16\x03\x01 what?\r\n\r\n")

    def _circle(self, send: Callable[[bytes], None]) -> None:
        send(b"HTTP/1.1 302 Found\r\nlocation: /circle\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")

    def _tomorrow(self, send: Callable[[bytes], None]) -> None:
        send(b"HTTP/1.1 429 Too Many\r\nretry-after: 999999999\r\ncontent-length: 0\r\n\r\n")

    def _someday(self, send: Callable[[bytes], None]) -> None:
        send(b"HTTP/1.1 503 Busy\r\nretry-after: soon\r\ncontent-length: 0\r\n\r\n")


def call(url: str, *, timeout: str = "2s", retry: dict[str, Any] | None = None) -> dict[str, Any]:
    node = {"type": "http", "config": {"method": "POST", "url": url}, "timeout": timeout}
    return graph({"call": {**node, "retry": retry or {"policy": "none"}}})


@pytest.fixture
def peer(database: None) -> Iterator[Peer]:
    with Peer() as made:
        yield made


def test_every_misbehaving_peer_meets_its_deadline_and_is_called_once(peer: Peer) -> None:
    expected = {
        "silent": "timeout", "late": "timeout", "drip": "timeout", "dripping_head": "timeout",
        "endless_head": "http_connection", "cut": "http_connection", "no_http": "http_connection",
        "circle": "http_redirects", "short": "http_connection",
    }  # fmt: skip
    with engine() as runner:
        began = time.monotonic()
        runs = {manner: start(call(f"{peer.url}/{manner}")) for manner in expected}
        found = {manner: (ended(run, seconds=10)["error"] or {}).get("code") for manner, run in runs.items()}
        assert time.monotonic() - began < 8
        eventually(lambda: not runner._running)
    assert found == expected
    assert peer.calls.pop("circle") == 6 and set(peer.calls.values()) == {1}, peer.calls


def test_a_peer_that_asks_for_patience_gets_it_without_keeping_a_slot(peer: Peer) -> None:
    retry = {"schedule": ["1s"]}
    with engine(slots=1) as runner:
        tomorrow = start(call(f"{peer.url}/tomorrow", retry=retry))
        someday = start(call(f"{peer.url}/someday", retry=retry))
        assert ended(someday, seconds=10)["error"]["code"] == "http_status" and peer.calls["someday"] == 2
        with db.statement() as cursor:
            row = cursor.execute(
                "SELECT wake_at - now() < '25h', wake_at - now() > '23h' FROM run WHERE id = %s", [tomorrow]
            )
            assert row.fetchone() == (True, True)
        assert not runner._running and peer.calls["tomorrow"] == 1


@pytest.mark.parametrize("manner", ["silent", "drip"])
def test_a_dead_host_does_not_take_every_slot(peer: Peer, recovery: Recovery, manner: str) -> None:
    with HttpServer() as healthy, engine(slots=32) as runner:
        dead = [start(call(f"{peer.url}/{manner}", timeout="5s")) for _ in range(100)]
        eventually(lambda: peer.calls[manner] >= 20)
        began = time.monotonic()
        alive = [start(call(healthy.url)) for _ in range(50)]
        assert {ended(run, seconds=5)["status"] for run in alive} == {"completed"}
        recovery("F29", f"others are served beside a host that is {manner}", time.monotonic() - began)
        assert peer.calls[manner] == 20 and not any(queries.run(run)["ended_at"] for run in dead[-5:])
        assert {ended(run, seconds=20)["error"]["code"] for run in dead} == {"timeout"}
        eventually(lambda: not runner._running and not runner._aside)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A resolver: `*.slow.example` is not answered until the event is set, `live.example` is this machine."""
    real = socket.getaddrinfo
    answered = threading.Event()

    def getaddrinfo(host: Any, port: Any, *arguments: Any, **more: Any) -> Any:
        if isinstance(host, str) and host.endswith("slow.example"):
            answered.wait(NEVER)
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        if isinstance(host, str) and host.endswith("none.example"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real("127.0.0.1" if host == "live.example" else host, port, *arguments, **more)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield answered
    answered.set()


def test_names_that_are_not_answered_hold_up_nobody_else(
    database: None, names: threading.Event, recovery: Recovery
) -> None:
    with HttpServer() as healthy, engine(slots=64) as runner:
        port = healthy.url.rpartition(":")[2]
        lost = [start(call(f"http://{n % 2}.slow.example/", timeout="5s")) for n in range(70)]
        unknown = [start(call(f"http://{n}.none.example/")) for n in range(5)]
        assert {ended(run, seconds=5)["error"]["code"] for run in unknown} == {"http_name_unknown"}
        began = time.monotonic()
        alive = [start(call(f"http://live.example:{port}/")) for _ in range(20)]
        assert {ended(run, seconds=5)["status"] for run in alive} == {"completed"}
        recovery("F28", "others are served while names are not answered", time.monotonic() - began)
        assert {ended(run, seconds=15)["error"]["code"] for run in lost} == {"timeout"}
        eventually(lambda: not runner._running)
    types = Counter(event["type"] for run in lost for event in queries.events(run)["items"])
    assert types["TaskLost"] == 0, "leases ran out: the heartbeat was held up"


MIB = 1024 * 1024
GROWTH = 60 * MIB
PARTS = ("aob_web.processes front", "aob_web.processes web", "coordinator", "worker-runner")


@pytest.fixture(scope="module")
def aob(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    limits = {"AOB_MAX_REQUEST_BYTES": str(4 * MIB), "AOB_MAX_BLOB_BYTES": str(16 * MIB)}
    place = Path(tmp_path_factory.mktemp("doors"))
    with Installation(place / "home", AOB_FRONT_PROCESSES="1", **limits) as made:
        document = {
            "name": "door",
            "nodes": {"a": {"type": "signal", "config": {"name": "go"}}},
        }
        assert made.request("POST", "/api/v1/workflows", {"document": document})[0] == 201
        yield made


def forget_peaks(aob: Installation) -> None:
    for part in PARTS:
        for pid in aob.children(part):
            Path(f"/proc/{pid}/clear_refs").write_text("5")


def peaks(aob: Installation) -> dict[str, int]:
    """The most bytes that each part had in memory."""

    def of(pid: int) -> int:
        found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
        return int(found.group(1)) * 1024 if found else 0

    return {part: sum(of(pid) for pid in aob.children(part)) for part in PARTS}


@contextlib.contextmanager
def others_are_served(aob: Installation) -> Iterator[None]:
    """Somebody else starts runs and reads them all the time, and never waits long."""
    longest, served, wrong = 0.0, 0, []
    stop = threading.Event()

    def client() -> None:
        nonlocal longest, served
        while not stop.wait(0.05):
            began = time.monotonic()
            try:
                status, view = aob.request("POST", "/api/v1/runs", {"workflow": "door"})
                seen = aob.request("GET", f"/api/v1/runs/{view['id']}")[0]
            except (OSError, KeyError) as error:
                status, seen = 0, 0
                wrong.append(repr(error))
            if (status, seen) != (201, 200):
                wrong.append(str((status, seen)))
            longest = max(longest, time.monotonic() - began)
            served += 1

    thread = threading.Thread(target=client)
    thread.start()
    forget_peaks(aob)
    before = peaks(aob)
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert not wrong and served > 0 and longest < 5, (wrong[:3], served, longest)
    grown = {part: bytes - before[part] for part, bytes in peaks(aob).items()}
    assert max(grown.values()) < GROWTH, grown


def refusal(answer: tuple[int, Any]) -> tuple[int, str]:
    status, problem = answer
    errors = problem.get("errors") or [problem]
    assert "limit" in str(problem) or re.search(r"more than|at most|deeper|AOB_MAX", str(problem)), problem
    return status, errors[0].get("code", problem["code"])


def test_what_is_too_large_is_refused_at_every_door_by_the_name_of_its_limit(aob: Installation) -> None:
    run = aob.request("POST", "/api/v1/runs", {"workflow": "door"})[1]["id"]
    large = b'{"workflow": "' + b"x" * (30 * MIB) + b'"}'
    nodes = {"name": "w", "nodes": {f"n{n}": {"type": "transform"} for n in range(60_000)}}
    deep = b'{"workflow": "door", "inputs": ' + b"[" * 10_000 + b"]" * 10_000 + b"}"
    post = lambda path, **body: refusal(aob.request("POST", f"/api/v1/{path}", **body))  # noqa: E731
    with others_are_served(aob):
        for path in ("runs", "runs/batch", "workflows", "workflows/validate", f"runs/{run}/signal"):
            assert post(path, data=large) == (413, "request_too_large"), path
        assert post("runs", data=deep) == (400, "json_too_deep")
        assert post("workflows", data=b'{"document": ' + deep + b"}") == (400, "json_too_deep")
        assert post("runs", body={"workflow": nodes}) == (422, "limit_nodes")
        assert post("workflows", body={"document": nodes}) == (422, "limit_nodes")
        assert post("runs/batch", body={"runs": [{"workflow": "door"}] * 1_001}) == (422, "limit_batch")
        assert post("blobs", data=bytes(30 * MIB)) == (413, "blob_too_large")
        big = {"name": "go", "payload": "x" * MIB}
        assert post(f"runs/{run}/signal", body=big)[1] == "signal_too_large"
        assert post(f"runs/{run}/cancel", body={"reason": "x" * MIB})[0] == 422
        squeezed = gzip.compress(b" " * (200 * MIB))
        assert aob.request("POST", "/api/v1/runs", data=squeezed, Content_Encoding="gzip")[0] == 400


def test_the_command_line_names_the_limit_before_it_sends(aob: Installation, tmp_path: Path) -> None:
    (tmp_path / "inputs.json").write_text(json.dumps({"text": "x" * (30 * MIB)}))
    (tmp_path / "blob").write_bytes(bytes(30 * MIB))
    with others_are_served(aob):
        told = aob.aob("run", "start", "door", "--inputs", str(tmp_path / "inputs.json"), code=None)
        assert "AOB_MAX_REQUEST_BYTES" in told or "limit" in told or "MiB" in told, told
        told = aob.aob("blob", "put", str(tmp_path / "blob"), code=None)
        assert "AOB_MAX_BLOB_BYTES" in told, told


def connected(aob: Installation, head: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", aob.port), timeout=20)
    connection.sendall(head.format(token=aob.token).encode())
    return connection


def test_endless_bodies_slow_headers_and_a_thousand_headers(aob: Installation) -> None:
    chunked = (
        "POST {} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {{token}}\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    with others_are_served(aob), contextlib.ExitStack() as stack:
        slow = [stack.enter_context(connected(aob, "GET / HTTP/1.1\r\nHost: 127")) for _ in range(200)]
        for path in ("runs", "workflows", "blobs"):
            answer = b""
            with connected(aob, chunked.format(f"/api/v1/{path}")) as connection:
                sent = 0
                with contextlib.suppress(OSError):
                    while sent < 100 * MIB:
                        connection.sendall(b"100000\r\n" + bytes(MIB) + b"\r\n")
                        sent += MIB
                    connection.sendall(b"0\r\n\r\n")
                with contextlib.suppress(OSError):
                    answer = connection.recv(65_536)
            assert b" 413 " in answer.split(b"\r\n")[0], answer[:300]
        many = "GET /api/v1/runs HTTP/1.1\r\nHost: 127.0.0.1\r\n" + "X-A: b\r\n" * 1_000 + "\r\n"
        with connected(aob, many) as connection:
            assert connection.recv(100).split(b" ")[1][:1] == b"4"
        assert len(slow) == 200


def test_a_websocket_that_sends_far_too_much_is_closed(aob: Installation) -> None:
    from websockets.asyncio.client import connect
    from websockets.exceptions import ConnectionClosed

    run = aob.request("POST", "/api/v1/runs", {"workflow": "door"})[1]["id"]

    async def flood() -> int | None:
        url = f"ws://127.0.0.1:{aob.port}/ws/runs/{run}/"
        headers = {"Authorization": f"Bearer {aob.token}"}
        async with connect(url, additional_headers=headers, proxy=None, max_size=None) as websocket:
            try:
                for _ in range(10):
                    await websocket.send("x" * (100 * MIB))
                    await asyncio.wait_for(websocket.recv(), 10)
            except (ConnectionClosed, TimeoutError) as closed:
                return closed.rcvd.code if isinstance(closed, ConnectionClosed) and closed.rcvd else None
        return 0

    with others_are_served(aob):
        assert asyncio.run(asyncio.wait_for(flood(), 20)) != 0
