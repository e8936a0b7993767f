"""When a failed attempt is made again (pure: the random part arrives with the failure)."""

from __future__ import annotations

from typing import Any

from workflows.core.errors import AobError
from workflows.core.ir import RetryIR

MICROSECONDS = 1_000_000
MAX_RETRY_AFTER = 86_400.0


def wants_retry(policy: RetryIR, error: dict[str, Any], failures: int, variables: dict[str, Any]) -> bool:
    """True when this error is worth another attempt; `failures` counts the failed ones so far."""
    if failures >= policy.max_attempts:
        return False
    if policy.on == "any":
        return True
    if policy.on == "transient" or isinstance(policy.on, str):
        return bool(error.get("transient"))
    verdict = policy.on.evaluate({**variables, "error": error, "attempt": failures})
    if not isinstance(verdict, bool):
        raise AobError(
            "expression_not_boolean",
            f"The retry condition {policy.on.source!r} gives {verdict!r}.",
            policy.on.pointer,
        )
    return verdict


def delay(policy: RetryIR, error: dict[str, Any], failures: int, jitter: float) -> int:
    """Microseconds until the next attempt; never earlier than the peer's Retry-After.

    Exponential backoff with full jitter: a uniform part of min(cap, base · factor^(failures-1)); see
    M. Brooker, "Exponential Backoff and Jitter" (AWS, 2015).
    """
    if policy.schedule:
        seconds = policy.schedule[min(failures, len(policy.schedule)) - 1]
    else:
        seconds = min(policy.cap, policy.base * policy.factor ** min(failures - 1, 60))
    if policy.jitter:
        seconds *= jitter
    retry_after = error.get("retry_after")
    if isinstance(retry_after, (int, float)):
        seconds = max(seconds, min(float(retry_after), MAX_RETRY_AFTER))
    return round(seconds * MICROSECONDS)
