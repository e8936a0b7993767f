"""`python -m bench.patches`: what patches cost on a large graph, and how soon a new node starts in a running run."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from bench import effects, load
from bench.system import System
from tests.support.waiting import eventually
from workflows.core.compile import compile_document
from workflows.core.patches import materialize
from workflows.core.validate import checked

NODES, PATCHES = 2_000, 100
REPEATS = 7
RUNS, WARM = 50, 5


def graph(nodes: int) -> dict[str, Any]:
    """Rows of ten, each node reading the one before it."""
    made: dict[str, Any] = {}
    edges: dict[str, Any] = {}
    for number in range(nodes):
        before = f"n{number - 10}" if number >= 10 else None
        output = f"{{{{ nodes.{before}.count + 1 }}}}" if before else number
        made[f"n{number}"] = {"type": "transform", "config": {"output": {"count": output}}}
        if before:
            edges[f"{before}-n{number}"] = {"from": before, "to": f"n{number}"}
    return {"name": "large", "nodes": made, "edges": edges}


def patch(number: int, source: str, node: Any) -> list[dict[str, Any]]:
    """A new node behind one that is there, and a change of it."""
    name = f"p{number}"
    return [
        {"op": "add", "path": f"/nodes/{name}", "value": node},
        {"op": "add", "path": f"/edges/{source}-{name}", "value": {"from": source, "to": name}},
        {"op": "test", "path": f"/nodes/{name}/type", "value": node["type"]},
        {"op": "add", "path": f"/nodes/{name}/title", "value": f"Patch {number}"},
    ]


def in_memory() -> dict[str, float]:
    """Milliseconds, the median of several."""
    base = graph(NODES)
    node = {"type": "transform", "config": {"output": "{{ inputs.n }}"}}
    patches = [patch(number, f"n{number * 7 % NODES}", node) for number in range(PATCHES)]
    document = materialize(base, patches)
    return {
        f"materialize: {PATCHES} patches on {NODES:,} nodes": _median(lambda: materialize(base, patches)),
        "compile what they make": _median(lambda: compile_document(document)),
        "validate and compile it": _median(lambda: checked(document)),
    }


def _median(work: Any) -> float:
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        work()
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


def in_a_run(system: System, world: str) -> dict[str, list[float]]:
    """Milliseconds until the new node's request has arrived, one for each run."""
    document = {
        "name": "patched",
        "nodes": {
            "first": {"type": "transform", "config": {"output": 1}},
            "wait": {"type": "signal", "config": {"name": "go"}},
        },
        "edges": {"e": {"from": "first", "to": "wait"}},
    }
    call = {"type": "http", "config": {"method": "POST", "url": f"{world}/effect", "json": {}}}
    system.push(document)
    found: dict[str, list[float]] = {"patch sent → effect": [], "patch accepted → effect": []}
    for number in range(RUNS + WARM):
        run = _post(system, "/api/v1/runs", {"workflow": "patched"})["id"]
        _calls(world)
        body = {"operations": patch(number, "first", call), "reason": "to see how soon it runs"}
        sent = time.monotonic()
        answer = _post(system, f"/api/v1/runs/{run}/patch", body)
        accepted = time.monotonic()
        assert answer["status"] == "applied", answer
        [called] = eventually(lambda: _calls(world))
        _post(system, f"/api/v1/runs/{run}/signal", {"name": "go", "payload": None})
        system.await_all_ended()
        if number >= WARM:
            found["patch sent → effect"].append((called - sent) * 1000)
            found["patch accepted → effect"].append((called - accepted) * 1000)
    return found


def _post(system: System, path: str, body: Any) -> dict[str, Any]:
    answers: list[bytes] = []
    request = load.request("POST", path, json.dumps(body).encode(), authorization=f"Bearer {system.token}")
    load.blocking(system.port, request, answers)
    found: dict[str, Any] = json.loads(answers[0])
    return found


def _calls(world: str) -> list[float]:
    """When the effects server was called since it was asked last, by the monotonic clock of this machine."""
    with urllib.request.urlopen(f"{world}/log") as answer:
        found: list[float] = json.load(answer)
        return found


def main() -> None:
    print("| what | ms |\n| --- | --- |")
    for what, took in in_memory().items():
        print(f"| {what} | {took:.1f} |")
    with (
        tempfile.TemporaryDirectory(prefix="aob-bench-") as folder,
        effects.serving() as world,
        System(Path(folder) / "home", AOB_HTTP_ALLOW=world.removeprefix("http://")) as system,
    ):
        for what, times in in_a_run(system, world).items():
            p95 = sorted(times)[int(len(times) * 0.95)]
            print(f"| {what}, of {len(times)} runs | p50 {statistics.median(times):.1f}, p95 {p95:.1f} |")


if __name__ == "__main__":
    main()
