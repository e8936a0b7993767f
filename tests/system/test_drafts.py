"""Drafts, tries and previews over the API: nothing is overwritten unseen, and bad input says what is wrong."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.support.installation import Installation

NODE = {"type": "transform", "config": {"output": 1}}


def document(name: str, **nodes: Any) -> dict[str, Any]:
    return {"name": name, "nodes": {**nodes}, "edges": {}}


def put(aob: Installation, name: str, doc: Any, revision: int, **more: Any) -> tuple[int, Any]:
    return aob.request("PUT", f"/api/v1/workflows/{name}/draft", {"document": doc, "revision": revision, **more})


def pushed(aob: Installation, name: str) -> dict[str, Any]:
    doc = document(name, a=NODE)
    assert aob.request("POST", "/api/v1/workflows", {"document": doc})[0] == 201
    return doc


def test_a_draft_begins_with_the_newest_version_and_keeps_what_is_incomplete(aob: Installation) -> None:
    doc = pushed(aob, "draft-1")
    status, draft = aob.request("GET", "/api/v1/workflows/draft-1/draft")
    assert status == 200 and draft["document"] == doc and draft["revision"] == 0
    broken = document("draft-1", a={"type": "http", "config": {}})
    status, saved = put(aob, "draft-1", broken, 0, pins={"a": {"x": [1]}})
    assert status == 200 and saved["revision"] == 1 and saved["pins"] == {"a": {"x": [1]}}
    assert aob.request("GET", "/api/v1/workflows/draft-1/draft")[1]["document"] == broken
    assert aob.request("POST", "/api/v1/workflows", {"document": broken})[0] == 422


def test_of_many_who_save_at_the_same_time_one_wins_and_the_others_get_what_won(aob: Installation) -> None:
    pushed(aob, "draft-2")
    answers: list[tuple[int, Any]] = []
    threads = [
        threading.Thread(
            target=lambda n=n: answers.append(put(aob, "draft-2", document("draft-2", **{f"n{n}": NODE}), 0))
        )
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    won = [body for status, body in answers if status == 200]
    lost = [body for status, body in answers if status == 409]
    assert len(won) == 1 and len(lost) == 7
    for body in lost:
        assert body["code"] == "draft_stale" and body["draft"]["document"] == won[0]["document"]
    assert put(aob, "draft-2", document("draft-2"), won[0]["revision"])[0] == 200


@pytest.mark.parametrize(
    ("doc", "code"),
    [
        (document("other"), "draft_invalid"),
        ({"name": "draft-3"}, "draft_invalid"),
        ({"name": "draft-3", "nodes": []}, "draft_invalid"),
        (document("draft-3", a={"type": "t", "config": {"x": "y" * 6_000_000}}), "limit_document_bytes"),
    ],
)
def test_what_is_no_draft_is_refused_and_nothing_is_kept(aob: Installation, doc: Any, code: str) -> None:
    pushed(aob, "draft-3")
    status, answer = put(aob, "draft-3", doc, 0)
    assert status == 422 and answer["code"] == code
    assert aob.request("GET", "/api/v1/workflows/draft-3/draft")[1]["revision"] == 0


def test_a_draft_of_nothing_is_not_found(aob: Installation) -> None:
    assert aob.request("GET", "/api/v1/workflows/no-such/draft")[0] == 404
    assert put(aob, "no-such", document("no-such"), 0)[0] == 404


def test_a_node_is_tried_alone_and_the_others_are_not_run(aob: Installation) -> None:
    doc = {
        "name": "draft-4",
        "nodes": {
            "call": {"type": "http", "config": {"method": "GET", "url": "http://192.0.2.1/never"}},
            "sum": {"type": "transform", "config": {"output": "{{ nodes.call.body.n + inputs.add }}"}},
        },
        "edges": {"1": {"from": "call", "to": "sum"}},
    }
    body = {"document": doc, "node": "sum", "inputs": {"add": 2}, "data": {"call": {"body": {"n": 40}}}}
    status, run = aob.request("POST", "/api/v1/workflows/try", body)
    assert status == 201 and aob.ended(run["id"])["output"] == {"sum": 42}
    assert run["labels"] == {"aob.try": "sum"}
    assert aob.request("GET", f"/api/v1/runs/{run['id']}/outputs")[1]["outputs"]["sum"] == 42
    status, answer = aob.request("POST", "/api/v1/workflows/try", {**body, "node": "nobody"})
    assert status == 422 and answer["code"] == "node_unknown"


def test_previews_are_evaluated_and_nothing_else_is_in_scope(aob: Installation) -> None:
    def preview(text: Any, kind: str = "expression", **scope: Any) -> Any:
        return aob.request("POST", "/api/v1/expressions/preview", {"kind": kind, "text": text, "scope": scope})[1]

    assert preview("nodes.a.sum()", nodes={"a": [1, 2]}) == {"ok": True, "value": 3}
    assert preview("{{ inputs.x }}!", "template", inputs={"x": "hi"}) == {"ok": True, "value": "hi!"}
    assert preview("inputs.x.", inputs={})["ok"] is False
    assert preview("secrets.token", secrets={"token": "x"})["ok"] is False
