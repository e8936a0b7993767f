"""`aob up` with small processes in the place of the real ones, on real services: start, crash, silence, stop."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from embedded.home import EmbeddedError
from embedded.ports import check_port, listens
from embedded.specs import plane_cpus
from tests.support.installation import clean_environment, free_port
from tests.support.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]

PROCESS = """
import http.server, os, pathlib, signal, sys, threading
name, home = sys.argv[1], pathlib.Path(os.environ["AOB_HOME"])
stop = threading.Event()
if "stubborn" in name:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *arguments):
        pass
if name == "web":
    http.server.HTTPServer.allow_reuse_port = True  # as granian does
    server = http.server.HTTPServer((os.environ["AOB_HOST"], int(os.environ["AOB_PORT"])), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
own = os.environ
print(name, "says", own["DATABASE_URL"][:10], own["AOB_EMBEDDED"], len(own["AOB_SECRET_KEY"]), flush=True)
if (home / (name + ".slow")).exists():
    signal.signal(signal.SIGTERM, lambda *_: (home / (name + ".told")).touch())
while not (home / (name + ".hush")).exists():
    grow = home / (str(os.getpid()) + ".grow")
    if grow.exists():
        grow.unlink()
        (home / "run" / (name + ".grown")).write_text(str(os.getpid()))
    (home / "run" / (name + ".alive")).write_text(str(os.getpid()))
    stop.wait(0.1)
(home / (name + ".hush")).unlink()
stop.wait(600)
"""

SETUP = """
import json
print(json.dumps({"step": "migrate", "status": "done", "detail": "nothing to do"}))
print(json.dumps({"step": "ready", "url": None, "username": "admin", "password": "shown-once", "token": None}))
"""

PROGRAM = """
import json, pathlib, sys
from embedded.console import Console
from embedded.specs import ProcessSpec
from embedded.supervisor import Supervisor
home, port, names, process, setup, silent = json.loads(sys.argv[1])
specs = [ProcessSpec(name, (sys.executable, "-c", process, name), "control", name == "web") for name in names]
assert "django" not in sys.modules and "psycopg" not in sys.modules
sys.exit(Supervisor(pathlib.Path(home), port, specs=specs, setup=(sys.executable, "-c", setup),
                    console=Console("json"), silent_seconds=silent).run())
"""


@pytest.fixture(autouse=True)
def database() -> None:
    """These tests start services of their own, so they need no clean tables."""


class System:
    """A supervisor in a process of its own."""

    def __init__(self, home: Path, *, silent: float = 30.0, names: tuple[str, ...] = ("web", "coordinator")) -> None:
        self.home = home
        self.port = free_port()
        self.names = names
        self.silent = silent
        self.output = home.parent / f"{home.name}.out"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *, ready: bool = True, **environment: str) -> System:
        arguments = json.dumps([str(self.home), self.port, self.names, PROCESS, SETUP, self.silent])
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, arguments],
                cwd=ROOT,
                env={**clean_environment(), **environment},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        if ready:
            eventually(lambda: self.said("AOB is ready") or self.ended(), seconds=60)
            assert not self.ended(), self.output.read_text()
        return self

    def ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.output.read_text().splitlines() if line.startswith("{")]

    def said(self, *words: str) -> dict[str, Any] | None:
        return next((line for line in self.lines() if all(word in line["text"] for word in words)), None)

    def pid(self, name: str) -> int:
        return int(json.loads((self.home / "run" / "runtime.json").read_text())["processes"][name].split("@")[0])

    def pids(self) -> list[int]:
        known = json.loads((self.home / "run" / "runtime.json").read_text())["processes"]
        return [int(who.split("@")[0]) for who in known.values()]

    def stop(self, number: int = signal.SIGINT, *, seconds: float = 30) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(seconds)


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    made = System(tmp_path / "home")
    yield made
    if made.process is not None and not made.ended():
        made.stop()


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_a_process_that_has_grown_works_until_its_successor_is_ready(system: System) -> None:
    system.start()
    old = system.pid("web")
    (system.home / f"{old}.grow").touch()
    eventually(lambda: system.pid("web") != old, seconds=20)
    assert alive(old), "nobody serves the port while the successor starts"
    eventually(lambda: not alive(old), seconds=20)
    assert system.said("web has grown")
    assert not system.said("web ended"), "this is no failure and costs no pause"
    assert system.stop() == 0


def test_what_a_grown_process_has_begun_is_finished_and_ends_with_the_system(system: System) -> None:
    system.home.mkdir()
    (system.home / "coordinator.slow").touch()
    system.start()
    (system.home / "coordinator.slow").unlink()
    first = system.pid("coordinator")
    (system.home / f"{first}.grow").touch()
    eventually(lambda: (system.home / "coordinator.told").exists(), seconds=20)
    second = system.pid("coordinator")
    (system.home / f"{second}.grow").touch()
    eventually(lambda: not (system.home / f"{second}.grow").exists(), seconds=20)
    assert system.pid("coordinator") == second and alive(first), "there are never three"
    os.kill(first, signal.SIGKILL)
    eventually(lambda: system.pid("coordinator") != second, seconds=20)
    eventually(lambda: not alive(second), seconds=20)
    assert system.stop() == 0


def test_a_stop_leaves_nothing_running_and_a_second_start_is_quick(system: System) -> None:
    system.start()
    pids = system.pids()
    assert len(pids) == 4 and all(alive(pid) for pid in pids)
    ready = system.said("AOB is ready")
    assert ready and ready["username"] == "admin" and ready["password"] == "shown-once"
    assert system.said("migrate", "nothing to do")
    assert (system.home / "log" / "web.log").read_text() == "web says postgresql 1 64\n"
    assert system.stop() == 0
    assert [pid for pid in pids if alive(pid)] == []
    assert not (system.home / "run" / "runtime.json").exists()
    began = time.monotonic()
    system.start()
    assert time.monotonic() - began < 5
    assert system.stop(signal.SIGTERM) == 0


def test_a_killed_child_is_started_again_with_a_message(system: System) -> None:
    system.start()
    before = system.pid("coordinator")
    os.kill(before, signal.SIGKILL)
    eventually(lambda: system.said("coordinator ended (signal SIGKILL); starting it again"))
    eventually(lambda: system.pid("coordinator") != before)
    os.kill(system.pid("coordinator"), signal.SIGKILL)
    eventually(lambda: system.said("coordinator ended (signal SIGKILL)", "again in 1 s"))
    assert system.said("coordinator: coordinator says")


@pytest.mark.parametrize("name", ["Postgres", "Redis"])
def test_a_killed_service_is_started_again(system: System, name: str) -> None:
    system.start()
    before = system.pid(name)
    os.kill(before, signal.SIGKILL)
    eventually(lambda: system.said(f"{name} ended (signal SIGKILL)"))
    eventually(lambda: system.said(f"{name} ready again"))
    eventually(lambda: system.pid(name) != before)
    known = json.loads((system.home / "run" / "runtime.json").read_text())
    psycopg.connect(known["database_url"]).close()


def test_a_child_without_progress_is_started_again(tmp_path: Path) -> None:
    system = System(tmp_path / "home", silent=2.0).start()
    try:
        before = system.pid("coordinator")
        (system.home / "coordinator.hush").touch()
        eventually(lambda: system.said("coordinator shows no progress"))
        eventually(lambda: system.pid("coordinator") != before)
        assert not alive(before)
        assert not system.said("web shows no progress")
    finally:
        system.stop()


def test_a_killed_supervisor_takes_its_children_along_and_the_next_start_recovers(system: System) -> None:
    system.start()
    pids = system.pids()
    assert system.stop(signal.SIGKILL) == -signal.SIGKILL
    eventually(lambda: not any(alive(pid) for pid in pids))
    system.start()
    assert system.stop() == 0


def test_a_second_instance_is_refused_by_process_number(system: System) -> None:
    system.start()
    second = System(system.home)
    second.output = system.home.parent / "second.out"
    second.start(ready=False)
    eventually(second.ended)
    assert second.process is not None and second.process.returncode == 1 and system.process is not None
    refusal = second.said("Another instance", f"process {system.process.pid}")
    assert refusal and refusal["code"] == "already_running" and "AOB_HOME" in refusal["hint"]
    assert all(alive(pid) for pid in system.pids())


def test_a_taken_port_is_named_with_its_holder_and_a_way_out(system: System) -> None:
    with socket.create_server(("127.0.0.1", system.port)):
        system.start(ready=False)
        eventually(system.ended)
    refusal = system.said(f"Port {system.port}", f"process {os.getpid()}")
    assert refusal and f"AOB_PORT={system.port + 1} make up" in refusal["hint"]
    assert not (system.home / "postgres").exists()


def test_the_web_of_another_instance_is_not_taken_for_ours() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert listens(os.getpid(), port)
        assert not listens(os.getppid(), port)
        with pytest.raises(EmbeddedError, match=f"Port {port}"):
            check_port("127.0.0.1", port)
    check_port("127.0.0.1", port)


def test_a_second_signal_kills_what_does_not_end(tmp_path: Path) -> None:
    system = System(tmp_path / "home", names=("web", "stubborn")).start()
    pids = system.pids()
    assert system.process is not None
    system.process.send_signal(signal.SIGINT)
    eventually(lambda: system.said("Stopping"))
    eventually(lambda: not alive(system.pid("web")))
    assert alive(system.pid("stubborn"))
    began = time.monotonic()
    system.stop()
    assert time.monotonic() - began < 5
    assert [pid for pid in pids if alive(pid)] == []


def test_with_external_services_only_our_processes_run(tmp_path: Path) -> None:
    system = System(tmp_path / "home")
    system.start(DATABASE_URL="postgresql://db/x", REDIS_URL="redis://r/0", CELERY_BROKER_URL="redis://r/1")
    try:
        assert len(system.pids()) == 2
        assert system.said("external Postgres") and system.said("external Redis")
        assert not (system.home / "postgres").exists()
    finally:
        assert system.stop() == 0


def test_a_process_that_cannot_start_is_reported_with_its_last_words(tmp_path: Path) -> None:
    system = System(tmp_path / "home", names=("web",))
    (tmp_path / "home").mkdir()
    arguments = json.dumps([str(system.home), system.port, ["web"], "raise SystemExit('no such luck')", SETUP, 30.0])
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, arguments], cwd=ROOT, env=clean_environment(), capture_output=True, text=True
    )
    assert ended.returncode == 1
    assert "web ended at its start (exit code 1): no such luck" in ended.stdout


def test_planes_get_the_cores_of_the_design() -> None:
    assert [plane_cpus("runner", range(count)) for count in (1, 2, 3)] == [frozenset(), {1}, {1, 2}]
    assert plane_cpus("agent", range(20)) == frozenset(range(8, 16))
    assert plane_cpus("control", range(20)) == frozenset()
