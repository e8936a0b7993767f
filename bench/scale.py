"""SCALE: more coordinators and workers on one database, also in network namespaces that stand for machines.

A machine is a namespace with its own address on a bridge; Postgres answers there over TCP, and so does Redis, through a
forwarder (`python -m bench.scale HOST PORT SOCKET`). Blobs are on a shared file system. Needs root and `ip`.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import quote, urlsplit

import psutil

from bench import documents, effects, units
from bench.peers import ROOT
from bench.system import System
from embedded import postgres
from embedded.services import Services, start
from tests.support.installation import free_port
from tests.support.waiting import eventually

COUNTS = (1, 2, 4, 8)
MACHINES = (2, 4)
ROUNDS = 3
BRIDGE, BRIDGE_HOST = "aob-bench", "10.77.0.1"
POSTGRES = 5432
"""The port must be the usual one, which is also in the name of the Unix socket."""

H3_RUNS, W3_RUNS = 1_500, 20_000
NAMES = ("coordinator", "worker-runner")


def scale(folder: Path) -> dict[str, Any]:
    """Runs a second by the number of processes: W3 by the coordinators alone, H3 by the workers; deadlocks seen."""
    found: dict[str, Any] = {}
    with ExitStack() as stack:
        bridged = stack.enter_context(_bridge())
        host = BRIDGE_HOST if bridged else "127.0.0.1"
        world = stack.enter_context(effects.serving(host))
        services = stack.enter_context(_services(folder / "scale-services", host))
        system = System(folder / "scale", AOB_HTTP_ALLOW=world.removeprefix("http://"), **services.environment())
        stack.enter_context(system)
        for name, measure in (("coordinator", _coordinated), ("worker-runner", _effects)):
            for count in COUNTS:
                with ExitStack() as more:
                    for _ in range(count - 1):
                        more.enter_context(_process(system, name))
                    found[f"{name} × {count}"] = _several(measure, system, world)
        for count in MACHINES if bridged else ():
            with ExitStack() as more:
                for number in range(1, count):
                    more.enter_context(_machine(system, number))
                found[f"machines × {count}, W3"] = _several(_coordinated, system, world)
                found[f"machines × {count}, H3"] = _several(_effects, system, world)
        found["deadlocks"] = system.sql("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")[0][0]
    if not bridged:
        found["machines"] = "not measured: needs root and the command `ip`"
    return found


def _several(measure: Any, system: System, world: str) -> dict[str, float]:
    rates = [measure(system, world) for _ in range(ROUNDS)]
    return {"runs/s": statistics.median(rates), "min": min(rates), "max": max(rates)}


def _coordinated(system: System, world: str) -> float:
    """W3 that are only accepted by the front, so that coordinators execute them."""
    system.push(documents.chain(3))
    body = json.dumps({"runs": [{"workflow": "w3", "inputs": documents.PAYLOAD}] * units.BATCH}).encode()
    found = units.measured(system, [body] * (W3_RUNS // units.BATCH), W3_RUNS, prefer="respond-async")
    return float(found["rate"])


def _effects(system: System, world: str) -> float:
    system.push(documents.calls(3, world))
    body = json.dumps({"runs": [{"workflow": "h3", "inputs": {}}] * 250}).encode()
    return float(units.measured(system, [body] * (H3_RUNS // 250), H3_RUNS)["rate"])


@contextmanager
def _process(system: System, name: str, *, before: tuple[str, ...] = (), **changes: str) -> Iterator[None]:
    """One more process of this kind, with the environment of the first one."""
    [first, *_] = system.processes()[name]
    environment = {**first.environ(), **changes}
    command = [*before, sys.executable, "-m", "aob_web.processes", name]
    with subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True) as process:
        try:
            # It listens for doorbells and has its pool of connections: each of these is a thread.
            eventually(lambda: psutil.Process(process.pid).num_threads() > 2, seconds=60)
            yield
        finally:
            for one in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
                one.terminate()


@contextmanager
def _bridge() -> Iterator[bool]:
    """The network between the machines; False where this user may not make one."""
    try:
        _ip("link", "add", BRIDGE, "type", "bridge")
        _ip("addr", "add", f"{BRIDGE_HOST}/24", "dev", BRIDGE)
        _ip("link", "set", BRIDGE, "up")
    except (OSError, subprocess.CalledProcessError):
        yield False
        return
    try:
        yield True
    finally:
        _ip("link", "del", BRIDGE)


@contextmanager
def _machine(system: System, number: int) -> Iterator[None]:
    """A namespace with a coordinator and a worker."""
    space, link = f"aob-bench-{number}", f"aobb{number}"
    _ip("netns", "add", space)
    try:
        _ip("link", "add", link, "type", "veth", "peer", "name", f"{link}p")
        _ip("link", "set", link, "master", BRIDGE, "up")
        _ip("link", "set", f"{link}p", "netns", space)
        inside = ("netns", "exec", space, "ip")
        _ip(*inside, "addr", "add", f"10.77.0.{number + 1}/24", "dev", f"{link}p")
        _ip(*inside, "link", "set", f"{link}p", "up")
        _ip(*inside, "link", "set", "lo", "up")
        before = ("ip", "netns", "exec", space, "unshare", "--uts", "sh", "-c", f'hostname {space}; exec "$0" "$@"')
        with ExitStack() as stack:
            redis = stack.enter_context(_forwarder(Path(urlsplit(system.redis_url).path)))
            changes = _over_tcp(system, redis)
            for name in NAMES:
                stack.enter_context(_process(system, name, before=before, **changes))
            yield
    finally:
        _ip("netns", "del", space)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def _over_tcp(system: System, redis: int) -> dict[str, str]:
    database, password = urlsplit(system.database_url), quote(urlsplit(system.redis_url).password or "", safe="")
    return {
        "DATABASE_URL": f"postgresql://{database.username}:{database.password}@{BRIDGE_HOST}:{POSTGRES}{database.path}",
        "REDIS_URL": f"redis://:{password}@{BRIDGE_HOST}:{redis}/0",
        "CELERY_BROKER_URL": f"redis://:{password}@{BRIDGE_HOST}:{redis}/1",
    }


@contextmanager
def _services(home: Path, host: str) -> Iterator[Services]:
    """The services outside of any AOB, its Postgres also at the address of the bridge."""
    settings = {**postgres.SETTINGS, "listen_addresses": host}
    with patch.object(postgres, "SETTINGS", settings), start(home, {}) as services:
        assert services.postgres is not None and services.postgres.process is not None
        with (services.postgres.data / "pg_hba.conf").open("a") as rules:
            rules.write("host all all 10.77.0.0/24 scram-sha-256\n")
        services.postgres.process.send_signal(signal.SIGHUP)
        yield services


@contextmanager
def _forwarder(socket: Path) -> Iterator[int]:
    """A process that takes TCP connections for a Unix socket; gives its port."""
    port = free_port()
    command = [sys.executable, "-m", "bench.scale", BRIDGE_HOST, str(port), str(socket)]
    with subprocess.Popen(command, cwd=ROOT, env=os.environ, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield port
        finally:
            process.kill()


async def _forward(host: str, port: int, path: str) -> None:
    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(path)
        await asyncio.gather(pump(reader, back), pump(there, writer))

    server = await asyncio.start_server(connected, host, port)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_forward(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
