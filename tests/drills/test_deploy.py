"""Power loss: everything killed at once (F36)."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import psycopg

from tests.drills.conftest import Recovery
from tests.support.checker import History, violations
from tests.support.installation import Installation
from tests.support.waiting import eventually

CLIENTS = 6
STARTS = 100

STEP = {"type": "transform", "config": {"output": "{{ inputs.n }}"}}
DOCUMENT = {
    "name": "power",
    "nodes": {"a": STEP, "wait": {"type": "delay", "config": {"for": "500ms"}}, "b": STEP},
    "edges": {"1": {"from": "a", "to": "wait"}, "2": {"from": "wait", "to": "b"}},
}
FSYNCS = "SELECT coalesce(sum(fsyncs), 0) FROM pg_stat_io WHERE object = 'wal'"


class Clients:
    """Start runs under keys and remember what they were told, until the power is gone."""

    def __init__(self, aob: Installation) -> None:
        self._aob, self._token = aob, aob.token
        self.history = History()
        self.unknown: set[str] = set()
        self.problems: list[str] = []
        self._off = threading.Event()
        self._threads = [threading.Thread(target=self._start_runs, args=(n,), daemon=True) for n in range(CLIENTS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._off.set()
        for thread in self._threads:
            thread.join(30)

    def _start_runs(self, client: int) -> None:
        count = 0
        while not self._off.is_set():
            count += 1
            key = f"{client}-{count}"
            try:
                self.ask(key)
            except (OSError, http.client.HTTPException):
                self.unknown.add(key)
                return

    def ask(self, key: str) -> None:
        body = {"workflow": "power", "inputs": {"n": key}}
        status, answer = self._aob.request("POST", "/api/v1/runs", body, token=self._token, Idempotency_Key=key)
        if status == 201:
            wrong = self.history.learned(f"1:{key}", answer["id"])
            if wrong:
                self.problems.append(wrong)
        else:
            self.unknown.add(key)


def database(aob: Installation) -> psycopg.Connection[Any]:
    url = json.loads((aob.home / "run" / "runtime.json").read_text())["database_url"]
    return psycopg.connect(url, autocommit=True)


def cut_power(aob: Installation) -> None:
    """Stops the supervisor first, so that nothing is started again, then kills all that there is."""
    assert aob.process is not None
    aob.process.send_signal(signal.SIGSTOP)
    for _ in range(3):
        for pid in aob.children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    aob.process.kill()
    aob.process.wait()
    aob.output.unlink()


def test_nothing_that_was_acknowledged_is_missing_after_a_power_loss(tmp_path: Path, recovery: Recovery) -> None:
    with Installation(tmp_path / "home") as aob:
        assert aob.request("POST", "/api/v1/workflows", {"document": DOCUMENT})[0] == 201
        clients = Clients(aob)
        clients.start()
        eventually(lambda: len(clients.history.accepted) > 300, seconds=30)
        cut_power(aob)
        clients.stop()
        told = set(clients.history.accepted)

        began = time.monotonic()
        aob.start()
        recovery("F36", "ready again after everything was killed", time.monotonic() - began)
        for key in sorted(clients.unknown):
            clients.ask(key)
        with database(aob) as connection:
            kept = {row[0] for row in connection.execute("SELECT id::text FROM run")}
            assert told <= kept, f"{len(told - kept)} acknowledged runs are missing"
            eventually(lambda: not connection.execute("SELECT 1 FROM run WHERE ended_at IS NULL").fetchone(), seconds=30)
            assert violations(connection, history=clients.history) == [] and clients.problems == []

            # What a killed process cannot show, since the kernel keeps what it wrote: that it reached the disk.
            for name in ("fsync", "synchronous_commit", "full_page_writes"):
                assert connection.execute(f"SHOW {name}").fetchone() == ("on",)
            before = connection.execute(FSYNCS).fetchone()
            assert before is not None
            for number in range(STARTS):
                clients.ask(f"alone-{number}")

            def synced() -> bool:
                row = connection.execute(FSYNCS).fetchone()
                return row is not None and row[0] - before[0] >= STARTS

            eventually(synced, seconds=15, every=0.3)
