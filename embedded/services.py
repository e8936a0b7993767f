"""Postgres and Redis together: the embedded ones, or those that the environment names."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from embedded import home as homes
from embedded.postgres import Postgres
from embedded.redis import Redis


@dataclass(frozen=True)
class Services:
    """Where the services answer; `postgres` and `redis` are None when they are external.

    Also a context manager that stops them at its end.
    """

    database_url: str
    redis_url: str
    broker_url: str
    postgres: Postgres | None
    redis: Redis | None
    lock: homes.InstanceLock | None = field(default=None, repr=False)

    def environment(self) -> dict[str, str]:
        return {
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.redis_url,
            "CELERY_BROKER_URL": self.broker_url,
        }

    def stop(self) -> None:
        """Stops the embedded ones; safe to call again."""
        _stop(self.redis, self.postgres)
        if self.lock is not None:
            self.lock.release()

    def __enter__(self) -> Services:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def start(
    home: Path,
    environ: Mapping[str, str] = os.environ,
    tell: Callable[[str], None] = lambda line: None,
    *,
    lock: homes.InstanceLock | None = None,
) -> Services:
    """Starts what the environment does not provide, both at once. `tell` hears a line for each thing that happens.

    Holds the data directory's lock until it stops, unless the caller gives the lock that it holds itself.
    Raises EmbeddedError; then nothing is left running.
    """
    homes.prepare(home)
    own = None
    if lock is None:
        own = homes.InstanceLock(home)
        own.acquire()
    database_url = environ.get("DATABASE_URL")
    redis_url = environ.get("REDIS_URL")
    postgres: Postgres | None = None
    redis: Redis | None = None
    began = time.monotonic()
    try:
        if redis_url is None:
            tell("Starting Redis …")
            redis = Redis(home)
            redis.launch()
        if database_url is None:
            postgres = Postgres(home, tell)
            fresh = not postgres.data.exists()
            tell("Starting Postgres on a new database …" if fresh else "Starting Postgres …")
            postgres.launch()
        if redis is not None:
            redis.await_ready()
            tell(f"Redis ready in {time.monotonic() - began:.1f} s")
        if postgres is not None:
            postgres.await_ready()
            tell(f"Postgres ready in {time.monotonic() - began:.1f} s")
    except BaseException:
        _stop(redis, postgres)
        if own is not None:
            own.release()
        raise
    broker_url = environ.get("CELERY_BROKER_URL") or (redis.broker_url if redis is not None else redis_url)
    return Services(
        database_url=database_url or (postgres.url if postgres is not None else ""),
        redis_url=redis_url or (redis.url if redis is not None else ""),
        broker_url=broker_url or "",
        postgres=postgres,
        redis=redis,
        lock=own,
    )


def _stop(redis: Redis | None, postgres: Postgres | None) -> None:
    """Both, also when the first cannot be stopped."""
    try:
        if redis is not None:
            redis.stop()
    finally:
        if postgres is not None:
            postgres.stop()


@contextmanager
def running(home: Path, environ: Mapping[str, str] = os.environ) -> Iterator[Services]:
    """The services for the length of a `with` block."""
    with start(home, environ) as services:
        yield services
