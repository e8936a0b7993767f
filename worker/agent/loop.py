"""The loop of an agent: asks the model, does what it may, until there is an output, within its budget.

pydantic-ai drives the conversation; what makes it durable are its model and its tools, whose every call is a step of
the journal. So a resumed agent takes the same way again without asking anybody, and goes on where it was.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

from pydantic_ai import Agent, ModelRetry, RunContext, StructuredDict, ToolOutput
from pydantic_ai.exceptions import FallbackExceptionGroup, UnexpectedModelBehavior, UserError
from pydantic_ai.messages import ToolCallPart
from pydantic_ai.models import Model
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tool_manager import ToolManager
from pydantic_ai.usage import UsageLimits

from worker.agent.journal import AgentTask, Journal, Tools
from worker.agent.mcp_servers import Sessions, mcp_tools
from worker.agent.models import CallFailed, RecordedModel, failure_of
from worker.agent.outside import NOTICE, with_data_framed
from worker.agent.providers import model_of
from worker.agent.steps import Recorder
from worker.agent.tools import AgentTools
from worker.agent.wire import provider_client
from worker.executors.base import TaskError
from worker.http.client import Client
from workflows.core.errors import AobError
from workflows.core.schemas import Schema, compile_schema
from workflows.core.strictjson import check, decode
from workflows.nodes.agent import DEFAULT_MAX_TOKENS, enclosed

OUTPUT_RETRIES = 2
"""So often a model is told what is wrong with its output."""

UNKNOWN_TOOL_RETRIES = 3
OUTPUT_TOOL = "final_result"

PATCH_NOTICE = (
    "You may change the workflow that you are part of by patch_workflow, where the task asks for it. Look at it with "
    "read_workflow first."
)


async def work(task: AgentTask, journal: Journal, tools: Tools, http: Client) -> Any:
    """The agent's output. Raises TaskError for everything that keeps it from coming."""
    recorder = Recorder(task, journal)
    schema = _output_schema(task)
    texts = with_data_framed(task)
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(provider_client())
        model = _model(task, recorder, client)
        servers = [entry for entry in task.grant.get("tools", ()) if entry["type"] == "mcp"]
        sessions = Sessions(http)
        stack.push_async_callback(sessions.close)
        toolset = AgentTools(task, recorder, tools, http, await mcp_tools(servers, recorder, sessions))
        agent: Agent[None, Any] = Agent(
            model,
            name="agent",
            output_type=str if schema is None else _structured(schema),
            instructions="\n\n".join(_instructions(task, texts.get("system", ""))),
            toolsets=[toolset],
            retries={"tools": UNKNOWN_TOOL_RETRIES, "output": OUTPUT_RETRIES},
            model_settings=_settings(task),
        )
        agent.output_validator(_judge(schema))
        with ToolManager.parallel_execution_mode("sequential"):
            try:
                result = await agent.run(texts["prompt"], usage_limits=UsageLimits(request_limit=None))
            except CallFailed as failure:
                raise failure_of([failure]) from None
            except FallbackExceptionGroup as group:
                raise failure_of([one for one in group.exceptions if isinstance(one, CallFailed)]) from None
            except UnexpectedModelBehavior as error:
                raise _unexpected(error) from None
            except UserError as error:
                raise TaskError("agent_provider", f"The model cannot be asked: {error}"[:1000], transient=False) from None
        return _unwrapped(result.output, schema)


def _model(task: AgentTask, recorder: Recorder, client: Any) -> Model:
    names = task.config["model"]
    models = [
        RecordedModel(name, model_of(name, client), recorder) for name in ([names] if isinstance(names, str) else names)
    ]
    return models[0] if len(models) == 1 else FallbackModel(*models, fallback_on=(CallFailed,))


def _settings(task: AgentTask) -> ModelSettings:
    settings = ModelSettings(max_tokens=int(task.config.get("max_tokens", DEFAULT_MAX_TOKENS)))
    if "temperature" in task.config:
        settings["temperature"] = task.config["temperature"]
    return settings


def _instructions(task: AgentTask, system: str) -> list[str]:
    parts = [system] if system else []
    if task.grant.get("patches", "off") != "off":
        parts.append(PATCH_NOTICE)
    return [*parts, NOTICE]


def _output_schema(task: AgentTask) -> Schema | None:
    """The compiled schema; it never leads anywhere (hazard S27)."""
    if "output_schema" not in task.config:
        return None
    try:
        return compile_schema(task.config["output_schema"])
    except AobError as error:
        raise TaskError(error.code, error.message, transient=False, pointer="/config/output_schema") from None


def _structured(schema: Schema) -> ToolOutput[dict[str, Any]]:
    try:
        kind = StructuredDict(enclosed(schema.source), name=OUTPUT_TOOL, description="The output of the task.")
        return ToolOutput(kind, name=OUTPUT_TOOL, strict=False)
    except UserError as error:
        hint = "References within the schema may not lead in a circle."
        message = f"The schema of the output cannot be given to a model: {error}"
        raise TaskError("schema_invalid", message, transient=False, pointer="/config/output_schema", hint=hint) from None


def _judge(schema: Schema | None) -> Any:
    """Our own validation of the output, after the library's: the strict decoder and our schema engine."""

    def judge(ctx: RunContext[None], output: Any) -> Any:
        try:
            check(output)
            if schema is None:
                return output
            for part in ctx.messages[-1].parts:
                if isinstance(part, ToolCallPart) and part.tool_name == OUTPUT_TOOL and isinstance(part.args, str):
                    decode(part.args)
        except AobError as error:
            raise ModelRetry(f"The output is not JSON as it must be: {error.message}") from None
        faults = schema.problems(_unwrapped(output, schema), limit=10)
        if faults:
            told = "\n".join(f"{fault.pointer or '/'}: {fault.message}" for fault in faults)
            raise ModelRetry(f"The output does not fit the schema:\n{told}")
        return output

    return judge


def _unwrapped(output: Any, schema: Schema | None) -> Any:
    if schema is None or enclosed(schema.source) == schema.source:
        return output
    return output.get("value") if isinstance(output, dict) else output


def _unexpected(error: UnexpectedModelBehavior) -> TaskError:
    """The library gave up: the output stayed wrong, or the model asked again and again for what there is not."""
    text = str(error)
    is_output = "output" in text.lower() or OUTPUT_TOOL in text
    cause = error.__cause__
    reason = f" {cause}" if cause is not None else ""
    return TaskError(
        "agent_output_invalid" if is_output else "agent_answer_invalid",
        f"The model gave no output that can be used: {text}{reason}"[:1000].encode("utf-8", "replace").decode(),
        transient=False,
    )
