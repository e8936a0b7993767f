"""F23, F28, F29: names that do not resolve, peers that misbehave, and callers that send far too much."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from runs import db, queries
from tests.support.servers import HttpServer
from tests.support.system import ended, engine, start
from tests.support.waiting import eventually
from tests.unit.runs_core.test_engine import graph

Recovery = Callable[[str, str, float], None]
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
