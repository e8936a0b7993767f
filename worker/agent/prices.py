"""What model calls cost, so that budgets are reserved before a call.

AOB_LLM_PRICES names a file of the same form as `prices.json` beside this module, whose entries come first.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from workflows.core.errors import AobError
from workflows.core.strictjson import decode

MILLION = 1_000_000


@cache
def _table(more: str) -> dict[str, tuple[float, float]]:
    known: dict[str, tuple[float, float]] = {}
    own = Path(__file__).with_name("prices.json")
    for file in (own, Path(more)) if more else (own,):
        try:
            models = decode(file.read_bytes())["models"]
            known |= {name: (float(entry["input"]), float(entry["output"])) for name, entry in models.items()}
        except (OSError, AobError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise AobError(
                "agent_provider_setting",
                f"The prices in {file} cannot be used: {error}",
                hint='AOB_LLM_PRICES names a file with {"date", "models": {"openai:…": {"input": 1.0, "output": 2.0}}}.',
            ) from None
    return known


def price(model: str, input_tokens: int, output_tokens: int) -> float | None:
    """US dollars of a call of `provider:model`, or None for a model whose price is not known."""
    table = _table(os.environ.get("AOB_LLM_PRICES", ""))
    found = table.get(model)
    if found is None:
        # `gpt-5-mini-2025-08-07` costs what `gpt-5-mini` costs: the longest name that it begins with.
        names = [name for name in table if model.startswith(f"{name}-") and model[len(name) + 1 : len(name) + 3] == "20"]
        found = table[max(names, key=len)] if names else None
    if found is None:
        return None
    return (input_tokens * found[0] + output_tokens * found[1]) / MILLION
