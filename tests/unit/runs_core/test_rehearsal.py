"""What a new version would have made of recorded runs, decided by the pure core alone."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from runs.core.ids import is_among, time_id
from runs.core.rehearsal import Course, Report, in_words, is_plain, report, went, would_go
from tests.support.engine import Engine, Failure
from tests.unit.runs_core.test_engine import TASK, graph, value

DOCUMENT = graph(
    {
        "get": TASK,
        "sum": value("{{ inputs.x + 1 }}"),
        "go": {"type": "signal", "config": {"name": "go"}},
        "end": value("{{ nodes.sum }}"),
    },
    ("get", "sum"),
    ("sum", "go"),
    ("go", "end"),
)


def recorded_run(document: dict[str, Any] = DOCUMENT, **more: Any) -> Engine:
    engine = Engine(document, {"x": 3}, **more).run()
    if not engine.state.ended:
        engine.fact("SignalReceived", None, {"name": "go", "payload": 1})
        engine.run()
    assert engine.state.status == "completed"
    return engine


def tried(engine: Engine, **nodes: Any) -> tuple[Course, Course]:
    """The course of a recorded run, and that on a version with other nodes."""
    document = {**DOCUMENT, "nodes": {**DOCUMENT["nodes"], **nodes}}
    version = engine.add_version(document)
    old = went(engine.log, engine.irs.__getitem__, engine.values)
    return old, would_go(engine.log, version, {}, engine.irs.__getitem__, engine.values)


def test_a_run_goes_on_its_own_version_as_it_went() -> None:
    engine = recorded_run()
    assert is_plain(engine.log, engine.state.version)
    old, new = tried(engine)
    assert old == new and old.calls == 1 and old.output == {"end": 4}


def test_signals_delays_and_results_are_taken_from_the_record() -> None:
    old, new = tried(recorded_run(), end=value("{{ nodes.sum * 10 + nodes.go }}"))
    assert (new.status, new.output) == ("completed", {"end": 41})
    told = report("a", "b", [("r", old, new)])
    assert (told.differ, told.differences[0]["places"]) == (1, ["/end"])
    _, new = tried(recorded_run(), sum={"type": "delay", "config": {"for": "3d"}}, end=value(1))
    assert new.status == "completed"


def test_what_failed_when_it_was_recorded_fails_again_after_as_many_attempts() -> None:
    document = graph(
        {"get": {**TASK, "retry": {"policy": "standard", "max_attempts": 3}}, "no": value("{{ nodes.get.error.code }}")},
        ("get", "no", {"port": "error"}),
    )

    def world(path: str, attempt: int, config: Any) -> Any:
        raise Failure("down", transient=True)

    engine = recorded_run(document, world=world)
    old = went(engine.log, engine.irs.__getitem__, engine.values)
    new = would_go(engine.log, engine.state.version, {}, engine.irs.__getitem__, engine.values)
    assert old == new and new.output == {"no": "down"}


@pytest.mark.parametrize("said", ["approve", "reject"])
def test_people_answer_as_they_did(said: str) -> None:
    config = {"title": "Send?", "assignees": ["anna"]}
    document = graph(
        {"ok": {"type": "approval", "config": config}, "sent": value("{{ nodes.ok.answer }}")},
        ("ok", "sent", {"port": "approved"}),
    )
    engine = Engine(document, {"x": 3}).run()
    ticket = engine.state.active["ok"].ticket
    assert ticket is not None
    engine.fact("TicketAnswered", "ok", {"ticket": ticket.id, "answer": said, "by": "anna"})
    old = went(engine.log, engine.irs.__getitem__, engine.values)
    new = would_go(engine.log, engine.state.version, {}, engine.irs.__getitem__, engine.values)
    assert (new.status, new.nodes) == ("completed", old.nodes) and ("sent" in new.nodes) == (said == "approve")


def test_a_failed_node_that_people_passed_over_is_passed_over_again() -> None:
    def world(path: str, attempt: int, config: Any) -> Any:
        raise Failure("boom")

    nodes = {**DOCUMENT["nodes"], "get": {**TASK, "on_failure": "review"}}
    engine = Engine({**DOCUMENT, "nodes": nodes}, {"x": 3}, world=world)
    while (ticket := engine.state.active["get"].ticket) is None:
        engine.step()
    form = {"do": "skip", "value": 7}
    engine.fact("TicketAnswered", "get", {"ticket": ticket.id, "answer": "approve", "by": "anna", "form": form})
    engine.fact("SignalReceived", None, {"name": "go", "payload": 1})
    assert engine.run().state.status == "completed"
    old, new = tried(engine, get=nodes["get"], end=value("{{ nodes.get }}"))
    assert (old.status, new.status, new.output) == ("completed", "completed", {"end": 7})


def test_a_new_effect_leaves_the_end_open_and_is_named() -> None:
    engine = recorded_run()
    old, new = tried(engine, sum=TASK)
    assert (new.status, new.acts, new.calls) == (None, {"sum"}, 2)
    told = report("a", "b", [("r", old, new)])
    assert (told.unknown, told.acts, told.stops) == (1, {"sum": 1}, {})


def test_inputs_that_do_not_fit_any_more_are_a_failure_without_a_node() -> None:
    engine = recorded_run()
    version = engine.add_version({**DOCUMENT, "inputs": {"type": "object", "required": ["y"]}})
    new = would_go(engine.log, version, {}, engine.irs.__getitem__, engine.values)
    told = report("a", "b", [("r", went(engine.log, engine.irs.__getitem__, engine.values), new)])
    assert told.fail == 1 and told.failures[0]["code"] == "inputs_invalid"
    assert in_words(told)[1].startswith("Would fail in 1 run: ")


def test_reports_count_nodes_group_failures_and_stay_small() -> None:
    failed = Course("failed", error={"node": "each[7]/a", "code": "c", "message": "m" * 5_000}, nodes=frozenset({"new"}))
    old = Course("completed", "x" * 100_000, nodes=frozenset({"old"}), calls=2, cost=1_000_000)
    other = Course("completed", "y" * 100_000, nodes=frozenset({f"n{number}" for number in range(500)}))
    told = report("a", "b", [("1", old, failed), ("2", old, failed), *[("3", old, other)] * 18], left_out=1, cut_off=True)
    assert [(one["node"], one["runs"], one["run"]) for one in told.failures] == [("each/a", 2, "1")]
    assert told.stops == {"old": 20} and told.starts["n0"] == 18 and len(told.starts) == 20
    assert len(msgspec.json.encode(told)) < 20_000
    words = " ".join(in_words(told))
    assert "2 would not complete" in words and "0 instead of 40" in words and "20.0000" in words and "time" in words
    assert in_words(msgspec.convert(msgspec.to_builtins(told), Report)) == in_words(told)
    assert in_words(report("a", "b", [])) == ["No recorded run to try it on."]


@pytest.mark.parametrize("share", [1, 20, 50, 99])
def test_a_share_of_ids_is_among_them_and_always_the_same(share: int) -> None:
    ids = [time_id(1_700_000_000_000 + number, number.to_bytes(10, "big")) for number in range(10_000)]
    among = [one for one in ids if is_among(one, share)]
    assert abs(len(among) - 100 * share) < 250
    assert all(is_among(one, share) for one in among)
