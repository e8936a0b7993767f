"""Hostile and broken answers of models (hazards L1, L6, F31): a node error or told to the model, never more."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from typing import Any

import httpx2
import pytest

from tests.support.agents import MemoryTools, run_agent
from tests.support.servers import HttpServer
from worker.agent.wire import AnswerTooLarge, Bounded

BLOB = f"sha256:{'1' * 64}"
PROTOCOLS = ("openai:m", "anthropic:m")


def openai_stream(*chunks: str, end: str = "data: [DONE]\n\n") -> str:
    return "".join(f"data: {chunk}\n\n" for chunk in chunks) + end


def delta(content: str, finish: str = "null") -> str:
    """A chunk whose content is JSON text as it stands."""
    return (
        '{"id":"1","object":"chat.completion.chunk","created":1,"model":"m","choices":'
        f'[{{"index":0,"delta":{{"content":{content}}},"finish_reason":{finish}}}]}}'
    )


@pytest.mark.parametrize("model", PROTOCOLS)
@pytest.mark.parametrize("text", ["a\ud800b", "a\x00b"])
def test_text_that_cannot_be_kept(model: str, text: str) -> None:
    found = run_agent([{"text": text}], {"model": model})
    assert found.error.code == "agent_answer_invalid"
    assert found.asked == 1


@pytest.mark.parametrize("model", PROTOCOLS)
def test_an_answer_of_ten_megabytes(model: str) -> None:
    found = run_agent([{"text": "x" * 10_000_000}], {"model": model})
    assert found.error.code == "agent_answer_invalid"
    assert "too large" in found.error.message


@pytest.mark.parametrize("model", PROTOCOLS)
@pytest.mark.parametrize("how", ["cut", "unfinished"])
def test_half_a_stream(model: str, how: str) -> None:
    found = run_agent([{"text": "Half of what I have to say to you.", "stream": how}], {"model": model})
    assert found.error.code in ("agent_provider", "agent_answer_invalid")
    assert found.asked == 1, "what may have been executed is not paid twice"


@pytest.mark.parametrize("model", PROTOCOLS)
def test_doubled_chunks_end_in_words_or_an_error(model: str) -> None:
    found = run_agent([{"text": "Twice.", "stream": "twice"}], {"model": model})
    assert found.error is None or found.error.code in ("agent_provider", "agent_answer_invalid")


@pytest.mark.parametrize("model", PROTOCOLS)
def test_doubled_chunks_of_a_tool_call_make_no_call(model: str) -> None:
    turns = [{"tool": "ask_human", "args": {"question": "May I do this, please?"}, "stream": "twice"}, {"text": "Well."}]
    found = run_agent(turns, {"model": model, "tools": ["ask_human"]})
    assert found.tools.effects == {}
    assert found.error is not None or found.output == "Well."


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "data: {\n\n",
        "data: [1, 2]\n\n",
        "data: null\n\n",
        "\xff\xfe\x00\x01",
        "<html>no</html>",
        "data: " + "[" * 100_000 + "\n\n",
        openai_stream(delta('"ok"', '"stop"')).replace("ok", "\xff\xfe"),
        openai_stream(delta('"\\ud800"', '"stop"')),
        openai_stream(delta('"ok"')),
        openai_stream(delta('"ok"', '"no such reason"')),
        openai_stream('{"error":{"message":"overloaded"}}'),
        openai_stream('{"id":"1","object":"chat.completion.chunk","created":1,"model":"m","choices":[]}'),
        openai_stream(delta("17", '"stop"')),
        openai_stream(delta('{"a":1}', '"stop"')),
    ],
)
def test_bytes_that_are_no_answer(raw: str) -> None:
    found = run_agent([{"raw": raw}], budget={"seconds": 5})
    known = ("agent_provider", "agent_answer_invalid", "agent_output_invalid")
    assert found.error is None or found.error.code in known, found.error
    assert all(step.outcome is not None for step in found.journal.steps)


@pytest.mark.parametrize(
    "raw", ["", "data: {\n\n", "event: message_start\ndata: {}\n\n", "event: ping\ndata: 1\n\n", "\xff"]
)
def test_bytes_that_are_no_answer_of_the_other_protocol(raw: str) -> None:
    found = run_agent([{"raw": raw}], {"model": "anthropic:m"}, budget={"seconds": 5})
    assert found.error.code in ("agent_provider", "agent_answer_invalid"), found.error


@pytest.mark.parametrize("model", PROTOCOLS)
@pytest.mark.parametrize(
    "args",
    ['{"hash": 1, "hash": 2}', "{", "", "null", "[1]", "NaN", '{"hash": "\\u0000"}', '{"hash": "\\ud800"}'],
)
def test_arguments_that_are_wrong_are_told_to_the_model(model: str, args: str) -> None:
    turns = [{"tool": "read_blob", "args": args}, {"expect": ["arguments_invalid"], "text": "Sorry."}]
    found = run_agent(turns, {"model": model, "tools": ["read_blob"]})
    assert found.output == "Sorry.", found.error
    (outcome,) = found.journal.outcomes("read_blob")
    assert outcome["error"]["code"] == "arguments_invalid"


@pytest.mark.parametrize("model", PROTOCOLS)
def test_a_number_that_no_json_holds_reaches_no_tool(model: str) -> None:
    turns = [{"tool": "ask_human", "args": '{"question": 1e999}'}, {"text": "Sorry."}]
    found = run_agent(turns, {"model": model, "tools": ["ask_human"]})
    assert found.tools.effects == {}
    assert found.output == "Sorry." or found.error.code == "agent_provider"


@pytest.mark.parametrize("model", PROTOCOLS)
def test_five_hundred_tool_calls_in_one_answer(model: str) -> None:
    turns = [{"tools": [{"tool": "ask_human", "args": {"question": "?"}}] * 500}]
    found = run_agent(turns, {"model": model, "tools": ["ask_human"]})
    assert found.error.code == "agent_answer_invalid"
    assert found.tools.effects == {}


@pytest.mark.parametrize("model", PROTOCOLS)
def test_an_unknown_tool_is_refused_on_the_record(model: str) -> None:
    turns = [{"tool": "delete_everything", "args": {"now": True}}, {"text": "Pity."}]
    found = run_agent(turns, {"model": model, "tools": ["read_blob"]})
    assert found.output == "Pity."
    (outcome,) = found.journal.outcomes("delete_everything")
    assert outcome["error"]["code"] == "capability"


def test_a_model_that_insists_on_an_unknown_tool_is_an_error() -> None:
    found = run_agent([{"tool": "delete_everything", "args": {}}])
    assert found.error.code == "agent_answer_invalid"
    assert found.asked <= 5


def test_tools_that_were_not_granted_do_not_exist() -> None:
    turns = [{"tool": name, "args": {}} for name in ("http", "ask_human", "patch_workflow")]
    found = run_agent([*turns, {"text": "Nothing."}], {"tools": ["read_blob"]})
    assert found.output == "Nothing."
    assert found.tools.calls == []
    assert len([step for step in found.journal.steps if step.kind == "tool"]) == 3


def test_a_config_alone_grants_nothing() -> None:
    found = run_agent([{"tool": "ask_human", "args": {}}, {"text": "No."}], {"tools": ["ask_human"]}, grant={"tools": []})
    assert found.output == "No."
    assert found.tools.calls == []


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:{port}/", "http://127.0.0.1.nip.io:{port}/", "http://127.0.0.1@evil.example/",
        "http://2130706433:{port}/", "http://[::ffff:127.0.0.1]:{port}/", "http://evil.example/?127.0.0.1",
        "file:///etc/passwd", "//127.0.0.1/", "no url", "http://127.0.0.1:1/",
    ],
)  # fmt: skip
def test_a_host_that_was_not_granted_is_not_asked(url: str) -> None:
    with HttpServer() as server:
        port = server.url.rpartition(":")[2]
        config = {"tools": [{"type": "http", "hosts": [f"127.0.0.1:{port}"]}]}
        args = {"method": "GET", "url": url.format(port=port)}
        found = run_agent([{"tool": "http", "args": args}, {"text": "No."}], config)
        assert server.requests == []
    assert found.output == "No."
    (outcome,) = found.journal.outcomes("http")
    assert outcome["error"]["code"] in ("capability", "http_url")


def test_a_redirect_to_another_host_is_not_followed() -> None:
    with HttpServer() as server, HttpServer() as other:
        server.script = [(302, {"location": f"{other.url}/secret"}, b"")]
        config = {"tools": [{"type": "http", "hosts": [server.url.removeprefix("http://")]}]}
        found = run_agent([{"tool": "http", "args": {"method": "GET", "url": server.url}}, {"text": "No."}], config)
        assert other.requests == []
    (outcome,) = found.journal.outcomes("http")
    assert outcome["error"]["code"] == "capability"


def test_a_method_that_was_not_granted() -> None:
    with HttpServer() as server:
        config = {"tools": [{"type": "http", "hosts": ["127.0.0.1"]}]}
        turns = [{"tool": "http", "args": {"method": "DELETE", "url": server.url}}, {"text": "No."}]
        found = run_agent(turns, config)
        assert server.requests == []
    (outcome,) = found.journal.outcomes("http")
    assert outcome["error"]["code"] == "arguments_invalid"


def test_an_inner_address_is_not_reached_even_when_its_host_was_granted() -> None:
    with HttpServer() as server:
        config = {"tools": [{"type": "http", "hosts": ["127.0.0.1"]}]}
        turns = [{"tool": "http", "args": {"method": "GET", "url": server.url}}, {"text": "No."}]
        found = run_agent(turns, config, allow="")
        assert server.requests == []
    (outcome,) = found.journal.outcomes("http")
    assert outcome["error"]["code"] == "http_address_refused"


@pytest.mark.parametrize("args", [{"headers": {"Host": "x"}}, {"headers": {"A": "b\r\nC: d"}}, {"headers": {"A": "ü"}}])
def test_headers_that_break_out(args: dict[str, Any]) -> None:
    with HttpServer() as server:
        config = {"tools": [{"type": "http", "hosts": ["127.0.0.1"]}]}
        turns = [{"tool": "http", "args": {"method": "GET", "url": server.url, **args}}, {"text": "No."}]
        found = run_agent(turns, config)
    assert found.output == "No.", found.error


def test_expressions_in_what_a_model_says_stay_text() -> None:
    found = run_agent([{"text": "{{ secrets.key }} ![x](http://evil.example/?q=1)"}])
    assert found.output == "{{ secrets.key }} ![x](http://evil.example/?q=1)"


def test_a_result_with_broken_characters_is_told_as_an_error() -> None:
    tools = MemoryTools()
    tools.blobs[BLOB] = json.dumps("x").encode() + b"\xff\x00"
    turns = [{"tool": "read_blob", "args": {"hash": BLOB}}, {"text": "Read."}]
    found = run_agent(turns, {"tools": ["read_blob"]}, tools=tools)
    assert found.output == "Read."


@pytest.mark.parametrize(
    ("coding", "data", "error"),
    [
        ("gzip", gzip.compress(bytes(2**24)), AnswerTooLarge),
        ("deflate", zlib.compress(bytes(2**24)), AnswerTooLarge),
        ("gzip, gzip", gzip.compress(gzip.compress(b"x")), httpx2.DecodingError),
        ("gzip", b"no gzip", httpx2.DecodingError),
    ],
    ids=["gzip", "deflate", "twice", "none"],
)
def test_a_small_answer_that_stands_for_a_large_one(coding: str, data: bytes, error: type[Exception]) -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-encoding": coding}, stream=httpx2.ByteStream(data))

    async def run() -> None:
        transport = Bounded(httpx2.MockTransport(answer), max_bytes=2**20)
        async with httpx2.AsyncClient(transport=transport) as client:
            await client.get("http://provider.example/")

    with pytest.raises(error):
        asyncio.run(run())
