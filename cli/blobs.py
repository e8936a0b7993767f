"""Commands on blobs. What is fetched is checked against its name, the SHA-256 of the content."""

from __future__ import annotations

import os
import sys

from cli.connection import Connection, quote
from cli.exits import DONE, Unreachable, UsageError
from cli.printing import amount, clean, document
from cli.uploads import upload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


def put(connection: Connection, options: Any) -> int:
    """`aob blob put`."""
    reference = upload(connection, options.file, options.media_type)
    if options.json:
        document(reference)
    else:
        print(clean(reference["blob"]))
    return DONE


def get(connection: Connection, options: Any) -> int:
    """`aob blob get`."""
    name = options.name if ":" in options.name else f"sha256:{options.name}"
    if options.json and not options.output:
        raise UsageError("`aob blob get --json` needs --output FILE: a blob need not be JSON.")
    headers, pieces = connection.open("GET", f"/blobs/{quote(name)}", None, {"Accept": "*/*"})
    if not options.output:
        _to_stdout(_checked(pieces, name))
        return DONE
    size = _to_file(_checked(pieces, name), options.output)
    if options.json:
        document({"blob": name, "bytes": size, "media_type": _media_type(headers), "file": options.output})
    else:
        print(f"Wrote {clean(options.output)} ({amount(size)}).")
    return DONE


def _media_type(headers: dict[str, str]) -> str | None:
    return headers.get("x-blob-media-type") or headers.get("content-type")


def _checked(pieces: Iterator[bytes], name: str) -> Iterator[bytes]:
    """The same pieces. Raises Unreachable at the end when they are not what the name says."""
    import hashlib

    seen = hashlib.sha256()
    for piece in pieces:
        seen.update(piece)
        yield piece
    if name.startswith("sha256:") and seen.hexdigest() != name.removeprefix("sha256:").lower():
        raise Unreachable(f"what came is not {name}: its SHA-256 is {seen.hexdigest()}.", connected=True)


def _to_stdout(pieces: Iterator[bytes]) -> None:
    for number, piece in enumerate(pieces):
        if number == 0 and sys.stdout.isatty() and any(byte < 32 and byte not in (9, 10, 13) for byte in piece):
            raise UsageError("this blob is not text; write it to a file with --output FILE.")
        sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


def _to_file(pieces: Iterator[bytes], name: str) -> int:
    """Writes beside the file and renames, so that a transfer that is cut off leaves the old one. Gives the size."""
    if os.path.exists(name) and not os.path.isfile(name):
        # A device or a pipe cannot be replaced by a file.
        with open(name, "wb") as file:
            return sum(file.write(piece) for piece in pieces)
    part = f"{name}.{os.getpid()}.part"
    size = 0
    try:
        with open(part, "xb") as file:
            for piece in pieces:
                size += file.write(piece)
        os.replace(part, name)
    except OSError as error:
        raise UsageError(f"{name!r} cannot be written: {error.strerror}.") from None
    finally:
        if os.path.exists(part):
            os.unlink(part)
    return size
