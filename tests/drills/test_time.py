"""Very many timers at one instant, while everything is down, and together with a signal (F27)."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.drills.conftest import Recovery
from tests.support.checker import violations
from tests.support.installation import Installation
from tests.support.waiting import eventually

TIMERS = 5_000
BATCH = 1_000
LATE_SECONDS = 5.0
RACES = 60

PAUSE = {"name": "pause", "nodes": {"wait": {"type": "delay", "config": {"until": "{{ inputs.at }}"}}}}
FRESH = {"name": "fresh", "nodes": {"a": {"type": "transform", "config": {"output": 1}}}}
SIGNAL = {"type": "signal", "config": {"name": "go", "timeout": "{{ inputs.for }}"}}
RACE: dict[str, Any] = {"name": "race", "nodes": {"wait": SIGNAL}}
RACE["nodes"] |= {name: {"type": "transform", "config": {"output": name}} for name in ("told", "late")}
RACE["edges"] = {
    "a": {"from": "wait", "to": "told"},
    "b": {"from": "wait", "port": "timed_out", "to": "late"},
}


@pytest.fixture(scope="module")
def aob(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with Installation(Path(tmp_path_factory.mktemp("time")) / "home") as installation:
        for document in (PAUSE, FRESH, RACE):
            status, answer = installation.request("POST", "/api/v1/workflows", {"document": document})
            assert status == 201, answer
        yield installation


def database(aob: Installation) -> psycopg.Connection[Any]:
    url = json.loads((aob.home / "run" / "runtime.json").read_text())["database_url"]
    return psycopg.connect(url, autocommit=True)


def start_pauses(aob: Installation, count: int, due: float) -> None:
    at = datetime.fromtimestamp(due, UTC).isoformat()
    for _ in range(0, count, BATCH):
        runs = [{"workflow": "pause", "inputs": {"at": at}}] * min(count, BATCH)
        status, answer = aob.request("POST", "/api/v1/runs/batch", {"runs": runs})
        assert status == 200 and {item["status"] for item in answer["items"]} == {201}


def fired(aob: Installation, due: float, count: int) -> float:
    """Waits until that many timers of this instant fired; gives by how many seconds the last one was late."""
    with database(aob) as connection:
        statement = (
            "SELECT count(*), extract(epoch FROM max(at)) FROM run_event"
            " WHERE type = 'TimerFired' AND (data->>'due')::bigint = %s"
        )

        def all_of_them() -> Any:
            row = connection.execute(statement, [round(due * 1_000_000)]).fetchone()
            return row if row and row[0] >= count else None

        number, last = eventually(all_of_them, seconds=30, every=0.1)
        assert number == count
        eventually(lambda: not connection.execute("SELECT 1 FROM run WHERE ended_at IS NULL").fetchone())
        assert violations(connection) == []
    return float(last) - due


def test_five_thousand_timers_of_one_second_fire_at_once_and_starve_nobody(aob: Installation, recovery: Recovery) -> None:
    due = float(int(time.time()) + 10)
    start_pauses(aob, TIMERS, due)
    assert time.time() < due - 0.5, "the timers were due before all were there"
    eventually(lambda: time.time() >= due, every=0.01)
    slowest = 0.0
    with database(aob) as connection:
        while connection.execute("SELECT 1 FROM run WHERE ended_at IS NULL LIMIT 1").fetchone():
            began = time.monotonic()
            status, _ = aob.request("POST", "/api/v1/runs", {"workflow": "fresh", "inputs": {}})
            slowest = max(slowest, time.monotonic() - began)
            assert status == 201
    late = fired(aob, due, TIMERS)
    recovery("F27", f"{TIMERS} timers of one second fired", late)
    recovery("F27", "slowest fresh run meanwhile", slowest)
    assert 0 <= late < LATE_SECONDS and slowest < 2


def test_timers_that_became_due_while_everything_was_down_fire_once_at_the_start(
    aob: Installation, recovery: Recovery
) -> None:
    due = float(int(time.time()) + 4)
    start_pauses(aob, 200, due)
    aob.stop()
    eventually(lambda: time.time() > due + 1, every=0.05)
    aob.start()
    ready = time.time()
    late = fired(aob, due, 200) - (ready - due)
    recovery("F27", "timers that became due while all was down, after ready", max(late, 0.0))
    assert late < LATE_SECONDS


def test_a_timer_and_a_signal_at_one_instant_give_one_outcome(aob: Installation) -> None:
    outcomes: list[list[str]] = []
    lock = threading.Lock()

    def race(number: int) -> None:
        inputs = {"for": "700ms"}
        status, run = aob.request("POST", "/api/v1/runs", {"workflow": "race", "inputs": inputs})
        assert status == 201
        threading.Event().wait(0.7 + (number % 20 - 14) * 0.03)
        aob.request("POST", f"/api/v1/runs/{run['id']}/signal", {"name": "go"})
        output = aob.ended(run["id"], seconds=20)["output"]
        with lock:
            outcomes.append([name for name in ("told", "late") if output.get(name) == name])

    threads = [threading.Thread(target=race, args=(number,)) for number in range(RACES)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(40)
    assert len(outcomes) == RACES and all(len(one) == 1 for one in outcomes), outcomes
    assert {one[0] for one in outcomes} == {"told", "late"}, "no race was near"
    with database(aob) as connection:
        assert violations(connection) == []
