"""What is done to the system: a schedule made from a seed, and the hands that carry it out."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import redis

from embedded.services import Services
from tests.chaos.proxy import Proxy
from tests.support.installation import Installation

PROCESSES = ("front", "front-2", "web", "coordinator", "sweeper", "worker-runner", "agent-runner")
ROUND = 60.0
STORM = 42.0
"""Seconds of each round with faults; the rest of it shows how the system comes back."""

DISK_MIB = 256
QUEUES = [f"node.jobs.{priority}" for priority in ("high", "medium", "low")]


@dataclass(frozen=True)
class Fault:
    """At `at` seconds from the beginning, `kind` is done to `target`; `amount` is what the kind makes of it."""

    at: float
    kind: str
    target: str
    amount: float


KINDS: tuple[tuple[str, int], ...] = (
    ("kill", 26), ("freeze", 12), ("terminate", 5),
    ("redis flush", 6), ("redis kill", 3), ("redis clients", 5), ("redis double", 8), ("redis full", 2),
    ("postgres sessions", 6), ("postgres session", 8), ("postgres immediate", 2), ("postgres kill", 2),
    ("database cut", 6), ("database slow", 5), ("database silent", 4), ("database lost commit", 10),
    ("broker cut", 4), ("broker slow", 3), ("broker silent", 3), ("disk full", 3), ("clock", 4),
)  # fmt: skip


def schedule(seed: int, seconds: float, every: float) -> list[Fault]:
    """The same faults at the same times for the same seed."""
    chance = random.Random(seed)
    names, weights = zip(*KINDS, strict=True)
    faults = []
    at = min(12.0, seconds / 4)
    while at < seconds - 10:
        if at % ROUND < STORM:
            [kind] = chance.choices(names, weights)
            faults.append(Fault(at, kind, chance.choice(PROCESSES), chance.random()))
        at += chance.expovariate(1 / every)
    return faults


class SmallDisk:
    """A small file system of its own, where the machine lets us mount one."""

    def __init__(self, where: Path, mib: int = DISK_MIB) -> None:
        self.where = where
        self.mib = mib
        self.mounted = False

    def mount(self) -> None:
        self.where.mkdir(parents=True, exist_ok=True)
        self.where.parent.chmod(0o700)
        options = f"size={self.mib}m,mode=700"
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.where)], capture_output=True)
        self.mounted = done.returncode == 0

    def unmount(self) -> None:
        if self.mounted:
            subprocess.run(["umount", "-l", str(self.where)], check=False)

    def fill(self) -> None:
        with contextlib.suppress(OSError), (self.where / "filler").open("wb") as file:
            for _ in range(self.mib * 2):
                file.write(bytes(1024 * 1024))

    def empty(self) -> None:
        (self.where / "filler").unlink(missing_ok=True)


@dataclass
class Adversary:
    """Carries a schedule out. What it does by hand (restarting the services that it killed) stands for the machine's
    init; the system's own processes are never helped."""

    system: Installation
    services: Services
    database: Proxy
    broker: Proxy
    disk: SmallDisk
    clock: Path
    done: Counter[str] = field(default_factory=Counter)
    log: list[str] = field(default_factory=list)
    _later: list[tuple[float, Callable[[], Any]]] = field(default_factory=list)

    def run(self, faults: list[Fault], stop: threading.Event) -> None:
        began = time.monotonic()
        for fault in faults:
            while time.monotonic() - began < fault.at and not stop.is_set():
                self._undo(time.monotonic())
                time.sleep(0.02)
            if stop.is_set():
                break
            try:
                getattr(self, f"_{fault.kind.replace(' ', '_')}")(fault)
                self.done[fault.kind] += 1
            except (OSError, psycopg.Error, redis.RedisError) as error:
                self.log.append(f"{fault.at:.0f} s: {fault.kind} could not be done: {error}")
        self.calm()

    def calm(self) -> None:
        """Takes back what lasts."""
        self._undo(float("inf"))
        for proxy in (self.database, self.broker):
            proxy.delay, proxy.stopped, proxy.lose_commits = 0.0, False, 0

    def _undo(self, now: float) -> None:
        due = [entry for entry in self._later if entry[0] <= now]
        self._later = [entry for entry in self._later if entry[0] > now]
        for _, action in due:
            with contextlib.suppress(OSError, redis.RedisError):
                action()

    def _after(self, seconds: float, action: Callable[[], Any]) -> None:
        self._later.append((time.monotonic() + seconds, action))

    def _signal(self, target: str, number: int) -> list[int]:
        pids = [
            pid
            for pid in self.system.children(f"aob_web.processes {target}")
            if _words(pid).endswith(f"aob_web.processes {target}")
        ]
        for pid in pids:
            os.kill(pid, number)
        return pids

    def _kill(self, fault: Fault) -> None:
        self._signal(fault.target, signal.SIGKILL)

    def _terminate(self, fault: Fault) -> None:
        self._signal(fault.target, signal.SIGTERM)

    def _freeze(self, fault: Fault) -> None:
        pids = self._signal(fault.target, signal.SIGSTOP)
        self._after(0.5 + 9 * fault.amount, lambda: [_signal_one(pid, signal.SIGCONT) for pid in pids])

    def _redis(self, database: int = 0) -> redis.Redis[Any]:  # type: ignore[type-arg]
        url = self.services.redis_url.rpartition("=")[0]
        return redis.Redis.from_url(f"{url}={database}", socket_timeout=3)

    def _redis_flush(self, fault: Fault) -> None:
        self._redis().flushall()

    def _redis_clients(self, fault: Fault) -> None:
        self._redis().execute_command("CLIENT", "KILL", "TYPE", "normal")

    def _redis_full(self, fault: Fault) -> None:
        self._redis().config_set("maxmemory", "1mb")
        self._after(1 + 3 * fault.amount, lambda: self._redis().config_set("maxmemory", "256mb"))

    def _redis_double(self, fault: Fault) -> None:
        """Messages twice, late and in another order."""
        broker = self._redis(1)
        chance = random.Random(fault.amount)
        for queue in QUEUES:
            messages = broker.lrange(queue, 0, -1)[:200]
            chance.shuffle(messages)
            for message in messages:
                broker.lpush(queue, *[message] * chance.randint(1, 4))

    def _redis_kill(self, fault: Fault) -> None:
        server = self.services.redis
        assert server is not None and server.process is not None
        server.process.kill()
        server.process.wait()
        time.sleep(0.5 * fault.amount)
        server.launch()
        server.await_ready()

    def _admin(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.services.database_url, autocommit=True, connect_timeout=3)

    def _postgres_sessions(self, fault: Fault) -> None:
        with self._admin() as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = current_user"
                " AND pid <> pg_backend_pid()"
            )

    def _postgres_session(self, fault: Fault) -> None:
        with self._admin() as connection:
            pids = connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE usename = current_user AND pid <> pg_backend_pid() ORDER BY pid"
            ).fetchall()
            if pids:
                how = "pg_cancel_backend" if fault.amount < 0.5 else "pg_terminate_backend"
                connection.execute(f"SELECT {how}(%s)", [pids[int(fault.amount * len(pids))][0]])

    def _postgres_immediate(self, fault: Fault) -> None:
        self._restart_postgres(signal.SIGQUIT)

    def _postgres_kill(self, fault: Fault) -> None:
        self._restart_postgres(signal.SIGKILL)

    def _restart_postgres(self, number: int) -> None:
        server = self.services.postgres
        assert server is not None and server.process is not None
        server.process.send_signal(number)
        server.process.wait()
        self.database.cut()
        server.launch()
        server.await_ready()

    def _database_cut(self, fault: Fault) -> None:
        self.database.cut()

    def _database_slow(self, fault: Fault) -> None:
        self.database.delay = 0.01 + 0.05 * fault.amount
        self._after(3, lambda: setattr(self.database, "delay", 0.0))

    def _database_silent(self, fault: Fault) -> None:
        self.database.stopped = True
        self._after(1 + 4 * fault.amount, lambda: setattr(self.database, "stopped", False))

    def _database_lost_commit(self, fault: Fault) -> None:
        self.database.lose_commits = 1 + int(3 * fault.amount)

    def _broker_cut(self, fault: Fault) -> None:
        self.broker.cut()

    def _broker_slow(self, fault: Fault) -> None:
        self.broker.delay = 0.05 + 0.3 * fault.amount
        self._after(3, lambda: setattr(self.broker, "delay", 0.0))

    def _broker_silent(self, fault: Fault) -> None:
        self.broker.stopped = True
        self._after(1 + 5 * fault.amount, lambda: setattr(self.broker, "stopped", False))

    def _disk_full(self, fault: Fault) -> None:
        if not self.disk.mounted:
            raise OSError("no file system of our own can be mounted here")
        self.disk.fill()
        self._after(1 + 3 * fault.amount, self.disk.empty)

    def _clock(self, fault: Fault) -> None:
        self.clock.write_text(str(round(7200 * fault.amount - 3600)))
        self._after(2 + 5 * fault.amount, lambda: self.clock.write_text("0"))


def _words(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().replace(b"\0", b" ").decode().strip()
    except OSError:
        return ""


def _signal_one(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
