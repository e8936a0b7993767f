"""A fresh AOB for measuring: started as users start it, with its processes' costs in view."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg

from tests.support.installation import Installation


@dataclass
class Cost:
    """What a stretch of work cost: processor seconds by process, bytes that the database grew by."""

    processor: dict[str, float]
    database: int

    @property
    def seconds(self) -> float:
        return sum(self.processor.values())


class System(Installation):
    """An installation whose processes and database can be looked into."""

    @property
    def database_url(self) -> str:
        state = json.loads((self.home / "run" / "runtime.json").read_text())
        return str(state["database_url"])

    @property
    def redis_url(self) -> str:
        return str(json.loads((self.home / "run" / "runtime.json").read_text())["redis_url"])

    def processes(self) -> dict[str, list[psutil.Process]]:
        """Every process below the supervisor, by what it is."""
        assert self.process is not None
        found: dict[str, list[psutil.Process]] = {}
        for process in psutil.Process(self.process.pid).children(recursive=True):
            try:
                words = " ".join(process.cmdline())
            except psutil.Error:
                continue
            ours = re.search(r"aob_web\.processes (\S+)", words)
            name = (
                ours.group(1) if ours else "redis" if "redis" in words else "postgres" if "postgres" in words else "other"
            )
            found.setdefault(name, []).append(process)
        return found

    def processor_seconds(self) -> dict[str, float]:
        """Of each kind of process; of those that have handed over to a successor together, as `ended`."""
        assert self.process is not None
        of_ended = psutil.Process(self.process.pid).cpu_times()
        seconds = {"ended": of_ended.children_user + of_ended.children_system}
        for name, several in self.processes().items():
            for process in several:
                try:
                    times = process.cpu_times()
                except psutil.Error:
                    continue
                seconds[name] = seconds.get(name, 0.0) + times.user + times.system
        return seconds

    def memory(self) -> dict[str, float]:
        """MiB of each kind of process; pages that several share count once, in parts (PSS)."""
        sizes: dict[str, float] = {}
        for name, several in self.processes().items():
            for process in several:
                try:
                    sizes[name] = sizes.get(name, 0.0) + process.memory_full_info().pss / 2**20
                except psutil.Error:
                    continue
        return sizes

    def sql(self, statement: str, *parameters: Any) -> list[Any]:
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            cursor = connection.execute(statement, parameters or None)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    def database_bytes(self) -> int:
        return int(self.sql("SELECT pg_database_size(current_database())")[0][0])

    def push(self, document: dict[str, Any]) -> None:
        status, answer = self.request("POST", "/api/v1/workflows", {"document": document})
        assert status == 201, answer

    def await_all_ended(self, seconds: float = 300) -> None:
        """Until no run of this database is live; known to two hundredths of the time that it took.

        Seldom, and by the index on what has not completed: looking must not cost what is to be measured.
        """
        began = time.monotonic()
        while self.sql("SELECT 1 FROM run WHERE status IN ('queued', 'running', 'waiting', 'paused') LIMIT 1"):
            waited = time.monotonic() - began
            assert waited < seconds, self.sql("SELECT status, count(*) FROM run GROUP BY 1")
            time.sleep(max(0.01, waited / 50))

    @contextmanager
    def costing(self) -> Iterator[Cost]:
        """The cost of the block, known at its end."""
        before, size = self.processor_seconds(), self.database_bytes()
        cost = Cost({}, 0)
        yield cost
        after = self.processor_seconds()
        cost.processor = {name: after[name] - before.get(name, 0.0) for name in after}
        cost.database = self.database_bytes() - size


class MemoryWatch:
    """The most memory that the whole system had while this ran."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._stop = threading.Event()
        self.most: dict[str, float] = {}
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        return self

    def __exit__(self, *arguments: Any) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def total(self) -> float:
        return sum(self.most.values())

    def _look(self) -> None:
        # To add up shared pages costs processor time itself, so not often.
        while not self._stop.wait(5.0):
            now = self._system.memory()
            if sum(now.values()) > self.total:
                self.most = now


def fresh(folder: Path, **environment: str) -> System:
    """Not started yet."""
    return System(folder / "home", **environment)
