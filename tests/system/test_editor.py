"""The graph editor in Chromium against the running system: drawn by keyboard and by mouse, undone, saved, merged."""

from __future__ import annotations

import contextlib
import itertools
import json
import uuid
from typing import Any

import pytest
from playwright.sync_api import Browser, Error, Locator, Page, Route, expect

from tests.support.axe import grave_faults
from tests.support.browser import signed_in
from tests.support.installation import ROOT, Installation
from tests.support.waiting import eventually

pytestmark = pytest.mark.browser
EXAMPLE = json.loads((ROOT / "examples" / "api-fan-out" / "workflow.json").read_text())


def begin(page: Page) -> str:
    """An empty canvas."""
    name = f"drawn-{uuid.uuid4().hex[:8]}"
    page.goto("/workflows/")
    page.get_by_role("textbox", name="Name", exact=True).fill(name)
    page.get_by_role("button", name="New workflow").click()
    expect(page.get_by_role("heading", name="An empty workflow")).to_be_visible()
    return name


def saved(aob: Installation, name: str) -> Any:
    return aob.request("GET", f"/api/v1/workflows/{name}/draft")[1]["document"]


def config(aob: Installation, name: str, node: str) -> Any:
    """What is saved of a node's settings; nothing while it is not saved at all."""
    return saved(aob, name)["nodes"].get(node, {}).get("config", {})


def published(aob: Installation, name: str) -> Any:
    """The document that was published last."""
    newest = aob.request("GET", f"/api/v1/workflows/{name}/versions")[1]["items"][0]
    return aob.request("GET", f"/api/v1/workflows/{name}/versions/{newest['version']}")[1]["document"]


def write(field: Locator, text: str) -> None:
    """In the place of what is there. Emptied first, because Chromium gives text that replaces coloured text an inline
    style, which the page's policy refuses."""
    field.click()
    field.press("Control+a")
    field.press("Delete")
    field.page.keyboard.insert_text(text)


def bodies(document: dict[str, Any]) -> dict[str, set[str]]:
    """What stands on the canvas, with the ids inside of each map or loop."""
    inside = {key: node["config"].get("body", {"nodes": {}}) for key, node in document["nodes"].items()}
    return {key: set(body["nodes"]) for key, body in inside.items()}


def becomes_the_example(aob: Installation, name: str) -> None:
    """Waits until what was drawn is saved, and says what differs when it does not become the same."""
    wanted = executable(EXAMPLE)
    with contextlib.suppress(AssertionError):
        eventually(lambda: executable(saved(aob, name)) == wanted, seconds=5)
    assert executable(saved(aob, name)) == wanted


def executable(document: dict[str, Any]) -> dict[str, Any]:
    """Without its name, and what is for people alone."""
    return {key: part for key, part in document.items() if key not in ("name", "layout", "notes", "description")}


class Keys:
    """A person who has no mouse."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def add(self, words: str) -> None:
        """Adds a node from the palette, behind what is chosen."""
        count = self.page.locator(".react-flow__node").count()
        self.press("/")
        expect(self.page.locator(".chooser input")).to_be_focused()
        self.page.keyboard.type(words)
        self.press("Enter")
        expect(self.page.locator(".react-flow__node")).to_have_count(count + 1)

    def fill(self, label: str, text: str, *, select: bool = False) -> None:
        """Goes to a field by Tab and writes into it, in the place of what is there."""
        self.to(label)
        if select:
            self.page.keyboard.type(text)
            return
        self.press("Control+a", "Delete")
        self.page.keyboard.insert_text(text)

    def entry(self, field: str, key: str, value: str) -> None:
        """A row with a name and a value, in a field that may still be below "More"."""
        self.more()
        self.to(f"New entry of {field}")
        self.page.keyboard.type(key)
        self.press("Enter")
        expect(self.page.get_by_label(f"{field}: {key}")).to_be_focused()
        self.page.keyboard.insert_text(value)

    def more(self) -> None:
        self.open("More")

    def open(self, summary: str) -> None:
        """Opens a folded part of a form."""
        self.to(summary, begins=True)
        self.press("Enter")

    def choose(self, words: str) -> None:
        """Chooses from the palette that is open."""
        expect(self.page.locator(".chooser input")).to_be_focused()
        self.page.keyboard.type(words)
        self.press("Enter")
        expect(self.page.locator(".chooser input")).to_have_count(0)

    def to(self, label: str, *, begins: bool = False) -> None:
        passed = []
        for _ in range(80):
            focused = str(self.page.evaluate(FOCUSED))
            if focused == label or (begins and focused.startswith(label)):
                return
            passed.append(focused[:40])
            self.press("Tab")
        raise AssertionError(f"Tab does not reach {label!r}, but {passed}")

    def form(self) -> None:
        """To the form of what is chosen."""
        self.press("Enter")
        expect(self.page.get_by_role("complementary").get_by_label("Id", exact=False).first).to_be_focused()

    def leave(self) -> None:
        """Out of a field. The first Escape may only close its list of completions."""
        for _ in range(3):
            if not self.page.evaluate("document.activeElement.matches('input, textarea, [contenteditable=true]')"):
                return
            self.press("Escape")


FOCUSED = """() => {
  const one = document.activeElement;
  const label = one.labels?.[0]?.querySelector(".field-title")?.textContent;
  const named = one.getAttribute("aria-label") ?? label ?? one.textContent;
  return (named ?? "").trim();
}"""


def settings_of_the_workflow(page: Page, keys: Keys) -> None:
    """Inputs and output of example (b)."""
    keys.press("w")
    expect(page.get_by_role("textbox", name="Inputs")).to_be_visible()
    keys.fill("Inputs", json.dumps(EXAMPLE["inputs"]))
    keys.fill("Output", EXAMPLE["output"])
    keys.leave()
    keys.press("w")


GAPS = """() => {
  window.gaps = 0;
  const look = () => void (window.gaps += document.querySelector("[aria-label=Inputs]") === null);
  new MutationObserver(look).observe(document.body, { childList: true, subtree: true });
}"""


def test_a_field_is_never_missing_while_the_one_with_colours_takes_its_place(page: Page) -> None:
    held: list[Route] = []
    page.route("**/CodeField.js", lambda route: held.append(route))
    begin(page)
    page.keyboard.press("w")
    expect(page.locator("textarea[aria-label=Inputs]")).to_be_visible()
    page.evaluate(GAPS)
    held[0].continue_()
    expect(page.locator(".cm-content[aria-label=Inputs]")).to_be_visible()
    assert page.evaluate("gaps") == 0


def test_the_whole_fan_out_is_drawn_with_the_keyboard_alone(page: Page, aob: Installation) -> None:
    name = begin(page)
    keys = Keys(page)
    each, get = EXAMPLE["nodes"]["each"], EXAMPLE["nodes"]["each"]["config"]["body"]["nodes"]["get"]
    settings_of_the_workflow(page, keys)
    keys.add("http")
    keys.form()
    keys.fill("Id", "list")
    keys.fill("Title", "Fetch the list")
    keys.fill("URL", EXAMPLE["nodes"]["list"]["config"]["url"])
    keys.entry("Query", "count", "{{ inputs.count }}")
    keys.leave()
    keys.add("map")
    keys.form()
    keys.fill("Id", "each")
    keys.fill("Title", each["title"])
    keys.fill("Items (CEL list)", each["config"]["items"])
    keys.fill("Max concurrency", "5")
    keys.leave()
    keys.add("transform")
    keys.form()
    keys.fill("Id", "summary")
    keys.fill("Title", "Sum up")
    keys.fill("Output", json.dumps(EXAMPLE["nodes"]["summary"]["config"]["output"]))
    keys.leave()
    keys.press("ArrowLeft", "Control+ArrowDown")
    keys.choose("http")
    keys.form()
    keys.fill("Id", "get")
    keys.fill("URL", get["config"]["url"])
    keys.entry("Query", "key", "{{ run.id }}")
    keys.open("Retries, time limit, failure")
    keys.fill("Policy", "standard", select=True)
    keys.fill("Max attempts", "5")
    keys.fill("Base", "200ms")
    keys.leave()
    keys.add("transform")
    keys.form()
    keys.fill("Id", "keep")
    keys.fill("Output", json.dumps(each["config"]["body"]["nodes"]["keep"]["config"]["output"]))
    keys.leave()
    keys.press("Escape")
    keys.form()
    keys.fill("Output of each round", each["config"]["body"]["output"])
    keys.leave()
    becomes_the_example(aob, name)
    expect(page.get_by_role("button", name="No problems")).to_be_visible()


class Mouse:
    """A person who uses keys for words and figures alone."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def drop(self, title: str, x: float, y: float, onto: str = ".react-flow__pane") -> None:
        """Drags a node type from the palette onto the canvas, or onto an open body."""
        count = self.page.locator(".react-flow__node").count()
        kind = self.page.get_by_role("navigation", name="Node types").get_by_role("button", name=title, exact=True)
        kind.drag_to(self.page.locator(onto), target_position={"x": x, "y": y})
        expect(self.page.locator(".react-flow__node")).to_have_count(count + 1)

    def fill(self, label: str, text: str) -> None:
        write(self.page.get_by_role("complementary").get_by_label(label, exact=True), text)

    def identify(self, name: str, title: str = "") -> None:
        field = self.page.locator('.side input[name="id"]')
        field.fill(name)
        field.blur()
        expect(self.page.locator(f'[data-node$="{name}"]')).to_be_visible()
        if title:
            self.fill("Title", title)

    def entry(self, field: str, key: str, value: str) -> None:
        self.page.locator(".side summary").filter(has_text="More").click()
        self.fill(f"New entry of {field}", key)
        self.page.get_by_label(f"Add an entry to {field}").click()
        self.fill(f"{field}: {key}", value)

    def connect(self, source: str, target: str) -> None:
        """Draws an edge from port to port."""
        begin = self.page.locator(f'[data-node="{source}"] > span > .port, [data-node="{source}"] > .port.source').first
        end = self.page.locator(f'[data-node="{target}"] > .port.target').first
        edges = self.page.locator(".react-flow__edge").count()
        begin.hover()
        self.page.mouse.down()
        box = end.bounding_box()
        assert box is not None
        self.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=8)
        self.page.mouse.up()
        expect(self.page.locator(".react-flow__edge")).to_have_count(edges + 1)


def test_the_whole_fan_out_is_drawn_with_the_mouse_alone(page: Page, aob: Installation) -> None:
    page.emulate_media(reduced_motion="reduce")
    name = begin(page)
    mouse = Mouse(page)
    each = EXAMPLE["nodes"]["each"]
    get, keep = each["config"]["body"]["nodes"]["get"], each["config"]["body"]["nodes"]["keep"]
    page.get_by_role("button", name="Settings of the workflow").click()
    mouse.fill("Inputs", json.dumps(EXAMPLE["inputs"]))
    mouse.fill("Output", EXAMPLE["output"])
    page.get_by_role("button", name="Close").click()
    mouse.drop("HTTP request", 40, 500)
    mouse.identify("list", "Fetch the list")
    mouse.fill("URL", EXAMPLE["nodes"]["list"]["config"]["url"])
    mouse.entry("Query", "count", "{{ inputs.count }}")
    mouse.drop("Map", 320, 300)
    mouse.identify("each", each["title"])
    mouse.fill("Items (CEL list)", each["config"]["items"])
    mouse.fill("Max concurrency", "5")
    mouse.drop("HTTP request", 40, 90, onto='[data-node="each"]')
    mouse.identify("get")
    mouse.fill("URL", get["config"]["url"])
    mouse.entry("Query", "key", "{{ run.id }}")
    page.locator(".side summary").filter(has_text="Retries").click()
    page.get_by_role("complementary").get_by_label("Policy").select_option("standard")
    mouse.fill("Max attempts", "5")
    mouse.fill("Base", "200ms")
    page.locator('[data-node="each/get"] .port.source').click()
    page.get_by_role("option", name="Transform").click()
    mouse.identify("keep")
    mouse.fill("Output", json.dumps(keep["config"]["output"]))
    page.locator('[data-node="each"] .body-head strong').click()
    mouse.fill("Output of each round", each["config"]["body"]["output"])
    page.get_by_role("button", name="Show everything").click()
    mouse.drop("Transform", 500, 640)
    mouse.identify("summary", "Sum up")
    mouse.fill("Output", json.dumps(EXAMPLE["nodes"]["summary"]["config"]["output"]))
    page.get_by_role("button", name="Close", exact=True).click()
    page.get_by_role("button", name="Show everything").click()
    expect(page.locator('[data-node="summary"]')).to_be_in_viewport(ratio=0.9)
    mouse.connect("list", "each")
    mouse.connect("each", "summary")
    becomes_the_example(aob, name)


def test_a_node_goes_into_a_body_and_out_of_it_by_mouse_and_by_key(page: Page, aob: Installation) -> None:
    name = begin(page)
    mouse, keys = Mouse(page), Keys(page)
    mouse.drop("Map", 60, 250)
    mouse.drop("Log", 60, 560)
    node, body = page.locator('[data-node="log"]').bounding_box(), page.locator('[data-node="map"]').bounding_box()
    assert node is not None and body is not None
    page.mouse.move(node["x"] + 60, node["y"] + 20)
    page.mouse.down()
    page.mouse.move(body["x"] + 100, body["y"] + 100, steps=12)
    expect(page.locator(".body.dropping")).to_be_visible()
    page.mouse.up()
    expect(page.locator('[data-node="map/log"]')).to_be_visible()
    inside = {"map": {"log"}}
    eventually(lambda: bodies(saved(aob, name)) == inside)
    keys.press("Escape", "Control+ArrowDown", "m")
    keys.choose("Out")
    expect(page.locator('[data-node="log"]')).to_be_visible()
    keys.press("Control+z", "Control+z")
    expect(page.locator('[data-node="log"]')).to_be_visible()


def test_a_group_is_closed_to_one_block_and_opened_again(page: Page, aob: Installation) -> None:
    page.goto("/workflows/api-fan-out/edit/")
    expect(page.locator('[data-node="each"]')).to_be_visible()
    keys = Keys(page)
    keys.press("Control+a", "g", "o")
    expect(page.locator(".closed-group")).to_contain_text("3 nodes")
    expect(page.locator('[data-node="list"]')).to_have_count(0)
    keys.press("o")
    expect(page.locator('[data-node="list"]')).to_be_visible()
    keys.press("Control+z", "Control+z", "Control+z")
    expect(page.locator("[data-note]")).to_have_count(0)


def test_what_was_drawn_survives_the_death_of_the_browser(browser: Browser, aob: Installation) -> None:
    page = signed_in(browser, aob)
    name = begin(page)
    page.context.set_offline(True)
    Keys(page).add("http")
    # A crash runs nothing of the page any more; a page that is closed may still say something, and then online.
    with page.expect_event("crash"), contextlib.suppress(Error):
        page.goto("chrome://crash")
    page.close()
    page.context.set_offline(False)
    assert "http" not in saved(aob, name)["nodes"]
    again = page.context.new_page()
    again.goto(f"/workflows/{name}/edit/")
    expect(again.locator('[data-node="http"]')).to_be_visible()
    eventually(lambda: "http" in saved(aob, name)["nodes"])
    again.context.close()


def test_who_saves_second_is_offered_a_merge_and_chooses(browser: Browser, page: Page, aob: Installation) -> None:
    name = begin(page)
    Keys(page).add("log")
    eventually(lambda: "log" in saved(aob, name)["nodes"])
    document = saved(aob, name)
    revision = aob.request("GET", f"/api/v1/workflows/{name}/draft")[1]["revision"]
    document["nodes"]["log"]["config"]["message"] = "theirs"
    document["nodes"]["more"] = {"type": "transform", "config": {"output": 1}}
    body = {"document": document, "revision": revision}
    assert aob.request("PUT", f"/api/v1/workflows/{name}/draft", body)[0] == 200
    page.locator('[data-pointer="/nodes/log/config/message"] .cm-content').fill("mine")
    dialog = page.get_by_role("dialog", name="Merge")
    expect(dialog).to_contain_text("/nodes/log/config/message")
    dialog.get_by_role("radio").nth(1).check()
    dialog.get_by_role("button", name="Save the merged draft").click()
    eventually(lambda: saved(aob, name)["nodes"].get("more") and page.get_by_text("Draft saved").count())
    assert saved(aob, name)["nodes"]["log"]["config"]["message"] == "theirs"
    page.locator('[data-node="log"]').click()
    expect(page.locator('[data-pointer="/nodes/log/config/message"] .cm-content')).to_have_text("theirs")


def test_nothing_is_published_or_run_past_a_conflict(page: Page, aob: Installation) -> None:
    name = begin(page)
    keys = Keys(page)
    keys.add("log")
    message = page.locator('[data-pointer="/nodes/log/config/message"] .cm-content')
    message.fill("first")
    eventually(lambda: config(aob, name, "log").get("message") == "first")
    expect(page.get_by_text("Draft saved")).to_be_visible()
    found = aob.request("GET", f"/api/v1/workflows/{name}/draft")[1]
    found["document"]["nodes"]["log"]["config"]["message"] = "theirs"
    body = {"document": found["document"], "revision": found["revision"]}
    assert aob.request("PUT", f"/api/v1/workflows/{name}/draft", body)[0] == 200
    message.fill("mine")
    page.keyboard.press("Control+Shift+Enter")
    publish, merge = page.get_by_role("dialog", name="Publish"), page.get_by_role("dialog", name="Merge")
    publish.get_by_label("What changed").press("Enter")
    expect(merge).to_contain_text("/nodes/log/config/message")
    assert aob.request("GET", f"/api/v1/workflows/{name}")[0] == 404
    merge.get_by_role("radio").nth(1).check()
    merge.get_by_role("button", name="Save the merged draft").click()
    publish.get_by_role("button", name="Publish").click()
    expect(page.get_by_role("status").filter(has_text="Published as No. 1")).to_be_visible()
    assert published(aob, name)["nodes"]["log"]["config"]["message"] == "theirs"


def test_what_others_saved_meanwhile_is_published_with_mine(page: Page, aob: Installation) -> None:
    name = begin(page)
    Keys(page).add("log")
    page.locator('[data-pointer="/nodes/log/config/message"] .cm-content').fill("mine")
    eventually(lambda: config(aob, name, "log").get("message") == "mine")
    expect(page.get_by_text("Draft saved")).to_be_visible()
    found = aob.request("GET", f"/api/v1/workflows/{name}/draft")[1]
    found["document"]["nodes"]["log"]["title"] = "Theirs"
    body = {"document": found["document"], "revision": found["revision"]}
    assert aob.request("PUT", f"/api/v1/workflows/{name}/draft", body)[0] == 200
    page.keyboard.press("Control+Shift+Enter")
    page.get_by_role("dialog").get_by_role("button", name="Publish").click()
    expect(page.get_by_role("status").filter(has_text="Published as No. 1")).to_be_visible()
    assert published(aob, name)["nodes"]["log"]["title"] == "Theirs"


def test_an_object_that_is_typed_where_any_json_may_stand_is_an_object(page: Page, aob: Installation) -> None:
    name = begin(page)
    Keys(page).add("transform")
    output = page.locator('[data-pointer="/nodes/transform/config/output"]')
    field = output.locator(".cm-content")
    for text, value in (
        ('{"total": 1}', {"total": 1}),
        ("{{ 1 + 1 }}", "{{ 1 + 1 }}"),
        ("Dear {{ 1 }}", "Dear {{ 1 }}"),
    ):
        write(field, text)
        eventually(lambda value=value: config(aob, name, "transform").get("output") == value)
    # Also where the form was opened on a text.
    page.reload()
    page.locator('[data-node="transform"]').click()
    expect(field).to_have_text("Dear {{ 1 }}")
    write(field, '["a"]')
    eventually(lambda: config(aob, name, "transform").get("output") == ["a"])
    expect(output).to_contain_text("Kept as JSON")
    output.get_by_role("button", name="as JSON").click()
    output.get_by_role("button", name="as text").click()
    write(field, '["a", 1]')
    eventually(lambda: config(aob, name, "transform").get("output") == '["a", 1]')


def test_what_cannot_be_read_is_kept_with_its_field_and_counted(page: Page, aob: Installation) -> None:
    name = begin(page)
    keys = Keys(page)
    keys.add("transform")
    field = page.locator('[data-pointer="/nodes/transform/config/output"]')
    write(field.locator(".cm-content"), '{"total": 1')
    expect(field.get_by_role("alert")).to_contain_text("Not JSON yet")
    page.locator('.side input[name="id"]').fill("the bill!")
    page.locator(".side").get_by_label("Title").focus()
    keys.leave()
    keys.add("log")
    page.locator('[data-pointer="/nodes/log/config/message"] .cm-content').fill("x")
    expect(page.get_by_role("button", name="2 problems")).to_be_visible()
    expect(page.get_by_text("Draft saved without what cannot be read")).to_be_visible()
    page.locator('[data-node="transform"]').click()
    expect(field.locator(".cm-content")).to_have_text('{"total": 1')
    expect(page.locator('.side input[name="id"]')).to_have_value("the bill!")
    write(field.locator(".cm-content"), '{"total": 2}')
    page.locator('.side input[name="id"]').fill("bill")
    page.locator('.side input[name="id"]').press("Enter")
    eventually(lambda: config(aob, name, "bill") == {"output": {"total": 2}})
    page.locator(".toolbar").get_by_role("button", name="JSON", exact=True).click()
    text = page.get_by_label("The document as JSON")
    text.click()
    keys.press("Control+End")
    page.keyboard.type(" oops")
    expect(page.get_by_role("button", name="1 problem")).to_be_visible()
    page.locator(".toolbar").get_by_role("button", name="Settings of the workflow").click()
    page.get_by_role("button", name="1 problem").click()
    page.get_by_role("complementary").get_by_role("button").filter(has_text="no document").click()
    expect(text).to_contain_text("} oops")
    page.get_by_role("complementary").get_by_role("button", name="Back to that").click()
    expect(text).not_to_contain_text("oops")
    expect(page.get_by_role("button", name="No problems")).to_be_visible()


def test_a_try_that_waits_is_stopped_and_is_no_run_of_the_workflow(page: Page, aob: Installation) -> None:
    name = begin(page)
    Keys(page).add("delay")
    write(page.locator('[data-pointer="/nodes/delay/config/for"] .cm-content'), "2h")
    page.get_by_role("button", name="Try this node").click()
    trying = page.locator(".trying")
    expect(trying).to_contain_text("it waits for its time")
    run = str(trying.get_by_role("link", name="Its run").get_attribute("href")).strip("/").split("/")[-1]
    trying.get_by_role("button", name="Stop").click()
    expect(trying).to_have_count(0)
    assert aob.ended(run)["status"] == "cancelled"
    listed = page.locator("#runs [data-row]")
    page.goto(f"/runs/?workflow={name}")
    expect(listed).to_have_count(0)
    page.locator("summary").filter(has_text="More filters").click()
    page.get_by_label("with tries of nodes").check()
    page.get_by_role("button", name="Filter", exact=True).click()
    expect(listed).to_have_count(1)
    expect(listed).to_contain_text("try of delay")


def test_why_a_try_failed_stays_with_its_node(page: Page, aob: Installation) -> None:
    begin(page)
    keys = Keys(page)
    keys.add("transform")
    write(page.locator('[data-pointer="/nodes/transform/config/output"] .cm-content'), "{{ 1 / 0 }}")
    page.get_by_role("button", name="Try this node").click()
    told = page.locator(".side .data").get_by_role("alert")
    expect(told).to_contain_text("The try failed")
    keys.leave()
    keys.add("log")
    expect(told).to_have_count(0)
    page.locator('[data-node="transform"]').click()
    expect(told).to_contain_text("The try failed")


def test_expressions_are_shown_on_what_the_last_run_passed_over(page: Page, aob: Installation) -> None:
    name = f"passed-{uuid.uuid4().hex[:8]}"
    document = {
        "name": name,
        "nodes": {
            "which": {"type": "switch", "config": {"cases": [{"name": "free", "when": "false"}]}},
            "free": {"type": "transform", "config": {"output": {"sum": 0}}},
            "paid": {"type": "transform", "config": {"output": {"rows": [5, 6]}}},
            "bill": {"type": "transform", "config": {"output": "{{ has(nodes.free) ? 0 : nodes.paid.rows[0] }}"}},
            "each": {
                "type": "map",
                "config": {"items": "nodes.paid.rows", "body": {"nodes": {"one": {"type": "log", "config": {}}}}},
            },
        },
        "edges": {
            "1": {"from": "which", "to": "free", "port": "free"},
            "2": {"from": "which", "to": "paid", "port": "default"},
            "3": {"from": "free", "to": "bill"},
            "4": {"from": "paid", "to": "bill"},
            "5": {"from": "paid", "to": "each"},
        },
    }
    document["nodes"]["each"]["config"]["body"]["nodes"]["one"]["config"] = {"message": "{{ item + 1 }}"}
    status, answer = aob.request("POST", "/api/v1/workflows", {"document": document})
    assert status == 201, answer
    status, run = aob.request("POST", "/api/v1/runs", {"workflow": name, "inputs": {}})
    assert status == 201 and aob.ended(run["id"])["status"] == "completed"
    page.goto(f"/workflows/{name}/edit/")
    page.locator('[data-node="bill"]').click()
    side = page.get_by_role("complementary", name="Details")
    expect(side).to_contain_text("= 5")
    expect(side).to_contain_text("The last run skipped free.")
    page.locator('[data-node="free"]').click()
    expect(side).to_contain_text("It was skipped in the last run")
    page.locator('[data-node="each/one"]').click()
    expect(side).to_contain_text("= 6")


def test_what_leads_to_a_port_is_drawn_from_it_and_an_edge_is_taken_elsewhere(page: Page, aob: Installation) -> None:
    name = begin(page)
    page.emulate_media(reduced_motion="reduce")
    mouse, keys = Mouse(page), Keys(page)
    mouse.drop("Log", 420, 300)
    keys.leave()
    keys.press("Escape")
    port = page.locator('[data-node="log"] > .port.target').bounding_box()
    assert port is not None
    page.mouse.move(port["x"] + 5, port["y"] + 5)
    page.mouse.down()
    page.mouse.move(port["x"] - 60, port["y"] + 160, steps=6)
    page.mouse.up()
    dialog = page.get_by_role("dialog", name="Add a node")
    expect(dialog.get_by_role("combobox", name="Add a node before log")).to_be_visible()
    expect(dialog).to_contain_text("Fail does not fit here")
    keys.choose("transform")
    eventually(lambda: list(saved(aob, name).get("edges", {}).values()) == [{"from": "transform", "to": "log"}])
    page.get_by_role("button", name="Close", exact=True).click()
    mouse.drop("Delay", 60, 120)
    page.get_by_role("button", name="Close", exact=True).click()
    page.get_by_role("button", name="Show everything").click()
    grip = page.locator(".react-flow__edgeupdater-source").bounding_box()
    end = page.locator('[data-node="delay"] .port.source').first.bounding_box()
    assert grip is not None and end is not None
    page.mouse.move(grip["x"] + grip["width"] / 2, grip["y"] + grip["height"] / 2)
    page.mouse.down()
    page.mouse.move(end["x"] + 5, end["y"] + 5, steps=8)
    page.mouse.up()
    eventually(lambda: list(saved(aob, name).get("edges", {}).values()) == [{"from": "delay", "to": "log"}])
    keys.press("Control+z")
    eventually(lambda: list(saved(aob, name).get("edges", {}).values()) == [{"from": "transform", "to": "log"}])


def test_a_node_has_a_menu_by_mouse_and_by_key(page: Page, aob: Installation) -> None:
    name = begin(page)
    keys = Keys(page)
    keys.add("log")
    keys.leave()
    page.locator('[data-node="log"]').click(button="right")
    menu = page.get_by_role("menu", name="Menu of log")
    menu.get_by_role("menuitem", name="Duplicate").click()
    expect(page.locator(".react-flow__node")).to_have_count(2)
    keys.press("Shift+F10")
    expect(page.get_by_role("menuitem", name="Settings")).to_be_focused()
    keys.press("ArrowUp", "ArrowUp", "Enter")
    expect(page.locator(".react-flow__node")).to_have_count(1)
    eventually(lambda: len(saved(aob, name)["nodes"]) == 1)


def test_what_is_arranged_or_added_is_seen(page: Page, aob: Installation) -> None:
    page.emulate_media(reduced_motion="reduce")
    begin(page)
    mouse, keys = Mouse(page), Keys(page)
    mouse.drop("Log", 60, 300)
    before = page.locator('[data-node="log"]').bounding_box()
    mouse.drop("Map", 120, 420)
    eventually(lambda: page.locator('[data-node="map"]').bounding_box())
    assert page.locator('[data-node="log"]').bounding_box() == before, "what is seen whole moves nothing else"
    keys.leave()
    for _ in range(6):
        keys.add("transform")
        keys.leave()
    keys.press("Escape", "a")
    expect(page.get_by_role("status").filter(has_text="Arranged")).to_be_visible()
    for node in ("log", "map", "transform", "transform6"):
        expect(page.locator(f'[data-node="{node}"]')).to_be_in_viewport(ratio=0.99)
    keys.press("n")
    expect(page.locator("[data-note]")).to_be_in_viewport(ratio=0.99)


def test_on_a_small_screen_a_chosen_node_offers_its_settings(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto("/workflows/api-fan-out/edit/")
    show_everything(page, "list")
    page.locator('[data-node="list"]').click()
    page.get_by_role("button", name="Settings of Fetch the list").click()
    expect(page.get_by_role("region", name="Settings of list")).to_be_visible()
    for tool in page.get_by_role("toolbar", name="Tools").get_by_role("button").all():
        expect(tool).to_be_in_viewport(ratio=0.99)


HOSTILE = '<img src=x onerror="window.broken=1"><script>window.broken=1</script>{{ 1/0 }}\u202e\u0000'.replace("\0", "")


def test_hostile_names_and_texts_are_plain_data(page: Page, aob: Installation) -> None:
    name = begin(page)
    strange = ("__proto__", "constructor", "__class__", "__init__", "hasOwnProperty", "toString")
    node = {"type": "transform", "title": HOSTILE, "config": {"output": dict.fromkeys(strange, HOSTILE)}}
    document = {
        "name": name,
        "description": HOSTILE,
        "inputs": {"type": "object", "properties": {one: {"type": "string", "title": HOSTILE} for one in strange}},
        "nodes": dict.fromkeys(strange, node),
        "edges": {one: {"from": one, "to": other} for one, other in itertools.pairwise(strange)},
        "notes": {one: {"text": HOSTILE, "x": 0, "y": 300, "w": 200, "h": 90} for one in strange},
    }
    page.get_by_role("button", name="JSON").click()
    page.get_by_label("The document as JSON").fill(json.dumps(document))
    expect(page.locator(".react-flow__node-node")).to_have_count(len(strange))
    page.get_by_role("button", name="Arrange").click()
    expect(page.get_by_role("status").filter(has_text="Arranged")).to_be_visible()
    page.locator(f'[data-node="{strange[0]}"]').dblclick()
    for one in strange:
        expect(page.locator('.side input[name="id"]')).to_have_value(one)
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Escape")
    Keys(page).press("Control+a", "Control+d", "Control+z", "Control+z", "Control+Shift+z")
    # What was arranged is saved after what was written, a moment later.
    eventually(lambda: set(strange) == set(saved(aob, name).get("layout", {})))
    drawn = saved(aob, name)
    assert drawn["nodes"] == document["nodes"] and drawn["edges"] == document["edges"]
    assert set(drawn["layout"]) == set(strange) and drawn["notes"].keys() == document["notes"].keys()
    assert page.evaluate("[window.broken, ({}).type, ({}).x, Object.prototype.title]") == [None, None, None, None]


@pytest.mark.parametrize("look", ["light", "dark"])
def test_axe_finds_nothing_grave_in_any_panel(browser: Browser, aob: Installation, look: Any) -> None:
    page = signed_in(browser, aob, color_scheme=look)
    page.goto("/workflows/api-fan-out/edit/")
    expect(page.locator('[data-node="each"]')).to_be_visible()
    faults: dict[str, list[str]] = {}
    keys = Keys(page)
    steps = [("canvas", ()), ("form", ("ArrowRight", "Enter")), ("problems", ("Escape", "p")), ("JSON", ("j",))]
    steps += [("versions", ("v",)), ("settings", ("w",)), ("palette", ("/",)), ("keys", ("Escape", "?"))]
    steps += [("run", ("Escape", "Control+Enter")), ("publish", ("Escape", "Control+Shift+Enter"))]
    for what, pressed in steps:
        keys.press(*pressed)
        page.wait_for_load_state("networkidle")
        if found := grave_faults(page):
            faults[what] = found
    page.context.close()
    assert faults == {}


def test_everything_is_undone_and_redone(page: Page, aob: Installation) -> None:
    name = begin(page)
    keys = Keys(page)
    keys.add("http")
    keys.add("transform")
    keys.add("log")
    keys.press("Control+d")
    expect(page.locator(".react-flow__node")).to_have_count(4)
    keys.press("Delete")
    expect(page.locator(".react-flow__node")).to_have_count(3)
    for _ in range(5):
        keys.press("Control+z")
    expect(page.get_by_role("heading", name="An empty workflow")).to_be_visible()
    for _ in range(5):
        keys.press("Control+Shift+z")
    expect(page.locator(".react-flow__node")).to_have_count(3)
    eventually(lambda: len(saved(aob, name)["nodes"]) == 3)


def test_a_node_is_copied_into_another_workflow_as_text(page: Page, aob: Installation) -> None:
    page.goto("/workflows/api-fan-out/edit/")
    page.locator('[data-node="each"] .body-head').click()
    expect(page.locator(".body.picked")).to_be_visible()
    page.keyboard.press("Control+c")
    expect(page.get_by_role("status").filter(has_text="Copied")).to_be_visible()
    name = begin(page)
    page.keyboard.press("Control+v")
    eventually(lambda: "each" in saved(aob, name)["nodes"])
    assert saved(aob, name)["nodes"]["each"] == EXAMPLE["nodes"]["each"]


TRANSITIONS_OVER = """() => Promise.all(
  document.getAnimations().filter((one) => one instanceof CSSTransition).map((one) => one.finished)
)"""


def prices(name: str, version: int) -> dict[str, Any]:
    """Two documents between which something of every kind is added, removed, changed and moved."""
    is_new = version == 2

    def node(kind: str, **config: Any) -> dict[str, Any]:
        return {"type": kind, "config": config}

    inner = {"keep": node("transform", output="{{ item }}")}
    if is_new:
        inner["__proto__"] = node("log", message=HOSTILE)
    nodes = {
        "check": node("http", method="GET", url=f"http://127.0.0.1/{version}"),
        "each": node("map", items="[1]", body={"nodes": inner, "edges": {}}),
        "end": node("transform", output=1),
        "new" if is_new else "old": {**node("log", message="done"), "title": HOSTILE},
    }
    edges = {"a": {"from": "check", "to": "each"}, "b": {"from": "each", "to": "new" if is_new else "old"}}
    places = {"check": (0, 0), "each": (300, 0), "end": (900, 300 * version), "old": (600, 0), "new": (600, 0)}
    layout = {key: {"x": x, "y": y} for key, (x, y) in places.items() if key in nodes}
    layout |= {f"each/{key}": {"x": 24 + 250 * at, "y": 72} for at, key in enumerate(inner)}
    return {"name": name, "nodes": nodes, "edges": edges, "layout": layout}


def test_two_versions_are_compared_on_one_graph_in_words_and_as_text(page: Page, aob: Installation) -> None:
    name = f"compared-{uuid.uuid4().hex[:8]}"
    for version in (1, 2):
        body = {"document": prices(name, version), "note": HOSTILE}
        assert aob.request("POST", "/api/v1/workflows", body)[0] in (200, 201)
    page.goto(f"/workflows/{name}/")
    page.get_by_role("link", name="Compare version 2 with the one before").click()
    dialog = page.get_by_role("dialog", name="Compare versions")
    expect(dialog.locator('[data-node="check"].diff-changed')).to_be_visible()
    marks = {"new": "added", "old": "removed", "each/__proto__": "added", "end": "moved", "each": "same"}
    for node, mark in marks.items():
        expect(dialog.locator(f'[data-node="{node}"].diff-{mark}')).to_have_count(1)
    expect(dialog.locator(".edge.diff-added")).to_have_count(1)
    expect(dialog.locator(".edge.diff-removed")).to_have_count(1)
    changes = dialog.get_by_role("region", name="Changes")
    expect(changes).to_contain_text("3 added, 2 removed, 1 changed, 1 moved only")
    expect(changes).to_contain_text("url changed from “http://127.0.0.1/1” to “http://127.0.0.1/2”")
    page.keyboard.press("n")
    expect(changes.get_by_role("status")).to_have_text("1 of 7")
    expect(dialog.locator('[data-node="check"].current')).to_be_in_viewport(ratio=0.9)
    expect(changes.locator(".current")).to_contain_text('"url": "http://127.0.0.1/2"')
    page.keyboard.press("p")
    expect(changes.get_by_role("status")).to_have_text("7 of 7")
    changes.get_by_role("button", name="Removed node old").click()
    expect(dialog.locator('[data-node="old"].current')).to_be_in_viewport(ratio=0.9)
    for look in ("light", "dark"):
        page.emulate_media(color_scheme=look)  # type: ignore[arg-type]
        page.evaluate(TRANSITIONS_OVER)
        assert grave_faults(page) == []
    dialog.get_by_role("tab", name="Text").click()
    expect(dialog.get_by_label("The difference as text")).to_contain_text("http://127.0.0.1/2")
    dialog.get_by_role("tab", name="Text").press("ArrowLeft")
    dialog.get_by_label("To", exact=True).select_option("1")
    expect(changes).to_contain_text("Nothing changed")
    assert page.url.endswith("#versions=1..1")
    page.set_viewport_size({"width": 390, "height": 800})
    page.evaluate("location.hash = '#versions=1..99'")
    expect(dialog.get_by_role("alert")).to_contain_text("has no version No. 99")
    dialog.get_by_label("To", exact=True).select_option("draft")
    expect(changes).to_contain_text("1 changed")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(page.get_by_role("region", name="Versions")).to_be_visible()
    assert "#" not in page.url and page.evaluate("[window.broken, ({}).type]") == [None, None]


RESTS_IN_VIEW = """async node => {
    let same = 0;
    for (let box, last; same < 4; last = box) {
        await new Promise(requestAnimationFrame);
        box = node.getBoundingClientRect();
        same = last && box.x === last.x && box.y === last.y ? same + 1 : 0;
    }
    const {left, right} = node.getBoundingClientRect();
    return left >= 0 && right <= innerWidth;
}"""


def show_everything(page: Page, node: str) -> None:
    """Until the node rests in view: the canvas hears of its new size a moment later than the page."""

    def shown() -> Any:
        page.get_by_role("button", name="Show everything").click()
        return page.locator(f'[data-node="{node}"]').evaluate(RESTS_IN_VIEW)

    eventually(shown)


def test_a_click_on_a_node_shows_its_settings_where_there_is_room(page: Page, aob: Installation) -> None:
    page.goto("/workflows/api-fan-out/edit/")
    settings = page.get_by_role("region", name="Settings of list")
    page.locator('[data-node="list"]').click()
    expect(settings).to_be_visible()
    page.get_by_role("button", name="Close", exact=True).click()
    page.locator('[data-node="list"]').click(modifiers=["Control"])
    page.locator('[data-node="summary"]').click(modifiers=["Control"])
    expect(page.locator(".picked")).to_have_count(1)
    expect(page.get_by_role("complementary", name="Details")).to_have_count(0)
    page.set_viewport_size({"width": 390, "height": 800})
    show_everything(page, "list")
    page.locator('[data-node="list"]').click()
    expect(page.locator('[data-node="list"].picked')).to_be_visible()
    expect(settings).to_have_count(0)
    page.locator('[data-node="list"]').dblclick()
    expect(settings).to_be_visible()


def test_two_who_draw_at_the_same_time_lose_nothing(browser: Browser, page: Page, aob: Installation) -> None:
    name = begin(page)
    Keys(page).add("http")
    eventually(lambda: "http" in saved(aob, name)["nodes"])
    other = signed_in(browser, aob)
    other.goto(f"/workflows/{name}/edit/")
    expect(other.locator(".react-flow__node")).to_have_count(1)
    expect(page.get_by_label("admin is here too")).to_be_visible()
    Keys(other).add("transform")
    eventually(lambda: "transform" in saved(aob, name)["nodes"])
    Keys(page).add("log")
    expect(page.get_by_role("status").filter(has_text="both changes")).to_be_visible()
    eventually(lambda: {"http", "transform", "log"} <= saved(aob, name)["nodes"].keys())
    other.context.close()


def test_a_problem_is_shown_at_its_place_and_keeps_from_publishing(page: Page, aob: Installation) -> None:
    begin(page)
    keys = Keys(page)
    keys.add("http")
    keys.press("Control+Shift+Enter")
    expect(page.get_by_role("dialog")).to_contain_text("keeps it from being published")
    page.get_by_role("button", name="Show the problems").click()
    page.get_by_role("complementary").get_by_role("button").filter(has_text="/nodes/http/config/url").click()
    expect(page.get_by_role("complementary").get_by_role("heading", name="HTTP request")).to_be_visible()
    page.locator('[data-pointer="/nodes/http/config/url"] .cm-content').fill("http://127.0.0.1/x")
    expect(page.get_by_role("button", name="No problems")).to_be_visible()
    keys.press("Escape", "Control+Shift+Enter")
    page.get_by_role("dialog").get_by_role("button", name="Publish").click()
    expect(page.get_by_role("status").filter(has_text="Published as No. 1")).to_be_visible()
