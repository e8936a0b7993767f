"""The embedded Postgres and Redis: safe, owner-only, and up again after every kind of end."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kombu
import psycopg
import pytest
import redis

from embedded import home as homes
from embedded import process, services
from embedded.home import EmbeddedError
from tests.support.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def database() -> None:
    """These tests start services of their own, so they need no clean tables."""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A data directory; fails the test when a process of it is left."""
    place = tmp_path / "home"
    yield place
    eventually(lambda: not left_running(place), seconds=20)


def left_running(home: Path) -> list[str]:
    """The command lines of processes that work for this data directory."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            environment = (entry / "environ").read_bytes()
        except OSError:
            continue
        if int(entry.name) != os.getpid() and (str(home) in command or f"AOB_HOME={home}\0".encode() in environment):
            found.append(command)
    return found


def test_services_answer_to_the_clients_that_use_them(home: Path) -> None:
    with services.start(home, {}) as running:
        with psycopg.connect(running.database_url) as connection:
            row = connection.execute(
                "SELECT current_user, rolsuper, current_setting('fsync'), current_setting('synchronous_commit'),"
                " current_setting('listen_addresses') FROM pg_roles WHERE rolname = current_user"
            ).fetchone()
            owner = connection.execute(
                "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()"
            ).fetchone()
        assert row == ("aob", False, "on", "on", "")
        assert owner == ("aob",)
        client = redis.Redis.from_url(running.redis_url)
        info: Any = client.config_get("*")
        assert (info["port"], info["maxmemory-policy"], info["appendonly"]) == ("0", "noeviction", "no")
        with kombu.Connection(running.broker_url) as broker, broker.SimpleQueue("q") as queue:
            queue.put("ding")
            assert queue.get(timeout=5).payload == "ding"


def test_wrong_passwords_are_refused(home: Path) -> None:
    with services.start(home, {}) as running:
        password = (home / "postgres.password").read_text()
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(running.database_url.replace(password, "wrong"))
        with pytest.raises(redis.AuthenticationError):
            redis.Redis.from_url(running.redis_url.replace((home / "redis.password").read_text(), "wrong")).ping()


def test_everything_in_the_data_directory_is_for_its_owner_only(home: Path) -> None:
    with services.start(home, {}):
        places = [home, *(path for path in home.rglob("*") if not path.is_symlink())]
        assert [path for path in places if path.stat().st_mode & 0o077 and "postgres" not in path.parts] == []
        assert (home / "postgres").stat().st_mode & 0o077 == 0
        foreign = {path.name for path in (home, *home.iterdir()) if path.stat().st_uid != os.geteuid()}
        assert foreign == ({"postgres"} if os.geteuid() == 0 else set())


def test_external_services_are_used_and_nothing_is_started(home: Path) -> None:
    external = {"DATABASE_URL": "postgresql://db/x", "REDIS_URL": "redis://r/0", "CELERY_BROKER_URL": "amqp://b//"}
    with services.start(home, external) as running:
        assert running.environment() == external
        assert running.postgres is None and running.redis is None
        assert left_running(home) == []
    assert not (home / "postgres").exists()


def test_a_second_user_of_a_data_directory_is_refused_by_process_number(home: Path) -> None:
    with services.start(home, {}) as running, pytest.raises(EmbeddedError) as refusal:
        services.start(home, {})
    assert refusal.value.code == "already_running"
    assert str(os.getpid()) in refusal.value.message
    assert running.postgres is not None
    with services.start(home, {}) as again:
        psycopg.connect(again.database_url).close()


def test_data_survive_the_kill_of_their_supervisor(home: Path) -> None:
    program = (
        "import sys, signal, pathlib, psycopg\n"
        "from embedded import services\n"
        "s = services.start(pathlib.Path(sys.argv[1]), {})\n"
        "with psycopg.connect(s.database_url) as c: c.execute('CREATE TABLE kept AS SELECT 42 AS n')\n"
        "print('ready', flush=True)\nsignal.pause()\n"
    )
    killed = subprocess.Popen([sys.executable, "-c", program, str(home)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert killed.stdout is not None and killed.stdout.readline() == "ready\n"
    killed.kill()
    killed.wait()
    killed.stdout.close()
    with services.start(home, {}) as running, psycopg.connect(running.database_url) as connection:
        assert connection.execute("SELECT n FROM kept").fetchone() == (42,)


def test_an_orphaned_postgres_is_stopped_in_the_open(home: Path) -> None:
    with services.start(home, {}) as first:
        assert first.lock is not None
        first.lock.release()  # as if its supervisor were gone
        said: list[str] = []
        with services.start(home, {}, said.append) as second:
            psycopg.connect(second.database_url).close()
    assert any("of an earlier instance" in line for line in said)


def test_a_lock_file_with_the_number_of_another_process_does_not_hinder(home: Path) -> None:
    services.start(home, {}).stop()
    lock = home / "postgres" / "postmaster.pid"
    with subprocess.Popen(["sleep", "60"], user=(home / "postgres").stat().st_uid) as stranger:
        lock.write_text(f"{stranger.pid}\n{home / 'postgres'}\n1\n5432\n.\n\n\n")
        try:
            with services.start(home, {}) as running:
                psycopg.connect(running.database_url).close()
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_an_interrupted_first_start_is_done_again(home: Path) -> None:
    homes.prepare(home)
    half = home / "postgres.new"
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")
    with services.start(home, {}) as running:
        psycopg.connect(running.database_url).close()
    assert not half.exists()


def test_a_long_path_gets_a_short_socket_directory_that_goes_away(tmp_path: Path) -> None:
    home = tmp_path / ("x" * 60) / ("y" * 60)
    with services.start(home, {}) as running:
        assert running.postgres is not None and running.redis is not None
        short = {running.postgres.socket, running.redis.socket.parent}
        assert all(place.stat().st_mode & 0o077 == 0 for place in short)
        psycopg.connect(running.database_url).close()
        assert redis.Redis.from_url(running.redis_url).ping()
    assert not any(place.exists() for place in short)


@pytest.mark.parametrize("trap", ["a link", "a directory open to others", "a directory of another user"])
def test_a_socket_directory_that_somebody_else_prepared_is_refused(tmp_path: Path, trap: str) -> None:
    near = tmp_path / ("x" * 100) / "run"
    taken = homes.socket_directory(near, name="s", owner=os.geteuid())
    owner = os.geteuid()
    if trap == "a link":
        taken.rmdir()
        taken.symlink_to(tmp_path)
    elif trap == "a directory open to others":
        taken.chmod(0o755)
    else:
        owner += 1
        taken = taken.rename(taken.with_name(taken.name.replace(f"-{owner - 1}-", f"-{owner}-")))
    try:
        with pytest.raises(EmbeddedError) as refusal:
            homes.socket_directory(near, name="s", owner=owner)
    finally:
        taken.unlink() if trap == "a link" else taken.rmdir()
    assert refusal.value.code == "socket_directory_taken"


def test_a_full_disk_is_refused_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(place)]
    mounted = os.geteuid() == 0 and subprocess.run(command, capture_output=True).returncode == 0
    if not mounted:
        usage = type(shutil.disk_usage("/"))
        monkeypatch.setattr(homes.shutil, "disk_usage", lambda path: usage(2**26, 0, 2**26))
    try:
        with pytest.raises(EmbeddedError) as refusal:
            services.start(place / "home", {})
        assert not (place / "home").exists()
    finally:
        if mounted:
            subprocess.run(["umount", str(place)], check=True)
    assert refusal.value.code == "disk_full"
    assert "Only 64 MB are free" in refusal.value.message and "AOB_HOME" in str(refusal.value.hint)


def test_a_disk_that_fills_up_during_a_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "secret.key"
    homes.write_private(file, "old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(homes.os, "fsync", full)
    with pytest.raises(EmbeddedError) as refusal:
        homes.write_private(file, "new")
    assert refusal.value.code == "disk_full"
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("secret.key", "old")]


def test_a_log_that_grows_keeps_two_predecessors_and_its_writer(tmp_path: Path) -> None:
    log = tmp_path / "web.log"
    with open(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab", buffering=0) as writer:
        for number in range(4):
            writer.write(f"{number}".encode() * 100)
            assert process.rotate(log, limit=50)
            assert not process.rotate(log, limit=50)
        writer.write(b"last\n")
    assert log.read_text() == "last\n"
    assert {path.name: path.read_text()[0] for path in tmp_path.glob("*.log.*")} == {"web.log.1": "3", "web.log.2": "2"}
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.iterdir())
    assert process.last_lines(log) == ["last"]


def test_an_orphan_is_ended_only_when_it_is_still_the_same_process() -> None:
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as sleeper:
        name = process.identity(sleeper.pid)
        assert name is not None
        assert not process.end_orphan(f"{sleeper.pid}@1")
        assert sleeper.poll() is None
        assert process.end_orphan(name)
        assert sleeper.wait() == -signal.SIGTERM
    assert process.identity(sleeper.pid) is None


def test_sockets_are_not_reachable_over_the_network(home: Path) -> None:
    with services.start(home, {}) as running:
        assert running.postgres is not None and running.redis is not None
        for service in (running.postgres, running.redis):
            assert service.process is not None
            sockets = {os.readlink(link) for link in Path(f"/proc/{service.process.pid}/fd").iterdir()}
            tables = "".join(Path(f"/proc/net/{name}").read_text() for name in ("tcp", "tcp6"))
            inodes = {row.split()[9] for row in tables.splitlines() if ":" in row.split()[0]}
            assert not {f"socket:[{inode}]" for inode in inodes} & sockets
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(running.redis.socket))
