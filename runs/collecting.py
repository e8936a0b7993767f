"""Collects blobs that nothing names any more, and files that no row names: what a start left that was rolled back.

Whatever else goes on at the same time, a blob that is stored or named is there afterwards: its row is locked from the
last look at its uses until its file is gone, and who stores it again writes the row first (see `runs.blobs`).
"""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from django.core.files.storage import storages

from runs import db
from runs.blobs import COLLECT_DAYS, delete, using_storage

AT_ONCE = 20
"""So many rows are locked while their files are deleted."""

FOLDERS = tuple(f"{number:02x}" for number in range(256))
FOLDERS_A_TURN = 16
PATIENCE_MS = 1_000

_FILE = re.compile(r"[0-9a-f]{62}\.zst")
_PART = re.compile(r"\.[0-9a-f]{32}\.part")
_turns = itertools.count()
_log = logging.getLogger(__name__)


def collect(*, limit: int) -> int:
    """Deletes up to `limit` unused blobs; gives how many went."""
    names = _unused(limit)
    return sum(_delete(names[place : place + AT_ONCE]) for place in range(0, len(names), AT_ONCE))


def sweep_folders() -> int:
    """Looks for stray files in some of the folders, each time in the next ones; gives how many went."""
    first = next(_turns) * FOLDERS_A_TURN
    return sum(sweep_folder(FOLDERS[place % len(FOLDERS)]) for place in range(first, first + FOLDERS_A_TURN))


def _unused(limit: int) -> list[str]:
    with db.statement() as cursor:
        cursor.execute(db.sql("unused_blobs"), {"age": COLLECT_DAYS * 86_400, "limit": limit})
        return [row[0] for row in cursor]


def _delete(names: list[str]) -> int:
    with db.transaction() as cursor:
        cursor.execute(
            "SELECT hash FROM blob WHERE hash = ANY(%s) AND created_at < clock_timestamp() - make_interval(secs => %s)"
            " ORDER BY hash FOR UPDATE SKIP LOCKED",
            [names, COLLECT_DAYS * 86_400],
        )
        # Locked first and looked at afterwards, by a statement of its own that sees what was committed until the lock.
        locked = [row[0] for row in cursor]
        gone = cursor.execute(db.sql("delete_unused_blobs"), {"names": locked}).fetchall()
        cursor.execute("DELETE FROM blob_part WHERE hash = ANY(%s)", [[name for name, _ in gone]])
        for name, is_file in gone:
            if is_file:
                delete(name)
    return len(gone)


def sweep_folder(folder: str) -> int:
    """Deletes the old files of a folder of the blob storage that are nobody's; gives how many."""
    known = {f"{name}.zst" for name in _rows_of(folder)}
    strays = [name for name in _listed(folder) if _PART.fullmatch(name) or (_FILE.fullmatch(name) and name not in known)]
    return sum(_delete_stray(folder, name) for name in strays)


def _rows_of(folder: str) -> Iterator[str]:
    prefix = f"sha256:{folder}"
    bounds = [f"{prefix}{'0' * 62}", f"{prefix}{'f' * 62}"]
    with db.statement() as cursor:
        cursor.execute("SELECT hash FROM blob WHERE hash BETWEEN %s AND %s AND data IS NULL", bounds)
        for row in cursor:
            yield row[0].removeprefix(prefix)


def _listed(folder: str) -> list[str]:
    with using_storage(folder):
        try:
            files: list[str] = storages["blobs"].listdir(folder)[1]
        except FileNotFoundError:
            return []
        return files


def _delete_stray(folder: str, name: str) -> bool:
    key = f"{folder}/{name}"
    with using_storage(key):
        try:
            if not _is_old(storages["blobs"].get_modified_time(key)):
                return False
            if _PART.fullmatch(name):
                storages["blobs"].delete(key)
                return True
        except FileNotFoundError:
            return False
    return _delete_without_row(f"sha256:{folder}{name.removesuffix('.zst')}")


def _delete_without_row(blob: str) -> bool:
    """Deletes a file unless its blob has a row, or somebody is about to write one."""
    with db.transaction() as cursor:
        try:
            # The place of the row is taken while the file goes: who stores this blob now waits, and writes both anew.
            cursor.execute(f"SET LOCAL lock_timeout = {PATIENCE_MS}")
            cursor.execute(
                "INSERT INTO blob (hash, size, media_type) VALUES (%s, 0, '') ON CONFLICT DO NOTHING RETURNING hash",
                [blob],
            )
            if cursor.fetchone() is None:
                return False
        except psycopg.errors.LockNotAvailable:
            cursor.connection.rollback()
            return False
        delete(blob)
        cursor.connection.rollback()
    return True


def _is_old(modified: Any) -> bool:
    moment = modified if modified.tzinfo else modified.replace(tzinfo=UTC)
    return bool(datetime.now(UTC) - moment > timedelta(days=COLLECT_DAYS))
