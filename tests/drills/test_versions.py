"""Two versions of AOB at once: what only the newer one knows is left to it, and a migration holds up nobody (F33)."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psycopg
import pytest

from runs import db, queries, services
from runs.coordinator import Advancer
from runs.errors import Unavailable
from runs.irs import _strange, ir_of
from tests.drills.conftest import Recovery
from tests.support.installation import ROOT, Installation
from tests.support.servers import HttpServer
from tests.support.waiting import eventually
from worker.executors import executors
from worker.runner import Runner
from workflows.nodes import builtin
from workflows.nodes.registry import NodeType, Outcome, config_object, node_types
from workflows.services import push

PURE = NodeType(
    name="shout", kind="pure", title="", help="", icon="", category="", output_schema={},
    config_schema=config_object({}), run=lambda resolver: Outcome("HELLO"),
)  # fmt: skip
EFFECT = NodeType(
    name="ring", kind="effect", title="", help="", icon="", category="", output_schema={}, config_schema=config_object({})
)


@contextmanager
def newer() -> Iterator[None]:
    """The process of a newer AOB, which knows two node types more."""

    async def ring(config: Any, context: Any) -> str:
        return "rung"

    def forget() -> None:
        node_types.cache_clear()
        ir_of.cache_clear()
        _strange.clear()

    with (
        patch.object(builtin, "NODE_TYPES", (*builtin.NODE_TYPES, PURE, EFFECT)),
        patch.dict(executors(), {"ring": ring}),
    ):
        forget()
        try:
            yield
        finally:
            forget()
    forget()


def started(document: dict[str, Any]) -> str:
    """Accepted by the newer one; its coordinator has not come to it."""
    [outcome] = services.start_many([services.StartRequest({"name": "two", **document}, {})], run_ahead=False)
    assert isinstance(outcome, services.Started), outcome
    return outcome.id


def row_of(run: str) -> Any:
    with db.transaction() as cursor:
        return cursor.execute("SELECT status, last_seq FROM run WHERE id = %s", [run]).fetchone()


def facts_of(run: str) -> list[str]:
    with db.transaction() as cursor:
        return [row[0] for row in cursor.execute("SELECT type FROM run_inbox WHERE run_id = %s", [run])]


def plain(name: str) -> dict[str, Any]:
    return {"nodes": {name: {"type": "transform", "config": {"output": 1}}}}


def test_an_old_coordinator_leaves_runs_of_newer_types_alone_and_does_the_others(database: None) -> None:
    with newer():
        strange = started({"nodes": {"a": {"type": "shout"}}})
    usual = started(plain("a"))
    old = Advancer()
    eventually(lambda: old.ready() and queries.run(usual)["ended_at"])
    assert row_of(strange) == ("running", 1) and old.resting
    with newer():
        new = Advancer()
        eventually(lambda: new.ready() and queries.run(strange)["ended_at"])
        assert queries.run(strange)["output"] == {"a": "HELLO"}


def test_an_old_front_refuses_for_now_what_only_a_newer_one_can_start(database: None) -> None:
    with newer():
        push({"name": "two", "nodes": {"a": {"type": "shout"}}})
    [outcome] = services.start_many([services.StartRequest("two", {})])
    assert isinstance(outcome, Unavailable) and outcome.code == "version_not_understood"


def test_an_old_worker_leaves_newer_tasks_and_hands_on_results_of_runs_that_it_cannot_follow(database: None) -> None:
    with HttpServer() as server, newer():
        call = {"type": "http", "config": {"method": "GET", "url": server.url}}
        run = started({"nodes": {"a": call, "b": {"type": "ring"}}, "edges": {"1": {"from": "a", "to": "b"}}})
        new = Advancer()
        eventually(lambda: new.ready() and queries.run(run)["status"] == "running")
        recent = Runner("runner")
        for forget in (node_types.cache_clear, ir_of.cache_clear):
            forget()
        with patch.object(builtin, "NODE_TYPES", tuple(one for one in builtin.NODE_TYPES if one not in (PURE, EFFECT))):
            worker = Runner("runner")
            assert "ring" not in worker._types and "ring" in recent._types
            worker.start()
            try:
                eventually(lambda: len(server.requests) == 1)
                eventually(lambda: facts_of(run) == ["TaskCompleted"])
            finally:
                worker.stop()
        for forget in (node_types.cache_clear, ir_of.cache_clear, _strange.clear):
            forget()
        eventually(lambda: new.ready() and not facts_of(run))
        recent.start()
        try:
            eventually(lambda: queries.run(run)["ended_at"])
        finally:
            recent.stop()
        assert queries.run(run)["output"] == {"b": "rung"} and len(server.requests) == 1


@pytest.mark.timeout(100)
def test_a_migration_that_meets_a_long_transaction_holds_up_nobody(tmp_path: Path, recovery: Recovery) -> None:
    with Installation(tmp_path / "home") as aob:
        url = json.loads((aob.home / "run" / "runtime.json").read_text())["database_url"]
        [coordinator] = aob.children("aob_web.processes coordinator")
        environment = dict(
            part.split("=", 1) for part in Path(f"/proc/{coordinator}/environ").read_text().split("\0") if "=" in part
        )
        with psycopg.connect(url, autocommit=True) as other:
            # As it was before the migration that changes a table which everybody uses.
            other.execute("ALTER TABLE task DROP COLUMN losses")
            other.execute("ALTER TABLE blob_use DROP COLUMN readable")
            other.execute("DROP TABLE run_patch, agent_spend, agent_use, agent_switch, ticket, ticket_message")
            other.execute("DROP TABLE blob_part")
            other.execute(
                "DELETE FROM django_migrations WHERE app = 'runs' AND name >= '0004_task_losses' OR app = 'console'"
            )
        with psycopg.connect(url) as long:
            long.execute("SELECT count(*) FROM task").fetchone()
            lines: list[str] = []
            command = [sys.executable, "-m", "aob_web.setup"]
            with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as setup:
                assert setup.stdout is not None
                reader = threading.Thread(target=lambda: lines.extend(setup.stdout or []), daemon=True)
                reader.start()
                eventually(lambda: any("waiting" in line for line in lines))
                slowest = 0.0
                for _ in range(8):
                    began = time.monotonic()
                    with psycopg.connect(url, autocommit=True) as other:
                        other.execute("SELECT count(*) FROM task").fetchone()
                    slowest = max(slowest, time.monotonic() - began)
                long.rollback()
                released = time.monotonic()
                assert setup.wait(30) == 0
                recovery("F33", "a migration after a long transaction ended", time.monotonic() - released)
        assert slowest < 2.5
        with psycopg.connect(url) as other:
            other.execute("SELECT losses FROM task LIMIT 1")
