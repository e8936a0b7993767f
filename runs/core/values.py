"""Values in events and states: small ones inline, large ones by content address (law 5).

A `Value` is `[json]` when inline and `"sha256:…"` when it is kept as a blob. Reading a blob by its hash is a
pure function of the hash, so the shell's `fetch` may be handed to the pure core (law 3).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from workflows.core.canonical import content_hash
from workflows.core.errors import LimitExceeded
from workflows.core.strictjson import check, encode, encode_ordered

Value = list[Any] | str

INLINE_BYTES = 16 * 1024
MAX_CACHED = 32


class MissingValue(Exception):
    """A blob that the log refers to cannot be read. No AobError: what storage does is never a decision of the run."""

    def __init__(self, name: str, reason: str = "it is not in the blob store") -> None:
        self.message = f"The value {name} cannot be read: {reason}"
        super().__init__(self.message)

    def as_dict(self) -> dict[str, Any]:
        return {"code": "blob_missing", "message": self.message}


def _nothing(name: str) -> bytes:
    raise MissingValue(name)


class Values:
    """Stores and loads the values of runs. `new` holds what has to be written as blobs with the events."""

    def __init__(self, fetch: Callable[[str], bytes] = _nothing) -> None:
        self._fetch = fetch
        self._loaded: dict[str, Any] = {}
        self.new: dict[str, bytes] = {}

    def store(self, value: Any, *, max_bytes: int, what: str) -> Value:
        """The value as it stands in an event. Raises LimitExceeded above `max_bytes` and AobError for
        what is not JSON (NaN, lone surrogates, NUL, integers beyond 64 bits)."""
        check(value)
        size = len(encode(value))
        if size <= INLINE_BYTES:
            return [value]
        if size > max_bytes:
            raise LimitExceeded(
                "output_too_large",
                f"{what} has {size} bytes; the limit is {max_bytes}.",
                hint="Keep large data in blobs, or raise AOB_MAX_VALUE_BYTES.",
            )
        data = encode_ordered(value)
        name = content_hash(data)
        self.new[name] = data
        self._remember(name, value)
        return name

    def load(self, value: Value) -> Any:
        """The JSON that a value stands for."""
        if isinstance(value, list):
            return value[0]
        if value not in self._loaded:
            import msgspec

            data = self.new.get(value) or self._fetch(value)
            self._remember(value, msgspec.json.decode(data))
        return self._loaded[value]

    def _remember(self, name: str, value: Any) -> None:
        while len(self._loaded) >= MAX_CACHED:
            self._loaded.pop(next(iter(self._loaded)))
        self._loaded[name] = value


def put(data: dict[str, Any], key: str, value: Value) -> dict[str, Any]:
    """Writes a value into an event's data: as `key`, or as `key_ref` when it is kept as a blob."""
    if isinstance(value, list):
        data[key] = value[0]
    else:
        data[f"{key}_ref"] = value
    return data


def get(data: dict[str, Any], key: str) -> Value | None:
    """The value that `put` wrote, or None."""
    if key in data:
        return [data[key]]
    return data.get(f"{key}_ref")
