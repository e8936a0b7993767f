"""The functions that AOB adds to CEL's own: pure, deterministic and bounded.

Each stands in `FUNCTIONS` with its documentation; the reference page is generated from there and every
example is a test. They may be called as `f(x, …)` and as `x.f(…)`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json as json_module
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import msgspec
import re2

from workflows.core.canonical import canonical
from workflows.core.durations import parse_duration
from workflows.core.errors import AobError
from workflows.core.strictjson import decode

MAX_ELEMENTS = 1_000_000
MAX_TEXT = 8 * 1024 * 1024


class Function(msgspec.Struct, frozen=True):
    """A function with its documentation. `parameters` are CEL type names; `member` allows `x.f(…)`."""

    name: str
    parameters: tuple[str, ...]
    call: Callable[..., Any]
    help: str
    example: str
    result: Any
    member: bool = True


def key_order(value: Any) -> tuple[int, Any]:
    """Orders values of mixed types: null, booleans, numbers, text, the rest by their canonical JSON."""
    if value is None:
        return 0, 0
    if isinstance(value, bool):
        return 1, value
    if isinstance(value, (int, float)):
        return 2, value
    if isinstance(value, str):
        return 3, value
    return 4, canonical(value)


def _numbers(items: list[Any]) -> list[Any]:
    for item in items:
        if isinstance(item, bool) or not isinstance(item, (int, float)):
            raise ValueError(f"{str(item)[:40]!r} is not a number")
    return items


def _text_of(value: Any) -> str:
    if isinstance(value, str):
        return value
    return canonical(value).decode()


def _bounded(text: str) -> str:
    if len(text) > MAX_TEXT:
        raise ValueError(f"the text would have {len(text)} characters; the limit is {MAX_TEXT}")
    return text


def _get(value: Any, path: str, default: Any) -> Any:
    for key in path.split("."):
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.isdigit() and int(key) < len(value):
            value = value[int(key)]
        else:
            return default
    return value


def _group(items: list[Any], key: str) -> dict[str, list[Any]]:
    groups: dict[str, list[Any]] = {}
    for item in items:
        groups.setdefault(_text_of(_get(item, key, None)), []).append(item)
    return groups


def _count_by(items: list[Any], key: str) -> dict[str, int]:
    return {name: len(group) for name, group in sorted(_group(items, key).items())}


def _distinct(items: list[Any]) -> list[Any]:
    first: dict[bytes, Any] = {}
    for item in items:
        first.setdefault(canonical(item), item)
    return list(first.values())


def _flatten(items: list[Any]) -> list[Any]:
    flat: list[Any] = []
    for item in items:
        flat.extend(item) if isinstance(item, list) else flat.append(item)
    return flat


def _range(count: int) -> list[int]:
    if not 0 <= count <= MAX_ELEMENTS:
        raise ValueError(f"range({count}) is outside of 0 … {MAX_ELEMENTS}")
    return list(range(count))


def _chunk(items: list[Any], size: int) -> list[list[Any]]:
    if size < 1:
        raise ValueError("the size of a chunk is at least 1")
    return [items[start : start + size] for start in range(0, len(items), size)]


def _best(items: list[Any], choose: Callable[..., Any]) -> Any:
    if not items:
        raise ValueError("the list is empty")
    return choose(items, key=key_order)


def _average(items: list[Any]) -> float:
    if not items:
        raise ValueError("the list is empty")
    return float(sum(_numbers(items)) / len(items))


def _round(number: Any, digits: int) -> float:
    return round(float(_numbers([number])[0]), max(-300, min(digits, 300)))


def _number(text: str) -> Any:
    try:
        value = decode(text.strip())
    except AobError:
        raise ValueError(f"{text[:40]!r} is not a number") from None
    return _numbers([value])[0]


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def _iso(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def _date_parse(text: str, pattern: str) -> str:
    return _iso(_with_zone(datetime.strptime(text, pattern)))


def _with_zone(moment: datetime) -> datetime:
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def _date_add(text: str, duration: str) -> str:
    sign = -1 if duration.startswith("-") else 1
    return _iso(_moment(text) + sign * timedelta(seconds=parse_duration(duration.lstrip("-"))))


def _url_parse(text: str) -> dict[str, Any]:
    parts = urlsplit(text)
    return {
        "scheme": parts.scheme,
        "host": parts.hostname or "",
        "port": parts.port,
        "path": parts.path,
        "query": dict(parse_qsl(parts.query, keep_blank_values=True)),
        "fragment": parts.fragment,
    }


def _pattern(source: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(source, options)
    except re2.error as error:
        raise ValueError(f"the pattern cannot be used: {error}") from None


def _captures(text: str, pattern: str) -> Any:
    match = _pattern(pattern).search(text)
    return None if match is None else {**{str(n): g for n, g in enumerate(match.groups(), 1)}, **match.groupdict()}


def _find(text: str, pattern: str) -> Any:
    match = _pattern(pattern).search(text)
    return None if match is None else match.group(0)


def _decode64(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise ValueError(f"this is not text in base64: {error}") from None


def _merge(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    return {**first, **second}


def _where(items: list[Any], key: str, wanted: Any) -> list[Any]:
    return [item for item in items if _get(item, key, None) == wanted]


def _table(rows: list[Any]) -> str:
    if not all(isinstance(row, list) for row in rows):
        raise ValueError("a row of a table is a list of cells")
    return "\n".join(" | ".join(_text_of(cell) for cell in row) for row in rows)


def _digest(algorithm: str) -> Callable[[str], str]:
    return lambda text: hashlib.new(algorithm, text.encode()).hexdigest()


FUNCTIONS: tuple[Function, ...] = (
    Function("lower", ("string",), str.lower, "Lower case.", '"ABC".lower()', "abc"),
    Function("upper", ("string",), str.upper, "Upper case.", '"abc".upper()', "ABC"),
    Function("title", ("string",), str.title, "Capital first letters.", '"a tale".title()', "A Tale"),
    Function("lines", ("string",), str.splitlines, "The lines of a text.", '"a\\nb".lines()', ["a", "b"]),
    Function(
        "pad",
        ("string", "int"),
        lambda text, width: text.ljust(min(width, 10_000)),
        "Fills up with spaces.",
        '"a".pad(3)',
        "a  ",
    ),
    Function("text", ("dyn",), _text_of, "Text as it is; anything else as JSON.", "text([1, 2])", "[1,2]"),
    Function("number", ("string",), _number, "The number that a text stands for.", 'number("2.5")', 2.5),
    Function("round", ("dyn", "int"), _round, "Rounded to that many digits.", "round(2.345, 1)", 2.3),
    Function("sum", ("list",), lambda items: sum(_numbers(items)), "The sum of numbers.", "[1, 2.5].sum()", 3.5),
    Function("min", ("list",), lambda items: _best(items, min), "The smallest.", "[3, 1, 2].min()", 1),
    Function("max", ("list",), lambda items: _best(items, max), "The largest.", "[3, 1, 2].max()", 3),
    Function("avg", ("list",), _average, "The mean.", "[1, 2].avg()", 1.5),
    Function("sort", ("list",), lambda items: sorted(items, key=key_order), "In order.", "[3, 1].sort()", [1, 3]),
    Function(
        "sortBy",
        ("list", "string"),
        lambda items, key: sorted(items, key=lambda item: key_order(_get(item, key, None))),
        "In the order of a field.",
        '[{"a": 2}, {"a": 1}].sortBy("a")',
        [{"a": 1}, {"a": 2}],
    ),
    Function("reversed", ("list",), lambda items: items[::-1], "Backwards.", "[1, 2].reversed()", [2, 1]),
    Function(
        "take",
        ("list", "int"),
        lambda items, count: items[: max(count, 0)],
        "The first so many.",
        "[1, 2, 3].take(2)",
        [1, 2],
    ),
    Function("distinct", ("list",), _distinct, "Without repetitions.", "[1, 2, 1].distinct()", [1, 2]),
    Function("flatten", ("list",), _flatten, "One level of lists opened.", "[[1], [2, 3]].flatten()", [1, 2, 3]),
    Function(
        "zip",
        ("list", "list"),
        lambda a, b: [list(pair) for pair in zip(a, b, strict=False)],
        "Pairs.",
        "zip([1, 2], [3, 4])",
        [[1, 3], [2, 4]],
    ),
    Function("chunk", ("list", "int"), _chunk, "Lists of that size.", "[1, 2, 3].chunk(2)", [[1, 2], [3]]),
    Function("range", ("int",), _range, "0, 1, … below the number.", "range(3)", [0, 1, 2], member=False),
    Function(
        "group",
        ("list", "string"),
        _group,
        "Maps by a field: text of the field → maps.",
        '[{"k": "a"}, {"k": "b"}].group("k")',
        {"a": [{"k": "a"}], "b": [{"k": "b"}]},
    ),
    Function(
        "countBy",
        ("list", "string"),
        _count_by,
        "How many have each value of a field.",
        '[{"k": "a"}, {"k": "a"}].countBy("k")',
        {"a": 2},
    ),
    Function(
        "pluck",
        ("list", "string"),
        lambda items, key: [_get(item, key, None) for item in items],
        "One field of each.",
        '[{"a": 1}, {"a": 2}].pluck("a")',
        [1, 2],
    ),
    Function(
        "where",
        ("list", "string", "dyn"),
        _where,
        "Those whose field has this value; for long lists.",
        '[{"a": 1}, {"a": 2}].where("a", 2)',
        [{"a": 2}],
    ),
    Function(
        "keys",
        ("map",),
        lambda value: sorted(value),
        "The keys in order.",
        '{"b": 1, "a": 2}.keys()',
        ["a", "b"],
    ),
    Function(
        "values",
        ("map",),
        lambda value: [value[key] for key in sorted(value)],
        "The values by key.",
        '{"b": 1, "a": 2}.values()',
        [2, 1],
    ),
    Function(
        "entries",
        ("map",),
        lambda value: [{"key": key, "value": value[key]} for key in sorted(value)],
        "Keys with values.",
        '{"a": 1}.entries()',
        [{"key": "a", "value": 1}],
    ),
    Function(
        "merge",
        ("map", "map"),
        _merge,
        "Both; the second wins.",
        '{"a": 1}.merge({"b": 2})',
        {"a": 1, "b": 2},
    ),
    Function(
        "pick",
        ("map", "list"),
        lambda value, keys: {key: value[key] for key in keys if key in value},
        "Only these keys.",
        '{"a": 1, "b": 2}.pick(["a"])',
        {"a": 1},
    ),
    Function(
        "omit",
        ("map", "list"),
        lambda value, keys: {key: part for key, part in value.items() if key not in keys},
        "All but these keys.",
        '{"a": 1, "b": 2}.omit(["a"])',
        {"b": 2},
    ),
    Function(
        "get",
        ("dyn", "string", "dyn"),
        _get,
        "The value at a dotted path, or the default.",
        '{"a": {"b": 1}}.get("a.b", 0)',
        1,
    ),
    Function("json.parse", ("string",), decode, "The value of a JSON text.", "json.parse('[1]')", [1], member=False),
    Function(
        "json.text",
        ("dyn",),
        lambda value: canonical(value).decode(),
        "Canonical JSON.",
        'json.text({"a": 1})',
        '{"a":1}',
        member=False,
    ),
    Function(
        "json.pretty",
        ("dyn",),
        lambda value: json_module.dumps(value, indent=2, ensure_ascii=False, sort_keys=True),
        "JSON for reading.",
        "json.pretty([1])",
        "[\n  1\n]",
        member=False,
    ),
    Function(
        "base64.text",
        ("string",),
        lambda text: base64.b64encode(text.encode()).decode(),
        "Text in base64.",
        'base64.text("hi")',
        "aGk=",
        member=False,
    ),
    Function(
        "base64.read",
        ("string",),
        _decode64,
        "The text in base64.",
        'base64.read("aGk=")',
        "hi",
        member=False,
    ),
    Function("hex", ("string",), lambda text: text.encode().hex(), "UTF-8 bytes in hex.", 'hex("hi")', "6869"),
    Function(
        "hash.sha256",
        ("string",),
        _digest("sha256"),
        "SHA-256 in hex.",
        'hash.sha256("a").size()',
        64,
        member=False,
    ),
    Function("hash.sha1", ("string",), _digest("sha1"), "SHA-1 in hex.", 'hash.sha1("a").size()', 40, member=False),
    Function(
        "hash.md5",
        ("string",),
        _digest("md5"),
        "MD5 in hex; not for security.",
        'hash.md5("a").size()',
        32,
        member=False,
    ),
    Function(
        "url.encode",
        ("string",),
        lambda text: quote(text, safe=""),
        "Percent-encoded.",
        'url.encode("a b")',
        "a%20b",
        member=False,
    ),
    Function("url.decode", ("string",), unquote, "Percent-decoded.", 'url.decode("a%20b")', "a b", member=False),
    Function(
        "url.parse",
        ("string",),
        _url_parse,
        "The parts of a URL.",
        'url.parse("http://h/p?a=1").query',
        {"a": "1"},
        member=False,
    ),
    Function(
        "date.parse",
        ("string", "string"),
        _date_parse,
        "A date in strftime notation, as ISO 8601 in UTC.",
        'date.parse("31/12/2029", "%d/%m/%Y")',
        "2029-12-31T00:00:00Z",
        member=False,
    ),
    Function(
        "date.format",
        ("string", "string"),
        lambda text, pattern: _moment(text).strftime(pattern),
        "An ISO 8601 date by strftime.",
        'date.format("2029-12-31T00:00:00Z", "%d.%m.%Y")',
        "31.12.2029",
        member=False,
    ),
    Function(
        "date.add",
        ("string", "string"),
        _date_add,
        "A date and a duration (`2h`, `-3d`).",
        'date.add("2029-12-31T00:00:00Z", "1d")',
        "2030-01-01T00:00:00Z",
        member=False,
    ),
    Function(
        "date.diff",
        ("string", "string"),
        lambda a, b: (_moment(b) - _moment(a)).total_seconds(),
        "Seconds from the first to the second.",
        'date.diff("2029-12-31T00:00:00Z", "2029-12-31T00:01:00Z")',
        60.0,
        member=False,
    ),
    Function(
        "regex.find",
        ("string", "string"),
        _find,
        "The first match (RE2) or null.",
        'regex.find("ab12", "[0-9]+")',
        "12",
        member=False,
    ),
    Function(
        "regex.findAll",
        ("string", "string"),
        lambda text, pattern: [match.group(0) for match in _pattern(pattern).finditer(text)],
        "All matches.",
        'regex.findAll("a1b2", "[0-9]")',
        ["1", "2"],
        member=False,
    ),
    Function(
        "regex.captures",
        ("string", "string"),
        _captures,
        "The groups of the first match, by number and name.",
        'regex.captures("k=v", "(?P<key>\\\\w)=(\\\\w)").key',
        "k",
        member=False,
    ),
    Function(
        "regex.replace",
        ("string", "string", "string"),
        lambda text, pattern, by: _bounded(_pattern(pattern).sub(by, text)),
        "Every match replaced.",
        'regex.replace("a1b2", "[0-9]", "-")',
        "a-b-",
        member=False,
    ),
    Function("table", ("list",), _table, "Rows of cells as text.", "table([[1, 2]])", "1 | 2"),
)
