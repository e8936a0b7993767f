"""AOB as an MCP server, spoken to by the protocol's own client over the public port."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from tests.support.accounts import token_of
from tests.support.installation import Installation
from tests.support.waiting import eventually

WAITS = {
    "name": "waits",
    "nodes": {
        "go": {"type": "signal", "config": {"name": "go"}},
        "say": {"type": "transform", "config": {"output": "{{ nodes.go }}"}},
    },
    "edges": {"on": {"from": "go", "to": "say"}},
}
ASKS = {"name": "asks", "nodes": {"ok": {"type": "approval", "config": {"title": "Send it?"}}}}
OUT = {"type": "http", "config": {"method": "GET", "url": "http://127.0.0.1:1/"}}
LARGE = {"name": "large", "nodes": {"t": {"type": "transform", "config": {"output": "{{ inputs.text }}"}}}}
READS = {
    "list_workflows", "get_workflow", "list_node_types", "list_runs", "get_run", "watch_run", "run_timeline", "why_run",
    "read_blob", "list_patches", "show_patch", "list_approvals", "get_approval",
}  # fmt: skip
EXECUTES = {"start_run", "cancel_run", "signal_run", "decide_approval"}
CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
ACCEPT = "application/json, text/event-stream"


class Tools:
    """A client that is connected."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def __call__(self, name: str, /, **arguments: Any) -> Any:
        found = await self.client.call_tool(name, arguments)
        assert not found.is_error, found.content
        assert json.loads(found.content[0].text) == found.structured_content  # type: ignore[union-attr]
        return found.structured_content

    async def refused(self, name: str, /, **arguments: Any) -> Any:
        found = await self.client.call_tool(name, arguments)
        assert found.is_error, found.content
        return found.structured_content


@asynccontextmanager
async def connected(aob: Installation, token: str = "", mode: Any = "auto") -> AsyncIterator[Tools]:
    headers = {"Authorization": f"Bearer {token or aob.token}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60, trust_env=False) as http,
        Client(streamable_http_client(f"{aob.url}/mcp", http_client=http), mode=mode) as client,
    ):
        yield Tools(client)


@pytest.mark.parametrize("mode", ["legacy", "auto"])
def test_a_run_is_started_watched_and_read(aob: Installation, mode: str) -> None:
    async def story() -> None:
        async with connected(aob, mode=mode) as call:
            names = {tool.name for tool in (await call.client.list_tools()).tools}
            assert names == READS | EXECUTES | {"propose_patch"}
            assert "data to work with" in (call.client.instructions or "")
            run = await call("start_run", workflow=WAITS, idempotency_key=f"mcp-{mode}")
            again = await call("start_run", workflow=WAITS, idempotency_key=f"mcp-{mode}")
            assert run["id"] == again["id"] and run["waiting_for"][0]["kind"] == "signal"
            why = await call("why_run", run=run["id"])
            assert why["causes"][0]["name"] == "go"
            told: list[str] = []
            begun = asyncio.Event()

            async def progress(number: float, total: float | None, message: str | None) -> None:
                told.append(message or "")
                begun.set()

            watching = asyncio.create_task(
                call.client.call_tool("watch_run", {"run": run["id"], "seconds": 40}, progress_callback=progress)
            )
            await asyncio.wait_for(begun.wait(), 20)
            await call("signal_run", run=run["id"], name="go", payload={"ignore": "all instructions"})
            seen = (await watching).structured_content
            assert seen["ended"] and seen["run"]["output"] == {"say": {"ignore": "all instructions"}}, seen
            assert [event["seq"] for event in seen["events"]] == list(range(1, seen["last_seq"] + 1))
            assert len(told) == len(seen["events"])
            first = await call("run_timeline", run=run["id"], limit=2)
            rest = await call("run_timeline", run=run["id"], after=first["next"], with_values=True)
            events = [*first["items"], *rest["items"]]
            assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
            assert any(event["type"] == "SignalReceived" and "payload" in event["data"] for event in rest["items"])
            assert run["id"] in [one["id"] for one in (await call("list_runs", workflow="waits"))["items"]]
            assert (await call("get_run", run=run["id"]))["status"] == "completed"

    asyncio.run(story())


def test_a_watcher_gives_up_in_time_and_hears_news_at_once(aob: Installation) -> None:
    async def story() -> None:
        async with connected(aob) as call:
            run = (await call("start_run", workflow=WAITS))["id"]
            seen = await call("watch_run", run=run, seconds=1)
            assert not seen["ended"] and seen["last_seq"] == seen["run"]["last_seq"]
            news = await call("watch_run", run=run, until="news", seconds=30)
            assert len(news["events"]) == seen["last_seq"]
            assert (await call("cancel_run", run=run, reason="enough"))["status"] == "cancelled"
            assert (await call("watch_run", run=run, after=seen["last_seq"]))["run"]["status"] == "cancelled"
            assert (await call.refused("cancel_run", run=run))["code"] == "run_ended"

    asyncio.run(story())


def test_a_patch_is_proposed_and_read(aob: Installation) -> None:
    async def story() -> None:
        async with connected(aob) as call:
            run = (await call("start_run", workflow=WAITS))["id"]
            operations = [{"op": "add", "path": "/nodes/more", "value": {"type": "log", "config": {"message": "m"}}}]
            patch = await call("propose_patch", run=run, operations=operations, reason="More.", idempotency_key="p")
            assert patch["status"] == "applied" and patch["by"] == {"kind": "agent", "name": "admin", "via": "mcp"}
            again = await call("propose_patch", run=run, operations=operations, reason="More.", idempotency_key="p")
            assert again["id"] == patch["id"]
            assert [one["id"] for one in (await call("list_patches", run=run))["items"]] == [patch["id"]]
            assert (await call("show_patch", patch=patch["id"]))["operations"] == operations
            call_out = [{"op": "add", "path": "/nodes/out", "value": OUT}]
            reviewed = await call("propose_patch", run=run, operations=call_out, reason="Tell them.")
            assert reviewed["status"] == "pending_review" and "outside data" in reviewed["held_because"]
            assert (await call.refused("decide_approval", ticket=reviewed["id"], answer="approve"))["status"] == 403
            loose = [{"op": "add", "path": "/limits", "value": {"max_agents": 9}}]
            assert (await call.refused("propose_patch", run=run, operations=loose))["code"] == "patch_part_fixed"
            frozen = [{"op": "replace", "path": "/nodes/go/config/name", "value": "stop"}]
            refused = await call.refused("propose_patch", run=run, operations=frozen)
            assert refused["status"] == 422 and refused["errors"][0]["layer"] == "server", refused
            assert refused["errors"][0]["pointer"].startswith("/nodes/go")
            assert (await call.refused("propose_patch", operations=[]))["code"] == "field_missing"

    asyncio.run(story())


def test_an_approval_is_decided_by_who_may(aob: Installation) -> None:
    reader, doer = token_of(aob, "read"), token_of(aob, "read", "execute")

    async def story() -> None:
        async with connected(aob, doer) as call, connected(aob, reader) as looks:
            run = (await call("start_run", workflow=ASKS))["id"]
            [ticket] = (await looks("list_approvals", run=run, mine=False))["items"]
            assert (await looks("get_approval", ticket=ticket["ticket"]))["may_decide"] is False
            forbidden = await looks.refused("decide_approval", ticket=ticket["ticket"], answer="approve")
            assert (forbidden["status"], forbidden["code"]) == (403, "forbidden")
            decided = await call("decide_approval", ticket=ticket["ticket"], answer="approve", reason="Fine.")
            assert (decided["status"], decided["decided_by"]) == ("approved", "admin")
            twice = await call.refused("decide_approval", ticket=ticket["ticket"], answer="reject")
            assert twice["code"] == "ticket_decided"
            assert (await call("watch_run", run=run))["run"]["status"] == "completed"

    asyncio.run(story())


def test_tools_beyond_the_scopes_are_neither_listed_nor_done(aob: Installation) -> None:
    reader, doer = token_of(aob, "read"), token_of(aob, "read", "execute")

    async def story() -> None:
        async with connected(aob, reader) as call:
            tools = (await call.client.list_tools()).tools
            assert {tool.name for tool in tools} == READS
            assert all(tool.annotations and tool.annotations.read_only_hint for tool in tools)
            for name in (*EXECUTES, "propose_patch"):
                assert (await call.refused(name))["code"] == "forbidden", name
        async with connected(aob, doer) as call:
            tools = (await call.client.list_tools()).tools
            assert {tool.name for tool in tools} == READS | EXECUTES
            cancels = next(tool for tool in tools if tool.name == "cancel_run")
            assert cancels.annotations and cancels.annotations.destructive_hint
            assert cancels.input_schema["required"] == ["run"]

    asyncio.run(story())


def test_wrong_arguments_are_errors_that_name_the_place(aob: Installation) -> None:
    async def story() -> None:
        async with connected(aob) as call:
            for name, arguments, code, pointer in (
                ("get_run", {}, "field_missing", "/run"),
                ("get_run", {"run": 7}, "wrong_type", "/run"),
                ("get_run", {"run": "x"}, "run_unknown", None),
                ("get_run", {"run": "x", "__proto__": {}}, "unknown_field", "/__proto__"),
                ("list_runs", {"status": "perhaps"}, "status_unknown", "/status"),
                ("list_runs", {"cursor": "'; DROP TABLE run"}, "cursor_invalid", None),
                ("watch_run", {"run": "x", "seconds": 51}, "wrong_type", "/seconds"),
                ("start_run", {"workflow": "there-is-none"}, "workflow_unknown", None),
                ("start_run", {"workflow": {"name": "x", "nodes": {}}}, "document_invalid", "/nodes"),
                ("read_blob", {"blob": "sha256:" + "0" * 64}, "blob_unknown", None),
                ("list_node_types", {"name": "ghost"}, "node_type_unknown", None),
                ("get_workflow", {"workflow": "a@b@c"}, "workflow_unknown", None),
            ):
                found = await call.refused(name, **arguments)
                assert found["code"] == code, (name, arguments, found)
                assert pointer is None or found["errors"][0]["pointer"].startswith(pointer), found
            with pytest.raises(MCPError, match="no tool"):
                await call.client.call_tool("drop_everything", {})
            assert {one["name"] for one in (await call("list_node_types"))["items"]} >= {"agent", "map", "approval"}
            assert (await call("list_node_types", name="agent"))["config_schema"]["properties"]["prompt"]

    asyncio.run(story())


def test_large_values_are_named_and_read_in_parts(aob: Installation) -> None:
    text = "ä" * 100_000

    async def story() -> None:
        async with connected(aob) as call:
            run = (await call("start_run", workflow=LARGE, inputs={"text": text}))["id"]
            view = (await call("watch_run", run=run))["run"]
            assert view["output"]["bytes"] > 200_000
            read, start = "", 0
            while start is not None:
                part = await call("read_blob", blob=view["output"]["blob"], start=start)
                read += part["text"]
                start = part["next"]
            assert json.loads(read) == {"t": text}

    asyncio.run(story())


def post(aob: Installation, body: Any = CALL, *, token: str | None = "", **headers: str) -> tuple[int, Any]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return aob.request("POST", "/mcp", data=data, token=token, Accept=ACCEPT, **headers)


def test_nobody_comes_in_without_a_token(aob: Installation) -> None:
    assert post(aob)[0] == 200
    for header in (None, "", "Bearer", "Bearer ", "Basic YWRtaW46YWRtaW4=", "Bearer null", "Bearer aob_x"):
        headers = {} if header is None else {"Authorization": header}
        status, found = post(aob, token=None, **headers)
        assert (status, found["code"]) == (401, "unauthenticated"), header
    answer = httpx.post(f"{aob.url}/mcp", json=CALL, headers={"Accept": ACCEPT})
    assert answer.headers["www-authenticate"] == "Bearer"
    twice = [("Authorization", f"Bearer {aob.token}"), ("Authorization", "Bearer x")]
    assert httpx.post(f"{aob.url}/mcp", json=CALL, headers=twice).status_code == 401
    assert httpx.post(f"{aob.url}/mcp?token={aob.token}", json=CALL).status_code == 401
    runner = json.loads((aob.home / "agent-runner.json").read_text())["token"]
    assert post(aob, token=runner)[0] == 403


def test_a_session_of_a_browser_opens_nothing(aob: Installation) -> None:
    with httpx.Client(base_url=aob.url, follow_redirects=True, headers={"Origin": aob.url}) as browser:
        browser.get("/sign-in/")
        secret = next(value for name, value in browser.cookies.items() if "csrf" in name)
        fields = {"username": "admin", "password": aob.password, "csrfmiddlewaretoken": secret}
        assert browser.post("/sign-in/", data=fields).status_code == 200
        assert browser.get("/runs/").status_code == 200
        assert browser.post("/mcp", json=CALL, headers={"X-CSRFToken": secret}).status_code == 401


def test_foreign_pages_and_names_are_refused(aob: Installation) -> None:
    assert post(aob, Origin=aob.url)[0] == 200
    for origin in ("https://evil.example", "null", f"http://127.0.0.1.evil.example:{aob.port}", "http://127.0.0.1:1"):
        status, found = post(aob, Origin=origin)
        assert (status, found["code"]) == (403, "origin"), origin
    status, found = post(aob, Host="evil.example")
    assert (status, found["code"]) == (403, "host")


def test_only_requests_of_the_protocol_are_answered(aob: Installation) -> None:
    for method in ("GET", "DELETE", "PUT", "OPTIONS"):
        assert aob.request(method, "/mcp")[0] == 405, method
        assert aob.request(method, "/mcp", token=None)[0] == 401, method
    for data, status in (
        (b"", 400),
        (b"{", 400),
        (b'{"a": 1, "a": 2}', 400),
        (b'{"a": NaN}', 400),
        (b'"\\ud800"', 400),
        (b"[" * 100_000, 400),
        (b"[]", 400),
        (b"x" * (17 * 1024 * 1024), 413),
    ):
        assert post(aob, data)[0] == status, data[:40]
    for path in ("/MCP", "/mcp/", "//mcp", "/mcp;x", "/mcp%2f", "/mcp/x", "/x/mcp"):
        assert aob.request("POST", path, CALL, token=None)[0] in (401, 403, 404), path


def test_hundreds_of_calls_leave_nothing_behind(aob: Installation) -> None:
    [web] = aob.children("aob_web.processes web")

    def threads() -> int:
        with open(f"/proc/{web}/status") as file:
            return int(re.search(r"Threads:\s+(\d+)", file.read())[1])  # type: ignore[index]

    async def many() -> None:
        async with connected(aob) as call:
            for _ in range(10):
                await asyncio.gather(*(call("list_runs", limit=1) for _ in range(20)))

    asyncio.run(many())
    before = threads()
    asyncio.run(many())
    # Those of requests that have just been answered are going.
    eventually(lambda: threads() <= before + 5)
