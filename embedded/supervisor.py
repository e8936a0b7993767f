"""`aob up`: the whole system in one terminal. Starts, watches, restarts and stops the processes, in the open."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embedded import home as homes
from embedded import services
from embedded.console import Console
from embedded.home import MIN_FREE_BYTES, EmbeddedError
from embedded.ports import ANY, check_port, healthy, listens
from embedded.postgres import Postgres
from embedded.process import end_orphan, identity, kill_all, last_lines, rotate, spawn, stop
from embedded.redis import Redis
from embedded.specs import PYTHON, SECRETS, SPECS, STOP_ORDER, ProcessSpec, hint_about_models, plane_cpus

ROOT = Path(__file__).resolve().parent.parent
SILENT_SECONDS = 30.0
START_SECONDS = 60.0
STEADY_SECONDS = 4.0
"""After so long without a failure the next one counts as the first."""
MAX_BACKOFF = 30.0
HOUSEKEEPING_SECONDS = 10.0
SETUP = (*PYTHON, "-m", "aob_web.setup")


@dataclass
class Comeback:
    """When what has ended is started again: at once when it had worked for a while, else after 1, 2, 4 … 30 seconds."""

    started: float = 0.0
    failures: int = 0
    next_start: float = 0.0

    def failed(self, now: float) -> float:
        """Notes a failure; gives the pause in seconds."""
        if now - self.started > STEADY_SECONDS:
            self.failures = 0
        pause: float = min(2.0 ** min(self.failures - 1, 10), MAX_BACKOFF) if self.failures else 0.0
        self.failures += 1
        self.next_start = now + pause
        return pause


@dataclass
class Child:
    """A process of ours and its history."""

    spec: ProcessSpec
    comeback: Comeback
    process: subprocess.Popen[bytes] | None = None
    ready: bool = False
    predecessor: subprocess.Popen[bytes] | None = None
    """Has grown too large: works until `process` is ready, then ends with what it has begun (aob_web/lifesign.py)."""


class Supervisor:
    """Runs until it is told to stop. `specs`, `setup` and the times are parameters for the tests."""

    def __init__(
        self,
        home: Path,
        port: int,
        *,
        host: str = "127.0.0.1",
        specs: Sequence[ProcessSpec] = SPECS,
        environ: Mapping[str, str] = os.environ,
        console: Console | None = None,
        setup: Sequence[str] = SETUP,
        silent_seconds: float = SILENT_SECONDS,
    ) -> None:
        self.home = home
        self.port = port
        self.host = host
        self.console = console or Console()
        self._environ = dict(environ)
        self._setup = setup
        self._silent_seconds = silent_seconds
        self._children = [Child(spec, Comeback()) for spec in specs]
        self._comebacks = {"Postgres": Comeback(), "Redis": Comeback()}
        self._services: services.Services | None = None
        self._lock = homes.InstanceLock(home)
        self._setting_up: subprocess.Popen[bytes] | None = None
        self._stopping = False
        self._began = time.monotonic()
        self._last_watch = time.time()
        self._next_housekeeping = 0.0

    def run(self) -> int:
        """Starts everything and watches it until a signal comes; gives the exit code."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # which nohup asks for
            signal.signal(signal.SIGHUP, self._on_signal)
        try:
            self._start()
            while not self._stopping:
                self.watch()
                time.sleep(0.2)
        except EmbeddedError as error:
            if not self._stopping:  # else we have killed it ourselves
                self.console.refuse(error.message, error.hint, error.code)
            return 1
        except OSError as error:
            if error.errno not in homes.NO_SPACE:
                raise
            full = homes.disk_full(self.home)
            self.console.refuse(full.message, full.hint, full.code)
            return 1
        finally:
            self._stop()
        return 0

    def _on_signal(self, number: int, frame: Any) -> None:
        if self._stopping:
            self.console.say("problem", "Killing what is left.")
            kill_all()
            return
        self._stopping = True
        if self._setting_up is not None and self._setting_up.poll() is None:
            self._setting_up.terminate()

    def _progress(self, line: str) -> None:
        self.console.say("progress", line)

    # Starting

    def _start(self) -> None:
        homes.prepare(self.home)
        self._lock.acquire()
        self._end_orphans()
        check_port(self.host, self.port)
        self._services = services.start(self.home, self._environ, self._progress, lock=self._lock)
        if self._services.postgres is None:
            self._progress("Using the external Postgres of DATABASE_URL")
        if self._services.redis is None:
            self._progress("Using the external Redis of REDIS_URL")
        now = time.monotonic()
        for comeback in self._comebacks.values():
            comeback.started = now
        if self._stopping:
            return
        account = self._run_setup()
        if self._stopping:
            return
        self._progress("Starting " + ", ".join(child.spec.name for child in self._children) + " …")
        for child in self._children:
            self._spawn(child)
        self._note_runtime()
        self._await_ready()
        if not self._stopping:
            self.console.welcome(
                url=account.pop("url", None) or f"http://{ANY.get(self.host, self.host)}:{self.port}",
                seconds=time.monotonic() - self._began,
                account={name: account.get(name) for name in ("username", "password", "token")},
                client_file=str(self.home / "client.json"),
                models=hint_about_models(self._environ),
            )

    def _end_orphans(self) -> None:
        """What a killed supervisor left behind. The kernel ends its children; this is for what it missed."""
        for name, who in homes.read_runtime(self.home).get("processes", {}).items():
            if name != "Postgres" and end_orphan(who):
                self.console.say(
                    "problem", f"{name} of an earlier instance (process {who.split('@')[0]}) still ran; ended it"
                )

    def environment(self) -> dict[str, str]:
        """What the children get: the services, the home, a secret of this installation."""
        assert self._services is not None
        inherited = {name: value for name, value in self._environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        return {
            "AOB_HTTP_ALLOW": f"127.0.0.1:{self.port}",
            **inherited,
            **self._services.environment(),
            "AOB_EMBEDDED": "1",
            "AOB_HOME": str(self.home),
            "AOB_HOST": self.host,
            "AOB_PORT": str(self.port),
            "AOB_SECRET_KEY": self._environ.get("AOB_SECRET_KEY") or homes.secret(self.home / "secret.key"),
            "AOB_WEB_SOCKET": str(self._web_socket()),
            "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), self._environ.get("PYTHONPATH")))),
            "PYTHONUNBUFFERED": "1",
            "MALLOC_ARENA_MAX": "2",
        }

    def _web_socket(self) -> Path:
        return homes.socket_directory(self.home / "run", name="web.sock", owner=os.geteuid()) / "web.sock"

    def _run_setup(self) -> dict[str, Any]:
        """Runs the set-up and shows its steps; gives what it says at its end."""
        account: dict[str, Any] = {}
        complaints = self.home / "log" / "setup.log"
        with homes.open_log(self.home, "setup") as errors:
            errors.truncate(0)
            made = spawn(self._setup, env=self.environment(), output=subprocess.PIPE, errors=errors)
        self._setting_up = made
        assert made.stdout is not None
        with made.stdout as steps:
            for line in steps:
                try:
                    step = json.loads(line)
                except ValueError:
                    self.console.say("note", f"  {line.decode(errors='replace').rstrip()}")
                    continue
                if step["step"] == "ready":
                    account = step
                else:
                    self._progress(f"Set-up: {step['step']} – {step.get('detail', step.get('status'))}")
        made.wait()
        stop(made)
        self._setting_up = None
        if made.returncode != 0 and not self._stopping:
            words = last_lines(complaints) or ["no message"]
            if "No space left on device" in words[0]:
                raise homes.disk_full(self.home)
            raise EmbeddedError(
                "setup_failed", f"The set-up failed: {words[0]}", hint=f"See {complaints}, or run `aob doctor`."
            )
        for text in last_lines(complaints, count=20):
            self.console.say("note", f"  {text}")
        return account

    def _spawn(self, child: Child) -> None:
        for sign in ("alive", "grown"):
            (self.home / "run" / f"{child.spec.name}.{sign}").unlink(missing_ok=True)
        cpus = plane_cpus(child.spec.plane, sorted(os.sched_getaffinity(0)))
        with homes.open_log(self.home, child.spec.name) as log:
            environment = self.environment()
            if not child.spec.trusted:
                environment = {name: value for name, value in environment.items() if name not in SECRETS}
            child.process = spawn(child.spec.argv, env=environment, output=log, cpus=cpus)
        child.comeback.started = time.monotonic()
        child.ready = False

    def _await_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self._stopping:
            for child in self._children:
                if self._has_become_ready(child):
                    self._tell_ready(child)
                elif not child.ready and child.process is not None and child.process.poll() is not None:
                    if child.spec.serves:
                        check_port(self.host, self.port)  # somebody may have been quicker than its web
                    log = self.home / "log" / f"{child.spec.name}.log"
                    raise EmbeddedError(
                        "process_not_started",
                        f"{child.spec.name} ended at its start ({_how(child.process.returncode)}): "
                        f"{' '.join(last_lines(log)) or 'no message'}",
                        hint=f"See {log}, or run `aob doctor`.",
                    )
            if all(child.ready for child in self._children):
                return
            if time.monotonic() > deadline:
                late = ", ".join(child.spec.name for child in self._children if not child.ready)
                raise EmbeddedError(
                    "not_ready", f"Not ready within {START_SECONDS:.0f} s: {late}.", hint=f"See {self.home / 'log'}."
                )
            time.sleep(0.05)

    def _has_become_ready(self, child: Child) -> bool:
        if child.ready or not self._shows(child, "alive"):
            return False
        if not child.spec.serves:
            return True
        return (
            child.process is not None and listens(child.process.pid, self.port) and healthy(self.host, self.port) is True
        )

    def _tell_ready(self, child: Child) -> None:
        child.ready = True
        took = time.monotonic() - child.comeback.started
        self.console.say("ready", f"{child.spec.name} ready in {took:.1f} s", name=child.spec.name)

    # Watching

    def watch(self) -> None:
        """Restarts what has ended or fallen silent, each time a little later."""
        now = time.monotonic()
        if time.time() - self._last_watch > self._silent_seconds / 2:
            # The machine slept or we were stopped: the children could not show progress either.
            for child in self._children:
                child.comeback.started = now
        self._last_watch = time.time()
        changed = self._watch_services(now)
        for child in self._children:
            changed |= self._watch_child(child, now)
        if changed:
            self._note_runtime()
        if now >= self._next_housekeeping:
            self._next_housekeeping = now + HOUSEKEEPING_SECONDS
            self._keep_house()

    def _watch_child(self, child: Child, now: float) -> bool:
        """True when it was started again."""
        name = child.spec.name
        if child.process is None:
            if now < child.comeback.next_start:
                return False
            self._spawn(child)
            return True
        if child.process.poll() is None:
            if self._has_become_ready(child):
                self._tell_ready(child)
                if child.predecessor is not None:
                    child.predecessor.terminate()
            if self._wants_a_successor(child):
                self.console.say("note", f"{name} has grown; another takes over", name=name)
                child.predecessor = child.process
                self._spawn(child)
                return True
            if not self._is_silent(child, now):
                return False
            self.console.say(
                "problem", f"{name} shows no progress for {self._silent_seconds:.0f} s; stopping it", name=name
            )
        code = child.process.poll()
        stop(child.process, patience=5)
        child.process = None
        how = "silent" if code is None else _how(code)
        pause = child.comeback.failed(now)
        self.console.say("problem", f"{name} ended ({how}); starting it again{_in(pause)}", name=name)
        for line in last_lines(self.home / "log" / f"{name}.log", count=3):
            self.console.say("problem", f"  {name}: {line}", name=name)
        return False

    def _wants_a_successor(self, child: Child) -> bool:
        """Whether it does. While its own predecessor has something to finish it goes on: there are never three."""
        if child.predecessor is not None:
            if child.predecessor.poll() is None:
                return False
            stop(child.predecessor)
            child.predecessor = None
        return child.ready and self._shows(child, "grown")

    def _shows(self, child: Child, sign: str) -> bool:
        """Whether this very process, and none before it, has written this sign."""
        try:
            text = (self.home / "run" / f"{child.spec.name}.{sign}").read_text()
        except OSError:
            return False
        return child.process is not None and text == str(child.process.pid)

    def _watch_services(self, now: float) -> bool:
        """True when a service was started again."""
        changed = False
        for name, service in self._embedded().items():
            comeback = self._comebacks[name]
            if service.process is not None:
                if service.process.poll() is None:
                    continue
                pause = comeback.failed(now)
                self.console.say(
                    "problem",
                    f"{name} ended ({_how(service.process.returncode)}); starting it again{_in(pause)}",
                    name=name,
                )
                stop(service.process)
                service.process = None
            if now < comeback.next_start:
                continue
            comeback.started = now
            try:
                service.start()
            except (EmbeddedError, OSError) as error:
                pause = comeback.failed(time.monotonic())
                self.console.say("problem", f"{name} does not start: {error}; trying again in {pause:.0f} s", name=name)
            else:
                changed = True
                self.console.say("ready", f"{name} ready again", name=name)
        return changed

    def _embedded(self) -> dict[str, Postgres | Redis]:
        found: dict[str, Postgres | Redis] = {}
        if self._services is not None and self._services.postgres is not None:
            found["Postgres"] = self._services.postgres
        if self._services is not None and self._services.redis is not None:
            found["Redis"] = self._services.redis
        return found

    def _is_silent(self, child: Child, now: float) -> bool:
        if now - child.comeback.started < self._silent_seconds:
            return False
        try:
            beat = (self.home / "run" / f"{child.spec.name}.alive").stat().st_mtime
        except OSError:
            return True
        return time.time() - beat > self._silent_seconds

    def _keep_house(self) -> None:
        """Rotates the logs and warns of a disk that fills up; a full one must not end the watch."""
        try:
            for log in (self.home / "log").glob("*.log"):
                rotate(log)
            free = homes.free_bytes(self.home)
        except OSError as error:
            self.console.say("problem", f"The logs cannot be kept small: {error.strerror}")
            return
        if free < MIN_FREE_BYTES:
            self.console.say("problem", f"Only {free // 2**20} MB are free on the disk of {self.home}; make room")

    def _note_runtime(self) -> None:
        """For `aob doctor`, and for the next start when we are killed."""
        assert self._services is not None
        running: dict[str, subprocess.Popen[bytes] | None] = {child.spec.name: child.process for child in self._children}
        running |= {name: service.process for name, service in self._embedded().items()}
        try:
            homes.write_runtime(
                self.home,
                {
                    "pid": os.getpid(),
                    "host": self.host,
                    "port": self.port,
                    "url": f"http://{ANY.get(self.host, self.host)}:{self.port}",
                    **{name.lower(): value for name, value in self._services.environment().items()},
                    "processes": {
                        name: who for name, process in running.items() if process and (who := identity(process.pid))
                    },
                },
            )
        except (EmbeddedError, OSError) as error:
            self.console.say("problem", f"Cannot note what runs: {error}")

    # Stopping

    def _stop(self) -> None:
        """Everything, in order; one that cannot be stopped does not keep the others running."""
        running = [child for child in self._children if child.process is not None]
        begun = bool(running) or self._services is not None
        if begun:
            self._stopping = True
            self.console.say("progress", "Stopping …")
        named = [[child for child in running if child.spec.name in names] for names in STOP_ORDER]
        rest = [child for child in running if not any(child in group for group in named)]
        for group in (*named, rest):
            processes = [one for child in group for one in (child.predecessor, child.process) if one is not None]
            for process in processes:
                if process.poll() is None:
                    process.terminate()
            for process in processes:
                _try(lambda process=process: stop(process), self.console)  # type: ignore[misc]
        if self._services is not None:
            _try(lambda: self._web_socket().unlink(missing_ok=True), self.console)
            _try(self._services.stop, self.console)
        kill_all()
        if begun:
            _try(lambda: homes.forget_runtime(self.home), self.console)
            self.console.say("progress", "Stopped; nothing is left running.")
        self._lock.release()


def _in(pause: float) -> str:
    return f" in {pause:.0f} s" if pause else ""


def _try(action: Callable[[], None], console: Console) -> None:
    try:
        action()
    except OSError as error:
        console.say("problem", f"Stopping: {error}")


def _how(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
