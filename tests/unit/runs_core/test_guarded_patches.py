"""What people said yes to stays what is done: gates before effects, and patches that are looked at first (L2, L3)."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from runs.core import patching
from runs.core.patching import PatchRefused
from runs.core.state import State
from tests.support.engine import Engine
from tests.unit.runs_core.test_approvals import answer
from workflows.core.errors import AobError
from workflows.core.grants import EVERYTHING, Author, Grant, grant_of_config
from workflows.core.guards import gates, implies
from workflows.core.patches import normalized

HELPER = Author("agent", "helper", "r")
ANNA = Author("person", "anna")
API = "https://api.example"


def value(output: Any = 1) -> dict[str, Any]:
    return {"type": "transform", "config": {"output": output}}


def http(url: str = f"{API}/pay", method: str = "POST", **config: Any) -> dict[str, Any]:
    return {"type": "http", "config": {"method": method, "url": url, **config}}


def approval(**config: Any) -> dict[str, Any]:
    return {"type": "approval", "config": {"title": "Pay?", **config}}


def agent(**config: Any) -> dict[str, Any]:
    return {"type": "agent", "config": {"model": "scripted:x", "prompt": "Help", "patches": "auto", **config}}


def graph(nodes: dict[str, Any], *ways: tuple[str, ...]) -> dict[str, Any]:
    """A document whose edges are `(from, to)` or `(from, to, port)`, named by their ends."""
    edges = {
        f"{way[0]}-{way[1]}": {"from": way[0], "to": way[1], **({"port": way[2]} if way[2:] else {})} for way in ways
    }
    return {"name": "w", "inputs": {"type": "object"}, "nodes": {"helper": agent(), **nodes}, "edges": edges}


def add(path: str, what: Any) -> dict[str, Any]:
    return {"op": "add", "path": path, "value": what}


def put(path: str, what: Any) -> dict[str, Any]:
    return {"op": "replace", "path": path, "value": what}


def gone(path: str) -> dict[str, Any]:
    return {"op": "remove", "path": path}


def edge(source: str, target: str, **more: Any) -> dict[str, Any]:
    return add(f"/edges/{source}-{target}-new", {"from": source, "to": target, **more})


def made(document: dict[str, Any], *operations: dict[str, Any], author: Author = HELPER, **more: Any) -> patching.Made:
    grant = more.pop("grant", None) or grant_of_config(document["nodes"]["helper"]["config"])
    return patching.make(
        normalized(list(operations)), base=document, head=document, author=author,
        grant=grant if author.is_machine else EVERYTHING, **more,
    )  # fmt: skip


def refusal(document: dict[str, Any], *operations: dict[str, Any], **more: Any) -> set[str]:
    """The codes with which a patch is refused; empty where it is admitted."""
    try:
        made(document, *operations, **more)
    except PatchRefused as refused:
        return {problem.code for problem in refused.problems}
    except AobError as error:
        return {error.code}
    return set()


def mode(
    document: dict[str, Any], *operations: dict[str, Any], author: Author = HELPER, tainted: bool = False,
    state: State | None = None, **more: Any,
) -> str:  # fmt: skip
    found = made(document, *operations, author=author, **more)
    return patching.mode_of(document, author, "auto", made=found, is_tainted=tainted, state=state)[0]


EITHER = graph(
    {"cfo": approval(), "manager": approval(), "pay": http(), "other": value()},
    ("cfo", "pay", "approved"), ("manager", "pay", "approved"),
)  # fmt: skip
BOTH = copy.deepcopy(EITHER)
BOTH["nodes"]["pay"]["join"] = {"n": 2}
BESIDE = graph({"data": value(), "ok": approval(), "pay": http()}, ("data", "pay"), ("ok", "pay", "approved"))
INSIDE = graph(
    {
        "each": {"type": "map", "config": {"items": "[1]", "body": {"nodes": {"ok": approval()}}}},
        "pay": http(),
        "other": value(),
    },
    ("each", "pay"),
)
CHILD = graph({"ask": {"type": "subworkflow", "config": {"workflow": "ask"}}, "pay": http()}, ("ask", "pay"))


def test_the_gates_before_a_node_are_a_choice_between_sets() -> None:
    assert gates(EITHER)["pay"].ways == {frozenset({"cfo"}), frozenset({"manager"})}
    assert gates(BOTH)["pay"].ways == {frozenset({"cfo", "manager"})}
    assert gates(BESIDE)["pay"].ways == {frozenset()}
    assert gates(BESIDE)["pay"].followed == {"ok"}
    assert gates(INSIDE)["pay"].ways == {frozenset({"each"})}
    assert gates(INSIDE)["each/ok"].ways == {frozenset()}


def test_whoever_passed_more_gates_passed_fewer() -> None:
    one, other = frozenset({"a"}), frozenset({"b"})
    assert implies(frozenset({one | other}), frozenset({one}))
    assert implies(frozenset({one}), frozenset({one, other}))
    assert not implies(frozenset({one, other}), frozenset({one}))
    assert not implies(frozenset({frozenset()}), frozenset({one}))
    assert implies(None, frozenset({one})) is None


@pytest.mark.parametrize("author", [HELPER, ANNA], ids=["an agent", "a person"])
@pytest.mark.parametrize(
    ("document", "operations"),
    [
        (EITHER, [edge("other", "pay")]),
        (EITHER, [gone("/edges/cfo-pay"), gone("/edges/manager-pay"), edge("helper", "pay")]),
        (BOTH, [put("/nodes/pay/join", "any")]),
        (BOTH, [put("/nodes/pay/join", {"n": 1})]),
        (BESIDE, [gone("/edges/ok-pay")]),
        (INSIDE, [edge("other", "pay")]),
        (INSIDE, [gone("/edges/each-pay")]),
        (CHILD, [edge("helper", "pay")]),
        (EITHER, [put("/edges/cfo-pay/port", "rejected")]),
    ],
    ids=[
        "a way around either", "around both", "one of two is enough", "or any", "no more waiting", "around a body",
        "cut off", "around a workflow", "what was rejected",
    ],
)  # fmt: skip
def test_no_patch_of_a_run_leads_around_a_gate(document: Any, operations: Any, author: Author) -> None:
    assert "guard_bypassed" in refusal(document, *operations, author=author)


@pytest.mark.parametrize(
    "operations",
    [
        [put("/nodes/cfo/config/assignees", ["user:mallory"])],
        [put("/nodes/cfo/config/on_timeout", "approve")],
        [gone("/nodes/cfo"), gone("/edges/cfo-pay")],
        [add("/nodes/cfo/config/not_starter", False)],
    ],
)
def test_nobody_changes_an_approval_in_a_run(operations: Any) -> None:
    document = copy.deepcopy(EITHER)
    document["nodes"]["cfo"]["config"] |= {"assignees": ["user:anna"], "on_timeout": "reject"}
    for author in (HELPER, ANNA):
        assert "guard_changed" in refusal(document, *operations, author=author)
    assert refusal(document, *operations, author=ANNA, is_of_run=False) == set()


def test_a_log_guards_for_people_where_something_acts_behind_it() -> None:
    log = {"type": "log", "config": {"message": "x"}}
    document = graph({"audit": log, "pay": http(), "note": log}, ("audit", "pay"))
    assert refusal(document, put("/nodes/audit/config/message", "y"), author=ANNA) == {"guard_changed"}
    assert refusal(document, put("/nodes/note/config/message", "y"), author=ANNA) == set()
    assert refusal(document, put("/nodes/note/config/message", "y")) == {"guard_changed"}


def test_a_map_that_asks_inside_keeps_its_items() -> None:
    empty = put("/nodes/each/config/items", "[]")
    document = copy.deepcopy(INSIDE)
    document["nodes"]["helper"]["config"]["may_add"] = {"node_types": ["map", "approval"]}
    assert "guard_changed" in refusal(document, empty)
    body = "/nodes/each/config/body/nodes"
    assert "guard_changed" in refusal(document, add(f"{body}/x", value()), gone(f"{body}/ok"))


def test_an_approval_that_a_patch_adds_never_approves_by_itself() -> None:
    added = add("/nodes/x", approval(on_timeout="approve", timeout="1s"))
    assert refusal(EITHER, added, author=ANNA) == {"capability_auto_approve"}
    assert refusal(EITHER, added, author=ANNA, is_of_run=False) == set()


def test_a_step_may_be_put_between_where_the_gates_stay() -> None:
    between = [gone("/edges/ok-pay"), add("/nodes/x", value()), edge("ok", "x", port="approved"), edge("x", "pay")]
    document = graph({"ok": approval(), "pay": http()}, ("ok", "pay", "approved"))
    assert refusal(document, *between) == set()
    assert mode(document, *between) == "review"


FREE = graph(
    {"get": http(f"{API}/orders", "GET"), "ok": approval(), "pay": http(), "x": value()},
    ("get", "ok"), ("ok", "pay", "approved"),
)  # fmt: skip
FREE["nodes"]["helper"]["config"]["may_add"] = {"node_types": ["http", "transform"], "hosts": ["api.example"]}


@pytest.mark.parametrize(
    ("operations", "is_granted"),
    [
        ([add("/nodes/again", http()), edge("get", "again")], False),
        ([add("/nodes/again", http(f"{API}/refund")), edge("get", "again")], False),
        ([add("/nodes/again", http(f"{API}/refund")), edge("ok", "again", port="approved")], True),
        ([add("/nodes/again", http(f"{API}/orders", "GET")), edge("get", "again")], True),
        ([add("/nodes/again", http(f"{API}/stock", "GET")), edge("get", "again")], True),
        ([put("/nodes/get/config/method", "POST")], False),
    ],
    ids=["the same", "another of that host", "behind it", "what is free", "reading", "what was free, writing"],
)
def test_an_effect_like_a_guarded_one_stands_behind_its_gates(operations: Any, is_granted: bool) -> None:
    assert (refusal(FREE, *operations) == set()) is is_granted


def test_a_patch_that_moves_an_effect_away_from_its_gates_is_refused() -> None:
    moved = [gone("/edges/ok-pay"), gone("/nodes/pay"), add("/nodes/pay2", http()), edge("get", "pay2")]
    assert "guard_bypassed" in refusal(FREE, *moved)


SECRET = graph({"pay": http(auth={"type": "bearer", "token": "s3cret"}, headers={"X-Api-Key": "k3y"}), "t": value()})
SECRET["nodes"]["helper"]["config"]["may_add"] = {
    "node_types": ["http", "transform"], "hosts": ["api.example", "mine.example"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("operations", "code"),
    [
        ([{"op": "copy", "from": "/nodes/pay/config/auth", "path": "/nodes/t/config/output"}], "capability_hidden"),
        ([{"op": "copy", "from": "/nodes/pay/config/auth/token", "path": "/nodes/t/config/output"}], "capability_hidden"),
        ([{"op": "copy", "from": "/nodes/pay", "path": "/nodes/pay2"}], "capability_hidden"),
        ([{"op": "move", "from": "/nodes", "path": "/notes"}], "capability_hidden"),
        ([{"op": "copy", "from": "", "path": "/nodes/t/config/output"}], "capability_hidden"),
        ([{"op": "copy", "from": "/nodes/pay/config/headers", "path": "/nodes/t/config/output"}], "capability_hidden"),
        ([{"op": "test", "path": "/nodes/pay/config/auth/token", "value": "guess"}], "capability_hidden"),
        ([add("/nodes/x", http(auth={"type": "bearer", "token": "x"}))], "capability_credentials"),
        ([put("/nodes/pay/config/url", "https://mine.example/")], "capability_credentials"),
        ([put("/nodes/pay/config/auth", {"type": "bearer", "token": "(hidden)"})], "capability_credentials"),
    ],
)
def test_a_machine_neither_reads_nor_moves_credentials(operations: Any, code: str) -> None:
    assert refusal(SECRET, *operations) == {code}


def test_a_node_with_credentials_may_change_otherwise() -> None:
    assert refusal(SECRET, add("/nodes/pay/config/json", {"n": 1})) == set()
    assert refusal(SECRET, {"op": "copy", "from": "/nodes/t", "path": "/nodes/t2"}) == set()


def test_credentials_in_a_list_are_found_wherever_the_list_has_moved_them() -> None:
    tool = {"type": "mcp", "url": "https://mcp.example", "headers": {"Authorization": "Bearer s3cret"}}
    document = graph({"second": agent(tools=["read_blob", tool]), "t": value()})
    read = {"op": "copy", "from": "/nodes/second/config/tools/0/headers", "path": "/nodes/t/config/output"}
    with pytest.raises(AobError) as caught:
        patching.check_reads(document, [gone("/nodes/second/config/tools/0"), read])
    assert caught.value.code == "capability_hidden"


STEERED = graph(
    {"pick": value("https://crm.example/hook"), "send": http("{{ nodes.pick }}"), "note": value()}, ("pick", "send")
)
SHOWN = graph(
    {"sum": value("{{ inputs.n }}"), "ok": approval(values={"n": "{{ nodes.sum }}"}), "calc": value("{{ inputs.n }}"),
     "pay": http(json={"n": "{{ nodes.calc }}"})},
    ("sum", "ok"), ("calc", "ok"), ("ok", "pay", "approved"),
)  # fmt: skip
LATER = graph(
    {"ok": approval(form={"type": "object"}), "calc": value("{{ inputs.n }}"),
     "pay": http(json={"n": "{{ nodes.calc }}"}), "end": value()},
    ("ok", "calc", "approved"), ("calc", "pay"), ("pay", "end"),
)  # fmt: skip
LATER["edges"]["ok-calc"]["when"] = "output.form.really"


@pytest.mark.parametrize(
    ("document", "operations", "wanted"),
    [
        (STEERED, [put("/nodes/pick/config/output", "https://evil.example")], "review"),
        (STEERED, [put("/nodes/note/config/output", 2)], "auto"),
        (SHOWN, [put("/nodes/sum/config/output", 1)], "review"),
        (SHOWN, [put("/nodes/calc/config/output", 1_000_000)], "review"),
        (LATER, [put("/nodes/calc/config/output", 1_000_000)], "review"),
        (LATER, [gone("/edges/ok-calc/when")], "review"),
        (LATER, [put("/nodes/end/config/output", 2)], "auto"),
        (LATER, [add("/nodes/log", value()), edge("pay", "log")], "auto"),
    ],
    ids=[
        "an address", "beside it", "what is shown", "what is not", "after it", "its condition", "behind", "a new end",
    ],
)  # fmt: skip
def test_what_a_machine_changes_around_an_approval_is_looked_at(document: Any, operations: Any, wanted: str) -> None:
    assert mode(document, *operations) == wanted


def test_an_approval_that_was_given_does_not_cover_what_a_tainted_agent_adds_behind_it() -> None:
    document = graph({"ok": approval(), "next": value()}, ("ok", "helper", "approved"), ("helper", "next"))
    document["nodes"]["helper"]["config"]["may_add"] = {"node_types": ["http"], "hosts": ["api.example"]}
    added = [add("/nodes/x", http(f"{API}/delete")), edge("helper", "x")]
    engine = Engine(graph({"ok": approval(), "next": value()}, ("ok", "next", "approved")), {})
    assert mode(document, *added, tainted=True) == "auto"
    assert mode(document, *added, tainted=True, state=engine.state) == "review"


def test_a_person_does_not_change_what_was_asked_for_behind_an_approval_alone() -> None:
    document = copy.deepcopy(LATER)
    del document["nodes"]["helper"]
    engine = Engine(copy.deepcopy(document), {"n": 1})
    more = put("/nodes/calc/config/output", 1_000_000)
    assert engine.state.frames[""].nodes["ok"] == "active"
    assert mode(document, more, author=ANNA, grant=Grant()) == "auto"
    assert mode(document, more, author=ANNA, grant=Grant(), state=engine.state) == "review"


def test_answers_to_what_a_patch_changes_count_no_more() -> None:
    document = copy.deepcopy(LATER)
    del document["nodes"]["helper"]
    del document["edges"]["ok-calc"]["when"]
    document["nodes"]["ok"]["config"] = {"title": "Pay?", "assignees": ["user:a", "user:b"], "quorum": {"n": 2}}
    engine = Engine(document, {"n": 1})
    assert answer(engine, "a", "approve")
    found = made(document, put("/nodes/calc/config/output", 9), author=ANNA, grant=Grant())
    again = patching.asks_again(engine.state, document, found)
    ticket = engine.state.active["ok"].ticket
    assert ticket is not None and again == {"ok": ticket.id}
    engine.fact("PatchApplied", None, {"version": engine.add_version(found.document), "asks_again": again})
    assert answer(engine, "b", "approve")
    assert "TicketDecided" not in engine.types()
    assert answer(engine, "a", "approve")
    assert "TicketDecided" in engine.types()
    beside = made(found.document, add("/nodes/other", value()), author=ANNA, grant=Grant())
    assert patching.asks_again(engine.state, found.document, beside) == {}


def brought(**config: Any) -> Engine:
    """A run into which its agent brings an approval, past the first two layers."""
    document = graph({"wait": {"type": "signal", "config": {"name": "go"}}}, ("wait", "helper"))
    document["nodes"]["helper"]["config"]["may_add"] = {"node_types": ["approval"]}
    engine = Engine(document, {})
    document = {**document, "nodes": {**document["nodes"], "x": approval(**config)}}
    by = {"kind": "agent", "name": "helper"}
    engine.fact("PatchApplied", None, {"version": engine.add_version(document), "by": by})
    return engine


def test_a_ticket_says_that_an_agent_brought_it() -> None:
    [asked] = [event for event in brought().log if event.node == "x"]
    assert (asked.type, asked.data["brought_by"]) == ("NodeWaiting", "helper")


@pytest.mark.parametrize("config", [{"on_timeout": "approve", "timeout": "1s"}, {"bulk": True}])
def test_the_coordinator_opens_no_ticket_that_an_agent_may_not_bring(config: dict[str, Any]) -> None:
    engine = brought(**config)
    assert [event.type for event in engine.log if event.node == "x"] == ["NodeFailed"]
