"""What validation finds: every problem with its place, code, message and hint."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any, Literal

import msgspec

from workflows.core.errors import AobError

MAX_PROBLEMS = 200


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    pointer: str
    code: str
    message: str
    hint: str | None = None
    severity: Literal["error", "warning"] = "error"

    def as_dict(self) -> dict[str, Any]:
        parts: dict[str, Any] = {
            "pointer": self.pointer,
            "code": self.code,
            "message": self.message,
            "severity": self.severity,
        }
        if self.hint:
            parts["hint"] = self.hint
        return parts


class DocumentInvalid(AobError):
    """The document cannot be used; `problems` lists everything that is wrong with it."""

    def __init__(self, problems: list[Problem]) -> None:
        errors = [problem for problem in problems if problem.severity == "error"]
        first = errors[0]
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        super().__init__("document_invalid", f"{first.message}{more}", first.pointer, first.hint)
        self.problems = problems


def from_error(error: AobError, pointer: str) -> Problem:
    """The problem that an error describes, at the error's own place or at `pointer`."""
    return Problem(error.pointer if error.pointer is not None else pointer, error.code, error.message, error.hint)


def nearest(word: str, known: Any) -> str | None:
    """A hint that names what was probably meant."""
    close = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"Did you mean {close[0]!r}?" if close else None
