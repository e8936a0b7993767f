"""Content-addressed storage (law 5): small blobs in Postgres, larger ones zstd-compressed in the blob storage.

A blob's name is the hash of its bytes; what is read is checked against its name before it is handed on.

Collection (`runs.collecting`) takes only what has been unused for COLLECT_DAYS, under a lock on its row. Who stores a
blob makes its row young first and its file after that; who names one that is not young locks its row against collection.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any

import psycopg
import zstandard
from asgiref.sync import sync_to_async
from django.core.files import File
from django.core.files.base import ContentFile
from django.core.files.storage import storages

from runs import db
from runs.core.values import MissingValue
from workflows.core.errors import AobError, LimitExceeded

SMALL_BYTES = 64 * 1024
CHUNK = 256 * 1024
VALUE_TYPE = "application/json"
NAME = re.compile(rb"sha256:[0-9a-f]{64}")

COLLECT_DAYS = 1.0
YOUNG_DAYS = 0.5
"""No transaction lasts so long that a blob becomes collectable in it that is young at its beginning."""


class BlobError(AobError):
    """A blob that is missing, damaged or refused."""


class StorageUnavailable(OSError):
    """The blob storage neither gives nor takes now. No AobError: what storage does is never a decision of the run."""

    code = "blob_storage_unavailable"


def reference(name: str, size: int, media_type: str) -> dict[str, Any]:
    """How a blob stands in a value."""
    return {"blob": name, "bytes": size, "media_type": media_type}


def write_values(cursor: psycopg.Cursor[Any], values: Mapping[str, bytes]) -> None:
    """Writes JSON values as blobs within the caller's transaction, with which blobs they name.

    In the order of their names, so that two transactions with the same values wait for each other instead of deadlocking.
    """
    for name, data in sorted(values.items()):
        small = len(data) <= SMALL_BYTES
        _insert(cursor, name, len(data), VALUE_TYPE, data if small else None)
        if not small:
            _store(name, ContentFile(zstandard.compress(data)))
    for name, data in values.items():
        parts = {part.decode() for part in NAME.findall(data)} if b"sha256:" in data else None
        if parts:
            # What a value names is kept as long as the value, whichever runs have it.
            cursor.execute(
                "INSERT INTO blob_part (hash, part) SELECT %s, hash FROM blob WHERE hash = ANY(%s) ORDER BY hash"
                " FOR KEY SHARE ON CONFLICT DO NOTHING",
                [name, sorted(parts)],
            )


def keep(cursor: Any, names: Iterable[str]) -> None:
    """Lets nobody collect these blobs until the caller's transaction, which writes a use of them, has ended."""
    cursor.execute(
        "SELECT 1 FROM blob WHERE hash = ANY(%s) AND created_at < clock_timestamp() - make_interval(secs => %s)"
        " ORDER BY hash FOR KEY SHARE",
        [list(names), YOUNG_DAYS * 86_400],
    )


def put(chunks: Iterable[bytes], *, media_type: str, max_bytes: int) -> dict[str, Any]:
    """Stores a stream and gives its reference. Raises LimitExceeded above `max_bytes`; memory stays flat."""
    writer = BlobWriter(max_bytes)
    try:
        for chunk in chunks:
            writer.write(chunk)
        return writer.finish(media_type)
    finally:
        writer.close()


class BlobWriter:
    """Takes a blob's bytes as they come: hashed and compressed on the way into a temporary file."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=1024 * 1024)  # noqa: SIM115
        self._compressor = zstandard.ZstdCompressor().stream_writer(self._file, closefd=False)
        self._hash = hashlib.sha256()
        self._head = b""
        self.size = 0

    def write(self, chunk: bytes) -> None:
        self.size += len(chunk)
        if self.size > self._max_bytes:
            raise LimitExceeded(
                "blob_too_large",
                f"The blob has more than {self._max_bytes} bytes.",
                hint="Send less, or raise AOB_MAX_BLOB_BYTES.",
            )
        self._hash.update(chunk)
        self._compressor.write(chunk)
        if self.size <= SMALL_BYTES:
            self._head += chunk

    def finish(self, media_type: str) -> dict[str, Any]:
        self._compressor.close()
        name = f"sha256:{self._hash.hexdigest()}"
        small = self.size <= SMALL_BYTES
        if not small:
            # Before the transaction, because it may take long.
            self._store(name)
        with db.transaction() as cursor:
            _insert(cursor, name, self.size, media_type, self._head if small else None)
            if not small:
                # An older file of this name may have been collected until the row was there; hardly ever it was.
                self._store(name)
        return reference(name, self.size, media_type)

    def _store(self, name: str) -> None:
        self._file.seek(0)
        _store(name, File(self._file))

    def close(self) -> None:
        self._file.close()


def describe(name: str) -> dict[str, Any]:
    """The reference of a stored blob. Raises BlobError `blob_unknown`."""
    with db.transaction() as cursor:
        row = cursor.execute("SELECT size, media_type FROM blob WHERE hash = %s", [name]).fetchone()
    if row is None:
        raise BlobError("blob_unknown", f"There is no blob {name[:80]!r}.")
    return reference(name, row[0], row[1])


def read(name: str) -> Iterator[bytes]:
    """The bytes of a blob, in chunks, checked against its name before the first of them is handed on.

    Raises BlobError when it is missing or damaged, StorageUnavailable.
    """
    data = _row(name)
    if data is not None:
        return iter([_checked(name, data)])
    file = _open(name)
    try:
        _check(name, _decompressed(name, file))
        with using_storage(name):
            file.seek(0)
    except BaseException:
        file.close()
        raise
    return _decompressed(name, file, close=True)


def may_read(run_id: str, name: str) -> bool:
    """Whether a run may read a blob, which is more than that its log names it (`runs.blob_uses`)."""
    with db.transaction() as cursor:
        row = cursor.execute(
            "SELECT 1 FROM blob_use WHERE run_id = %s AND hash = %s AND readable", [run_id, name]
        ).fetchone()
    return row is not None


def window(name: str, start: int, length: int) -> bytes:
    """Some bytes of a blob, for showing them. Raises BlobError, StorageUnavailable.

    Not checked against its name, as that would take reading all of it; downloads are.
    """
    data = _row(name)
    if data is not None:
        return data[start : start + length]
    found = bytearray()
    place = 0
    for chunk in _decompressed(name, _open(name), close=True):
        if place + len(chunk) > start:
            found += chunk[max(start - place, 0) : start + length - place]
        place += len(chunk)
        if place >= start + length:
            break
    return bytes(found)


def fetch(name: str) -> bytes:
    """All bytes of a value's blob, for the core. Raises MissingValue, StorageUnavailable."""
    try:
        data = _row(name)
        return _checked(name, b"".join(_decompressed(name, _open(name), close=True)) if data is None else data)
    except BlobError as error:
        raise MissingValue(name, error.message) from None


def _row(name: str) -> bytes | None:
    """A small blob's bytes, or None for one in the storage."""
    with db.transaction() as cursor:
        row = cursor.execute("SELECT data FROM blob WHERE hash = %s", [name]).fetchone()
    if row is None:
        raise BlobError("blob_unknown", f"There is no blob {name[:80]!r}.")
    return None if row[0] is None else bytes(row[0])


def _checked(name: str, data: bytes) -> bytes:
    _check(name, [data])
    return data


def _check(name: str, chunks: Iterable[bytes]) -> None:
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    if f"sha256:{digest.hexdigest()}" != name:
        raise BlobError("blob_damaged", f"The stored bytes of {name} do not hash to its name.")


class AsyncBlobs:
    """The blob store as an attempt of a run sees it; `made` are the blobs that it put there."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self.made: set[str] = set()

    async def put(self, chunks: AsyncIterator[bytes], *, media_type: str, max_bytes: int) -> dict[str, Any]:
        writer = BlobWriter(max_bytes)
        try:
            async for chunk in chunks:
                writer.write(chunk)
            reference = await sync_to_async(writer.finish, thread_sensitive=False)(media_type)
            self.made.add(reference["blob"])
            return reference
        finally:
            writer.close()

    async def open(self, reference: Mapping[str, Any]) -> AsyncIterator[bytes]:
        chunks = await sync_to_async(self._read, thread_sensitive=False)(str(reference.get("blob")))
        step = sync_to_async(lambda: next(chunks, None), thread_sensitive=False)
        while (chunk := await step()) is not None:
            yield chunk

    def _read(self, name: str) -> Iterator[bytes]:
        # What a config names may have been written by a model or by somebody outside (hazard S6).
        if name not in self.made and not may_read(self._run_id, name):
            raise BlobError("blob_unknown", f"This run has no blob {name[:80]!r}.")
        return read(name)


def delete(name: str) -> None:
    """Removes a stored file. The caller has made sure that nobody stores or names it meanwhile."""
    with using_storage(name):
        storages["blobs"].delete(key_of(name))


def key_of(name: str) -> str:
    """Where a blob's file lies in the storage."""
    digest = name.removeprefix("sha256:")
    if len(digest) != 64 or not all(letter in "0123456789abcdef" for letter in digest):
        raise BlobError("blob_unknown", f"{name[:80]!r} is not the name of a blob.")
    return f"{digest[:2]}/{digest[2:]}.zst"


def _store(name: str, content: Any) -> None:
    key = key_of(name)
    with using_storage(name):
        if not storages["blobs"].exists(key):
            storages["blobs"].save(key, content)


def _open(name: str) -> IO[bytes]:
    key = key_of(name)
    with using_storage(name):
        try:
            return storages["blobs"].open(key)  # type: ignore[no-any-return]
        except FileNotFoundError:
            raise BlobError("blob_missing", f"The bytes of blob {name} are not in the storage.") from None


def _decompressed(name: str, file: IO[bytes], *, close: bool = False) -> Iterator[bytes]:
    try:
        reader = zstandard.ZstdDecompressor().stream_reader(file, closefd=False)
        while True:
            with using_storage(name):
                chunk = reader.read(CHUNK)
            if not chunk:
                return
            yield chunk
    finally:
        if close:
            file.close()


@contextmanager
def using_storage(name: str) -> Iterator[None]:
    """Raises StorageUnavailable for whatever the storage raises: each backend has errors of its own."""
    try:
        yield
    except BlobError:
        raise
    except zstandard.ZstdError:
        raise BlobError("blob_damaged", f"The stored bytes of {name} cannot be decompressed.") from None
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"[:300]
        raise StorageUnavailable(f"The blob storage does not serve {name}: {reason}") from error


def _insert(cursor: psycopg.Cursor[Any], name: str, size: int, media_type: str, data: bytes | None) -> None:
    """Writes the row, or makes an old one young. A young one is neither written nor locked: many may store the same."""
    cursor.execute(
        "INSERT INTO blob (hash, size, media_type, data) SELECT %(name)s::varchar, %(size)s, %(type)s, %(data)s::bytea"
        " WHERE NOT EXISTS (SELECT FROM blob WHERE hash = %(name)s::varchar"
        " AND created_at > clock_timestamp() - make_interval(secs => %(young)s))"
        " ON CONFLICT (hash) DO UPDATE SET created_at = clock_timestamp()",
        {"name": name, "size": size, "type": media_type[:200], "data": data, "young": YOUNG_DAYS * 86_400},
    )
