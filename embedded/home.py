"""The data directory: owner-only, used by one instance at a time, with room on its disk."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import pwd
import secrets
import shutil
import stat
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

from workflows.core.errors import AobError

MIN_FREE_BYTES = 200 * 1024 * 1024
NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
MAX_SOCKET_BYTES = 107
"""The longest path of a Unix socket on Linux."""

UNPRIVILEGED = "nobody"
"""Whose rights Postgres gets when we are root, as which it refuses to run."""

RESTORING = "restore.partial"
"""Stands in a data directory while a backup is restored into it; one with it is never started."""


class EmbeddedError(AobError):
    """Something that keeps the system from starting; `hint` says what to do about it."""


def disk_full(home: Path) -> EmbeddedError:
    """The refusal for a disk without room."""
    return EmbeddedError(
        "disk_full",
        f"Only {free_bytes(home) // 2**20} MB are free on the disk of {home}; "
        f"at least {MIN_FREE_BYTES // 2**20} MB are needed.",
        hint="Make room, or set AOB_HOME to a directory on another disk.",
    )


def free_bytes(home: Path) -> int:
    """Free bytes on the disk of `home` or, while it does not exist, of its nearest parent."""
    return shutil.disk_usage(next(place for place in (home, *home.parents) if place.exists())).free


def prepare(home: Path) -> None:
    """Makes the directory and its parts for the owner only. Raises EmbeddedError, also when the disk is full."""
    if (home / RESTORING).exists():
        raise EmbeddedError(
            "restore_unfinished",
            f"A restore into {home} was never finished.",
            hint="Remove the directory and restore again, or use another one.",
        )
    if free_bytes(home) < MIN_FREE_BYTES:
        raise disk_full(home)
    try:
        for part in (home, home / "log", home / "run", home / "blobs"):
            part.mkdir(mode=0o700, parents=True, exist_ok=True)
            if os.geteuid() == 0 and part.stat().st_uid == unprivileged_user():
                os.chown(part, 0, -1)  # earlier versions gave it to Postgres, which has no business there
            part.chmod(0o700)
    except OSError as error:
        if error.errno in NO_SPACE:
            raise disk_full(home) from None
        raise EmbeddedError(
            "home_unusable",
            f"The data directory {home} cannot be used: {error.strerror} ({error.filename}).",
            hint="Set AOB_HOME to a directory that belongs to you.",
        ) from None


def unprivileged_user() -> int:
    """The uid of the account without rights."""
    return pwd.getpwnam(UNPRIVILEGED).pw_uid


class InstanceLock:
    """Held by the one instance that uses a data directory; the kernel frees it however the process ends."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._file: IO[str] | None = None

    def acquire(self) -> None:
        """Raises EmbeddedError, naming the process, when another instance holds the directory."""
        file = open(os.open(self._home / "run" / "lock", os.O_RDWR | os.O_CREAT, 0o600), "r+")  # noqa: SIM115
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = file.read().strip() or "unknown"
            file.close()
            raise EmbeddedError(
                "already_running",
                f"Another instance (process {holder}) already uses {self._home}.",
                hint="Stop it (Ctrl-C in its terminal), or give this one its own: AOB_HOME=.aob2 AOB_PORT=8801 make up",
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        self._file = file

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def holder(home: Path) -> int | None:
    """The process that holds the data directory; None when nobody does."""
    try:
        with open(home / "run" / "lock") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return int(file.read().strip() or "0")
    except (OSError, ValueError):
        pass
    return None


def secret(path: Path) -> str:
    """A random secret, made once and kept in a file that only the owner can read."""
    if not path.exists():
        write_private(path, secrets.token_urlsafe(48))
    return path.read_text().strip()


def write_private(path: Path, text: str) -> None:
    """Writes a file whole or not at all, readable by its owner only. Raises EmbeddedError when the disk is full."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if error.errno in NO_SPACE:
            raise disk_full(path.parent) from None
        raise


def open_log(home: Path, name: str) -> IO[bytes]:
    """The log of one process, opened to append; only its owner can read it."""
    path = home / "log" / f"{name}.log"
    return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")


def write_runtime(home: Path, known: dict[str, Any]) -> None:
    """Notes what runs now, for `aob doctor` and for the next start after a crash."""
    write_private(home / "run" / "runtime.json", json.dumps(known, indent=2))


def read_runtime(home: Path) -> dict[str, Any]:
    """What the last instance noted; empty after an orderly stop."""
    try:
        known = json.loads((home / "run" / "runtime.json").read_text())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def forget_runtime(home: Path) -> None:
    (home / "run" / "runtime.json").unlink(missing_ok=True)


def socket_directory(near: Path, *, name: str, owner: int) -> Path:
    """`near` when a socket called `name` fits there, else a short directory of `owner` alone.

    The name of the short one can be guessed and everybody may write beside it, so a directory or link that
    somebody else put there is refused rather than used.
    """
    if len(os.fsencode(near / name)) <= MAX_SOCKET_BYTES:
        return near
    short = Path(tempfile.gettempdir()) / f"aob-{owner}-{sha256(os.fsencode(near)).hexdigest()[:16]}"
    try:
        short.mkdir(mode=0o700)
        os.chown(short, owner, -1, follow_symlinks=False)
    except FileExistsError:
        found = short.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner or found.st_mode & 0o077:
            raise EmbeddedError(
                "socket_directory_taken",
                f"{short} belongs to somebody else.",
                hint=f"Remove it, or use a data directory with a shorter path than {near}.",
            ) from None
    return short
