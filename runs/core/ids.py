"""Ids of runs and tickets: ordered by time, so that new rows stand together in every index (RFC 9562)."""

from __future__ import annotations

import hashlib

_VARIANT = 0b10 << 62
_RANDOM = (1 << 74) - 1


def time_id(milliseconds: int, random: bytes) -> str:
    """A UUID of version 7 from a time since the epoch and ten random bytes."""
    return _uuid(milliseconds, 7, int.from_bytes(random, "big"))


def child_id(parent: str, seq: int, now: int) -> str:
    """The id of the run that `parent` starts with its event `seq`, at `now` in microseconds.

    A UUID of version 8: the time as in version 7, then a hash in the place of chance, so that deciding again
    gives the same id.
    """
    digest = hashlib.sha256(f"{parent} {seq}".encode()).digest()
    return _uuid(now // 1000, 8, int.from_bytes(digest[:10], "big"))


def ticket_id(run: str, seq: int, now: int) -> str:
    """The id of the ticket that a run opens with its event `seq`, at `now` in microseconds; made like a child's."""
    digest = hashlib.sha256(f"ticket {run} {seq}".encode()).digest()
    return _uuid(now // 1000, 8, int.from_bytes(digest[:10], "big"))


def is_among(run: str, share: int) -> bool:
    """Whether a run belongs to the `share` in a hundred that an experiment takes: by a hash of its id, always alike."""
    return int.from_bytes(hashlib.sha256(run.encode()).digest()[:8], "big") % 100 < share


def _uuid(milliseconds: int, version: int, bits: int) -> str:
    bits &= _RANDOM
    high, low = bits >> 62, bits & (1 << 62) - 1
    number = (milliseconds & (1 << 48) - 1) << 80 | version << 76 | high << 64 | _VARIANT | low
    digits = f"{number:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
