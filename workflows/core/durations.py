"""Durations (`250ms`, `30s`, `5m`, `2h`, `3d`, `1h30m`, ISO 8601) and instants (ISO 8601 with offset)."""

from __future__ import annotations

import re
from datetime import datetime

from workflows.core.errors import AobError

MAX_DURATION = 3660 * 86_400.0

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_PART = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h|d|w)")
_SIMPLE = re.compile(rf"(?:{_PART.pattern})+")
_ISO = re.compile(
    r"P(?:(?P<w>[0-9]{1,6})W)?(?:(?P<d>[0-9]{1,6})D)?"
    r"(?:T(?:(?P<h>[0-9]{1,9})H)?(?:(?P<m>[0-9]{1,9})M)?(?:(?P<s>[0-9]{1,9}(?:\.[0-9]{1,9})?)S)?)?"
)


def parse_duration(text: str) -> float:
    """Seconds. Raises AobError `duration_syntax` for anything else, also above ten years."""
    seconds = _seconds(text.strip()) if isinstance(text, str) else None
    if seconds is None or seconds > MAX_DURATION:
        raise AobError(
            "duration_syntax",
            f"{str(text)[:60]!r} is not a duration.",
            hint="Write 250ms, 30s, 5m, 2h, 3d, 1h30m or ISO 8601 such as PT1H30M; at most 3660 days.",
        )
    return seconds


def _seconds(text: str) -> float | None:
    if _SIMPLE.fullmatch(text):
        return sum(float(amount) * _UNITS[unit] for amount, unit in _PART.findall(text))
    match = _ISO.fullmatch(text)
    if match is None or not any(match.groups()):
        return None
    return sum(float(amount) * _UNITS[unit] for unit, amount in match.groupdict().items() if amount)


def format_duration(seconds: float) -> str:
    """The shortest usual form: `250ms`, `1m30s`, `2h`."""
    if seconds < 1:
        return f"{round(seconds * 1000)}ms"
    parts = []
    rest = round(seconds, 3)
    for unit in ("d", "h", "m"):
        count = int(rest // _UNITS[unit])
        if count:
            parts.append(f"{count}{unit}")
            rest -= count * _UNITS[unit]
    if rest or not parts:
        parts.append(f"{rest:g}s")
    return "".join(parts)


def parse_instant(text: str) -> float:
    """Seconds since the epoch of an ISO 8601 date-time with offset. Raises AobError `instant_syntax`."""
    try:
        moment = datetime.fromisoformat(text.strip())
        if moment.tzinfo is not None:
            return moment.timestamp()
    except (ValueError, AttributeError, OverflowError):
        pass
    raise AobError(
        "instant_syntax",
        f"{str(text)[:60]!r} is not an instant.",
        hint="Write ISO 8601 with an offset, for instance 2030-01-01T09:00:00Z.",
    )
