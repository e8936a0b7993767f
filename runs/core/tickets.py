"""Tickets: who may answer one, and when its answers decide it. Pure (law 3); groups come with the answer, as a fact."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from runs.core.state import Answer, State, Ticket

ANSWERS = {"approve": "approved", "reject": "rejected"}
"""An answer and what it makes of a ticket; `timed_out` is the third way in which one is decided."""

MAX_TITLE = 300
MAX_REMINDERS = 100
MAX_NOTES = 1_000
"""So many comments and claims a ticket takes, because each of them makes the log longer (law 8)."""

MAX_DELEGATIONS = 100


def takes(state: State, kind: str, node: str | None, data: dict[str, Any]) -> bool:
    """True when the ticket of this node waits for this fact, and whoever it is from may give it."""
    ticket = _open(state, node, data["ticket"])
    return ticket is not None and _TAKES[kind](state, ticket, node or "", data)


def _open(state: State, node: str | None, ticket_id: str) -> Ticket | None:
    """The ticket, if it waits for people."""
    if state.cancel is not None or state.timed_out or state.failure is not None:
        return None
    activation = state.active.get(node or "")
    if activation is None or activation.ticket is None or activation.result is not None:
        return None
    return activation.ticket if activation.ticket.id == ticket_id else None


def _takes_answer(state: State, ticket: Ticket, node: str, data: dict[str, Any]) -> bool:
    # Who said on which version they decide, does not decide on another.
    return data.get("on", state.version) == state.version and _is_asked(ticket, data["by"], data.get("groups", ()))


def _takes_delegation(state: State, ticket: Ticket, node: str, data: dict[str, Any]) -> bool:
    groups, to_groups = data.get("groups", ()), data.get("to_groups", ())
    return _is_asked(ticket, data["by"], groups) and not_to(ticket, data["by"], data["to"], to_groups) is None


def _takes_claim(state: State, ticket: Ticket, node: str, data: dict[str, Any]) -> bool:
    return (
        ticket.notes < MAX_NOTES
        and ticket.claimed != data["by"]
        and _is_asked(ticket, data["by"], data.get("groups", ()))
    )


def _takes_release(state: State, ticket: Ticket, node: str, data: dict[str, Any]) -> bool:
    return bool(ticket.claimed == data["by"])


def _takes_comment(state: State, ticket: Ticket, node: str, data: dict[str, Any]) -> bool:
    return ticket.notes < MAX_NOTES


def _takes_reminder(state: State, ticket: Ticket, node: str, data: dict[str, Any]) -> bool:
    return bool(state.reminders.get(node) == data["due"])


def _takes_unattended(state: State, ticket: Ticket, node: str, data: dict[str, Any]) -> bool:
    is_as_it_was = ticket.assignees == data["assignees"] and not ticket.answers and not ticket.standins
    return is_as_it_was and not ticket.forsaken and bool(data["to"] or next_step(ticket) is not None)


_TAKES: dict[str, Callable[[State, Ticket, str, dict[str, Any]], bool]] = {
    "TicketAnswered": _takes_answer,
    "TicketDelegated": _takes_delegation,
    "TicketClaimed": _takes_claim,
    "TicketReleased": _takes_release,
    "TicketCommented": _takes_comment,
    "TicketReminded": _takes_reminder,
    "TicketUnattended": _takes_unattended,
}
FACTS = frozenset(_TAKES)


def is_entitled(ticket: Ticket, by: str, groups: Iterable[str]) -> bool:
    """True when somebody of these groups may answer. Without assignees it is everybody."""
    if by in ticket.barred or by in ticket.away:
        return False
    return not ticket.assignees or not set(ticket.assignees).isdisjoint(_names(ticket, by, groups))


def _is_asked(ticket: Ticket, by: str, groups: Iterable[str]) -> bool:
    return is_entitled(ticket, by, groups) and not any(one.by == by for one in ticket.answers)


def not_to(ticket: Ticket, by: str, to: str, to_groups: Iterable[str]) -> str | None:
    """Why somebody who is asked cannot hand their part to `to`, in words; None when they can.

    A part is handed to nobody who has one: two of several who are to decide would become one. As nobody gets a part
    back that they gave away, handing over ends.
    """
    if not ticket.assignees:
        return "anybody may decide this ticket"
    if to == by:
        return "nobody hands their part to themselves"
    if to in ticket.barred:
        return f"{to} started the run, and may not decide it"
    if to in ticket.away:
        return f"{to} has handed their own part to somebody else"
    if is_entitled(ticket, to, to_groups):
        return f"{to} may decide it already"
    if len(ticket.away) >= MAX_DELEGATIONS:
        return f"it was handed over {MAX_DELEGATIONS} times already"
    return None


def part_of(ticket: Ticket, by: str, groups: Iterable[str]) -> list[str]:
    """The names among assignees and vetoes that somebody stands for."""
    return sorted(_names(ticket, by, groups) & {*ticket.assignees, *(ticket.vetoes or ())})


def verdict(ticket: Ticket) -> str | None:
    """`approve` or `reject` once the answers decide it.

    A rejection by whoever has a veto rejects, and as many others as would have to approve. A quorum of 0 needs an
    approval for every assignee (with `each`, of a person of its own), so each of them can make that impossible alone.
    """
    rejections = [one for one in ticket.answers if one.answer == "reject"]
    approvals = [one for one in ticket.answers if one.answer != "reject"]
    if any(_has_veto(ticket, one) for one in rejections):
        return "reject"
    if ticket.quorum == 0 and ticket.assignees:
        covers = {one.by: _names(ticket, one.by, one.groups) for one in approvals}
        people = {name: {by for by, names in covers.items() if name in names} for name in ticket.assignees}
        return "reject" if rejections else "approve" if _covers_all(ticket, people) else None
    needed = max(ticket.quorum, 1)
    if len(approvals) >= needed:
        return "approve"
    if len(rejections) >= needed or (rejections and len(approvals) + _left(ticket) < needed):
        return "reject"
    return None


def can_approve(ticket: Ticket, people: Mapping[str, AbstractSet[str]]) -> bool:
    """Whether those who exist are enough to approve a ticket; `people` are those behind the names of its assignees."""
    may = {name: people.get(name, frozenset()) - ticket.barred for name in ticket.assignees}
    if ticket.quorum == 0:
        return _covers_all(ticket, may)
    return len(frozenset().union(*may.values())) >= max(ticket.quorum, 1)


def _covers_all(ticket: Ticket, people: Mapping[str, AbstractSet[str]]) -> bool:
    """Whether there is somebody for every assignee; with `each` somebody of its own, nobody standing for two."""
    if not ticket.each:
        return all(people.values())
    taken: dict[str, str] = {}

    def finds(name: str, asked: set[str]) -> bool:
        """Whether the name gets somebody, where need be by finding others for those who have them (Kuhn's matching)."""
        for who in sorted(people[name]):
            if who in asked:
                continue
            asked.add(who)
            if who not in taken or finds(taken[who], asked):
                taken[who] = name
                return True
        return False

    return all(finds(name, set()) for name in people)


def _has_veto(ticket: Ticket, answer: Answer) -> bool:
    return ticket.vetoes is None or not _names(ticket, answer.by, answer.groups).isdisjoint(ticket.vetoes)


def _left(ticket: Ticket) -> float:
    """How many may still answer; of groups nobody here knows how many are in them."""
    names = audience(ticket)
    if not names or any(name.startswith("group:") for name in names):
        return float("inf")
    gone = {f"user:{name}" for name in (*ticket.barred, *(one.by for one in ticket.answers))}
    return len(set(names) - gone)


def audience(ticket: Ticket) -> list[str]:
    """Whom a ticket waits for now: those who were asked, and whom they chose to decide in their place."""
    away = {f"user:{name}" for name in ticket.away}
    return [
        *(name for name in ticket.assignees if name not in away),
        *(f"user:{name}" for name in sorted(ticket.standins)),
    ]


def next_step(ticket: Ticket) -> list[str] | None:
    """To whom the ticket is escalated next; None where its chain ends. An empty list is everybody."""
    if ticket.on_timeout != "escalate" or ticket.forsaken:
        return None
    if not ticket.escalated:
        return ticket.escalate_to
    return ticket.later[0] if ticket.later else None


def _names(ticket: Ticket, by: str, groups: Iterable[str]) -> set[str]:
    return {f"user:{by}", *(f"group:{name}" for name in groups), *ticket.standins.get(by, ())}
