"""Providers of models by name: `provider:model` becomes a model of pydantic-ai that speaks to the operator's endpoint.

Keys and addresses come from the environment of the agent's process; where they point is the operator's choice, so
private addresses are reached. What a document says is only the name.
"""

from __future__ import annotations

import os

import httpx2
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI
from pydantic_ai.models import Model
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.profiles.openai import OpenAIModelProfile
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider

from worker.agent.variables import named
from worker.executors.base import TaskError

OPENAI_URL = "https://api.openai.com/v1"
ANTHROPIC_URL = "https://api.anthropic.com"
OLLAMA_URL = "http://127.0.0.1:11434/v1"

_WHOLE_ANSWERS = OpenAIModelProfile(openai_chat_streaming_requires_finish_reason=True)
"""An answer that does not say why it ended may have been cut off (hazard L6)."""

_COMPATIBLE = OpenAIModelProfile(
    openai_chat_streaming_requires_finish_reason=True, openai_chat_supports_max_completion_tokens=False
)
"""Others than OpenAI know the bound of an answer by its older name, and a bound that is not known is none."""


def model_of(name: str, client: httpx2.AsyncClient) -> Model:
    """The model `provider:model`. Raises TaskError `agent_provider_setting` that names the variable to set."""
    provider, _, model = name.partition(":")
    if provider == "anthropic":
        return AnthropicModel(
            model,
            provider=AnthropicProvider(
                anthropic_client=AsyncAnthropic(
                    api_key=_setting(name, "ANTHROPIC_API_KEY"),
                    base_url=os.environ.get("ANTHROPIC_BASE_URL") or ANTHROPIC_URL,
                    http_client=client,
                    max_retries=0,
                )
            ),
        )
    if provider == "openai":
        openai = AsyncOpenAI(
            api_key=_setting(name, "OPENAI_API_KEY"),
            base_url=os.environ.get("OPENAI_BASE_URL") or OPENAI_URL,
            http_client=client,
            max_retries=0,
        )
        return OpenAIChatModel(model, provider=OpenAIProvider(openai_client=openai), profile=_WHOLE_ANSWERS)
    url, key = _endpoint(name, provider)
    compatible = AsyncOpenAI(api_key=key, base_url=url, http_client=client, max_retries=0)
    own = OpenAICompatibleProvider(provider, openai_client=compatible)
    return OpenAIChatModel(model, provider=own, profile=_COMPATIBLE)


def _endpoint(name: str, provider: str) -> tuple[str, str]:
    """Address and key of an OpenAI-compatible endpoint; a key is not needed by all."""
    if provider == "ollama":
        return os.environ.get("OLLAMA_BASE_URL") or OLLAMA_URL, "none"
    if provider == "scripted":
        return _setting(name, "AOB_SCRIPTED_URL").rstrip("/").removesuffix("/v1") + "/v1", "none"
    return _setting(name, f"{named(provider)}_URL"), os.environ.get(f"{named(provider)}_KEY") or "none"


_HOW_SCRIPTED = (
    "`make up` has the script of the examples by itself. Elsewhere start python -m worker.agent.scripted --port 8123,"
    " and the agent runner with AOB_SCRIPTED_URL=http://127.0.0.1:8123."
)


def _setting(name: str, variable: str) -> str:
    value = os.environ.get(variable, "").strip()
    if not value:
        raise TaskError(
            "agent_provider_setting",
            f"The model {name!r} cannot be used: {variable} is not set.",
            transient=False,
            hint=_HOW_SCRIPTED
            if variable == "AOB_SCRIPTED_URL"
            else f"Set {variable} where AOB is started; to try agents without a key, use a `scripted:` model.",
        )
    return value
