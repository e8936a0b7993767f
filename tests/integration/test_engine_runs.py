"""Runs on the real Postgres and Redis, with coordinator, sweeper and worker."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest

from approvals import inbox
from approvals import services as approvals
from approvals.errors import TicketError
from approvals.people import Person
from runs import db, queries, services
from runs.timeline import activations
from runs.verify import verify
from tests.support.servers import HttpServer
from tests.support.system import ended, engine, start
from tests.support.waiting import eventually
from tests.unit.runs_core.test_engine import graph, value


def verified(run_id: str) -> None:
    report = verify(run_id)
    assert report["ok"], report["problems"]


def test_pure_runs_end_within_their_start() -> None:
    run_id = start(graph({"a": value("{{ inputs.x + 1 }}")}), {"x": 1})
    view = queries.run(run_id)
    assert view["status"] == "completed" and view["output"] == {"a": 2}
    verified(run_id)


def test_http_nodes_are_executed_and_retried_by_the_worker() -> None:
    with HttpServer() as server, engine():
        server.script = [503, 200]
        node = {
            "type": "http",
            "config": {"method": "POST", "url": server.url + "/x", "json": {"n": "{{ inputs.n }}"}},
            "retry": {"max_attempts": 3, "base": "10ms"},
        }
        run_id = start(graph({"call": node, "b": value("{{ nodes.call.body.echo.n }}")}, ("call", "b")), {"n": 5})
        view = ended(run_id)
        assert view["status"] == "completed", view
        assert view["output"] == {"b": 5}
        keys = {request["headers"]["idempotency-key"] for request in server.requests}
        assert len(server.requests) == 2 and len(keys) == 1
        verified(run_id)


def test_a_map_of_calls_respects_its_concurrency() -> None:
    body = {"nodes": {"get": {"type": "http", "config": {"method": "GET", "url": "{{ item }}"}}}}
    with HttpServer(delay=0.02) as server, engine():
        urls = [f"{server.url}/{n}" for n in range(40)]
        document = graph(
            {"each": {"type": "map", "config": {"items": "inputs.urls", "body": body, "max_concurrency": 5}}}
        )
        run_id = start(document, {"urls": urls})
        view = ended(run_id)
        assert [item["get"]["body"]["path"] for item in view["output"]["each"]] == [f"/{n}" for n in range(40)]
        assert server.most_at_once <= 5
        verified(run_id)


def test_delay_signal_loop_and_child() -> None:
    from workflows.services import push

    push(graph({"double": value("{{ inputs.n * 2 }}")}, output="{{ nodes.double }}") | {"name": "child"})
    body = {"nodes": {"n": value("{{ iteration }}")}}
    nodes: dict[str, Any] = {
        "wait": {"type": "delay", "config": {"for": "50ms"}},
        "ask": {"type": "signal", "config": {"name": "go", "schema": {"type": "object", "required": ["n"]}}},
        "sub": {"type": "subworkflow", "config": {"workflow": "child", "inputs": {"n": "{{ nodes.ask.n }}"}}},
        "loop": {"type": "loop", "config": {"while": "iteration < 3", "body": body, "max_iterations": 5}},
    }
    document = graph(
        nodes, ("wait", "ask"), ("ask", "sub"), ("sub", "loop"), output=["{{ nodes.sub }}", "{{ nodes.loop.n }}"]
    )
    with engine():
        run_id = start(document)
        eventually(lambda: any(one["kind"] == "signal" for one in queries.run(run_id)["waiting_for"]))
        with pytest.raises(services.RunError, match="no.*unknown|Nothing"):
            services.signal(run_id, "stop", None, by="test")
        with pytest.raises(services.RunError):
            services.signal(run_id, "go", {}, by="test")
        services.signal(run_id, "go", {"n": 21}, by="test")
        view = ended(run_id)
        assert view["output"] == [42, 2], view
        verified(run_id)


def test_the_log_refuses_changes_even_for_our_own_role() -> None:
    run_id = start(graph({"a": value(1)}))
    for statement in ("UPDATE run_event SET type = 'x'", "DELETE FROM run_event", "TRUNCATE run_event"):
        with pytest.raises(psycopg.errors.RestrictViolation), db.transaction() as cursor:
            cursor.execute(statement)
    verified(run_id)


def test_the_same_key_starts_one_run_and_another_body_is_refused() -> None:
    document = graph({"a": value(1)})
    first = services.start(services.StartRequest(document, {}, key="k1"))
    again = services.start(services.StartRequest(document, {}, key="k1"))
    assert (again.id, again.created) == (first.id, False)
    with pytest.raises(services.RunError) as refused:
        services.start(services.StartRequest(document, {"x": 1}, key="k1"))
    assert refused.value.code == "idempotency_key_reused"


def test_cancel_stops_what_is_being_executed() -> None:
    with HttpServer(delay=30) as server, engine():
        run_id = start(graph({"slow": {"type": "http", "config": {"method": "GET", "url": server.url}}}))
        eventually(lambda: server.requests)
        services.cancel(run_id, reason="enough", by="test")
        assert ended(run_id)["status"] == "cancelled"
        with pytest.raises(services.RunError, match="has ended"):
            services.cancel(run_id, by="test")
        verified(run_id)


def test_replay_from_an_item_executes_only_what_follows_it() -> None:
    body = {
        "nodes": {
            "parse": {"type": "http", "config": {"method": "GET", "url": "{{ item }}"}},
            "keep": value("{{ nodes.parse.body.path }}"),
        },
        "edges": {"e": {"from": "parse", "to": "keep"}},
    }
    with HttpServer() as server, engine():
        urls = [f"{server.url}/{n}" for n in range(5)]
        document = graph(
            {
                "each": {"type": "map", "config": {"items": "inputs.urls", "body": body}},
                "end": value("{{ size(nodes.each) }}"),
            },
            ("each", "end"),
        )
        run_id = start(document, {"urls": urls})
        assert ended(run_id)["output"] == {"end": 5}
        assert len(server.requests) == 5
        fork = services.replay(run_id, "each[3]/parse", by="test")
        view = ended(fork)
        assert view["output"] == {"end": 5} and view["forked_from"]["run"] == run_id
        assert [request["path"] for request in server.requests[5:]] == ["/3"]
        verified(fork)


def test_a_map_that_failed_goes_on_from_the_item_that_failed_it() -> None:
    """Items that it cut off are executed again; those that had ended are not."""
    call = {"type": "http", "config": {"method": "GET", "url": "{{ inputs.base }}/{{ item }}"}}
    body = {"nodes": {"call": call}, "edges": {}, "output": "{{ nodes.call.body.path }}"}
    each = {"type": "map", "config": {"items": "inputs.items", "body": body, "max_concurrency": 2}}
    document = graph({"each": each, "end": value("{{ size(nodes.each) }}")}, ("each", "end"))
    with HttpServer() as server, engine():
        server.script = [200, 404]
        run_id = start(document, {"base": server.url, "items": list(range(6))})
        view = ended(run_id)
        assert view["status"] == "failed"
        failed = next(
            one["node"] for one in activations(run_id)["items"] if one["error"] and one["node"].endswith("/call")
        )
        done = {one["node"] for one in activations(run_id)["items"] if one["state"] == "done"}
        before = len(server.requests)
        fork = services.replay(run_id, failed, by="test")
        view = ended(fork)
        assert view["status"] == "completed" and view["output"] == {"end": 6}
        again = [request["path"] for request in server.requests[before:]]
        assert sorted(again) == sorted({f"/{n}" for n in range(6)} - {f"/{node[5]}" for node in done})
        verified(fork)


def test_a_replay_inside_a_map_keeps_its_items_and_one_of_the_map_takes_new_ones() -> None:
    body = {"nodes": {"read": value("{{ number(item) }}")}, "edges": {}, "output": "{{ nodes.read }}"}
    each = {"type": "map", "config": {"items": "inputs.items", "body": body}}
    document = graph({"each": each, "end": value("{{ nodes.each.sum() }}")}, ("each", "end"))
    run_id = start(document, {"items": ["1", "x", "3"]})
    better = {"items": ["1", "2", "3"]}
    inside = services.replay(run_id, "each[1]/read", inputs=better, by="test")
    assert queries.run(inside)["error"]["node"] == "each"
    verified(inside)
    whole = services.replay(run_id, "each", inputs=better, by="test")
    assert queries.run(whole)["output"] == {"end": 6.0}
    verified(whole)


def test_what_a_failure_cut_off_is_executed_again_by_a_replay() -> None:
    slow = {"type": "http", "config": {"method": "GET", "url": "{{ inputs.base }}/slow"}}
    document = graph(
        {
            "wait": {"type": "signal", "config": {"name": "go"}},
            "read": value("{{ number(inputs.x) }}"),
            "slow": slow,
            "end": value("{{ nodes.slow.body.path }}"),
        },
        ("wait", "read"),
        ("slow", "end"),
    )
    with HttpServer(delay=1.0) as server, engine():
        run_id = start(document, {"base": server.url, "x": "no number"})
        eventually(lambda: len(server.requests) == 1)
        services.signal(run_id, "go", None, by="test")
        assert ended(run_id)["status"] == "failed"
        server.delay = 0.0
        fork = services.replay(run_id, "read", inputs={"base": server.url, "x": "7"}, by="test")
        assert ended(fork)["output"] == {"read": 7.0, "end": "/slow"}
        assert len(server.requests) == 2
        verified(fork)


def test_full_fidelity_also_records_the_start_of_every_attempt(settings: Any) -> None:
    settings.AOB_FIDELITY = "full"
    with HttpServer() as server, engine():
        server.script = [503, 200, 200]
        call = {
            "type": "http",
            "config": {"method": "POST", "url": server.url},
            "retry": {"max_attempts": 3, "base": "10ms"},
        }
        run_id = start(graph({"a": call, "b": call}, ("a", "b")))
        assert ended(run_id)["status"] == "completed"
        events = queries.events(run_id)["items"]
        started = [(event["node"], event["data"]["attempt"]) for event in events if event["type"] == "TaskStarted"]
        assert started == [("a", 1), ("a", 2), ("b", 1)]
        assert all(attempt["started_at"] for one in activations(run_id)["items"] for attempt in one["attempts"])
        verified(run_id)


def test_a_replay_is_not_decided_by_who_started_the_run_before_it() -> None:
    document = graph({"ok": {"type": "approval", "config": {"title": "Pay?", "not_starter": True}}})
    first = start(document, by="anna")
    again = services.replay(first, "ok", by="carol")
    third = services.replay(again, "ok", by="dora")
    people = {name: Person(name, frozenset(), may_decide=True) for name in ("anna", "berta", "carol", "dora")}
    found = {
        name: [one["run"] for one in inbox.tickets(one, mine=True, run=third)["items"]] for name, one in people.items()
    }
    assert found == {"anna": [], "berta": [third], "carol": [], "dora": []}
    [ticket] = inbox.tickets(people["berta"], run=third)["items"]
    for name in ("anna", "carol", "dora"):
        with pytest.raises(TicketError, match="started the run"):
            approvals.decide(ticket["ticket"], "approve", by=people[name])
    assert {name: inbox.counts(one)["mine"] for name, one in people.items()} == {
        "anna": 0, "berta": 3, "carol": 1, "dora": 2,
    }  # fmt: skip
    approvals.decide(ticket["ticket"], "approve", by=people["berta"])
    assert ended(third)["output"]["ok"]["by"] == "berta"
    verified(third)


def test_an_event_that_comes_while_rights_are_looked_up_is_sent_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from runs import stream

    run = start(graph({"wait": {"type": "signal", "config": {"name": "go"}}}))
    monkeypatch.setattr(stream, "RECHECK_SECONDS", -1.0)

    async def play() -> list[str | None]:
        found: list[str | None] = []
        bells = stream.hub()

        async def permitted() -> bool:
            feed = bells._feeds[run]
            if feed.begun and feed.top < 3:
                await asyncio.to_thread(services.signal, run, "go", 1, by="ada")
                while feed.top < 3:
                    bells.look([run])
                    await asyncio.sleep(0.01)
            return True

        async for event in stream.follow(run, 2, permitted=permitted):
            found.append(event and event.type)
        await bells.pool.close()
        return found

    monkeypatch.setattr(stream, "KEEP_SECONDS", 0.5)
    told = asyncio.run(play())
    first = told.index("SignalReceived")
    assert told[:first] == [None], "the keep-alive after which rights were looked up, and no other"
