"""Language models for whole installations: the scripted provider as a process, and a bad line to it (hazard F31)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.support.installation import ROOT, Installation, free_port
from tests.support.waiting import eventually

FAULTS = ("500", "429", "half", "late", "doubled", "malformed")


class ScriptedProvider:
    """The scripted provider as a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._script = folder / "script.json"
        self._process: subprocess.Popen[bytes] | None = None

    def play(self, **conversations: list[dict[str, Any]]) -> None:
        """Starts it anew with these conversations."""
        self.stop()
        self._script.write_text(json.dumps({"conversations": conversations}))
        command = [sys.executable, "-m", "worker.agent.scripted", "--port", str(self.port), "--script", str(self._script)]
        self._process = subprocess.Popen(command)
        eventually(self.requests, seconds=20, every=0.05)

    def requests(self) -> dict[str, Any] | None:
        try:
            with urllib.request.urlopen(f"{self.url}/requests") as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except OSError:
            return None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Whatever is asked waits until the end of the block."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()


class BadLine:
    """Passes requests on to a provider. `faults` happen to the requests that follow, in order; None is none.

    500 and 429 (with Retry-After) are answers in its place; `half` of a stream, then nothing; `late`: all but the last
    event, then nothing; `doubled`: every event twice; `malformed`: the JSON of the tool calls is broken.
    """

    def __init__(self) -> None:
        self.target = ""
        self.faults: list[str | None] = []
        self.answered = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                outer._answer(self, body)

            def log_message(self, *arguments: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def _answer(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        fault = self.faults.pop(0) if self.faults else None
        if fault in ("500", "429"):
            handler.send_response(int(fault))
            handler.send_header("Retry-After", "1")
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        request = urllib.request.Request(self.target + handler.path, data=body, method="POST")
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request) as answer:
            kind, events = answer.headers["Content-Type"], answer.read().split(b"\n\n")[:-1]
        self.answered += 1
        if fault == "half":
            events = events[: len(events) // 2]
        elif fault == "late":
            events = events[:-1]
        elif fault == "doubled":
            events = [event for event in events for _ in range(2)]
        elif fault == "malformed":
            events = [event.replace(b'\\"json\\"', b'\\"json') for event in events]
        handler.send_response(200)
        handler.send_header("Content-Type", kind)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for event in events:
            handler.wfile.write(b"%x\r\n%b\n\n\r\n" % (len(event) + 2, event))
        if fault in ("half", "late"):
            handler.close_connection = True
        else:
            handler.wfile.write(b"0\r\n\r\n")

    def __enter__(self) -> BadLine:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *arguments: Any) -> None:
        self._server.shutdown()
        self._server.server_close()


def log_of(aob: Installation, run: str, *kinds: str) -> list[dict[str, Any]]:
    events = aob.request("GET", f"/api/v1/runs/{run}/events?limit=1000")[1]["items"]
    return [event for event in events if not kinds or event["type"] in kinds]


def verified(aob: Installation, run: str) -> None:
    report = aob.request("GET", f"/api/v1/runs/{run}/verify")[1]
    assert report["ok"], report["problems"]


def has_steps(aob: Installation, run: str, count: int) -> bool:
    """Whether so many steps of the agent have ended, or all of them."""
    ended = [event for event in log_of(aob, run) if event["type"] in ("AgentStepEnded", "TaskCompleted")]
    return len(ended) >= count


@contextmanager
def outside_runner(aob: Installation, where: dict[str, str], token: str = "") -> Iterator[subprocess.Popen[bytes]]:
    """A runner that belongs to no installation: it has an address, a token, and nothing else. Killed at the end."""
    token = token or json.loads((aob.home / "agent-runner.json").read_text())["token"]
    environment = {"PATH": os.environ["PATH"], "AOB_URL": aob.url, "AOB_TOKEN": token, **where}
    with subprocess.Popen([sys.executable, "-m", "worker.agent.runner"], env=environment, cwd=ROOT) as runner:
        try:
            yield runner
        finally:
            runner.kill()
