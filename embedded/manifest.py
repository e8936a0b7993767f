"""What a backup is: a directory with a manifest, a dump of the database, blobs and the files that sessions need."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import BinaryIO

import msgspec

from embedded.home import EmbeddedError

FORMAT = 1
FILE = "manifest.json"
DUMP = "database.dump"
BLOBS = "blobs"
KEPT_FILES = ("secret.key", "client.json")
"""What of the data directory cannot be made anew: the key that signs sessions, the command line's token."""
FILES, EXTERNAL = "files", "external"


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes are bytes; `database_bytes` is the size in Postgres, `dump_bytes` that of the dump.

    `system` names the database: backups of several systems may stand side by side.
    `blob_storage` is `files`, or `external` where blobs above 64 KiB are in the storage of AOB_STORAGE_URL and not
    in the backup; `blobs` and `blob_bytes` count the files that are in it.
    """

    format: int
    aob: str
    system: str
    created_at: str
    server_major: int
    dump_major: int
    database_bytes: int
    dump_bytes: int
    dump_sha256: str
    runs: int
    events: int
    blob_storage: str
    blobs: int
    blob_bytes: int
    files: list[str]


class _Format(msgspec.Struct):
    format: int


def read(backup: Path) -> Manifest:
    """The manifest of a whole backup. Raises EmbeddedError when there is none or it is of an unknown format."""
    if not backup.is_dir():
        raise EmbeddedError("backup_missing", f"There is no backup at {backup}.", hint="See AOB_HOME/backups.")
    if not (backup / FILE).exists():
        raise EmbeddedError(
            "backup_unfinished", f"{backup} has no {FILE}, so it is no whole backup.", hint="Use another one."
        )
    try:
        text = (backup / FILE).read_bytes()
        found = msgspec.json.decode(text, type=_Format).format
        if found == FORMAT:
            return msgspec.json.decode(text, type=Manifest)
    except (OSError, msgspec.MsgspecError) as error:
        raise EmbeddedError(
            "backup_damaged", f"{backup / FILE} cannot be read: {error}.", hint="Use another backup."
        ) from None
    raise EmbeddedError(
        "backup_format_unknown",
        f"{backup} has format {found}; this AOB reads format {FORMAT}.",
        hint="Restore it with the version of AOB that the manifest names.",
    )


def write(backup: Path, manifest: Manifest) -> None:
    """Makes a backup a whole one."""
    with private_file(backup / FILE) as file:
        file.write(msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    sync(backup)


def blob_file(name: str) -> Path:
    """Where the bytes of a blob stand below a `blobs` directory; the same as in `runs.blobs`."""
    digest = name.removeprefix("sha256:")
    return Path(digest[:2]) / f"{digest[2:]}.zst"


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def private_file(path: Path) -> BinaryIO:
    """A new file that only its owner can read, whatever the umask."""
    return open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "w+b")


def copy(source: Path, target: Path) -> None:
    """Copies a file for its owner only, onto the disk before it returns."""
    with source.open("rb") as reading, private_file(target) as writing:
        shutil.copyfileobj(reading, writing, 1024 * 1024)
        writing.flush()
        os.fsync(writing.fileno())


def sync(directory: Path) -> None:
    """Puts the names in a directory onto the disk."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(top: Path) -> None:
    """Puts the names in a directory and in all below it onto the disk."""
    for place, _, _ in os.walk(top):
        sync(Path(place))
