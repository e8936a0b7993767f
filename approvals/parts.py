"""What people do with a ticket beside deciding it: hand their part over, say that they look at it, discuss it.

Each of it is a fact in the run's log, and is judged once more when the run takes it (`runs/core/tickets`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from approvals.errors import TicketError
from approvals.people import Person, known
from approvals.reading import find
from approvals.rights import as_rules_see_it, closed, ending, groups_in, why_not
from approvals.services import MAX_REASON, TRIES, checked_text, ticket
from runs import services
from runs.core import tickets as rules
from workflows.core.errors import LimitExceeded

MAX_COMMENT = 10_000


def delegate(ticket_id: str, to: str, *, by: Person, reason: str | None = None) -> dict[str, Any]:
    """Hands one's part in a ticket to another user, who decides instead. Raises TicketError."""
    to = to.removeprefix("user:")
    reason = checked_text(reason, "reason", MAX_REASON)

    def data(shown: dict[str, Any]) -> dict[str, Any]:
        refused = why_not(shown, by) or closed(shown)
        if refused is not None:
            raise refused
        other = known(to)
        if other is None:
            hint = "Name a user as it stands at /admin/, not a group."
            raise TicketError("delegate_unknown", f"There is no active user {to[:80]!r}.", "/to", hint)
        words = rules.not_to(as_rules_see_it(shown), by.name, to, other.groups)
        if words is not None:
            raise TicketError("delegate_refused", f"The ticket was not handed over: {words}.", "/to")
        own = {"to": to, "to_groups": groups_in(other, shown["assignees"]), "reason": reason}
        return {**own, "groups": groups_in(by, shown["assignees"])}

    return _say(ticket_id, "TicketDelegated", by, data)


def claim(ticket_id: str, *, by: Person) -> dict[str, Any]:
    """Says that somebody looks at a ticket. It keeps nobody else from deciding. Raises TicketError."""

    def data(shown: dict[str, Any]) -> dict[str, Any] | None:
        refused = why_not(shown, by) or closed(shown)
        if refused is not None:
            raise refused
        return None if shown["claimed_by"] == by.name else {"groups": groups_in(by, shown["assignees"])}

    return _say(ticket_id, "TicketClaimed", by, data)


def release(ticket_id: str, *, by: Person) -> dict[str, Any]:
    """Takes one's own claim back. Raises TicketError."""

    def data(shown: dict[str, Any]) -> dict[str, Any]:
        if (refused := closed(shown)) is not None:
            raise refused
        if shown["claimed_by"] != by.name:
            raise TicketError("ticket_not_claimed", f"{by.name} has not claimed ticket {shown['ticket']}.")
        return {}

    return _say(ticket_id, "TicketReleased", by, data)


def comment(ticket_id: str, text: str, *, by: Person) -> dict[str, Any]:
    """Writes into the thread of an open ticket; anybody who may decide anything may. Raises TicketError."""
    checked = checked_text(text, "text", MAX_COMMENT)
    if checked is None:
        raise TicketError("comment_empty", "There is nothing in this comment.", "/text")

    def data(shown: dict[str, Any]) -> dict[str, Any]:
        if not by.may_decide:
            raise TicketError("ticket_forbidden", "A comment needs the scope 'execute'.")
        if (refused := closed(shown)) is not None:
            raise refused
        return {"text": checked}

    return _say(ticket_id, "TicketCommented", by, data)


def _say(
    ticket_id: str, kind: str, by: Person, data: Callable[[dict[str, Any]], dict[str, Any] | None]
) -> dict[str, Any]:
    """Tells the run, and gives the ticket as it is then. `data` checks the rights, and is None where nothing is to do."""
    for _ in range(TRIES):
        found = find(ticket_id)
        own = data(found.shown)
        if own is None:
            return ticket(ticket_id, by)
        _check_room(found.said, kind)
        fact = {"ticket": ticket_id, "by": by.name, **own, "from": dict(by.door)}
        if services.tell_ticket(found.shown["run"], kind, found.shown["node"], fact, after=found.shown["seq"]):
            return ticket(ticket_id, by)
    shown = find(ticket_id).shown
    raise closed(shown) or ending(shown)


def _check_room(said: list[Any], kind: str) -> None:
    notes = ("TicketClaimed", "TicketCommented")
    if kind in notes and sum(event.type in notes for event in said) >= rules.MAX_NOTES:
        raise LimitExceeded(
            "ticket_notes_limit", f"A ticket takes {rules.MAX_NOTES} comments and claims at most.", hint="Decide it."
        )
