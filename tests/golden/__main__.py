"""`python -m tests.golden RELEASE`: records the logs of a release into `tests/golden/RELEASE.json`, once, for ever."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from tests.support.engine import Engine, Failure
from workflows.core.canonical import canonical

HERE = Path(__file__).parent


def task(**more: Any) -> dict[str, Any]:
    return {"type": "http", "config": {"method": "GET", "url": "http://x.example/"}, **more}


def value(output: Any) -> dict[str, Any]:
    return {"type": "transform", "config": {"output": output}}


def row(*names: str) -> dict[str, Any]:
    return {f"{a}-{b}": {"from": a, "to": b} for a, b in zip(names, names[1:], strict=False)}


def some_fail(path: str, attempt: int, config: Any) -> Any:
    if random.Random(f"{path} {attempt}").random() < 0.4:
        raise Failure(transient=attempt < 3)
    return {"path": path, "n": len(path)}


NUMBERS = {
    "whole": "{{ inputs.n + 1 }}", "mixed": "{{ inputs.n * 1.5 }}", "text": "{{ 'a,b'.split(',').join('-') }}",
    "list": "{{ [3, 1, 2].sort() }}", "map": "{{ {'b': 1, 'a': [1.0, 2]} }}", "time": "{{ run.started_at }}",
}  # fmt: skip
BODY = {
    "nodes": {"get": task(retry={"max_attempts": 3}), "n": value("{{ index + 1 }}")},
    "edges": row("get", "n"),
}
MAP = {
    "type": "map",
    "config": {
        "items": "range(6)",
        "max_concurrency": 3,
        "on_item_error": "collect",
        "body": BODY,
    },
}
LOOP = {
    "type": "loop",
    "config": {"while": "iteration < 3", "max_iterations": 5, "body": {"nodes": {"get": task()}}},
}
BRANCHES = {
    "name": "branches",
    "nodes": {
        "which": {"type": "switch", "config": {"cases": [{"name": "big", "when": "inputs.n > 3"}]}},
        "big": value("big"), "small": value("small"), "end": value("{{ inputs.n }}"),
        "risky": task(on_failure={"continue": 7}), "late": task(),
    },
    "edges": {
        "b": {"from": "which", "to": "big", "port": "big"}, "s": {"from": "which", "to": "small", "port": "default"},
        "be": {"from": "big", "to": "end"}, "se": {"from": "small", "to": "end"},
        "re": {"from": "risky", "to": "late", "when": "output.n > 0"},
    },
}  # fmt: skip
WAITS = {
    "name": "waits",
    "nodes": {
        "pause": {"type": "delay", "config": {"for": "1h"}},
        "go": {"type": "signal", "config": {"name": "go", "timeout": "2h"}},
        "end": value("{{ nodes.go }}"),
    },
    "edges": row("pause", "go", "end"),
}


def patched(engine: Engine) -> None:
    first = engine.irs[engine.state.version]
    document = {"name": "patched", "nodes": {"a": task(), "b": value(1), "c": value("new")}, "edges": row("a", "c", "b")}
    engine.fact("PatchApplied", None, {"version": engine.add_version(document), "base": first.version})
    engine.documents.append(document)
    engine.run()


def signalled(engine: Engine) -> None:
    engine.fact("SignalReceived", None, {"name": "go", "payload": {"x": 1.0}, "by": "me"})
    engine.run()


def cancelled(engine: Engine) -> None:
    engine.fact("PauseRequested", None, {"by": "me"})
    engine.fact("ResumeRequested", None, {"by": "me"})
    engine.fact("CancelRequested", None, {"reason": "enough", "by": "me"})


def graph(name: str, nodes: dict[str, Any], *path: str) -> dict[str, Any]:
    return {"name": name, "nodes": nodes, "edges": row(*path)}


SCENARIOS: dict[str, tuple[dict[str, Any], Callable[[Engine], Any]]] = {
    "numbers": (graph("numbers", {"a": value(NUMBERS), "b": value("{{ nodes.a.map }}")}, "a", "b"), Engine.run),
    "map": (graph("map", {"each": MAP, "sum": value("{{ size(nodes.each) }}")}, "each", "sum"), Engine.run),
    "loop": (graph("loop", {"again": LOOP}), Engine.run),
    "branches": (BRANCHES, Engine.run),
    "waits": (WAITS, signalled),
    "cancelled": (WAITS, cancelled),
    "patched": (graph("patched", {"a": task(), "b": value(1)}, "a", "b"), patched),
    "large": (
        graph("large", {"a": value("{{ range(9000) }}"), "b": value("{{ size(nodes.a) }}")}, "a", "b"),
        Engine.run,
    ),
}


def record() -> list[dict[str, Any]]:
    """Every scenario's documents, blobs and log."""
    found = []
    for name, (document, play) in SCENARIOS.items():
        for number in (2, 9):
            engine = Engine(document, {"n": number}, world=some_fail, seed=number)
            engine.documents.append(document)
            play(engine)
            found.append(
                {
                    "name": f"{name} {number}",
                    "documents": [canonical(one).decode() for one in engine.documents],
                    "values": {key: data.decode() for key, data in engine.values.new.items()},
                    "events": msgspec.to_builtins(engine.log),
                }
            )
    return found


if __name__ == "__main__":
    file = HERE / f"{sys.argv[1]}.json"
    if file.exists():
        sys.exit(f"{file.name} is there already: what a release recorded is never changed")
    file.write_text(json.dumps(record(), separators=(",", ":")) + "\n")
    print(f"recorded {file}")
