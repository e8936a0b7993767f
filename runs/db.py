"""Postgres for the hot path: one small pool per process, sessions that give up rather than hang, SQL in files."""

from __future__ import annotations

import select
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import psycopg
from django.db import connection as django_connection
from psycopg.conninfo import make_conninfo
from psycopg.types.json import set_json_dumps, set_json_loads
from psycopg_pool import ConnectionPool

from runs.copying import Array, ArrayDumper

PIPELINED_RUNS = 8
"""Batches of up to so many runs are small: they are written in a pipeline."""

POOL_SIZE = 6

# A frozen process must not keep its row locks for long (hazards F12, F13): the server ends its session.
TIMEOUTS = "-c idle_in_transaction_session_timeout=15000 -c lock_timeout=10000 -c statement_timeout=60000"

# Each statement of the hot path has one right plan, by its keys. Without this, Postgres makes a plan for each batch (a
# quarter of a millisecond for a claim), or keeps one that it made when the tables were empty, which scans.
PLANS = "-c plan_cache_mode=force_generic_plan -c enable_seqscan=off"
SESSION = f"{TIMEOUTS} {PLANS} -c timezone=UTC"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_pool: ConnectionPool[psycopg.Connection[Any]] | None = None
_making = threading.Lock()


def conninfo() -> str:
    """The connection string of Django's database, with our session settings."""
    settings = django_connection.settings_dict
    return make_conninfo(
        dbname=settings["NAME"],
        user=settings["USER"],
        password=settings["PASSWORD"],
        host=settings["HOST"],
        port=settings["PORT"] or None,
        options=SESSION,
        keepalives_idle=10,
        keepalives_interval=5,
        keepalives_count=3,
        tcp_user_timeout=15000,
        application_name="aob",
    )


def configure(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> None:
    set_json_loads(msgspec.json.decode, connection)
    set_json_dumps(msgspec.json.encode, connection)
    connection.adapters.register_dumper(Array, ArrayDumper)


def pool() -> ConnectionPool[psycopg.Connection[Any]]:
    global _pool
    with _making:
        if _pool is not None:
            return _pool
        _pool = ConnectionPool(
            conninfo(),
            min_size=0,
            max_size=POOL_SIZE,
            max_idle=20,
            configure=configure,
            check=_check,
            timeout=10,
            open=True,
        )
        return _pool


def _check(connection: psycopg.Connection[Any]) -> None:
    """Finds connections that the server ended: only then has an idle one something to read. Costs no round trip."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if poll.poll(0):
        ConnectionPool.check_connection(connection)


class _PipelinedCursor(psycopg.Cursor[Any]):
    """Sends each statement to its end.

    psycopg leaves what the socket does not take at once to the next statement; when a result is awaited instead, it and
    the server wait for each other for ever (its issue #685 is the same at a pipeline's end).
    """

    def execute(self, *arguments: Any, **options: Any) -> _PipelinedCursor:  # type: ignore[override]
        super().execute(*arguments, **options)
        server = self.connection.pgconn
        poll = select.poll()
        poll.register(server.socket, select.POLLIN | select.POLLOUT)
        while server.flush():
            if any(event & select.POLLIN for _, event in poll.poll()):
                server.consume_input()
        return self


def close_pool() -> None:
    """For tests and at the end of a process."""
    global _pool
    if _pool is not None:
        _pool.close()
        _pool = None


@contextmanager
def transaction(*, pipelined: bool = False) -> Iterator[psycopg.Cursor[Any]]:
    """A cursor in a transaction that commits at the end of the block.

    `pipelined` sends statements without waiting for each other: a round trip only where a result is read. That is
    what a small transaction mostly waits for; a large one is quicker by COPY, which a pipeline does not take.
    """
    with pool().connection() as connection:
        if not pipelined:
            with connection.cursor() as cursor:
                yield cursor
            return
        with connection.pipeline(), _PipelinedCursor(connection) as cursor:
            yield cursor
            # Not `connection.commit()`, which waits for its answer before the pipeline's end waits for its own.
            cursor.execute("COMMIT", prepare=False)


@contextmanager
def statement() -> Iterator[psycopg.Cursor[Any]]:
    """A cursor for single statements that need no transaction around them: one round trip each instead of three."""
    with pool().connection() as connection:
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                yield cursor
        finally:
            if not connection.closed:
                connection.autocommit = False


@cache
def sql(name: str) -> bytes:
    """The statement in `runs/sql/<name>.sql`."""
    return (Path(__file__).parent / "sql" / f"{name}.sql").read_bytes()


def database_now(cursor: psycopg.Cursor[Any]) -> int:
    """Microseconds since the epoch by the database's clock, the one clock of timers and leases."""
    cursor.execute("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")
    row = cursor.fetchone()
    assert row is not None
    return int(row[0])


def moment(microseconds: int) -> datetime:
    """The exact date-time of microseconds since the epoch."""
    return _EPOCH + timedelta(microseconds=microseconds)


def micros(value: datetime) -> int:
    """Microseconds since the epoch, exactly."""
    return (value - _EPOCH) // timedelta(microseconds=1)
