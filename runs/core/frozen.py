"""The frozen past (law 4): what a patch may not touch, because the run has decided on it (pure).

Frozen is every node that has started, ended or been passed over, with the body that it owns, every edge into it, and what
was decided of any edge. New edges may leave a node that has ended: they are decided on its recorded output. An edge to a
node that has not started may go, and its id is not used again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from runs.core.state import Frame, State
from workflows.core.document import Document, escape_pointer
from workflows.core.patches import same
from workflows.core.problems import Problem

STARTED = frozenset({"active", "done", "failed", "skipped"})
_WORDS = {"active": "has started", "done": "is done", "failed": "has failed", "skipped": "was skipped"}


def check_frozen(state: State, before: Document, after: Document) -> list[Problem]:
    """What of a run's past a patch would change; empty when it only touches what is to come."""
    if state.ended:
        return [Problem("", "run_ended", f"The run has ended ({state.status}).", "Replay it with another version.")]
    frame = state.frames[""]
    return [*_nodes(frame, before["nodes"], after["nodes"]), *_edges(frame, before, after)]


def _nodes(frame: Frame, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Problem]:
    for name, status in frame.nodes.items():
        if status in STARTED and (name not in after or not same(before[name], after[name])):
            yield Problem(
                f"/nodes/{escape_pointer(name)}",
                "past_frozen",
                f"The node {name!r} {_WORDS[status]} in this run and cannot be changed any more.",
                "Add another node, or replay the run from there.",
            )


def _edges(frame: Frame, before: Document, after: Document) -> Iterator[Problem]:
    old, new = before.get("edges", {}), after.get("edges", {})
    for name in sorted(old.keys() | new.keys()):
        if name in old and name in new and same(old[name], new[name]):
            continue
        place = f"/edges/{escape_pointer(name)}"
        if name in frame.edges and name in new:
            yield Problem(
                place, "past_frozen", f"The edge {name!r} was decided in this run already.", "Draw another edge."
            )
            continue
        for edge in (old.get(name), new.get(name)):
            status = frame.nodes.get(edge["to"]) if edge else None
            if edge and status in STARTED:
                yield Problem(
                    place,
                    "past_frozen",
                    f"The edge {name!r} leads to {edge['to']!r}, which {_WORDS[str(status)]} in this run.",
                    "Lead it to a node that is still to come.",
                )
                break
