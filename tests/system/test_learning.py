"""Templates, the reference of node types, and the first tour from a fresh account to a finished run."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.browser import new_account, signed_in
from tests.support.installation import Installation
from tests.support.waiting import eventually
from workflows.gallery import Template, templates
from workflows.nodes.registry import node_types

HOSTILE = "<img src=x onerror=alert(1)>"


def run_template(aob: Installation, slug: str) -> str:
    status, view = aob.request("POST", f"/api/v1/templates/{slug}/run", {})
    assert status == 201, view
    return str(view["id"])


def includes(value: Any, part: Any) -> bool:
    """True when the value has everything that the part has."""
    if isinstance(part, dict):
        return isinstance(value, dict) and all(key in value and includes(value[key], part[key]) for key in part)
    return bool(value == part)


@pytest.fixture(scope="module")
def started(aob: Installation) -> dict[str, str]:
    """A run of every template; they run side by side while each is looked at."""
    return {slug: run_template(aob, slug) for slug in templates()}


@pytest.mark.parametrize("template", templates().values(), ids=lambda one: one.slug)
def test_a_template_runs_to_its_expected_end(aob: Installation, started: dict[str, str], template: Template) -> None:
    run = started[template.slug]
    if template.signal is not None:
        body = {"name": template.signal.name, "payload": template.signal.payload}
        assert aob.request("POST", f"/api/v1/runs/{run}/signal", body)[0] < 300
    if template.answer is not None:
        [ticket] = aob.request("GET", f"/api/v1/approvals?run={run}")[1]["items"]
        body = {"answer": template.answer}
        assert aob.request("POST", f"/api/v1/approvals/{ticket['ticket']}/decide", body)[0] == 200
    view = aob.ended(run)
    assert view["status"] == template.expect["status"], view["error"]
    assert includes(view["output"], template.expect.get("output", view["output"]))
    assert view["labels"] == {"aob.template": template.slug}
    if "error" in template.expect:
        assert view["error"]["code"] == template.expect["error"]
    if "replay" in template.expect:
        again = aob.request("POST", f"/api/v1/runs/{run}/replay", {"from": template.expect["replay"]["from"]})[1]
        assert includes(aob.ended(again["id"])["output"], template.expect["replay"]["output"])


@pytest.mark.parametrize(
    ("slug", "inputs", "change", "expected"),
    [
        ("branch-and-merge", {"amount": 20}, None, {"output": {"bill": 24.9}}),
        ("loop-until", {"interest": 0}, None, {"error": {"code": "limit_max_iterations"}}),
        ("error-edge", {"item": 7}, ("edges", "ask-old"), {"error": {"code": "http_status"}}),
        ("map-with-failing-items", {}, ("nodes", "each", "config", "on_item_error"), {"error": {"code": "item_failed"}}),
        ("retry-with-backoff", {"item": 7}, ("nodes", "ask", "retry"), {"status": "completed"}),
        ("pay-only-once", {"amount": 0}, None, {"error": {"code": "http_status", "details": {"status": 422}}}),
        ("wait-for-a-signal", {"patience": "100ms"}, None, {"output": {"answer": "nobody answered in time"}}),
        ("ask-a-person", {"patience": "100ms"}, None, {"output": {"why": "nobody decided in time"}}),
        ("ask-a-person", {"amount": 20}, None, {"output": {"refund": 20, "by": "nobody had to"}}),
        ("first-answer-wins", {"near": "2s", "far": "50ms"}, None, {"output": "the far shop"}),
    ],
)
def test_what_a_template_tells_to_try_happens(
    aob: Installation, slug: str, inputs: Any, change: tuple[str, ...] | None, expected: Any
) -> None:
    document = aob.request("GET", f"/api/v1/templates/{slug}")[1]["document"]
    part = document
    for key in (change or ())[:-1]:
        part = part[key]
    if change:
        del part[change[-1]]
        if change[0] == "edges":
            del document["nodes"]["old"], document["edges"]["old-tag"]
            document["nodes"]["tag"]["config"]["output"] = "{{ nodes.fresh }}"
    status, view = aob.request("POST", "/api/v1/runs", {"workflow": document, "inputs": inputs})
    assert status == 201, view
    assert includes(aob.ended(view["id"]), expected)


def test_the_example_with_an_agent_runs_without_a_key(aob: Installation) -> None:
    """By a script that plays its model: to the question whether the team is told, and on."""
    status, run = aob.request("POST", "/api/v1/runs", {"workflow": "customer-rows", "inputs": {}})
    assert status == 201, run

    def asked() -> Any:
        return aob.request("GET", f"/api/v1/approvals?run={run['id']}")[1]["items"]

    [ticket] = eventually(asked, seconds=30)
    assert aob.request("POST", f"/api/v1/approvals/{ticket['ticket']}/decide", {"answer": "approve"})[0] == 200
    view = aob.ended(run["id"])
    assert view["status"] == "completed", view["error"]


def test_an_amount_below_zero_is_not_even_started(aob: Installation) -> None:
    document = aob.request("GET", "/api/v1/templates/branch-and-merge")[1]["document"]
    status, problem = aob.request("POST", "/api/v1/runs", {"workflow": document, "inputs": {"amount": -5}})
    assert (status, problem["code"]) == (422, "inputs_invalid")


def test_the_gallery_from_the_command_line(aob: Installation) -> None:
    found = aob.json("template", "list", "retry")["items"]
    assert "retry-with-backoff" in [one["slug"] for one in found] and len(found) < len(templates())
    assert aob.aob("template", "show", "pay-only-once").startswith("Pay only once")
    name = f"mine-{uuid.uuid4().hex[:8]}"
    assert aob.json("template", "use", "large-data", "--name", name)["name"] == name
    assert aob.request("GET", f"/api/v1/workflows/{name}/draft")[1]["document"]["name"] == name
    assert "there is a workflow" in aob.aob("template", "use", "large-data", "--name", name, code=1).lower()
    assert "no template" in aob.aob("template", "show", "gone", code=1)
    assert aob.json("template", "run", "branch-and-merge")["output"] == {"bill": 120, "postage": 0}
    assert aob.json("node-types", "map")["errors"][0]["code"] == "map_items_not_list"
    assert "What" not in aob.aob("node-types", "gone", code=1)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"name": "../etc"}, 422, "name_invalid"),
        ({"name": HOSTILE}, 422, "name_invalid"),
        ({"name": "access-log"}, 409, "name_taken"),
        ({"nam": "x"}, 422, "unknown_field"),
        ({"name": 7}, 422, "wrong_type"),
    ],
)
def test_bad_names_are_refused_at_the_api(aob: Installation, body: Any, status: int, code: str) -> None:
    answer = aob.request("POST", "/api/v1/templates/large-data/use", body)
    assert (answer[0], answer[1]["code"]) == (status, code)
    assert aob.request("POST", "/api/v1/templates/..%2Fsettings/use", {})[0] == 404


@pytest.mark.browser
def test_a_template_is_found_read_used_under_a_free_name_and_run(page: Page, aob: Installation) -> None:
    page.goto("/templates/")
    page.get_by_label("Search").fill("idempotency key")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("status").filter(has_text="of")).to_contain_text(f"1 of {len(templates())}")
    page.get_by_role("link", name="Pay only once").click()
    expect(page.get_by_role("img", name="Charge the card (http) leads to Write the receipt")).to_be_visible()
    name = page.get_by_label("Name of your workflow")
    name.fill("access-log")
    page.get_by_role("button", name="Use this template").click()
    expect(page.get_by_role("alert")).to_contain_text("Take another name")
    name.fill(f"mine-{uuid.uuid4().hex[:8]}")
    page.get_by_role("button", name="Use this template").click()
    expect(page.locator(".react-flow__node")).to_have_count(2)
    expect(page.get_by_role("button", name="No problems")).to_be_visible()
    page.goto("/templates/branch-and-merge/")
    page.get_by_role("button", name="Run it now").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("branch-and-merge")
    page.goto("/templates/?q=no-such-word")
    expect(page.get_by_text("No template fits.")).to_be_visible()


@pytest.mark.browser
def test_a_run_of_a_document_that_nobody_published_leads_to_its_like(page: Page, aob: Installation) -> None:
    run = run_template(aob, "first-answer-wins")
    page.goto(f"/runs/{run}/")
    page.locator(".crumbs").get_by_role("link").last.click()
    expect(page.locator("#messages")).to_contain_text("has no published version")
    expect(page.get_by_role("heading", name="Runs", level=1)).to_be_visible()


@pytest.mark.browser
def test_the_reference_tells_everything_about_every_node_type(page: Page, aob: Installation) -> None:
    page.goto("/node-types/")
    for one in node_types().values():
        expect(page.get_by_role("link", name=one.title, exact=True).first).to_be_visible()
    page.get_by_label("Search").fill("http_status")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("link", name="HTTP request").click()
    expect(page.get_by_role("row", name="auth object")).to_be_visible()
    expect(page.get_by_role("row", name="client_secret")).to_be_visible()
    expect(page.get_by_role("row", name="http_address_refused")).to_contain_text("AOB_HTTP_ALLOW")
    assert page.request.get("/node-types/gone/").status == 404


@pytest.mark.browser
def test_the_gallery_and_the_reference_are_read_without_javascript(browser: Browser, aob: Installation) -> None:
    page = signed_in(browser, aob, java_script_enabled=False)
    page.goto(f"/templates/?q={HOSTILE}")
    expect(page.get_by_text("No template fits.")).to_be_visible()
    page.goto("/templates/?level=advanced")
    page.get_by_role("link", name="Dead letter and replay").click()
    expect(page.get_by_role("heading", name="What to try")).to_be_visible()
    page.get_by_role("link", name="HTTP request").click()
    expect(page.get_by_role("heading", name="Errors")).to_be_visible()
    page.context.close()


@pytest.fixture
def newcomer(browser: Browser, aob: Installation) -> Iterator[tuple[str, str]]:
    """An account that has never signed in."""
    yield new_account(browser, aob)


def covers(page: Page) -> bool:
    """True when the card lies over what it points at."""
    return bool(
        page.evaluate("""() => {
          const card = document.getElementById("tour").getBoundingClientRect();
          const spot = document.querySelector("[data-tour-target]").getBoundingClientRect();
          return !(spot.right < card.left || spot.left > card.right || spot.bottom < card.top || spot.top > card.bottom);
        }""")
    )


@pytest.mark.browser
def test_the_tour_by_mouse_from_a_new_account_to_a_finished_run(
    browser: Browser, aob: Installation, newcomer: tuple[str, str]
) -> None:
    page = signed_in(browser, aob, user=newcomer)
    page.goto("/templates/")
    page.get_by_role("button", name="Start the tour").click()
    card = page.get_by_role("region", name="Look at the graph")
    expect(card).to_contain_text("Step 2 of 5")
    page.get_by_role("button", name="Take me there").click()
    expect(page.locator("[data-tour-target]")).to_be_in_viewport()
    assert not covers(page)
    page.get_by_role("button", name="Use this template").click()
    expect(page.get_by_role("region", name="Your copy, ready to run")).to_contain_text("Step 3 of 5")
    expect(page.locator("[data-tour-target]")).to_have_text("Run")
    assert not covers(page)
    editor = page.url
    page.goto("/workflows/")
    page.get_by_role("link", name="Go on").click()
    expect(page).to_have_url(editor)
    page.locator(".toolbar").get_by_role("button", name="Run").click()
    dialog = page.get_by_role("dialog", name="Run")
    expect(dialog.get_by_role("region", name="Change one value")).to_contain_text("Step 4 of 5")
    page.keyboard.press("Escape")
    expect(page.get_by_role("region", name="Your copy, ready to run")).to_be_visible()
    page.locator(".toolbar").get_by_role("button", name="Run").click()
    dialog.get_by_role("spinbutton", name="Amount of the order").fill("20")
    dialog.get_by_role("button", name="Run").click()
    expect(page.get_by_role("region", name="You have run a workflow")).to_contain_text("Step 5 of 5")
    expect(page.locator("#tour [role=status]")).to_contain_text("You have run a workflow")
    expect(page.locator("main")).to_contain_text("24.9")
    page.get_by_role("link", name="More templates").click()
    expect(page.get_by_role("heading", name="Templates", level=1)).to_be_visible()
    expect(page.locator(".tour, .tour-offer")).to_have_count(0)
    page.goto("/account/")
    page.get_by_role("button", name="Take the tour").click()
    expect(page.get_by_role("region", name="Look at the graph")).to_be_visible()
    page.get_by_role("button", name="End the tour").click()
    expect(page.get_by_role("heading", name="Branch and merge")).to_be_visible()
    expect(page.locator(".tour, .tour-offer")).to_have_count(0)
    page.context.close()


def press_until(page: Page, name: str, key: str = "Tab") -> None:
    """Goes on by the keyboard until something of this name has the focus."""
    for _ in range(60):
        page.keyboard.press(key)
        if page.evaluate("document.activeElement.textContent.trim()").startswith(name):
            return
    raise AssertionError(f"{key} does not reach {name!r}")


@pytest.mark.browser
def test_the_tour_by_keyboard_on_a_phone(browser: Browser, aob: Installation, newcomer: tuple[str, str]) -> None:
    small = {"width": 390, "height": 844}
    page = signed_in(browser, aob, user=newcomer, viewport=small, reduced_motion="reduce", color_scheme="dark")
    page.goto("/templates/")
    press_until(page, "Start the tour")
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="Look at the graph")).to_be_visible()
    press_until(page, "Take me there")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Use this template")).to_be_focused()
    eventually(lambda: not covers(page))
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="Your copy, ready to run")).to_be_visible()
    expect(page.locator("[data-tour-target]")).to_be_visible()
    assert not covers(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    press_until(page, "Take me there")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="Change one value")).to_be_visible()
    press_until(page, "Take me there")
    page.keyboard.press("Enter")
    page.keyboard.press("Control+a")
    page.keyboard.type("20")
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="You have run a workflow")).to_be_visible()
    eventually(lambda: not covers(page))
    press_until(page, "Close")
    page.keyboard.press("Enter")
    expect(page.locator("#tour")).to_have_count(0)
    page.context.close()


@pytest.mark.browser
def test_the_tour_is_skipped_for_good_and_takes_no_nonsense(browser: Browser, aob: Installation, newcomer: Any) -> None:
    page = signed_in(browser, aob, user=newcomer)
    page.goto("/templates/")
    token = page.locator("[name=csrfmiddlewaretoken]").first.get_attribute("value") or ""

    def post(**form: str) -> Any:
        answer = page.request.post("/tour/", form={"csrfmiddlewaretoken": token, **form}, max_redirects=0)
        return answer.status, answer.headers.get("location")

    assert post(action="reach", step="99999999999")[0] == 400
    assert post(action="reach", step="3", place="https://evil.example/")[0] == 204
    assert post(action="gone")[0] == 400
    assert post(action="skip", back="//evil.example/")[1] == "/"
    page.goto("/templates/")
    expect(page.locator(".tour-offer")).to_have_count(0)
    page.context.close()


def test_the_picture_of_a_template_says_the_same_in_words(aob: Installation) -> None:
    from aob_web.ui.picture import picture

    drawn = picture(templates()["long-process"].document())
    assert "Send reminders (loop) repeats [send (subworkflow)]" in drawn.text
    body = next(box for box in drawn.boxes if box.name == "remind")
    inner = next(box for box in drawn.boxes if box.name == "remind/send")
    assert body.x < inner.x and inner.x + inner.width < body.x + body.width
    assert body.y < inner.y and inner.y + inner.height < body.y + body.height
    assert json.dumps([line.label for line in drawn.lines]).count("timed_out") == 1
