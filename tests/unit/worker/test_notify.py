"""The node `notify` against a real local server: what each kind of channel gets, and what it shares with `http`."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest
from markdown_it import MarkdownIt

from tests.support.servers import HttpServer
from tests.unit.worker.test_http import context
from worker.executors import http, notify
from worker.executors.base import TaskError
from worker.http.client import Client
from worker.http.guard import AllowList, Guard
from workflows.core.chat import SHAPES, Notice, _cut_plain, payload, plain

FULL = {
    "title": "Orders\nof today",
    "text": "**17** orders @everyone <!channel> <@U1>",
    "fields": {"Refunds": 2, "*Name*": "a & b"},
    "link": "https://aob.example.com/runs/1/",
}


def post(config: dict[str, Any], *, allow: str = "127.0.0.1", **more: Any) -> Any:
    async def run() -> Any:
        client = Client(Guard(AllowList.parse(allow)))
        http._clients[asyncio.get_running_loop()] = client
        try:
            return await notify.execute({"text": "x", **config}, context(**more))
        finally:
            await client.close()

    return asyncio.run(run())


def sent(config: dict[str, Any]) -> Any:
    with HttpServer() as server:
        server.script = [(200, {"content-type": "text/plain"}, b"ok")]
        assert post({"url": server.url, **config}) == {"status": 200, "body": "ok"}
        [request] = server.requests
    assert request["method"] == "POST" and request["headers"]["idempotency-key"] == "r:n"
    assert request["headers"]["content-type"] == "application/json"
    return json.loads(request["body"])


def test_a_webhook_gets_what_was_said() -> None:
    assert sent(FULL) == {**FULL, "title": "Orders of today", "fields": {"Refunds": "2", "*Name*": "a & b"}}
    assert sent({"text": "x"}) == {"text": "x"}


def test_slack_gets_blocks_in_which_nobody_is_mentioned() -> None:
    body = sent({"channel": "slack", **FULL})
    assert [block["type"] for block in body["blocks"]] == ["header", "markdown", "section", "actions"]
    assert body["blocks"][0]["text"]["text"] == body["text"] == "Orders of today"
    assert "<" not in json.dumps([body["text"], body["blocks"][1]]) and "&lt;!channel&gt;" in body["blocks"][1]["text"]
    assert body["blocks"][2]["fields"][1] == {"type": "mrkdwn", "text": "*∗Name∗*\na &amp; b"}
    assert body["blocks"][3]["elements"][0]["url"] == FULL["link"]


def test_teams_gets_an_adaptive_card() -> None:
    [attached] = sent({"channel": "teams", **FULL})["attachments"]
    assert attached["contentType"] == "application/vnd.microsoft.card.adaptive"
    card = attached["content"]
    assert [part["type"] for part in card["body"]] == ["TextBlock", "TextBlock", "FactSet"]
    assert card["actions"][0]["url"] == FULL["link"]


def test_discord_gets_an_embed_that_calls_nobody() -> None:
    body = sent({"channel": "discord", **FULL})
    assert body["allowed_mentions"] == {"parse": []} and "content" not in body
    [embed] = body["embeds"]
    assert embed["title"] == "Orders of today" and embed["url"] == FULL["link"]
    assert embed["fields"][0] == {"name": "Refunds", "value": "2", "inline": True}


EVIL = "[Approve here](https://evil.example/a_b)"


@pytest.mark.parametrize("channel", ["teams", "discord"])
@pytest.mark.parametrize(
    "value",
    [EVIL, "\\[a](https://evil.example)", "https://x.example/[a](https://evil.example)", "**b** _i_ `c` ~~s~~ ||x||",
     "# big\n- one\n> two\n1. three\n  + four", "<@1> <t:0> <https://a.example>", "-# small"],
)  # fmt: skip
def test_values_are_no_markdown(channel: str, value: str) -> None:
    body = sent({"channel": channel, "title": value, "text": "**mine**", "fields": {value: value}})
    if channel == "teams":
        title, text, facts = body["attachments"][0]["content"]["body"]
        shown, names, values = title["text"], facts["facts"][0]["title"], facts["facts"][0]["value"]
        assert text["text"] == "**mine**"
    else:
        [embed] = body["embeds"]
        shown, names, values = embed["title"], embed["fields"][0]["name"], embed["fields"][0]["value"]
        assert embed["description"] == "**mine**"
    read = MarkdownIt("commonmark").enable(["strikethrough", "table"])
    for one, meant in ((shown, " ".join(value.split())), (names, value), (values, value)):
        tokens = [token for token in read.parse(one) if token.type not in ("paragraph_open", "paragraph_close")]
        [inline] = tokens
        assert {child.type for child in inline.children or ()} <= {"text", "text_special", "softbreak"}
        told = "".join("\n" if child.type == "softbreak" else child.content for child in inline.children or ())
        assert " ".join(told.split()) == " ".join(meant.split())


def test_an_address_in_a_value_stays_what_it_is() -> None:
    assert plain("see https://x.example/a_b*c~d, and a_b") == "see https://x.example/a_b*c~d, and a\\_b"


@pytest.mark.parametrize("most", range(2, 12))
def test_a_value_is_not_cut_between_a_backslash_and_its_letter(most: int) -> None:
    shown = _cut_plain("a*b\\*[c]", most)
    assert len(shown) <= most and re.fullmatch(r"(?:[^\\*\[\]]|\\.)*", shown)


@pytest.mark.parametrize("shape", SHAPES)
def test_long_texts_stay_within_what_the_channel_takes(shape: Any) -> None:
    large = Notice("x" * 50_000, "t" * 5_000, {f"n{n}" * 200: "v" * 9_000 for n in range(25)}, "https://example.com/")
    body = payload(shape, large)
    if shape == "discord":
        [embed] = body["embeds"]
        parts = [embed["title"], embed["description"], *(v for f in embed["fields"] for v in (f["name"], f["value"]))]
        assert len(embed["description"]) <= 4096 and sum(map(len, parts)) <= 6_000
    if shape == "slack":
        assert all(len(one["text"]) <= 2_000 for block in body["blocks"] for one in block.get("fields", ()))
        assert all(len(block.get("fields", ())) <= 10 for block in body["blocks"])
    if shape == "teams":
        assert len(json.dumps(body)) < 28_000


def test_it_is_guarded_and_retried_as_a_request() -> None:
    with HttpServer() as server:
        server.script = [(429, {"retry-after": "3"}, b"slow down"), 404]
        with pytest.raises(TaskError) as many:
            post({"url": server.url})
        assert many.value.transient and many.value.retry_after == 3
        with pytest.raises(TaskError) as gone:
            post({"url": server.url})
        assert not gone.value.transient
        with pytest.raises(TaskError) as inner:
            post({"url": server.url}, allow="")
        assert inner.value.code == "http_address_refused" and len(server.requests) == 2


def test_one_that_an_agent_brought_stays_within_its_hosts_on_every_hop() -> None:
    with HttpServer() as server, HttpServer() as other:
        server.script = [(307, {"location": other.url}, b"")]
        with pytest.raises(TaskError) as caught:
            post({"url": server.url}, hosts=[server.url.removeprefix("http://")])
        assert caught.value.code == "capability_missing" and other.requests == []


@pytest.mark.parametrize(
    "config",
    [{"link": "javascript:alert(1)"}, {"link": 'https://x/"><'}, {"link": "//x"}, {"fields": ["a"]}, {"fields": "x"}],
)
def test_what_is_no_notice_is_refused_before_anything_is_sent(config: dict[str, Any]) -> None:
    with HttpServer() as server, pytest.raises(TaskError) as refused:
        post({"url": server.url, **config})
    assert refused.value.code == "notify_text" and server.requests == []
