"""What agents may do at the doors of their runs: the rights are judged here, whatever a runner sends."""

from __future__ import annotations

from typing import Any

import pytest

from runs import agents, blobs, queries, services
from runs.agents import Lease
from tests.support.system import ended, engine, start
from tests.support.waiting import eventually
from workflows.core.errors import AobError
from workflows.services import push

TEXT = "only for the other run"


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
