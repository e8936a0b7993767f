"""What the validator says about the config of an agent node, and what a config grants."""

from __future__ import annotations

from typing import Any

import pytest

from workflows.core.compile import compile_document
from workflows.core.validate import validate
from workflows.nodes.agent import budget_of, grant_of

MINIMAL = {"model": "scripted:hello", "prompt": "Hello {{ inputs.name }}."}


def document(config: dict[str, Any]) -> dict[str, Any]:
    return {"name": "a", "nodes": {"think": {"type": "agent", "config": {**MINIMAL, **config}}}}


def places(config: dict[str, Any]) -> set[tuple[str, str]]:
    return {(problem.pointer.removeprefix("/nodes/think/config"), problem.code) for problem in validate(document(config))}


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"model": ["openai:gpt-5", "anthropic:claude-sonnet-4-5", "ollama:llama3.1:8b"]},
        {
            "tools": [
                "read_blob",
                "ask_human",
                {"type": "http", "hosts": ["api.example.com", "10.0.0.1:80", "[::1]:8080"]},
            ]
        },
        {"tools": [{"type": "workflow", "name": "pay@stable"}, {"type": "workflow", "name": "mail"}]},
        {"tools": [{"type": "mcp", "url": "https://mcp.example/x", "hash": f"sha256:{'0' * 64}"}]},
        {"output_schema": {"type": "object"}, "budget": {"tokens": 5, "cost": 0.5, "seconds": 1.5, "steps": 1}},
        {"patches": "review", "may_add": {"node_types": ["http"], "hosts": ["a.example"], "workflows": ["w@x"]}},
        {"tools": ["read_blob", {"type": "http", "hosts": ["a.b"]}], "consent": "all", "consent_from": ["group:ops"]},
        {"tools": [{"type": "workflow", "name": "pay@stable"}], "consent": ["workflow:pay"]},
        {"tools": [{"type": "mcp", "url": "https://m.example:1/x"}], "consent": ["mcp:m.example", "mcp:m.example:1/add"]},
        {"temperature": 0, "max_tokens": 100, "on_invalid_patch": "continue", "system": "{{ inputs.x }}"},
    ],
)
def test_what_may_be_said(config: dict[str, Any]) -> None:
    assert places(config) == set()


@pytest.mark.parametrize(
    ("config", "place", "code"),
    [
        ({"model": "gpt-5"}, "/model", "schema_pattern"),
        ({"model": []}, "/model", "schema_min_items"),
        ({"model": ["a:b", "{{ inputs.m }}"]}, "/model/1", "schema_pattern"),
        ({"prompt": ""}, "/prompt", "schema_min_length"),
        ({"tools": ["shell"]}, "/tools/0", "agent_tool_unknown"),
        ({"tools": ["read_blob", {"type": "shell"}]}, "/tools/1/type", "agent_tool_unknown"),
        ({"tools": ["http"]}, "/tools/0", "agent_tool_settings"),
        ({"tools": [{"type": "http"}]}, "/tools/0", "field_missing"),
        ({"tools": [{"type": "http", "hosts": []}]}, "/tools/0/hosts", "schema_min_items"),
        ({"tools": [{"type": "http", "hosts": ["https://a.example"]}]}, "/tools/0/hosts/0", "agent_host"),
        ({"tools": [{"type": "http", "hosts": ["ok.example", "a.example/x"]}]}, "/tools/0/hosts/1", "agent_host"),
        ({"tools": [{"type": "http", "hosts": ["*.example"]}]}, "/tools/0/hosts/0", "agent_host"),
        ({"tools": [{"type": "http", "hosts": ["{{ inputs.host }}"]}]}, "/tools/0/hosts/0", "agent_host"),
        ({"tools": [{"type": "http", "hosts": ["a.b"], "methods": ["BREW"]}]}, "/tools/0/methods/0", "schema_enum"),
        ({"tools": [{"type": "read_blob", "x": 1}]}, "/tools/0", "unknown_field"),
        ({"tools": ["read_blob", "read_blob"]}, "/tools/1", "agent_tool_doubled"),
        ({"tools": [{"type": "mcp", "url": "ftp://x"}]}, "/tools/0/url", "schema_pattern"),
        ({"output_schema": {"type": "nonsense"}}, "/output_schema", "schema_invalid"),
        ({"output_schema": {"$ref": "http://evil.example/s"}}, "/output_schema/$ref", "schema_remote_reference"),
        ({"consent": ["http"]}, "/consent/0", "agent_consent_unknown"),
        ({"tools": ["read_blob"], "consent": ["read_blob", "http"]}, "/consent/1", "agent_consent_unknown"),
        ({"tools": [{"type": "workflow", "name": "pay"}], "consent": ["workflow:pa"]}, "/consent/0",
         "agent_consent_unknown"),
        ({"tools": [{"type": "mcp", "url": "https://m.example/x", "tools": ["add"]}], "consent": ["mcp:m.example/sub"]},
         "/consent/0", "agent_consent_unknown"),
        ({"tools": ["ask_human"], "consent": ["ask_human"]}, "/consent/0", "schema_pattern"),
        ({"consent": "some"}, "/consent", "schema_pattern"),
        ({"consent_from": ["x" * 300]}, "/consent_from", "approval_assignees_invalid"),
        ({"patches": "always"}, "/patches", "schema_enum"),
        ({"may_add": {"hosts": ["http://x"]}}, "/may_add/hosts/0", "agent_host"),
        ({"may_add": {"node_types": ["htpp"]}}, "/may_add/node_types/0", "unknown_node_type"),
        ({"budget": {"steps": 0}}, "/budget/steps", "schema_minimum"),
        ({"budget": {"euros": 1}}, "/budget", "unknown_field"),
        ({"budget": {"tokens": "{{ inputs.n }}"}}, "/budget/tokens", "wrong_type"),
        ({"prompt": "{{ nodes.ghost }}"}, "/prompt", "unknown_node"),
    ],
)  # fmt: skip
def test_nonsense_is_refused_with_its_place(config: dict[str, Any], place: str, code: str) -> None:
    assert (place, code) in places(config), places(config)


def test_only_the_two_texts_hold_expressions() -> None:
    config = {"output_schema": {"const": "{{ inputs.x }}"}, "system": "{{ inputs.x }}"}
    node = compile_document(document(config)).graphs[""].nodes["think"]
    assert set(node.config.parts) == {"prompt", "system"}
    assert node.config.literal["output_schema"] == {"const": "{{ inputs.x }}"}
    assert node.retry.max_attempts == 1
    assert node.timeout is None


def test_a_config_grants_what_it_names_and_no_effects_by_default() -> None:
    assert grant_of(MINIMAL) == {
        "models": [MINIMAL["model"]],
        "tools": [],
        "consent": [],
        "consent_from": [],
        "patches": "off",
        "may_add": {
            "node_types": ["transform", "switch", "log", "fail", "delay"],
            "hosts": [],
            "workflows": [],
            "recipients": [],
        },
    }
    more = grant_of({**MINIMAL, "tools": ["read_blob"], "patches": "auto", "may_add": {"node_types": ["http"]}})
    assert more["tools"] == [{"type": "read_blob"}]
    assert more["may_add"] == {"node_types": ["http"], "hosts": [], "workflows": [], "recipients": []}


def test_a_budget_is_always_whole() -> None:
    assert budget_of({"budget": {"steps": 3}}) == {"tokens": 200_000, "cost": 1.0, "seconds": 600, "steps": 3}
