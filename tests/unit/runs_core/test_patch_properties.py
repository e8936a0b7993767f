"""Laws of patching (I6, I9, I10): random documents, patches by many authors at any moment, crashes between decisions."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runs.core import patching
from runs.core.advance import decide
from runs.core.events import DECISIONS, Event
from runs.core.fold import apply
from runs.core.frozen import STARTED
from runs.core.patching import PatchRefused
from runs.core.simulate import Outputs, recorded, simulate
from runs.core.state import State, dump, load
from runs.core.values import Values
from tests.support.doubles import doubles
from tests.support.engine import Engine
from tests.support.laws import broken
from tests.unit.runs_core.test_engine import TASK, check_log, graph, value
from tests.unit.runs_core.test_properties import document, graphs, world
from workflows.core import patches
from workflows.core.document import document_hash
from workflows.core.errors import AobError
from workflows.core.grants import EVERYTHING, Author, Grant, grant_of_config
from workflows.core.validate import validate

FEW = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
MAX_AGENTS = 2
HELPER = {
    "type": "agent",
    "config": {
        "model": "scripted:x",
        "prompt": "Improve it",
        "patches": "auto",
        "may_add": {"node_types": ["transform", "http", "agent", "delay"], "hosts": ["x"]},
    },
}
DELAY = {"type": "delay", "config": {"for": "1s"}}
AUTHORS = (Author("person", "ada"), Author("agent", "helper"), Author("agent", "nobody"), Author("optimizer", "o"))


@pytest.fixture(autouse=True)
def _types() -> Iterator[None]:
    with doubles():
        yield


class Patched(Engine):
    """A run that is patched as the server does it, and a record of every version."""

    def __init__(self, source: dict[str, Any], inputs: Any, *, outputs: Outputs | None = None, **more: Any) -> None:
        self.outputs = outputs or {}
        self.versions: dict[str, dict[str, Any]] = {}
        super().__init__(source, inputs, **more)
        self.head = source

    def add_version(self, document: dict[str, Any]) -> str:
        version = super().add_version(document)
        self.versions[version] = copy.deepcopy(document)
        return version

    def patch(self, operations: Any, author: Author, *, base: str | None = None, most: int | None = None) -> str | None:
        """The code of the refusal, or None when it was applied."""
        before = self.refolded()
        sent = copy.deepcopy(operations)
        grant = grant_of_config(HELPER["config"]) if author.name == "helper" else EVERYTHING  # type: ignore[arg-type]
        try:
            made = patching.make(
                patches.normalized(operations),
                base=self.versions[base or self.state.version],
                head=self.head,
                author=author,
                grant=Grant(frozenset(), frozenset(), frozenset()) if author.name == "nobody" else grant,
            )
            patching.admit(self.state, self.head, made)
        except AobError as error:
            assert self.refolded() == before and operations == sent
            return error.code
        assert operations == sent
        version = self.add_version(made.document)
        data = {"patch": f"p{len(self.log)}", "before": self.state.version, "version": version}
        by = {"kind": author.kind, "name": author.name}
        self.head = made.document
        self.foresee({**data, "by": by})
        self.fact("PatchApplied", None, {**data, "by": by}, most=most)
        return None

    def foresee(self, data: dict[str, Any]) -> None:
        """What would happen is told, whatever it is, and nothing happens."""
        before = dump(self.state)
        event = Event(self.state.seq + 1, "PatchApplied", self.now, None, data)
        told = simulate(self.state, event, self.irs.__getitem__, Values(), self.outputs)
        assert dump(self.state) == before
        assert set(told.acts).isdisjoint(told.assumed) and (told.complete or told.status is None)


class Authors:
    """Makes patches of whatever comes to mind, most of them sensible."""

    def __init__(self, chance: random.Random, engine: Patched) -> None:
        self.chance = chance
        self.engine = engine
        self.count = 0

    def operations(self, head: dict[str, Any]) -> list[dict[str, Any]]:
        kinds = (self.add, self.add, self.add, self.remove, self.change, self.edge, self.body, self.nonsense)
        return [one for _ in range(self.chance.randint(1, 2)) for one in self.chance.choice(kinds)(head)]

    def add(self, head: dict[str, Any]) -> list[dict[str, Any]]:
        self.count += 1
        name = f"p{self.count}"
        made = self.chance.choice(
            [value("{{ inputs.n }}"), TASK, TASK, HELPER, {"type": "delay", "config": {"for": "1s"}}]
        )
        found = [{"op": "add", "path": f"/nodes/{name}", "value": copy.deepcopy(made)}]
        for source in self.some(head["nodes"], 2):
            found.append({"op": "add", "path": f"/edges/{source}-{name}", "value": {"from": source, "to": name}})
        for target in self.some(self.open(head), 1):
            found.append({"op": "add", "path": f"/edges/{name}-{target}", "value": {"from": name, "to": target}})
        return found

    def remove(self, head: dict[str, Any]) -> list[dict[str, Any]]:
        name = self.chance.choice(self.open(head))
        edges = [key for key, edge in head["edges"].items() if name in (edge["from"], edge["to"])]
        return [{"op": "remove", "path": f"/edges/{key}"} for key in edges] + [{"op": "remove", "path": f"/nodes/{name}"}]

    def change(self, head: dict[str, Any]) -> list[dict[str, Any]]:
        name = self.chance.choice(self.open(head))
        return [{"op": "add", "path": f"/nodes/{name}/title", "value": str(self.chance.random())}]

    def edge(self, head: dict[str, Any]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        if head["edges"] and self.chance.random() < 0.6:
            key = self.chance.choice(sorted(head["edges"]))
            found.append({"op": "remove", "path": f"/edges/{key}"})
        source, target = self.chance.choice(sorted(head["nodes"])), self.chance.choice(self.open(head))
        self.count += 1
        ports = ["low", "default", "error"] if head["nodes"][source]["type"] == "switch" else ["out", "out", "error"]
        drawn = {"from": source, "to": target, "port": self.chance.choice(ports)}
        return [*found, {"op": "add", "path": f"/edges/q{self.count}", "value": drawn}]

    def body(self, head: dict[str, Any]) -> list[dict[str, Any]]:
        owners = [name for name, node in head["nodes"].items() if "body" in node["config"]]
        if not owners:
            return self.add(head)
        self.count += 1
        name = self.chance.choice(sorted(owners))
        node = self.chance.choice([value("{{ inputs.n }}"), TASK, HELPER])
        path = f"/nodes/{name}/config/body/nodes/b_{self.count}"
        return [{"op": "add", "path": path, "value": copy.deepcopy(node)}]

    def nonsense(self, head: dict[str, Any]) -> list[dict[str, Any]]:
        name = self.chance.choice(sorted(head["nodes"]))
        return self.chance.choice(
            [
                [{"op": "replace", "path": "", "value": {}}],
                [{"op": "copy", "from": "/nodes", "path": f"/nodes/{name}/config/body"}],
                [{"op": "add", "path": "/limits", "value": {"max_agents": 1000}}],
                [{"op": "remove", "path": "/nodes"}],
                [{"op": "test", "path": f"/nodes/{name}", "value": True}],
                [{"op": "move", "from": f"/nodes/{name}", "path": f"/nodes/{name}x"}],
            ]
        )

    def open(self, head: dict[str, Any]) -> list[str]:
        """Mostly nodes that have not started, where there are some."""
        names = sorted(head["nodes"])
        started = self.engine.state.frames[""].nodes
        coming = [name for name in names if started.get(name) not in STARTED]
        return coming if coming and self.chance.random() < 0.9 else names

    def some(self, names: Any, most: int) -> list[str]:
        return self.chance.sample(sorted(names), min(len(names), self.chance.randint(0, most)))


def played(source: dict[str, Any], n: int, seed: int) -> Patched:
    """A run in which everything happens: patches, crashes, pauses, answers, one decision at a time."""
    chance = random.Random(seed)
    source["nodes"]["hold"] = {"type": "signal", "config": {"name": "end"}}
    source["nodes"]["last"] = value("{{ inputs.n }}")
    source["edges"]["hold-last"] = {"from": "hold", "to": "last"}
    before = recorded(Engine(source, {"n": n}, world=world(set()), seed=seed).run().log)
    limits = {"max_agents": MAX_AGENTS}
    engine = Patched(source, {"n": n}, outputs=before, world=world(set()), seed=seed, slice_size=1, limits=limits)
    authors = Authors(chance, engine)
    bases: list[str] = [engine.state.version]
    for _ in range(40):
        if engine.state.ended:
            break
        what = chance.random()
        most = chance.randint(0, 4)
        if what < 0.4:
            base = chance.choice(bases) if chance.random() < 0.2 else None
            engine.patch(authors.operations(engine.head), chance.choice(AUTHORS), base=base, most=most)
            bases.append(engine.state.version)
        elif what < 0.5:
            engine.crash()
        elif what < 0.55 and not engine.state.paused:
            engine.fact("PauseRequested", None, {"by": "ada"}, most=most)
        elif engine.state.paused and what < 0.7:
            engine.fact("ResumeRequested", None, {"by": "ada"}, most=most)
        elif what < 0.8:
            engine.advance(most)
        else:
            engine.step()
    if engine.state.paused and not engine.state.ended:
        engine.fact("ResumeRequested", None, {"by": "ada"})
    if not engine.state.ended:
        engine.fact("SignalReceived", None, {"name": "end", "payload": None})
    return engine.run()  # type: ignore[return-value]


def check_patched(engine: Patched) -> None:
    log = [(event.seq, event.type, event.node, event.data) for event in engine.log]
    assert broken(log, engine.versions.__getitem__) == []
    for version in engine.versions.values():
        assert [one for one in validate(version) if one.severity == "error"] == []
    assert sum(event.data.get("agents", 0) for event in engine.log if event.type == "TaskScheduled") <= MAX_AGENTS
    check_log(engine)
    check_crashes(engine)


def check_crashes(engine: Engine) -> None:
    """A process that knows nothing but the snapshot decides the same, at every single event."""
    state = State()
    for event in engine.log:
        state = load(dump(state))
        if event.type in DECISIONS:
            assert decide(state, engine.irs.__getitem__, engine.values) == (event.type, event.node, event.data)
        apply(state, Event(event.seq, event.type, event.at, event.node, event.data), engine.irs.__getitem__)
    assert dump(state) == dump(engine.state)


@FEW
@given(graphs(), st.integers(0, 9), st.integers(0, 10**6))
def test_whatever_is_patched_when_the_laws_hold(source: dict[str, Any], n: int, seed: int) -> None:
    engine = played(document(source), n, seed)
    assert engine.state.ended, (engine.types()[-5:], engine.state.agenda, engine.state.active)
    check_patched(engine)


@settings(FEW, max_examples=15)
@given(graphs(), st.integers(0, 9), st.integers(0, 10**6))
def test_two_runs_over_the_same_facts_give_the_same_bytes(source: dict[str, Any], n: int, seed: int) -> None:
    first, second = (played(document(copy.deepcopy(source)), n, seed) for _ in range(2))
    assert first.log == second.log and dump(first.state) == dump(second.state)
    assert first.versions.keys() == second.versions.keys()


def items(count: int) -> dict[str, Any]:
    body = {"nodes": {"get": TASK, "end": value("x")}, "edges": {"e": {"from": "get", "to": "end"}}}
    return {"type": "map", "config": {"items": f"range({count})", "body": body, "max_concurrency": count}}


def test_a_patch_finds_the_items_of_a_map_in_the_same_order_after_a_crash() -> None:
    """A snapshot sorts what memory keeps in the order of its making: each[10] stands before each[2] in it."""
    engine = Patched(graph({"each": items(12)}), {})
    for path in engine.waiting_tasks():
        engine.fact("TaskCompleted", path, {"attempt": 1, "output": None}, most=0)
    engine.advance(12)
    engine.crash()
    assert engine.patch([{"op": "add", "path": "/nodes/more", "value": value("x")}], AUTHORS[0], most=0) is None
    engine.run()
    check_patched(engine)


def test_signals_find_the_waiting_nodes_in_the_same_order_after_a_crash() -> None:
    wait = {"type": "signal", "config": {"name": "go"}}
    engine = Engine(graph({"a": value(1), "z": wait, "b": wait}, ("a", "b")), {})
    engine.crash()
    engine.fact("SignalReceived", None, {"name": "go", "payload": 1})
    engine.fact("SignalReceived", None, {"name": "go", "payload": 2})
    assert engine.state.ended
    check_log(engine)


def test_a_patch_between_the_failure_of_an_item_and_its_end_starts_nothing_in_it() -> None:
    node = items(2)
    node["config"]["body"]["nodes"]["late"] = value("x")
    node["config"]["on_item_error"] = "collect"
    engine = Patched(graph({"each": node}), {})
    engine.fact("TaskFailed", "each[0]/get", {"attempt": 1, "error": {"code": "boom", "message": "boom"}}, most=1)
    assert engine.types()[-1] == "NodeFailed"
    assert engine.patch([{"op": "add", "path": "/nodes/more", "value": value("x")}], AUTHORS[0], most=0) is None
    engine.advance()
    engine.run()
    assert engine.output["each"][0]["error"]["code"] == "boom"
    check_patched(engine)


def test_a_new_edge_leads_on_from_the_port_by_which_a_node_left() -> None:
    switch = {"type": "switch", "config": {"cases": [{"name": "low", "when": "inputs.n < 5"}]}}
    engine = Patched(graph({"sort": switch, "wait": TASK}), {"n": 1})
    drawn = [
        {"op": "add", "path": f"/edges/sort-{port}", "value": {"from": "sort", "to": port, "port": port}}
        for port in ("low", "default")
    ]
    added = [{"op": "add", "path": f"/nodes/{name}", "value": value(name)} for name in ("low", "default")]
    assert engine.patch([*added, *drawn], AUTHORS[0]) is None
    engine.run()
    assert engine.output.keys() == {"wait", "low"}
    check_patched(engine)


def test_what_was_timed_out_does_not_lead_on_as_if_it_had_arrived() -> None:
    wait = {"type": "signal", "config": {"name": "go", "timeout": "1s"}}
    late = {"from": "wait", "to": "late", "port": "timed_out"}
    engine = Patched({"name": "w", "nodes": {"wait": wait, "late": TASK}, "edges": {"l": late}}, {})
    engine.fire_timer()
    added = [{"op": "add", "path": f"/nodes/{name}", "value": value(name)} for name in ("paid", "again")]
    paid = {"op": "add", "path": "/edges/p", "value": {"from": "wait", "to": "paid"}}
    again = {"op": "add", "path": "/edges/a", "value": {**late, "to": "again"}}
    assert engine.patch([*added, paid, again], AUTHORS[0]) is None
    engine.run()
    assert engine.state.frames[""].nodes["paid"] == "skipped"
    assert engine.state.frames[""].nodes["again"] == "done"
    check_patched(engine)


def test_the_body_of_a_request_is_not_taken_for_a_graph() -> None:
    call = {
        "type": "http",
        "config": {"method": "POST", "url": "http://x", "body": {"blob": "sha256:0", "nodes": {"n": 1}}},
    }
    engine = Patched(graph({"a": call}), {})
    assert engine.patch([{"op": "add", "path": "/nodes/b", "value": value(1)}], AUTHORS[1]) is None


def test_refused_patches_say_why() -> None:
    engine = Patched(graph({"a": value(1), "b": TASK}, ("a", "b")), {})
    made = patching.make(
        [{"op": "add", "path": "/nodes/a/title", "value": "x"}], base=engine.head, head=engine.head, author=AUTHORS[0]
    )
    with pytest.raises(PatchRefused) as caught:
        patching.admit(engine.state, engine.head, made)
    assert [(one["pointer"], one["code"], one["layer"]) for one in caught.value.errors()] == [
        ("/nodes/a", "past_frozen", "server")
    ]
    assert document_hash(made.document) == made.ir.version
