"""Patches through the public doors: REST, the command line and the stream of events."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import Colleague
from tests.support.installation import Installation

DOCUMENT: dict[str, Any] = {
    "name": "patched",
    "nodes": {
        "wait": {"type": "signal", "config": {"name": "go"}},
        "last": {"type": "transform", "config": {"output": "{{ inputs.x }}"}},
    },
    "edges": {"wait-last": {"from": "wait", "to": "last"}},
}
MORE = [
    {"op": "add", "path": "/nodes/more", "value": {"type": "transform", "config": {"output": "{{ inputs.x * 2 }}"}}},
    {"op": "add", "path": "/edges/wait-more", "value": {"from": "wait", "to": "more"}},
]


def begin(aob: Installation, **parts: Any) -> str:
    return str(aob.request("POST", "/api/v1/runs", {"workflow": {**DOCUMENT, **parts}, "inputs": {"x": 21}})[1]["id"])


def test_a_patch_is_applied_once_shown_and_followed(aob: Installation) -> None:
    run = begin(aob)
    path, body, key = f"/api/v1/runs/{run}/patch", {"operations": MORE, "reason": "twice"}, {"Idempotency-Key": "k1"}
    status, patch = aob.request("POST", path, body, **key)
    assert status == 201 and patch["status"] == "applied" and patch["version"].startswith("sha256:"), patch
    assert aob.request("POST", path, body, **key) == (201, patch)
    assert [one["id"] for one in aob.request("GET", f"/api/v1/runs/{run}/patches")[1]["items"]] == [patch["id"]]
    shown = aob.request("GET", f"/api/v1/patches/{patch['id']}")[1]
    assert shown["operations"] == MORE and shown["by"] == {"kind": "person", "name": "admin"}
    assert aob.request("GET", f"/api/v1/runs/{run}/document")[1]["version"] == patch["version"]
    aob.aob("run", "signal", run, "go")
    assert aob.ended(run)["output"] == {"last": 21, "more": 42}
    assert aob.json("verify", run)["ok"]
    replayed = aob.json("replay", run, "--from", "more")
    assert aob.ended(replayed["id"])["output"] == {"last": 21, "more": 42}
    assert aob.json("verify", replayed["id"])["ok"]


def test_what_is_refused_says_where_why_and_by_which_layer(aob: Installation) -> None:
    run = begin(aob)
    operations = [*MORE, {"op": "replace", "path": "/nodes/wait/config/name", "value": "stop"}]
    status, problem = aob.request("POST", f"/api/v1/runs/{run}/patch", {"operations": operations})
    assert status == 422, problem
    assert [(one["pointer"], one["code"], one["layer"]) for one in problem["errors"]] == [
        ("/nodes/wait", "past_frozen", "server")
    ]
    for body in ({}, {"operations": {}}, {"operations": [], "author": "x"}, {"operations": [{"op": "add"}]}):
        status, problem = aob.request("POST", f"/api/v1/runs/{run}/patch", body)
        assert status == 422 and problem["code"], body
    base = aob.request("GET", f"/api/v1/runs/{run}/document")[1]["version"]
    assert aob.request("POST", f"/api/v1/runs/{run}/patch", {"operations": MORE, "base": base})[0] == 201
    status, problem = aob.request("POST", f"/api/v1/runs/{run}/patch", {"operations": MORE, "base": base})
    assert status == 409 and {one["pointer"] for one in problem["errors"]} == {"/nodes/more", "/edges/wait-more"}
    unknown = "00000000-0000-4000-8000-000000000000"
    assert aob.request("POST", f"/api/v1/runs/{unknown}/patch", {"operations": MORE})[0] == 404
    assert aob.request("GET", f"/api/v1/patches/{unknown}")[0] == 404
    aob.request("POST", f"/api/v1/runs/{run}/cancel", {})
    assert aob.request("POST", f"/api/v1/runs/{run}/patch", {"operations": MORE})[0] == 409


@pytest.mark.browser
def test_the_command_line_proposes_reviews_and_undoes(aob: Installation, colleague: Colleague, tmp_path: Path) -> None:
    run = begin(aob, patches="review")
    file = tmp_path / "patch.json"
    file.write_text(json.dumps(MORE))
    proposed = aob.json("patch", "propose", run, str(file), "--reason", "twice")
    assert proposed["status"] == "pending_review"
    assert "pending review" in aob.aob("patch", "list", run)
    text = aob.aob("patch", "show", proposed["id"])
    assert "add /nodes/more" in text and "twice" in text
    assert "somebody else" in aob.aob("patch", "approve", proposed["id"], code=1)
    other = ("--token", colleague.token)
    assert aob.json("patch", "approve", proposed["id"], "--reason", "fine", *other)["status"] == "applied"
    assert "already" in aob.aob("patch", "reject", proposed["id"], code=1)
    assert aob.json("patch", "revert", proposed["id"])["status"] == "pending_review"
    assert "no patch" in aob.aob("patch", "show", "nothing", code=1)
    aob.aob("patch", "propose", run, '{"op": "add"}', code=2)
    aob.aob("run", "signal", run, "go")
    assert aob.ended(run)["output"] == {"last": 21, "more": 42}
    assert "patch" in aob.aob("logs", "stream", run)
