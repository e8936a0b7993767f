"""The run page in Chromium: timeline, log, values, comparing, steering, the past, and a connection that is cut."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, WebSocketRoute, expect

from tests.support.browser import signed_in
from tests.support.installation import Installation

pytestmark = pytest.mark.browser
EVIL = "<img src=x onerror=alert(1)>"
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def node(kind: str, **config: Any) -> dict[str, Any]:
    return {"type": kind, "config": config}


BODY = {
    "nodes": {
        "check": node("switch", cases=[{"name": "bad", "when": "item % 5 == 4"}]),
        "no": node("fail", code="unlucky", message=f"{EVIL} {{{{ string(item) }}}}"),
        "yes": node("log", message="Item {{ string(item) }} is fine", level="warning"),
    },
    "edges": {
        "bad": {"from": "check", "to": "no", "port": "bad"},
        "good": {"from": "check", "to": "yes", "port": "default"},
    },
}
FAN = {
    "name": "page-fan",
    "inputs": {"type": "object"},
    "nodes": {
        "each": node("map", items="inputs.list", on_item_error="collect", body=BODY),
        "end": node("transform", output={"large": 9007199254740993, "note": "{{ inputs.note }}", "__proto__": {"x": 1}}),
    },
    "edges": {"on": {"from": "each", "to": "end"}},
    "output": "{{ nodes.end }}",
}
WAITING = {
    "name": "page-waiting",
    "nodes": {
        "first": node("transform", output=1),
        "ask": node("signal", name="go"),
        "last": node("transform", output=2),
    },
    "edges": {"a": {"from": "first", "to": "ask"}, "b": {"from": "ask", "to": "last"}},
}


def started(aob: Installation, document: dict[str, Any], inputs: Any = None, *, ends: bool = True) -> str:
    status, view = aob.request("POST", "/api/v1/runs", {"workflow": document, "inputs": inputs or {}})
    assert status == 201, view
    if ends:
        aob.ended(view["id"])
    return str(view["id"])


def fan(aob: Installation, n: int = 120, note: str = "a") -> str:
    return started(aob, FAN, {"list": list(range(n)), "note": note})


def status_of(page: Page) -> Any:
    return page.locator("#live-part h1 .state")


def test_bodies_open_page_by_page_and_failed_items_are_found(page: Page, aob: Installation) -> None:
    run = fan(aob)
    page.goto(f"/runs/{run}/")
    expect(page.locator(".failures")).to_contain_text("each[4]/no")
    expect(page.locator(".rows .row")).to_have_count(2)
    page.get_by_role("button", name="Open each").click()
    expect(page.locator("#row-each\\[49\\]")).to_be_attached()
    page.locator(".more").get_by_role("link", name="Next").click()
    expect(page.locator("#row-each\\[50\\]")).to_be_attached()
    page.locator(".chart-states a", has_text="failed").click()
    expect(page.locator(".rows .row").first).to_contain_text("each[4]/no")
    page.locator(".rows .row").first.get_by_role("link").click()
    expect(page.locator("#node-part")).to_contain_text(EVIL)
    assert "node=each%5B4%5D" in page.url and "state=failed" in page.url
    page.keyboard.press("Escape")
    expect(page.locator("#node-part section")).to_have_count(0)


def test_the_log_is_filtered_and_only_what_is_seen_is_in_the_page(page: Page, aob: Installation) -> None:
    run = fan(aob, 400)
    page.goto(f"/runs/{run}/")
    tools = page.locator("#log-tools")
    expect(tools).to_contain_text("lines")
    assert page.locator(".log-row").count() < 60
    page.locator("#log-filter").get_by_label("Level").select_option("error")
    page.locator("#log-filter").get_by_label("Node").fill("each[9]")
    expect(tools).to_contain_text("2 of")
    page.locator(".log-row", has_text="unlucky").first.click()
    expect(page.locator(".log-detail")).to_contain_text(EVIL)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download JSON lines").click()
    lines = [json.loads(line) for line in download.value.path().read_text().splitlines()]
    assert [line["node"] for line in lines] == ["each[9]/no", "each[9]"]


def test_a_value_is_a_tree_that_keeps_every_digit(page: Page, aob: Installation) -> None:
    run = fan(aob, 5)
    page.goto(f"/runs/{run}/")
    tree = page.get_by_role("tree", name="Output")
    expect(tree).to_contain_text("9007199254740993")
    expect(tree).to_contain_text("__proto__")
    tree.get_by_role("treeitem").first.focus()
    for key in ("End", "ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
    focused = page.locator(".tree-item:focus")
    expect(focused).to_be_attached()
    page.locator("#values-part").get_by_label("Find in Output").fill("9007")
    page.keyboard.press("Enter")
    expect(page.locator(".tree-item.found")).to_contain_text("large")
    page.locator("#values-part section").nth(1).get_by_role("button", name="Copy path").click()
    expect(page.locator("#said")).to_have_text("Path copied")
    assert page.evaluate("navigator.clipboard.readText()") == "large"


def test_large_values_come_in_windows_and_only_pictures_are_shown(page: Page, aob: Installation) -> None:
    run = started(aob, {**FAN, "name": "page-large"}, {"list": [], "note": "é" * 1_500_000})
    page.goto(f"/runs/{run}/")
    page.locator("#values-part").get_by_role("link", name="Show all, page by page").first.click()
    text = page.locator("pre.window")
    expect(text).to_contain_text("éé")
    page.get_by_role("link", name="Next").click()
    assert set(text.inner_text()) == {"é"}
    references = {}
    for kind, data in {
        "image/png": PIXEL,
        "image/svg+xml": b"<svg onload='alert(1)'/>",
        "text/html": EVIL.encode(),
    }.items():
        _, references[kind] = aob.request("POST", "/api/v1/blobs", data=data, Content_Type=kind)
    run = started(aob, {**FAN, "name": "page-blobs"}, {"list": [], "note": "", "files": list(references.values())})
    page.goto(f"/runs/{run}/files/{references['image/png']['blob']}/")
    expect(page.locator("img.preview")).to_have_js_property("naturalWidth", 1)
    for kind in ("image/svg+xml", "text/html"):
        page.goto(f"/runs/{run}/files/{references[kind]['blob']}/")
        expect(page.locator("pre.window")).to_be_visible()
        answer = page.request.get(f"/runs/{run}/files/{references[kind]['blob']}/picture/")
        assert answer.status == 404
        answer = page.request.get(f"/runs/{run}/files/{references[kind]['blob']}/download/")
        assert answer.headers["content-disposition"].startswith("attachment")
        assert (
            answer.headers["x-content-type-options"] == "nosniff"
            and "sandbox" in answer.headers["content-security-policy"]
        )
    other = fan(aob, 1)
    assert page.request.get(f"/runs/{other}/files/{references['image/png']['blob']}/").status == 404


def test_each_action_says_what_it_will_do_before_it_does_it(page: Page, aob: Installation) -> None:
    run = started(aob, WAITING, ends=False)
    page.goto(f"/runs/{run}/")
    expect(page.get_by_role("button", name="Retry")).to_be_disabled()
    dialog = page.get_by_role("dialog")
    page.keyboard.press("p")
    expect(dialog).to_contain_text("Nothing new starts")
    dialog.get_by_role("button", name="Pause").click()
    expect(status_of(page)).to_have_text("paused")
    page.get_by_role("link", name="Resume").click()
    dialog.get_by_role("button", name="Resume").click()
    expect(status_of(page)).to_have_text("waiting")
    page.get_by_role("link", name="Send signal").click()
    dialog.get_by_label("Payload").fill("{oops")
    dialog.get_by_role("button", name="Send").click()
    expect(dialog.get_by_role("alert")).to_be_visible()
    dialog.get_by_label("Payload").fill('{"by": "me"}')
    dialog.get_by_role("button", name="Send").click()
    expect(status_of(page)).to_have_text("completed")
    page.locator("#row-last").get_by_role("link", name="last").click()
    page.locator("#node-part").get_by_role("link", name="Replay from here").click()
    expect(dialog).to_contain_text("A new run begins at last; 2 nodes are taken from the log and not executed again")
    dialog.get_by_role("button", name="Start the replay").click()
    expect(page.locator(".facts")).to_contain_text("replay of")
    expect(page.locator("#row-ask .state")).to_have_text("cached")
    expect(page.locator("[data-node=first] .run-state")).to_have_text("cached")


def test_two_runs_stand_side_by_side(page: Page, aob: Installation) -> None:
    first, second = fan(aob, 5, "before"), fan(aob, 5, "after")
    page.goto(f"/runs/{second}/")
    page.get_by_role("link", name="Compare with…").click()
    page.get_by_role("link", name=first).click()
    expect(page.locator("tr.differs")).to_have_count(1)
    expect(page.locator("tr.differs")).to_contain_text("end")
    expect(page.locator("section", has=page.locator("#inputs-title")).locator("del")).to_contain_text("before")
    page.get_by_role("link", name="end", exact=True).click()
    expect(page.locator("section", has=page.locator("#node-title")).locator("ins")).to_contain_text("after")


def test_the_past_is_shown_in_graph_timeline_and_values(page: Page, aob: Installation) -> None:
    run = started(aob, WAITING, ends=False)
    aob.request("POST", f"/api/v1/runs/{run}/signal", {"name": "go", "payload": 1})
    aob.ended(run)
    page.goto(f"/runs/{run}/")
    expect(page.locator("[data-node=ask] .run-state")).to_have_text("done")
    page.get_by_label("As it was at").fill("3")
    expect(page.locator("[data-node=ask] .run-state")).to_have_text("waiting")
    expect(page.locator("#row-ask .state")).to_have_text("waiting")
    expect(page.locator("#row-last")).to_have_count(0)
    expect(page.locator("#values-part")).to_contain_text("no output yet at event 3")
    page.reload()
    expect(page.locator("[data-node=ask] .run-state")).to_have_text("waiting")
    page.get_by_role("button", name="Now").click()
    expect(page.locator("#row-last .state")).to_have_text("done")


def test_both_runs_are_seen_on_a_small_screen(page: Page, aob: Installation) -> None:
    a, b = fan(aob, 3), fan(aob, 4)
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(f"/runs/compare/?a={a}&b={b}")
    for cell in (page.locator("table.heads thead th").last, page.locator("table.nodes tbody td").nth(2)):
        cell.scroll_into_view_if_needed()
        expect(cell).to_be_in_viewport(ratio=0.9)


def test_a_node_of_the_graph_is_shown_below_it_and_the_graph_stays_in_sight(page: Page, aob: Installation) -> None:
    page.goto(f"/runs/{fan(aob, 3)}/")
    page.locator('.run-graph [data-node="end"]').click()
    expect(page.locator("#node-title")).to_be_in_viewport()
    expect(page.locator('.run-graph [data-node="end"]')).to_be_in_viewport(ratio=0.99)
    page.locator("#timeline .rows a.label").first.click()
    expect(page.locator("#timeline #node-title")).to_contain_text("each")


def test_the_inputs_of_the_past_are_a_tree_as_well(page: Page, aob: Installation) -> None:
    page.goto(f"/runs/{fan(aob, 3)}/")
    expect(page.locator("#values-part .tree").first).to_be_visible()
    page.get_by_label("One event back").click()
    expect(page.locator("#values-part")).to_contain_text("There was no output yet")
    expect(page.locator("#values-part .tree").first).to_be_visible()


def test_a_long_error_is_clipped_and_can_be_read_whole(page: Page, aob: Installation) -> None:
    message = "lo\u202eng " * 10_000
    run = started(aob, {"name": "page-long", "nodes": {"f": node("fail", message=message)}})
    page.goto(f"/runs/{run}/")
    expect(page.locator(".run-graph [data-node=f]")).to_be_visible()
    notice = page.locator("#live-part .notice.error")
    assert notice.bounding_box()["height"] < 250
    notice.locator("summary").click()
    expect(notice.locator(".whole")).to_contain_text(message.strip()[-50:])
    assert page.evaluate("document.documentElement.scrollHeight") < 6_000


def test_a_cut_connection_goes_on_at_its_seq_and_no_event_is_lost_or_doubled(page: Page, aob: Installation) -> None:
    sockets: list[WebSocketRoute] = []

    def passing(route: WebSocketRoute) -> None:
        route.connect_to_server()
        sockets.append(route)

    page.route_web_socket("**/ws/runs/**", passing)
    body = {"nodes": {"wait": node("delay", **{"for": "50ms"})}}
    again = node("loop", max_iterations=200, body=body, **{"while": "iteration < 60"})
    run = started(aob, {"name": "page-cut", "nodes": {"again": again}}, ends=False)
    page.goto(f"/runs/{run}/")
    for _ in range(3):
        expect(page.locator("#connection")).to_have_class("live")
        sockets[-1].close(code=1011, reason="cut")
        expect(page.get_by_text("Reconnecting …")).to_be_visible()
    expect(status_of(page)).to_have_text("completed", timeout=30_000)
    last = aob.ended(run)["last_seq"]
    assert "after=" in sockets[-1].url and len(sockets) >= 3
    expect(page.locator("#log-tools")).to_contain_text(f"{last} lines")
    expect(page.get_by_text("Reconnecting …")).to_have_count(0)


def test_events_keep_coming_after_the_session_was_checked_again(page: Page, aob: Installation) -> None:
    run = started(aob, {"name": "page-late", "nodes": {"wait": node("delay", **{"for": "6s"})}}, ends=False)
    page.goto(f"/runs/{run}/")
    expect(status_of(page)).to_have_text("completed", timeout=15_000)
    expect(page.locator("#log-tools")).to_contain_text(f"{aob.ended(run)['last_seq']} lines")


def test_without_javascript_a_run_can_be_read_and_steered(browser: Browser, aob: Installation) -> None:
    run, waiting = fan(aob), started(aob, WAITING, ends=False)
    page = signed_in(browser, aob, java_script_enabled=False)
    page.goto(f"/runs/{run}/")
    page.get_by_role("button", name="Open each").click()
    page.get_by_role("button", name="Open each[4]").click()
    page.locator("#row-each\\[4\\]\\/no").get_by_role("link", name="no").click()
    expect(page.locator("#node-part")).to_contain_text("unlucky")
    expect(page.locator("#values-part pre").nth(1)).to_contain_text("9007199254740993")
    page.get_by_role("link", name="Open as a page").click()
    page.get_by_label("Level").select_option("error")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("table.lines tbody tr").first).to_contain_text("each[4]/no")
    page.goto(f"/runs/{run}/?at=2")
    expect(page.locator(".notice.past")).to_contain_text("as it was at event 2")
    page.goto(f"/runs/{waiting}/")
    page.get_by_role("link", name="Cancel").click()
    page.get_by_label("Reason").fill(EVIL)
    page.get_by_role("button", name="Cancel the run").click()
    expect(page.locator("h1")).to_contain_text("cancelled")
    page.context.close()


@pytest.mark.parametrize("width", [390, 1440])
def test_no_part_of_a_run_is_wider_than_its_screen(browser: Browser, aob: Installation, width: int) -> None:
    page = signed_in(browser, aob, viewport={"width": width, "height": 900})
    first, second = fan(aob, 60), fan(aob, 60, "x" * 500)
    for place in (
        f"/runs/{first}/?open=each&open=each[4]&node=each[4]/no",
        f"/runs/{first}/log/",
        f"/runs/compare/?a={first}&b={second}&node=end",
        f"/runs/{second}/replay/?from=end",
    ):
        page.goto(place)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, place
    page.context.close()
