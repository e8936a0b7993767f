"""A small server that speaks AOB's REST as tests script it, and the client as a subprocess."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

ROOT = Path(__file__).resolve().parents[3]
CODE = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from cli.main import main; sys.exit(main())"
BASE = "/api/v1"
ID = "0198c5a0-0000-7000-8000-000000000001"


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Answer:
    """`framing`: length, chunked, close (ends with the connection), or cut (less than was promised)."""

    status: int = 200
    pieces: list[bytes] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    framing: str = "length"
    hold: threading.Event | None = None


def of_json(value: Any, status: int = 200, **headers: str) -> Answer:
    kind = "application/problem+json" if status >= 400 else "application/json"
    return Answer(status, [json.dumps(value).encode()], {"content-type": kind, **headers})


def problem(status: int, code: str, detail: str, **more: Any) -> Answer:
    return of_json({"type": f"urn:aob:problem:{code}", "status": status, "code": code, "detail": detail, **more}, status)


def drop() -> Answer:
    """Closes the connection without an answer."""
    return Answer(0)


Script = Answer | Callable[[Request], Answer]


class Stub:
    """Answers with what was scripted for a method and path: each answer of a list once, the last one for ever."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        self.requests: list[Request] = []
        self._scripts: dict[str, list[Script]] = {}
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one(self) -> None:
                outer._handle(self)

            do_GET = do_POST = do_PUT = handle_one

            def log_message(self, *arguments: Any) -> None:
                return

        self.server = ThreadingHTTPServer((address, 0), Handler)
        self.server.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def on(self, route: str, *answers: Script) -> Stub:
        """`route` is `METHOD /path` below /api/v1, without a query."""
        self._scripts[route] = list(answers)
        return self

    def asked(self, route: str) -> list[Request]:
        method, _, path = route.partition(" ")
        with self._lock:
            return [one for one in self.requests if (one.method, one.path) == (method, BASE + path)]

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        body = handler.rfile.read(int(handler.headers.get("content-length", 0)))
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        headers = {name.lower(): text for name, text in handler.headers.items()}
        request = Request(handler.command, parts.path, query, headers, body)
        with self._lock:
            self.requests.append(request)
            scripts = self._scripts.get(f"{request.method} {request.path.removeprefix(BASE)}", [])
            script = scripts.pop(0) if len(scripts) > 1 else scripts[0] if scripts else None
        if script is None:
            script = problem(404, "unknown", f"Nothing at {request.method} {request.path}.")
        handler.close_connection = True
        with contextlib.suppress(OSError):
            _send(handler, script(request) if callable(script) else script)

    def __enter__(self) -> Stub:
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *arguments: Any) -> None:
        self.server.shutdown()
        self.server.server_close()


def _send(handler: BaseHTTPRequestHandler, answer: Answer) -> None:
    if answer.status == 0:
        handler.connection.shutdown(socket.SHUT_RDWR)
        return
    handler.send_response(answer.status)
    for name, text in answer.headers.items():
        handler.send_header(name, text)
    if answer.framing in ("length", "cut"):
        promised = sum(map(len, answer.pieces)) + (10 if answer.framing == "cut" else 0)
        handler.send_header("content-length", str(promised))
    elif answer.framing == "chunked":
        handler.send_header("transfer-encoding", "chunked")
    handler.end_headers()
    for piece in answer.pieces:
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if answer.framing == "chunked" else piece)
        handler.wfile.flush()
    if answer.hold is not None:
        answer.hold.wait(20)
    if answer.framing == "chunked" and answer.hold is None:
        handler.wfile.write(b"0\r\n\r\n")


@dataclass
class Done:
    code: int
    out: str
    err: str
    raw: bytes = b""

    def json(self) -> Any:
        return json.loads(self.out)

    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


def environment(**more: str) -> dict[str, str]:
    kept = {name: text for name, text in os.environ.items() if not name.startswith("AOB_") and name != "NO_COLOR"}
    return {**kept, "TZ": "UTC", "TERM": "xterm", **more}


def aob(
    *arguments: str, url: str | None = None, cwd: Path | None = None, stdin: bytes = b"", code: str = CODE, **more: str
) -> Done:
    """Runs the client on a bare Python, as its launcher does."""
    given = {"AOB_URL": url, "AOB_TOKEN": "aob_test"} if url else {}
    done = subprocess.run(
        [sys.executable, "-IS", "-c", code, *arguments],
        env=environment(**given, **more), cwd=cwd, input=stdin, capture_output=True, timeout=60,
    )  # fmt: skip
    return Done(done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode(), done.stdout)


@contextlib.contextmanager
def started(*arguments: str, url: str) -> Iterator[subprocess.Popen[bytes]]:
    """The client while it runs."""
    process = subprocess.Popen(
        [sys.executable, "-IS", "-c", CODE, *arguments],
        env=environment(AOB_URL=url, AOB_TOKEN="aob_test"), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        # Tests that run in the background of a shell inherit that Ctrl-C is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)


def on_terminal(*arguments: str, url: str, columns: int = 80, **more: str) -> Done:
    """Runs the client with its standard output on a terminal."""
    master, slave = pty.openpty()
    import fcntl
    import struct
    import termios

    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-IS", "-c", CODE, *arguments],
        env=environment(AOB_URL=url, AOB_TOKEN="aob_test", **more),
        stdin=subprocess.DEVNULL, stdout=slave, stderr=subprocess.PIPE,
    )  # fmt: skip
    os.close(slave)
    seen = b""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        ready, _, _ = select.select([master], [], [], 0.2)
        try:
            piece = os.read(master, 65_536) if ready else None
        except OSError:  # Linux: the other side is closed
            break
        if piece == b"":
            break
        seen += piece or b""
    os.close(master)
    _, err = process.communicate(timeout=10)
    return Done(process.returncode, seen.decode().replace("\r\n", "\n"), err.decode(), seen)


def run(**more: Any) -> dict[str, Any]:
    """A run as the API shows it."""
    return {
        "id": ID, "workflow": "score", "status": "completed", "priority": "medium", "labels": {}, "inputs": {"n": 1},
        "output": {"total": 3}, "error": None, "version": "sha256:aa", "created_at": "2026-03-01T10:00:00Z",
        "started_at": "2026-03-01T10:00:00Z", "ended_at": "2026-03-01T10:00:12.300000Z", "waiting_for": [],
        "parent": None, "forked_from": None, "last_seq": 9, **more,
    }  # fmt: skip


def event(seq: int, kind: str, node: str | None = None, at: float = 0.0, **data: Any) -> dict[str, Any]:
    return {"seq": seq, "type": kind, "at": f"2026-03-01T10:00:{at:09.6f}Z", "node": node, "data": data}


def sse(*events: dict[str, Any], end: str | None = None, retry: int = 10) -> list[bytes]:
    """The pieces of a stream; `end` is the status in its last message."""
    pieces = [f"retry: {retry}\n\n".encode(), b": keep-alive\n\n"]
    pieces += [f"id: {one['seq']}\nevent: {one['type']}\ndata: {json.dumps(one)}\n\n".encode() for one in events]
    return pieces + ([f"event: end\ndata: {json.dumps({'status': end})}\n\n".encode()] if end else [])


def stream(*events: dict[str, Any], end: str | None = None, **more: Any) -> Answer:
    return Answer(200, sse(*events, end=end), {"content-type": "text/event-stream"}, "chunked", **more)
