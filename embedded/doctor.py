"""`aob doctor`: looks at everything that AOB needs and says how to mend what is wrong."""

from __future__ import annotations

import json
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from embedded.home import MIN_FREE_BYTES, EmbeddedError, free_bytes, holder, read_runtime
from embedded.ports import healthy
from embedded.specs import SPECS

KNOWN_KEYS = frozenset({"secret", "changeme", "change-me", "insecure", "django-insecure"})
MIN_POSTGRES = 14
SILENT_SECONDS = 30.0
CLOCK_SECONDS = 2.0
START = "`make up` (or `aob up`) starts it"


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
    yield Finding("Python", "ok" if good else "fail", version, "Install Python 3.11 or newer; PYTHON=… make up.")
    cores = len(os.sched_getaffinity(0))
    yield Finding("Cores", "ok" if cores > 1 else "warn", f"{cores} for this process", "Workers share the only core.")
    yield from _directory(home)
    yield _secret_key(home)
    running = holder(home) is not None
    known = read_runtime(home) if running else {}
    for name, variable, probe in (
        ("Postgres", "DATABASE_URL", _postgres),
        ("Redis", "REDIS_URL", _redis),
        ("Broker", "CELERY_BROKER_URL", _broker),
    ):
        external = os.environ.get(variable)
        if external is None and name != "Broker":
            yield _binary(name)
        url = external or known.get(variable.lower())
        if url is None:
            yield Finding(name, "warn", f"not running, and {variable} is not set", f"{START}, or set {variable}.")
        else:
            remedy = f"Start the server, or correct {variable}." if external else f"See {home / 'log'}."
            yield from probe(url, remedy)
    yield _web(str(known.get("host", "127.0.0.1")), int(known.get("port", port)), home, running=running)
    for spec in SPECS:
        yield _process(home, spec.name, running=running)


def _directory(home: Path) -> Iterator[Finding]:
    free = free_bytes(home)
    state = "ok" if free > 5 * MIN_FREE_BYTES else "warn" if free >= MIN_FREE_BYTES else "fail"
    yield Finding("Disk", state, f"{free // 2**20} MB free", "Make room, or move AOB_HOME to another disk.")
    if not home.exists():
        yield Finding("Data directory", "warn", f"{home} does not exist yet", "`make up` makes it.")
        return
    if not os.access(home, os.R_OK | os.W_OK | os.X_OK):
        yield Finding("Data directory", "fail", f"{home} is not ours to use", "Set AOB_HOME to a directory of yours.")
        return
    open_to_others = [
        path
        for path in (home, *sorted(home.iterdir()), *sorted(home.glob("run/*")), *sorted(home.glob("log/*")))
        if not path.is_symlink() and path.lstat().st_mode & 0o077
    ]
    for path in open_to_others:
        mode = stat.S_IMODE(path.lstat().st_mode)
        yield Finding("Permissions", "fail", f"{path} has mode {mode:04o}, others can use it", f"chmod go= {path}")
    if not open_to_others:
        yield Finding("Data directory", "ok", f"{home}, for its owner only")


def _secret_key(home: Path) -> Finding:
    key, source = os.environ.get("AOB_SECRET_KEY"), "AOB_SECRET_KEY"
    if key is None:
        source = "secret.key"
        try:
            key = (home / source).read_text().strip()
        except OSError:
            return Finding("Secret key", "ok", "will be generated at the first start")
    strong = len(key) >= 32 and len(set(key)) >= 10 and key.lower() not in KNOWN_KEYS
    return Finding(
        "Secret key",
        "ok" if strong else "fail",
        f"{source}: {len(key)} characters" + ("" if strong else ", too weak"),
        "Set it to the output of: python -c 'import secrets; print(secrets.token_urlsafe(48))'",
    )


def _binary(name: str) -> Finding:
    from embedded import postgres, redis

    try:
        path = postgres.binaries() / "postgres" if name == "Postgres" else redis.binary()
    except EmbeddedError as error:
        return Finding(f"{name} binary", "fail", error.message, error.hint or "")
    usable = os.access(path, os.X_OK)
    return Finding(f"{name} binary", "ok" if usable else "fail", str(path), "Remove .venv and run `make up` again.")


def _postgres(url: str, remedy: str) -> Iterator[Finding]:
    if not _installed("psycopg"):
        yield Finding("Postgres", "fail", "psycopg is not installed", "Remove .venv and run `make up` again.")
        return
    import psycopg

    try:
        with psycopg.connect(url, connect_timeout=3) as connection:
            before = time.time()
            row = connection.execute(
                "SELECT current_setting('server_version_num')::int, current_setting('server_version'),"
                " current_setting('fsync'), current_setting('synchronous_commit'),"
                " extract(epoch FROM clock_timestamp())::float8,"
                " (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)"
            ).fetchone()
            after = time.time()
    except psycopg.Error as error:
        reason = (str(error).strip().splitlines() or ["no answer"])[-1]
        yield Finding("Postgres", "fail", reason, remedy)
        return
    assert row is not None
    number, version, fsync, commit, clock, superuser = row
    yield Finding(
        "Postgres", "ok" if number >= MIN_POSTGRES * 10000 else "fail", f"version {version}",
        f"Use Postgres {MIN_POSTGRES} or newer.",
    )  # fmt: skip
    yield Finding("Durability", "ok" if fsync == "on" else "fail", f"fsync is {fsync}", "Set fsync = on in Postgres.")
    if commit == "off":
        yield Finding("Commits", "fail", "synchronous_commit is off", "Set synchronous_commit = on in Postgres.")
    if superuser:
        yield Finding("Role", "warn", "the application is a superuser", "Give it a role that owns its database only.")
    offset = abs(clock - (before + after) / 2)
    state = "ok" if offset < CLOCK_SECONDS else "warn"
    yield Finding("Clock", state, f"{offset:.1f} s from the database's", "Synchronise the clocks (NTP).")


def _redis(url: str, remedy: str) -> Iterator[Finding]:
    if not _installed("redis"):
        yield Finding("Redis", "fail", "the package redis is not installed", "Remove .venv and run `make up` again.")
        return
    import redis

    try:
        client = redis.Redis.from_url(url, socket_connect_timeout=3, socket_timeout=3)
        try:
            client.ping()
            server: Any = client.info("server")
        finally:
            client.close()
    except (redis.RedisError, ValueError) as error:
        yield Finding("Redis", "fail", str(error)[:200], remedy)
        return
    yield Finding("Redis", "ok", f"version {server['redis_version']}")


def _broker(url: str, remedy: str) -> Iterator[Finding]:
    """By Celery's own client, whatever broker it is."""
    if not _installed("kombu"):
        yield Finding("Broker", "fail", "the package kombu is not installed", "Remove .venv and run `make up` again.")
        return
    kombu: Any = import_module("kombu")
    try:
        with kombu.Connection(url, connect_timeout=3) as connection:
            connection.ensure_connection(max_retries=1, interval_start=0.1, timeout=5)
            connection.default_channel.close()
    except (kombu.exceptions.KombuError, OSError, ValueError, KeyError, ImportError) as error:
        yield Finding("Broker", "fail", f"{type(error).__name__}: {error}"[:200], remedy)
        return
    yield Finding("Broker", "ok", f"answers ({urlsplit(url).scheme})")


def _installed(package: str) -> bool:
    try:
        import_module(package)
    except ImportError:
        return False
    return True


def _web(host: str, port: int, home: Path, *, running: bool) -> Finding:
    answer = healthy(host, port, timeout=3)
    if answer is None:
        state = "fail" if running else "warn"
        remedy = f"See {home / 'log' / 'web.log'}." if running else f"{START}."
        return Finding("Web", state, f"nothing answers on port {port}", remedy)
    if answer and not running:
        return Finding("Web", "warn", f"port {port} answers, but is not ours", f"AOB_PORT={port + 1} make up")
    detail = f"up on port {port}" if answer else f"port {port} answers, but is not healthy"
    return Finding("Web", "ok" if answer else "fail", detail, f"See {home / 'log' / 'web.log'}.")


def _process(home: Path, name: str, *, running: bool) -> Finding:
    if not running:
        return Finding(name, "warn", "is not running here", f"{START}.")
    log = home / "log" / f"{name}.log"
    try:
        age = time.time() - (home / "run" / f"{name}.alive").stat().st_mtime
    except OSError:
        return Finding(name, "fail", "has not started", f"See {log}.")
    return Finding(name, "ok" if age < SILENT_SECONDS else "fail", f"last progress {age:.0f} s ago", f"See {log}.")
