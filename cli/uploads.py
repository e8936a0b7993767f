"""Files that become blobs: `{"$file": "path"}` in inputs, `--input name=@path`, `aob blob put`."""

from __future__ import annotations

import json
import os
import stat
import sys

from cli.connection import Connection
from cli.exits import UsageError
from cli.printing import amount, clean
from cli.reading import no_file, pairs, read_json, twice
from cli.transport import Upload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MEDIA_TYPES = {
    ".bmp": "image/bmp", ".css": "text/css", ".csv": "text/csv", ".gif": "image/gif", ".gz": "application/gzip",
    ".htm": "text/html", ".html": "text/html", ".jpeg": "image/jpeg", ".jpg": "image/jpeg",
    ".json": "application/json", ".jsonl": "application/jsonl", ".log": "text/plain", ".md": "text/markdown",
    ".mp3": "audio/mpeg", ".mp4": "video/mp4", ".ndjson": "application/jsonl",
    ".parquet": "application/vnd.apache.parquet", ".pdf": "application/pdf", ".png": "image/png",
    ".svg": "image/svg+xml", ".tar": "application/x-tar",
    ".tsv": "text/tab-separated-values", ".txt": "text/plain", ".wav": "audio/wav", ".webp": "image/webp",
    ".xml": "application/xml", ".yaml": "application/yaml", ".yml": "application/yaml", ".zip": "application/zip",
    ".zst": "application/zstd",
}  # fmt: skip


def inputs(connection: Connection, options: Any) -> bytes | None:
    """The JSON of a request's `inputs`, or None when none are given.

    It is sent as it was written unless something has to be put into it.
    """
    single = pairs(options.input, "An input")
    if options.inputs is None and not single:
        return None
    value, data, folder = ({}, b"{}", ".") if options.inputs is None else read_json(options.inputs, "--inputs")
    if not single and not has_files(value):
        return data
    if value is None and data != b"null":
        raise UsageError("--inputs is nested too deeply to put files or other inputs into it.")
    if twice(value):
        raise UsageError("--inputs: a key stands twice in one object.")
    value = Uploads(connection, folder, quiet=options.json).put_into(value)
    if single:
        if not isinstance(value, dict):
            raise UsageError("--input adds to an object; --inputs is none.")
        here = Uploads(connection, ".", quiet=options.json)
        for name, given in single.items():
            value[name] = here.upload(given[1:]) if given.startswith("@") else scalar(given)
    return json.dumps(value).encode()


def scalar(text: str) -> Any:
    """JSON where it is JSON, else the text itself (`NaN` is text)."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return text


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def has_files(value: Any) -> bool:
    """True when some `{"$file": "path"}` stands in it."""
    if isinstance(value, dict):
        return set(value) == {"$file"} or any(has_files(part) for part in value.values())
    return isinstance(value, list) and any(has_files(part) for part in value)


class Uploads:
    """Uploads the files that a value names, each once."""

    def __init__(self, connection: Connection, folder: str, *, quiet: bool) -> None:
        self._connection = connection
        self._folder = folder
        self._quiet = quiet
        self._known: dict[str, Any] = {}

    def put_into(self, value: Any) -> Any:
        """The value with every `{"$file": "path"}` replaced by a blob reference."""
        if isinstance(value, dict):
            if set(value) == {"$file"}:
                if not isinstance(value["$file"], str):
                    raise UsageError(f'{{"$file": …}} takes the path of a file, not {json.dumps(value["$file"])[:60]}.')
                return self.upload(value["$file"])
            return {key: self.put_into(part) for key, part in value.items()}
        if isinstance(value, list):
            return [self.put_into(part) for part in value]
        return value

    def upload(self, path: str) -> Any:
        name = os.path.normpath(os.path.join(self._folder, path))
        if name not in self._known:
            self._known[name] = upload(self._connection, name, quiet=self._quiet)
        return self._known[name]


def upload(connection: Connection, name: str, media_type: str | None = None, *, quiet: bool = True) -> Any:
    """Stores a file as a blob without reading it into memory; gives its reference.

    A blob is named by its content, so an upload may be repeated. Raises UsageError.
    """
    kind = media_type or MEDIA_TYPES.get(os.path.splitext(name)[1].lower(), "application/octet-stream")
    try:
        file = os.open(name, os.O_RDONLY | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        raise no_file(name, error if isinstance(error, OSError) else OSError("its name has a NUL")) from None
    try:
        about = os.fstat(file)
        if stat.S_ISDIR(about.st_mode):
            raise no_file(name, IsADirectoryError())
        if not stat.S_ISREG(about.st_mode):
            raise UsageError(f"{name!r} is not a regular file, so its size is not known before it is sent.")
        body = Upload(file, about.st_size)
        reference = connection.retrying("POST", "/blobs", body, {"Content-Type": kind})
    finally:
        os.close(file)
    if not quiet:
        print(f"Uploaded {clean(name)} ({amount(about.st_size)}).", file=sys.stderr)
    return reference
