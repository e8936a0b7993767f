"""Leases and doorbells: tasks live in Postgres; Celery messages only say which to look at (hazards P1-P9).

A message carries a batch of task ids and nothing else. Losing, doubling or forging one changes nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from django.conf import settings

from runs import db
from runs.core.events import MAX_LOSSES
from runs.leases import Leased

if TYPE_CHECKING:
    from celery import Celery

EXECUTE = "aob.execute"
AGENT_PLANE = "agent"
PRIORITY_NAMES = ("high", "medium", "low")
BATCH = 200
RING_AGAIN_SECONDS = 10.0

_log = logging.getLogger(__name__)
_quiet_until = 0.0


@cache
def celery_app() -> Celery:
    """The Celery application: JSON only, no results, no remote control, no time-outs that redeliver.

    Loaded with the first doorbell: a process that rings none stays 25 MiB smaller.
    """
    from celery import Celery

    app = Celery("aob", broker=settings.CELERY_BROKER_URL, fixups=[])
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        result_backend=None,
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        task_send_sent_event=False,
        task_acks_late=False,
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        task_default_queue="node.jobs.medium",
        task_create_missing_queues=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "socket_timeout": 15,
            "socket_connect_timeout": 3,
            "retry_on_timeout": True,
            "health_check_interval": 10,
        },
    )
    return app


def queue_name(priority: int) -> str:
    """`node.jobs.high|medium|low`."""
    return f"node.jobs.{PRIORITY_NAMES[priority]}"


def ring_ids(batches: dict[tuple[str, int], list[int]]) -> None:
    """Sends doorbells for tasks that are committed already; a broker that is away loses nothing."""
    global _quiet_until
    if not batches:
        return
    from kombu.exceptions import KombuError

    for (plane, priority), ids in batches.items():
        if plane == AGENT_PLANE:
            # Runners of agents ask by HTTP, from wherever they are.
            continue
        for start in range(0, len(ids), BATCH):
            if time.monotonic() < _quiet_until:
                return
            try:
                celery_app().send_task(
                    EXECUTE, args=[ids[start : start + BATCH]], queue=queue_name(priority), retry=False
                )
            except (KombuError, OSError) as error:
                _quiet_until = time.monotonic() + 1
                _log.warning("The broker does not take doorbells: %s", error)


def lease(*, worker: str, plane: str, types: Sequence[str], limit: int, ids: Sequence[int] | None = None) -> list[Leased]:
    """Leases up to `limit` free tasks of a plane and of these node types, the most urgent first."""
    with db.statement() as cursor:
        cursor.execute(
            db.sql("lease_tasks"),
            {
                "worker": worker,
                "plane": plane,
                "types": list(types),
                "limit": limit,
                "ids": None if ids is None else list(ids),
                "seconds": settings.AOB_LEASE_SECONDS,
                "suspect": MAX_LOSSES - 1,
            },
        )
        return [Leased(*row) for row in cursor]


def lease_again(*, worker: str, held: Sequence[int]) -> list[Leased]:
    """Leases what this worker has in the table and does not know of: an answer to it was lost."""
    with db.statement() as cursor:
        cursor.execute(
            db.sql("lease_again"), {"worker": worker, "held": list(held), "seconds": settings.AOB_LEASE_SECONDS}
        )
        return [Leased(*row) for row in cursor]


def release(task: Leased) -> None:
    """Gives a task back that was not begun; others may lease it at once."""
    with db.statement() as cursor:
        cursor.execute(
            "UPDATE task SET lease_until = NULL, lease_token = NULL, leased_at = NULL, worker = NULL"
            " WHERE id = %s AND lease_token = %s",
            [task.id, task.token],
        )


def renew(tasks: Sequence[Leased]) -> set[int]:
    """Heartbeat: the ids of the tasks whose leases still hold."""
    with db.statement() as cursor:
        cursor.execute(
            db.sql("renew_leases"),
            {
                "ids": [task.id for task in tasks],
                "tokens": [task.token for task in tasks],
                "seconds": settings.AOB_LEASE_SECONDS,
            },
        )
        return {row[0] for row in cursor}
