"""The one strict JSON decoder of every door (hazard S29), and the same rules for values made in Python.

Refused: what RFC 8259 refuses, and duplicate keys, NaN and infinities, integers beyond 64 bits, lone
surrogates, U+0000 (Postgres cannot keep it), other encodings than UTF-8, deep nesting.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import msgspec

from workflows.core.errors import AobError

JSON = Any

MAX_BYTES = 16 * 1024 * 1024
MAX_DEPTH = 64
MAX_INTEGER = 2**63 - 1


class JsonError(AobError):
    """Text or a value that is not JSON as AOB accepts it."""


def decode(
    data: bytes | str, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH, is_canonical: bool = False
) -> JSON:
    """The value that the JSON text stands for. Raises JsonError.

    `is_canonical` is for text that we wrote ourselves by RFC 8785, where a large float such as 1e19 stands as
    digits without a point; at a door the same digits are a whole number that is too large.
    """
    if len(data) > max_bytes:
        raise JsonError(
            "json_too_large",
            f"The JSON text has {len(data)} bytes; the limit is {max_bytes}.",
            hint="Send less.",
        )
    text = _text(data)
    try:
        value = (_CANONICAL if is_canonical else _ANY).decode(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise JsonError("json_syntax", f"This is not JSON: {error.msg} at {place}.", hint=f"Look at {place}.") from None
    except RecursionError:
        raise _too_deep(max_depth) from None
    if "\\u" in text or text.count("[") + text.count("{") > max_depth:
        check(value, max_depth=max_depth)
    return value


def encode(value: JSON) -> bytes:
    """Compact JSON in UTF-8."""
    return msgspec.json.encode(value)


def encode_ordered(value: JSON) -> bytes:
    """Compact JSON with sorted keys. Unlike RFC 8785 it keeps 1.0 apart from 1, as expressions do."""
    return msgspec.json.encode(value, order="sorted")


def check(value: JSON, *, max_depth: int = MAX_DEPTH) -> None:
    """Raises JsonError, with the pointer of the place, when a Python value is not JSON as AOB accepts it."""
    if type(value) is not dict and type(value) is not list:
        _check_leaf(value, (), None)
        return
    work: list[tuple[Any, tuple[Any, ...], int]] = [(value, (), 1)]
    while work:
        item, where, depth = work.pop()
        if depth > max_depth:
            raise _too_deep(max_depth, _pointer(where))
        if type(item) is dict:
            for key, part in item.items():
                if type(key) is not str:
                    raise JsonError("json_type", f"The key {key!r} is not text.", _pointer(where))
                if not key.isascii() or "\x00" in key:
                    _check_text(key, where)
                kind = type(part)
                if kind is dict or kind is list:
                    work.append((part, (where, key), depth + 1))
                elif kind is not str or not part.isascii() or "\x00" in part:
                    _check_leaf(part, where, key)
        else:
            for place, part in enumerate(item):
                kind = type(part)
                if kind is dict or kind is list:
                    work.append((part, (where, place), depth + 1))
                elif kind is not str or not part.isascii() or "\x00" in part:
                    _check_leaf(part, where, place)


def _check_leaf(item: JSON, where: tuple[Any, ...], key: Any) -> None:
    kind = type(item)
    if kind is int:
        if not -MAX_INTEGER - 1 <= item <= MAX_INTEGER:
            raise _integer_range(str(item)[:40], _pointer(_within(where, key)))
    elif kind is str:
        _check_text(item, _within(where, key))
    elif kind is float:
        if not math.isfinite(item):
            raise JsonError("json_not_finite", f"{item} is not a JSON number.", _pointer(_within(where, key)))
    elif item is not None and kind is not bool:
        raise JsonError("json_type", f"A value of type {kind.__name__} is not JSON.", _pointer(_within(where, key)))


def _within(where: tuple[Any, ...], key: Any) -> tuple[Any, ...]:
    """The place of a leaf; None stands for the value itself."""
    return where if key is None else (where, key)


def _text(data: bytes | str) -> str:
    if isinstance(data, str):
        return data
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise JsonError("json_encoding", f"The JSON text is not UTF-8 (byte {error.start}).") from None
    if text.startswith("\ufeff"):
        raise JsonError("json_encoding", "The JSON text begins with a byte order mark.", hint="Save it without BOM.")
    return text


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise JsonError("json_duplicate_key", f"The key {key!r} stands twice in one object.", hint="Remove one.")
            seen.add(key)
    return found


def _integer(digits: str) -> int:
    if len(digits) <= 20:
        value = int(digits)
        if -MAX_INTEGER - 1 <= value <= MAX_INTEGER:
            return value
    raise _integer_range(digits[:40])


def _canonical_integer(digits: str) -> int | float:
    value = int(digits)
    return value if -MAX_INTEGER - 1 <= value <= MAX_INTEGER else float(digits)


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise JsonError("json_not_finite", f"The number {text[:40]} is too large.")
    return value


def _constant(name: str) -> float:
    raise JsonError("json_not_finite", f"{name} is not JSON.", hint="Use null or a finite number.")


def _integer_range(digits: str, pointer: str | None = None) -> JsonError:
    return JsonError("json_integer_range", f"The integer {digits} does not fit 64 bits.", pointer, "Send it as a string.")


def _too_deep(max_depth: int, pointer: str | None = None) -> JsonError:
    return JsonError("json_too_deep", f"The JSON is nested deeper than {max_depth} levels.", pointer)


def _check_text(text: str, where: tuple[Any, ...]) -> None:
    if "\x00" in text:
        raise JsonError("json_nul", "Text may not contain U+0000.", _pointer(where), "Remove the NUL character.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise JsonError(
            "json_surrogate", "Text contains a lone surrogate, which is not a character.", _pointer(where)
        ) from None


def _pointer(where: tuple[Any, ...]) -> str:
    keys: list[str] = []
    while where:
        where, key = where
        keys.append(str(key).replace("~", "~0").replace("/", "~1"))
    return "".join(f"/{key}" for key in reversed(keys)).encode("utf-8", "replace").decode()


def _decoder(parse_int: Callable[[str], Any]) -> json.JSONDecoder:
    return json.JSONDecoder(object_pairs_hook=_object, parse_int=parse_int, parse_float=_number, parse_constant=_constant)


# Made once: json.loads makes one for each text.
_ANY, _CANONICAL = _decoder(_integer), _decoder(_canonical_integer)
