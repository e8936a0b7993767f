"""Patches of workflows and experiments through the public doors: REST, the command line and the pages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.support.browser import Colleague, signed_in
from tests.support.installation import Installation

MORE = [
    {"op": "add", "path": "/nodes/more", "value": {"type": "transform", "config": {"output": "{{ inputs.x * 2 }}"}}},
    {"op": "add", "path": "/edges/last-more", "value": {"from": "last", "to": "more"}},
]
BREAKING = [{"op": "replace", "path": "/nodes/last/config/output", "value": "{{ [1, 2][inputs.x] }}"}]


def publish(aob: Installation, name: str, **parts: Any) -> str:
    """A workflow of its own for each test, as they share one installation."""
    document = {
        "name": name,
        "nodes": {"last": {"type": "transform", "config": {"output": "{{ inputs.x }}"}}},
        **parts,
    }
    status, pushed = aob.request("POST", "/api/v1/workflows", {"document": document, "tag": "stable"})
    assert status == 201, pushed
    return str(pushed["version"])


def ran(aob: Installation, name: str, x: int) -> dict[str, Any]:
    status, run = aob.request("POST", "/api/v1/runs", {"workflow": name, "inputs": {"x": x}})
    assert status == 201, run
    return aob.ended(run["id"])


def test_a_patch_of_a_workflow_is_tried_applied_once_shown_and_undone(aob: Installation) -> None:
    base = publish(aob, "chained")
    for x in range(4):
        ran(aob, "chained", x)
    path, key = "/api/v1/workflows/chained/patches", {"Idempotency-Key": "k1"}
    status, patch = aob.request("POST", path, {"operations": BREAKING, "reason": "faster"}, **key)
    assert (status, patch["status"], patch["base"]) == (201, "applied", base), patch
    assert (patch["report"]["runs"], patch["report"]["fail"]) == (4, 2) and "2 would not complete" in patch["words"][0]
    assert aob.request("POST", path, {"operations": BREAKING, "reason": "faster"}, **key) == (201, patch)
    assert aob.request("GET", f"/api/v1/patches/{patch['id']}")[1] == patch
    status, documents = aob.request("GET", f"/api/v1/patches/{patch['id']}/documents")
    assert status == 200 and documents["after"]["nodes"]["last"]["config"]["output"] == BREAKING[0]["value"]
    waiting = aob.request(
        "POST", "/api/v1/workflows/chained/patches", {"operations": MORE, "mode": "shadow", "tag": "stable"}
    )[1]
    documents = aob.request("GET", f"/api/v1/patches/{waiting['id']}/documents")[1]
    assert list(documents["before"]["nodes"]) == ["last"] and sorted(documents["after"]["nodes"]) == ["last", "more"]
    page = aob.request("GET", f"{path}?tag=latest")[1]
    assert [one["id"] for one in page["items"]] == [patch["id"]] and page["next"] is None
    status, undone = aob.request("POST", f"/api/v1/patches/{patch['id']}/revert", {"reason": "it breaks"})
    assert status == 201 and undone["version"] == base
    versions = aob.request("GET", "/api/v1/workflows/chained/versions")[1]["items"]
    assert (versions[0]["note"], versions[0]["created_by"]) == ("faster", "admin")
    status, squashed = aob.request("POST", f"{path}/squash", {})
    assert status == 201 and squashed["operations"] == [] and squashed["version"] == base


def test_refusals_say_where_and_why(aob: Installation) -> None:
    base = publish(aob, "refusing")
    path = "/api/v1/workflows/refusing/patches"
    status, problem = aob.request("POST", path, {"operations": [{"op": "replace", "path": "/name", "value": "x"}]})
    assert status == 422 and [(one["code"], one["pointer"], one["layer"]) for one in problem["errors"]] == [
        ("patch_part_fixed", "/name", "server")
    ]
    assert aob.request("POST", path, {"operations": MORE, "base": base})[0] == 201
    status, problem = aob.request("POST", path, {"operations": MORE, "base": base})
    assert status == 409 and {one["pointer"] for one in problem["errors"]} == {"/nodes/more", "/edges/last-more"}
    for method, place, body, expected in (
        ("POST", "/api/v1/workflows/nobody/patches", {"operations": MORE}, 404),
        ("GET", "/api/v1/workflows/nobody/patches", None, 404),
        ("POST", path, {"operations": MORE, "tag": "nowhere"}, 404),
        ("POST", path, {"operations": MORE, "tag": base}, 422),
        ("POST", path, {"operations": {}}, 422),
        ("POST", f"{path}/squash", {}, 409),
        ("GET", f"{path}?cursor=x", None, 404),
        ("GET", "/api/v1/workflows/refusing/tags/stable/experiment", None, 404),
        ("PUT", "/api/v1/workflows/refusing/tags/stable/experiment", {"share": 500, "version": "latest"}, 422),
        ("PUT", "/api/v1/workflows/refusing/tags/stable/experiment", {"share": 5, "patch": "x"}, 404),
        ("POST", "/api/v1/patches/00000000-0000-4000-8000-000000000000/promote", {}, 404),
    ):
        status, problem = aob.request(method, place, body)
        assert status == expected and problem["code"], (method, place, body, problem)


@pytest.mark.browser
def test_the_command_line_patches_reviews_promotes_and_squashes(
    aob: Installation, colleague: Colleague, tmp_path: Path
) -> None:
    other = ("--token", colleague.token)
    publish(aob, "by-hand", patches="review")
    file = tmp_path / "patch.json"
    file.write_text(json.dumps(MORE))
    proposed = aob.json("patch", "propose", "by-hand", str(file), "--reason", "twice")
    assert proposed["status"] == "pending_review"
    assert "pending review" in aob.aob("patch", "list", "by-hand")
    assert "No patches" in aob.aob("patch", "list", "by-hand@stable")
    text = aob.aob("patch", "show", proposed["id"])
    assert "add /nodes/more" in text and "by-hand@latest" in text and "No recorded run" in text
    assert "somebody else" in aob.aob("patch", "approve", proposed["id"], code=1)
    assert aob.json("patch", "approve", proposed["id"], "--reason", "fine", *other)["number"] == 1
    assert "already" in aob.aob("patch", "reject", proposed["id"], code=1)
    assert ran(aob, "by-hand", 2)["output"] == {"more": 4}
    promoted = aob.json("patch", "promote", proposed["id"], "--tag", "stable")
    assert (promoted["tag"], promoted["status"]) == ("stable", "pending_review")
    second = aob.json("patch", "propose", "by-hand@latest", '[{"op": "add", "path": "/description", "value": "d"}]')
    aob.aob("patch", "approve", second["id"], *other)
    assert "applied" in aob.aob("patch", "squash", "by-hand")
    assert [one["status"] for one in aob.json("patch", "list", "by-hand@latest")["items"]] == [
        "applied", "squashed", "squashed",
    ]  # fmt: skip


def test_the_command_line_promotes_the_patch_of_a_run(aob: Installation) -> None:
    document = {"name": "promoting", "nodes": {"wait": {"type": "signal", "config": {"name": "go"}}}}
    aob.request("POST", "/api/v1/workflows", {"document": document})
    run = aob.request("POST", "/api/v1/runs", {"workflow": "promoting", "inputs": {"x": 1}})[1]["id"]
    operations = json.dumps([
        {"op": "add", "path": "/nodes/after", "value": {"type": "transform", "config": {"output": 1}}},
        {"op": "add", "path": "/edges/wait-after", "value": {"from": "wait", "to": "after"}},
    ])  # fmt: skip
    patch = aob.json("patch", "propose", run, operations, "--reason", "one more")
    promoted = aob.json("patch", "promote", patch["id"])
    assert (promoted["workflow"], promoted["promoted_from"]) == ("promoting", patch["id"])
    assert "after" in aob.json("workflow", "pull", "promoting")["document"]["nodes"]
    aob.aob("run", "cancel", run)


@pytest.mark.browser
def test_the_command_line_tries_a_version_and_keeps_it(aob: Installation, colleague: Colleague) -> None:
    publish(aob, "tried")
    proposed = aob.json("patch", "propose", "tried", json.dumps(MORE), "--mode", "review", "--token", colleague.token)
    begun = aob.json("workflow", "experiment", "tried", "--patch", proposed["id"], "--share", "50")
    assert begun["status"] == "live"
    lines = "\n".join(json.dumps({"workflow": "tried", "inputs": {"x": 1}}) for _ in range(40))
    aob.aob("run", "batch", "-", stdin=lines)
    before, variant = aob.json("workflow", "experiment", "tried", "--outcomes")["versions"]
    assert before["runs"] + variant["runs"] == 40 and min(before["runs"], variant["runs"]) > 3
    assert "variant" in aob.aob("workflow", "experiment", "tried", "--outcomes")
    aob.aob("workflow", "experiment", "tried", code=2)
    aob.aob("workflow", "experiment", "tried", "--version", "1", code=2)
    assert aob.json("workflow", "experiment", "tried", "--end", "keep")["status"] == "kept"
    assert aob.json("patch", "show", proposed["id"])["status"] == "applied"
    assert ran(aob, "tried", 3)["output"] == {"more": 6}
    assert "No experiment" in aob.aob("workflow", "experiment", "tried", "--end", "drop", code=1)


@pytest.mark.browser
def test_patches_are_reviewed_tried_and_undone_on_pages_without_scripts(
    aob: Installation, browser: Browser, colleague: Colleague
) -> None:
    base = publish(aob, "on-pages")
    for x in range(4):
        ran(aob, "on-pages", x)
    path = "/api/v1/workflows/on-pages/patches"
    reason = "<script>alert(1)</script> & " + "W" * 300
    body = {"operations": BREAKING, "reason": reason, "mode": "review"}
    patch = aob.request("POST", path, body, token=colleague.token)[1]
    page = signed_in(browser, aob, java_script_enabled=False)
    page.goto("/workflows/on-pages/")
    patches = page.locator("#patches")
    expect(patches).to_contain_text(reason[:100])
    expect(patches).to_contain_text("2 would not complete")
    for place in ("/workflows/on-pages/", f"/workflows/on-pages/patches/{patch['id']}/"):
        page.set_viewport_size({"width": 390, "height": 800})
        page.goto(place)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, place
    page.goto("/workflows/on-pages/")
    patches.locator("summary").last.click()
    patches.get_by_label("get").select_option(f"patch {patch['id']}")
    patches.get_by_label("in 100 of them").fill("40")
    patches.get_by_role("button", name="Begin").click()
    expect(page.get_by_text("40 in 100 new runs of on-pages@latest get the variant")).to_be_visible()
    expect(patches.get_by_text("live")).to_be_visible()
    patches.get_by_role("button", name="Drop it").click()
    expect(patches.get_by_text("dropped")).to_be_visible()
    expect(patches.get_by_text("rejected").first).to_be_visible()
    body = {"operations": MORE, "reason": "more", "mode": "review"}
    second = aob.request("POST", path, body, token=colleague.token)[1]
    page.goto(f"/workflows/on-pages/patches/{second['id']}/")
    expect(page.get_by_text("/nodes/more")).to_be_visible()
    page.get_by_label("Reason").fill("looked at it")
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_text("Applied: new runs of on-pages@latest")).to_be_visible()
    patches.get_by_role("link", name="more", exact=True).click()
    expect(page.get_by_text("looked at it")).to_be_visible()
    page.get_by_role("button", name="Apply it to this tag").click()
    page.goto(f"/workflows/on-pages/patches/{second['id']}/")
    page.get_by_role("button", name="Undo it").click()
    expect(patches.get_by_text("reverted").first).to_be_visible()
    patches.get_by_role("button", name="Squash the chain").click()
    expect(page.get_by_text("The chain is one patch now")).to_be_visible()
    tags = {one["tag"]: one["version"] for one in aob.request("GET", "/api/v1/workflows/on-pages/tags")[1]["items"]}
    assert tags["latest"] == base != tags["stable"]
    page.context.close()
