"""The checker of I16 finds what it is there for."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.spending import wrong, wrong_together

AGENT = {"type": "agent", "config": {"model": "a:b", "prompt": "?", "budget": {"tokens": 100, "steps": 3}}}
EACH = {"type": "map", "config": {"items": "[1]", "body": {"nodes": {"think": AGENT}}}}
DOCUMENT = {"name": "x", "nodes": {"think": AGENT, "each": EACH}, "limits": {"agents": {"tokens": 150, "cost": 0.5}}}


def begun(node: str, step: int, tokens: int = 50) -> tuple[str, str, dict[str, Any]]:
    return "AgentStepStarted", node, {"step": step, "kind": "model", "reserved": {"tokens": tokens}}


def ended(node: str, step: int, tokens: int = 10, cost: int = 0) -> tuple[str, str, dict[str, Any]]:
    return "AgentStepEnded", node, {"step": step, "kind": "model", "used": {"tokens": tokens, "cost": cost}}


def found(*events: tuple[str, str, dict[str, Any]]) -> list[str]:
    log = [("RunStarted", None, {"version": "v"}), *events]
    return wrong([(seq, *event) for seq, event in enumerate(log, 1)], {"v": DOCUMENT})


def test_what_stays_within_is_right() -> None:
    assert found(begun("think", 1), begun("each[0]/think", 1), ended("think", 1), ended("each[0]/think", 1)) == []
    assert found(begun("think", 1), ended("think", 1, 90), begun("think", 2), ended("think", 2, 50)) == []
    assert found(begun("think", 1), begun("think", 1), ended("think", 1)) == []


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([begun("think", 1), ended("think", 1, 101), begun("think", 2), ended("think", 2, 101)], "tokens of 100"),
        ([begun("think", 1, 151), begun("think", 1), ended("think", 1)], "the agent think used 161"),
        ([one for n in (1, 2, 3) for one in (begun("think", n), ended("think", n, 1, 400_000))], "used 1.2 cost of 0.5"),
        ([begun("think", 1), ended("think", 1), begun("think", 1)], "does not follow"),
        ([begun("think", 2)], "does not follow"),
        ([ended("think", 1)], "had not begun"),
        ([event for n in range(1, 5) for event in (begun("think", n), ended("think", n))], "4 steps of 3"),
        (
            [event for n in (0, 1, 2) for event in (begun(f"each[{n}]/think", 1), ended(f"each[{n}]/think", 1, 80))],
            "its agents used 240",
        ),
    ],
)
def test_what_goes_beyond_is_named(events: list[Any], words: str) -> None:
    assert any(words in one for one in found(*events)), found(*events)


SUB = {"type": "subworkflow", "config": {"workflow": "x"}}
PARENT = {"name": "p", "nodes": {"each": SUB}, "limits": {"agents": {"tokens": 150, "steps": 3}}}
BY = {"by": {"kind": "agent", "name": "think"}, "version": "w"}
ADDED = {**DOCUMENT, "nodes": {**DOCUMENT["nodes"], "more": {**AGENT, "config": {**AGENT["config"], "budget": {}}}}}


def found_in_family(*events: tuple[str, str, dict[str, Any]], run: str = "c") -> list[str]:
    """In the child `c` of a run `r`."""
    log = [("r", "RunStarted", None, {"version": "p"}), ("c", "RunStarted", None, {"version": "v"})]
    documents = {"v": DOCUMENT, "w": ADDED, "p": PARENT}
    return wrong_together({"r": (None, None), "c": ("r", "each")}, [*log, *((run, *one) for one in events)], documents)


def test_what_a_family_uses_within_its_budgets_is_right() -> None:
    assert found_in_family(begun("think", 1), ended("think", 1, 90), begun("each[0]/think", 1)) == []
    assert found_in_family(("PatchApplied", "", BY), begun("think", 1), begun("more", 1), ended("more", 1, 100)) == []


@pytest.mark.parametrize(
    ("events", "words"),
    [
        (
            [event for n in range(5) for event in (begun(f"each[{n}]/think", 1), ended(f"each[{n}]/think", 1, 60))],
            "run r and those that it started used 300",
        ),
        (
            [event for n in range(4) for event in (begun(f"each[{n}]/think", 1), ended(f"each[{n}]/think", 1, 1))],
            "run r and those that it started made 4 steps of 3",
        ),
        (
            [
                begun("think", 1),
                ("PatchApplied", "", BY),
                ended("think", 1, 90),
                *(event for n in (1, 2) for event in (begun("more", n), ended("more", n, 60))),
            ],
            "think and those that it brought used 210",
        ),
    ],
)
def test_what_goes_beyond_together_is_named(events: list[Any], words: str) -> None:
    assert any(words in one for one in found_in_family(*events)), found_in_family(*events)
