"""The one error hierarchy: every refusal names its code, its place and what to do about it."""

from __future__ import annotations

from typing import Any


class AobError(Exception):
    """A refusal with a stable `code`, a `message`, and where known a JSON `pointer` and a `hint`.

    The same object becomes problem details in the API, one line in the CLI and a form error.
    """

    def __init__(self, code: str, message: str, pointer: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.pointer = pointer
        self.hint = hint

    def as_dict(self) -> dict[str, Any]:
        """The error as JSON; absent parts are left out."""
        parts = {"code": self.code, "message": self.message, "pointer": self.pointer, "hint": self.hint}
        return {name: part for name, part in parts.items() if part is not None}


class LimitExceeded(AobError):
    """A bound was reached (law 8); the message names the limit, the hint names its setting."""
