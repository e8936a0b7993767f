"""The story of the tutorial, with the scripted provider: an agent changes its run while people look on and decide."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.axe import grave_faults
from tests.support.browser import signed_in
from tests.support.installation import ROOT, Installation, free_port
from tests.support.waiting import eventually

pytestmark = pytest.mark.browser

STORY = ROOT / "examples" / "customer-rows"
EVIL = "![x](http://canary.example/x.png) <img src=x onerror=alert(1)> [link](javascript:alert(1))"


@pytest.fixture(scope="module")
def aob(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An AOB with the scripted provider, which plays the story of the tutorial, and a model that talks slowly."""
    folder = Path(tmp_path_factory.mktemp("story"))
    made = Installation(folder / "home")
    script = json.loads((STORY / "script.json").read_text().replace("127.0.0.1:8800", f"127.0.0.1:{made.port}"))
    for turn in script["conversations"]["customers"]:
        turn["pause"] = 0.05
    script["conversations"]["slow"] = [{"text": f"{EVIL} " + "thinking aloud " * 40, "pause": 0.1}]
    (folder / "script.json").write_text(json.dumps(script))
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "worker.agent.scripted",
        "--port",
        str(port),
        "--script",
        str(folder / "script.json"),
    ]
    provider = subprocess.Popen(command, cwd=ROOT)
    made.environment["AOB_SCRIPTED_URL"] = f"http://127.0.0.1:{port}"
    try:
        with made:
            yield made
    finally:
        provider.terminate()
        provider.wait()


def shown(page: Page, name: str) -> Any:
    return page.locator(f"#run-graph [data-node='{name}']")


def waiting_ticket(aob: Installation, run: str) -> dict[str, Any]:
    def probe() -> Any:
        items = aob.request("GET", f"/api/v1/approvals?run={run}&status=open")[1]["items"]
        return items[0] if items else None

    return dict(eventually(probe, seconds=60, every=0.1))


def approved(aob: Installation, run: str) -> dict[str, Any]:
    """The run once its question was answered."""
    aob.aob("approve", waiting_ticket(aob, run)["ticket"], "approve", "--reason", "looks right")
    view = aob.ended(run)
    assert view["status"] == "completed", view
    assert aob.json("verify", run)["ok"]
    return view


def test_an_agent_adds_what_is_missing_while_one_looks_and_a_replay_agrees(page: Page, aob: Installation) -> None:
    run = aob.json("run", "start", "customer-rows")["id"]
    page.goto(f"/runs/{run}/")
    expect(shown(page, "review")).to_contain_text("scripted provider")
    for name in ("check", "upload", "ask", "notify", "summary"):
        expect(shown(page, name)).to_contain_text("patched by agent review", timeout=30_000)
    expect(shown(page, "ask")).to_contain_text("waiting", timeout=30_000)
    expect(page.locator("#agents")).to_contain_text("scripted provider")
    expect(page.locator("#agents")).to_contain_text("of 100,000 tokens")
    assert aob.json("run", "status", run)["status"] == "waiting"

    view = approved(aob, run)
    [output] = view["output"].values()
    assert [one["name"] for one in output["customers"]] == ["Ada", "Grace"]
    assert output["told"] == "2 customers were uploaded." and re.fullmatch("[0-9a-f]{64}", output["etag"])
    expect(shown(page, "summary")).to_contain_text("done")

    again = aob.json("replay", run, "--from", "check")["id"]
    assert json.dumps(approved(aob, again)["output"]) == json.dumps(view["output"])
    after = aob.json("replay", run, "--from", "notify")["id"]
    replayed = aob.ended(after)
    assert json.dumps(replayed["output"]) == json.dumps(view["output"])
    assert aob.json("verify", after)["ok"]
    outputs = [aob.request("GET", f"/api/v1/runs/{one}/outputs")[1]["outputs"] for one in (run, again, after)]
    for name in ("rows", "review", "check", "summary"):
        assert len({json.dumps(one[name]) for one in outputs}) == 1, name


def test_a_rejection_keeps_the_notification_back(aob: Installation) -> None:
    run = aob.json("run", "start", "customer-rows")["id"]
    aob.aob("approve", waiting_ticket(aob, run)["ticket"], "reject", "--reason", "not now")
    view = aob.ended(run)
    assert view["status"] == "completed" and "summary" not in view["output"]
    events = aob.request("GET", f"/api/v1/runs/{run}/events?limit=1000")[1]["items"]
    ends = {one["node"]: one["type"] for one in events if one["type"] in ("NodeCompleted", "NodeSkipped")}
    assert (ends["upload"], ends["notify"]) == ("NodeCompleted", "NodeSkipped")
    assert aob.json("verify", run)["ok"]


def begin_slow(aob: Installation) -> str:
    config = {"model": "scripted:slow", "prompt": EVIL, "system": "Be brief.", "budget": {"tokens": 20_000, "steps": 3}}
    document = {
        "name": "slow-talk",
        "limits": {"agents": {"tokens": 50_000, "cost": 1, "daily_tokens": 1_000_000}},
        "nodes": {"talk": {"type": "agent", "config": config}},
    }
    status, view = aob.request("POST", "/api/v1/runs", {"workflow": document})
    assert status == 201, view
    return str(view["id"])


def test_text_is_seen_while_it_streams_and_the_event_follows(page: Page, aob: Installation) -> None:
    run = begin_slow(aob)
    page.goto(f"/runs/{run}/?node=talk")
    live = page.locator("#conversation .live")
    expect(live).to_contain_text("![x](http://canary.example/x.png) <img src=x", timeout=30_000)
    expect(page.locator("#agents .agent-now")).to_contain_text("thinking aloud")
    expect(shown(page, "talk")).to_contain_text("running")
    assert aob.request("GET", f"/api/v1/runs/{run}")[1]["status"] in ("running", "waiting")
    expect(page.locator("#conversation .by-user")).to_contain_text("onerror=alert(1)")
    expect(page.locator("#conversation .by-answer:not(.live)")).to_contain_text("thinking aloud", timeout=60_000)
    expect(live).to_have_count(0)
    expect(page.locator("#agents")).to_contain_text("of 20,000 tokens")
    expect(page.locator("#agents")).to_contain_text("of 50,000 tokens")
    expect(page.locator("#agents")).to_contain_text("of 1,000,000 tokens")
    assert page.locator("#conversation img, #conversation .utterance a").count() == 0
    assert grave_faults(page) == []
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert aob.json("verify", run)["ok"]


def test_a_conversation_is_read_without_javascript_and_as_it_was(browser: Browser, aob: Installation) -> None:
    run = aob.json("run", "start", "customer-rows")["id"]
    ticket = waiting_ticket(aob, run)
    page = signed_in(browser, aob, java_script_enabled=False)
    page.goto(f"/runs/{run}/?node=review")
    talk = page.locator("#conversation")
    for words in (
        "These are rows of customers",
        "One row has no address",
        "read_workflow",
        "patch_workflow",
        "scripted:customers",
    ):
        expect(talk).to_contain_text(words)
    expect(talk.locator(".step")).to_have_count(5)
    talk.get_by_role("link", name="The patch that it made").click()
    expect(page.locator(".told")).to_contain_text("adds node upload")
    events = aob.request("GET", f"/api/v1/runs/{run}/events?limit=1000")[1]["items"]
    first = next(one["seq"] for one in events if one["type"] == "AgentStepEnded")
    page.goto(f"/runs/{run}/?node=review&at={first - 1}")
    expect(talk.locator(".step")).to_have_count(1)
    expect(talk).not_to_contain_text("I look at the workflow first")
    expect(page.locator("#agents")).to_contain_text("step 1 goes on")
    page.goto(f"/runs/{run}/?node=review&at={first}")
    expect(talk).to_contain_text("I look at the workflow first")
    expect(page.locator("#agents")).to_contain_text("1 step")
    aob.aob("approve", ticket["ticket"], "reject")
    page.context.close()
