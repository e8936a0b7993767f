"""`python -m tests.chaos.stale`: a worker frozen past its lease with an effect under way (hazard F14).

A storm hardly ever freezes a worker at such a moment, so this is how the planted bug `stale` is found. Done twice: as it
is, the checker must find nothing, and with the bug it must complain. Exits 0 when both are so.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from pathlib import Path

import psycopg

from tests.support.checker import violations
from tests.support.installation import ROOT, Installation
from tests.support.servers import HttpServer
from tests.support.waiting import eventually

LEASE_SECONDS = "2"
EFFECT_SECONDS = 1.0


def main() -> int:
    good, bad = found_with(""), found_with("stale")
    for line in good:
        print(f"VIOLATION {line}", file=sys.stderr)
    print(f"the planted bug 'stale' was {'found: ' + bad[0] if bad else 'NOT found'}")
    return int(bool(good) or not bad)


def found_with(bug: str) -> list[str]:
    """What the checker finds after the worker was frozen until its attempt was lost."""
    with (
        tempfile.TemporaryDirectory(prefix="aob-stale-", dir="/tmp") as folder,
        HttpServer(delay=EFFECT_SECONDS) as world,
        Installation(
            Path(folder) / "home",
            AOB_LEASE_SECONDS=LEASE_SECONDS,
            AOB_HTTP_ALLOW=world.url.removeprefix("http://"),
            PYTHONPATH=str(ROOT / "tests" / "chaos" / "inside"),
            CHAOS_BUG=bug,
        ) as system,
    ):
        call = {"type": "http", "config": {"method": "POST", "url": world.url, "json": {}}}
        status, run = system.request("POST", "/api/v1/runs", {"workflow": {"name": "stale", "nodes": {"call": call}}})
        assert status == 201, run
        eventually(lambda: world.requests)
        [worker] = system.children("aob_web.processes worker-runner")
        os.kill(worker, signal.SIGSTOP)
        try:
            eventually(lambda: "TaskLost" in types(system, run["id"]), every=0.1)
        finally:
            os.kill(worker, signal.SIGCONT)
        system.ended(run["id"])
        url = json.loads((system.home / "run" / "runtime.json").read_text())["database_url"]
        with psycopg.connect(url, autocommit=True) as connection:
            return violations(connection)


def types(system: Installation, run: str) -> set[str]:
    return {event["type"] for event in system.request("GET", f"/api/v1/runs/{run}/events")[1]["items"]}


if __name__ == "__main__":
    sys.exit(main())
