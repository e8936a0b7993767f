"""The first page and the lists in Chromium: filters, bulk work, saved filters, keys, dead letters, pages of errors."""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.browser import signed_in
from tests.support.installation import Installation
from tests.support.waiting import eventually

pytestmark = pytest.mark.browser

WAITS = {
    "name": "waits-here",
    "description": "Waits for a nod.",
    "inputs": {"type": "object", "properties": {"customer": {"type": "string"}, "total": {"type": "integer"}}},
    "nodes": {"nod": {"type": "signal", "config": {"name": "nod"}}},
}
FAILS = {
    "name": "fails-here",
    "nodes": {
        "first": {"type": "transform", "config": {"output": 1}},
        "broken": {"type": "function", "config": {"name": "no.such"}, "retry": {"max_attempts": 1}},
    },
    "edges": {"on": {"from": "first", "to": "broken"}},
}


@pytest.fixture(scope="module")
def lists(aob: Installation, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """Two workflows: one whose runs wait, one whose runs fail."""
    for document in (WAITS, FAILS):
        path = Path(tmp_path_factory.mktemp("documents")) / "workflow.json"
        path.write_text(json.dumps(document))
        aob.aob("workflow", "push", str(path))
    return aob


def ask(aob: Installation, path: str, body: Any = None) -> Any:
    """What the API answers: these tests start many runs, and a process for each would be most of their time."""
    headers = {"Authorization": f"Bearer {aob.token}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(f"{aob.url}/api/v1{path}", data, headers), timeout=20) as answer:
        return json.load(answer)


def started(aob: Installation, workflow: str, until: str, **inputs: Any) -> str:
    run = str(ask(aob, "/runs", {"workflow": workflow, "inputs": inputs})["id"])
    eventually(lambda: status(aob, run) == until, seconds=20)
    return run


def status(aob: Installation, run: str) -> str:
    return str(ask(aob, f"/runs/{run}")["status"])


def row(page: Page, run: str) -> Any:
    return page.locator(f"#run-{run}")


def test_chosen_runs_are_cancelled_after_a_question_and_the_rest_are_not(page: Page, lists: Installation) -> None:
    first, second, kept = (started(lists, "waits-here", "waiting", customer=f"bulk-{place}") for place in range(3))
    page.goto("/runs/?workflow=waits-here")
    row(page, first).get_by_role("checkbox").check()
    row(page, second).get_by_role("checkbox").check()
    expect(page.locator("#chosen-count")).to_have_text("2 chosen")
    page.get_by_role("button", name="Cancel", exact=True).click()
    expect(page.get_by_role("heading", name="Cancel 2 runs?")).to_be_visible()
    page.get_by_label("Reason").fill("wrong file")
    page.get_by_role("button", name="Cancel 2 runs").click()
    expect(page.get_by_role("status")).to_contain_text("Cancelled 2 of 2")
    page.get_by_role("link", name="Back to the runs").click()
    expect(row(page, first).locator(".state")).to_have_text("cancelled")
    assert [status(lists, run) for run in (first, second, kept)] == ["cancelled", "cancelled", "waiting"]


def test_all_that_fit_the_filter_are_paused_step_by_step_and_others_are_left_alone(
    page: Page, lists: Installation
) -> None:
    wanted = [started(lists, "waits-here", "waiting", customer="many-ones") for _ in range(22)]
    other = started(lists, "waits-here", "waiting", customer="somebody else")
    page.goto("/runs/?status=waiting&input_text=many-ones")
    expect(page.locator("[data-row]")).to_have_count(22)
    page.locator("[data-pick-all]").check()
    page.get_by_label("all that fit the filter").check()
    page.get_by_role("button", name="Pause", exact=True).click()
    expect(page.get_by_role("heading", name="Pause 22 runs?")).to_be_visible()
    page.get_by_role("button", name="Pause 22 runs").click()
    expect(page.get_by_role("status")).to_contain_text("Paused 22 of 22", timeout=20_000)
    assert {status(lists, run) for run in wanted} == {"paused"}
    assert status(lists, other) == "waiting"


def test_failed_runs_are_retried_from_their_node_and_what_does_not_take_it_is_named(
    page: Page, lists: Installation
) -> None:
    failed = started(lists, "fails-here", "failed")
    waiting = started(lists, "waits-here", "waiting")
    page.goto("/runs/")
    row(page, failed).get_by_role("checkbox").check()
    row(page, waiting).get_by_role("checkbox").check()
    page.get_by_role("button", name="Retry failed").click()
    expect(page.locator("#bulk-body")).to_contain_text("1 chosen run is left out")
    page.get_by_role("button", name="Start 1 new run").click()
    expect(page.get_by_role("status")).to_contain_text("Retried 1 of 1")
    [newest] = lists.json("run", "list", "--workflow", "fails-here", "--limit", "1")["items"]
    assert newest["forked_from"]["run"] == failed


def test_a_forged_bulk_request_reaches_nothing_and_says_why(page: Page, lists: Installation) -> None:
    ended = started(lists, "fails-here", "failed")
    page.goto("/runs/")
    answer = page.evaluate(
        """async ([runs]) => {
          const token = document.querySelector("[name=csrfmiddlewaretoken]").value;
          const body = new URLSearchParams({ csrfmiddlewaretoken: token, action: "cancel", confirmed: "1" });
          body.set("reached", runs);
          return (await fetch("/runs/bulk/", { method: "POST", body })).text();
        }""",
        [f"{ended},not-an-id,<script>alert(1)</script>"],
    )
    assert "Cancelled <strong>0</strong> of 3; 3 not" in answer
    assert "has ended" in answer and "<script>alert" not in answer


def test_an_expression_finds_runs_by_their_inputs_and_its_errors_stand_at_the_field(
    page: Page, lists: Installation
) -> None:
    rich = started(lists, "waits-here", "waiting", customer="cel", total=900)
    poor = started(lists, "waits-here", "waiting", customer="cel", total=9)
    page.goto("/runs/?workflow=waits-here")
    page.get_by_text("More filters").click()
    page.get_by_label("Expression (CEL)").fill("has(inputs.total) && inputs.total > 100 && status == 'waiting'")
    page.get_by_role("button", name="Filter", exact=True).click()
    expect(row(page, rich)).to_be_visible()
    expect(row(page, poor)).to_have_count(0)
    for wrong, words in (("inputs.total >", "is not CEL"), ("inputs.total + 1", "not true or false"), ("x > 1", "'x'")):
        page.get_by_label("Expression (CEL)").fill(wrong)
        page.get_by_role("button", name="Filter", exact=True).click()
        expect(page.locator("#problem-where")).to_contain_text(words)
        expect(page.get_by_label("Expression (CEL)")).to_have_value(wrong)
    page.get_by_label("Expression (CEL)").fill("inputs.nobody == 1")
    page.get_by_role("button", name="Filter", exact=True).click()
    expect(page.locator("#runs")).to_contain_text("could not be judged")


def test_text_in_inputs_is_found_whatever_it_is_made_of(lists: Installation) -> None:
    odd = 'Ünï "q" 100%_\\'
    run = started(lists, "waits-here", "waiting", customer=odd)
    large = started(lists, "waits-here", "waiting", customer="x" * 20_000 + "needle-in-a-blob")
    for text in (odd, 'ünï "Q"', "100%_"):
        assert [one["id"] for one in lists.json("run", "list", "--input-text", text)["items"]] == [run]
    assert [one["id"] for one in lists.json("run", "list", "--input-text", "needle-in-a-blob")["items"]] == [large]
    assert lists.json("run", "list", "--input-text", "100__\\")["items"] == []
    assert lists.json("run", "list", "--where", "inputs.customer.endsWith('a-blob')")["items"][0]["id"] == large
    assert lists.json("run", "list", "--until", "1h", "--input-text", "needle")["items"] == []
    for option, wrong in (("--since", "soon"), ("--until", "2030-99-01"), ("--status", "dead"), ("--where", "1")):
        assert lists.aob("run", "list", option, wrong, code=1)


def test_a_slow_expression_is_ended_and_the_page_still_answers(page: Page, lists: Installation) -> None:
    started(lists, "waits-here", "waiting", total=1)
    numbers = "[" + ",".join(map(str, range(300))) + "]"
    slow = f"{numbers}.exists(a, {numbers}.exists(b, a * b == -1))"
    answer = page.request.get("/runs/", params={"where": slow[:2000], "workflow": "waits-here"}, timeout=40_000)
    assert answer.status in (200, 422)
    assert page.request.get("/runs/", timeout=5_000).ok


def test_a_filter_is_saved_used_again_and_deleted(page: Page, lists: Installation) -> None:
    name = "Odd <b>ones</b>"
    page.goto("/runs/?status=failed&status=timed_out&workflow=fails-here&cursor=")
    page.get_by_text("Save this filter").click()
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Save", exact=True).click()
    chip = page.get_by_role("link", name=name)
    expect(chip).to_have_attribute("aria-current", "true")
    page.goto("/runs/")
    chip.click()
    expect(page).to_have_url(re.compile("status=failed&status=timed_out&workflow=fails-here"))
    expect(page.get_by_label("failed", exact=True)).to_be_checked()
    page.get_by_role("button", name=f"Delete the filter {name}").click()
    expect(chip).to_have_count(0)


def test_the_list_refreshes_itself_and_keeps_selection_and_focus(page: Page, lists: Installation) -> None:
    run = started(lists, "waits-here", "waiting", customer="focus")
    page.goto("/runs/?workflow=waits-here")
    row(page, run).get_by_role("checkbox").check()
    row(page, run).get_by_role("link").focus()
    newer = started(lists, "waits-here", "waiting", customer="newer")
    expect(row(page, newer)).to_be_visible(timeout=10_000)
    expect(row(page, run).get_by_role("checkbox")).to_be_checked()
    expect(row(page, run).get_by_role("link")).to_be_focused()
    expect(page.locator("#chosen-count")).to_have_text("1 chosen")


def test_the_list_is_used_by_keys_alone(page: Page, lists: Installation) -> None:
    run = started(lists, "waits-here", "waiting", customer="keys")
    page.goto("/runs/?workflow=waits-here")
    expect(row(page, run)).to_be_visible()
    page.keyboard.press("?")
    expect(page.get_by_role("heading", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    for key in ("j", "j", "k", "x"):
        page.keyboard.press(key)
    expect(row(page, run).get_by_role("checkbox")).to_be_checked()
    page.keyboard.press("/")
    expect(page.get_by_label("Text in the inputs")).to_be_focused()
    page.keyboard.type("jx?")
    expect(page.get_by_label("Text in the inputs")).to_have_value("jx?")
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(f"/runs/{run}/"))


def test_dead_letters_are_filtered_looked_into_discarded_with_a_reason_and_replayed(
    page: Page, lists: Installation
) -> None:
    for _ in range(2):
        started(lists, "fails-here", "failed")
    page.goto("/dead-letters/?workflow=fails-here&type=function")
    letters = page.locator("[data-row]")
    before = letters.count()
    assert before >= 2
    first = letters.first.get_attribute("id")
    letters.first.get_by_text("Error and input").click()
    expect(letters.first.locator("pre").first).to_contain_text("function_unknown")
    letters.first.get_by_role("checkbox").check()
    page.get_by_role("button", name="Discard").click()
    expect(page.get_by_role("alert")).to_contain_text("Say why")
    expect(page).to_have_url(re.compile("workflow=fails-here&type=function"))
    page.locator(f"#{first}").get_by_role("checkbox").check()
    page.get_by_label("Reason").fill("known fault")
    page.get_by_role("button", name="Discard").click()
    expect(page.locator("#messages")).to_contain_text("1 dead letter discarded")
    expect(letters).to_have_count(before - 1)
    page.get_by_role("link", name="discarded").click()
    expect(page.locator(f"#{first}")).to_contain_text("known fault")
    page.goto("/dead-letters/?code=no_such_code")
    expect(page.get_by_role("heading", name="No open dead letter fits")).to_be_visible()
    page.goto("/dead-letters/?workflow=fails-here")
    letters.first.get_by_role("button", name="Replay").click()
    expect(page).to_have_url(re.compile("/runs/"))


def test_workflows_are_searched_by_their_node_types_and_a_tag_is_moved(page: Page, lists: Installation) -> None:
    page.goto("/workflows/")
    page.get_by_label("Search").fill("signal")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("#workflow-waits-here")).to_be_visible()
    expect(page.locator("#workflow-fails-here")).to_have_count(0)
    page.get_by_role("link", name="waits-here", exact=True).click()
    page.get_by_label("Tag").fill("not a tag!")
    page.get_by_label("Tag").evaluate("field => field.removeAttribute('pattern')")
    page.get_by_role("button", name="Set the tag").click()
    expect(page.get_by_role("alert")).to_contain_text("cannot be a tag")
    page.get_by_label("Tag").fill("production")
    page.get_by_role("button", name="Set the tag").click()
    expect(page.locator("td .tag", has_text="production")).to_be_visible()
    page.goto("/workflows/?tag=production")
    expect(page.locator("[data-row]")).to_have_count(1)


def test_home_shows_what_waits_and_what_failed_and_follows(page: Page, lists: Installation) -> None:
    page.goto("/")
    run = started(lists, "waits-here", "waiting", customer="home")
    waiting = page.get_by_role("region", name="Waiting for you")
    expect(waiting.locator(f"a[href='/runs/{run}/']")).to_be_visible(timeout=10_000)
    expect(waiting).to_contain_text("the signal 'nod'")
    expect(page.get_by_role("img", name="runs started in the last")).to_be_visible()


def test_lists_are_read_and_bulk_work_is_done_without_script(browser: Browser, lists: Installation) -> None:
    run = started(lists, "waits-here", "waiting", customer="plain")
    page = signed_in(browser, lists, java_script_enabled=False)
    page.goto("/runs/")
    page.get_by_label("Text in the inputs").fill("plain")
    page.get_by_role("button", name="Filter", exact=True).click()
    row(page, run).get_by_role("checkbox").check()
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_role("button", name="Cancel 1 run").click()
    expect(page.get_by_role("status")).to_contain_text("Cancelled 1 of 1")
    for place in ("/", "/workflows/", "/workflows/waits-here/", "/dead-letters/"):
        page.goto(place)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.context.close()


def test_what_is_not_there_and_a_form_without_its_token_get_a_page_with_a_way_on(
    page: Page, browser: Browser, lists: Installation
) -> None:
    missing = page.request.get("/no/such/page/")
    assert missing.status == 404 and "Not found" in missing.text() and 'href="/runs/"' in missing.text()
    refused = page.request.post("/runs/bulk/", form={"action": "cancel"}, headers={"Origin": lists.url})
    assert refused.status == 403 and "Not allowed" in refused.text()


@pytest.mark.parametrize("place", ["/runs/", "/workflows/", "/dead-letters/", "/account/"])
def test_every_page_names_its_place_in_the_navigation(page: Page, lists: Installation, place: str) -> None:
    page.goto(place)
    expect(page.locator("header [aria-current='page']").first).to_have_attribute("href", place)


def test_the_menu_of_a_small_screen_leads_everywhere(browser: Browser, lists: Installation) -> None:
    page = signed_in(browser, lists, viewport={"width": 390, "height": 800}, java_script_enabled=False)
    page.goto("/")
    page.locator("summary", has_text="Menu").click()
    page.get_by_role("link", name="Workflows").first.click()
    expect(page.get_by_role("heading", level=1, name="Workflows")).to_be_visible()
    page.context.close()
