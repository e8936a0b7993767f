"""Postgres and Redis together: the embedded ones, or those that the environment names."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from embedded import home as homes
from embedded.postgres import Postgres
from embedded.redis import Redis


@dataclass(frozen=True)
class Services:
    """Where the services answer; `postgres` and `redis` are None when they are external."""

    database_url: str
    redis_url: str
    broker_url: str
    postgres: Postgres | None
    redis: Redis | None

    def environment(self) -> dict[str, str]:
        return {
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.redis_url,
            "CELERY_BROKER_URL": self.broker_url,
        }

    def stop(self) -> None:
        if self.redis is not None:
            self.redis.stop()
        if self.postgres is not None:
            self.postgres.stop()


def start(
    home: Path, environ: Mapping[str, str] = os.environ, tell: Callable[[str], None] = lambda name: None
) -> Services:
    """Starts what the environment does not provide. `tell` hears the name of each service before it starts."""
    homes.prepare(home)
    database_url = environ.get("DATABASE_URL")
    redis_url = environ.get("REDIS_URL")
    broker_url = environ.get("CELERY_BROKER_URL")
    postgres = redis = None
    if database_url is None:
        tell("Postgres")
        postgres = Postgres(home)
        postgres.start()
        database_url = postgres.url
    if redis_url is None or broker_url is None:
        if redis_url is None:
            tell("Redis")
            redis = Redis(home)
            try:
                redis.start()
            except homes.EmbeddedError:
                if postgres is not None:
                    postgres.stop()
                raise
            redis_url, broker_url = redis.url, broker_url or redis.broker_url
        broker_url = broker_url or redis_url
    return Services(database_url, redis_url, broker_url, postgres, redis)


@contextmanager
def running(home: Path, environ: Mapping[str, str] = os.environ) -> Iterator[Services]:
    """The services for the length of a `with` block."""
    services = start(home, environ)
    try:
        yield services
    finally:
        services.stop()
