"""The timeline as a Gantt chart: rows with bars on a common axis, for as much of a run as was asked for.

Everything that a reader can choose (opened bodies, pages, filter, stretch of time, a seq of the past) stands in the
address, so the chart is the same with and without JavaScript, and a link to it shows what its sender saw.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

from django.http import QueryDict

from runs.core import paths
from runs.timeline import Activation, Attempt, Frame, Timeline

PAGE = 50
"""Items or iterations of one body that are shown together."""

MAX_ROWS = 200
MAX_OPEN = 20
MAX_FAILURES = 20
STATES = ("queued", "running", "waiting", "retrying", "done", "retried", "cached", "failed", "skipped", "cancelled")
STEPS = (1, 2, 5)
SMALLEST = 0.3
"""Per cent of the axis: what is shorter is drawn so long, to be seen."""


@dataclass(frozen=True)
class Wanted:
    """What a reader chose. `begin` and `end` bound the axis, in milliseconds since the run's start."""

    opened: tuple[str, ...] = ()
    pages: Mapping[str, int] = field(default_factory=dict)
    state: str = ""
    text: str = ""
    begin: float | None = None
    end: float | None = None
    at: int | None = None

    @classmethod
    def of(cls, query: QueryDict) -> Wanted:
        """From an address; what cannot be read is left out."""
        opened = tuple(dict.fromkeys(path for path in query.getlist("open") if len(path) < 500))[:MAX_OPEN]
        pages = {}
        for text in query.getlist("page")[:MAX_OPEN]:
            path, _, number = text.rpartition(":")
            if (count := _whole(number)) is not None and len(path) < 500:
                pages[path] = count
        state = query.get("state", "")
        begin, end = _number(query.get("begin", "")), _number(query.get("end", ""))
        if begin is None or end is None or end <= begin:
            begin = end = None
        at = _whole(query.get("at", ""))
        text = query.get("q", "").strip()[:200]
        return cls(opened, pages, state if state in STATES else "", text, begin, end, at or None)

    @property
    def filtered(self) -> bool:
        return bool(self.state or self.text)

    def link(self, **changes: Any) -> str:
        """`?…` of this choice with some changes."""
        other = replace(self, **changes)
        pairs: list[tuple[str, str]] = [("open", path) for path in other.opened]
        pairs += [("page", f"{path}:{number}") for path, number in other.pages.items() if number]
        single = {"state": other.state, "q": other.text, "begin": _short(other.begin), "end": _short(other.end)}
        pairs += [(name, text) for name, text in single.items() if text]
        if other.at is not None:
            pairs.append(("at", str(other.at)))
        return "?" + urlencode(pairs)


@dataclass
class Bar:
    """A piece of a row: what it stands for, and where, in per cent of the axis."""

    kind: str
    x: str
    width: str
    words: str


@dataclass
class Row:
    """A node, an item or an iteration; or `more`, which leads to other pages of a body."""

    path: str
    name: str
    depth: int
    state: str = ""
    kind: str = "node"
    type: str = ""
    bars: list[Bar] = field(default_factory=list)
    took: str = ""
    attempts: int = 0
    progress: Mapping[str, Any] | None = None
    failed_items: int = 0
    toggle: str = ""
    is_open: bool = False
    child: str | None = None
    before: str = ""
    after: str = ""
    words: str = ""


@dataclass
class Chart:
    """What the template draws."""

    rows: list[Row]
    ticks: list[tuple[str, str]]
    found: int
    total: int
    counts: dict[str, int]
    failures: list[dict[str, Any]]
    more_failures: int
    links: dict[str, str]
    span: tuple[float, float]
    running: dict[str, int]


class Drawing:
    """One chart being drawn from a timeline. `leased` tells since when attempts are executed; times in microseconds."""

    def __init__(self, timeline: Timeline, wanted: Wanted, leased: Mapping[tuple[str, int], int], now: int) -> None:
        self.timeline, self.wanted, self.leased = timeline, wanted, leased
        self.zero = now if timeline.started_at is None else timeline.started_at
        self.now = timeline.ended_at or (timeline.last_at or now if wanted.at is not None else max(now, self.zero))
        whole = max((self.now - self.zero) / 1000, 1.0)
        self.begin = max(wanted.begin, 0.0) if wanted.begin is not None else 0.0
        self.end = min(wanted.end, 100 * whole) if wanted.end is not None else whole
        if self.end <= self.begin:
            self.begin, self.end = 0.0, whole
        self.whole = whole

    def chart(self) -> Chart:
        timeline = self.timeline
        counts: dict[str, int] = {}
        for one in timeline.activations.values():
            for state in self.states(one):
                counts[state] = counts.get(state, 0) + 1
        if self.wanted.filtered:
            fitting = [one for one in timeline.activations.values() if self._fits(one)]
            page = self.wanted.pages.get("", 0)
            rows = [self._row(one, 0, full=True) for one in fitting[page * PAGE * 2 : (page + 1) * PAGE * 2]]
            rows += self._pager("", 0, page, len(fitting), PAGE * 2)
            found = len(fitting)
        else:
            rows = list(self._inside("", 0))[: MAX_ROWS + MAX_OPEN * 2]
            found = len(timeline.activations)
        return Chart(
            rows,
            list(ticks(self.begin, self.end)),
            found,
            len(timeline.activations),
            counts,
            self._failures(),
            max(len(timeline.failures) - MAX_FAILURES, 0),
            self._links(),
            (self.begin, self.end),
            self._running(),
        )

    def state(self, one: Activation) -> str:
        """The state as it is shown: tasks that a worker has begun are running; results of a replayed log are cached."""
        if one.state == "queued" and one.attempts and (one.node, one.attempts[-1].attempt) in self.leased:
            return "running"
        if one.retrying:
            return "retrying"
        return "cached" if one.cached else one.state

    def states(self, one: Activation) -> list[str]:
        return [self.state(one), *(["retried"] if len(one.attempts) > 1 else [])]

    def _running(self) -> dict[str, int]:
        """How many attempts are being executed, by node without indexes; the graph shows them."""
        found: dict[str, int] = {}
        for node, _ in self.leased:
            name = paths.graph_key(node)
            found[name] = found.get(name, 0) + 1
        return found

    def _fits(self, one: Activation) -> bool:
        if self.wanted.state and self.wanted.state not in self.states(one):
            return False
        return self.wanted.text.casefold() in f"{one.node} {one.type}".casefold()

    def _inside(self, frame: str, depth: int) -> Iterator[Row]:
        """The nodes of a frame, and below each that is opened its items or iterations."""
        members = self.timeline.within.get(frame, [])
        page = self.wanted.pages.get(frame, 0) if len(members) > MAX_ROWS else 0
        for path in members[page * MAX_ROWS : (page + 1) * MAX_ROWS]:
            one = self.timeline.activations[path]
            row = self._row(one, depth)
            yield row
            if row.is_open:
                yield from self._body(path, depth + 1)
        yield from self._pager(frame, depth, page, len(members), MAX_ROWS)

    def _body(self, owner: str, depth: int) -> Iterator[Row]:
        frames = self.timeline.within.get(owner, [])
        page = min(self.wanted.pages.get(owner, 0), max(len(frames) - 1, 0) // PAGE)
        for path in frames[page * PAGE : (page + 1) * PAGE]:
            row = self._frame_row(self.timeline.frames[path], depth)
            yield row
            if row.is_open:
                yield from self._inside(path, depth + 1)
        yield from self._pager(owner, depth, page, len(frames), PAGE)

    def _pager(self, path: str, depth: int, page: int, count: int, size: int) -> list[Row]:
        if count <= size:
            return []
        first, last = page * size + 1, min((page + 1) * size, count)

        def to(number: int) -> str:
            return self.wanted.link(pages={**self.wanted.pages, path: number})

        before, after = to(page - 1) if page else "", to(page + 1) if last < count else ""
        return [Row(path, f"{first} to {last} of {count}", depth, kind="more", before=before, after=after)]

    def _row(self, one: Activation, depth: int, *, full: bool = False) -> Row:
        is_owner = bool(self.timeline.within.get(one.node)) and not full
        state, lasted = self.state(one), took(one.lasted(self.now))
        name = one.node if full else paths.split(one.node)[1]
        words = ", ".join(filter(None, (one.node, state, lasted)))
        if len(one.attempts) > 1:
            words += f", {len(one.attempts)} attempts"
        return Row(
            one.node, name, depth, state, "node", one.type, list(self._bars(one, state)), lasted, len(one.attempts),
            one.progress, one.failed_items, self._toggle(one.node) if is_owner else "",
            is_owner and one.node in self.wanted.opened, one.child, words=words,
        )  # fmt: skip

    def _frame_row(self, frame: Frame, depth: int) -> Row:
        owner, index = paths.owner(frame.path)
        held = self.timeline.activations.get(owner)
        noun = "iteration" if held is not None and held.type == "loop" else "item"
        lasted = took(frame.lasted(self.now))
        bar = self._bar(frame.state, frame.started_at, frame.ended_at or self.now, frame.state)
        return Row(
            frame.path, f"{noun} {index}", depth, frame.state, "frame", "", [bar] if bar else [], lasted,
            toggle=self._toggle(frame.path), is_open=frame.path in self.wanted.opened,
            words=", ".join(filter(None, (f"{noun} {index}", frame.state, lasted))),
        )  # fmt: skip

    def _toggle(self, path: str) -> str:
        opened = self.wanted.opened
        return self.wanted.link(
            opened=tuple(one for one in opened if one != path) if path in opened else (*opened, path)[-MAX_OPEN:]
        )

    def _bars(self, one: Activation, state: str) -> Iterator[Bar]:
        end = one.ended_at or self.now
        if not one.attempts:
            bar = self._bar("waiting" if one.waits else state, one.started_at, end, one.waits or state)
            yield from [bar] if bar else []
            return
        for number, attempt in enumerate(one.attempts):
            last = number == len(one.attempts) - 1
            yield from self._attempt(one, attempt, state, one.ended_at if last else None)
            after = one.attempts[number + 1].scheduled_at if not last else end if one.retrying else None
            if attempt.ended_at is not None and after is not None:
                bar = self._bar("gap", attempt.ended_at, after, f"waits for attempt {attempt.attempt + 1}")
                yield from [bar] if bar else []

    def _attempt(self, one: Activation, attempt: Attempt, state: str, ended: int | None) -> Iterator[Bar]:
        end = attempt.ended_at or ended or self.now
        started = attempt.started_at or self.leased.get((one.node, attempt.attempt))
        name = f"attempt {attempt.attempt}"
        if started is not None or (attempt.ended_at is None and ended is None):
            bar = self._bar("queued", attempt.scheduled_at, started or end, f"{name} was queued")
            yield from [bar] if bar else []
        begin = started or (attempt.scheduled_at if attempt.ended_at or ended else None)
        if begin is not None:
            kind = "failed" if attempt.error else "done" if attempt.ended_at else state if ended else "running"
            told = f"{name}: {attempt.error.get('code')}" if attempt.error else f"{name} {kind}"
            bar = self._bar("cached" if one.cached and kind == "done" else kind, begin, end, told)
            yield from [bar] if bar else []

    def _bar(self, kind: str, begin: int, end: int, words: str) -> Bar | None:
        """The part of a piece that lies on the axis; what was copied from another run lies before its beginning."""
        begin = max(begin, self.zero)
        span = self.end - self.begin
        x = ((begin - self.zero) / 1000 - self.begin) / span * 100
        to = ((end - self.zero) / 1000 - self.begin) / span * 100
        if to < 0 or x > 100:
            return None
        x, to = max(x, 0.0), min(to, 100.0)
        width = max(to - x, SMALLEST)
        return Bar(kind, f"{min(x, 100 - width):.3f}%", f"{width:.3f}%", f"{words}, {took(end - begin)}")

    def _failures(self) -> list[dict[str, Any]]:
        """The nodes that failed first, each with the way to replay from it; owners of failed items are not named too."""
        inner = {paths.owner(frame)[0] for path in self.timeline.failures
                 for frame in paths.enclosing(paths.split(path)[0])[:-1]}  # fmt: skip
        told = [path for path in self.timeline.failures if path not in inner]
        return [
            {
                "node": path,
                "error": self.timeline.activations[path].error or {},
                "type": self.timeline.activations[path].type,
            }
            for path in told[:MAX_FAILURES]
        ]

    def _links(self) -> dict[str, str]:
        span = self.end - self.begin
        middle = (self.begin + self.end) / 2

        def to(begin: float, end: float) -> str:
            begin = max(begin, 0.0)
            return self.wanted.link(begin=begin, end=max(end, begin + 0.01))

        links = {
            "closer": to(middle - span / 4, middle + span / 4),
            "all": self.wanted.link(state="", text="", pages={}),
            "failed": self.wanted.link(state="failed", pages={}),
        }
        if self.wanted.begin is not None:
            links["fit"] = self.wanted.link(begin=None, end=None)
            links["wider"] = to(middle - span, middle + span) if span * 2 < self.whole else links["fit"]
            links["earlier"] = to(self.begin - span / 2, self.end - span / 2) if self.begin > 0 else ""
            links["later"] = to(self.begin + span / 2, self.end + span / 2) if self.end < self.whole else ""
        return links


def ticks(begin: float, end: float) -> Iterator[tuple[str, str]]:
    """Between four and ten round moments on the axis: where, and in words."""
    step = _step(end - begin)
    number = math.ceil(begin / step - 1e-9)
    while number * step <= end:
        yield f"{(number * step - begin) / (end - begin) * 100:.3f}%", duration(number * step, step=step)
        number += 1


def _step(span: float) -> float:
    """A round length in milliseconds, about a sixth of the span: 1, 2 or 5 of a power of ten, or parts of an hour."""
    least = span / 6
    if least > 20_000:
        for seconds in (30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200, 86400):
            if seconds * 1000 >= least:
                return seconds * 1000.0
        return math.ceil(least / 86_400_000) * 86_400_000.0
    power: float = 10.0 ** math.floor(math.log10(max(least, 0.001)))
    return next((factor * power for factor in STEPS if factor * power >= least), 10 * power)


def duration(milliseconds: float, *, step: float | None = None) -> str:
    """`0.4 ms`, `12 ms`, `3.4 s`, `2 min 5 s`, `3 h 4 min`, `2 d 3 h`; `step` tells how exact a tick has to be."""
    if milliseconds < 0.0005:
        return "0"
    if milliseconds < 999.5:
        return f"{milliseconds:.3g} ms"
    seconds = milliseconds / 1000
    if seconds < 60:
        digits = 1 if step is None else max(0, math.ceil(3 - math.log10(step) - 1e-9))
        return f"{seconds:.{digits}f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def took(microseconds: int | None) -> str:
    """A duration that was measured, as all pages say it; nothing for None."""
    if microseconds is None:
        return ""
    return duration(microseconds / 1000) if microseconds >= 1000 else "< 1 ms"


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _number(text: str) -> float | None:
    try:
        found = float(text) if len(text) < 25 else math.nan
    except ValueError:
        return None
    return found if math.isfinite(found) and abs(found) < 1e15 else None


def _short(number: float | None) -> str:
    return "" if number is None else f"{number:.3f}".rstrip("0").rstrip(".")
