"""Agents while their provider fails, their runner dies, and their token is taken away (hazards F31, F32, I16)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.accounts import token_of
from tests.support.checker import violations
from tests.support.installation import Installation
from tests.support.providers import FAULTS, BadLine, ScriptedProvider, has_steps, log_of, outside_runner, verified
from tests.support.servers import HttpServer
from tests.support.waiting import eventually

ORDERS = 3
CALLS = ORDERS + 1
STEPS = ORDERS + CALLS


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScriptedProvider]:
    provider = ScriptedProvider(Path(tmp_path_factory.mktemp("script")))
    yield provider
    provider.stop()


@pytest.fixture(scope="module")
def line(provider: ScriptedProvider) -> Iterator[BadLine]:
    with BadLine() as line:
        line.target = provider.url
        yield line


@pytest.fixture(scope="module")
def where(line: BadLine) -> dict[str, str]:
    return {
        "AOB_LLM_ACME_URL": f"{line.url}/v1",
        "ANTHROPIC_BASE_URL": line.url,
        "ANTHROPIC_API_KEY": "none",
        "AOB_HTTP_ALLOW": "127.0.0.1",
    }


@pytest.fixture(scope="module")
def aob(where: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Without a runner of its own: each test has those that it hurts."""
    home = Path(tmp_path_factory.mktemp("faults")) / "home"
    with Installation(home, AOB_LEASE_SECONDS="2", AOB_AGENT_SLOTS="0", **where) as made:
        yield made


@pytest.fixture(autouse=True)
def sound(aob: Installation) -> Iterator[None]:
    yield
    with database(aob) as connection:
        assert violations(connection) == []


def database(aob: Installation) -> psycopg.Connection[Any]:
    runtime = json.loads((aob.home / "run" / "runtime.json").read_text())
    return psycopg.connect(runtime["database_url"], autocommit=True)


def begin(aob: Installation, provider: ScriptedProvider, server: HttpServer, model: str = "acme:talk") -> str:
    """A run whose agent makes three orders, one after the other, and then says so."""
    call = {"tool": "http", "args": {"method": "POST", "url": f"{server.url}/order", "json": {"n": 1}}}
    provider.play(talk=[*[call] * ORDERS, {"text": "three orders"}])
    config = {
        "model": model,
        "prompt": "Order.",
        "tools": [{"type": "http", "hosts": [server.url.removeprefix("http://")], "methods": ["POST"]}],
    }
    agent = {"type": "agent", "config": config, "retry": {"schedule": ["100ms", "100ms"], "on": "any"}}
    status, view = aob.request("POST", "/api/v1/runs", {"workflow": {"name": "orders", "nodes": {"agent": agent}}})
    assert status == 201, view
    return str(view["id"])


def orders(server: HttpServer) -> int:
    """How many orders were made, whatever was sent again under its key."""
    return len({request["headers"]["idempotency-key"] for request in server.requests})


@pytest.mark.parametrize(
    ("model", "fault"),
    [*(("acme:talk", fault) for fault in FAULTS), *(("anthropic:talk", fault) for fault in ("half", "late", "doubled"))],
)
def test_a_provider_that_fails_in_the_middle(
    aob: Installation, provider: ScriptedProvider, line: BadLine, where: dict[str, str], model: str, fault: str
) -> None:
    with HttpServer() as server:
        run = begin(aob, provider, server, model)
        line.faults, line.answered = [None, fault], 0
        with outside_runner(aob, where) as runner:
            view = aob.ended(run)
            runner.terminate()
            assert runner.wait(30) == 0
        assert view["status"] == "completed" and view["output"] == {"agent": "three orders"}, view
        # A call whose arguments nobody could read was not made; all others once.
        unread = fault in ("malformed", "doubled")
        assert len(server.requests) in (ORDERS - unread, ORDERS) and orders(server) == len(server.requests), fault
        assert line.answered <= CALLS + 1, "one call more than needed was paid"
        verified(aob, run)


@pytest.mark.timeout(400)
def test_a_runner_that_is_killed_between_every_two_steps(
    aob: Installation, provider: ScriptedProvider, line: BadLine, where: dict[str, str]
) -> None:
    with HttpServer(delay=0.2) as server:
        run = begin(aob, provider, server)
        line.faults, line.answered = [], 0
        for ended in range(1, STEPS):
            with outside_runner(aob, where):
                eventually(partial(has_steps, aob, run, ended), seconds=60, every=0.01)
        with outside_runner(aob, where):
            view = aob.ended(run)
        assert view["output"] == {"agent": "three orders"}, view
        assert orders(server) == ORDERS
        begun = [step for step in log_of(aob, run, "AgentStepStarted") if step["data"]["kind"] == "model"]
        assert CALLS <= line.answered <= len(begun)
        numbers = [step["data"]["step"] for step in begun]
        assert all(numbers.count(number) <= 2 for number in numbers), "a step was begun once more than needed, no more"
        verified(aob, run)


def test_a_token_that_is_revoked_in_the_middle(
    aob: Installation, provider: ScriptedProvider, line: BadLine, where: dict[str, str]
) -> None:
    """The runner that had it does nothing more; another one goes on where it was."""
    with HttpServer(delay=0.3) as server:
        run = begin(aob, provider, server)
        line.faults, line.answered = [], 0
        first, second = token_of(aob, "agent"), token_of(aob, "agent")
        with outside_runner(aob, where, first) as stopped:
            eventually(partial(has_steps, aob, run, 2), seconds=60, every=0.01)
            with database(aob) as connection:
                digest = hashlib.sha256(first.encode()).hexdigest()
                connection.execute("UPDATE api_token SET revoked_at = now() WHERE digest = %s", [digest])
            done = len(log_of(aob, run, "AgentStepStarted"))
            eventually(lambda: len(log_of(aob, run, "TaskLost")) == 1, seconds=60, every=0.1)
            assert len(log_of(aob, run, "AgentStepStarted")) <= done + 1
            assert aob.request("GET", f"/api/v1/runs/{run}")[1]["status"] == "running"
            with outside_runner(aob, where, second) as going_on:
                assert aob.ended(run)["output"] == {"agent": "three orders"}
                for runner in (stopped, going_on):
                    runner.terminate()
                    assert runner.wait(30) == 0
        assert orders(server) == ORDERS
        assert line.answered <= CALLS + 1
        verified(aob, run)
