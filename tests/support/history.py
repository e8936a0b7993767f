"""A small history in which every page has something to show, in words of the caller's choice: plain or hostile."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tests.support.installation import ROOT, Installation
from tests.support.waiting import eventually

PLAIN = "Orders of the week"
PICTURE = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63f8cfc0000003010100c9fe92ef"
    "0000000049454e44ae426082"
)
"""A PNG of one pixel."""


@dataclass(frozen=True)
class History:
    """The runs and workflows that `tell` made, by what they show."""

    completed: str
    failed: str
    waiting: str
    replayed: str
    drawn: str
    blob: str
    ticket: str
    decided: str
    patched: str
    applied: str
    proposed: str

    def places(self) -> dict[str, str]:
        """Every page of the product by a short name. Those that need no sign-in come first."""
        return {
            "sign-in": "/sign-in/",
            "home": "/",
            "workflows": "/workflows/",
            "workflow": f"/workflows/{self.drawn}/",
            "editor": f"/workflows/{self.drawn}/edit/",
            "runs": "/runs/",
            "run-completed": f"/runs/{self.completed}/",
            "run-failed": f"/runs/{self.failed}/",
            "run-waiting": f"/runs/{self.waiting}/",
            "run-compare": f"/runs/compare/?a={self.failed}&b={self.replayed}",
            "run-log": f"/runs/{self.failed}/log/",
            "run-node": f"/runs/{self.failed}/?node=check",
            "run-patched": f"/runs/{self.patched}/",
            "run-patch": f"/runs/{self.patched}/patches/{self.applied}/",
            "run-graph": f"/runs/{self.patched}/graph/",
            "run-patch-waiting": f"/runs/{self.patched}/patches/{self.proposed}/",
            "run-cancel": f"/runs/{self.waiting}/cancel/",
            "run-file": f"/runs/{self.failed}/files/{self.blob}/",
            "approvals": "/approvals/",
            "approvals-decided": "/approvals/?tab=closed",
            "ticket": f"/approvals/{self.ticket}/",
            "ticket-decided": f"/approvals/{self.decided}/",
            "dead-letters": "/dead-letters/",
            "account": "/account/",
            "templates": "/templates/",
            "template": "/templates/branch-and-merge/",
            "node-types": "/node-types/",
            "node-type": "/node-types/http/",
            "console": "/admin/",
            "console-tickets": "/admin/runs/ticket/",
            "console-runs": "/admin/runs/run/",
            "console-log": f"/admin/runs/run/{self.failed}/log/",
            "not-found": "/nothing-here/",
        }


def tell(aob: Installation, text: str = PLAIN) -> History:
    """Makes it. `text` stands wherever a user may write what he likes."""
    waiting = aob.json("run", "start", "long-process", "--input", "reminders=1")["id"]
    log = aob.json("run", "start", "access-log", "--inputs", str(ROOT / "examples/access-log/inputs.json"))["id"]
    blob = _upload(aob)
    drawn = "weekly-orders"
    status, answer = aob.request(
        "POST", "/api/v1/workflows", {"document": _document(drawn, text, aob.url), "note": text[:200]}
    )
    assert status in (200, 201), answer
    inputs = {"title": text, "picture": blob, text[:200]: [text, {text[:200]: text}]}
    failed = aob.request("POST", "/api/v1/runs", {"workflow": drawn, "inputs": inputs})[1]["id"]
    assert aob.ended(failed)["status"] == "failed"
    replayed = aob.request("POST", f"/api/v1/runs/{failed}/replay", {"from": "check"})[1]["id"]
    aob.ended(replayed)
    cancelled = aob.request("POST", "/api/v1/runs", {"workflow": "long-process", "inputs": {"reminders": 1}})[1]["id"]
    aob.request("POST", f"/api/v1/runs/{cancelled}/cancel", {"reason": text[:900]})
    patched, applied, proposed = _patched(aob, text)
    draft = aob.request("GET", f"/api/v1/workflows/{drawn}/draft")[1]
    changed = {**draft["document"], "description": f"{text}, changed"}
    aob.request("PUT", f"/api/v1/workflows/{drawn}/draft", {"document": changed, "revision": draft["revision"]})
    decided, ticket = (_asked(aob, text) for _ in range(2))
    answer = {"answer": "approve", "reason": text[:900], "form": {"note": text}}
    assert aob.request("POST", f"/api/v1/approvals/{decided}/decide", answer)[0] == 200
    eventually(lambda: aob.request("GET", f"/api/v1/runs/{waiting}")[1]["status"] == "waiting")
    aob.ended(log)
    return History(log, failed, waiting, replayed, drawn, str(blob["blob"]), ticket, decided, patched, applied, proposed)


def _asked(aob: Installation, text: str) -> str:
    """A ticket with everything that it can have."""
    note = {"type": "string", "title": text[:200], "description": text, "default": text[:200]}
    config = {
        "title": "{{ inputs.title }}",
        "body": "**{{ inputs.title }}**\n\n- [{{ inputs.title }}](https://example.com/)\n- `{{ inputs.title }}`",
        "values": {"title": "{{ inputs.title }}", "lines": [{"order": 1, "said": "{{ inputs.title }}"}]},
        "form": {"type": "object", "title": text, "properties": {"note": note, "sure": {"type": "boolean"}}},
        "timeout": "2h",
        "priority": "high",
    }
    document = {
        "name": "publish-orders",
        "nodes": {
            "look": {"type": "log", "config": {"message": "{{ inputs.title }}"}},
            "ask": {"type": "approval", "title": text[:200], "config": config},
            "send": {"type": "transform", "title": text[:200], "config": {"output": "{{ nodes.ask.form }}"}},
        },
        "edges": {"1": {"from": "look", "to": "ask"}, "2": {"from": "ask", "to": "send", "port": "approved"}},
    }
    status, view = aob.request("POST", "/api/v1/runs", {"workflow": document, "inputs": {"title": text}})
    assert status == 201 and view["status"] == "waiting", view
    return str(view["waiting_for"][0]["ticket"])


def _patched(aob: Installation, text: str) -> tuple[str, str, str]:
    """A run that waits, a patch that was applied to it, and one that waits for review."""
    nodes = {
        "wait": {"type": "signal", "title": text[:200], "config": {"name": "go"}},
        "last": {"type": "log", "config": {"message": text}},
        "old": {"type": "log", "config": {"message": "gone"}},
    }
    edges = {"1": {"from": "wait", "to": "last"}, "2": {"from": "wait", "to": "old"}}
    layout = {"wait": {"x": 0, "y": 0}, "last": {"x": 320, "y": 0}, "old": {"x": 320, "y": 140}}
    document = {"name": "patched-orders", "nodes": nodes, "edges": edges, "layout": layout}
    run = aob.request("POST", "/api/v1/runs", {"workflow": document, "inputs": {}})[1]["id"]
    output = {"op": "add", "path": "/nodes/more/config/output/said", "value": text}
    first = [
        {
            "op": "add",
            "path": "/nodes/more",
            "value": {"type": "transform", "title": text[:200], "config": {"output": {}}},
        },
        output,
        {"op": "add", "path": "/edges/wait-more", "value": {"from": "wait", "to": "more"}},
    ]
    second = [
        {
            "op": "add",
            "path": "/nodes/check",
            "value": {"type": "log", "title": text[-200:], "config": {"message": text}},
        },
        {"op": "add", "path": "/edges/more-check", "value": {"from": "more", "to": "check", "when": "output.said != ''"}},
        {"op": "replace", "path": "/nodes/last/config/message", "value": f"{text}!"},
        {"op": "remove", "path": "/edges/2"},
        {"op": "remove", "path": "/nodes/old"},
    ]
    found = []
    for operations, mode in ((first, "auto"), (second, "review")):
        body = {"operations": operations, "reason": text[:1_500], "mode": mode}
        status, patch = aob.request("POST", f"/api/v1/runs/{run}/patch", body)
        assert status == 201, patch
        found.append(str(patch["id"]))
    return str(run), found[0], found[1]


def _upload(aob: Installation) -> Any:
    status, ref = aob.request("POST", "/api/v1/blobs", data=PICTURE, Content_Type="image/png")
    assert status == 201, ref
    return ref


def _document(name: str, text: str, url: str) -> dict[str, Any]:
    """A graph with everything that can be named, of which an item of a map fails and a call ends as a dead letter."""
    shown = json.dumps(text)
    return {
        "name": name,
        "description": text,
        "inputs": {
            "type": "object",
            "title": text,
            "properties": {"title": {"type": "string", "title": text, "description": text, "default": "x"}},
        },
        "nodes": {
            "collect": {
                "type": "transform",
                "title": text[:200],
                "description": text,
                "config": {"output": {"title": "{{ inputs.title }}", "orders": [1, 2, 3, 4, 5]}},
            },
            "each": {
                "type": "map",
                "title": text[-200:],
                "config": {
                    "items": "nodes.collect.orders",
                    "max_concurrency": 3,
                    "on_item_error": "collect",
                    "body": {
                        "nodes": {
                            "price": {"type": "transform", "config": {"output": {"order": "{{ item }}", "said": text}}},
                            "refuse": {"type": "fail", "config": {"message": text}},
                        },
                        "edges": {"1": {"from": "price", "to": "refuse", "when": "item == 4"}},
                        "output": "{{ nodes.price }}",
                    },
                },
            },
            "check": {
                "type": "http",
                "title": text[-100:],
                "config": {"method": "GET", "url": f"{url}/nothing-here/"},
                "retry": {"max_attempts": 2, "base": "10ms"},
            },
            "say": {"type": "log", "title": text[:200], "config": {"message": "{{ inputs.title }}", "level": "warning"}},
            "report": {"type": "transform", "config": {"output": "{{ nodes.each }}"}},
        },
        "edges": {
            "1": {"from": "collect", "to": "each"},
            "2": {"from": "each", "to": "check", "when": f"{shown} != ''" if len(text) < 200 else "true"},
            "3": {"from": "check", "to": "report"},
            "4": {"from": "collect", "to": "say"},
        },
        "layout": {
            "collect": {"x": 0, "y": 40},
            "each": {"x": 320, "y": 0, "open": True, "w": 560, "h": 220},
            "each/price": {"x": 20, "y": 60},
            "each/refuse": {"x": 300, "y": 60},
            "check": {"x": 960, "y": 40},
            "report": {"x": 1280, "y": 40},
            "say": {"x": 320, "y": 300},
        },
        "notes": {
            "n1": {"kind": "note", "text": text, "x": 0, "y": 200, "w": 240, "h": 120},
            "g1": {"kind": "group", "text": text, "x": 930, "y": 0, "w": 640, "h": 160, "nodes": ["check", "report"]},
        },
    }
