"""The port of the web process: whether it is free, who has it if not, and whether the web answers there."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from embedded.home import EmbeddedError

ANY = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
LISTEN = "0A"
"""The state of a listening socket in /proc/net/tcp."""


def check_port(host: str, port: int) -> None:
    """Raises EmbeddedError when we cannot listen there, naming who does."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise EmbeddedError(
            "port_taken",
            f"Port {port} on {host} cannot be used: {reason}{_holder(port)}.",
            hint=f"Stop that program, or choose another port: AOB_PORT={port + 1 if port < 65535 else 8801} make up",
        ) from None


def healthy(host: str, port: int, *, timeout: float = 2.0) -> bool | None:
    """Whether GET /healthz answers 200; None when nothing answers at all."""
    try:
        with socket.create_connection((ANY.get(host, host), port), timeout=timeout) as connection:
            connection.sendall(b"GET /healthz HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
            return b" 200 " in connection.recv(100)
    except OSError:
        return None


def listens(pid: int, port: int) -> bool:
    """Whether it is this process that listens on the port, and not another instance that was quicker."""
    inodes = _listening(port)
    try:
        return any(_link(descriptor) in inodes for descriptor in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False


def _holder(port: int) -> str:
    """Which process listens on a port, as far as /proc tells."""
    inodes = _listening(port)
    for descriptor in Path("/proc").glob("[0-9]*/fd/*") if inodes else ():
        if _link(descriptor) in inodes:
            pid = descriptor.parts[2]
            try:
                name = Path(f"/proc/{pid}/comm").read_text().strip()
            except OSError:
                continue
            return f"; process {pid} ({name}) listens there"
    return ""


def _listening(port: int) -> set[str]:
    """The sockets that listen on a port, as the links in /proc/*/fd name them."""
    rows = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            rows += [line.split() for line in Path(table).read_text().splitlines()[1:]]
        except OSError:
            continue
    return {f"socket:[{row[9]}]" for row in rows if row[1].endswith(f":{port:04X}") and row[3] == LISTEN}


def _link(descriptor: Path) -> str:
    try:
        return os.readlink(descriptor)
    except OSError:
        return ""
