"""`aob doctor`: looks at everything that AOB needs and says how to mend what is wrong."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from embedded.home import MIN_FREE_BYTES, EmbeddedError

PROCESSES = ("web", "coordinator", "sweeper", "worker-runner", "worker-agent")


@dataclass(frozen=True)
class Finding:
    """One check: `state` is ok, warn or fail."""

    name: str
    state: str
    detail: str
    remedy: str = ""


def run(home: Path, port: int, *, as_json: bool = False, tell: Callable[[str], None] = print) -> int:
    """Prints every finding; 1 when something fails, else 0."""
    findings = list(examine(home, port))
    if as_json:
        tell(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            mark = {"ok": "✓", "warn": "!", "fail": "✗"}[finding.state]
            tell(f"{mark} {finding.name}: {finding.detail}")
            if finding.remedy and finding.state != "ok":
                tell(f"    → {finding.remedy}")
    return 1 if any(finding.state == "fail" for finding in findings) else 0


def examine(home: Path, port: int) -> Iterator[Finding]:
    """Every finding, in the order in which they depend on each other."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    good = sys.version_info >= (3, 11)
    yield Finding("Python", "ok" if good else "fail", version, "Install Python 3.11 or newer.")
    yield Finding("Cores", "ok", f"{len(os.sched_getaffinity(0))} for this process")
    yield from _directory(home)
    database = os.environ.get("DATABASE_URL") or _embedded_database(home)
    yield from _postgres(database)
    yield _redis("Redis", os.environ.get("REDIS_URL") or _embedded_redis(home))
    if "CELERY_BROKER_URL" in os.environ:
        yield _redis("Broker", os.environ["CELERY_BROKER_URL"])
    yield _web(port)
    for name in PROCESSES:
        yield _process(home, name)


def _directory(home: Path) -> Iterator[Finding]:
    if not home.exists():
        yield Finding("Data directory", "warn", f"{home} does not exist yet", "`make up` makes it.")
        return
    mode = stat.S_IMODE(home.stat().st_mode)
    state = "ok" if not mode & 0o077 else "fail"
    yield Finding("Data directory", state, f"{home} has mode {mode:04o}", f"chmod 700 {home}")
    for name in ("client.json", "secret.key", "postgres.password", "redis.password"):
        file = home / name
        if file.exists() and stat.S_IMODE(file.stat().st_mode) & 0o077:
            yield Finding("Permissions", "fail", f"{file} can be read by others", f"chmod 600 {file}")
    free = shutil.disk_usage(home).free
    state = "ok" if free > 5 * MIN_FREE_BYTES else "warn" if free > MIN_FREE_BYTES else "fail"
    yield Finding("Disk", state, f"{free // 2**20} MB free", "Make room, or move AOB_HOME to another disk.")
    key = os.environ.get("AOB_SECRET_KEY") or ((home / "secret.key").exists() and (home / "secret.key").read_text())
    if key:
        strong = len(key) >= 32
        yield Finding(
            "Secret key", "ok" if strong else "fail", f"{len(key)} characters", "Use at least 32 random characters."
        )


def _embedded_database(home: Path) -> str | None:
    if not (home / "postgres.password").exists():
        return None
    from embedded.postgres import Postgres

    try:
        return Postgres(home).url
    except (EmbeddedError, OSError):
        return None


def _embedded_redis(home: Path) -> str | None:
    if not (home / "redis.password").exists():
        return None
    from embedded.redis import Redis

    try:
        return Redis(home).url
    except (EmbeddedError, OSError):
        return None


def _postgres(url: str | None) -> Iterator[Finding]:
    if url is None:
        yield Finding("Postgres", "warn", "not set up yet", "`make up` starts it, or set DATABASE_URL.")
        return
    import psycopg

    try:
        with psycopg.connect(url, connect_timeout=3) as connection:
            row = connection.execute(
                "SELECT current_setting('server_version'), current_setting('fsync'),"
                " extract(epoch FROM clock_timestamp())"
            ).fetchone()
    except psycopg.Error as error:
        reason = str(error).strip().splitlines()[-1:] or ["no answer"]
        yield Finding("Postgres", "fail", reason[0], "Start it (`make up`), or correct DATABASE_URL.")
        return
    assert row is not None
    major = int(row[0].split(".")[0])
    yield Finding("Postgres", "ok" if major >= 14 else "fail", f"version {row[0]}", "Use Postgres 14 or newer.")
    yield Finding("Durability", "ok" if row[1] == "on" else "fail", f"fsync is {row[1]}", "Set fsync = on.")
    offset = abs(float(row[2]) - time.time())
    yield Finding(
        "Clock", "ok" if offset < 2 else "warn", f"{offset:.1f} s from the database's", "Synchronise the clocks (NTP)."
    )


def _redis(name: str, url: str | None) -> Finding:
    if url is None:
        return Finding(name, "warn", "not set up yet", "`make up` starts it, or set REDIS_URL.")
    if not url.startswith(("redis", "unix")):
        return Finding(name, "warn", f"{urlsplit(url).scheme} brokers are not examined", "See the broker's own tools.")
    import redis

    try:
        client = redis.Redis.from_url(url.replace("redis+socket", "unix"), socket_connect_timeout=3, socket_timeout=3)
        client.ping()
        version = client.info("server")["redis_version"]
    except (redis.RedisError, ValueError) as error:
        return Finding(name, "fail", str(error)[:200], "Start it (`make up`), or correct REDIS_URL.")
    return Finding(name, "ok", f"version {version}")


def _web(port: int) -> Finding:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=3) as connection:
            connection.sendall(b"GET /healthz HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
            answer = connection.recv(100)
    except OSError as error:
        return Finding("Web", "warn", f"nothing answers on port {port} ({error.strerror or error})", "`make up`")
    up = b" 200 " in answer
    return Finding("Web", "ok" if up else "fail", "up" if up else "answers that it is down", "See the log of web.")


def _process(home: Path, name: str) -> Finding:
    file = home / "run" / f"{name}.alive"
    if not file.exists():
        return Finding(name, "warn", "is not running here", "`make up` starts it.")
    age = time.time() - file.stat().st_mtime
    state = "ok" if age < 30 else "warn"
    return Finding(name, state, f"last progress {age:.0f} s ago", f"See {home / 'log' / name}.log.")
