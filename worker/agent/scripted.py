"""The scripted provider: speaks the protocols of OpenAI and Anthropic, and answers from a script. No language model.

    python -m worker.agent.scripted --port 8123 --script FILE

A script is JSON: `{"conversations": {model: [turn, …]}}`. The turn is chosen by how many answers the request holds
already, so the server keeps no state and a restart changes nothing; after the last turn that one is repeated. A turn:

    {"text": "…"}                              says something
    {"tool": "name", "args": {…}}              calls a tool; args may be a string, which is sent as it is
    {"tools": [{"tool": …, "args": …}, …]}     calls several; `text` may stand beside
    {"status": 429, "message"?, "times"?}      fails; with `times` only so often, then the next turn's place is taken
    {"raw": "…"}                               sends this as the body, latin-1, whatever it is
    {"stream": "cut" | "endless" | "twice" | "unfinished"}   beside the others: a stream as it should not be
    {"pause": 0.1}                             beside the others: waits so many seconds between two pieces of a stream
    {"expect": ["…"]}                          beside the others: 400 unless the last message holds these texts
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

from aiohttp import web

WHO = "scripted provider (no language model)"
PIECE = 16
"""Characters of one delta."""

DEFAULT_SCRIPT: dict[str, Any] = {
    "conversations": {
        "hello": [{"text": "Hello. I am a script, not a language model."}],
        "note": [
            {"tool": "read_workflow", "args": {}},
            {
                "tool": "patch_workflow",
                "args": {
                    "reason": "Show what a patch is.",
                    "operations": [
                        {
                            "op": "add",
                            "path": "/nodes/note_of_the_script",
                            "value": {"type": "log", "config": {"message": "A scripted agent added this node."}},
                        }
                    ],
                },
            },
            {"text": "I added a node. I am a script, not a language model."},
        ],
    }
}


class Provider:
    """The server and what it was asked."""

    def __init__(self, script: dict[str, Any]) -> None:
        self.conversations: dict[str, list[dict[str, Any]]] = script["conversations"]
        self.requests: list[dict[str, Any]] = []
        self._failed: Counter[str] = Counter()

    def app(self) -> web.Application:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_get("/", self._health)
        app.router.add_get("/requests", self._counted)
        app.router.add_post("/v1/chat/completions", self._openai)
        app.router.add_post("/v1/messages", self._anthropic)
        return app

    async def _health(self, request: web.Request) -> web.Response:
        return web.json_response({"name": WHO, "conversations": sorted(self.conversations)})

    async def _counted(self, request: web.Request) -> web.Response:
        return web.json_response({"count": len(self.requests), "requests": self.requests})

    async def _openai(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        return await self._answer(request, asked, _OpenAI(asked, self._bytes(asked)))

    async def _anthropic(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        return await self._answer(request, asked, _Anthropic(asked, self._bytes(asked)))

    def _bytes(self, asked: dict[str, Any]) -> int:
        return len(json.dumps(asked, ensure_ascii=False).encode("utf-8", "replace"))

    async def _answer(self, request: web.Request, asked: dict[str, Any], wire: _Wire) -> web.StreamResponse:
        model = str(asked.get("model"))
        number = sum(message.get("role") == "assistant" for message in asked.get("messages", ()))
        self.requests.append({"model": model, "turn": number, "stream": bool(asked.get("stream"))})
        turns = self.conversations.get(model)
        if not turns:
            return wire.error(404, f"The script has no conversation {model!r}.")
        turn = self._turn(model, turns, number)
        said = json.dumps(asked["messages"][-1], ensure_ascii=False)
        for text in turn.get("expect", ()):
            if text not in said:
                return wire.error(400, f"The last message does not hold {text!r}: {said[:1000]}")
        if "status" in turn:
            return wire.error(turn["status"], turn.get("message", "The script says so."))
        if not asked.get("stream"):
            body = turn["raw"].encode("latin-1") if "raw" in turn else json.dumps(wire.whole(turn)).encode()
            return web.Response(body=body, content_type="application/json", headers=_HEADERS)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **_HEADERS})
        await response.prepare(request)
        try:
            await _stream(response, turn, wire)
        except ConnectionError:
            return response
        return response

    def _turn(self, model: str, turns: list[dict[str, Any]], number: int) -> dict[str, Any]:
        """The turn of this number; turns that fail for a while are no answers, so they take no number."""
        for turn in turns:
            if "times" in turn:
                mark = f"{model} {json.dumps(turn)}"
                if number == 0 and self._failed[mark] < turn["times"]:
                    self._failed[mark] += 1
                    return turn
        answers = [turn for turn in turns if "times" not in turn]
        return answers[min(number, len(answers) - 1)]


_HEADERS = {"X-Provider": WHO, "Retry-After-Ms": "5"}


async def _stream(response: web.StreamResponse, turn: dict[str, Any], wire: _Wire) -> None:
    if "raw" in turn:
        await response.write(turn["raw"].encode("latin-1"))
        return
    how = turn.get("stream")
    events = wire.events(turn)
    if how == "unfinished":
        events = wire.without_end(events)
    if how == "endless":
        events = events[:2]
    if how == "cut":
        events = events[: max(len(events) // 2, 1)]
    for event in events:
        for _ in range(2 if how == "twice" else 1):
            await response.write(event.encode("utf-8", "surrogatepass"))
        if "pause" in turn:
            await asyncio.sleep(turn["pause"])
    if how == "cut" and response._req is not None and response._req.transport is not None:
        response._req.transport.close()
    while how == "endless":
        await response.write(wire.piece("and so on " * 100).encode())
        await asyncio.sleep(0)


def _calls(turn: dict[str, Any]) -> list[tuple[str, str]]:
    """Names and arguments of the tools that a turn calls; arguments as text."""
    calls = turn.get("tools") or ([turn] if "tool" in turn else [])
    return [
        (call["tool"], call["args"] if isinstance(call.get("args"), str) else json.dumps(call.get("args", {})))
        for call in calls
    ]


class _Wire:
    """How an answer is written in one protocol."""

    def __init__(self, asked: dict[str, Any], size: int) -> None:
        self.model = f"{WHO}: {asked.get('model')}"
        self.input_tokens = size // 4
        self.turn_number = sum(message.get("role") == "assistant" for message in asked.get("messages", ()))

    def error(self, status: int, message: str) -> web.Response:
        raise NotImplementedError

    def whole(self, turn: dict[str, Any]) -> dict[str, Any]:
        raise NotImplementedError

    def events(self, turn: dict[str, Any]) -> list[str]:
        raise NotImplementedError

    def without_end(self, events: list[str]) -> list[str]:
        raise NotImplementedError

    def piece(self, text: str) -> str:
        raise NotImplementedError

    def output_tokens(self, turn: dict[str, Any]) -> int:
        return max(1, (len(turn.get("text", "")) + sum(len(args) for _, args in _calls(turn))) // 4)

    def call_id(self, number: int) -> str:
        return f"call_{self.turn_number}_{number}"


def _pieces(text: str) -> list[str]:
    size = max(PIECE, len(text) // 200)
    return [text[start : start + size] for start in range(0, len(text), size)]


class _OpenAI(_Wire):
    def error(self, status: int, message: str) -> web.Response:
        body = {"error": {"message": message, "type": "scripted", "code": None}}
        return web.json_response(body, status=status, headers=_HEADERS)

    def _usage(self, turn: dict[str, Any]) -> dict[str, int]:
        output = self.output_tokens(turn)
        return {
            "prompt_tokens": self.input_tokens,
            "completion_tokens": output,
            "total_tokens": self.input_tokens + output,
        }

    def whole(self, turn: dict[str, Any]) -> dict[str, Any]:
        calls = [
            {"id": self.call_id(number), "type": "function", "function": {"name": name, "arguments": args}}
            for number, (name, args) in enumerate(_calls(turn))
        ]
        message = {"role": "assistant", "content": turn.get("text"), **({"tool_calls": calls} if calls else {})}
        choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}
        return {**self._head("chat.completion"), "choices": [choice], "usage": self._usage(turn)}

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": "scripted", "object": kind, "created": int(time.time()), "model": self.model}

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return _data({**self._head("chat.completion.chunk"), "choices": [choice]})

    def piece(self, text: str) -> str:
        return self._chunk({"content": text})

    def events(self, turn: dict[str, Any]) -> list[str]:
        found = [self._chunk({"role": "assistant", "content": ""})]
        found += [self.piece(text) for text in _pieces(turn.get("text", ""))]
        calls = _calls(turn)
        for number, (name, args) in enumerate(calls):
            head = {"index": number, "id": self.call_id(number), "type": "function"}
            found.append(self._chunk({"tool_calls": [{**head, "function": {"name": name, "arguments": ""}}]}))
            found += [
                self._chunk({"tool_calls": [{"index": number, "function": {"arguments": text}}]})
                for text in _pieces(args)
            ]
        found.append(self._chunk({}, "tool_calls" if calls else "stop"))
        found.append(_data({**self._head("chat.completion.chunk"), "choices": [], "usage": self._usage(turn)}))
        return [*found, "data: [DONE]\n\n"]

    def without_end(self, events: list[str]) -> list[str]:
        return [*events[:-3], events[-1]]


class _Anthropic(_Wire):
    def error(self, status: int, message: str) -> web.Response:
        body = {"type": "error", "error": {"type": "scripted", "message": message}}
        return web.json_response(body, status=status, headers=_HEADERS)

    def _message(self, content: list[Any], stop: str | None, output_tokens: int) -> dict[str, Any]:
        usage = {"input_tokens": self.input_tokens, "output_tokens": output_tokens}
        return {
            "id": "scripted", "type": "message", "role": "assistant", "model": self.model, "content": content,
            "stop_reason": stop, "stop_sequence": None, "usage": usage,
        }  # fmt: skip

    def whole(self, turn: dict[str, Any]) -> dict[str, Any]:
        content: list[dict[str, Any]] = [{"type": "text", "text": turn["text"]}] if turn.get("text") else []
        content += [
            {"type": "tool_use", "id": self.call_id(number), "name": name, "input": json.loads(args)}
            for number, (name, args) in enumerate(_calls(turn))
        ]
        return self._message(content, "tool_use" if _calls(turn) else "end_turn", self.output_tokens(turn))

    def piece(self, text: str) -> str:
        return self._delta(0, {"type": "text_delta", "text": text})

    def _delta(self, index: int, delta: dict[str, Any]) -> str:
        return _event("content_block_delta", {"index": index, "delta": delta})

    def events(self, turn: dict[str, Any]) -> list[str]:
        found = [_event("message_start", {"message": self._message([], None, 1)})]
        blocks: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []
        if "text" in turn:
            deltas = [{"type": "text_delta", "text": text} for text in _pieces(turn["text"])]
            blocks.append(({"type": "text", "text": ""}, deltas))
        for number, (name, args) in enumerate(_calls(turn)):
            block = {"type": "tool_use", "id": self.call_id(number), "name": name, "input": {}}
            blocks.append((block, [{"type": "input_json_delta", "partial_json": text} for text in _pieces(args)]))
        for index, (block, deltas) in enumerate(blocks):
            found.append(_event("content_block_start", {"index": index, "content_block": block}))
            found += [self._delta(index, delta) for delta in deltas]
            found.append(_event("content_block_stop", {"index": index}))
        stop = {"stop_reason": "tool_use" if _calls(turn) else "end_turn", "stop_sequence": None}
        found.append(_event("message_delta", {"delta": stop, "usage": {"output_tokens": self.output_tokens(turn)}}))
        return [*found, _event("message_stop", {})]

    def without_end(self, events: list[str]) -> list[str]:
        return events[:-2]


def _data(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=True)}\n\n"


def _event(kind: str, value: dict[str, Any]) -> str:
    return f"event: {kind}\n{_data({'type': kind, **value})}"


async def serve(script: dict[str, Any], *, host: str = "127.0.0.1", port: int = 0) -> str:
    """Answers in this process for as long as its loop runs; gives the address."""
    runner = web.AppRunner(Provider(script).app(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return f"http://{host}:{runner.addresses[0][1]}"


def with_scripts(folder: Path, url: str) -> dict[str, Any]:
    """The built-in script and those of the examples, which speak to the AOB at this address."""
    conversations = dict(DEFAULT_SCRIPT["conversations"])
    for file in sorted(folder.glob("*/script.json")):
        text = file.read_text(encoding="utf-8").replace("http://127.0.0.1:8800", url)
        conversations |= json.loads(text)["conversations"]
    return {"conversations": conversations}


def main() -> None:
    parser = argparse.ArgumentParser(description=WHO)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8123)
    parser.add_argument("--script", type=Path, help="JSON; without it a built-in one with the models hello and note")
    options = parser.parse_args()
    script = json.loads(options.script.read_text()) if options.script else DEFAULT_SCRIPT
    print(f"{WHO} at http://{options.host}:{options.port}", flush=True)
    web.run_app(Provider(script).app(), host=options.host, port=options.port, print=None)


if __name__ == "__main__":
    main()
