"""Laws of the core over random documents, inputs and orders of completion."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runs.core.fold import fold
from runs.core.state import State, dump, load
from tests.support.engine import Engine, Failure
from tests.unit.runs_core.test_engine import check_log

SLOW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@st.composite
def nodes(draw: st.DrawFn, depth: int) -> dict[str, Any]:
    kinds = ["transform", "http", "http", "broken", "delay", "switch", "approval"] + (
        ["map", "loop"] if depth < 2 else []
    )
    kind = draw(st.sampled_from(kinds))
    node: dict[str, Any]
    if kind == "transform":
        node = {"type": "transform", "config": {"output": "{{ inputs.n + 1 }}"}}
    elif kind == "broken":
        node = {"type": "transform", "config": {"output": "{{ inputs.gone }}"}}
    elif kind == "http":
        node = {
            "type": "http",
            "config": {"method": "GET", "url": "http://x"},
            "retry": {"max_attempts": draw(st.integers(1, 3))},
        }
    elif kind == "delay":
        node = {"type": "delay", "config": {"for": "1s"}}
    elif kind == "switch":
        node = {"type": "switch", "config": {"cases": [{"name": "low", "when": "inputs.n < 5"}]}}
    elif kind == "approval":
        # Nobody answers here; answers are in test_approvals.
        ending = draw(st.sampled_from(["reject", "timed_out", "escalate", "approve"]))
        node = {"type": "approval", "config": {"title": "{{ inputs.n }}?", "timeout": "1s", "on_timeout": ending}}
    elif kind == "map":
        body = draw(graphs(depth + 1))
        config = {"items": f"range({draw(st.integers(0, 4))})", "body": body, "max_concurrency": draw(st.integers(1, 3))}
        node = {"type": "map", "config": {**config, "on_item_error": draw(st.sampled_from(["fail", "collect"]))}}
    else:
        config = {"while": f"iteration < {draw(st.integers(0, 3))}", "body": draw(graphs(depth + 1)), "max_iterations": 5}
        node = {"type": "loop", "config": config}
    on_failure = draw(st.sampled_from([None, None, "skip", {"continue": 0}]))
    if on_failure is not None:
        node["on_failure"] = on_failure
    return node


@st.composite
def graphs(draw: st.DrawFn, depth: int = 0) -> dict[str, Any]:
    names = [f"{'abc'[depth]}{number}" for number in range(draw(st.integers(1, 5 - depth)))]
    made = {name: draw(nodes(depth)) for name in names}
    edges: dict[str, Any] = {}
    for place, target in enumerate(names):
        for source in names[:place]:
            if draw(st.booleans()):
                edge = {"from": source, "to": target}
                ports = {"switch": ["low", "default"], "approval": ["approved", "rejected", "timed_out"]}.get(
                    made[source]["type"], ["out"]
                )
                if "on_failure" not in made[source]:
                    ports = [*ports, "error"]
                edge["port"] = draw(st.sampled_from(ports))
                if edge["port"] == "out" and draw(st.booleans()):
                    edge["when"] = draw(st.sampled_from(["inputs.n < 5", "inputs.n >= 5", "true", "output == null"]))
                edges[f"{source}-{target}"] = edge
        into = sum(edge["to"] == target for edge in edges.values())
        if into:
            made[target]["join"] = draw(st.sampled_from(["all", "any", {"n": into}]))
    return {"nodes": made, "edges": edges}


def document(graph: dict[str, Any]) -> dict[str, Any]:
    return {"name": "w", **graph}


def world(failing: set[str]) -> Any:
    def answer(path: str, attempt: int, config: Any) -> Any:
        if path in failing or attempt == 1 and hash_of(path) % 3 == 0:
            raise Failure("down", transient=True)
        return {"path": path}

    return answer


def hash_of(path: str) -> int:
    return sum(ord(letter) for letter in path)


@SLOW
@given(graphs(), st.integers(0, 9), st.integers(0, 1000), st.integers(1, 50))
def test_every_run_ends_and_its_log_can_be_trusted(graph: dict[str, Any], n: int, seed: int, cut: int) -> None:
    engine = Engine(document(graph), {"n": n}, world=world(set()), seed=seed, slice_size=cut).run()
    assert engine.state.ended, (engine.types()[-5:], engine.state.active)
    check_log(engine)


@SLOW
@given(graphs(), st.integers(0, 9), st.integers(0, 1000), st.integers(0, 10**6))
def test_any_prefix_folds_to_a_state_that_can_be_stored_and_carried_on(
    graph: dict[str, Any], n: int, seed: int, cut: int
) -> None:
    engine = Engine(document(graph), {"n": n}, world=world(set()), seed=seed).run()
    place = cut % len(engine.log)
    half = fold(engine.log[:place], engine.irs.__getitem__, State())
    again = fold(engine.log[place:], engine.irs.__getitem__, load(dump(half)))
    assert dump(again) == dump(engine.state)


def _all_joins_wait(graph: dict[str, Any]) -> dict[str, Any]:
    for node in graph["nodes"].values():
        node.pop("join", None)
        if "body" in node["config"]:
            _all_joins_wait(node["config"]["body"])
    return graph


@SLOW
@given(graphs().map(_all_joins_wait), st.integers(0, 9), st.integers(0, 1000), st.integers(0, 1000))
def test_the_order_of_arrival_does_not_change_the_result(graph: dict[str, Any], n: int, first: int, second: int) -> None:
    """With joins that wait for every edge; `any` and `n` are races by their meaning. Delays give the time."""
    one = Engine(document(graph), {"n": n}, world=world(set()), seed=first).run()
    two = Engine(document(graph), {"n": n}, world=world(set()), seed=second, slice_size=3).run()
    assert one.state.status == two.state.status
    if one.state.status == "completed":
        assert dict(one.state.frames[""].nodes) == dict(two.state.frames[""].nodes)


@SLOW
@given(graphs(), graphs(), st.integers(0, 9), st.integers(0, 1000), st.integers(0, 12))
def test_a_patch_in_the_middle_keeps_the_log_exact(
    graph: dict[str, Any], more: dict[str, Any], n: int, seed: int, steps: int
) -> None:
    """New nodes behind what has not started: whatever was decided before stays, and the run still ends."""
    engine = Engine(document(graph), {"n": n}, world=world(set()), seed=seed)
    for _ in range(steps):
        if engine.state.ended or not engine.step():
            break
    if not engine.state.ended:
        added = {f"new_{name}": node for name, node in more["nodes"].items() if "body" not in node["config"]}
        last = sorted(graph["nodes"])[-1]
        edges = {f"{last}-{name}": {"from": last, "to": name} for name in added}
        if graph["nodes"][last]["type"] in ("switch", "approval"):
            edges = {}
        for node in added.values():
            node.pop("join", None)
        patched = {"nodes": {**graph["nodes"], **added}, "edges": {**graph["edges"], **edges}}
        engine.fact("PatchApplied", None, {"version": engine.add_version(document(patched))})
    engine.run()
    assert engine.state.ended
    check_log(engine)
