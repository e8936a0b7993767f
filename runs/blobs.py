"""Content-addressed storage (law 5): small blobs in Postgres, larger ones zstd-compressed in the blob storage.

A blob's name is the hash of its bytes; what is read is checked against its name before it is handed on.
"""

from __future__ import annotations

import hashlib
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


class BlobError(AobError):
    """A blob that is missing, damaged or refused."""


class StorageUnavailable(OSError):
    """The blob storage neither gives nor takes now. No AobError: what storage does is never a decision of the run."""

    code = "blob_storage_unavailable"


def reference(name: str, size: int, media_type: str) -> dict[str, Any]:
    """How a blob stands in a value."""
    return {"blob": name, "bytes": size, "media_type": media_type}


def write_values(cursor: psycopg.Cursor[Any], values: Mapping[str, bytes]) -> None:
    """Writes JSON values as blobs within the caller's transaction."""
    for name, data in values.items():
        small = len(data) <= SMALL_BYTES
        if not small:
            _store(name, ContentFile(zstandard.compress(data)))
        _insert(cursor, name, len(data), VALUE_TYPE, data if small else None)


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
            self._file.seek(0)
            _store(name, File(self._file))
        with db.transaction() as cursor:
            _insert(cursor, name, self.size, media_type, self._head if small else None)
        return reference(name, self.size, media_type)

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
        with _using_storage(name):
            file.seek(0)
    except BaseException:
        file.close()
        raise
    return _decompressed(name, file, close=True)


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
    """The blob store as executors see it."""

    async def put(self, chunks: AsyncIterator[bytes], *, media_type: str, max_bytes: int) -> dict[str, Any]:
        writer = BlobWriter(max_bytes)
        try:
            async for chunk in chunks:
                writer.write(chunk)
            return await sync_to_async(writer.finish, thread_sensitive=False)(media_type)
        finally:
            writer.close()

    async def open(self, reference: Mapping[str, Any]) -> AsyncIterator[bytes]:
        chunks = await sync_to_async(read, thread_sensitive=False)(str(reference.get("blob")))
        step = sync_to_async(lambda: next(chunks, None), thread_sensitive=False)
        while (chunk := await step()) is not None:
            yield chunk


def delete(names: Iterable[str]) -> None:
    """Removes stored files; the rows are gone already."""
    for name in names:
        storages["blobs"].delete(_key(name))


def _key(name: str) -> str:
    digest = name.removeprefix("sha256:")
    if len(digest) != 64 or not all(letter in "0123456789abcdef" for letter in digest):
        raise BlobError("blob_unknown", f"{name[:80]!r} is not the name of a blob.")
    return f"{digest[:2]}/{digest[2:]}.zst"


def _store(name: str, content: Any) -> None:
    key = _key(name)
    with _using_storage(name):
        if not storages["blobs"].exists(key):
            storages["blobs"].save(key, content)


def _open(name: str) -> IO[bytes]:
    key = _key(name)
    with _using_storage(name):
        try:
            return storages["blobs"].open(key)  # type: ignore[no-any-return]
        except FileNotFoundError:
            raise BlobError("blob_missing", f"The bytes of blob {name} are not in the storage.") from None


def _decompressed(name: str, file: IO[bytes], *, close: bool = False) -> Iterator[bytes]:
    try:
        reader = zstandard.ZstdDecompressor().stream_reader(file, closefd=False)
        while True:
            with _using_storage(name):
                chunk = reader.read(CHUNK)
            if not chunk:
                return
            yield chunk
    finally:
        if close:
            file.close()


@contextmanager
def _using_storage(name: str) -> Iterator[None]:
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
    cursor.execute(
        "INSERT INTO blob (hash, size, media_type, data) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
        [name, size, media_type[:200], data],
    )
