"""A whole AOB as its users start it: `aob up` in a directory and on a port of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.support.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
OWN = ("DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL", "AOB_SECRET_KEY", "AOB_HTTP_ALLOW", "AOB_HOME", "AOB_PORT")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in OWN}


class Installation:
    """Starts on entering, stops on leaving."""

    def __init__(self, home: Path, port: int | None = None, **environment: str) -> None:
        self.home = home
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {**clean_environment(), "AOB_HOME": str(home), "AOB_PORT": str(self.port), **environment}
        self.process: subprocess.Popen[str] | None = None
        self.password: str | None = None
        self.output = home.parent / f"{home.name}.out"

    def start(self, *, ready: bool = True) -> Installation:
        with self.output.open("a") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "embedded", "up"],
                cwd=ROOT,
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        if ready:
            eventually(
                lambda: self.process and (self.process.poll() is not None or "AOB is ready" in self.text()), seconds=90
            )
            assert self.process.poll() is None, self.text()
            found = re.search(r"password (\S+) \(shown", self.text())
            self.password = found.group(1) if found else self.password
        return self

    def text(self) -> str:
        return self.output.read_text()

    def stop(self, number: int = signal.SIGINT) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(40)
        self.output.unlink(missing_ok=True)
        return code

    def __enter__(self) -> Installation:
        return self.start()

    def __exit__(self, *arguments: Any) -> None:
        if self.process is not None and self.process.poll() is None:
            self.stop()

    @property
    def token(self) -> str:
        return str(json.loads((self.home / "client.json").read_text())["token"])

    def children(self, words: str = "") -> list[int]:
        """The processes of this installation whose command line holds these words."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                environment = (entry / "environ").read_bytes()
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            mine = f"AOB_HOME={self.home}\0".encode() in environment or str(self.home) in command
            if mine and words in command and "embedded up" not in command:
                found.append(int(entry.name))
        return found

    def kill(self, words: str) -> None:
        for pid in self.children(words):
            os.kill(pid, signal.SIGKILL)

    def aob(self, *arguments: str, code: int | None = 0, stdin: str | None = None) -> str:
        """Runs the command line client as its users do."""
        done = subprocess.run(
            [str(ROOT / "bin" / "aob"), *arguments],
            cwd=ROOT,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert code is None or done.returncode == code, (arguments, done.returncode, done.stdout, done.stderr)
        return done.stdout or done.stderr

    def json(self, *arguments: str, code: int | None = 0) -> Any:
        return json.loads(self.aob(*arguments, "--json", code=code))

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        data: bytes | None = None,
        token: str | None = "",
        **headers: str,
    ) -> tuple[int, Any]:
        """Status and JSON (or text) of one API request; `token=None` sends no credentials."""
        content = json.dumps(body).encode() if body is not None else data
        sent = {"Content-Type": "application/json", **{name.replace("_", "-"): text for name, text in headers.items()}}
        if token is not None:
            sent["Authorization"] = f"Bearer {token or self.token}"
        request = urllib.request.Request(f"{self.url}{path}", data=content, method=method, headers=sent)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                status, text = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read()
        try:
            return status, json.loads(text)
        except ValueError:
            return status, text.decode("utf-8", "replace")

    def ended(self, run_id: str, *, seconds: float = 60.0) -> dict[str, Any]:
        def probe() -> dict[str, Any] | None:
            status, view = self.request("GET", f"/api/v1/runs/{run_id}")
            return view if status == 200 and view["ended_at"] else None

        return eventually(probe, seconds=seconds, every=0.1) or {}
