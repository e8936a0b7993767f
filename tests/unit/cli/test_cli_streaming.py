"""`logs stream` and `--follow`: every event once, over dropped connections, to a result and an exit code."""

from __future__ import annotations

import json
import re
import signal
import threading
from typing import Any

from tests.unit.cli.stub import (
    ID,
    Answer,
    Stub,
    aob,
    event,
    of_json,
    on_terminal,
    problem,
    run,
    sse,
    started,
    stream,
)

EVENTS = f"/runs/{ID}/events"
LOG = [
    event(1, "RunStarted", workflow="score"),
    event(2, "TaskScheduled", "fetch", 0.1, attempt=1),
    event(3, "TaskFailed", "fetch", 0.2, attempt=1, error={"code": "http_503", "message": "Not now."}),
    event(4, "RetryScheduled", "fetch", 0.2, attempt=2, until="2026-03-01T10:00:05.200000Z", because="http_503"),
    event(5, "TaskCompleted", "fetch", 6.0, attempt=2),
    event(6, "NodeCompleted", "fetch", 6.1, port="out"),
    event(7, "RunCompleted", None, 12.3),
]


def streaming(stub: Stub, *answers: Any, **more: Any) -> Stub:
    return stub.on(f"GET {EVENTS}", *answers).on(f"GET /runs/{ID}", of_json(run(**more)))


def test_a_dropped_stream_is_resumed_without_a_gap_or_a_double(stub: Stub) -> None:
    cut = Answer(200, [*sse(*LOG[:3]), b'id: 4\nevent: X\ndata: {"seq": 4, "ty'], {}, "close")
    streaming(stub, cut, stream(*LOG[1:5]), problem(503, "unavailable", "Not now."), stream(*LOG[5:], end="completed"))
    stub.on(f"GET /runs/{ID}", of_json(run(status="running", ended_at=None)))
    done = aob("logs", "stream", ID, "--json", url=stub.url)
    assert done.code == 0, done.err
    assert done.lines() == LOG
    asked = stub.asked(f"GET {EVENTS}")
    assert [one.headers.get("last-event-id") for one in asked] == [None, "3", "5", "5"]
    assert all(one.headers["accept"] == "text/event-stream" for one in asked)


def test_a_stream_that_drops_after_the_terminal_event_has_ended(stub: Stub) -> None:
    streaming(stub, Answer(200, sse(*LOG), {}, "close"), status="running", ended_at=None)
    done = aob("logs", "stream", ID, "--json", url=stub.url)
    assert (done.code, len(done.lines()), len(stub.asked(f"GET {EVENTS}"))) == (0, 7, 1)


def test_filters_are_asked_of_the_server(stub: Stub) -> None:
    streaming(stub, stream(LOG[2], end="completed"))
    done = aob("logs", "stream", ID, "--node", "each[1]/a b", "--filter", "errors", "--after", "2", url=stub.url)
    assert done.code == 0
    assert stub.asked(f"GET {EVENTS}")[0].query == {"node": "each[1]/a b", "filter": "errors", "after": "2"}
    [line] = done.out.splitlines()
    assert line.split()[:4] == ["3", "10:00:00", "TaskFailed", "fetch"] and "Not now." in line


def test_nothing_is_asked_after_the_end_of_an_ended_run(stub: Stub) -> None:
    streaming(stub, stream(end="completed"), last_seq=7)
    assert aob("logs", "stream", ID, "--after", "7", url=stub.url).code == 0
    assert stub.asked(f"GET {EVENTS}") == []


def test_a_token_that_is_withdrawn_ends_the_stream(stub: Stub) -> None:
    streaming(stub, Answer(200, sse(*LOG[:2]), {}, "close"), problem(401, "unauthenticated", "Sign in."))
    stub.on(f"GET /runs/{ID}", of_json(run(status="running")))
    done = aob("logs", "stream", ID, "--json", url=stub.url)
    assert done.code == 1
    assert [line.get("seq", line.get("code")) for line in done.lines()] == [1, 2, "unauthenticated"]


def test_an_unknown_run_has_no_stream(stub: Stub) -> None:
    stub.on("GET /runs/nope", problem(404, "run_unknown", "There is no run 'nope'."))
    done = aob("logs", "stream", "nope", url=stub.url)
    assert (done.code, done.err) == (1, "aob: There is no run 'nope'.\n")


def test_follow_prints_a_line_for_what_matters_and_the_result(stub: Stub) -> None:
    stub.on("POST /runs", of_json(run(status="queued"), 201))
    streaming(stub, stream(*LOG, end="completed"))
    done = aob("run", "start", "score", "--follow", url=stub.url)
    assert done.code == 0, done.err
    lines = [re.sub(r" {2,}", "  ", line.strip()) for line in done.out.splitlines()]
    assert lines == [
        f"run {ID}",
        "0.0s  score  running",
        "0.2s  fetch  error  attempt 1: Not now.",
        "0.2s  fetch  retry  attempt 2 in 5.0s, because of http_503",
        "6.1s  fetch  done  6.0s",
        "{",
        '"total": 3',
        "}",
        f"completed: score {ID} in 12.3s",
    ]
    assert "\033" not in done.out and "\r" not in done.out


def test_follow_of_a_failed_run_ends_with_its_error_and_one(stub: Stub) -> None:
    error = {"code": "boom", "message": "It \033[31mfailed\x9b.", "node": "a"}
    stub.on("POST /runs", of_json(run(status="queued"), 201))
    log = [LOG[0], event(2, "NodeFailed", "a", 0.5, error=error, handled="fail"), event(3, "RunFailed", error=error)]
    streaming(stub, stream(*log, end="failed"), status="failed", error=error)
    done = aob("run", "start", "score", "--follow", url=stub.url)
    assert done.code == 1
    assert "a                         failed     It \\x1b[31mfailed\\x9b." in done.out
    assert '"code": "boom"' in done.out and f"failed: score {ID}" in done.out
    assert "\033" not in done.out and "\x9b" not in done.out


def test_follow_as_json_is_events_and_then_the_run(stub: Stub) -> None:
    stub.on("POST /runs", of_json(run(status="queued"), 201))
    streaming(stub, stream(*LOG, end="completed"))
    done = aob("run", "start", "score", "--follow", "--json", url=stub.url)
    assert done.lines() == [*LOG, run()]


def test_a_long_result_is_shortened_with_a_hint(stub: Stub) -> None:
    stub.on("POST /runs", of_json(run(status="queued"), 201))
    streaming(stub, stream(*LOG, end="completed"), output=list(range(500)))
    done = aob("run", "start", "score", "--follow", url=stub.url)
    assert f"… 402 more lines; aob run status {ID} --json shows all" in done.out
    assert len(done.out.splitlines()) < 120


def items(count: int) -> list[dict[str, Any]]:
    log = [LOG[0], event(2, "MapStarted", "each", 0.1, count=count)]
    for place in range(count):
        log.append(event(len(log) + 1, "NodeCompleted", f"each[{place}]/parse", 0.2, port="out"))
        log.append(event(len(log) + 1, "ItemCompleted", f"each[{place}]", 0.2))
    log.append(event(len(log) + 1, "NodeCompleted", "each", 1.3, port="out"))
    return [*log, event(len(log) + 1, "RunCompleted", None, 1.4)]


def test_a_small_map_shows_its_items_and_a_large_one_its_progress(stub: Stub) -> None:
    stub.on("POST /runs", of_json(run(status="queued"), 201))
    streaming(stub, stream(*items(3), end="completed"), stream(*items(1000), end="completed"))
    small = aob("run", "start", "score", "--follow", url=stub.url).out
    assert re.search(r"0\.2s  each\[2\]/parse +done", small)
    assert re.search(r"1\.3s  each +done +1\.2s  3/3", small)
    large = aob("run", "start", "score", "--follow", url=stub.url).out
    assert "each[2]/parse" not in large
    assert re.findall(r"running +(\d+/1000)", large) == [f"{n}00/1000" for n in range(1, 10)] + ["1000/1000"]
    assert len(large.splitlines()) < 30


def test_on_a_terminal_the_progress_is_one_line_that_changes(stub: Stub) -> None:
    stub.on("POST /runs", of_json(run(status="queued"), 201))
    streaming(stub, stream(*items(1000), end="completed"))
    done = on_terminal("run", "start", "score", "--follow", url=stub.url)
    assert done.code == 0, done.err
    assert "\r\033[K" in done.out and "each  1000/1000" in done.out
    assert "\033[32mdone" in done.out
    assert len(done.out.split("\n")) < 15


def test_ctrl_c_leaves_the_run_alone_and_says_how_to_go_on(stub: Stub) -> None:
    hold = threading.Event()
    stub.on("POST /runs", of_json(run(status="queued"), 201))
    streaming(stub, stream(*LOG[:3], hold=hold))
    try:
        with started("run", "start", "score", "--follow", "--json", url=stub.url) as process:
            assert process.stdout is not None and process.stderr is not None
            for _ in range(3):
                json.loads(process.stdout.readline())
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 130
            err = process.stderr.read().decode()
    finally:
        hold.set()
    assert "The run goes on" in err and f"aob logs stream {ID} --after 3" in err and "Traceback" not in err
    assert not stub.asked(f"POST /runs/{ID}/cancel")


def test_a_reader_that_leaves_is_no_error(stub: Stub) -> None:
    streaming(stub, stream(*[event(n, "TaskStarted", "a", x="y" * 3000) for n in range(1, 300)], end="completed"))
    with started("logs", "stream", ID, "--json", url=stub.url) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(10) == 0
        assert process.stderr.read() == b""
