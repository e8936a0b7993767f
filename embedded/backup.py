"""`aob backup`: database and blobs of one moment, taken while the system runs (hazard F35).

Everything follows one snapshot of Postgres: the dump, the counts, and the list of the blobs that the dump names.
"""

from __future__ import annotations

import errno
import fcntl
import importlib.metadata
import os
import re
import shutil
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from embedded import dump, manifest
from embedded import home as homes
from embedded.home import EmbeddedError
from embedded.manifest import Manifest

PARTIAL = ".partial"
STAMP = re.compile(r"\d{8}T\d{6}\.\d{3}Z")
NOT_LINKED = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP})
"""Another disk, a file system without hard links, or too many of them: then a file is copied."""

SYSTEM = "SELECT system_identifier || '/' || current_database() FROM pg_control_system()"
COUNTS = "SELECT pg_database_size(current_database()), (SELECT count(*) FROM run), (SELECT count(*) FROM run_event)"
STORED_BLOBS = "SELECT hash FROM blob WHERE data IS NULL"
"""The blobs that are files. `blob_use` does not tell: it names whatever in a log looks like a hash."""


@dataclass(frozen=True)
class Backup:
    """A whole backup and what it holds."""

    path: Path
    manifest: Manifest


def take(
    home: Path,
    directory: Path,
    environ: Mapping[str, str],
    *,
    check: Callable[[Path], object] | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> Backup:
    """Makes a backup below `directory`; `check` is called before it becomes a whole one, and may raise.

    Raises EmbeddedError and OSError; then nothing is left of it.
    """
    with _alone(directory), _database(home, environ) as url:
        for remains in directory.glob(f"*{PARTIAL}"):
            if STAMP.fullmatch(remains.name.removesuffix(PARTIAL)):
                shutil.rmtree(remains)
        now = datetime.now(UTC)
        target = directory / f"{now:%Y%m%dT%H%M%S}.{now.microsecond // 1000:03d}Z"
        part = target.with_name(target.name + PARTIAL)
        part.mkdir(mode=0o700)
        try:
            made = _write(part, url, home, external=bool(environ.get("AOB_STORAGE_URL")), tell=tell)
            if check is not None:
                check(part)
            part.rename(target)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        manifest.sync(directory)
    return Backup(target, made)


def rotate(newest: Backup, keep: int) -> list[Path]:
    """Removes all but the newest `keep` backups of the same system beside this one; gives what it removed."""
    directory, system = newest.path.parent, newest.manifest.system
    with _alone(directory):
        own = sorted(path for path in directory.iterdir() if STAMP.fullmatch(path.name) and _is_of(system, path))
        for old in own[:-keep]:
            # Half of a backup must not be taken for a whole one, also while it is being removed.
            shutil.rmtree(old.rename(old.with_name(old.name + PARTIAL)))
    return own[:-keep]


def _is_of(system: str, path: Path) -> bool:
    try:
        return manifest.read(path).system == system
    except EmbeddedError:
        return False


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Makes the directory, and sees to it that only one process writes backups there."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(os.open(directory / ".lock", os.O_RDWR | os.O_CREAT, 0o600), "r+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise EmbeddedError(
                "backup_running",
                f"Another backup is being written to {directory}.",
                hint="Wait until it has ended, or write to another directory with --to.",
            ) from None
        yield


@contextmanager
def _database(home: Path, environ: Mapping[str, str]) -> Iterator[str]:
    """The URL of the database of a system that runs; where none runs, its Postgres is started for this."""
    external = environ.get("DATABASE_URL")
    if external:
        yield external
    elif homes.holder(home) is not None:
        url = homes.read_runtime(home).get("database_url")
        if url is None:
            raise EmbeddedError("not_ready", f"The system in {home} is starting or stopping.", hint="Try again.")
        yield str(url)
    elif not (home / "postgres" / "PG_VERSION").exists():
        raise EmbeddedError(
            "nothing_to_back_up",
            f"There is no database in {home}.",
            hint="Name the data directory with --home or AOB_HOME, or the database with DATABASE_URL.",
        )
    else:
        homes.prepare(home)
        lock = homes.InstanceLock(home)
        lock.acquire()
        try:
            with dump.only_postgres(home) as url:
                yield url
        finally:
            lock.release()


def _write(part: Path, url: str, home: Path, *, external: bool, tell: Callable[[str], None]) -> Manifest:
    """Fills the directory; the manifest comes last, when everything that it speaks of is on the disk."""
    with dump.connected(url) as connection:
        server_major = connection.info.server_version // 10000
        dump_major = dump.dump_major(server_major)
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        snapshot = _row(connection, "SELECT pg_export_snapshot()")[0]
        created_at = datetime.now(UTC)
        system = str(_row(connection, SYSTEM)[0])
        database_bytes, runs, events = _row(connection, COUNTS)
        # The blobs before the dump: both follow the same snapshot, but retention may delete files meanwhile, and
        # linking them takes a moment where the dump takes minutes.
        blobs = blob_bytes = 0
        (part / manifest.BLOBS).mkdir(mode=0o700)
        if not external:
            tell("Linking or copying the blobs …")
            blobs, blob_bytes = _copy_blobs(connection, home / "blobs", part / manifest.BLOBS)
        tell(f"Dumping the database ({database_bytes / 2**20:.0f} MB) …")
        with manifest.private_file(part / manifest.DUMP) as output:
            dump.dump(url, snapshot, output)
            os.fsync(output.fileno())
    files = [name for name in manifest.KEPT_FILES if (home / name).exists()]
    for name in files:
        manifest.copy(home / name, part / name)
    made = Manifest(
        format=manifest.FORMAT,
        aob=_version(),
        system=system,
        created_at=created_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        server_major=server_major,
        dump_major=dump_major,
        database_bytes=database_bytes,
        dump_bytes=(part / manifest.DUMP).stat().st_size,
        dump_sha256=manifest.sha256(part / manifest.DUMP),
        runs=runs,
        events=events,
        blob_storage=manifest.EXTERNAL if external else manifest.FILES,
        blobs=blobs,
        blob_bytes=blob_bytes,
        files=files,
    )
    manifest.sync_tree(part)
    manifest.write(part, made)
    return made


def _copy_blobs(connection: psycopg.Connection[Any], source: Path, target: Path) -> tuple[int, int]:
    """Every blob file that the snapshot names; gives their number and bytes. Raises EmbeddedError naming a missing one.

    A file is there before the row that names it is committed, and is never changed, so no snapshot is ahead of them.
    """
    missing = []
    count = size = 0
    for (name,) in connection.execute(STORED_BLOBS):
        file = manifest.blob_file(name)
        (target / file.parent).mkdir(mode=0o700, exist_ok=True)
        try:
            _link(source / file, target / file)
        except FileNotFoundError:
            missing.append(name)
            continue
        count += 1
        size += (target / file).stat().st_size
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise EmbeddedError(
            "blob_missing",
            f"The database names blob {missing[0]}{more}, but it is not in {source}.",
            hint="Put it back from an older backup; if the blobs are in S3, set AOB_STORAGE_URL here as well.",
        )
    return count, size


def _link(source: Path, target: Path) -> None:
    """A second name for the file, which costs no room and outlives the first; a copy where that cannot be."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in NOT_LINKED:
            raise
        manifest.copy(source, target)


def _row(connection: psycopg.Connection[Any], statement: str) -> tuple[Any, ...]:
    row: tuple[Any, ...] | None = connection.execute(statement).fetchone()
    assert row is not None
    return row


def _version() -> str:
    """Ours: of the repository, or of the installed wheel."""
    project = Path(__file__).resolve().parent.parent / "pyproject.toml"
    if project.exists():
        return str(tomllib.loads(project.read_text())["project"]["version"])
    return importlib.metadata.version("aob")
