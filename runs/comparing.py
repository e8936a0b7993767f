"""Two runs side by side: what each node did in both, and whether it gave the same. Changes nothing."""

from __future__ import annotations

import hashlib

import msgspec

from runs import db
from runs.core import paths
from runs.core.events import Event
from runs.core.values import get
from runs.queries import require
from runs.store import events_of
from runs.timeline import PAGE, Timeline
from workflows.core.strictjson import encode_ordered

MAX_EVENTS = 100_000
"""So much of a log is compared."""


class Side(msgspec.Struct):
    """What the activations of one node did in one run. `took` is in microseconds, of all of them together.

    `ran` of them did so in this run; the others were over in the run that it replays.
    """

    states: dict[str, int] = {}
    took: int = 0
    ran: int = 0
    attempts: int = 0
    error: str | None = None
    path: str = ""

    @property
    def count(self) -> int:
        return sum(self.states.values())


class Pair(msgspec.Struct):
    """A node in both runs; a side is None where it did not occur. `output`: same, different, or only one has one."""

    node: str
    type: str
    a: Side | None
    b: Side | None
    output: str
    differing: int = 0

    @property
    def ratio(self) -> float | None:
        """How many times as long b took as a."""
        return self.b.took / self.a.took if self.a and self.b and self.a.took > 0 and self.b.took > 0 else None


class Compared(msgspec.Struct):
    """The nodes of both runs, in the order of their start, and whether a log was too long to be read whole."""

    pairs: list[Pair]
    cut: bool


class _Read(msgspec.Struct):
    timeline: Timeline
    outputs: dict[str, bytes]
    cut: bool


def compare(a: str, b: str) -> Compared:
    """Raises RunError `run_unknown`."""
    first, second = _read(a), _read(b)
    left, right = _sides(first.timeline), _sides(second.timeline)
    differing = _differing(first.outputs, second.outputs)
    types = {paths.graph_key(one.node): one.type for one in first.timeline.activations.values()}
    types |= {paths.graph_key(one.node): one.type for one in second.timeline.activations.values()}
    pairs = [
        Pair(node, types[node], left.get(node), right.get(node), *differing.get(node, ("none", 0)))
        for node in dict.fromkeys([*left, *right])
    ]
    return Compared(pairs, first.cut or second.cut)


def _read(run_id: str) -> _Read:
    require(run_id)
    found = _Read(Timeline(), {}, False)
    while found.timeline.seq < MAX_EVENTS:
        with db.transaction() as cursor:
            page = events_of(cursor, run_id, after=found.timeline.seq, limit=PAGE)
        for event in page:
            found.timeline.apply(event)
            _digest(event, found.outputs)
        if len(page) < PAGE:
            return found
    found.cut = True
    return found


def _digest(event: Event, into: dict[str, bytes]) -> None:
    if event.node is None or event.node.endswith("]"):
        return
    stored = get(event.data, "payload" if event.type == "SignalReceived" else "output")
    if stored is not None:
        # A value is inline or a blob by its size alone, so the same value has the same form in both runs.
        data = encode_ordered(stored[0]) if isinstance(stored, list) else stored.encode()
        into[event.node] = hashlib.blake2b(data, digest_size=16).digest()


def _sides(timeline: Timeline) -> dict[str, Side]:
    found: dict[str, Side] = {}
    for one in timeline.activations.values():
        side = found.setdefault(paths.graph_key(one.node), Side({}, path=one.node))
        state = "cached" if one.cached else "retrying" if one.retrying else one.state
        side.states[state] = side.states.get(state, 0) + 1
        side.attempts += len(one.attempts)
        lasted = one.lasted(timeline.last_at or one.started_at)
        side.ran += lasted is not None
        side.took += lasted or 0
        if one.error is not None and side.error is None:
            side.error, side.path = str(one.error.get("message", "")), one.node
    return found


def _differing(a: dict[str, bytes], b: dict[str, bytes]) -> dict[str, tuple[str, int]]:
    """By node without indexes: `same`, `different` with how many, `only a` or `only b`."""
    found: dict[str, tuple[str, int]] = {}
    for path in dict.fromkeys([*a, *b]):
        node = paths.graph_key(path)
        before, count = found.get(node, ("same", 0))
        if path in a and path in b:
            found[node] = ("different", count + 1) if a[path] != b[path] else (before, count)
        else:
            only = "only a" if path in a else "only b"
            found[node] = (before if count else only, count)
    return found
