"""The doors to tickets: look at one, decide it. Pages, API and command line all come through here (law 10).

Rights are checked here and once more where it counts, by the run itself when it takes the answer (`runs/core/tickets`):
of two people at one instant the run's log has one, and the other is told who was first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from approvals import reviewing
from approvals.errors import FormInvalid, TicketError
from approvals.people import Person
from approvals.reading import Found, find, row, thread, value
from approvals.rights import closed, ending, groups_in, why_not
from runs import services
from runs.blobs import fetch
from runs.core import tickets as rules
from runs.core.events import Event
from runs.core.scope import instant
from runs.core.values import Values
from runs.patch_tickets import PATCH
from workflows.core.canonical import value_hash
from workflows.core.errors import AobError, LimitExceeded
from workflows.core.schemas import apply_defaults, compile_schema
from workflows.core.strictjson import check, encode

MAX_REASON = 2_000
MAX_FORM_BYTES = 64 * 1024
MAX_MANY = 100
"""So many tickets are decided with one request."""

TRIES = 3
"""So often something is said again when the ticket was handed to others or its run patched in the same instant."""


def ticket(ticket_id: str, person: Person) -> dict[str, Any]:
    """One ticket with all that it asks and everything that was said. Raises TicketError `ticket_unknown`."""
    shown = row(ticket_id)
    if shown["kind"] == PATCH:
        return reviewing.ticket(shown, may_decide=shown["status"] == "open" and why_not(shown, person) is None)
    found = find(ticket_id)
    shown, asked = found.shown, found.asked
    values = Values(fetch)
    return {
        **shown,
        "body": value(values, asked, "body"),
        "values": value(values, asked, "values"),
        "form": value(values, asked, "form"),
        "quorum": {0: "all", 1: "any"}.get(asked.data["quorum"], {"n": asked.data["quorum"]}),
        "veto": asked.data.get("veto", "anyone"),
        "on_timeout": asked.data["on_timeout"],
        "escalate_to": asked.data.get("escalate_to", []),
        "escalate_then": asked.data.get("escalate_then", []),
        "brought_by": asked.data.get("brought_by"),
        "answers": [
            {
                "answer": one.data["answer"],
                "by": one.data["by"],
                "at": instant(one.at),
                "reason": one.data.get("reason"),
                "form": value(values, one, "form"),
            }
            for one in found.answers
        ],
        "thread": thread(found),
        "version": found.version,
        "context": found.context,
        "may_decide": shown["status"] == "open" and why_not(shown, person) is None,
    }


def refusal(ticket_id: str, person: Person) -> TicketError | None:
    """Why this person cannot decide the ticket, or None. Raises TicketError `ticket_unknown`."""
    shown = row(ticket_id)
    return why_not(shown, person) or closed(shown)


def decide(
    ticket_id: str,
    answer: str,
    *,
    by: Person,
    reason: str | None = None,
    form: Any = None,
    seen: str | None = None,
    only_bulk: bool = False,
    key: str | None = None,
) -> dict[str, Any]:
    """Approves or rejects a ticket; gives it as it is then. It counts once this returns. The same `key` answers once.

    The form goes with an approval. `seen` is the `context` that whoever decides looked at; another one is refused, and
    none is recorded where nobody says what they saw.
    Raises TicketError (unknown, not entitled, decided, another context), FormInvalid, LimitExceeded.
    """
    if not by.may_decide:
        raise TicketError("ticket_forbidden", "Deciding needs the scope 'execute'.", hint="Use a token that has it.")
    if answer not in rules.ANSWERS:
        raise TicketError("answer_unknown", f"{answer[:40]!r} is no answer.", "/answer", "Use approve or reject.")
    reason = checked_text(reason, "reason", MAX_REASON)
    shown = row(ticket_id)
    if only_bulk and not shown["bulk"]:
        raise TicketError("ticket_not_bulk", "This ticket is decided on its own.", hint="Open it.")
    if shown["kind"] == PATCH:
        return _decide_patch(shown, answer, by=by, reason=reason, form=form, seen=seen)
    for _ in range(TRIES):
        found = find(ticket_id)
        shown, asked = found.shown, found.asked
        if key is not None and _is_said(found, key, answer, reason, form):
            return ticket(ticket_id, by)
        refused = why_not(shown, by) or closed(shown)
        if refused is not None:
            raise refused
        _check_seen(seen, found.context)
        data = {
            "ticket": ticket_id,
            "answer": answer,
            "by": by.name,
            "groups": groups_in(by, [*shown["assignees"], *asked.data.get("veto", ())]),
            "reason": reason,
            "form": _checked_form(form, asked, answer),
            "context": seen,
            "on": found.version,
            "from": dict(by.door),
            **({} if key is None else {"under": _kept_as(key)}),
        }
        if services.tell_ticket(shown["run"], "TicketAnswered", shown["node"], data, after=shown["seq"]):
            return ticket(ticket_id, by)
    shown = row(ticket_id)
    raise why_not(shown, by) or closed(shown) or ending(shown)


def _is_said(found: Found, key: str, answer: str, reason: str | None, form: Any) -> bool:
    """Whether this was said under this key before. Raises TicketError where that was something else."""
    kept = _kept_as(key)
    for one in found.said:
        if one.type == "TicketAnswered" and one.data.get("under") == kept:
            given = _checked_form(form, found.asked, answer)
            if [answer, reason, given] == [one.data["answer"], one.data.get("reason"), value(Values(fetch), one, "form")]:
                return True
            raise TicketError(
                "idempotency_key_reused", "This Idempotency-Key said something else before.", hint="Use a new key."
            )
    return False


def _kept_as(key: str) -> str:
    """A key is nobody else's business. (Without its prefix: it names no blob.)"""
    return value_hash(key).removeprefix("sha256:")


def _decide_patch(
    shown: dict[str, Any], answer: str, *, by: Person, reason: str | None, form: Any, seen: str | None
) -> dict[str, Any]:
    """Whoever wrote a patch may take it back, and nothing else."""
    is_taken_back = answer == "reject" and shown["not_by"] == by.name
    refused = closed(shown) or (None if is_taken_back else why_not(shown, by))
    if refused is not None:
        raise refused
    _check_seen(seen, shown["ticket"])
    reviewing.answer(shown, answer, by=by, reason=reason, form=form)
    return ticket(shown["ticket"], by)


def _check_seen(seen: str | None, context: str) -> None:
    if seen is not None and seen != context:
        raise TicketError(
            "context_changed",
            "What this ticket shows has changed since you looked: it was handed to others, or its run patched.",
            "/seen",
            "Look at it again, then decide.",
        )


def decide_many(
    ticket_ids: Sequence[str],
    answer: str,
    *,
    by: Person,
    reason: str | None = None,
    seen: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """Decides each of several tickets that allow it (`bulk`), and says of each what came of it.

    `seen` has the contexts that were looked at, by ticket. Raises LimitExceeded.
    """
    wanted = list(dict.fromkeys(ticket_ids))
    if len(wanted) > MAX_MANY:
        raise LimitExceeded(
            "too_many_tickets", f"{len(wanted)} tickets; the limit is {MAX_MANY} at once.", "/tickets", "Send fewer."
        )
    outcomes: list[dict[str, Any]] = []
    for one in wanted:
        try:
            found = decide(one, answer, by=by, reason=reason, seen=(seen or {}).get(one), only_bulk=True)
        except AobError as error:
            outcomes.append({"ticket": one, "done": False, "error": error.as_dict()})
        else:
            outcomes.append({"ticket": one, "done": True, "status": found["status"], "title": found["title"]})
    return outcomes


def checked_text(text: str | None, name: str, limit: int) -> str | None:
    """What somebody wrote, or None where that is nothing. Raises LimitExceeded, TicketError."""
    if text is None or not text.strip():
        return None
    if len(text) > limit:
        raise LimitExceeded(
            f"{name}_too_long",
            f"The {name} has {len(text)} characters; the limit is {limit}.",
            f"/{name}",
            "Say it shorter, and link what is longer.",
        )
    try:
        check(text)
    except AobError as error:
        raise TicketError(error.code, error.message, f"/{name}", error.hint) from None
    return text


def _checked_form(form: Any, asked: Event, answer: str) -> Any:
    """The form with its defaults. A rejection needs none; a ticket that asks for none takes none."""
    schema = value(Values(fetch), asked, "form")
    if schema is None:
        if form in (None, {}):
            return None
        raise TicketError("form_unexpected", "This ticket has no form.", "/form", "Leave it out.")
    if form is None and answer == "reject":
        return None
    filled = apply_defaults(schema, {} if form is None else form)
    try:
        check(filled)
    except AobError as error:
        raise TicketError(error.code, error.message, f"/form{error.pointer or ''}", error.hint) from None
    if len(encode(filled)) > MAX_FORM_BYTES:
        raise LimitExceeded("form_too_large", f"A form has at most {MAX_FORM_BYTES} bytes.", "/form")
    if not isinstance(filled, dict):
        raise TicketError("form_invalid", "The form is not an object.", "/form")
    problems = compile_schema(schema).problems(filled, pointer="/form")
    if problems:
        raise FormInvalid(problems)
    return filled
