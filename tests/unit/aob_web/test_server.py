"""The server behind the Unix socket: who is reached there while one process takes over from another."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.waiting import eventually

ROOT = Path(__file__).resolve().parents[3]

PROGRAM = """
import asyncio, os, pathlib, sys, threading
from aob_web.server import Server, answers
path = pathlib.Path(sys.argv[1])
async def application(scope, receive, send):
    kind = b"text/event-stream" if scope["path"] == "/stream" else b"text/plain"
    if scope["path"] != "/":
        if scope["path"] == "/stream":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
        path.with_name("begun").touch()
        while not path.with_name("go").exists():
            await asyncio.sleep(0.01)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
def beat():
    while not answers(path):
        pass
    path.with_name(f"answers-{os.getpid()}").touch()
threading.Thread(target=beat, daemon=True).start()
Server(path, application=application, verbosity=0).run()
"""


class Web:
    """A server in a process of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(path)], cwd=ROOT)

    def ready(self) -> Web:
        eventually(lambda: self.path.with_name(f"answers-{self.process.pid}").exists() or self.process.poll())
        assert self.process.poll() is None
        return self


@pytest.fixture
def webs() -> Iterator[list[Web]]:
    started: list[Web] = []
    yield started
    for web in started:
        web.process.kill()
        web.process.wait()


def ask(path: Path, address: str = "/") -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(10)
    connection.connect(str(path))
    connection.sendall(f"GET {address} HTTP/1.0\r\n\r\n".encode())
    return connection


def answer(connection: socket.socket) -> str:
    with connection, connection.makefile("rb") as read:
        return read.read().decode().rpartition("\r\n\r\n")[2]


def test_the_path_leads_to_the_successor_when_the_predecessor_ends(tmp_path: Path, webs: list[Web]) -> None:
    path = tmp_path / "web.sock"
    for _ in range(3):
        webs.append(Web(path).ready())
        assert answer(ask(path)) == str(webs[-1].process.pid)
        if len(webs) > 1:
            webs[-2].process.terminate()
            assert webs[-2].process.wait(10) == 0
    assert answer(ask(path)) == str(webs[-1].process.pid)
    assert path.stat().st_mode & 0o777 == 0o600
    assert {entry.name for entry in tmp_path.iterdir() if not entry.name.startswith("answers")} == {"web.sock"}


def test_a_request_that_is_being_answered_is_answered_before_the_process_ends(tmp_path: Path, webs: list[Web]) -> None:
    path = tmp_path / "web.sock"
    webs.append(Web(path).ready())
    asked = ask(path, "/slow")
    eventually(lambda: (tmp_path / "begun").exists())
    webs[0].process.terminate()
    eventually(lambda: refuses(path))
    (tmp_path / "go").touch()
    assert answer(asked) == str(webs[0].process.pid)
    assert webs[0].process.wait(10) == 0


def test_nobody_waits_for_a_stream(tmp_path: Path, webs: list[Web]) -> None:
    path = tmp_path / "web.sock"
    webs.append(Web(path).ready())
    with ask(path, "/stream") as stream:
        assert stream.recv(1)
        webs[0].process.send_signal(signal.SIGTERM)
        assert webs[0].process.wait(3) == 0


def test_a_process_that_has_lost_the_socket_does_not_answer_there(tmp_path: Path, webs: list[Web]) -> None:
    from aob_web.server import answers

    path = tmp_path / "web.sock"
    assert not answers(path), "nobody is there"
    webs.append(Web(path).ready())
    assert not answers(path), "it leads to another process"
    os.kill(webs[0].process.pid, signal.SIGSTOP)
    assert not answers(path, seconds=0.2), "the other does not answer at all"


def refuses(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(str(path))
        except ConnectionRefusedError:
            return True
    return False
