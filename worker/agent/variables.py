"""Which environment variables the provider of a model needs; apart from `providers`, which imports large libraries."""

from __future__ import annotations

import re

_KNOWN = {
    "openai": ("OPENAI_API_KEY", "OPENAI_BASE_URL"),
    "anthropic": ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"),
    "ollama": ("OLLAMA_BASE_URL",),
    "scripted": ("AOB_SCRIPTED_URL",),
}


def variables_of(name: str) -> tuple[str, ...]:
    """Those of the model `provider:model`, and no others."""
    provider = name.partition(":")[0]
    return _KNOWN.get(provider) or (f"{named(provider)}_URL", f"{named(provider)}_KEY")


def named(provider: str) -> str:
    """The beginning of the variables of an endpoint that the operator named: `AOB_LLM_ACME`."""
    return f"AOB_LLM_{re.sub('[^A-Za-z0-9]', '_', provider).upper()}"
