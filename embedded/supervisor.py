"""`aob up`: the whole system in one terminal. Starts, watches, restarts and stops the processes, in the open."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from embedded import home as homes
from embedded import services
from embedded.home import EmbeddedError
from embedded.process import spawn, stop

ROOT = Path(__file__).resolve().parent.parent
SILENT_SECONDS = 30.0
START_SECONDS = 60.0
MAX_BACKOFF = 30.0
MAX_LOG_BYTES = 10 * 1024 * 1024


@dataclass(frozen=True)
class ProcessSpec:
    """One child: how it is started and on which plane it runs. Progress shows in `run/<name>.alive`."""

    name: str
    argv: Sequence[str]
    plane: str = "control"


SPECS = tuple(
    ProcessSpec(name, (sys.executable, "-m", "aob_web.processes", name), plane)
    for name, plane in (
        ("web", "control"),
        ("coordinator", "control"),
        ("sweeper", "control"),
        ("worker-runner", "runner"),
        ("worker-agent", "agent"),
    )
)


def plane_cpus(plane: str, available: Sequence[int]) -> frozenset[int]:
    """The cores of a plane (the design's table): workers are pinned where there are cores enough."""
    count = len(available)
    if count < 2:
        return frozenset()
    if count == 2:
        return frozenset({available[0]}) if plane == "control" else frozenset({available[1]})
    first = max(1, count * 2 // 5)
    return frozenset(available[:first]) if plane == "control" else frozenset(available[first:])


@dataclass
class Child:
    """A running child and its history."""

    spec: ProcessSpec
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    failures: int = 0
    next_start: float = 0.0
    ready: bool = False
    log: IO[bytes] | None = field(default=None, repr=False)


class Supervisor:
    """Runs until it is told to stop; `tell` gets every line for people."""

    def __init__(
        self,
        home: Path,
        port: int,
        *,
        host: str = "127.0.0.1",
        specs: Sequence[ProcessSpec] = SPECS,
        environ: Mapping[str, str] = os.environ,
        tell: Callable[[str], None] = print,
        setup: Sequence[str] = (sys.executable, "-m", "aob_web.setup"),
    ) -> None:
        self.home = home
        self.port = port
        self.host = host
        self.tell = tell
        self._environ = dict(environ)
        self._setup = setup
        self._children = [Child(spec) for spec in specs]
        self._services: services.Services | None = None
        self._lock = homes.InstanceLock(home)
        self._stopping = False
        self._began = time.monotonic()

    def run(self) -> int:
        """Starts everything and watches it until a signal comes; gives the exit code."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        try:
            self._start()
            while not self._stopping:
                self.watch()
                time.sleep(0.2)
        except EmbeddedError as error:
            self.tell(f"✗ {error.message}")
            if error.hint:
                self.tell(f"  {error.hint}")
            return 1
        finally:
            self._stop()
        return 0

    def _on_signal(self, number: int, frame: Any) -> None:
        if self._stopping:
            self.tell("Killing what is left.")
            for child in self._children:
                if child.process is not None and child.process.poll() is None:
                    os.killpg(child.process.pid, signal.SIGKILL)
            return
        self._stopping = True

    def _start(self) -> None:
        homes.prepare(self.home)
        self._lock.acquire()
        check_port(self.host, self.port)
        self._services = services.start(self.home, self._environ, lambda name: self.tell(f"• Starting {name} …"))
        if self._services.postgres is None:
            self.tell("• Using the external Postgres of DATABASE_URL")
        if self._services.redis is None:
            self.tell("• Using the external Redis of REDIS_URL")
        environment = self.environment()
        result = self._run_setup(environment)
        for name in (child.spec.name for child in self._children):
            (self.home / "run" / f"{name}.alive").unlink(missing_ok=True)
        self.tell("• Starting " + ", ".join(child.spec.name for child in self._children) + " …")
        for child in self._children:
            self._spawn(child, environment)
        self._await_ready()
        if not self._stopping:
            self._welcome(result)

    def environment(self) -> dict[str, str]:
        """What the children get: the services, the home, a secret of this installation."""
        assert self._services is not None
        inherited = {name: value for name, value in self._environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        return {
            "AOB_HTTP_ALLOW": f"127.0.0.1:{self.port}",
            **inherited,
            **self._services.environment(),
            "AOB_HOME": str(self.home),
            "AOB_HOST": self.host,
            "AOB_PORT": str(self.port),
            "AOB_SECRET_KEY": self._environ.get("AOB_SECRET_KEY") or homes.secret(self.home / "secret.key"),
            "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), self._environ.get("PYTHONPATH")))),
            "PYTHONUNBUFFERED": "1",
            "MALLOC_ARENA_MAX": "2",
        }

    def _run_setup(self, environment: dict[str, str]) -> dict[str, Any]:
        made = subprocess.Popen(
            list(self._setup), env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        result: dict[str, Any] = {}
        assert made.stdout is not None
        for line in made.stdout:
            step = json.loads(line)
            if step["step"] == "ready":
                result = step
            else:
                self.tell(f"• Set-up: {step['step']} – {step.get('detail', step.get('status'))}")
        _, complaint = made.communicate()
        if made.returncode != 0:
            last = complaint.strip().splitlines()[-1:] or ["no message"]
            raise EmbeddedError(f"The set-up failed: {last[0]}", "Run `aob doctor`.")
        for line in complaint.strip().splitlines():
            self.tell(f"  {line}")
        return result

    def _spawn(self, child: Child, environment: dict[str, str]) -> None:
        if child.log is None:
            path = self.home / "log" / f"{child.spec.name}.log"
            if path.exists() and path.stat().st_size > MAX_LOG_BYTES:
                path.replace(path.with_suffix(".log.1"))
            child.log = open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")  # noqa: SIM115
        cpus = plane_cpus(child.spec.plane, sorted(os.sched_getaffinity(0)))
        pinned = cpus if child.spec.plane != "control" else frozenset()
        child.process = spawn(child.spec.argv, env=environment, output=child.log, cpus=pinned)
        child.started = time.monotonic()

    def _await_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self._stopping:
            for child in self._children:
                if not child.ready and self._answers(child):
                    child.ready = True
                    self.tell(f"  {child.spec.name} ready after {time.monotonic() - child.started:.1f} s")
                elif not child.ready and child.process is not None and child.process.poll() is not None:
                    raise EmbeddedError(
                        f"{child.spec.name} ended at its start: {self._last_words(child)}",
                        f"See {self.home / 'log' / child.spec.name}.log, or run `aob doctor`.",
                    )
            if all(child.ready for child in self._children):
                return
            if time.monotonic() > deadline:
                late = ", ".join(child.spec.name for child in self._children if not child.ready)
                raise EmbeddedError(f"Not ready within {START_SECONDS:.0f} s: {late}.", f"See {self.home / 'log'}.")
            time.sleep(0.05)

    def _answers(self, child: Child) -> bool:
        if not (self.home / "run" / f"{child.spec.name}.alive").exists():
            return False
        return child.spec.name != "web" or self._healthy()

    def _healthy(self) -> bool:
        try:
            with socket.create_connection((self.host, self.port), timeout=2) as connection:
                connection.sendall(b"GET /healthz HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
                return b" 200 " in connection.recv(100)
        except OSError:
            return False

    def watch(self) -> None:
        """Restarts what has ended or fallen silent, each time a little later."""
        now = time.monotonic()
        for child in self._children:
            process = child.process
            if process is not None and process.poll() is None:
                if self._is_silent(child):
                    self.tell(f"! {child.spec.name} makes no progress; restarting it")
                    stop(process, patience=5)
                elif now - child.started > 60:
                    child.failures = 0
                continue
            if process is not None:
                words = self._last_words(child)
                pause = min(2.0**child.failures - 1, MAX_BACKOFF)
                child.failures += 1
                child.process = None
                child.next_start = now + pause
                when = "now" if pause == 0 else f"in {pause:.0f} s"
                self.tell(f"! {child.spec.name} ended ({_how(process.returncode)}); restarting it {when}. {words}")
            if now >= child.next_start:
                self._spawn(child, self.environment())
        for name, service in (("Postgres", self._postgres), ("Redis", self._redis)):
            if service is not None and service.process is not None and service.process.poll() is not None:
                self.tell(f"! {name} ended ({_how(service.process.returncode)}); restarting it now")
                service.start()

    @property
    def _postgres(self) -> Any:
        return self._services.postgres if self._services is not None else None

    @property
    def _redis(self) -> Any:
        return self._services.redis if self._services is not None else None

    def _is_silent(self, child: Child) -> bool:
        if time.monotonic() - child.started < SILENT_SECONDS:
            return False
        try:
            beat = (self.home / "run" / f"{child.spec.name}.alive").stat().st_mtime
        except OSError:
            return True
        return time.time() - beat > SILENT_SECONDS

    def _last_words(self, child: Child) -> str:
        try:
            lines = (self.home / "log" / f"{child.spec.name}.log").read_text(errors="replace").splitlines()
        except OSError:
            return ""
        return lines[-1][:300] if lines else ""

    def _welcome(self, result: dict[str, Any]) -> None:
        url = result.get("url", f"http://{self.host}:{self.port}")
        self.tell(f"\nAOB is ready after {time.monotonic() - self._began:.1f} s: {url}")
        if result.get("password"):
            self.tell(f"  Sign in as {result['username']!r} with the password {result['password']} (shown only now)")
        else:
            self.tell("  Sign in with your account; a forgotten password: python manage.py changepassword admin")
        if result.get("token"):
            self.tell(f"  API token (shown only now; kept for you in {self.home / 'client.json'}): {result['token']}")
        self.tell(
            "  Try: .venv/bin/aob run start examples/access-log/workflow.json"
            " --inputs examples/access-log/inputs.json --follow"
        )
        self.tell("  Ctrl-C stops everything.\n")

    def _stop(self) -> None:
        running = [child for child in self._children if child.process is not None]
        if running or self._services is not None:
            self.tell("Stopping …")
        for child in running:
            if child.process is not None and child.process.poll() is None:
                child.process.terminate()
        for child in running:
            if child.process is not None:
                stop(child.process, patience=10)
        if self._services is not None:
            self._services.stop()
            self.tell("Stopped; nothing is left running.")
        self._lock.release()


def check_port(host: str, port: int) -> None:
    """Raises EmbeddedError when somebody listens there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise EmbeddedError(
                f"Port {port} on {host} cannot be used: {error.strerror}{_holder(port)}.",
                "Stop that program, or choose another port: AOB_PORT=8801 make up",
            ) from None


def _holder(port: int) -> str:
    """Which process listens on a port, as far as /proc tells."""
    try:
        lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
        inodes = {f"socket:[{line.split()[9]}]" for line in lines if line.split()[1].endswith(f":{port:04X}")}
        for link in Path("/proc").glob("[0-9]*/fd/*"):
            try:
                if os.readlink(link) in inodes:
                    pid = link.parts[2]
                    return f" (process {pid}, {Path(f'/proc/{pid}/comm').read_text().strip()})"
            except OSError:
                continue
    except OSError:
        pass
    return ""


def _how(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
