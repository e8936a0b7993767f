"""The first layer that judges an agent's patches (hazard L3), and what the agent is told about them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.agents import DOCUMENT, MemoryTools, run_agent
from worker.agent import patching
from worker.agent.journal import Refused
from workflows.core.grants import beyond, grant_of_config
from workflows.core.patches import apply, normalized
from workflows.core.validate import validate
from workflows.nodes.agent import grant_of

NOTE = {"op": "add", "path": "/nodes/note", "value": {"type": "log", "config": {"message": "Hello."}}}
BAD = {"op": "add", "path": "/nodes/note", "value": {"type": "log", "config": {}}}
GOOD_CALL = {"tool": "patch_workflow", "args": {"operations": [NOTE], "reason": "Because."}}
BAD_CALL = {"tool": "patch_workflow", "args": {"operations": [BAD], "reason": "Because."}}


def grant(**may_add: Any) -> dict[str, Any]:
    return grant_of({"model": "a:b", "patches": "auto", "may_add": may_add, "tools": ["read_blob"]})


def add(node: dict[str, Any], path: str = "/nodes/new") -> list[dict[str, Any]]:
    return [{"op": "add", "path": path, "value": node}]


def codes(operations: Any, rights: dict[str, Any] | None = None, document: Any = DOCUMENT) -> set[str]:
    found = patching.problems(document, operations, rights or grant())
    assert all(one["layer"] == "agent" and "pointer" in one and one["message"] for one in found)
    return {one["code"] for one in found}


def test_a_valid_patch_is_sent_with_its_key() -> None:
    found = run_agent([GOOD_CALL, {"expect": ["applied"], "text": "Done."}], {"patches": "auto"})
    assert found.output == "Done."
    assert found.tools.effects == {"r1:think:2": [NOTE]}


@pytest.mark.parametrize("patches", ["off", None])
def test_without_the_right_there_is_no_tool(patches: str | None) -> None:
    found = run_agent([GOOD_CALL, {"text": "No."}], {"patches": patches} if patches else {})
    assert found.output == "No."
    assert found.tools.calls == []
    (outcome,) = found.journal.outcomes("patch_workflow")
    assert outcome["error"]["code"] == "capability"


def test_an_invalid_patch_is_told_with_pointers_and_examples_and_may_be_mended() -> None:
    expect = ["/nodes/note/config", "valid_examples"]
    found = run_agent([BAD_CALL, {"expect": expect, **GOOD_CALL}, {"text": "Done."}], {"patches": "auto"})
    assert found.output == "Done."
    assert len(found.tools.effects) == 1


def test_after_three_it_is_an_error() -> None:
    found = run_agent([BAD_CALL], {"patches": "auto"})
    assert found.error.code == "agent_patch_invalid"
    assert len(found.journal.outcomes("patch_workflow")) == 4
    assert found.tools.calls == []


def test_or_the_agent_goes_on_without_as_configured() -> None:
    turns = [BAD_CALL, BAD_CALL, BAD_CALL, BAD_CALL, {"expect": ["without changing"], "text": "Without."}]
    found = run_agent(turns, {"patches": "auto", "on_invalid_patch": "continue"})
    assert found.output == "Without."
    assert found.tools.calls == []


def test_a_valid_patch_begins_the_count_anew() -> None:
    turns = [BAD_CALL, BAD_CALL, BAD_CALL, GOOD_CALL, BAD_CALL, BAD_CALL, BAD_CALL, {"text": "Done."}]
    assert run_agent(turns, {"patches": "auto"}).output == "Done."


def test_the_count_is_the_same_when_it_is_replayed() -> None:
    first = run_agent([BAD_CALL], {"patches": "auto"})
    again = run_agent([BAD_CALL], {"patches": "auto"}, journal=first.journal.resumed())
    assert again.error.code == "agent_patch_invalid"
    assert again.asked == 0


def test_what_the_control_plane_refuses_counts_and_is_told() -> None:
    tools = MemoryTools()
    fault = {"pointer": "/nodes/note", "code": "frozen", "message": "It has started.", "layer": "run"}
    tools.refusal = Refused("patch_refused", "Refused.", errors=[fault])
    found = run_agent([GOOD_CALL, {"expect": ["It has started."], **GOOD_CALL}], {"patches": "auto"}, tools=tools)
    assert found.error.code == "agent_patch_invalid"
    assert found.error.details["errors"] == [fault]


def test_the_workflow_is_read_without_credentials() -> None:
    class Secret(MemoryTools):
        async def document(self) -> dict[str, Any]:
            auth = {"type": "bearer", "token": "s3cret"}
            node = {"type": "http", "config": {"method": "GET", "url": "https://a.example", "auth": auth}}
            return {"name": "x", "nodes": {"a": node}}

    found = run_agent([{"tool": "read_workflow"}, {"text": "Read."}], {"patches": "auto"}, tools=Secret())
    assert found.output == "Read."
    assert "s3cret" not in json.dumps([step.outcome for step in found.journal.steps])


def test_the_examples_are_valid() -> None:
    document = {**DOCUMENT, "edges": {}}
    for example in patching.EXAMPLES:
        operations = normalized(example["operations"])
        assert validate(apply(document, operations)) == []
        assert patching.problems(document, operations, grant()) == []


@pytest.mark.parametrize(
    ("operations", "code"),
    [
        ("no list", "patch_shape"),
        ([{"op": "sing", "path": ""}], "patch_operation_unknown"),
        ([{"op": "remove", "path": "/nodes/ghost"}], "patch_path"),
        ([{"op": "test", "path": "/name", "value": "other"}], "patch_test_failed"),
        ([{"op": "replace", "path": "", "value": []}], "wrong_type"),
        (add({"type": "nothing"}), "unknown_node_type"),
        ([{"op": "add", "path": "/edges", "value": {"e": {"from": "think", "to": "ghost"}}}], "edge_dangling"),
        ([{"op": "replace", "path": "/name", "value": "other"}], "capability"),
        ([{"op": "add", "path": "/limits", "value": {"max_agents": 9}}], "capability"),
        (add({"type": "http", "config": {"method": "GET", "url": "https://a.example"}}), "capability"),
        (add({"type": "subworkflow", "config": {"workflow": "pay"}}), "capability"),
        (add({"type": "agent", "config": {"model": "a:b", "prompt": "?"}}), "capability"),
        ([{"op": "add", "path": "/nodes/think/config/patches", "value": "auto"}], "capability"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(operations: Any, code: str) -> None:
    assert code in codes(operations)


@pytest.mark.parametrize(
    ("url", "is_granted"),
    [
        ("https://a.example/x?y={{ run.id }}", True), ("https://A.EXAMPLE/", True), ("https://a.example:8443/", True),
        ("https://a.example", True), ("https://b.example/", False), ("https://b.a.example/", False),
        ("https://a.example.evil.example/", False), ("https://a.example@evil.example/", False),
        ("https://{{ inputs.host }}/", False), ("{{ inputs.url }}", False), ("https://a.example{{ inputs.x }}/", False),
        ("https://a.{{ inputs.x }}", False), ("//a.example/", False), ("https://a.example\\@evil.example/", False),
    ],
)  # fmt: skip
def test_hosts_stand_in_the_document_as_text(url: str, is_granted: bool) -> None:
    rights = grant(node_types=["http"], hosts=["a.example"])
    found = codes(add({"type": "http", "config": {"method": "GET", "url": url}}), rights)
    assert ("capability" not in found) is is_granted, found


def test_bodies_are_looked_into() -> None:
    inner = {"nodes": {"get": {"type": "http", "config": {"method": "GET", "url": "https://a.example"}}}}
    node = {"type": "map", "config": {"items": "[1, 2]", "body": inner}}
    assert codes(add(node), grant(node_types=["map"])) == {"capability"}
    assert codes(add(node), grant(node_types=["map", "http"], hosts=["a.example"])) == set()


@pytest.mark.parametrize(
    ("config", "is_granted"),
    [
        ({}, True), ({"tools": ["read_blob"]}, True), ({"tools": [{"type": "read_blob"}]}, True),
        ({"tools": ["ask_human"]}, False), ({"patches": "auto"}, False), ({"may_add": {}}, False),
        ({"budget": {"tokens": 10}}, False),
    ],
)  # fmt: skip
def test_an_agent_hands_on_no_more_than_it_has(config: dict[str, Any], is_granted: bool) -> None:
    node = {"type": "agent", "config": {"model": "a:b", "prompt": "?", **config}}
    assert (codes(add(node), grant(node_types=["agent"])) == set()) is is_granted


@pytest.mark.parametrize(
    ("config", "is_granted"),
    [
        ({}, True), ({"tools": ["read_blob"]}, False), ({"tools": ["read_blob"], "consent": ["http"]}, False),
        ({"tools": ["read_blob"], "consent": ["read_blob"]}, True), ({"tools": ["read_blob"], "consent": "all"}, True),
        ({"model": "a:larger"}, False), ({"model": ["a:b", "a:larger"]}, False),
        ({"tools": ["read_blob"], "consent": "all", "consent_from": ["user:mallory"]}, False),
    ],
)  # fmt: skip
def test_an_agent_hands_on_that_people_are_asked(config: dict[str, Any], is_granted: bool) -> None:
    node = {"type": "agent", "config": {"model": "a:b", "prompt": "?", **config}}
    wide: dict[str, Any] = {"model": "a:b", "may_add": {"node_types": ["agent"]}}
    own = grant_of({**wide, "tools": ["read_blob"], "consent": ["read_blob"]})
    assert (codes(add(node), own) == set()) is is_granted
    wanted = grant_of_config({**wide, "tools": ["read_blob"], "consent": ["read_blob"]})
    assert ([problem.code for problem in beyond("x", node, wanted)] == []) is is_granted


def test_what_was_there_already_needs_no_right() -> None:
    node = {"type": "http", "config": {"method": "GET", "url": "{{ inputs.url }}"}}
    document = {"name": "x", "nodes": {"get": node}}
    assert codes([NOTE], document=document) == set()
    assert codes([{"op": "remove", "path": "/nodes/get"}, NOTE], document=document) == set()
    change = [{"op": "replace", "path": "/nodes/get/config/method", "value": "DELETE"}]
    assert codes(change, document=document) == {"capability"}
