"""The pure parts of the run page: the chart, the differences, events in words, and what of an address is believed."""

from __future__ import annotations

from typing import Any

import pytest
from django.http import QueryDict

from aob_web.ui import diff, gantt
from aob_web.ui.pages import showing
from aob_web.ui.pages.workflows import _beside
from aob_web.ui.templatetags import aob
from runs.core.events import Event
from runs.lines import brief, said
from runs.logs import Wanted, lines_of
from runs.timeline import Activation, Attempt, Timeline
from workflows.core.errors import AobError

SECOND = 1_000_000


def timeline_of(*events: tuple[str, str | None, int, dict[str, Any]]) -> Timeline:
    found = Timeline()
    found.status, found.started_at = "running", 0
    for seq, (kind, node, at, data) in enumerate(events, 2):
        found.apply(Event(seq, kind, at * SECOND, node, data))
    return found


MAP = timeline_of(
    ("MapStarted", "each", 0, {"count": 2}),
    ("TaskScheduled", "each[0]/get", 0, {"attempt": 1}),
    ("TaskFailed", "each[0]/get", 2, {"attempt": 1, "error": {"code": "busy", "message": "Busy."}}),
    ("RetryScheduled", "each[0]/get", 2, {"attempt": 2}),
    ("TaskScheduled", "each[0]/get", 4, {"attempt": 2, "input_seq": 3}),
    ("TaskCompleted", "each[0]/get", 5, {"attempt": 2, "output": 1}),
    ("NodeCompleted", "each[0]/get", 5, {"port": "out", "taken": []}),
    ("ItemCompleted", "each[0]", 5, {"output": 1}),
    ("NodeFailed", "each[1]/get", 6, {"handled": "fail", "error": {"code": "gone", "message": "Gone."}}),
    ("ItemFailed", "each[1]", 6, {"error": {"code": "gone", "message": "Gone."}}),
    ("NodeCompleted", "each", 10, {"port": "out", "taken": [], "output": []}),
)


def chart(address: str = "", timeline: Timeline = MAP) -> gantt.Chart:
    return gantt.Drawing(timeline, gantt.Wanted.of(QueryDict(address)), {}, 10 * SECOND).chart()


def test_a_body_is_closed_until_it_is_opened() -> None:
    assert [row.name for row in chart().rows] == ["each"]
    opened = chart("open=each&open=each[0]").rows
    assert [(row.name, row.state) for row in opened] == [
        ("each", "done"), ("item 0", "done"), ("get", "done"), ("item 1", "failed"),
    ]  # fmt: skip


def test_attempts_and_the_time_between_them_are_bars_of_their_own() -> None:
    [get] = chart("q=each[0]").rows
    assert [(bar.kind, bar.x, bar.width) for bar in get.bars] == [
        ("failed", "0.000%", "20.000%"), ("gap", "20.000%", "20.000%"), ("done", "40.000%", "10.000%"),
    ]  # fmt: skip


def test_a_stretch_of_time_shows_only_what_lies_in_it() -> None:
    rows = chart("begin=4000&end=5000&open=each&open=each[0]").rows
    assert [(bar.x, bar.width) for bar in rows[2].bars] == [("0.000%", "0.300%"), ("0.000%", "100.000%")]


def test_failed_items_are_named_and_their_owner_is_not() -> None:
    assert [one["node"] for one in chart().failures] == ["each[1]/get"]
    assert [row.path for row in chart("state=failed").rows] == ["each[1]/get"]
    assert [row.path for row in chart("state=retried").rows] == ["each[0]/get"]


def test_thousands_of_items_are_paged() -> None:
    many = timeline_of(
        ("MapStarted", "each", 0, {"count": 1000}),
        *(("NodeCompleted", f"each[{index}]/a", 1, {"output": 1}) for index in range(1000)),
    )
    rows = chart("open=each&page=each:3", many).rows
    assert len(rows) == 1 + gantt.PAGE + 1
    assert (rows[1].name, rows[-1].name) == ("item 150", "151 to 200 of 1000")
    assert "page=each%3A4" in rows[-1].after and "page=each%3A2" in rows[-1].before


@pytest.mark.parametrize(
    "address",
    [
        "begin=nan&end=inf",
        "begin=5&end=1",
        "at=-1",
        "at=99999999999999",
        "page=each:x",
        "page=:",
        "state=<b>",
        "begin=1e400&end=2",
    ],
)
def test_what_cannot_be_read_in_an_address_is_left_out(address: str) -> None:
    assert gantt.Wanted.of(QueryDict(address)) == gantt.Wanted()


def test_an_address_holds_what_was_chosen() -> None:
    wanted = gantt.Wanted.of(QueryDict("open=a&open=b&page=a:2&state=failed&q=x+y&begin=1.5&end=2&at=7"))
    assert gantt.Wanted.of(QueryDict(wanted.link()[1:])) == wanted


@pytest.mark.parametrize("span", [0.01, 1, 7, 60, 999, 59_999, 61_000, 3_600_000, 9e7, 4e10])
def test_an_axis_has_a_few_round_ticks(span: float) -> None:
    found = list(gantt.ticks(span, 2 * span))
    assert 2 <= len(found) <= 10
    assert len({words for _, words in found}) == len(found)


def test_results_of_the_replayed_run_are_cached() -> None:
    found = Timeline()
    found.copied = 2
    found.apply(Event(3, "NodeCompleted", 0, "old", {"output": 1}))
    found.apply(Event(4, "NodeCompleted", 0, "new", {"output": 1}))
    assert (found.activations["old"].cached, found.activations["new"].cached) == (True, False)


def test_what_was_copied_lasts_as_long_as_it_did_in_this_run() -> None:
    """Copied events keep the times of the run that is replayed, which lie before the beginning of this one."""
    found = Timeline()
    found.status, found.started_at, found.copied = "running", 360 * SECOND, 4
    for seq, (kind, node, at, data) in enumerate(
        [
            ("NodeCompleted", "old", 1, {"output": 1}),
            ("MapStarted", "each", 1, {"count": 2}),
            ("NodeCompleted", "each[0]/a", 2, {"output": 1}),
            ("ItemCompleted", "each[0]", 2, {"output": 1}),
            ("NodeCompleted", "each[1]/a", 361, {"output": 1}),
            ("ItemCompleted", "each[1]", 361, {"output": 1}),
            ("NodeCompleted", "each", 361, {"output": []}),
        ],
        2,
    ):
        found.apply(Event(seq, kind, at * SECOND, node, data))
    drawing = gantt.Drawing(found, gantt.Wanted.of(QueryDict("open=each")), {}, 361 * SECOND)
    rows = drawing.chart().rows
    assert [(row.name, row.state, row.took, len(row.bars)) for row in rows] == [
        ("old", "cached", "", 0), ("each", "done", "1.0 s", 1),
        ("item 0", "done", "", 0), ("item 1", "done", "< 1 ms", 1),
    ]  # fmt: skip
    assert [bar.words for bar in rows[1].bars] == ["done, 1.0 s"]


@pytest.mark.parametrize(
    ("microseconds", "words"),
    [(0, "< 1 ms"), (400, "< 1 ms"), (1_000, "1 ms"), (12_300, "12.3 ms"), (999_900, "1.0 s"), (6e7, "1 min")],
)
def test_a_duration_is_said_in_one_way_on_all_pages(microseconds: int, words: str) -> None:
    assert gantt.took(microseconds) == aob.span(microseconds / 1_000_000) == words


def test_a_problem_stands_at_its_field_and_the_rest_above_the_form() -> None:
    fields = [{"name": "rate"}, {"name": "a/b"}]
    problems = [
        AobError("schema_minimum", "-5 is not at least 0.", "/inputs/rate"),
        AobError("wrong_type", "A text is needed.", "/inputs/a~1b/0", "Quote it."),
        AobError("field_missing", "`log` is missing.", "/inputs"),
    ]
    assert _beside(fields, problems) == ["/inputs `log` is missing."]
    assert [one["problem"] for one in fields] == ["-5 is not at least 0.", "0: A text is needed. Quote it."]


def test_what_a_worker_has_begun_is_running() -> None:
    queued = Activation("a", "http", 0, "queued", attempts=[Attempt(1, 0)])
    drawing = gantt.Drawing(MAP, gantt.Wanted(), {("a", 1): SECOND}, 2 * SECOND)
    assert drawing.state(queued) == "running"


def test_an_event_in_brief_holds_no_value_and_tells_what_happened() -> None:
    event = Event(
        3, "TaskFailed", 0, "a", {"attempt": 2, "output": "x" * 9000, "error": {"code": "c", "message": "m" * 9000}}
    )
    view = brief(event)
    assert "output" not in view["data"] and len(str(view)) < 4_000
    assert said(event)[0] == "warning" and view["text"].startswith("Attempt 2 failed: c: m")


def test_own_lines_of_a_node_come_before_its_event() -> None:
    event = Event(3, "NodeCompleted", 0, "a", {"log": {"level": "strange", "message": "hello"}, "port": "out"})
    assert [(line["level"], line["text"]) for line in lines_of(event)] == [("info", "hello"), ("info", "Done")]
    assert not Wanted(node="b").fits(next(lines_of(event)))


def test_lines_that_are_the_same_are_folded_away() -> None:
    a = "\n".join(str(number) for number in range(100))
    rows = diff.side_by_side(a, a.replace("50", "fifty"))
    assert rows is not None and len(rows) == 9
    assert [(row.left, row.right) for row in rows if row.kind == "changed"] == [("50", "fifty")]
    assert diff.side_by_side("x\n" * 5_000, "y") is None


def test_only_bytes_that_begin_as_a_picture_are_one() -> None:
    assert showing.is_picture("image/png", b"\x89PNG\r\n\x1a\nrest")
    assert not showing.is_picture("image/png", b"<svg onload=alert(1)>")
    assert not showing.is_picture("image/svg+xml", b"<svg>")
    assert not showing.is_picture("image/webp", b"RIFF....WAVE")
