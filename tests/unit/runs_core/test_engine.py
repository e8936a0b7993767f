"""What a run does, decided by the pure core alone."""

from __future__ import annotations

from typing import Any

import pytest

from runs.core.advance import decide
from runs.core.events import DECISIONS, TERMINAL, Event
from runs.core.fold import apply
from runs.core.state import State, dump, public_status
from tests.support.engine import Engine, Failure

TASK = {"type": "http", "config": {"method": "GET", "url": "http://x"}}


def value(expression: Any) -> dict[str, Any]:
    return {"type": "transform", "config": {"output": expression}}


def graph(nodes: dict[str, Any], *edges: Any, **more: Any) -> dict[str, Any]:
    drawn = {}
    for edge in edges:
        source, target, *rest = edge
        drawn[f"{source}-{target}" + (f"-{rest[0].get('port', '')}" if rest else "")] = {
            "from": source,
            "to": target,
            **(rest[0] if rest else {}),
        }
    return {"name": "w", "nodes": nodes, "edges": drawn, **more}


def states(engine: Engine) -> dict[str, str]:
    return dict(engine.state.frames[""].nodes)


def check_log(engine: Engine) -> None:
    """The laws that every log obeys: gap-free, one end, refolds to the state, takes the same decisions."""
    assert [event.seq for event in engine.log] == list(range(1, len(engine.log) + 1))
    assert sum(event.type in TERMINAL for event in engine.log) <= 1
    assert engine.refolded() == dump(engine.state)
    state = State()
    for event in engine.log:
        if event.type in DECISIONS:
            assert decide(state, engine.irs.__getitem__, engine.values) == (
                event.type,
                event.node,
                event.data,
            )
        apply(state, Event(event.seq, event.type, event.at, event.node, event.data), engine.irs.__getitem__)


def test_a_chain_of_pure_nodes_runs_in_one_go() -> None:
    engine = Engine(
        graph(
            {"a": value("{{ inputs.x + 1 }}"), "b": value("{{ nodes.a * 2 }}")},
            ("a", "b"),
            output="{{ nodes.b }}",
        ),
        {"x": 20},
    )
    assert engine.output == 42
    assert engine.types() == ["RunStarted", "NodeCompleted", "NodeCompleted", "RunCompleted"]
    check_log(engine)


def test_the_branch_not_taken_is_skipped_and_branches_meet_again() -> None:
    document = graph(
        {"a": value("{{ inputs.n }}"), "hi": value("high"), "lo": value("low"), "end": value("done")},
        ("a", "hi", {"when": "output >= 5"}),
        ("a", "lo", {"when": "output < 5"}),
        ("hi", "end"),
        ("lo", "end"),
    )
    engine = Engine(document, {"n": 3})
    assert states(engine) == {"a": "done", "lo": "done", "hi": "skipped", "end": "done"}
    assert engine.output == {"end": "done"}
    check_log(engine)


def test_join_any_starts_on_the_first_and_join_n_on_the_nth() -> None:
    nodes = {
        "a": TASK,
        "b": TASK,
        "c": TASK,
        "any": {**value(1), "join": "any"},
        "two": {**value(2), "join": {"n": 2}},
    }
    edges = [(source, target) for target in ("any", "two") for source in "abc"]
    engine = Engine(graph(nodes, *edges))
    engine.answer("b")
    assert states(engine).get("any") == "done" and "two" not in states(engine)
    engine.answer("c")
    assert states(engine)["two"] == "done"
    assert not engine.state.ended
    engine.answer("a")
    assert engine.state.status == "completed"
    check_log(engine)


def test_a_switch_leaves_by_the_port_of_its_first_true_case() -> None:
    switch = {"type": "switch", "config": {"cases": [{"name": "big", "when": "inputs.n > 9"}]}}
    document = graph(
        {"s": switch, "b": value("big"), "d": value("small")},
        ("s", "b", {"port": "big"}),
        ("s", "d", {"port": "default"}),
    )
    assert Engine(document, {"n": 10}).output == {"b": "big"}
    assert Engine(document, {"n": 1}).output == {"d": "small"}


def test_a_failed_task_is_retried_and_then_takes_the_error_edge() -> None:
    def world(path: str, attempt: int, config: Any) -> Any:
        raise Failure("http_status", transient=True)

    node = {**TASK, "retry": {"max_attempts": 3}}
    document = graph({"a": node, "b": value("{{ nodes.a.error.code }}")}, ("a", "b", {"port": "error"}))
    engine = Engine(document, world=world).run()
    assert engine.types().count("TaskScheduled") == 3
    assert engine.output == {"b": "http_status"}
    check_log(engine)


def test_a_permanent_error_is_not_retried_and_fails_the_run_with_a_dead_letter() -> None:
    def world(path: str, attempt: int, config: Any) -> Any:
        raise Failure("bad")

    engine = Engine(graph({"a": TASK}), world=world).run()
    failed = next(event for event in engine.log if event.type == "NodeFailed")
    assert failed.data["dead_letter"] is True
    assert engine.state.status == "failed"
    assert engine.types().count("TaskScheduled") == 1
    check_log(engine)


@pytest.mark.parametrize(
    ("on_failure", "expected"),
    [("skip", {}), ({"continue": "{{ error.code }}!"}, {"b": "expression_failed!"})],
)
def test_on_failure_skips_or_continues(on_failure: Any, expected: Any) -> None:
    document = graph(
        {"a": {**value("{{ inputs.missing }}"), "on_failure": on_failure}, "b": value("{{ nodes.a }}")},
        ("a", "b"),
    )
    engine = Engine(document)
    assert engine.output == expected
    check_log(engine)


def test_map_keeps_the_order_and_the_bound_on_concurrency() -> None:
    most = 0

    def world(path: str, attempt: int, config: Any) -> Any:
        nonlocal most
        most = max(most, len(engine.waiting_tasks()))
        return config["url"]

    body = {
        "nodes": {"get": {"type": "http", "config": {"method": "GET", "url": "{{ item }}-{{ index }}"}}},
        "edges": {},
    }
    document = graph(
        {"each": {"type": "map", "config": {"items": "inputs.l", "body": body, "max_concurrency": 3}}},
        output="{{ nodes.each.pluck('get') }}",
    )
    engine = Engine(document, {"l": list("abcdefghij")}, world=world, seed=5)
    engine.run()
    assert engine.output == [f"{letter}-{place}" for place, letter in enumerate("abcdefghij")]
    assert most == 3
    check_log(engine)


def test_a_failing_item_fails_the_map_or_is_collected() -> None:
    def world(path: str, attempt: int, config: Any) -> Any:
        if path == "each[1]/get":
            raise Failure("bad")
        return 1

    body = {"nodes": {"get": TASK}, "edges": {}}
    config = {"items": "inputs.l", "body": body}
    failing = Engine(graph({"each": {"type": "map", "config": config}}), {"l": [1, 2, 3]}, world=world).run()
    assert failing.state.status == "failed"
    assert failing.log[-1].data["error"]["code"] == "item_failed"
    assert failing.log[-1].data["error"]["cause"]["node"] == "each[1]/get"
    check_log(failing)
    collected = graph({"each": {"type": "map", "config": {**config, "on_item_error": "collect"}}})
    engine = Engine(collected, {"l": [1, 2, 3]}, world=world).run()
    results = engine.output["each"]
    assert results[0] == {"get": 1} and results[1]["error"]["code"] == "bad" and results[2] == {"get": 1}
    check_log(engine)


def test_map_over_nothing_and_over_no_list() -> None:
    body = {"nodes": {"x": value("{{ item }}")}, "edges": {}}
    document = graph({"each": {"type": "map", "config": {"items": "inputs.l", "body": body}}})
    assert Engine(document, {"l": []}).output == {"each": []}
    engine = Engine(document, {"l": "text"})
    assert engine.log[-1].data["error"]["code"] == "map_items_not_list"


def test_loop_repeats_while_the_condition_holds() -> None:
    body = {"nodes": {"n": value("{{ iteration == 0 ? 1 : last.n * 2 }}")}, "edges": {}}
    config = {"while": "iteration < 5", "body": body, "max_iterations": 10}
    engine = Engine(graph({"l": {"type": "loop", "config": config}}))
    assert engine.output == {"l": {"n": 16}}
    check_log(engine)
    endless = Engine(graph({"l": {"type": "loop", "config": {**config, "while": "true"}}}))
    assert endless.log[-1].data["error"]["code"] == "limit_max_iterations"
    check_log(endless)


def test_delay_waits_for_its_timer_and_signal_for_its_payload() -> None:
    nodes = {
        "d": {"type": "delay", "config": {"for": "5s"}},
        "s": {"type": "signal", "config": {"name": "paid", "timeout": "1h"}},
        "late": value("late"),
        "ok": value("{{ nodes.s.amount }}"),
    }
    document = graph(nodes, ("d", "s"), ("s", "ok"), ("s", "late", {"port": "timed_out"}))
    engine = Engine(document)
    assert public_status(engine.state) == "waiting"
    engine.fact("SignalReceived", None, {"name": "paid", "payload": {"amount": 7}})
    engine.fire_timer()
    assert engine.output == {"ok": 7}
    check_log(engine)
    late = Engine(document)
    late.fire_timer()
    late.fire_timer()
    assert late.output == {"late": "late"}
    check_log(late)


def test_a_child_run_gives_its_output_or_its_error() -> None:
    document = graph({"c": {"type": "subworkflow", "config": {"workflow": "other", "inputs": {"a": 1}}}})
    engine = Engine.__new__(Engine)
    Engine.__init__(engine, document)
    assert engine.log[-1].data["error"]["code"] == "subworkflow_unknown"


def test_cancel_pause_and_the_run_timeout() -> None:
    document = graph({"a": TASK, "b": TASK}, ("a", "b"))
    engine = Engine(document)
    engine.fact("PauseRequested", None, {})
    engine.answer("a")
    assert engine.waiting_tasks() == [] and public_status(engine.state) == "paused"
    engine.fact("ResumeRequested", None, {})
    assert engine.waiting_tasks() == ["b"]
    engine.fact("CancelRequested", None, {"reason": "enough"})
    assert engine.state.status == "cancelled" and engine.state.active == {}
    check_log(engine)


def test_a_lost_worker_gets_another_attempt_three_times_at_most() -> None:
    engine = Engine(graph({"a": TASK}))
    for attempt in (1, 2, 3):
        assert engine.state.active["a"].attempt == attempt
        engine.fact("TaskLost", "a", {"attempt": attempt})
    assert engine.log[-1].data["error"]["code"] == "worker_lost"
    check_log(engine)


def test_a_retry_override_holds_from_its_position_on() -> None:
    def world(path: str, attempt: int, config: Any) -> Any:
        raise Failure("http_status", transient=True)

    engine = Engine(graph({"a": {**TASK, "retry": {"max_attempts": 9}}}), world=world)
    engine.answer("a")
    engine.fact("RetryOverridden", "a", {"retry": {"max_attempts": 2}})
    engine.run()
    assert engine.types().count("TaskScheduled") == 2
    check_log(engine)


def test_a_patch_adds_a_node_behind_a_running_one_and_before_the_end() -> None:
    document = graph({"a": TASK})
    engine = Engine(document)
    patched = graph({"a": TASK, "b": value("{{ nodes.a.config.method }}!")}, ("a", "b"))
    engine.fact("PatchApplied", None, {"version": engine.add_version(patched)})
    engine.answer("a")
    assert engine.output == {"b": "GET!"}
    check_log(engine)


def test_a_patch_draws_an_edge_from_a_node_that_has_ended() -> None:
    engine = Engine(graph({"a": value(5), "t": TASK}))
    patched = graph(
        {"a": value(5), "t": TASK, "b": value("{{ nodes.a + 1 }}"), "c": value(0)},
        ("a", "b", {"when": "output == 5"}),
        ("a", "c", {"when": "output == 6"}),
    )
    engine.fact("PatchApplied", None, {"version": engine.add_version(patched)})
    assert states(engine)["b"] == "done" and states(engine)["c"] == "skipped"
    engine.run()
    assert engine.output["b"] == 6
    check_log(engine)


def test_large_outputs_are_named_by_content() -> None:
    engine = Engine(
        graph(
            {"a": value("{{ range(20000) }}"), "b": value("{{ nodes.a.sum() }}")},
            ("a", "b"),
            output="{{ nodes.b }}",
        )
    )
    assert engine.output == 199990000
    assert "output_ref" in engine.log[1].data
    check_log(engine)


def test_a_recorded_start_changes_no_decision_and_counts_once() -> None:
    from runs.core.accept import accepts
    from runs.core.events import Fact

    engine = Engine(graph({"a": TASK}))
    begun = Fact("TaskStarted", "a", {"attempt": 1, "worker": "w"})
    assert accepts(engine.state, begun)
    engine.fact(begun.type, begun.node, dict(begun.data))
    assert not accepts(engine.state, begun)
    assert not accepts(engine.state, Fact("TaskStarted", "a", {"attempt": 2}))
    engine.run()
    assert engine.types()[-1] == "RunCompleted" and not accepts(engine.state, begun)
    assert engine.refolded() == dump(engine.state)
