"""A model whose calls are steps of the journal: what was answered once is given back without any network.

Requests are always streamed, so that people can watch, and so that an answer is bounded while it comes. What comes is
checked before anything is made of it (hazard L6): a broken answer is an outcome like any other.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from pydantic_ai import RunContext
from pydantic_ai.exceptions import AgentRunError, ModelAPIError, ModelHTTPError, UserError
from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelResponse,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ThinkingPart,
    ToolCallPart,
)
from pydantic_ai.models import Model, ModelRequestParameters, StreamedResponse
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings

from worker.agent.journal import Step
from worker.agent.prices import price
from worker.agent.steps import Recorder
from worker.agent.wire import AnswerTooLarge
from worker.executors.base import TaskError
from worker.executors.http import TRANSIENT_STATUSES
from workflows.core.errors import AobError
from workflows.core.strictjson import check, decode
from workflows.nodes.agent import DEFAULT_MAX_TOKENS, most_tokens

MAX_CALLS = 32
"""So many tools a model may ask for in one answer."""

MAX_MESSAGE = 500

_MESSAGE_PARTS = ("kind", "parts", "instructions")
_VOLATILE = frozenset({"timestamp", "provider_details", "provider_name", "provider_url", "metadata", "run_id"})


class CallFailed(ModelAPIError):
    """A model call that gave no answer that can be used; the next model is asked, if there is one."""

    def __init__(self, model: str, error: dict[str, Any]) -> None:
        super().__init__(model, error["message"])
        self.error = error


class RecordedModel(WrapperModel):
    """One model of the list, under the name that the document gives it."""

    def __init__(self, name: str, model: Model, recorder: Recorder) -> None:
        super().__init__(model)
        self.name = name
        self._recorder = recorder

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        async def ask(step: Step) -> dict[str, Any]:
            return await self._ask(step, messages, model_settings, model_request_parameters)

        request = request_json(messages, model_settings, model_request_parameters)
        tokens = (most_tokens(request), int((model_settings or {}).get("max_tokens") or DEFAULT_MAX_TOKENS))
        reserved = {"tokens": sum(tokens), "cost": price(self.name, *tokens)}
        outcome = await self._recorder.model(self.name, request, reserved, ask)
        if "error" in outcome:
            raise CallFailed(self.name, outcome["error"])
        response = ModelMessagesTypeAdapter.validate_python([outcome["answer"]])[0]
        assert isinstance(response, ModelResponse)
        await self._refuse_unknown(response, model_request_parameters)
        return response

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,
    ) -> AsyncGenerator[StreamedResponse]:
        # It would go past the journal.
        raise UserError("Streams are read here; ask with request().")
        yield

    async def _ask(
        self,
        step: Step,
        messages: list[ModelMessage],
        settings: ModelSettings | None,
        parameters: ModelRequestParameters,
    ) -> dict[str, Any]:
        reserved = step.what["reserved"]
        charged = {
            "usage": {"input_tokens": reserved["tokens"], "output_tokens": 0},
            "cost": reserved["cost"],
            "model": self.name,
        }
        nothing = {"usage": {"input_tokens": 0, "output_tokens": 0}, "cost": 0.0, "model": self.name}
        try:
            async with self.wrapped.request_stream(messages, settings, parameters) as stream:
                async for event in stream:
                    if delta := _text_of(event):
                        await self._recorder.text(step, delta)
                response = stream.get()
        except ModelHTTPError as error:
            # A status instead of an answer: nothing was made that would have to be paid.
            is_transient = error.status_code in TRANSIENT_STATUSES or error.status_code == 529
            message = f"{self.name} answered {error.status_code}: {_short(error.body or error.message)}"
            return {"error": _error("agent_provider", message, is_transient), **(charged if error.in_stream else nothing)}
        except UserError as error:
            # The library does not even ask: this model takes no such settings or schema.
            return {"error": _error("agent_provider", f"{self.name} cannot be asked: {_short(error)}", False), **nothing}
        except Exception as error:
            # The libraries of the providers raise what they like in the middle of an answer.
            return {"error": self._broken(error), **charged}
        problem = _problem(response)
        if problem is None:
            answer = ModelMessagesTypeAdapter.dump_python([response], mode="json")[0]
            usage = {"input_tokens": response.usage.input_tokens, "output_tokens": response.usage.output_tokens}
            if not usage["output_tokens"]:
                return {"answer": answer, **charged}
            cost = price(self.name, usage["input_tokens"], usage["output_tokens"])
            return {"answer": answer, "usage": usage, "cost": cost, "model": self.name}
        return {"error": _error("agent_answer_invalid", f"The answer of {self.name} {problem}", True), **charged}

    def _broken(self, error: BaseException) -> dict[str, Any]:
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        seen: BaseException | None = error
        while seen is not None:
            if isinstance(seen, AnswerTooLarge):
                return _error("agent_answer_invalid", f"The answer of {self.name} is too large.", False)
            seen = seen.__cause__ or seen.__context__
        kind = "" if isinstance(error, AgentRunError) else f"{type(error).__name__}: "
        return _error("agent_provider", f"{self.name} gave no whole answer: {kind}{_short(str(error))}", True)

    async def _refuse_unknown(self, response: ModelResponse, parameters: ModelRequestParameters) -> None:
        """A tool that was not granted is refused, on the record, and nothing else happens (hazard L1)."""
        known = {tool.name for tool in (*parameters.function_tools, *parameters.output_tools)}

        for part in response.parts:
            if isinstance(part, ToolCallPart) and part.tool_name not in known:
                name = part.tool_name[:100]
                message = f"This agent has no tool {name!r}."

                async def refuse(step: Step, message: str = message) -> dict[str, Any]:
                    return {"error": {"code": "capability", "message": message}}

                await self._recorder.tool(part.tool_call_id, name, as_args(part.args), refuse)


def request_json(
    messages: list[ModelMessage], settings: ModelSettings | None, parameters: ModelRequestParameters
) -> dict[str, Any]:
    """What the model is asked, without what differs between two attempts: the record, and what is compared by it."""
    told = []
    for message in ModelMessagesTypeAdapter.dump_python(messages, mode="json"):
        kept = {key: message[key] for key in _MESSAGE_PARTS if message.get(key) is not None}
        kept["parts"] = [
            {key: value for key, value in part.items() if value is not None and key not in _VOLATILE}
            for part in message["parts"]
        ]
        told.append(kept)
    return {
        "messages": told,
        "settings": dict(settings or {}),
        "tools": [
            {"name": tool.name, "description": tool.description, "parameters": tool.parameters_json_schema}
            for tool in (*parameters.function_tools, *parameters.output_tools)
        ],
    }


def as_args(written: Any) -> Any:
    """The arguments of a call as JSON where they are JSON, else as the model wrote them."""
    try:
        return decode(written) if isinstance(written, str) else written
    except AobError:
        return written


def _text_of(event: Any) -> str:
    if isinstance(event, PartStartEvent) and isinstance(event.part, TextPart):
        return event.part.content
    if isinstance(event, PartDeltaEvent) and isinstance(event.delta, TextPartDelta):
        return event.delta.content_delta
    return ""


def _problem(response: ModelResponse) -> str | None:
    """What is wrong with an answer, in words that follow "the answer"; None when it can be kept and followed."""
    if response.finish_reason is None:
        return "ends in the middle: it does not say why it ended."
    calls = 0
    for part in response.parts:
        if isinstance(part, ToolCallPart):
            calls += 1
        elif not isinstance(part, (TextPart, ThinkingPart)):
            return f"holds a part of the kind {part.part_kind!r}, which nobody asked for."
        try:
            check(part.args if isinstance(part, ToolCallPart) else part.content)
            check(part.tool_name if isinstance(part, ToolCallPart) else part.id)
            check(part.tool_call_id if isinstance(part, ToolCallPart) else None)
        except AobError as error:
            return f"cannot be kept: {error.message}"
    if calls > MAX_CALLS:
        return f"asks for {calls} tools at once; the limit is {MAX_CALLS}."
    return None


def _error(code: str, message: str, transient: bool) -> dict[str, Any]:
    return {"code": code, "message": message, "transient": transient}


def _short(text: object) -> str:
    """Bounded, and without characters that cannot be kept."""
    return str(text)[:MAX_MESSAGE].encode("utf-8", "replace").decode().replace("\x00", "�")


def failure_of(errors: list[CallFailed]) -> TaskError:
    """What an agent fails with when every model failed."""
    last = errors[-1].error
    return TaskError(
        last["code"],
        last["message"] if len(errors) == 1 else f"None of {len(errors)} models gave an answer. {last['message']}",
        transient=any(one.error.get("transient") for one in errors),
        details={"models": [{"model": one.model_name, **one.error} for one in errors]},
    )
