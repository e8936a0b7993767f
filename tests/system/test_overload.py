"""Far more than the system can do: it says so, loses nothing, and goes on."""

from __future__ import annotations

import http.client
import json
import time
from pathlib import Path

import psycopg

from bench import documents, effects, load
from tests.support.installation import Installation
from tests.support.waiting import eventually

BACKLOG = 300
ASKED = 6_000


def test_ten_times_too_much_is_refused_politely_and_nothing_accepted_is_lost(tmp_path: Path) -> None:
    with (
        effects.serving() as world,
        Installation(
            tmp_path / "home", AOB_MAX_BACKLOG=str(BACKLOG), AOB_HTTP_ALLOW=world.removeprefix("http://")
        ) as aob,
    ):
        assert aob.request("POST", "/api/v1/workflows", {"document": documents.calls(2, world)})[0] == 201
        body = json.dumps({"workflow": "h2", "inputs": {}}).encode()
        headers = {"authorization": f"Bearer {aob.token}"}
        accepted: list[str] = []
        done = load.run(
            aob.port,
            (load.request("POST", "/api/v1/runs", body, idempotency_key=f"k{n}", **headers) for n in range(ASKED)),
            connections=300,
            hear=lambda answer: accepted.append(json.loads(answer)["id"]),
        )
        assert set(done.statuses) <= {201, 429} and done.errors == 0, done.statuses
        assert done.statuses[429] > done.statuses[201] > BACKLOG
        status, after, problem = once(aob, body)
        if status == 429:
            assert after and int(after) > 0 and problem["code"] == "overloaded" and "AOB_MAX_BACKLOG" in problem["detail"]

        began = time.monotonic()
        eventually(lambda: once(aob, body)[0] == 201, seconds=30, every=0.1)
        url = json.loads((aob.home / "run" / "runtime.json").read_text())["database_url"]
        with psycopg.connect(url, autocommit=True) as connection:
            eventually(lambda: not connection.execute("SELECT 1 FROM run WHERE ended_at IS NULL").fetchone(), seconds=60)
            rows = connection.execute("SELECT id::text, status FROM run").fetchall()
        assert set(accepted) <= {run for run, _ in rows} and {status for _, status in rows} == {"completed"}
        assert time.monotonic() - began < 60


def once(aob: Installation, body: bytes) -> tuple[int, str | None, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", aob.port, timeout=20)
    connection.request("POST", "/api/v1/runs", body, {"Authorization": f"Bearer {aob.token}"})
    answer = connection.getresponse()
    found = answer.status, answer.getheader("Retry-After"), json.loads(answer.read())
    connection.close()
    return found
