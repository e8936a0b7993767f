"""A conversation in a process of its own: what it may reach, and what becomes of one that exceeds its limits."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.agents import Crash, MemoryJournal, MemoryTools, environment, run_agent
from tests.support.waiting import eventually
from worker.agent import child, nursery
from worker.agent.child import work_in_child
from worker.agent.journal import AgentTask, Refused

BLOB = f"sha256:{'1' * 64}"
TURNS: list[dict[str, Any]] = [
    {"text": "I look.", "tool": "read_blob", "args": {"hash": BLOB}},
    {"expect": ["seven rows"], "tool": "workflow_pay", "args": {"inputs": {"n": 7}}},
    {"text": "Seven."},
]
CONFIG = {"tools": ["read_blob", {"type": "workflow", "name": "pay"}]}


def test_a_conversation_reaches_the_control_plane_through_its_parent_and_is_resumed() -> None:
    tools = MemoryTools()
    tools.blobs[BLOB] = b"seven rows"
    first = run_agent(TURNS, CONFIG, tools=tools, in_child=True, journal=MemoryJournal(crash_at=5))
    assert isinstance(first.error, Crash)
    again = run_agent(TURNS, CONFIG, tools=tools, in_child=True, journal=first.journal.resumed())
    assert again.output == "Seven.", again.error
    assert tools.effects == {"r1:think:4": {"n": 7}}
    assert "".join(again.journal.texts) == "Seven."
    assert again.asked == 2


def test_its_errors_are_those_of_the_loop() -> None:
    journal = MemoryJournal(refuse=lambda step: Refused("agent_stopped", "Stopped.", None, "Wait."))
    found = run_agent(TURNS, CONFIG, in_child=True, journal=journal)
    assert (found.error.code, found.error.transient, found.error.hint) == ("agent_stopped", True, "Wait.")


@pytest.mark.parametrize("limit", [{"AOB_AGENT_MEMORY": str(64 * 1024**2)}, {"AOB_AGENT_CPU": "1"}])
def test_one_that_exceeds_its_limits_is_tried_again_later(limit: dict[str, str]) -> None:
    with environment(**limit):
        found = run_agent([{"text": "x", "stream": "endless"}], in_child=True)
    assert (found.error.code, found.error.transient) == ("agent_crashed", True)


def test_it_gets_the_variables_of_its_own_providers_only() -> None:
    task = AgentTask("r", "n", 1, {"model": ["openai:x", "my-own:y"]}, {}, {})
    secrets = {"OPENAI_API_KEY": "1", "ANTHROPIC_API_KEY": "2", "AOB_LLM_MY_OWN_KEY": "3", "DATABASE_URL": "4"}
    with environment(**secrets):
        passed = child.environment_of(task)
    assert {name for name in secrets if name in passed} == {"OPENAI_API_KEY", "AOB_LLM_MY_OWN_KEY"}


def test_its_parent_stays_small() -> None:
    code = "import sys, worker.agent.child; print([m for m in ('pydantic_ai', 'openai', 'django') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_a_control_plane_that_is_away_is_no_crash_of_the_child() -> None:
    class Away(MemoryJournal):
        async def begin(self, step: Any) -> None:
            raise ConnectionResetError("away")

    assert isinstance(run_agent(TURNS, CONFIG, in_child=True, journal=Away()).error, ConnectionResetError)


def test_a_nursery_that_was_killed_is_replaced() -> None:
    assert run_agent([{"text": "One."}], in_child=True).output == "One."
    assert nursery._current is not None
    nursery._current.process.kill()
    nursery._current.process.wait()
    assert run_agent([{"text": "Two."}], in_child=True).output == "Two."


def test_it_ends_when_nobody_waits_for_it() -> None:
    class Waiting(MemoryJournal):
        async def begin(self, step: Any) -> None:
            asked.set()
            await asyncio.sleep(60)

    async def run() -> None:
        work = asyncio.create_task(
            work_in_child(AgentTask("r", "n", 1, {"model": "openai:x", "prompt": "?"}, {}, {}), Waiting(), MemoryTools())
        )
        await asyncio.wait_for(asked.wait(), 30)
        pids.extend(_children())
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work

    asked = asyncio.Event()
    pids: list[int] = []
    with environment():
        asyncio.run(run())
    assert pids
    eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


def _children() -> list[int]:
    """Conversations: the children of the nursery."""
    assert nursery._current is not None
    file = Path(f"/proc/{nursery._current.process.pid}/task/{nursery._current.process.pid}/children")
    return [int(pid) for pid in file.read_text().split()]
