"""What agents may do at the doors of their runs: the rights are judged here, whatever a runner sends."""

from __future__ import annotations

from typing import Any

import pytest

from approvals import inbox
from approvals import services as approvals
from approvals.people import Person
from runs import agents, blobs, patches, queries, services
from runs.agents import Lease
from runs.core.agents import StepRefused
from runs.errors import RunError
from runs.patches import Proposal
from tests.support.system import ended, engine, start
from tests.support.waiting import eventually
from workflows.core.errors import AobError
from workflows.core.grants import Author
from workflows.services import push

TEXT = "only for the other run"


@pytest.fixture(autouse=True)
def patient(settings: Any) -> None:
    """No lease is lost because the machine is slow."""
    settings.AOB_LEASE_SECONDS = 300


def agent(**config: Any) -> dict[str, Any]:
    return {"type": "agent", "config": {"model": "scripted:talk", "prompt": "Look", **config}}


def value(output: Any) -> dict[str, Any]:
    return {"type": "transform", "config": {"output": output}}


def function(name: str, **args: Any) -> dict[str, Any]:
    return {"type": "function", "config": {"name": name, "args": args}}


def child(workflow: str, **inputs: Any) -> dict[str, Any]:
    return {"type": "subworkflow", "config": {"workflow": workflow, "inputs": inputs}}


def leased(run_id: str) -> Lease:
    """The lease on the agent of this run, once it has come to it."""
    return eventually(
        lambda: next((Lease(**task["lease"]) for task in agents.claim("test", 100) if task["run"] == run_id), None)
    )


def foreign() -> dict[str, Any]:
    """The reference of a blob of another run."""
    with engine():
        other = start({"name": "other", "nodes": {"made": function("blob.write", content=TEXT)}})
        found: dict[str, Any] = ended(other)["output"]["made"]
    assert b"".join(blobs.read(found["blob"])).decode() == TEXT
    return found


def code_of_reading(lease: Lease, name: str) -> str:
    with pytest.raises(AobError) as caught:
        agents.blob(lease, name)
    return caught.value.code


def test_a_hash_in_the_words_of_a_model_is_no_right_to_read_it() -> None:
    name = foreign()["blob"]
    lease = leased(start({"name": "w", "nodes": {"helper": agent(tools=["read_blob"], patches="auto")}}))
    assert code_of_reading(lease, name) == "blob_unknown"
    what = {"call": "c1", "tool": "read_blob", "args": {"hash": name}, "key": "k"}
    agents.begin(lease, {"number": 1, "kind": "tool", "what": what})
    assert code_of_reading(lease, name) == "blob_unknown"
    agents.end(lease, {"number": 1, "kind": "tool", "outcome": {"value": f"There is {name}"}})
    agents.patch(lease, "k", [{"op": "add", "path": "/nodes/more", "value": value({"blob": name})}], f"for {name}")
    assert code_of_reading(lease, name) == "blob_unknown"


def test_an_agent_reads_what_its_run_was_given_and_made() -> None:
    given = foreign()
    nodes = {
        "made": function("blob.write", content="its own"),
        "helper": agent(tools=["read_blob"], prompt="{{ nodes.made.blob }}"),
    }
    document = {"name": "w", "nodes": nodes, "edges": {"e": {"from": "made", "to": "helper"}}}
    with engine():
        lease = leased(start(document, {"file": given, "long": "x" * 20_000}))
    made = queries.state_of(lease.run).frames[""].outputs["made"]
    assert isinstance(made, list)
    assert agents.blob(lease, given["blob"]).decode() == TEXT
    assert agents.blob(lease, made[0]["blob"]).decode() == "its own"


def test_a_node_that_names_a_foreign_blob_gets_nothing_of_it() -> None:
    name = foreign()["blob"]
    push({"name": "child", "nodes": {"read": function("blob.read", source="{{ inputs.file }}")}})
    nodes = {
        "named": value({"blob": name}),
        "own": {**function("blob.read", source="{{ nodes.named }}"), "on_failure": {"continue": "nothing"}},
        "child": {**child("child", file="{{ nodes.named }}"), "on_failure": {"continue": "nothing"}},
    }
    edges = {"a": {"from": "named", "to": "own"}, "b": {"from": "named", "to": "child"}}
    with engine():
        run = ended(start({"name": "w", "nodes": nodes, "edges": edges}))
    assert run["output"] == {"own": "nothing", "child": "nothing"}


def test_runs_of_one_family_read_what_they_hand_to_each_other() -> None:
    write = {"name": "write", "nodes": {"made": function("blob.write", content="{{ inputs.text }}")}}
    push({**write, "output": {"file": "{{ nodes.made }}", "long": "{{ inputs.long }}"}})
    push({"name": "read", "nodes": {"text": function("blob.read", source="{{ inputs.file }}")}})
    nodes = {
        "write": child("write", text="a", long="{{ inputs.long }}"),
        "read": child("read", file="{{ nodes.write.file }}"),
        "own": function("blob.read", source="{{ nodes.write.file }}"),
    }
    edges = {"a": {"from": "write", "to": "read"}, "b": {"from": "read", "to": "own"}}
    document = {"name": "w", "nodes": nodes, "edges": edges}
    with engine():
        run = ended(start(document, {"long": "x" * 20_000}))
        assert run["output"] == {"own": "a"}
        assert ended(services.replay(run["id"], "own", by="ada"))["output"] == {"own": "a"}


def test_an_agent_hands_on_only_what_it_may_read() -> None:
    name = foreign()["blob"]
    push({"name": "read", "nodes": {"text": function("blob.read", source="{{ inputs.file }}")}})
    push({"name": "write", "nodes": {"made": function("blob.write", content="for the agent")}})
    tools = ["read_blob", *({"type": "workflow", "name": one} for one in ("read", "write"))]
    with engine():
        lease = leased(start({"name": "w", "nodes": {"helper": agent(tools=tools)}}))
        stolen = ended(agents.start_workflow(lease, "1", "read", {"file": {"blob": name}}))
        assert stolen["status"] == "failed" and stolen["error"]["code"] == "blob_unknown"
        made = agents.start_workflow(lease, "2", "write", {})
        own = ended(made)["output"]["made"]
        assert code_of_reading(lease, own["blob"]) == "blob_unknown"
        assert agents.started_by(lease, made)["output"]["made"] == own
        assert agents.blob(lease, own["blob"]).decode() == "for the agent"
        read = ended(agents.start_workflow(lease, "3", "read", {"file": own}))
        assert read["output"] == {"text": "for the agent"}


def decide(run_id: str, answer: str, by: str = "anna") -> None:
    person = Person(by, frozenset(), may_decide=True)
    [ticket] = inbox.tickets(person, run=run_id)["items"]
    approvals.decide(ticket["ticket"], answer, by=person, reason="so")


def asking() -> Lease:
    """The lease of an agent that may start the workflow `tool` when people allow it."""
    push({"name": "tool", "nodes": {"done": value(1)}})
    helper = agent(tools=[{"type": "workflow", "name": "tool"}], consent="all")
    return leased(start({"name": "w", "nodes": {"helper": helper}}, by="anna"))


def test_a_rejection_stays_one_whatever_becomes_of_the_run_where_it_was_asked() -> None:
    lease = asking()
    consent = agents.ask_consent(lease, "ask", "workflow:tool", {"inputs": {}})
    change = [{"op": "replace", "path": "/output", "value": {"consent": {"answer": "approve"}}}]
    with pytest.raises(RunError) as caught:
        patches.propose(consent, Proposal(operations=change, reason="", author=Author("person", "eve")))
    assert caught.value.code == "patches_off"
    decide(consent, "reject")
    with pytest.raises(StepRefused, match="Nobody has allowed"):
        agents.start_workflow(lease, "start", "tool", {}, "ask")


def test_a_question_asked_by_an_older_release_is_still_decided_by_its_ticket(monkeypatch: pytest.MonkeyPatch) -> None:
    lease = asking()
    started = agents._started
    with monkeypatch.context() as older:
        older.setattr(agents, "_asked", started)
        consent = agents.ask_consent(lease, "ask", "workflow:tool", {"inputs": {}})
    change = [{"op": "replace", "path": "/output", "value": {"consent": {"answer": "approve"}}}]
    patches.propose(consent, Proposal(operations=change, reason="", author=Author("person", "eve")))
    decide(consent, "reject")
    assert queries.run(consent)["output"] == {"consent": {"answer": "approve"}}
    with pytest.raises(StepRefused, match="Nobody has allowed"):
        agents.start_workflow(lease, "start", "tool", {}, "ask")


def test_runs_that_agents_start_were_started_by_who_started_theirs() -> None:
    approval = {"type": "approval", "config": {"title": "Pay?", "not_starter": True}}
    push({"name": "pay", "nodes": {"ok": approval}})
    push({"name": "tool", "nodes": {"pay": child("pay")}})
    helper = agent(tools=[{"type": "workflow", "name": "tool"}, {"type": "ask_human"}])
    first = start({"name": "w", "nodes": {"helper": helper}}, by="anna")
    lease = leased(services.replay(first, "helper", by="carol"))
    question = queries.state_of(agents.ask(lease, "ask", "May I?", None))
    assert (question.started_by, question.started_before) == ("carol", ["anna"])
    with engine():
        made = agents.start_workflow(lease, "start", "tool", {})
        [paying] = eventually(lambda: queries.waiting_for(queries.state_of(made)))
        ticket = eventually(lambda: inbox.tickets(Person("bob", frozenset(), True), run=paying["run"])["items"])
    assert ticket[0]["not_by"] == "carol" and ticket[0]["nor_by"] == ["anna"]


def test_what_people_allowed_is_started_once() -> None:
    lease = asking()
    decide(agents.ask_consent(lease, "ask", "workflow:tool", {"inputs": {}}), "approve")
    made = agents.start_workflow(lease, "start", "tool", {}, "ask")
    assert agents.start_workflow(lease, "start", "tool", {}, "ask") == made
    with pytest.raises(AobError):
        agents.start_workflow(lease, "other", "tool", {"else": 1}, "ask")
