"""The processes of AOB as data: how each is started, on which plane it runs, and the cores of the planes."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class ProcessSpec:
    """One child: how it is started, on which plane, and whether it is ready only when GET /healthz answers.

    Every child shows its progress by touching `run/<name>.alive` in the data directory.
    """

    name: str
    argv: Sequence[str]
    plane: str = "control"
    serves: bool = False


FRONTS = max(1, min(int(os.environ.get("AOB_FRONT_PROCESSES", "0")) or os.cpu_count() or 1, 8))
"""So many processes share the public port: one takes in about 4,000 starts a second, one core's worth of Python."""

FRONT_NAMES = ("front", *(f"front-{number}" for number in range(2, FRONTS + 1)))

SPECS = tuple(
    ProcessSpec(name, (sys.executable, "-m", "aob_web.processes", name), plane, serves=name in FRONT_NAMES)
    for name, plane in (
        *((name, "control") for name in FRONT_NAMES),
        ("web", "control"),
        ("coordinator", "control"),
        ("sweeper", "control"),
        ("worker-runner", "runner"),
        ("worker-agent", "agent"),
    )
)

STOP_ORDER = (FRONT_NAMES, ("web",), ("worker-runner", "worker-agent"), ("coordinator",), ("sweeper",))
"""First who takes work in, then who does it, last who writes it down; the others come after these."""


def plane_cpus(plane: str, available: Sequence[int]) -> frozenset[int]:
    """The cores of a plane out of those available; empty means unpinned.

    Only the workers are pinned, so that they cannot take the cores of web and coordinator: the last half
    of 2 to 4 cores, the second two fifths of more (8-15 of 20; the rest is for the fanout plane). One is shared.
    """
    count = len(available)
    if plane == "control" or count < 2:
        return frozenset()
    if count < 5:
        return frozenset(available[count // 2 :])
    first = count * 2 // 5
    return frozenset(available[first : 2 * first])
