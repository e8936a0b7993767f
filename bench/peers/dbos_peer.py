"""The units on DBOS: `python -m bench.peers.dbos_peer UNIT [COUNT]`, run by the Python of `bench.peers.interpreter`.

DBOS_URL names a Postgres as `postgresql://role:password@/database?host=/directory/of/the/socket`. The peer makes a
database of its own there and drops it at its end, or a schema when the role must not make databases. H3 needs WORLD,
the URL of `python -m bench.effects PORT`. Runs that are accepted are as durable as DBOS makes them: it refuses a
server without fsync or synchronous commits.

DBOS is a library, so its processes are ours, and one of Python uses one core: there is one for each core, as far as
Postgres has connections for their pools; PEER_PROCESSES says otherwise. On two cores, shared with others, 500 runs of W3
in turns gave 135 to 153 a second on one process, 136 to 165 on two and 147 on three: no clear difference.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import psutil
import psycopg

from bench.peers import ROOT
from bench.peers.measure import TIMED, Meter, arguments, median_ms, read, report, service, warm_up
from embedded.process import kill_all, spawn, stop  # standard library only

RECOMMENDED = {"W1": 2000, "W3": 1000, "W10": 400, "H3": 1000, "FAN10": 200, "FAN1000": 3}
"""Runs that take some ten seconds on two cores, half a minute when others use them too."""

MAX_PROCESSES = 4
"""Each has a pool of 20 connections, DBOS's own default; a Postgres has 100."""

PATIENCE = 5
MAX_SECONDS = 120
"""Then everything is killed, whatever it was doing."""


class Process:
    """One process of DBOS (bench.peers.dbos_units); the kernel ends it when this one ends."""

    def __init__(self, unit: str, name: str, url: str, schema: str) -> None:
        self._popen = spawn(
            [sys.executable, "-m", "bench.peers.dbos_units", unit, name],
            env=os.environ,
            stdin=subprocess.PIPE,
            output=subprocess.PIPE,
            errors=sys.stderr.fileno(),
            cwd=ROOT,
        )
        self.pid = self._popen.pid
        self._say(json.dumps({"url": url, "schema": schema}))

    def tell(self, command: str, count: int) -> None:
        self._say(f"{command} {count}")

    def hear(self) -> Any:
        """The answer to what was told before."""
        assert self._popen.stdout is not None
        line = self._popen.stdout.readline()
        if not line:
            raise RuntimeError(f"DBOS process {self.pid} ended early")
        return json.loads(line)

    def end(self) -> None:
        """Lets it end by itself after the last command, for a while."""
        assert self._popen.stdin is not None
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            self._popen.stdin.close()
            self._popen.wait(PATIENCE)
        stop(self._popen, patience=1)

    def _say(self, line: str) -> None:
        assert self._popen.stdin is not None
        self._popen.stdin.write(line.encode() + b"\n")
        self._popen.stdin.flush()


@contextmanager
def place(url: str) -> Iterator[tuple[str, str]]:
    """The URL and schema that DBOS gets for itself, and that are gone afterwards."""
    name = f"bench_dbos_{os.getpid()}"
    with psycopg.connect(url, autocommit=True) as connection:
        for setting in ("fsync", "synchronous_commit"):
            row = connection.execute("SELECT current_setting(%s)", [setting]).fetchone()
            if row != ("on",):
                raise SystemExit(f"{setting} is {row}: that would not be DBOS as one uses it")
        try:
            connection.execute(f"CREATE DATABASE {name}")  # type: ignore[call-overload]
            # Not WITH (FORCE), which a worker of autovacuum, the superuser's, would forbid; the plain one ends it.
            own, drop = urlsplit(url)._replace(path=f"/{name}").geturl(), f"DROP DATABASE {name}"
        except psycopg.errors.InsufficientPrivilege:
            own, drop = url, f"DROP SCHEMA IF EXISTS {name} CASCADE"
        try:
            yield own, name
        finally:
            connection.execute(drop)  # type: ignore[call-overload]


@contextmanager
def processes(unit: str, url: str, schema: str, count: int) -> Iterator[list[Process]]:
    """So many processes of DBOS; the first makes the schema before the others start."""
    found: list[Process] = []
    watch = threading.Timer(MAX_SECONDS, kill_all)
    watch.daemon = True
    watch.start()
    try:
        for number in range(count):
            found.append(Process(unit, f"bench-{number}", url, schema))
            together(found[-1:], 1)
        yield found
    finally:
        watch.cancel()
        for process in found:
            process.end()


def together(several: list[Process], runs: int) -> float:
    """Seconds until so many runs, shared out among the processes, have all given their results."""
    began = time.perf_counter()
    for number, process in enumerate(several):
        process.tell("run", runs // len(several) + (number < runs % len(several)))
    for process in several:
        process.hear()
    return time.perf_counter() - began


def once(process: Process) -> float:
    process.tell("time", 1)
    return float(process.hear()[0])


def main() -> None:
    unit, count = arguments(RECOMMENDED, __doc__)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what is started is stopped
    several = int(os.environ.get("PEER_PROCESSES", min(os.cpu_count() or 1, MAX_PROCESSES)))
    with place(os.environ["DBOS_URL"]) as (url, schema), processes(unit, url, schema, several) as found:
        with psycopg.connect(url) as connection:
            server = service(connection.info.backend_pid, "postgres")
        meter = Meter([*(psutil.Process(process.pid) for process in found), *server])
        together(found, warm_up(count))
        meter.start()
        seconds = together(found, count)
        cost = read(meter)
        p50 = median_ms(lambda: once(found[0])) if unit == TIMED else None
    print(report("dbos", unit, count, seconds=seconds, p50_ms=p50, meter_read=cost))


if __name__ == "__main__":
    main()
