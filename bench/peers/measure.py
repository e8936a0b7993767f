"""What a peer's work costs, and the line in which it tells so. Imported in both virtualenvs: needs only psutil."""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import psutil

from bench.peers import UNITS

SAMPLES = 30
"""Single runs of which the unloaded latency is the median."""

MAX_WARM = 50

TIMED = "W3"
"""The unit whose unloaded latency is measured."""


@dataclass
class Meter:
    """Processor time and memory of processes and all their descendants.

    `roots` are the peer's processes and the root process of the service that it uses: AOB's figures contain its
    Postgres and Redis too. The service must do nothing else meanwhile.
    """

    roots: Iterable[psutil.Process]
    _before: float = field(default=0.0, init=False)

    def start(self) -> None:
        self._before = self._total()

    def processor_seconds(self) -> float:
        """Since `start`."""
        return self._total() - self._before

    def mib(self) -> float:
        """Resident memory now; pages that several processes share count once, in parts (PSS), as in bench.system."""
        size = 0
        for process in self._all():
            try:
                size += process.memory_full_info().pss
            except psutil.AccessDenied:
                size += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        return size / 2**20

    def _total(self) -> float:
        """With that of ended descendants, which moves to the parent's account."""
        seconds = 0.0
        for process in self._all():
            try:
                seconds += sum(process.cpu_times()[:4])
            except psutil.NoSuchProcess:
                continue
        return seconds

    def _all(self) -> set[psutil.Process]:
        found = set()
        for root in self.roots:
            found |= {root, *root.children(recursive=True)}
        return found


def service(pid: int, name: str) -> list[psutil.Process]:
    """The root process of a service, by the number of one of its processes that the service itself gave; none when
    it runs where we cannot see it."""
    try:
        process = psutil.Process(pid)
        while (parent := process.parent()) is not None and parent.name().startswith(name):
            process = parent
        return [process] if process.name().startswith(name) else []
    except psutil.Error:
        return []


def report(peer: str, unit: str, runs: int, *, seconds: float, p50_ms: float | None, meter_read: dict[str, float]) -> str:
    """The line of JSON."""
    words = {"peer": peer, "unit": unit, "runs": runs, "seconds": round(seconds, 3), "rate": round(runs / seconds, 2)}
    return json.dumps({**words, "p50_ms": p50_ms and round(p50_ms, 2), **meter_read})


def read(meter: Meter) -> dict[str, float]:
    """What the meter shows at the end of the work."""
    return {"processor_seconds": round(meter.processor_seconds(), 2), "rss_mib": round(meter.mib(), 1)}


def warm_up(count: int) -> int:
    """How many runs go before those that are measured: connections and threads come into being with them."""
    return max(2, min(MAX_WARM, count // 10))


def median_ms(once: Callable[[], float]) -> float:
    """The median of single runs, one after the other, each of which gives its seconds."""
    return statistics.median(once() for _ in range(SAMPLES)) * 1000


def arguments(recommended: dict[str, int], about: str | None) -> tuple[str, int]:
    """UNIT and COUNT of the command line."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("unit", choices=UNITS)
    parser.add_argument("count", type=int, nargs="?", help=f"recommended, and taken when absent: {recommended}")
    given: Any = parser.parse_args()
    return given.unit, given.count or recommended[given.unit]
