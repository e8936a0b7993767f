"""Approvals in the pure core: who decides, when, and what follows; over random orders of answers and time."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runs.core.accept import accepts, due_timers
from runs.core.events import RULES, Fact
from runs.core.fork import fork
from runs.core.state import State, Ticket, dump, load
from runs.core.tickets import MAX_NOTES, can_approve
from runs.core.values import get
from tests.support.engine import RUN_ID, Engine, Failure
from tests.unit.runs_core.test_engine import check_log
from workflows.core.validate import validate

SLOW = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
PORTS = ("approved", "rejected", "timed_out")


def document(ports: tuple[str, ...] = PORTS, **config: Any) -> dict[str, Any]:
    nodes: dict[str, Any] = {"ok": {"type": "approval", "config": {"title": "Send {{ inputs.n }}?", **config}}}
    for port in ports:
        nodes[f"on_{port}"] = {"type": "transform", "config": {"output": "{{ nodes.ok.answer }}"}}
    edges = {port: {"from": "ok", "to": f"on_{port}", "port": port} for port in ports}
    return {"name": "w", "nodes": nodes, "edges": edges}


def asked(*, rules: int = RULES, **config: Any) -> Engine:
    return Engine(document(**config), {"n": 7, "none": None, "empty": "", "list": []}, rules=rules)


def answer(engine: Engine, who: str, said: str, *, groups: tuple[str, ...] = (), path: str = "ok", **more: Any) -> bool:
    """Whether the answer was accepted."""
    activation = engine.state.active.get(path)
    ticket = activation.ticket.id if activation is not None and activation.ticket is not None else "gone"
    data = {"ticket": ticket, "answer": said, "by": who, "groups": list(groups), "reason": None, **more}
    if not accepts(engine.state, Fact("TicketAnswered", path, data)):
        return False
    engine.fact("TicketAnswered", path, data)
    return True


def ending(engine: Engine) -> dict[str, Any]:
    [event] = [event for event in engine.log if event.type == "NodeCompleted" and event.node == "ok"]
    return {**event.data, "output": engine.values.load(get(event.data, "output") or [None])}


def test_the_ticket_says_what_is_asked_and_has_an_id_of_its_own() -> None:
    engine = asked(assignees=["anna", "user:anna", "group:ops"], values={"n": "{{ inputs.n }}"}, timeout="1h")
    waits = engine.log[-1]
    assert (waits.type, waits.data["title"], waits.data["values"]) == ("NodeWaiting", "Send 7?", {"n": 7})
    assert waits.data["assignees"] == ["user:anna", "group:ops"]
    assert waits.data["ticket"] == asked(assignees="anna").log[-1].data["ticket"] != RUN_ID
    assert engine.state.timers == {"ok": waits.data["due"]}


@pytest.mark.parametrize(("said", "port"), [("approve", "approved"), ("reject", "rejected")])
def test_an_answer_takes_its_port_and_becomes_the_output(said: str, port: str) -> None:
    engine = asked(timeout="1h")
    assert answer(engine, "anna", said, reason="so", form={"x": 1})
    assert ending(engine)["port"] == port
    output = ending(engine)["output"]
    assert (output["answer"], output["by"], output["reason"], output["form"]) == (said, "anna", "so", {"x": 1})
    assert "answers" not in output
    assert engine.output == {f"on_{port}": said}
    assert not answer(engine, "berta", "reject")


def test_a_port_without_an_edge_is_a_dead_branch() -> None:
    engine = Engine(document(("approved",)), {"n": 1})
    answer(engine, "anna", "reject")
    assert engine.state.frames[""].nodes == {"ok": "done", "on_approved": "skipped"}
    assert engine.state.status == "completed"


def test_only_those_who_are_asked_may_answer() -> None:
    engine = asked(assignees=["user:anna", "group:ops"])
    assert not answer(engine, "berta", "approve")
    assert not answer(engine, "berta", "approve", groups=("other",))
    assert not answer(engine, "ops", "approve") and not answer(engine, "group:ops", "approve")
    assert answer(engine, "berta", "approve", groups=("other", "ops"))


def test_whoever_started_the_run_does_not_decide_it() -> None:
    engine = asked(not_starter=True, assignees=["anna", "berta"])
    assert engine.log[-1].data.get("not_by") is None
    started = {"run": RUN_ID, "version": engine.log[0].data["version"], "inputs": {"n": 1}, "by": "anna"}
    engine.state, engine.log = State(), []
    engine.fact("RunStarted", None, started)
    assert engine.log[-1].data["not_by"] == "anna"
    assert not answer(engine, "anna", "approve")
    assert answer(engine, "berta", "approve")


def test_nor_do_those_who_started_the_runs_that_it_was_forked_from() -> None:
    engine = asked(not_starter=True, assignees=["anna", "berta", "carol"])
    started = {"run": RUN_ID, "version": engine.log[0].data["version"], "inputs": {"n": 1}}
    engine.state, engine.log = State(), []
    engine.fact("RunStarted", None, {**started, "by": "carol", "started_before": ["anna"]})
    assert (engine.log[-1].data["not_by"], engine.log[-1].data["nor_by"]) == ("carol", ["anna"])
    assert not answer(engine, "anna", "approve") and not answer(engine, "carol", "approve")
    assert not delegate(engine, "berta", "anna")
    assert answer(engine, "berta", "approve")


def test_a_quorum_that_only_starters_could_fill_fails_the_node() -> None:
    engine = asked(not_starter=True, assignees=["anna", "berta", "carol"], quorum={"n": 2})
    started = {"run": RUN_ID, "version": engine.log[0].data["version"], "inputs": {"n": 1}}
    engine.state, engine.log = State(), []
    engine.fact("RunStarted", None, {**started, "by": "carol", "started_before": ["anna"]})
    assert engine.log[-1].data["error"]["code"] == "approval_quorum_unreachable"


def test_a_quorum_needs_different_people_and_one_rejection_rejects() -> None:
    engine = asked(quorum={"n": 2})
    assert answer(engine, "anna", "approve") and not answer(engine, "anna", "approve")
    assert engine.state.active["ok"].result is None
    assert answer(engine, "berta", "approve")
    assert [one["by"] for one in ending(engine)["output"]["answers"]] == ["anna", "berta"]
    other = asked(quorum={"n": 3})
    answer(other, "anna", "approve")
    assert answer(other, "berta", "reject", reason="no")
    assert ending(other)["port"] == "rejected" and ending(other)["output"]["by"] == "berta"


def test_all_means_every_assignee_and_of_a_group_one() -> None:
    engine = asked(quorum="all", assignees=["user:anna", "group:ops"])
    assert answer(engine, "carl", "approve", groups=("ops",))
    assert answer(engine, "dora", "approve", groups=("ops",))
    assert engine.state.active["ok"].result is None
    assert answer(engine, "anna", "approve")
    assert ending(engine)["port"] == "approved"


def test_all_means_a_person_of_its_own_for_every_assignee() -> None:
    engine = asked(quorum="all", assignees=["user:anna", "group:ops"])
    assert engine.log[-1].data["each"] is True
    assert answer(engine, "anna", "approve", groups=("ops",))
    assert engine.state.active["ok"].result is None, "anna is one person"
    assert answer(engine, "berta", "approve", groups=("ops",))
    assert ending(engine)["port"] == "approved"
    for order in (("anna", "berta", "carl"), ("carl", "berta", "anna"), ("berta", "anna", "carl")):
        engine = asked(quorum="all", assignees=["group:ops", "group:leads", "user:anna"])
        groups = {"anna": ("ops", "leads"), "berta": ("ops", "leads"), "carl": ("ops",)}
        for place, who in enumerate(order):
            assert engine.state.active["ok"].result is None, place
            assert answer(engine, who, "approve", groups=groups[who])
        assert ending(engine)["port"] == "approved", order


@pytest.mark.parametrize(
    "hidden", ["\u202e", "\u2066", "\u200f", "\u00ad", "\u200b", "\ufeff", "\U000e0041", "\x07", "\u2028"]
)
def test_nothing_in_a_title_hides_or_turns_what_stands_beside_it(hidden: str) -> None:
    engine = asked(title=f"Pay {hidden}oga to{hidden} 👩\u200d💻?")
    shown = engine.log[-1].data["title"]
    assert hidden not in shown and shown.replace(" ", "") == "Payogato👩\u200d💻?"


@pytest.mark.parametrize("key", ["assignees", "escalate_to"])
@pytest.mark.parametrize(
    "nobody", ["{{ inputs.none }}", "{{ inputs.empty }}", "{{ inputs.list }}", "{{ inputs.empty }}, "]
)
def test_who_computes_nobody_does_not_ask_everybody(key: str, nobody: str) -> None:
    config = {"assignees": ["anna"], "timeout": "1h", "on_timeout": "escalate", "escalate_to": ["berta"], key: nobody}
    engine = asked(**config)
    error = next(event for event in engine.log if event.type == "NodeFailed").data["error"]
    assert (error["code"], error["pointer"]) == ("approval_assignees_empty", f"/nodes/ok/config/{key}")
    for literal in ({}, {"assignees": []}, {"assignees": ""}):
        assert answer(asked(**literal), "anybody", "approve")


def test_an_escalation_to_nobody_is_told_of_and_rejects() -> None:
    config = {"assignees": ["anna"], "timeout": "1h", "on_timeout": "escalate"}
    found = [(one.pointer, one.code, one.severity) for one in validate(document(**config))]
    assert ("/nodes/ok/config/on_timeout", "approval_escalates_to_nobody", "warning") in found
    engine = asked(**config)
    engine.fire_timer()
    assert ending(engine)["port"] == "rejected"


def test_a_run_that_began_by_the_older_rules_goes_on_by_them() -> None:
    engine = asked(rules=0, quorum="all", assignees=["user:anna", "group:ops"], title="Pay \u202eoga?")
    assert engine.log[-1].data["title"] == "Pay \u202eoga?" and "each" not in engine.log[-1].data
    assert answer(engine, "anna", "approve", groups=("ops",)) and ending(engine)["port"] == "approved"
    check_log(engine)
    engine = asked(rules=0, assignees="{{ inputs.list }}", timeout="1h", on_timeout="escalate")
    engine.fire_timer()
    assert engine.log[-1].type == "TicketEscalated" and answer(engine, "anybody", "approve")
    check_log(engine)


PEOPLE = st.dictionaries(
    st.sampled_from(["user:a", "user:b", "group:x", "group:y", "group:z"]),
    st.frozensets(st.sampled_from("abcd"), max_size=3), min_size=1,
)  # fmt: skip


@given(PEOPLE, st.sampled_from("abcd"))
def test_whether_those_who_exist_are_enough_is_what_trying_everybody_says(people: Any, barred: str) -> None:
    names = list(people)
    ticket = Ticket("t", names, quorum=0, not_by=barred, each=True)
    may = [people[name] - {barred} for name in names]
    tried = any(len(set(chosen)) == len(names) for chosen in itertools.product(*may))
    assert can_approve(ticket, people) is tried
    for quorum in (1, 2, 3):
        enough = len(frozenset().union(*may)) >= quorum
        assert can_approve(Ticket("t", names, quorum=quorum, not_by=barred), people) is enough


@pytest.mark.parametrize(
    ("config", "port", "said"),
    [
        ({}, "rejected", "reject"),
        ({"on_timeout": "reject"}, "rejected", "reject"),
        ({"on_timeout": "timed_out"}, "timed_out", "timed_out"),
        ({"on_timeout": "approve"}, "approved", "approve"),
    ],
)
def test_silence_is_an_answer_too(config: dict[str, Any], port: str, said: str) -> None:
    engine = asked(timeout="1h", **config)
    engine.fire_timer()
    assert ending(engine)["port"] == port
    assert ending(engine)["output"]["by"] is None and ending(engine)["output"]["answer"] == said


def test_escalation_asks_others_from_the_beginning_and_then_rejects() -> None:
    engine = asked(
        timeout="1h", on_timeout="escalate", escalate_to=["berta", "carl"], assignees=["anna", "berta"], quorum={"n": 2}
    )
    begun = engine.state.now
    assert answer(engine, "berta", "approve")
    engine.fire_timer()
    assert engine.log[-1].type == "TicketEscalated"
    assert engine.state.timers["ok"] >= begun + 2 * 3600 * 1_000_000
    assert not answer(engine, "anna", "approve")
    assert answer(engine, "berta", "approve")
    assert engine.state.active["ok"].result is None
    engine.fire_timer()
    assert ending(engine)["port"] == "rejected"


def test_an_answer_stands_though_the_run_is_paused_or_cancelled_in_the_same_instant() -> None:
    for after in ("PauseRequested", "CancelRequested"):
        engine = asked()
        engine.fact("PauseRequested", None, {})
        assert answer(engine, "anna", "approve")
        assert engine.log[-1].type == "TicketDecided"
        if after == "CancelRequested":
            engine.fact(after, None, {})
            assert engine.state.status == "cancelled"
        else:
            engine.fact("ResumeRequested", None, {})
            assert engine.state.status == "completed"


def test_a_run_that_is_ending_takes_no_answer() -> None:
    engine = asked()
    engine.state.cancel = {"reason": None}
    assert not answer(engine, "anna", "approve")


@pytest.mark.parametrize(
    ("config", "code"),
    [
        ({"assignees": "{{ inputs.n }}"}, "approval_assignees_invalid"),
        ({"assignees": ["{{ inputs }}"]}, "approval_assignees_invalid"),
        ({"assignees": "{{ ['anna', ''] }}"}, "approval_assignees_invalid"),
        ({"assignees": "{{ ['a'] }}", "quorum": {"n": 2}}, "approval_quorum_unreachable"),
        ({"timeout": "{{ 'soon' }}"}, "duration_syntax"),
        ({"title": "{{ inputs.gone }}"}, "expression_failed"),
    ],
)
def test_what_cannot_be_asked_fails_the_node_with_its_reason(config: dict[str, Any], code: str) -> None:
    engine = asked(**config)
    assert engine.state.status == "failed"
    assert next(event for event in engine.log if event.type == "NodeFailed").data["error"]["code"] == code


def test_a_long_title_is_cut_and_large_values_are_blobs() -> None:
    engine = Engine(document(values="{{ inputs.list }}"), {"n": "x" * 1000, "list": ["y" * 100] * 500})
    waits = engine.log[-1]
    assert len(waits.data["title"]) == 300
    assert waits.data["values_ref"] in engine.values.new


@pytest.mark.parametrize(
    ("config", "pointer", "severity"),
    [
        ({"assignees": ["a"], "quorum": {"n": 2}}, "/nodes/ok/config/quorum/n", "error"),
        ({"form": {"type": "no-such"}}, "/nodes/ok/config/form", "error"),
        ({"form": {"type": "array"}}, "/nodes/ok/config/form/type", "error"),
        ({"timeout": "soon"}, "/nodes/ok/config/timeout", "error"),
        ({"on_timeout": "{{ 'approve' }}"}, "/nodes/ok/config/on_timeout", "error"),
        ({"on_timeout": "approve"}, "/nodes/ok/config/on_timeout", "warning"),
        ({"timeout": "1h"}, "/edges/timed_out/port", "warning"),
        ({"escalate_to": ["a"], "timeout": "1h"}, "/nodes/ok/config/escalate_to", "warning"),
        ({"escalate_to": [["a"], "b"], "timeout": "1h"}, "/nodes/ok/config/escalate_to", "error"),
        ({"escalate_to": [["a"], [""]], "timeout": "1h"}, "/nodes/ok/config/escalate_to/1", "error"),
        ({"remind_every": "10ms"}, "/nodes/ok/config/remind_every", "error"),
        ({"veto": [1]}, "/nodes/ok/config/veto/0", "error"),
        ({"bulk": True, "form": {"required": ["x"]}}, "/nodes/ok/config/bulk", "error"),
    ],
)
def test_a_document_that_cannot_work_is_told_so(config: dict[str, Any], pointer: str, severity: str) -> None:
    found = [(problem.pointer, problem.severity) for problem in validate(document(**config))]
    assert (pointer, severity) in found


def test_a_replay_keeps_what_was_decided_and_asks_anew_what_was_open() -> None:
    graph = document(("approved",))
    graph["nodes"]["other"] = {"type": "approval", "config": {"title": "And this?"}}
    engine = Engine(graph, {"n": 1})
    answer(engine, "anna", "approve")
    version = engine.log[0].data["version"]
    first = engine.log[0]
    forked = {"run": RUN_ID, "from": "on_approved", "copied": 0}
    again = type(first)(1, "RunStarted", first.at, None, {**first.data, "run": "2" + RUN_ID[1:], "forked_from": forked})
    state, log = fork(engine.log, "on_approved", again, engine.irs.__getitem__, engine.values)
    assert state.frames[""].nodes == {"ok": "done", "on_approved": "ready", "other": "ready"}
    assert [event.node for event in log if event.type == "NodeWaiting"] == ["ok"]
    assert state.version == version


def delegate(engine: Engine, by: str, to: str, *, groups: tuple[str, ...] = (), to_groups: tuple[str, ...] = ()) -> bool:
    """Whether the delegation was accepted."""
    return told(engine, "TicketDelegated", by=by, to=to, groups=list(groups), to_groups=list(to_groups))


def told(engine: Engine, kind: str, **data: Any) -> bool:
    activation = engine.state.active.get("ok")
    ticket = activation.ticket.id if activation is not None and activation.ticket is not None else "gone"
    if not accepts(engine.state, Fact(kind, "ok", {"ticket": ticket, **data})):
        return False
    engine.fact(kind, "ok", {"ticket": ticket, **data})
    return True


def remind(engine: Engine) -> bool:
    """Whether a reminder was due before every timer and fired."""
    due = engine.state.reminders.get("ok")
    if due is None or due > min(engine.state.timers.values(), default=due):
        return False
    engine.now = max(engine.now, due)
    facts = [fact for fact in due_timers(engine.state, engine.now) if fact.type == "TicketReminded"]
    for fact in facts:
        if accepts(engine.state, fact):
            engine.fact(fact.type, fact.node, fact.data)
    return bool(facts)


def test_a_part_is_handed_to_somebody_else_and_not_doubled() -> None:
    engine = asked(assignees=["anna", "group:ops"], quorum="all")
    assert not delegate(engine, "carl", "dora"), "who is not asked has nothing to hand over"
    assert not delegate(engine, "anna", "anna")
    assert not delegate(engine, "anna", "berta", to_groups=("ops",)), "one answer would stand for two"
    assert delegate(engine, "anna", "dora") and not delegate(engine, "anna", "emil")
    assert not answer(engine, "anna", "approve")
    assert not delegate(engine, "dora", "anna"), "else it could go round for ever"
    assert delegate(engine, "dora", "emil") and not answer(engine, "dora", "approve")
    assert answer(engine, "berta", "approve", groups=("ops",))
    assert engine.state.active["ok"].result is None
    assert answer(engine, "emil", "approve")
    assert ending(engine)["port"] == "approved"


def test_a_part_in_a_group_is_handed_over_and_does_not_become_two() -> None:
    engine = asked(assignees=["group:ops"], quorum={"n": 2})
    assert delegate(engine, "anna", "dora", groups=("ops",))
    assert not answer(engine, "anna", "approve", groups=("ops",))
    assert answer(engine, "dora", "approve") and not delegate(engine, "berta", "dora", groups=("ops",))
    assert answer(engine, "berta", "approve", groups=("ops",))
    assert ending(engine)["port"] == "approved"


def test_a_ticket_for_anybody_and_one_for_others_than_the_starter_are_not_handed_to_the_wrong_ones() -> None:
    assert not delegate(asked(), "anna", "berta")
    engine = asked(assignees=["anna"], not_starter=True)
    ticket = engine.state.active["ok"].ticket
    assert ticket is not None
    ticket.not_by = "berta"
    assert not delegate(engine, "anna", "berta")


@pytest.mark.parametrize(
    ("veto", "said", "port"),
    [
        ("anyone", ["anna reject"], "rejected"),
        (["carl"], ["anna reject", "berta approve", "carl approve"], "approved"),
        (["carl"], ["carl reject"], "rejected"),
        (["carl"], ["anna reject", "berta reject"], "rejected"),
        (["carl"], ["anna approve", "berta reject", "dora approve"], "approved"),
    ],
)
def test_a_veto_decides_alone_and_other_rejections_count_up_to_the_quorum(veto: Any, said: list[str], port: str) -> None:
    engine = asked(assignees=["anna", "berta", "carl", "dora"], quorum={"n": 2}, veto=veto)
    for one in said:
        assert answer(engine, *one.split(" "))
    assert ending(engine)["port"] == port


def test_a_quorum_that_cannot_be_reached_any_more_rejects() -> None:
    engine = asked(assignees=["anna", "berta"], quorum={"n": 2}, veto=["carl"])
    assert answer(engine, "anna", "reject", reason="no")
    assert ending(engine)["port"] == "rejected"
    engine = asked(assignees=["anna", "berta", "carl"], quorum={"n": 3}, veto=["dora"])
    assert answer(engine, "berta", "approve") and answer(engine, "anna", "reject")
    assert ending(engine)["output"]["answer"] == "reject"
    engine = asked(assignees=["anna", "group:ops"], quorum="all", veto=["nobody"])
    answer(engine, "anna", "reject")
    assert ending(engine)["port"] == "rejected"


def test_an_escalation_goes_along_its_chain() -> None:
    engine = asked(
        assignees=["anna"],
        timeout="1h",
        on_timeout="escalate",
        escalate_to=[["berta"], ["carl", "group:leads"], ["dora"]],
    )
    for step in (["user:berta"], ["user:carl", "group:leads"], ["user:dora"]):
        engine.fire_timer()
        assert engine.log[-1].data["assignees"] == step
    assert not answer(engine, "berta", "approve")
    engine.fire_timer()
    assert ending(engine)["port"] == "rejected"


def test_people_are_reminded_until_it_is_decided_and_a_hundred_times_at_most() -> None:
    engine = asked(assignees=["anna"], remind_every="1h")
    begun = engine.state.now
    for number in range(1, 101):
        assert remind(engine)
        assert engine.log[-1].data["count"] == number and engine.log[-1].data["due"] == begun + number * 3_600_000_000
    assert not remind(engine) and engine.state.next_due() is None
    engine = asked(assignees=["anna"], remind_every="1h")
    engine.now += 10 * 3_600_000_000
    assert remind(engine) and not remind_at_once(engine), "what was missed is not made up for"
    assert engine.state.reminders["ok"] > engine.now
    engine.fact("PauseRequested", None, {})
    assert engine.state.next_due() is None and due_timers(engine.state, engine.now * 2) == []
    engine.fact("ResumeRequested", None, {})
    answer(engine, "anna", "approve")
    assert engine.state.reminders == {}


def remind_at_once(engine: Engine) -> bool:
    return bool(due_timers(engine.state, engine.now))


def test_nobody_there_goes_along_the_chain_and_then_to_those_who_look_after_the_installation() -> None:
    engine = asked(assignees=["gone"], timeout="1h", on_timeout="escalate", escalate_to=["also-gone"])
    assert told(engine, "TicketUnattended", assignees=["user:gone"], to=["user:admin"])
    assert engine.log[-1].data["assignees"] == ["user:also-gone"] and engine.log[-1].data["because"] == "unattended"
    assert not told(engine, "TicketUnattended", assignees=["user:gone"], to=["user:admin"]), "it is late"
    assert not told(engine, "TicketUnattended", assignees=["user:also-gone"], to=[]), "nobody is not everybody"
    assert told(engine, "TicketUnattended", assignees=["user:also-gone"], to=["user:admin"])
    assert not told(engine, "TicketUnattended", assignees=["user:admin"], to=["user:admin"])
    assert engine.log[-1].data["forsaken"] and not answer(engine, "also-gone", "approve")
    engine.fire_timer()
    assert ending(engine)["port"] == "rejected"
    engine = asked(assignees=["gone"])
    told(engine, "TicketUnattended", assignees=["user:gone"], to=["user:admin"])
    assert engine.state.timers == {} and answer(engine, "admin", "approve")


def test_claims_and_comments_change_nothing_but_are_bounded() -> None:
    engine = asked(assignees=["anna", "berta"])
    assert not told(engine, "TicketClaimed", by="carl") and not told(engine, "TicketReleased", by="anna")
    assert told(engine, "TicketClaimed", by="anna") and not told(engine, "TicketClaimed", by="anna")
    assert told(engine, "TicketClaimed", by="berta") and not told(engine, "TicketReleased", by="anna")
    assert told(engine, "TicketReleased", by="berta")
    taken = sum(told(engine, "TicketCommented", by="carl", text="x") for _ in range(MAX_NOTES))
    assert taken == MAX_NOTES - 2
    assert answer(engine, "anna", "approve")
    assert not told(engine, "TicketCommented", by="carl", text="too late")


def test_whoever_said_which_version_they_saw_does_not_decide_on_another() -> None:
    engine = asked()
    assert not answer(engine, "anna", "approve", on="sha256:other")
    assert answer(engine, "anna", "approve", on=engine.state.version)


# A failed node that people look at


def failing(**more: Any) -> dict[str, Any]:
    nodes = {
        "a": {"type": "http", "config": {"method": "GET", "url": "http://x/"}, "retry": {"max_attempts": 2}, **more},
        "b": {"type": "transform", "config": {"output": "{{ nodes.a }}"}},
    }
    return {"name": "w", "nodes": nodes, "edges": {"e": {"from": "a", "to": "b"}}}


def in_review(**more: Any) -> Engine:
    def world(path: str, attempt: int, config: Any) -> Any:
        if attempt < 3:
            raise Failure("boom\n```\n# no heading")
        return {"attempt": attempt}

    engine = Engine(failing(on_failure="review", **more), world=world)
    while engine.state.active["a"].kind == "task":
        engine.step()
    return engine


def test_a_failed_node_asks_people_and_runs_again_under_new_attempts() -> None:
    engine = in_review()
    waits = engine.log[-1]
    assert (waits.type, waits.data["kind"], waits.data["error"]["code"][:4]) == ("NodeWaiting", "failure", "boom")
    assert "    # no heading" in waits.data["body"]
    first = engine.state.active["a"].attempt
    assert answer(engine, "anna", "approve", path="a", form={"do": "retry"})
    assert engine.state.active["a"].attempt == first + 1 and engine.state.active["a"].failures == 0
    while engine.state.active["a"].kind == "task":
        engine.step()
    assert engine.state.active["a"].ticket is not None, "it has failed again, and is asked about again"
    assert answer(engine, "anna", "approve", path="a", form={"do": "retry"})
    engine.run()
    assert engine.state.status == "completed" and engine.output == {"b": {"attempt": 3}}
    attempts = [event.data["attempt"] for event in engine.log if event.type == "TaskScheduled"]
    assert attempts == sorted(set(attempts)), "no attempt comes twice"
    assert engine.refolded() == dump(engine.state)
    check_log(engine)


def test_a_failed_node_is_passed_over_with_a_value_or_fails_the_run() -> None:
    engine = in_review()
    answer(engine, "anna", "approve", path="a", form={"do": "skip", "value": [1]})
    assert engine.output == {"b": [1]}
    engine = in_review()
    answer(engine, "anna", "reject", path="a")
    assert engine.state.status == "failed"
    failed = next(event for event in engine.log if event.type == "NodeFailed")
    assert failed.data["handled"] == "fail" and failed.data["dead_letter"] and failed.data["error"]["code"][:4] == "boom"
    check_log(engine)


def test_only_those_who_are_named_review_a_failure() -> None:
    engine = in_review()
    assert answer(engine, "anybody", "approve", path="a")
    engine = Engine(failing(on_failure={"review": ["group:ops"]}, config={"method": "GET", "url": "{{ inputs.gone }}"}))
    assert engine.log[-1].data["kind"] == "failure", "what fails before it acts is asked about as well"
    assert not answer(engine, "anna", "approve", path="a")
    assert answer(engine, "anna", "approve", path="a", groups=("ops",), form={"do": "retry"})
    assert engine.log[-1].data["kind"] == "failure" and not engine.state.ended
    check_log(engine)


def test_a_body_is_not_reviewed_as_a_whole() -> None:
    body = {"nodes": {"x": {"type": "transform", "config": {"output": 1}}}, "edges": {}}
    node = {"type": "map", "config": {"items": "[1]", "body": body}, "on_failure": "review"}
    [problem] = validate({"name": "w", "nodes": {"m": node}, "edges": {}})
    assert (problem.code, problem.pointer) == ("review_of_body", "/nodes/m/on_failure")


PEOPLE = {"anna": (), "berta": ("ops",), "carl": ("ops", "leads"), "dora": ("leads",)}
names = st.sampled_from(sorted(PEOPLE))
steps = st.lists(
    st.one_of(
        st.tuples(names, st.sampled_from(["approve", "approve", "reject"])),
        st.tuples(names, names),
        st.sampled_from(["timer", "remind", "unattended", "pause", "resume", "claim", "crash"]),
    ),
    max_size=16,
)
configs = st.fixed_dictionaries(
    {
        "assignees": st.sampled_from([[], ["group:ops"], ["user:anna", "group:ops"], ["anna", "berta", "dora"]]),
        "quorum": st.sampled_from(["any", "all", {"n": 2}]),
        "on_timeout": st.sampled_from(["reject", "timed_out", "escalate", "approve"]),
        "escalate_to": st.sampled_from([[], ["group:leads"], ["carl", "dora"], [["carl", "anna"], ["group:ops"]]]),
        "veto": st.sampled_from(["anyone", ["anna"], ["group:ops", "dora"]]),
    }
)


@SLOW
@given(configs, steps, st.integers(1, 3), st.booleans())
def test_it_is_decided_once_by_those_who_may_and_the_log_says_the_same_again(
    config: dict[str, Any], taken: list[Any], slice_size: int, reminds: bool
) -> None:
    more = {"remind_every": "10m"} if reminds else {}
    engine = Engine(document(timeout="1h", **config, **more), {"n": 1}, slice_size=slice_size)
    for step in taken:
        if isinstance(step, tuple) and step[1] in PEOPLE:
            by, to = step
            delegate(engine, by, to, groups=PEOPLE[by], to_groups=PEOPLE[to])
        elif isinstance(step, tuple):
            answer(engine, step[0], step[1], groups=PEOPLE[step[0]])
        elif step == "timer":
            if "ok" in engine.state.timers and not engine.state.paused:
                engine.fire_timer()
        elif step == "remind":
            remind(engine)
        elif step == "claim":
            told(engine, "TicketClaimed", by="anna")
        elif step == "unattended":
            asks = engine.state.active["ok"].ticket
            told(engine, "TicketUnattended", assignees=asks.assignees if asks else [], to=["user:admin"])
        elif step == "crash":
            engine.crash()
        elif accepts(engine.state, Fact(f"{step.capitalize()}Requested", None, {})):
            engine.fact(f"{step.capitalize()}Requested", None, {})
        assert dump(load(dump(engine.state))) == dump(engine.state), "a snapshot is not what it was made of"
        if engine.state.ended:
            break
    if engine.state.paused:
        engine.fact("ResumeRequested", None, {})
    while not engine.state.ended:
        engine.fire_timer()
    types = engine.types()
    assert types.count("TicketDecided") == 1 and types.count("TicketEscalated") <= 3
    ends = [event for event in engine.log if event.node == "ok" and event.type in ("NodeCompleted", "NodeFailed")]
    assert len(ends) == 1 and ends[0].data["port"] == _decided(engine)
    assert types.count("NodeCompleted") <= 2, "the run went on more than once"
    assert engine.state.reminders == {}
    assert engine.refolded() == dump(engine.state)
    check_log(engine)


def _decided(engine: Engine) -> str:
    """What the recorded facts make of the ticket, said in another way than the engine does.

    A right is a token: delegating moves it, and who answers puts down theirs. Checks on the way that nobody without a
    right was heard.
    """
    config = engine.log[1].data
    quorum, veto = config["quorum"], config.get("veto")
    audience = config["assignees"]
    moved: dict[str, set[str]] = {}
    gave: set[str] = set()
    answers: list[tuple[str, set[str], str]] = []

    def rights(who: str, groups: Any) -> set[str]:
        if who in gave:
            return set()
        return {f"user:{who}", *(f"group:{group}" for group in groups)} | moved.get(who, set())

    for event in engine.log:
        data = event.data
        if event.type == "TicketEscalated":
            audience, answers, moved, gave = data["assignees"], [], {}, set()
        elif event.type == "TicketDelegated":
            mine = rights(data["by"], data["groups"])
            assert mine & set(audience), "somebody without the right handed it over"
            assert data["by"] not in {who for who, _, _ in answers}
            moved[data["to"]] = mine & {*audience, *(veto or ())}
            gave.add(data["by"])
        elif event.type == "TicketAnswered":
            mine = rights(data["by"], data["groups"])
            assert data["by"] not in gave and (not audience or mine & set(audience)), "heard without the right"
            assert data["by"] not in {who for who, _, _ in answers}, "heard twice"
            answers.append((data["by"], mine, data["answer"]))
    against = [mine for _, mine, said in answers if said == "reject"]
    favour = [mine for _, mine, said in answers if said == "approve"]
    if any(veto is None or mine & set(veto) for mine in against):
        return "rejected"
    if quorum == 0 and audience:
        if against:
            return "rejected"
        if set(audience) <= set().union(*favour):
            return "approved"
    else:
        if len(favour) >= max(quorum, 1):
            return "approved"
        if len(against) >= max(quorum, 1):
            return "rejected"
        last = [event for event in engine.log if event.type == "TicketDecided"][0].data
        if against and last["by"] is not None:
            assert audience and not any(name.startswith("group:") for name in audience), "it could still be approved"
            assert len(favour) + len(audience) - len(answers) < quorum, "enough people were left"
            return "rejected"
    return {"approve": "approved", "timed_out": "timed_out"}.get(config["on_timeout"], "rejected")
