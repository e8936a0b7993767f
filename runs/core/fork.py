"""The log of a run that starts in the middle of another: what came before is copied, never executed again.

Redone is the chosen node, what lies behind it, and what had failed or was cut off; everything else, also
other items of the same map, keeps its recorded results. Pure (law 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from runs.core import paths
from runs.core.advance import routes
from runs.core.events import TERMINAL, Event
from runs.core.fold import Graphs, apply
from runs.core.state import State
from runs.core.values import Values, get
from workflows.core.errors import AobError

_RUN_LEVEL_DROPPED = frozenset({"PauseRequested", "ResumeRequested", "CancelRequested", "EngineFailed"}) | TERMINAL.keys()
_ENDINGS = frozenset({"NodeCompleted", "NodeFailed"})
_FRAME_ENDINGS = frozenset({"ItemCompleted", "ItemFailed", "IterationCompleted"})


class ReplayError(AobError):
    """A run cannot be replayed from there."""


def fork(log: Sequence[Event], start: str, first: Event, irs: Graphs, values: Values) -> tuple[State, list[Event]]:
    """State and log of the new run, up to the point where `start` is to be executed.

    `first` is the new run's RunStarted; its version may differ from the old one's. Raises ReplayError when
    the node did not run in the old log or does not fit the new version.
    """
    _check_start(log, start)
    old_version = log[0].data["version"]
    redone = _Redone(irs(_last_version(log)), _starts(log, start))
    left = _left_patches(log, is_same=first.data["version"] == old_version)
    state = State()
    apply(state, first, irs)
    made = [first]
    places = {1: 1}
    for event in log[1:]:
        if redone.drops(event) or (event.node is None and event.data.get("patch") in left):
            continue
        copied = Event(state.seq + 1, event.type, event.at, event.node, dict(event.data))
        if "input_seq" in copied.data:
            copied.data["input_seq"] = places[copied.data["input_seq"]]
        if first.data["version"] != old_version and not _fit(copied, state, irs, values):
            continue
        places[event.seq] = copied.seq
        apply(state, copied, irs)
        made.append(copied)
    frame, name = paths.split(start)
    if frame not in state.frames or state.frames[frame].nodes.get(name) != "ready":
        raise ReplayError(
            "replay_not_reached",
            f"The recorded results do not lead to {start!r} in this version.",
            hint="Choose a node further up, or the version that the run had.",
        )
    first.data["forked_from"]["copied"] = len(made) - 1
    return state, made


def forecast(log: Sequence[Event], start: str, irs: Graphs) -> tuple[list[str], list[str]]:
    """What a replay from `start` takes from the log, and what of it is executed again. Raises ReplayError."""
    _check_start(log, start)
    redone = _Redone(irs(_last_version(log)), _starts(log, start))
    kept: dict[str, None] = {}
    again: dict[str, None] = {}
    for event in log[1:]:
        if event.node is not None and not event.node.endswith("]"):
            (again if redone.drops(event) else kept)[event.node] = None
    # Of a map or loop around the node only the end is decided anew.
    return list(kept), [path for path in again if path not in kept]


class _Redone:
    """Which events belong to what is executed again."""

    def __init__(self, ir: Any, starts: Sequence[str]) -> None:
        self._dropped: set[str] = set()
        self._open_frames: set[str] = set()
        self._open_owners: set[str] = set()
        self._iterations: dict[str, int] = {}
        self._ir = ir
        for start in starts:
            path = start
            frame, name = paths.split(path)
            self._dropped.add(path)
            while True:
                graph = ir.graphs.get(paths.graph_key(frame))
                for behind in _descendants(graph, name) if graph is not None else ():
                    self._dropped.add(paths.join(frame, behind))
                if not frame:
                    break
                self._open_frames.add(frame)
                owner, index = paths.owner(frame)
                self._open_owners.add(owner)
                self._iterations[owner] = min(index, self._iterations.get(owner, index))
                frame, name = paths.split(owner)

    def drops(self, event: Event) -> bool:
        path = event.node
        if path is None:
            return event.type in _RUN_LEVEL_DROPPED
        if event.type in _FRAME_ENDINGS and path in self._open_frames:
            return True
        if event.type in _ENDINGS and path in self._open_owners:
            return True
        return any(part in self._dropped or self._is_later_iteration(part) for part in _prefixes(path))

    def _is_later_iteration(self, frame: str) -> bool:
        """True inside loop iterations after the one that is redone; items of a map stay as they were."""
        if not frame.endswith("]"):
            return False
        owner, index = paths.owner(frame)
        if index <= self._iterations.get(owner, index):
            return False
        outer, name = paths.split(owner)
        return bool(self._ir.graphs[paths.graph_key(outer)].nodes[name].type == "loop")


def _prefixes(path: str) -> list[str]:
    """`a[1]/b` → `a`, `a[1]`, `a[1]/b`."""
    found = []
    for place, letter in enumerate(path):
        if letter in "[/":
            found.append(path[:place])
    return [*found, path]


def _descendants(graph: Any, name: str) -> set[str]:
    found: set[str] = set()
    work = [name]
    while work:
        node = graph.nodes.get(work.pop())
        for edge in node.outgoing if node is not None else ():
            if edge.target not in found:
                found.add(edge.target)
                work.append(edge.target)
    return found


def _left_patches(log: Sequence[Event], *, is_same: bool) -> set[str]:
    """Patches for review that stay behind: open ones are answered where they were proposed, other versions have none."""
    asked = {one.data["patch"] for one in log if one.type == "PatchProposed" and one.data["mode"] == "review"}
    answered = {one.data.get("patch") for one in log if one.type in ("PatchApplied", "PatchRejected")}
    return asked - answered if is_same else asked


def _last_version(log: Sequence[Event]) -> str:
    versions = [event.data["version"] for event in log if event.type in ("RunStarted", "PatchApplied")]
    return str(versions[-1])


def _check_start(log: Sequence[Event], start: str) -> None:
    if not paths.is_path(start):
        raise ReplayError("replay_node_invalid", f"{start[:100]!r} is no node path.", "/from", "Write each[3]/parse.")
    mine = [event.type for event in log if event.node == start]
    if not mine and not any(event.node == f"{start}[0]" for event in log):
        known = list(dict.fromkeys(event.node for event in log if event.node and not event.node.endswith("]")))
        raise ReplayError(
            "replay_node_unknown",
            f"The node {start!r} did not run.",
            "/from",
            f"Nodes that ran: {', '.join(known[:20])}.",
        )
    if mine == ["NodeSkipped"]:
        raise ReplayError("replay_node_skipped", f"The node {start!r} was skipped.", "/from", "Choose one before it.")


def _starts(log: Sequence[Event], start: str) -> list[str]:
    """Where executing begins: the chosen node, and what was not finished.

    A map or loop that failed because of something inside goes on from there, and is not begun anew.
    """
    unfinished = _unfinished(log)
    inner = [start, *unfinished]
    return [start, *(one for one in unfinished if not any(path.startswith(f"{one}[") for path in inner))]


def _unfinished(log: Sequence[Event]) -> list[str]:
    """What failed the run or was cut off with it: executed again too."""
    collected = {event.node for event in log if event.type == "ItemFailed"}
    failed = [
        event.node
        for event in log
        if event.type == "NodeFailed" and event.node and event.data["handled"] == "fail"
        and not any(frame in collected for frame in paths.enclosing(paths.split(event.node)[0]))
    ]  # fmt: skip
    children = {event.node: event for event in log if event.type == "ChildStarted"}
    ended = {event.node for event in log if event.type == "ChildEnded"}
    asked = [event.node for event in log if event.type == "NodeWaiting" and "ticket" in event.data]
    settled = {event.node for event in log if event.type in _ENDINGS}
    return [
        *failed,
        *(node for node in children if node and node not in ended),
        # A ticket belongs to the run that opened it, so a question that is open there is asked anew.
        *(node for node in asked if node and node not in settled),
    ]


def _fit(event: Event, state: State, irs: Graphs, values: Values) -> bool:
    """Fits a copied event to another version: edges are decided anew on the recorded output."""
    if event.type in ("NodeSkipped", "PatchApplied", "NodeRouted"):
        return False
    if event.type not in _ENDINGS or event.node is None:
        return True
    frame, name = paths.split(event.node)
    graph = irs(state.version).graphs.get(paths.graph_key(frame))
    if graph is None or name not in graph.nodes:
        raise ReplayError(
            "replay_version_conflict",
            f"The version has no node {event.node!r}, which had run.",
            "/version",
            "Choose a version that keeps what had run before the node.",
        )
    value = get(event.data, "output")
    activation = state.active.get(event.node)
    if value is None and activation is not None and activation.result is not None:
        value = activation.result[1]
    output = None if value is None else values.load(value)
    if event.type == "NodeFailed" and event.data["handled"] == "error":
        output = {"error": event.data["error"]}
        event.data["taken"] = routes(state, irs, values, event.node, "error", output)
    elif event.data.get("handled") != "skip":
        event.data["taken"] = routes(state, irs, values, event.node, event.data.get("port", "out"), output)
    return True
