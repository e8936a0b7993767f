"""Forks a child for each conversation of an agent, so that starting one takes milliseconds and little memory.

The nursery is one process for all agents of its parent: it has loaded the large libraries, has no event loop, no threads
and none of the credentials, and forks when it is asked to. A child gets its limits and its environment after that. The
nursery ends with its parent, and its children with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

MEMORY = "AOB_AGENT_MEMORY"
"""AOB_AGENT_MEMORY: bytes of address space of one conversation."""

CPU = "AOB_AGENT_CPU"
"""AOB_AGENT_CPU: seconds of processor time of one conversation; waiting for models takes none."""

DEFAULT_MEMORY = 2 * 1024**3
DEFAULT_CPU = 300
MAX_MESSAGE = 128 * 1024
PR_SET_PDEATHSIG = 1
ROOT = Path(__file__).resolve().parents[2]
PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "PYTHONPATH", "VIRTUAL_ENV", "AOB_HTTP_PER_HOST")


@dataclass(frozen=True)
class Child:
    """A process that has begun; `end` must be called, once."""

    nursery: _Nursery
    pid: int

    def end(self, *, patience: float) -> str:
        """Kills it with its group when it has not ended by itself within `patience` seconds; says how it ended."""
        try:
            code = self.nursery.ask({"end": self.pid, "patience": patience})["code"]
        except OSError:
            return "the end of the nursery"
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


class _Nursery:
    """The process and the socket to it."""

    def __init__(self) -> None:
        own, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), environment.get("PYTHONPATH"))))
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "worker.agent.nursery", str(theirs.fileno())],
                env=environment,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
                cwd="/",
            )
        self._socket = own
        self._one_at_a_time = threading.Lock()

    def ask(self, question: dict[str, Any], connection: socket.socket | None = None) -> dict[str, Any]:
        """Raises OSError when the nursery is gone."""
        with self._one_at_a_time:
            socket.send_fds(self._socket, [msgspec.json.encode(question)], [connection.fileno()] if connection else [])
            data = self._socket.recv(MAX_MESSAGE)
        if not data:
            raise ConnectionResetError("the nursery has ended")
        answer: dict[str, Any] = msgspec.json.decode(data)
        return answer

    def close(self) -> None:
        self._socket.close()
        self.process.kill()
        self.process.wait()


_current: _Nursery | None = None
_choosing = threading.Lock()


def begin(connection: socket.socket, environment: dict[str, str]) -> Child:
    """A new child at the other end of the connection. Blocks, for seconds when it is the first one."""
    global _current
    with _choosing:
        for is_last in (False, True):
            if _current is None:
                _current = _Nursery()
            try:
                pid = _current.ask({"environment": environment}, connection)["pid"]
            except OSError:
                _current.close()
                _current = None
                if is_last:
                    raise
            else:
                return Child(_current, pid)
    raise AssertionError


def main() -> None:
    # Loaded before anything is forked: that is what it is for.
    import worker.agent.loop
    import worker.agent.mcp_servers  # noqa: F401

    gc.freeze()
    line = socket.socket(fileno=int(sys.argv[1]))
    children: set[int] = set()
    while True:
        data, given, _, _ = socket.recv_fds(line, MAX_MESSAGE, 1)
        if not data:
            # The parent has ended; so do the children, by PR_SET_PDEATHSIG.
            return
        asked = msgspec.json.decode(data)
        if "end" in asked:
            pid = asked["end"]
            answer = {"code": _end(pid, asked["patience"]) if pid in children else 0}
            children.discard(pid)
        else:
            pid = os.fork()
            if pid == 0:
                line.close()
                _be_a_child(given[0], asked["environment"])
            os.close(given[0])
            children.add(pid)
            answer = {"pid": pid}
        line.send(msgspec.json.encode(answer))


def _end(pid: int, patience: float) -> int:
    """Its exit code. It is waited for here and nowhere else, so the number belongs to no other process meanwhile."""
    until = time.monotonic() + patience
    while time.monotonic() < until:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            _kill_group(pid)
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    _kill_group(pid)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _be_a_child(descriptor: int, environment: dict[str, str]) -> None:
    from worker.agent.child import converse

    code = 1
    try:
        os.setsid()
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        os.environ.clear()
        os.environ.update(environment)
        memory = int(environment.get(MEMORY, DEFAULT_MEMORY))
        seconds = int(environment.get(CPU, DEFAULT_CPU))
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        asyncio.run(converse(socket.socket(fileno=descriptor)))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


if __name__ == "__main__":
    main()
