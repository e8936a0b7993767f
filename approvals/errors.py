"""Why a ticket cannot be shown or decided."""

from __future__ import annotations

from collections.abc import Sequence

from workflows.core.errors import AobError


class TicketError(AobError):
    """A ticket that is unknown, decided already, or not to be decided by whoever asks."""


class FormInvalid(TicketError):
    """The form does not fit the ticket's schema; `problems` says where."""

    def __init__(self, problems: Sequence[AobError]) -> None:
        first = problems[0]
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        super().__init__("form_invalid", f"The form does not fit: {first.message}{more}", first.pointer, first.hint)
        self.problems = list(problems)
