"""Bodies that come compressed (RFC 9110, section 8.4): decoded in small parts, so that who reads can stop in time.

A kilobyte can stand for a gigabyte, and one coding over another for much more. So a body has one coding at most, of
those that the client asks for, and nothing is decoded before the part in front of it was taken.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterable, AsyncIterator, Iterable

ACCEPTED = "gzip, deflate"
PART = 64 * 1024
"""The most bytes that are decoded at a time."""

_BITS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
_UNASKED = frozenset({"br", "zstd"})
"""What httpx decodes where it finds the libraries, and without a bound."""


class CodingError(Exception):
    """A body is compressed in a way that is not read, or is not what its header says."""


def codings(values: Iterable[str]) -> list[str]:
    """The codings that these Content-Encoding headers name, in their order; `identity` is none."""
    names = (name.strip().lower() for value in values for name in value.split(","))
    return [name for name in names if name not in ("", "identity")]


async def decoded(chunks: AsyncIterable[bytes], names: list[str]) -> AsyncIterator[bytes]:
    """The body behind its coding, in parts of at most PART bytes; as it came where the coding is no compression.

    Raises CodingError, also for more than one coding.
    """
    if len(names) > 1 or _UNASKED & set(names):
        raise CodingError(f"It is encoded as {', '.join(names)[:100]!r}; read is one of {ACCEPTED}.")
    if not names or names[0] not in _BITS:
        async for chunk in chunks:
            yield chunk
        return
    unpack = zlib.decompressobj(_BITS[names[0]])
    is_unread = True
    async for chunk in chunks:
        while not unpack.eof:
            try:
                part = unpack.decompress(chunk, PART)
            except zlib.error as error:
                if names[0] != "deflate" or not is_unread:
                    raise CodingError(f"It is no {names[0]}: {error}") from None
                # Some send `deflate` without its frame.
                unpack, is_unread = zlib.decompressobj(-zlib.MAX_WBITS), False
                continue
            is_unread = False
            if part:
                yield part
            chunk = unpack.unconsumed_tail
            if not chunk and len(part) < PART:
                break
