"""Tickets under load: lists of many, timers that fall due together, decisions. `python -m bench.approvals [--small]`."""

from __future__ import annotations

import http.cookiejar
import json
import re
import statistics
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bench import effects
from bench.system import System
from tests.support.waiting import eventually

TICKETS, TIMERS, DECISIONS, RACES, PAGES = 10_000, 5_000, 100, 20, 20
SMALL = (200, 100, 30, 3, 3)
BATCH = 500
WARM = 10
"""So many decisions before those that are measured, for processes and connections that are new."""


def asking(name: str, **config: Any) -> dict[str, Any]:
    nodes = {"ok": {"type": "approval", "config": {"title": "Pay {{ inputs.n }}?", **config}}}
    return {"name": name, "nodes": nodes, "edges": {}}


def start(system: System, workflow: str, inputs: list[dict[str, Any]]) -> None:
    """Starts a run for each of these inputs, and waits as long as the door wants it."""
    for place in range(0, len(inputs), BATCH):
        runs = [{"workflow": workflow, "inputs": one} for one in inputs[place : place + BATCH]]
        while runs:
            status, answer = system.request("POST", "/api/v1/runs/batch", {"runs": runs})
            assert status in (200, 201, 207, 429), answer
            refused = [one.get("status") == 429 for one in answer["items"]] if status != 429 else [True] * len(runs)
            runs = [run for run, again in zip(runs, refused, strict=True) if again]
            if runs:
                time.sleep(0.2)


def browser(system: System) -> urllib.request.OpenerDirector:
    """Somebody who is signed in."""
    jar = http.cookiejar.CookieJar()
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    page = opener.open(f"{system.url}/sign-in/").read().decode()
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
    assert token is not None
    form = {"username": "admin", "password": system.password or "", "csrfmiddlewaretoken": token[1]}
    request = urllib.request.Request(
        f"{system.url}/sign-in/", urllib.parse.urlencode(form).encode(), {"Referer": f"{system.url}/sign-in/"}
    )
    assert b"sign-out" in opener.open(request).read()
    return opener


def lists(system: System, number: int, repeats: int) -> dict[str, list[float]]:
    """Milliseconds of the inbox, with so many open tickets of which all wait for whoever looks."""
    system.push(asking("many", timeout="{{ inputs.timeout }}", assignees=["admin", "group:ops"]))
    start(system, "many", [{"n": n, "timeout": f"{1000 + n}h"} for n in range(number)])
    [(open_,)] = system.sql("SELECT count(*) FROM ticket WHERE status = 'open'")
    assert open_ == number, open_
    somebody = browser(system)
    found: dict[str, list[float]] = {}
    for what, path in (
        ("the inbox, first page", "/approvals/"),
        ("the inbox, all open", "/approvals/?tab=open"),
        ("the inbox, a word that one ticket has", f"/approvals/?tab=open&q=Pay%20{number - 1}%3F"),
    ):
        found[what] = [_timed(lambda path=path: somebody.open(f"{system.url}{path}").read()) for _ in range(repeats)]  # type: ignore[misc]
    return found


def timers(system: System, number: int) -> float:
    """Seconds from the instant at which so many timers are due until the last of them has fired."""
    system.push({"name": "timed", "nodes": {"wait": {"type": "delay", "config": {"until": "{{ inputs.at }}"}}}})
    at = datetime.now(UTC) + timedelta(seconds=10 + number / 300)
    start(system, "timed", [{"at": at.isoformat()}] * number)
    assert datetime.now(UTC) < at, "starting took too long"

    def fired() -> Any:
        return system.sql("SELECT count(*) FROM run WHERE workflow = 'timed' AND ended_at IS NOT NULL")[0][0] == number

    eventually(fired, seconds=120 + number / 300)
    [(last,)] = system.sql("SELECT max(at) FROM run_event WHERE type = 'TimerFired'")
    return float((last - at).total_seconds())


def decisions(system: System, world: str, number: int) -> list[float]:
    """Milliseconds from a decision that is sent until the request of the next node has arrived."""
    document = asking("decided")
    call = {"type": "http", "config": {"method": "POST", "url": f"{world}/effect", "json": {}}}
    document["nodes"]["call"] = call
    document["edges"] = {"e": {"from": "ok", "to": "call", "port": "approved"}}
    system.push(document)
    took = []
    for n in range(WARM + number):
        ticket = _ticket(system, "decided", n)
        _calls(world)
        sent = time.monotonic()
        status, answer = system.request("POST", f"/api/v1/approvals/{ticket}/decide", {"answer": "approve"})
        assert status == 200, answer
        [called] = eventually(lambda: _calls(world))
        took.append((called - sent) * 1000)
    return took[WARM:]


def races(system: System, number: int) -> int:
    """Two decide at the same instant; how often exactly one of them counted."""
    system.push(asking("raced"))
    good = 0
    for n in range(number):
        ticket, barrier, codes = _ticket(system, "raced", n), threading.Barrier(2), []

        def decide(answer: str, ticket: str = ticket, barrier: Any = barrier, codes: list[int] = codes) -> None:
            barrier.wait()
            codes.append(system.request("POST", f"/api/v1/approvals/{ticket}/decide", {"answer": answer})[0])

        both = [threading.Thread(target=decide, args=[answer]) for answer in ("approve", "reject")]
        for one in both:
            one.start()
        for one in both:
            one.join()
        good += sorted(codes) == [200, 409]
    return good


def _ticket(system: System, workflow: str, n: int) -> str:
    status, run = system.request("POST", "/api/v1/runs", {"workflow": workflow, "inputs": {"n": n}})
    assert status == 201, run
    return str(run["waiting_for"][0]["ticket"])


def _calls(world: str) -> list[float]:
    with urllib.request.urlopen(f"{world}/log") as answer:
        found: list[float] = json.load(answer)
        return found


def _timed(work: Any) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def _spread(times: list[float]) -> str:
    return f"p50 {statistics.median(times):.1f}, p95 {sorted(times)[int(len(times) * 0.95)]:.1f} ms"


def main() -> None:
    tickets, due, decided, raced, repeats = SMALL if "--small" in sys.argv else (TICKETS, TIMERS, DECISIONS, RACES, PAGES)
    with (
        tempfile.TemporaryDirectory(prefix="aob-bench-") as folder,
        effects.serving() as world,
        System(Path(folder) / "home", AOB_HTTP_ALLOW=world.removeprefix("http://")) as system,
    ):
        print("| what | figure | target |\n| --- | --- | --- |")
        times = decisions(system, world, decided)
        print(f"| decision sent → request of the next node, of {decided} | {_spread(times)} | p95 100 ms |")
        print(f"| two at one instant, of {raced} | {races(system, raced)} times exactly one counted | {raced} |")
        print(f"| {due} timers due at one instant, until the last has fired | {timers(system, due):.2f} s | 5 s |")
        for what, of in lists(system, tickets, repeats).items():
            print(f"| {what}, of {tickets} open tickets | {_spread(of)} | 200 ms |")


if __name__ == "__main__":
    main()
