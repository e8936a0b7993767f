"""What is said about runs that are unknown or do not take an operation."""

from __future__ import annotations

import uuid

from workflows.core.errors import AobError


class RunError(AobError):
    """A run that is unknown, or an operation that does not fit its state."""


class Unavailable(AobError):
    """Something that a request needs does not answer now; nothing was accepted, and the caller may try again."""


def is_id(text: str) -> bool:
    """True for the canonical text of a UUID."""
    try:
        return str(uuid.UUID(text)) == text
    except (ValueError, AttributeError, TypeError):
        return False


def unknown_run(run_id: str) -> RunError:
    return RunError("run_unknown", f"There is no run {str(run_id)[:60]!r}.", hint="See `aob run list`.")
