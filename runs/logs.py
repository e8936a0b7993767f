"""The log of a run as lines, filtered by node, level and text: pages of it, or all of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from runs import db
from runs.core.events import Event
from runs.lines import LEVELS, brief
from runs.queries import is_within, require
from runs.store import events_of

PAGE = 1_000
MAX_LOOKED_AT = 20_000
"""Events that one page looks at in search of lines that fit."""


class Wanted(msgspec.Struct, frozen=True):
    """Which lines: those of a node and what lies in it, from a level on, that hold a text."""

    node: str = ""
    level: str = "debug"
    text: str = ""

    def fits(self, line: dict[str, Any]) -> bool:
        if LEVELS.index(line["level"]) < LEVELS.index(self.level):
            return False
        if self.node and not (line["node"] and is_within(line["node"], self.node)):
            return False
        wanted = self.text.casefold()
        return not wanted or wanted in f"{line['text']} {line['node'] or ''} {line['type']}".casefold()


def lines_of(event: Event) -> Iterator[dict[str, Any]]:
    """What the event's node wrote, then the event itself."""
    view = brief(event)
    head = {"seq": event.seq, "at": view["at"], "node": event.node}
    for own in view.get("log", ()):
        yield {**head, "level": own["level"], "type": "log", "text": own["message"]}
    yield {**head, "level": view["level"], "type": event.type, "text": view["text"]}


def page(run_id: str, wanted: Wanted, *, after: int = 0, limit: int = 200, upto: int | None = None) -> dict[str, Any]:
    """At least `limit` lines after a seq, if there are so many; `next` is where to go on. Raises RunError."""
    last = require(run_id)
    found: list[dict[str, Any]] = []
    seq = after
    for event in _events(run_id, after):
        if upto is not None and event.seq > upto:
            return {"items": found, "next": None}
        seq = event.seq
        found += [line for line in lines_of(event) if wanted.fits(line)]
        if len(found) >= limit or seq - after >= MAX_LOOKED_AT:
            break
    return {"items": found, "next": seq if seq < last else None}


def all_lines(run_id: str, wanted: Wanted) -> Iterator[dict[str, Any]]:
    """Every line that fits, read in pages: memory stays flat."""
    for event in _events(run_id, 0):
        yield from (line for line in lines_of(event) if wanted.fits(line))


def _events(run_id: str, after: int) -> Iterator[Event]:
    while True:
        with db.transaction() as cursor:
            found = events_of(cursor, run_id, after=after, limit=PAGE)
        yield from found
        if len(found) < PAGE:
            return
        after = found[-1].seq
