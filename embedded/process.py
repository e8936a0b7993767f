"""Child processes that never outlive us: own session, killed by the kernel when we die, found again if not."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

PR_SET_PDEATHSIG = 1
MAX_LOG_BYTES = 10 * 1024 * 1024
OLD_LOGS = 2
"""A log and its two predecessors are kept."""

_libc = ctypes.CDLL(None, use_errno=True)
_living: set[subprocess.Popen[bytes]] = set()


def spawn(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    output: IO[bytes] | int,
    errors: IO[bytes] | int = subprocess.STDOUT,
    stdin: IO[bytes] | int = subprocess.DEVNULL,
    cpus: frozenset[int] = frozenset(),
    user: int | None = None,
    cwd: Path | None = None,
    death_signal: signal.Signals = signal.SIGKILL,
) -> subprocess.Popen[bytes]:
    """Starts a child in its own session; it gets `death_signal` when its parent dies, however that happens."""
    parent = os.getpid()

    def before_exec() -> None:
        _libc.prctl(PR_SET_PDEATHSIG, death_signal)
        if os.getppid() != parent:
            os._exit(1)
        if cpus:
            os.sched_setaffinity(0, cpus)

    process = subprocess.Popen(
        list(argv),
        env=dict(env),
        stdin=stdin,
        stdout=output,
        stderr=errors,
        start_new_session=True,
        preexec_fn=before_exec,
        user=user,
        group=user,
        extra_groups=[] if user is not None else None,
        cwd=cwd,
    )
    _living.add(process)
    return process


def stop(process: subprocess.Popen[bytes], *, stop_signal: int = signal.SIGTERM, patience: float = 10.0) -> None:
    """Asks the child to end, and kills its whole group when it does not within `patience` seconds."""
    if process.poll() is None:
        process.send_signal(stop_signal)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    _living.discard(process)


def kill_all() -> None:
    """Kills every child that still lives, with its group, at once."""
    for process in _living:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def wait_until(ready: Callable[[], bool], *, seconds: float, process: subprocess.Popen[bytes] | None = None) -> bool:
    """Polls until it is ready; False when time is up or the process has ended."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process is not None and process.poll() is not None:
            return False
        if ready():
            return True
        time.sleep(0.02)
    return False


def identity(pid: int) -> str | None:
    """Names a living process for good: its number and when it started, as numbers are used again. None when gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] == "Z" else f"{pid}@{fields[19]}"


def end_orphan(name: str) -> bool:
    """Ends the process that `identity` once named, and its group; False when it is gone already."""
    pid = int(name.partition("@")[0])
    if identity(pid) != name:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
        if not wait_until(lambda: identity(pid) != name, seconds=5):
            os.killpg(pid, signal.SIGKILL)
            wait_until(lambda: identity(pid) != name, seconds=5)
    return True


def rotate(log: Path, *, limit: int = MAX_LOG_BYTES) -> bool:
    """Moves the content of a log above `limit` bytes to its predecessors; True when it did.

    The process goes on writing to the same open file, so that is copied and emptied rather than renamed: what
    is written between the two is lost, which is the price for a supervisor outside of the path of the output.
    """
    try:
        if log.stat().st_size <= limit:
            return False
        for number in range(OLD_LOGS, 1, -1):
            older = log.with_name(f"{log.name}.{number - 1}")
            if older.exists():
                older.replace(log.with_name(f"{log.name}.{number}"))
        newest = log.with_name(f"{log.name}.1")
        shutil.copyfile(log, newest)
        newest.chmod(0o600)
    except FileNotFoundError:
        return False
    finally:
        # Also when the disk is too full for the copy: emptying the log is what makes room.
        with contextlib.suppress(OSError):
            if log.stat().st_size > limit:
                os.truncate(log, 0)
    return True


def last_lines(log: Path, *, count: int = 1) -> list[str]:
    """The last lines of a log, each at most 300 characters."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 16 * 1024))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return [line[:300] for line in text.splitlines() if line.strip()][-count:]
