"""Why somebody may not decide a ticket, in the words that they are told. The run judges once more."""

from __future__ import annotations

from typing import Any

from approvals.errors import TicketError
from approvals.people import Person
from runs.core import tickets as rules
from runs.core.state import Ticket
from runs.patch_tickets import PATCH


def as_rules_see_it(shown: dict[str, Any]) -> Ticket:
    """The ticket of a list, with what decides who may answer it."""
    return Ticket(shown["ticket"], shown["assignees"], not_by=shown["not_by"], nor_by=shown["nor_by"], away=shown["away"])


def why_not(shown: dict[str, Any], person: Person) -> TicketError | None:
    """Why somebody may not decide this ticket, or not once more."""
    name, assignees = shown["ticket"], shown["assignees"]
    if not person.may_decide:
        return TicketError("ticket_forbidden", "Deciding needs the scope 'execute'.", hint="Use a token that has it.")
    is_patch = shown["kind"] == PATCH
    if is_patch and not person.may_change:
        return TicketError(
            "ticket_forbidden", "Deciding on a patch needs the scope 'write'.", hint="Use a token that has it."
        )
    if person.name in as_rules_see_it(shown).barred:
        did = "wrote the patch" if is_patch else "started the run"
        return TicketError(
            "ticket_forbidden",
            f"{person.name} {did}, and may not decide ticket {name}.",
            hint="Ask somebody else.",
        )
    if person.name in shown["away"]:
        return TicketError(
            "ticket_forbidden",
            f"{person.name} has handed their part in ticket {name} to somebody else.",
            hint=f"It is for {', '.join(assignees)} now.",
        )
    if not rules.is_entitled(as_rules_see_it(shown), person.name, person.groups):
        return TicketError(
            "ticket_forbidden",
            f"{person.name} may not decide ticket {name}.",
            hint=f"It is for {', '.join(assignees)}.",
        )
    if shown["status"] == "open" and person.name in shown["answered"]:
        return TicketError("ticket_answered", f"{person.name} has answered ticket {name} already; it waits for others.")
    return None


def closed(shown: dict[str, Any]) -> TicketError | None:
    """Who decided a ticket and when, if it is not open any more."""
    status = shown["status"]
    if status == "open":
        return None
    if status == "cancelled":
        return TicketError(
            "run_ended",
            f"The run did not wait for ticket {shown['ticket']} any more; it was cancelled at {shown['decided_at']}.",
        )
    by = f"by {shown['decided_by']}" if shown["decided_by"] else "because nobody decided in time"
    return TicketError(
        "ticket_decided",
        f"Ticket {shown['ticket']} is {status.replace('_', ' ')} already, {by}, at {shown['decided_at']}.",
    )


def ending(shown: dict[str, Any]) -> TicketError:
    """What is said to a ticket whose run takes nothing any more."""
    message = f"The run of ticket {shown['ticket']} is ending; what was said does not count."
    return TicketError("ticket_decided", message, hint="See its run.")


def groups_in(person: Person, names: list[str]) -> list[str]:
    """The groups of somebody that are among these names; no others come into the log."""
    return sorted(name for name in person.groups if f"group:{name}" in names)
