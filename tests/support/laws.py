"""What every log obeys, whatever was patched: read from events and documents alone, without AOB's own fold (I9, I10)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

STARTS = frozenset({"TaskScheduled", "NodeWaiting", "MapStarted", "IterationStarted", "ChildStarted"})
ENDS = frozenset({"NodeCompleted", "NodeFailed", "NodeSkipped"})
Documents = Callable[[str], Mapping[str, Any]]
Told = tuple[int, str, str | None, Mapping[str, Any]]
"""seq, type, node and data of an event."""


def broken(log: Iterable[Told], documents: Documents) -> list[str]:
    """What is wrong with the order of starts (I9) and with what patches changed (I10)."""
    found: list[str] = []
    edges: dict[str, dict[str, bool]] = {}
    version = ""
    begun: set[str] = set()
    started: dict[str, tuple[int, Any]] = {}
    """Of the workflow's own nodes; those of bodies are part of the node that owns them."""
    document: Mapping[str, Any] = {}
    for seq, kind, node, data in log:
        if kind == "RunStarted":
            version = data["version"]
            document = documents(version)
        elif kind == "PatchApplied":
            if data.get("before", version) != version:
                found.append(f"I10: seq {seq}: the patch says that {data['before']} held, it was {version}")
            version = data["version"]
            document = documents(version)
            found += [
                f"I10: seq {seq}: the patch changes {path!r}, which started at seq {first}"
                for path, (first, known) in started.items()
                if not same(known, document["nodes"].get(path))
            ]
        if kind not in STARTS and kind not in ENDS and kind != "NodeRouted":
            continue
        path = str(node)
        if kind == "IterationStarted":
            path = path[: path.rindex("[")]
        frame, _, name = path.rpartition("/")
        graph = _graph(document, frame)
        decided = edges.setdefault(frame, {})
        if kind != "NodeRouted" and path not in begun:
            begun.add(path)
            found += [
                f"I9: seq {seq}: {wrong}" for wrong in _too_early(graph, name, path, decided, kind == "NodeSkipped")
            ]
            if not frame:
                started[path] = (seq, graph["nodes"].get(name))
        if kind in ENDS and data.get("handled") != "fail" or kind == "NodeRouted":
            taken = set(data.get("taken", ()))
            for key, edge in graph.get("edges", {}).items():
                if edge["from"] == name:
                    decided.setdefault(key, key in taken)
    return found


def _graph(document: Mapping[str, Any], frame: str) -> Mapping[str, Any]:
    graph = document
    for owner in re.sub(r"\[\d+\]", "", frame).split("/") if frame else ():
        graph = graph["nodes"][owner]["config"]["body"]
    return graph


def _too_early(
    graph: Mapping[str, Any], name: str, path: str, decided: Mapping[str, bool], is_skipped: bool
) -> Iterable[str]:
    if name not in graph["nodes"]:
        yield f"{path!r} starts and is not in the version in force"
        return
    into = [key for key, edge in graph.get("edges", {}).items() if edge["to"] == name]
    taken = sum(decided.get(key, False) for key in into)
    join = graph["nodes"][name].get("join", "all")
    need = join["n"] if isinstance(join, dict) else 1
    open_ = [key for key in into if key not in decided]
    if is_skipped:
        if open_ or taken >= need:
            yield f"{path!r} is skipped with {taken} edges taken and {open_} undecided"
    elif into and (taken < need or (join == "all" and open_)):
        yield f"{path!r} starts with {taken} of {need} edges taken and {open_} undecided"


def same(first: Any, second: Any) -> bool:
    """Equal as JSON, as RFC 6902 means it: `true` is not 1."""
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(same, first, second))
    return isinstance(first, bool) == isinstance(second, bool) and bool(first == second)
