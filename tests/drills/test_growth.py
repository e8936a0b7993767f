"""Memory that is never given back: processes hand over to successors while work goes on (law 8, pitfall P10)."""

from __future__ import annotations

import http.client
import time
from pathlib import Path
from typing import Any

from aob_web.lifesign import YOUNG_SECONDS
from embedded.specs import FRONT_NAMES
from tests.drills.conftest import Recovery
from tests.support.installation import Installation
from tests.support.servers import HttpServer
from tests.support.waiting import eventually

LONG = YOUNG_SECONDS + 15.0
"""So long an effect takes that was begun before the handover and ends after it."""

LIMIT_MB = 150
LEAK = "{{ ([1] + range(inputs.much)).sum() }}"
"""The expression engine keeps the leaves of lists that it hands to functions: so many numbers each time."""

MUCH = 150_000


def document(name: str, url: str) -> dict[str, Any]:
    """Leaks where it is started, and after its effect in the worker."""
    return {
        "name": name,
        "inputs": {"type": "object"},
        "nodes": {
            "before": {"type": "transform", "config": {"output": LEAK}},
            "call": {
                "type": "http",
                "timeout": "90s",
                "config": {"method": "GET", "url": f"{url}/{{{{ inputs.path }}}}"},
            },
            "after": {"type": "transform", "config": {"output": LEAK}},
        },
        "edges": {"1": {"from": "before", "to": "call"}, "2": {"from": "call", "to": "after"}},
    }


def test_processes_that_have_grown_hand_over_and_no_effect_is_repeated(tmp_path: Path, recovery: Recovery) -> None:
    with (
        HttpServer(delay=LONG) as slow,
        HttpServer() as quick,
        Installation(tmp_path / "home", AOB_HTTP_ALLOW="127.0.0.1", AOB_MAX_PROCESS_MB=str(LIMIT_MB)) as aob,
    ):
        old = {name: set(aob.children(f"processes {name} ")) for name in (*FRONT_NAMES, "worker-runner")}
        youth_ends = time.monotonic() + YOUNG_SECONDS + 3
        for name, server in (("slow", slow), ("quick", quick)):
            status, problem = aob.request("POST", "/api/v1/workflows", {"document": document(name, server.url)})
            assert status == 201, problem
        long = [start(aob, "slow", f"long-{number}") for number in range(3)]
        eventually(lambda: len(slow.requests) == len(long))

        quicks: list[str] = []
        slowest, cut_off = 0.0, 0
        handed_over: set[str] = set()
        while handed_over != set(old):
            began = time.monotonic()
            assert began < youth_ends + 60, aob.text()
            try:
                run = start(aob, "quick", f"quick-{len(quicks)}", much=MUCH if began > youth_ends else 0)
                assert aob.ended(run)["status"] == "completed"
            except (OSError, http.client.HTTPException):
                cut_off += 1  # the old front had this connection and not yet taken it; the start comes again
                continue
            quicks.append(run)
            slowest = max(slowest, time.monotonic() - began)
            handed_over = {name for name in old if set(aob.children(f"processes {name} ")) - old[name]}
        recovery("P10", "slowest run while grown processes were replaced", slowest)
        assert cut_off <= 2 * len(old)

        assert [aob.ended(run)["status"] for run in long] == ["completed"] * len(long)
        assert len(slow.requests) == len(long), "an effect was repeated for the handover"
        assert sorted(one["path"] for one in quick.requests) == sorted(f"/quick-{n}" for n in range(len(quicks)))
        for name, pids in old.items():
            eventually(lambda name=name, pids=pids: not pids & set(aob.children(f"processes {name} ")), seconds=30)


def start(aob: Installation, workflow: str, path: str, much: int = 0) -> str:
    body = {"workflow": workflow, "inputs": {"path": path, "much": much}}
    status, answer = aob.request("POST", "/api/v1/runs", body, Idempotency_Key=path)
    assert status in (200, 201), answer
    return str(answer["id"])
