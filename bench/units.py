"""The work units, each measured from its first request until every run of it has ended."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

from bench import documents, load
from bench.peers import ROOT
from bench.system import System

BATCH = 500
UNITS = ("W1", "W3", "W10", "FAN10", "FAN1000", "H3", "MIX", "SUBMIT", "ACCEPT")
RUNS = {"W1": 30_000, "W3": 20_000, "W10": 8_000, "FAN10": 4_000, "FAN1000": 10, "H3": 2_000, "MIX": 600}
SUBMITTED = 12_000
CONNECTIONS = 256
BATCH_CONNECTIONS = 8
"""The kernel spreads connections over the fronts by chance: of four, all go to the same one every eighth time."""

LONG_RUNS = 1_000_000
LONG_STEP = 20_000


def measure(system: System, world: str, unit: str, *, quick: bool) -> dict[str, Any]:
    """Rate (runs a second to their end), p99 of the requests in ms, processor seconds and bytes a thousand runs."""
    part = 4 if quick else 1
    if unit == "SUBMIT":
        return submit(system, SUBMITTED // part)
    if unit == "ACCEPT":
        return accept(system, RUNS["W3"] // part)
    starts, runs = _starts(system, world, unit)
    runs = max(runs // part, 2)
    # Several requests for each connection, so that both fronts are busy to the end.
    size = min(BATCH, max(runs // 40, 1))
    bodies = [json.dumps({"runs": (starts * size)[:size]}).encode()] * (runs // size)
    return measured(system, bodies, runs // size * size)


def _starts(system: System, world: str, unit: str) -> tuple[list[dict[str, Any]], int]:
    runs = RUNS[unit]
    if unit == "MIX":
        return _mix(system), runs
    number = int(unit.lstrip("AFHNW"))
    if unit.startswith("W"):
        document, inputs = documents.chain(number), documents.PAYLOAD
    elif unit.startswith("FAN"):
        document, inputs = documents.fan(number), {}
    else:
        document, inputs = documents.calls(number, world), {}
    system.push(document)
    return [{"workflow": document["name"], "inputs": inputs}], runs


def _mix(system: System) -> list[dict[str, Any]]:
    """The three examples, a tenth of the calls failing at first and nobody paying in time, among short pure runs."""
    with (ROOT / "examples" / "access-log" / "access.log").open("rb") as file:
        status, blob = system.request("POST", "/api/v1/blobs", data=file.read(), Content_Type="text/plain")
    assert status == 201, blob
    pure = documents.chain(10)
    system.push(pure)
    return [
        {"workflow": "access-log", "inputs": {"log": blob}},
        {"workflow": "api-fan-out", "inputs": {"base": system.url, "count": 10}},
        {"workflow": "long-process", "inputs": {"reminders": 1, "patience": "500ms"}},
        *[{"workflow": pure["name"], "inputs": documents.PAYLOAD}] * 4,
    ]


def measured(system: System, bodies: list[bytes], runs: int, **headers: str) -> dict[str, Any]:
    requests = (
        load.request("POST", "/api/v1/runs/batch", body, authorization=f"Bearer {system.token}", **headers)
        for body in bodies
    )
    with system.costing() as cost:
        began = time.perf_counter()
        done = load.run(system.port, requests, connections=BATCH_CONNECTIONS)
        system.await_all_ended()
        seconds = time.perf_counter() - began
    assert set(done.statuses) == {200}, done.statuses
    return {
        "rate": runs / seconds,
        "accepted": runs / done.seconds,
        "p99 ms": done.quantile(0.99) * 1000,
        "cpu": cost.seconds / runs * 1000,
        "bytes": cost.database / runs * 1000,
        "processor": cost.processor,
    }


def submit(system: System, runs: int) -> dict[str, Any]:
    """SUBMIT: single starts over kept connections, each with its own key and durable before its answer."""
    system.push(documents.chain(3))
    mark = time.time_ns()
    body = json.dumps({"workflow": "w3", "inputs": documents.PAYLOAD}).encode()

    def requests() -> Iterator[bytes]:
        for number in range(runs):
            yield load.request(
                "POST", "/api/v1/runs", body, authorization=f"Bearer {system.token}", idempotency_key=f"{mark}-{number}"
            )

    with system.costing() as cost:
        done = load.run(system.port, requests(), connections=CONNECTIONS)
        system.await_all_ended()
    assert set(done.statuses) == {201}, done.statuses
    return {
        "rate": done.rate,
        "p50 ms": done.quantile(0.5) * 1000,
        "p99 ms": done.quantile(0.99) * 1000,
        "cpu": cost.seconds / runs * 1000,
        "bytes": cost.database / runs * 1000,
        "processor": cost.processor,
    }


def accept(system: System, runs: int) -> dict[str, Any]:
    """ACCEPT: batches with `Prefer: respond-async`; the rate at which they are durable, not executed."""
    system.push(documents.chain(3))
    body = json.dumps({"runs": [{"workflow": "w3", "inputs": documents.PAYLOAD}] * BATCH}).encode()
    found = measured(system, [body] * (runs // BATCH), runs, prefer="respond-async")
    return {**found, "rate": found["accepted"], "executed": found["rate"]}


def long(system: System) -> dict[str, Any]:
    """LONG: W3 and SUBMIT with few runs in the tables, and again with a million more."""
    starts, _ = _starts(system, "", "W3")
    body = json.dumps({"runs": starts * BATCH}).encode()

    def step() -> tuple[float, float]:
        return measured(system, [body] * (LONG_STEP // BATCH), LONG_STEP)["rate"], submit(system, 6_000)["rate"]

    step()
    before = step()
    missing = LONG_RUNS - int(system.sql("SELECT count(*) FROM run")[0][0])
    measured(system, [body] * max(missing // BATCH, 0), max(missing, BATCH))
    system.sql("ANALYZE")
    after = step()
    return {
        "runs in the tables": int(system.sql("SELECT count(*) FROM run")[0][0]),
        "database, GB": system.database_bytes() / 1e9,
        "W3 before": before[0],
        "W3 after": after[0],
        "SUBMIT before": before[1],
        "SUBMIT after": after[1],
    }
