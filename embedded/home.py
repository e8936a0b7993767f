"""The data directory: owner-only, used by one instance at a time, with room on its disk."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from pathlib import Path
from typing import IO

MIN_FREE_BYTES = 200 * 1024 * 1024


class EmbeddedError(Exception):
    """Something that keeps the system from starting; `hint` says what to do about it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def prepare(home: Path) -> None:
    """Makes the directory and its parts for the owner only. Raises EmbeddedError when the disk is full."""
    try:
        for part in (home, home / "log", home / "run", home / "blobs"):
            part.mkdir(mode=0o700, parents=True, exist_ok=True)
            part.chmod(0o700)
    except OSError as error:
        raise EmbeddedError(f"Cannot make the data directory {home}: {error.strerror}.", "Set AOB_HOME.") from None
    free = shutil.disk_usage(home).free
    if free < MIN_FREE_BYTES:
        raise EmbeddedError(
            f"Only {free // 2**20} MB are free on the disk of {home}; at least {MIN_FREE_BYTES // 2**20} MB are needed.",
            "Make room, or set AOB_HOME to a directory on another disk.",
        )


class InstanceLock:
    """Held by the one instance that uses a data directory; the kernel frees it however the process ends."""

    def __init__(self, home: Path) -> None:
        self._path = home / "run" / "lock"
        self._file: IO[str] | None = None

    def acquire(self) -> None:
        """Raises EmbeddedError, naming the process, when another instance holds the directory."""
        file = open(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600), "r+")  # noqa: SIM115
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = file.read().strip() or "unknown"
            file.close()
            raise EmbeddedError(
                f"Another instance (process {holder}) already uses {self._path.parent.parent}.",
                "Stop it, or start this one with its own AOB_HOME and AOB_PORT.",
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        self._file = file

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def secret(path: Path) -> str:
    """A random secret, made once and kept in a file that only the owner can read."""
    if not path.exists():
        write_private(path, secrets.token_urlsafe(48))
    return path.read_text().strip()


def write_private(path: Path, text: str) -> None:
    """Writes a file whole or not at all, readable by its owner only."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
