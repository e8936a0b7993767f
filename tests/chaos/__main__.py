"""`python -m tests.chaos --minutes 3 --seed 1`: load, faults, quiet, then the checker. Exits 1 on any violation."""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psycopg

from embedded.services import Services, start
from tests.chaos.adversary import ROUND, STORM, Adversary, SmallDisk, schedule
from tests.chaos.load import Load, documents
from tests.chaos.proxy import Proxy
from tests.chaos.watchers import Watchers
from tests.support.checker import violations
from tests.support.installation import ROOT, Installation, free_port

QUIET_SECONDS = 90.0
RECOVERED = 0.8
RECOVERY_SECONDS = 10.0
VERIFIED = 3_000


def main() -> int:
    options = _options()
    print(f"chaos: seed {options.seed}, {options.minutes:g} minutes, a fault every {options.every:g} s", flush=True)
    with tempfile.TemporaryDirectory(prefix="aob-chaos-", dir="/tmp") as folder:
        place = Path(folder)
        place.chmod(0o711)
        services = start(place / "services", {})
        try:
            report = _storm(options, place, services)
        finally:
            services.stop()
    print(json.dumps(report, indent=1))
    for line in report["violations"]:
        print(f"VIOLATION {line}", file=sys.stderr)
    if options.bug:
        print(f"the planted bug {options.bug!r} was {'found' if report['violations'] else 'NOT found'}")
    return int(bool(report["violations"]) is not bool(options.bug))


def _options() -> Any:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--every", type=float, default=1.2, help="seconds between faults in a storm, on average")
    parser.add_argument("--bug", choices=("ack", "cursor", "types"), help="plant this bug; exits 0 when it is found")
    parser.add_argument("--clients", type=int, default=12)
    parser.add_argument("--pause", type=float, default=0.2, help="seconds that a client waits between two requests")
    return parser.parse_args()


def _storm(options: Any, place: Path, services: Services) -> dict[str, Any]:
    assert services.postgres is not None and services.redis is not None
    database = Proxy(place / ".s.PGSQL.5432", services.postgres.socket / ".s.PGSQL.5432")
    broker = Proxy(place / "redis.sock", services.redis.socket)
    port = free_port()
    seen = place / "seen.jsonl"
    world = subprocess.Popen(
        [sys.executable, "-m", "tests.chaos.world", str(port), services.database_url, str(seen)], cwd=ROOT
    )
    system = Installation(
        place / "home",
        DATABASE_URL=_through(services.database_url, services.postgres.socket, place),
        REDIS_URL=services.redis_url.replace(str(services.redis.socket), str(place / "redis.sock")),
        CELERY_BROKER_URL=services.broker_url.replace(str(services.redis.socket), str(place / "redis.sock")),
        AOB_LEASE_SECONDS="5",
        AOB_HTTP_ALLOW=f"127.0.0.1:{port}",
        AOB_LOG_LEVEL="WARNING",
        PYTHONPATH=str(ROOT / "tests" / "chaos" / "inside"),
        CHAOS_CLOCK=str(place / "clock"),
        CHAOS_BUG=options.bug or "",
    )
    (place / "clock").write_text("0")
    disk = SmallDisk(place / "home" / "blobs")
    found: list[str] = []
    try:
        disk.mount()
        system.start()
        made = documents(f"http://127.0.0.1:{port}/")
        for document in made.values():
            status, answer = system.request("POST", "/api/v1/workflows", {"document": document})
            assert status == 201, answer
        load = Load(system, made, options.seed, options.clients, options.pause)
        watchers = Watchers(system, load, 4)
        adversary = Adversary(system, services, database, broker, disk, place / "clock")
        faults = schedule(options.seed, options.minutes * 60, options.every)
        began = time.monotonic()
        load.start()
        watchers.start()
        adversary.run(faults, threading.Event())
        while time.monotonic() - began < options.minutes * 60:
            time.sleep(0.1)
        load.stop()
        adversary.calm()
        left = _await_quiet(services.database_url)
        watchers.stop()
        found += load.problems + left
        recoveries = _recoveries(load, began, options.minutes * 60)
        found += [f"I19: {text}" for text in recoveries["slow"]]
        with psycopg.connect(services.database_url, autocommit=True) as connection:
            found += violations(connection, history=load.history)
            found += watchers.violations(connection)
            found += _calls(connection, seen)
            runs = connection.execute("SELECT count(*) FROM run").fetchone()
            events = connection.execute("SELECT count(*) FROM run_event").fetchone()
        verified, wrong = _verify(services, place / "home", options.seed)
        found += wrong
        return {
            "seed": options.seed,
            "minutes": options.minutes,
            "faults": sum(adversary.done.values()),
            "by kind": dict(sorted(adversary.done.items())),
            "not done": adversary.log,
            "commits whose answer was lost": database.lost,
            "runs": runs[0] if runs else 0,
            "events": events[0] if events else 0,
            "accepted": load.accepted,
            "patched": load.patched,
            "answers": {str(status): count for status, count in sorted(load.statuses.items())},
            "verified": verified,
            "streams": {"watched": len(watchers.seen), "reconnects": watchers.reconnects},
            "recovery": recoveries,
            "restarts": system.text().count("starting it again"),
            "violations": found,
        }
    finally:
        if system.process is not None and system.process.poll() is None:
            system.stop()
        disk.unmount()
        world.kill()
        if found and not options.bug:
            kept = Path(tempfile.gettempdir()) / f"aob-chaos-{options.seed}-logs"
            subprocess.run(["cp", "-r", str(place / "home" / "log"), str(kept)], check=False)
            print(f"the logs are in {kept}", file=sys.stderr)


def _through(url: str, socket: Path, place: Path) -> str:
    from urllib.parse import quote

    return url.replace(quote(str(socket), safe=""), quote(str(place), safe=""))


def _await_quiet(url: str) -> list[str]:
    """Until nothing is live; what still is after a while is a violation."""
    until = time.monotonic() + QUIET_SECONDS
    while time.monotonic() < until:
        with psycopg.connect(url, autocommit=True) as connection:
            if not connection.execute("SELECT 1 FROM run WHERE ended_at IS NULL LIMIT 1").fetchone():
                return []
        time.sleep(0.5)
    return [f"I2: runs are still live after {QUIET_SECONDS:.0f} s of quiet"]


def _recoveries(load: Load, began: float, seconds: float) -> dict[str, Any]:
    """Starts answered a second before the first fault, and after each storm once ten seconds have passed."""
    first = int(began)
    calm = statistics.mean([load.each_second[first + at] for at in range(2, int(min(12.0, seconds / 4)))] or [0])
    after, slow = [], []
    for number in range(int(seconds // ROUND)):
        start = first + int(number * ROUND + STORM + RECOVERY_SECONDS)
        window = [load.each_second[at] for at in range(start, first + int((number + 1) * ROUND))]
        if window and first + (number + 1) * ROUND <= first + seconds - 2:
            after.append(statistics.mean(window))
            if after[-1] < RECOVERED * calm:
                slow.append(f"{after[-1]:.1f} starts a second after storm {number + 1}, {calm:.1f} before")
    return {"before": calm, "after each storm": after, "slow": slow}


def _calls(connection: psycopg.Connection[Any], seen: Path) -> list[str]:
    """Each effect at most once an attempt, and never before its event was visible (I8)."""
    found = []
    counts: Counter[tuple[str, str]] = Counter()
    for line in seen.read_text().splitlines():
        run, node, count, scheduled = json.loads(line)
        counts[run, node] += 1
        if scheduled is not None and count > scheduled:
            found.append(f"I8: run {run}: {node} was called {count} times when {scheduled} attempts were in the log")
    attempts = {
        (run, node): number
        for run, node, number in connection.execute(
            "SELECT run_id::text, node, count(*) FROM run_event WHERE type = 'TaskScheduled' GROUP BY 1, 2"
        )
    }
    found += [
        f"I8: run {run}: {node} was called {count} times in {attempts.get((run, node), 0)} attempts"
        for (run, node), count in counts.items()
        if count > attempts.get((run, node), 0)
    ]
    return found[:20]


def _verify(services: Services, home: Path, seed: int) -> tuple[int, list[str]]:
    """Folds and decides the logs of many runs again (I5, I6), all of them up to a number, else a sample."""
    program = (
        "import django, json, random, sys; django.setup()\n"
        "from runs import db\nfrom runs.verify import verify\n"
        "with db.statement() as cursor:\n"
        "    runs = [row[0] for row in cursor.execute('SELECT id::text FROM run ORDER BY id').fetchall()]\n"
        f"chosen = random.Random({seed}).sample(runs, min(len(runs), {VERIFIED}))\n"
        "wrong = [[run, verify(run)['problems']] for run in chosen]\n"
        "print(json.dumps([len(chosen), [f'I5/I6: run {run}: {one}' for run, problems in wrong for one in problems]]))\n"
    )
    environment = {
        **os.environ,
        **services.environment(),
        "DJANGO_SETTINGS_MODULE": "aob_web.settings",
        "AOB_HOME": str(home),
        "AOB_PROCESS": "coordinator",
        "AOB_SECRET_KEY": "x" * 40,
    }
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        return 0, [f"I5: the verifier failed: {done.stderr[-500:]}"]
    number, wrong = json.loads(done.stdout.splitlines()[-1])
    return number, wrong[:20]


if __name__ == "__main__":
    sys.exit(main())
