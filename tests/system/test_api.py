"""REST, SSE and WebSocket over HTTP, with bad input at every door."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import pytest
import schemathesis
from django.urls import URLPattern, URLResolver

from tests.support.installation import Installation
from tests.support.waiting import eventually

T = {"type": "transform", "config": {"output": 1}}
OK = {"name": "w", "nodes": {"a": T}}


def start(aob: Installation, document: Any, inputs: Any = None, **more: Any) -> dict[str, Any]:
    status, view = aob.request("POST", "/api/v1/runs", {"workflow": document, "inputs": inputs or {}, **more})
    assert status == 201, view
    return view  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "json_syntax"),
        (b'{"workflow": "w", "workflow": "x"}', 400, "json_duplicate_key"),
        (b'{"workflow": "access-log", "inputs": {"x": NaN}}', 400, "json_not_finite"),
        (b'{"workflow": "access-log", "inputs": {"x": 99999999999999999999}}', 400, "json_integer_range"),
        (b'{"workflow": "access-log", "inputs": {"x": "\\ud800"}}', 400, "json_surrogate"),
        (b'{"workflow": "access-log", "inputs": {"x": "\\u0000"}}', 400, "json_nul"),
        (b"[" * 5000, 400, "json_too_deep"),
        (b"[]", 422, "body_invalid"),
        (b"{}", 422, "field_missing"),
        (b'{"workflow": 5}', 422, "wrong_type"),
        (b'{"workflow": "gone"}', 404, "workflow_unknown"),
        (b'{"workflow": "access-log@gone"}', 404, "tag_unknown"),
        (b'{"workflow": "access-log", "id": "x"}', 422, "unknown_field"),
        (b'{"workflow": "access-log", "priority": "urgent"}', 422, "wrong_type"),
        (b'{"workflow": "access-log", "inputs": {}}', 422, "inputs_invalid"),
        (b'{"workflow": {"name": "w"}}', 422, "document_invalid"),
        (b'{"workflow": {"name": "w", "nodes": {"a": {"type": "x"}}}}', 422, "document_invalid"),
    ],
)
def test_bad_starts_are_refused_with_their_place(aob: Installation, body: bytes, status: int, code: str) -> None:
    answer = aob.request("POST", "/api/v1/runs", data=body)
    assert (answer[0], answer[1]["code"]) == (status, code)
    assert answer[1]["type"] == f"urn:aob:problem:{code}"


def test_a_document_of_50_mib_and_one_of_100_000_nodes(aob: Installation) -> None:
    status, problem = aob.request("POST", "/api/v1/runs", data=b'{"workflow": "' + b"x" * (50 * 1024 * 1024) + b'"}')
    assert (status, problem["code"]) == (413, "request_too_large") and "AOB_MAX_REQUEST_BYTES" in problem["hint"]
    many = {"name": "w", "nodes": {f"n{number}": {"type": "transform"} for number in range(100_000)}}
    status, problem = aob.request("POST", "/api/v1/runs", {"workflow": many})
    assert status == 422 and problem["errors"][0]["code"] == "limit_nodes"


def test_values_that_kombu_would_interpret_pass_unchanged(aob: Installation) -> None:
    inputs = {"a": {"__type__": "uuid", "__value__": {"hex": "x"}}, "b": {"__type__": "x", "__value__": 1}}
    document = {
        "name": "w",
        "nodes": {"f": {"type": "function", "config": {"name": "blob.write", "args": {"content": "{{ inputs }}"}}}},
    }
    view = aob.ended(start(aob, document, inputs)["id"])
    status, content = aob.request("GET", f"/api/v1/blobs/{view['output']['f']['blob']}")
    assert status == 200 and content == inputs


def test_the_idempotency_key(aob: Installation) -> None:
    first = aob.request("POST", "/api/v1/runs", {"workflow": OK}, Idempotency_Key="key-1")
    again = aob.request("POST", "/api/v1/runs", {"workflow": OK}, Idempotency_Key="key-1")
    other = aob.request("POST", "/api/v1/runs", {"workflow": OK, "priority": "low"}, Idempotency_Key="key-1")
    assert first[1]["id"] == again[1]["id"]
    assert (other[0], other[1]["code"]) == (409, "idempotency_key_reused")


def test_a_batch_answers_each_item(aob: Installation) -> None:
    items = [{"workflow": OK}, {"workflow": "gone"}, {"nonsense": 1}, {"workflow": OK, "inputs": {"x": 2}}]
    status, answer = aob.request("POST", "/api/v1/runs/batch", {"runs": items})
    assert status == 200 and [item["status"] for item in answer["items"]] == [201, 404, 422, 201]
    lines = b"\n".join(json.dumps(item).encode() for item in items)
    status, answer = aob.request("POST", "/api/v1/runs/batch", data=lines, Content_Type="application/x-ndjson")
    assert [item["status"] for item in answer["items"]] == [201, 404, 422, 201]


def test_steering_a_run_that_has_ended_or_does_not_exist(aob: Installation) -> None:
    run = start(aob, OK)["id"]
    for action, body in (("cancel", {}), ("pause", {}), ("resume", {}), ("signal", {"name": "x"})):
        status, problem = aob.request("POST", f"/api/v1/runs/{run}/{action}", body)
        assert (status, problem["code"]) == (409, "run_ended")
    for unknown in ("nope", "0198c5a0-0000-7000-8000-000000000000", "..", "x" * 3000):
        assert aob.request("GET", f"/api/v1/runs/{unknown}")[0] == 404
    assert aob.request("GET", "/api/v1/runs/%00")[1]["code"] == "text_nul"


def test_pause_resume_and_cancel(aob: Installation) -> None:
    run = start(aob, {"name": "w", "nodes": {"d": {"type": "delay", "config": {"for": "1h"}}}})["id"]
    assert aob.request("POST", f"/api/v1/runs/{run}/pause", {})[1]["status"] == "paused"
    assert aob.request("POST", f"/api/v1/runs/{run}/resume", {})[1]["status"] == "waiting"
    assert aob.request("POST", f"/api/v1/runs/{run}/cancel", {"reason": "x"})[1]["status"] == "cancelled"


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/latest",
        "http://localhost:1/",
        "http://[::ffff:127.0.0.1]:1/",
        "http://2130706433:1/",
        "http://0x7f.1:1/",
    ],
)
def test_nodes_cannot_reach_inner_addresses(aob: Installation, target: str) -> None:
    view = aob.ended(
        start(aob, {"name": "w", "nodes": {"h": {"type": "http", "config": {"method": "GET", "url": target}}}})["id"]
    )
    assert view["status"] == "failed" and view["error"]["code"] == "http_address_refused", view["error"]


def _routes(patterns: Any, prefix: str = "/") -> list[str]:
    found = []
    for entry in patterns:
        place = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            found += _routes(entry.url_patterns, place)
        elif isinstance(entry, URLPattern):
            found.append(place)
    return found


def test_every_route_wants_credentials_except_the_public_ones(aob: Installation) -> None:
    import re

    from aob_web.asgi import MOUNTED
    from aob_web.urls import PUBLIC, urlpatterns

    checked = 0
    for path in MOUNTED:
        for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD"):
            assert aob.request(method, path, token=None)[0] == 401, (method, path)
            assert aob.request(method, path, token="aob_wrong")[0] == 401, (method, path)
    for route in _routes(urlpatterns):
        path = re.sub(r"<int:[^>]+>", "1", route)
        path = re.sub(r"<[^>]+>", "x", path).replace("^", "").replace("$", "")
        if path == "/api/v1/" or "(?P" in path or any(path.removeprefix("/").startswith(public) for public in PUBLIC):
            continue
        status, text = aob.request("GET", path, token=None)
        body = text if isinstance(text, str) else json.dumps(text)
        signed_out = status in (401, 403, 405) or "Sign in to AOB" in body or "Log in" in body
        assert signed_out, (path, status, body[:200])
        assert aob.request("GET", path, token="aob_wrong")[0] in (401, 405) or signed_out
        checked += 1
    assert checked > 30


def test_a_token_may_do_what_its_scopes_say(aob: Installation) -> None:
    for header in ("", "Bearer", "Bearer ", "Basic YWRtaW46YWRtaW4=", "Bearer null", "bearer aob_x"):
        status, _ = aob.request("GET", "/api/v1/runs", token=None, Authorization=header)
        assert status == 401, header


def test_the_stream_resumes_where_it_was(aob: Installation) -> None:
    run = start(aob, "api-fan-out", {"base": aob.url, "count": 15})["id"]
    seen: list[int] = []
    ended = False
    while not ended:
        with socket.create_connection(("127.0.0.1", aob.port), timeout=30) as connection:
            connection.sendall(
                f"GET /api/v1/runs/{run}/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n"
                f"Authorization: Bearer {aob.token}\r\nLast-Event-ID: {seen[-1] if seen else 0}\r\n\r\n".encode()
            )
            text = b""
            while text.count(b"\nid: ") < 8 and b"event: end" not in text:
                part = connection.recv(4096)
                assert part
                text += part
        ended = b"event: end" in text
        complete = text[: text.rfind(b"\n\n")]
        seen += [int(line[4:]) for line in complete.split(b"\n") if line.startswith(b"id: ")]
    assert seen == list(range(1, len(seen) + 1))
    assert len(seen) == aob.request("GET", f"/api/v1/runs/{run}")[1]["last_seq"]
    assert aob.request("GET", f"/api/v1/runs/{run}/events", Last_Event_ID="x", Accept="text/event-stream")[0] == 400


def test_the_websocket_sends_the_log_and_refuses_strangers(aob: Installation) -> None:
    from websockets.asyncio.client import connect
    from websockets.exceptions import ConnectionClosed

    run = start(aob, OK)["id"]

    async def events(**headers: str) -> tuple[list[Any], int]:
        found = []
        url = f"ws://127.0.0.1:{aob.port}/ws/runs/{run}/"
        async with connect(url, additional_headers=headers, proxy=None) as socket:
            try:
                while True:
                    found.append(json.loads(await asyncio.wait_for(socket.recv(), 20)))
            except ConnectionClosed as closed:
                return found, closed.rcvd.code if closed.rcvd else 0

    good = {"Authorization": f"Bearer {aob.token}"}
    found, code = asyncio.run(events(**good))
    assert [event["seq"] for event in found] == [1, 2, 3] and code == 1000
    assert asyncio.run(events(Origin=aob.url)) == ([], 4401)
    assert asyncio.run(events(Authorization="Bearer x")) == ([], 4401)
    for origin in ("https://evil.example", "null", f"http://127.0.0.1.evil.example:{aob.port}", "http://127.0.0.1:1"):
        assert asyncio.run(events(Origin=origin, **good)) == ([], 4403), origin


def test_a_run_override_of_the_retry_policy(aob: Installation) -> None:
    node = {
        "type": "http",
        "config": {"method": "GET", "url": f"{aob.url}/gone"},
        "retry": {"schedule": ["1h"], "on": "any"},
    }
    run = start(aob, {"name": "w", "nodes": {"h": node}})["id"]
    eventually(
        lambda: (
            aob.request("GET", f"/api/v1/runs/{run}")[1]["waiting_for"][:1]
            and "attempt 2" in aob.request("GET", f"/api/v1/runs/{run}")[1]["waiting_for"][0]["what"]
        )
    )
    assert aob.request("POST", f"/api/v1/runs/{run}/retry-policy", {"node": "h", "retry": {"policy": "none"}})[0] == 200
    assert (
        aob.request("POST", f"/api/v1/runs/{run}/retry-policy", {"node": "zz", "retry": {}})[1]["code"] == "node_unknown"
    )
    assert aob.request("POST", f"/api/v1/runs/{run}/retry-policy", {"node": "h", "retry": {"x": 1}})[0] == 422
    aob.request("POST", f"/api/v1/runs/{run}/cancel", {})


def test_openapi_fuzzing_finds_no_server_error(aob: Installation) -> None:
    from hypothesis import HealthCheck, Phase, given, settings

    schema = schemathesis.openapi.from_url(f"{aob.url}/api/v1/openapi.json")
    operations = 0
    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.path.endswith("/events"):
            continue
        operations += 1

        # To shrink what fails would ask the server for minutes.
        @settings(
            max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), database=None, phases=[Phase.generate]
        )
        @given(case=operation.as_strategy())
        def probe(case: Any) -> None:
            if isinstance(case.body, dict) and type(case.body.get("wait")) in (int, float):
                case.body["wait"] = min(case.body["wait"], 0)  # A long poll is no error, only long.
            answer = case.call(headers={"Authorization": f"Bearer {aob.token}"}, timeout=30)
            assert answer.status_code < 500, (case.method, case.path, answer.status_code, answer.text[:300])

        probe()
    assert operations > 20
