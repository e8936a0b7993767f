"""Calls that people allow before they are made: asked once, made only then, and the model hears of a refusal."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.agents import Crash, MemoryJournal, MemoryTools, run_agent, seen
from tests.support.servers import HttpServer
from worker.agent.journal import Refused
from worker.agent.scripted import Provider

PAY: list[dict[str, Any]] = [{"tool": "workflow_pay", "args": {"inputs": {"n": 1}}}, {"text": "Well."}]
CONFIG = {"tools": [{"type": "workflow", "name": "pay"}, "ask_human"], "consent": ["workflow:pay"]}
REJECTED = {"answer": "reject", "by": "anna", "reason": "Too much {{ run.id }}."}


def test_a_call_is_made_after_people_allowed_exactly_it() -> None:
    found = run_agent(PAY, CONFIG)
    assert found.output == "Well."
    assert found.tools.calls == [("consent", "r1:think:2"), ("workflow", "r1:think:3")]
    assert found.tools.effects["r1:think:2"] == {"tool": "workflow:pay", "args": {"inputs": {"n": 1}}}


def test_a_rejected_call_is_not_made_and_the_model_hears_why() -> None:
    tools = MemoryTools()
    tools.answer = REJECTED
    turns = [PAY[0], {"expect": ["consent_refused", "Too much {{ run.id }}."], "text": "Then not."}]
    found = run_agent(turns, CONFIG, tools=tools)
    assert found.output == "Then not.", found.error
    assert [what for what, _ in tools.calls] == ["consent"]


@pytest.mark.parametrize("answer", [{"answer": "reject", "by": None, "reason": None}, {"answer": "timed_out"}])
def test_only_a_yes_is_a_yes(answer: dict[str, Any]) -> None:
    tools = MemoryTools()
    tools.answer = answer
    assert run_agent(PAY, CONFIG, tools=tools).output == "Well."
    assert [what for what, _ in tools.calls] == ["consent"]


@pytest.mark.parametrize("code", ["capability_missing", "document_invalid"])
def test_who_cannot_be_asked_has_not_allowed_it(code: str) -> None:
    tools = MemoryTools()
    tools.refusal = Refused(code, "Nobody to ask.")
    found = run_agent([PAY[0], {"expect": ["Nobody to ask."], "text": "Then not."}], CONFIG, tools=tools)
    assert found.output == "Then not.", found.error
    assert [what for what, _ in tools.calls] == ["consent"]


@pytest.mark.parametrize(
    ("consent", "is_asked"),
    [(None, False), ([], False), (["http"], True), ("all", True), (["read_blob"], False), (["workflow"], False)],
)
def test_only_what_is_named_is_asked_for(consent: Any, is_asked: bool) -> None:
    with HttpServer() as server:
        tools = ["read_blob", {"type": "http", "hosts": ["127.0.0.1"]}, {"type": "workflow", "name": "pay"}]
        config = {"tools": tools, **({} if consent is None else {"consent": consent})}
        turns = [{"tool": "http", "args": {"method": "GET", "url": server.url}}, {"text": "Done."}]
        found = run_agent(turns, config)
        assert len(server.requests) == 1
    assert [what for what, _ in found.tools.calls] == (["consent"] if is_asked else [])


def test_what_asks_by_itself_is_not_asked_for_twice() -> None:
    turns = [{"tool": "ask_human", "args": {"question": "May I?"}}, {"text": "Done."}]
    found = run_agent(turns, {"tools": ["ask_human"], "consent": "all"})
    assert [what for what, _ in found.tools.calls] == ["human"]


def test_nobody_is_asked_about_nonsense() -> None:
    found = run_agent([{"tool": "workflow_pay", "args": '{"inputs": 1}'}, {"text": "Sorry."}], CONFIG)
    assert found.output == "Sorry." and found.tools.calls == []


def test_the_model_cannot_allow_its_own_calls() -> None:
    turns = [{"tool": "ask_consent", "args": {"tool": "workflow:pay", "args": {}}}, {"text": "No."}]
    found = run_agent(turns, CONFIG)
    assert found.tools.calls == []
    assert "ask_consent" not in [tool["name"] for tool in json.loads(seen(found))["tools"]]


@pytest.mark.parametrize("crash_at", range(1, 9))
def test_a_crash_asks_nobody_twice(crash_at: int) -> None:
    provider, tools = Provider({"conversations": {"m": PAY}}), MemoryTools()
    first = run_agent(PAY, CONFIG, journal=MemoryJournal(crash_at=crash_at), tools=tools, provider=provider)
    assert isinstance(first.error, Crash)
    again = run_agent(PAY, CONFIG, journal=first.journal.resumed(), tools=tools, provider=provider)
    assert again.output == "Well.", again.error
    assert list(tools.effects) == ["r1:think:2", "r1:think:3"]


def test_a_rejection_is_replayed() -> None:
    tools = MemoryTools()
    tools.answer = REJECTED
    first = run_agent(PAY, CONFIG, tools=tools, journal=MemoryJournal(crash_at=5))
    assert isinstance(first.error, Crash)
    again = run_agent(PAY, CONFIG, journal=first.journal.resumed())
    assert again.output == "Well." and again.tools.calls == []


def test_all_of_it_in_a_process_of_its_own() -> None:
    found = run_agent(PAY, CONFIG, in_child=True)
    assert found.output == "Well.", found.error
    assert [what for what, _ in found.tools.calls] == ["consent", "workflow"]
