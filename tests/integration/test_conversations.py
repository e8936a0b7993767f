"""What pages tell of agents, from the log: bounded, as it was at a seq, and in step with the budgets of the fold."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from runs import conversations, previews, queries, timeline
from runs.core.values import put
from runs.holding import hold
from runs.services import StartRequest, start

AGENT = {"model": "scripted:talk", "prompt": "Look", "budget": {"tokens": 1000, "cost": 0.5, "steps": 100}}
DOCUMENT: dict[str, Any] = {
    "name": "talks",
    "limits": {"agents": {"tokens": 5000}},
    "nodes": {"talk": {"type": "agent", "config": AGENT}},
}


def begun() -> str:
    return start(StartRequest(DOCUMENT, {})).id


def say(run: str, number: int, *, text: str = "Hm", used: int = 10, is_open: bool = False) -> None:
    """A step of a model: reserved are 100 tokens."""
    with hold(run) as held:
        data = {"attempt": 1, "step": number, "kind": "model", "reserved": {"tokens": 100, "cost": 200}}
        parts = [{"part_kind": "user-prompt", "content": f"Prompt {number}"}]
        messages = [{"kind": "request", "instructions": "Be brief.", "parts": parts}]
        what = {"model": "scripted:talk", "request": {"messages": messages}}
        held.append("AgentStepStarted", {**data, "what": what}, "talk")
    if is_open:
        return
    with hold(run) as held:
        answer = {"parts": [{"part_kind": "text", "content": text}]}
        outcome = held.values.store({"answer": answer}, max_bytes=10**7, what="It")
        data = {"attempt": 1, "step": number, "kind": "model", "used": {"tokens": used, "cost": 20}, "took": 2_500_000}
        held.append("AgentStepEnded", put(data, "outcome", outcome), "talk")


def told(run: str, upto: int | None = None) -> conversations.AgentShown:
    with timeline.held(run, upto=upto) as found:
        [one] = conversations.agents_of(found)
    return one


def test_what_is_used_is_what_the_fold_says_with_what_is_reserved() -> None:
    run = begun()
    say(run, 1)
    before = queries.run(run)["last_seq"]
    say(run, 2, is_open=True)
    steps, tokens, cost, seconds = told(run).meters
    assert (steps.used, tokens.used, tokens.limit, round(cost.used, 6)) == (2, 110, 1000, 0.00022)
    assert (seconds.used, seconds.limit) == (2.5, 600)
    state = queries.state_of(run)
    assert (state.tokens, state.cost) == (110, 220)
    with timeline.held(run) as found:
        assert [(one.used, one.limit) for one in conversations.whole(found)] == [(110, 5000), (0.00022, None)]
    then = told(run, before)
    assert (then.step, then.is_open, then.meters[1].used) == (1, False, 10)
    assert told(run).is_open and told(run).is_scripted


def test_a_conversation_is_told_as_it_was_and_only_its_newest_steps() -> None:
    run = begun()
    for number in range(1, conversations.MAX_STEPS + 6):
        say(run, number, text=f"Answer {number}")
    steps, older = conversations.conversation(run, "talk")
    assert (len(steps), older, steps[0].number) == (conversations.MAX_STEPS, 5, 6)
    assert [(one.who, one.text) for one in steps[-1].said] == [("user", "Prompt 65"), ("answer", "Answer 65")]
    first, _ = conversations.conversation(run, "talk", upto=3)
    assert [(one.is_open, [part.who for part in one.said]) for one in first] == [(True, ["system", "user"])]
    assert conversations.conversation(run, "nothing") == ([], 0)


def test_what_is_large_is_named_and_not_read() -> None:
    run = begun()
    say(run, 1, text="x" * (conversations.MAX_BYTES + 1))
    [step] = conversations.conversation(run, "talk")[0]
    assert step.result is not None and step.result.value is None and str(step.result.blob).startswith("sha256:")


def test_previews_are_joined_by_step_and_dropped_for_who_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    async def silent(self: Any) -> None:
        await asyncio.Event().wait()

    async def heard() -> list[dict[str, Any]]:
        pieces = [json.dumps({"node": "talk", "step": 1, "text": f"{number} "}) for number in range(200)]
        follower = previews.follow("r1")
        first = asyncio.ensure_future(anext(follower))
        await asyncio.sleep(0)
        hub = previews._all[asyncio.get_running_loop()]
        for piece in pieces:
            hub._hand("aob:text:r1", piece)
            hub._hand("aob:text:r2", piece)
        found = [json.loads(await first)]
        hub._hand("aob:text:r1", json.dumps({"node": "talk", "step": 2, "text": "x" * 50_000}))
        found.append(json.loads(await anext(follower)))
        await follower.aclose()
        assert hub._watchers == {}
        return found

    monkeypatch.setattr(previews._Previews, "_listen", silent)
    one, two = asyncio.run(heard())
    assert one == {"type": "AgentText", "node": "talk", "step": 1, "text": "".join(f"{n} " for n in range(previews.HELD))}
    assert (two["step"], len(two["text"])) == (2, previews.MAX_TEXT)
