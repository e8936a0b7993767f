"""What every executor of an effect node gets and gives."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

from workflows.core.errors import AobError


class TaskError(AobError):
    """An attempt failed. `transient` says that another attempt may succeed; `retry_after` is in seconds."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        transient: bool,
        retry_after: float | None = None,
        pointer: str | None = None,
        hint: str | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(code, message, pointer, hint)
        self.transient = transient
        self.retry_after = retry_after
        self.details = dict(details or {})

    def as_dict(self) -> dict[str, Any]:
        parts = {**super().as_dict(), "transient": self.transient}
        if self.retry_after is not None:
            parts["retry_after"] = self.retry_after
        if self.details:
            parts["details"] = self.details
        return parts


standing_aside: ContextVar[Callable[[], AbstractContextManager[None]]] = ContextVar("aside", default=nullcontext)
"""What is wrapped around a wait in line; a long one takes no slot of the worker."""


@asynccontextmanager
async def in_line(places: asyncio.Semaphore) -> AsyncIterator[None]:
    """One of few places; a line that stands still holds up nobody who wants another one."""
    if places.locked():
        with standing_aside.get()():
            await places.acquire()
    else:
        await places.acquire()
    try:
        yield
    finally:
        places.release()


class BlobStore(Protocol):
    """Content-addressed bytes; a reference is `{"blob", "bytes", "media_type"}`."""

    async def put(self, chunks: AsyncIterator[bytes], *, media_type: str, max_bytes: int) -> dict[str, Any]: ...

    def open(self, reference: Mapping[str, Any]) -> AsyncIterator[bytes]:
        """Its bytes, checked before the first of them is given."""
        ...


@dataclass(frozen=True)
class TaskContext:
    """What an attempt may use. `max_value_bytes` bounds its JSON output, `max_blob_bytes` its blobs."""

    run_id: str
    path: str
    attempt: int
    idempotency_key: str
    blobs: BlobStore
    max_value_bytes: int
    max_blob_bytes: int
    log: Callable[[str, str], None]
    hosts: Sequence[str] | None = None
    """The only hosts that the attempt may reach, where an agent brought its node; None where it is not bound so."""


Executor = Callable[[dict[str, Any], TaskContext], Awaitable[Any]]
"""Takes the resolved config and gives the JSON output; is cancelled when its time is up."""


def is_blob(value: Any) -> bool:
    """True for a blob reference."""
    return isinstance(value, dict) and isinstance(value.get("blob"), str) and value["blob"].startswith("sha256:")


_MEDIA_TYPE = re.compile(
    r"[a-z0-9][a-z0-9.+-]{0,60}/[a-z0-9][a-z0-9.+-]{0,80}( *;[ -~]{0,200})?", re.ASCII | re.IGNORECASE
)


def is_media_type(value: Any) -> bool:
    """True for `type/subtype`, with parameters or without, that can stand in a header and ends no line."""
    return isinstance(value, str) and _MEDIA_TYPE.fullmatch(value) is not None


def is_file_name(value: Any) -> bool:
    """True for a name of a file, not of a path, that can stand in a header and ends no line."""
    return isinstance(value, str) and 0 < len(value) <= 200 and value.isprintable() and not set(value) & set('/\\"')
