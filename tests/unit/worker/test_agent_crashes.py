"""A resumed agent goes on where it was (hazards F32, I16): at most one call more per crash, every effect once."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.agents import Crash, MemoryJournal, MemoryTools, run_agent
from worker.agent.journal import Refused
from worker.agent.scripted import Provider

CONFIG = {"tools": [{"type": "workflow", "name": "pay"}], "output_schema": {"type": "object"}}
TURNS: list[dict[str, Any]] = [
    {"text": "First.", "tool": "workflow_pay", "args": {"inputs": {"n": 1}}},
    {"tools": [{"tool": "workflow_pay", "args": {"inputs": {"n": n}}} for n in (2, 3)]},
    {"tool": "final_result", "args": {"paid": 3, "sum": 1.0}},
]
STEPS = 6


@pytest.mark.parametrize("model", ["openai:m", "anthropic:m"])
@pytest.mark.parametrize("crash_at", range(1, 2 * STEPS + 1))
def test_a_crash_after_every_commit(model: str, crash_at: int) -> None:
    config = {**CONFIG, "model": model}
    provider, tools = Provider({"conversations": {"m": TURNS}}), MemoryTools()
    first = run_agent(TURNS, config, journal=MemoryJournal(crash_at=crash_at), tools=tools, provider=provider)
    assert isinstance(first.error, Crash)
    again = run_agent(TURNS, config, journal=first.journal.resumed(), tools=tools, provider=provider)
    assert again.error is None
    assert again.output == {"paid": 3, "sum": 1}
    assert list(tools.effects) == [f"r1:think:{number}" for number in (2, 4, 5)]
    assert [step.number for step in again.journal.steps] == list(range(1, STEPS + 1))
    assert len(provider.requests) <= 3 + 1


def test_a_crash_between_the_effect_and_its_end_repeats_it_under_the_same_key() -> None:
    provider, tools = Provider({"conversations": {"m": TURNS}}), MemoryTools()

    def crash() -> None:
        raise Crash

    tools.on_effect = crash
    first = run_agent(TURNS, CONFIG, tools=tools, provider=provider)
    assert isinstance(first.error, Crash)
    tools.on_effect = lambda: None
    again = run_agent(TURNS, CONFIG, journal=first.journal.resumed(), tools=tools, provider=provider)
    assert again.output == {"paid": 3, "sum": 1}
    assert [key for _, key in tools.calls] == ["r1:think:2", "r1:think:2", "r1:think:4", "r1:think:5"]
    assert len(tools.effects) == 3
    assert len(provider.requests) == 3


def test_crashes_at_every_commit_one_after_the_other() -> None:
    provider, tools, journal = Provider({"conversations": {"m": TURNS}}), MemoryTools(), MemoryJournal(crash_at=2)
    attempts = 0
    while True:
        attempts += 1
        found = run_agent(TURNS, CONFIG, journal=journal, tools=tools, provider=provider)
        if not isinstance(found.error, Crash):
            break
        journal = found.journal.resumed(crash_at=2)
    assert found.output == {"paid": 3, "sum": 1}
    assert len(provider.requests) == 3
    assert len(tools.effects) == 3
    assert attempts == STEPS + 1


def test_a_finished_conversation_is_replayed_without_any_network() -> None:
    first = run_agent(TURNS, CONFIG)
    nobody = Provider({"conversations": {}})
    again = run_agent(TURNS, CONFIG, journal=first.journal.resumed(), tools=MemoryTools(), provider=nobody)
    assert again.output == first.output
    assert (nobody.requests, again.tools.calls, again.journal.texts) == ([], [], [])


def test_failures_are_replayed_too() -> None:
    script = {"bad": [{"status": 400}], "good": [{"tool": "workflow_pay", "args": {"x": 1}}, {"text": "So be it."}]}
    config = {"model": ["scripted:bad", "scripted:good"], "tools": CONFIG["tools"]}
    first = run_agent(script, config)
    assert first.output == "So be it."
    again = run_agent(script, config, journal=first.journal.resumed())
    assert again.output == "So be it."
    assert again.asked == 0


@pytest.mark.parametrize(
    "change", [{"prompt": "Another."}, {"model": "scripted:other"}, {"temperature": 1}, {"tools": []}]
)
def test_a_different_question_is_never_asked_silently(change: dict[str, Any]) -> None:
    first = run_agent(TURNS, CONFIG, journal=MemoryJournal(crash_at=4))
    again = run_agent(TURNS, {**CONFIG, **change}, journal=first.journal.resumed())
    assert again.error.code == "agent_nondeterministic"
    assert again.asked == 0


def test_a_key_of_another_run_is_not_replayed() -> None:
    first = run_agent(TURNS, CONFIG, journal=MemoryJournal(crash_at=4))
    journal = first.journal.resumed()
    journal.past[1].what["key"] = "other:think:2"
    assert run_agent(TURNS, CONFIG, journal=journal).error.code == "agent_nondeterministic"


def test_a_call_that_had_begun_is_begun_again_and_may_be_refused() -> None:
    first = run_agent(TURNS, CONFIG, journal=MemoryJournal(crash_at=1))
    journal = first.journal.resumed()
    journal._refuse = lambda step: Refused("budget_exhausted", "No more.")
    again = run_agent(TURNS, CONFIG, journal=journal)
    assert (again.error.code, again.asked) == ("agent_budget", 0)


def test_resuming_costs_none_of_what_is_left() -> None:
    first = run_agent(TURNS, CONFIG, journal=MemoryJournal(crash_at=10))
    assert isinstance(first.error, Crash)
    again = run_agent(TURNS, CONFIG, journal=first.journal.resumed(), budget={"steps": 1})
    assert again.output == {"paid": 3, "sum": 1}


@pytest.mark.parametrize("tool", ["workflow_pay", "ghost"])
def test_a_refused_call_has_no_step_and_is_replayed_from_what_was_told(tool: str) -> None:
    calls = [{"tool": "workflow_pay", "args": {"inputs": {"n": 1}}}, {"tool": tool, "args": {"inputs": {"n": 2}}}]
    turns: list[dict[str, Any]] = [{"tools": calls}, {"tools": list(reversed(calls))}, {"text": "So be it."}]

    def refuse(step: Any) -> Refused | None:
        is_second = step.kind == "tool" and step.what["args"] == {"inputs": {"n": 2}}
        return Refused("capability", "Not this one.") if is_second else None

    config = {"tools": CONFIG["tools"]}
    whole = run_agent(turns, config, journal=MemoryJournal(refuse=refuse))
    assert whole.output == "So be it.", whole.error
    assert [step.kind for step in whole.journal.steps] == ["model", "tool", "model", "tool", "model"]
    for crash_at in range(1, 11):
        provider, tools = Provider({"conversations": {"m": turns}}), MemoryTools()
        first = run_agent(
            turns, config, journal=MemoryJournal(crash_at=crash_at, refuse=refuse), tools=tools, provider=provider
        )
        assert isinstance(first.error, Crash)
        journal = first.journal.resumed()
        journal._refuse = refuse
        again = run_agent(turns, config, journal=journal, tools=tools, provider=provider)
        assert again.output == "So be it.", (crash_at, again.error)
        assert len(provider.requests) <= 4
        assert len(tools.effects) == 2


@pytest.mark.parametrize("status", [500, 429])
def test_another_attempt_asks_again_what_failed_and_only_that(status: int) -> None:
    failing = [TURNS[0], {"status": status}]
    tools = MemoryTools()
    first = run_agent(failing, CONFIG, tools=tools)
    assert (first.error.code, first.error.transient) == ("agent_provider", True)
    second = run_agent(failing, CONFIG, tools=tools, journal=first.journal.resumed())
    assert second.error.transient and second.asked == 3, "the wire tries it three times, and nothing else is asked"
    third = run_agent(TURNS, CONFIG, tools=tools, journal=second.journal.resumed())
    assert third.output == {"paid": 3, "sum": 1}, third.error
    assert third.asked == 2
    assert [key for _, key in tools.calls] == ["r1:think:2", "r1:think:6", "r1:think:7"]
    again = run_agent([], CONFIG, journal=third.journal.resumed())
    assert again.output == third.output and again.asked == 0


def test_a_failure_that_another_attempt_would_meet_again_is_not_asked_again() -> None:
    first = run_agent([{"status": 400}], CONFIG)
    assert not first.error.transient
    again = run_agent(TURNS, CONFIG, journal=first.journal.resumed())
    assert again.error.code == "agent_provider" and again.asked == 0
