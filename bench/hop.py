"""HOP: how long it takes from one thing to the next in a system that does nothing else."""

from __future__ import annotations

import json
import statistics
import time
import urllib.request
from typing import Any

import psycopg

from bench import documents, load
from bench.system import System

WARM = 20


def hops(system: System, world: str, rounds: int) -> dict[str, list[float]]:
    """Milliseconds, one for each round."""
    found: dict[str, list[float]] = {
        "accepted → first effect": [],
        "effect → effect, through the worker itself": [],
        "commit → effect, through Celery": [],
        "W3, request → final result": [],
        "node done → next node started, pure": [],
        "one durable commit": [],
    }
    system.push(documents.calls(3, world))
    system.push(documents.chain(3))
    system.push(documents.chain(10))
    system.push(_signalled(world))
    for number in range(rounds + WARM):
        _log(world)
        accepted = _start(system, "h3", {})[1]
        system_ended(system, accepted["id"])
        calls = _log(world)
        pure, view = _start(system, "w3", documents.PAYLOAD)
        assert view["status"] == "completed", view
        longer, _ = _start(system, "w10", documents.PAYLOAD)
        told = _tell(system)
        late = _log(world)
        if number >= WARM:
            found["accepted → first effect"].append((calls[0] - accepted["at"]) * 1000)
            found["effect → effect, through the worker itself"] += [
                (after - before) * 1000 for before, after in zip(calls, calls[1:], strict=False)
            ]
            found["commit → effect, through Celery"].append((late[0] - told) * 1000)
            found["W3, request → final result"].append(pure * 1000)
            # Pure nodes follow each other in memory: seven more of them make this difference.
            found["node done → next node started, pure"].append((longer - pure) / 7 * 1000)
    found["one durable commit"] = _commits(system, rounds)
    return found


def _signalled(world: str) -> dict[str, Any]:
    """A call after a signal: the process that takes the signal commits the task, Celery brings it to the worker."""
    document = documents.calls(1, world)
    document["name"] = "signalled"
    document["nodes"]["go"] = {"type": "signal", "config": {"name": "go"}}
    document["edges"]["go"] = {"from": "go", "to": "n0"}
    return document


def _start(system: System, name: str, inputs: Any) -> tuple[float, dict[str, Any]]:
    body = json.dumps({"workflow": name, "inputs": inputs}).encode()
    seconds, answer = _post(system, "/api/v1/runs", body)
    return seconds, answer


def _post(system: System, path: str, body: bytes) -> tuple[float, dict[str, Any]]:
    answers: list[bytes] = []
    request = load.request("POST", path, body, authorization=f"Bearer {system.token}")
    done = load.blocking(system.port, request, answers)
    return done, {**json.loads(answers[0]), "at": time.monotonic()}


def _tell(system: System) -> float:
    """Sends the signal; gives when the answer came, which is after its commit."""
    _, run = _start(system, "signalled", {})
    _, answer = _post(system, f"/api/v1/runs/{run['id']}/signal", b'{"name": "go"}')
    system_ended(system, run["id"])
    return float(answer["at"])


def system_ended(system: System, run: str) -> None:
    with psycopg.connect(system.database_url, autocommit=True) as connection:
        while connection.execute("SELECT 1 FROM run WHERE id = %s AND ended_at IS NULL", [run]).fetchone():
            time.sleep(0.002)


def _log(world: str) -> list[float]:
    with urllib.request.urlopen(f"{world}/log") as answer:
        found: list[float] = json.load(answer)
        return found


def _commits(system: System, rounds: int) -> list[float]:
    times = []
    with psycopg.connect(system.database_url) as connection:
        connection.execute("CREATE TABLE bench_commit (n int)")
        connection.commit()
        for number in range(rounds):
            began = time.perf_counter()
            connection.execute("INSERT INTO bench_commit VALUES (%s)", [number])
            connection.commit()
            times.append((time.perf_counter() - began) * 1000)
        connection.execute("DROP TABLE bench_commit")
    return times


def table(found: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    return {
        name: {
            "p50": statistics.median(times),
            "p99": sorted(times)[int(len(times) * 0.99)],
            "min": min(times),
            "max": max(times),
        }
        for name, times in found.items()
    }
