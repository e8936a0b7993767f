"""Events of tickets, posted to the webhooks of this installation: signed (standardwebhooks.com), at least once, those of
one ticket in order. What a receiver answers by the callback counts as an answer of the user whom the operator named.
"""

from __future__ import annotations

import json
import logging
import secrets
from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import psycopg
from django.conf import settings
from django.db import Error as DatabaseError
from standardwebhooks import Webhook, WebhookVerificationError

from approvals import links, services
from approvals.errors import TicketError
from approvals.messages import plain_title
from approvals.models import TicketLink, TicketPost, TicketWebhook
from approvals.people import Person
from approvals.rights import closed
from approvals.sealed import seal, unseal
from runs import db
from workflows.core.chat import Notice, payload, plain
from workflows.core.errors import AobError

Post = Callable[[str, bytes, Mapping[str, str]], tuple[int, str]]
"""Posts a body to a URL by the guarded client; gives status and the beginning of the answer. Raises AobError."""

_log = logging.getLogger(__name__)

LEASE_SECONDS = 60
FIRST_WAIT, LONGEST_WAIT = 10, 3_600
DAY = 86_400
MAX_BODY = 10_000
MAX_SHOWN = 1_500

_ARRANGE = """
WITH fresh AS (
    SELECT m.id, m.ticket, m.seq, m.kind FROM ticket_message m
    WHERE NOT m.arranged AND NOT EXISTS (
        SELECT 1 FROM ticket_message e WHERE e.ticket = m.ticket AND e.seq < m.seq AND NOT e.arranged)
    ORDER BY m.id LIMIT 200 FOR UPDATE SKIP LOCKED
), posts AS (
    INSERT INTO ticket_post (webhook_id, message, ticket, seq, kind)
    SELECT w.id, f.id, f.ticket, f.seq, f.kind FROM fresh f
    JOIN ticket t ON t.id = f.ticket
    JOIN ticket_webhook w ON w.is_active AND w.workflow IN ('', t.workflow)
        AND (w.audience = '' OR w.audience = ANY(t.assignees))
    ON CONFLICT DO NOTHING
)
UPDATE ticket_message SET arranged = true WHERE id IN (SELECT id FROM fresh)
"""
_CLAIM = """
UPDATE ticket_post SET attempts = attempts + 1, next_at = clock_timestamp() + make_interval(secs => %(lease)s)
WHERE id = (
    SELECT d.id FROM ticket_post d WHERE d.state = 'due' AND d.next_at <= clock_timestamp() AND NOT EXISTS (
        SELECT 1 FROM ticket_post e
        WHERE e.webhook_id = d.webhook_id AND e.ticket = d.ticket AND e.seq < d.seq AND e.state = 'due')
    ORDER BY d.next_at, d.id LIMIT 1 FOR UPDATE SKIP LOCKED
)
RETURNING id, webhook_id, ticket::text, seq, kind, attempts,
    created_at < clock_timestamp() - make_interval(secs => %(day)s)
"""
_SETTLE = (
    "UPDATE ticket_post SET state = %(state)s, error = %(error)s,"
    " next_at = clock_timestamp() + make_interval(secs => %(wait)s)"
    " WHERE id = %(id)s AND attempts = %(attempts)s AND state = 'due'"
)


def new_secret() -> str:
    return "whsec_" + b64encode(secrets.token_bytes(32)).decode()


def sealed(url: str, secret: str) -> str:
    """What is kept of a webhook: its URL is often a credential itself."""
    return seal({"url": url, "secret": secret})


def turn(post: Post) -> bool:
    """Sees to one post that is due; False when there is none."""
    with db.transaction() as cursor:
        cursor.execute(_ARRANGE)
    with db.transaction() as cursor:
        row = cursor.execute(_CLAIM, {"lease": LEASE_SECONDS, "day": DAY}).fetchone()
    if row is None:
        return False
    number, webhook_id, ticket, seq, kind, attempts, is_old = row
    state, error = TicketPost.DONE, None
    try:
        webhook = TicketWebhook.objects.select_related("decides_as").filter(pk=webhook_id, is_active=True).first()
        if webhook is None:
            state = TicketPost.VOID
        else:
            error = _send(webhook, ticket, seq, kind, post)
    except TicketError:
        state = TicketPost.VOID
    except AobError as failure:
        error = f"{failure.message} {failure.hint or ''}".strip()
    except (psycopg.Error, DatabaseError):
        raise
    except Exception as defect:
        # Of ours, with this one post; it is tried and given up like any other.
        _log.exception("A post about a ticket failed")
        error = f"{type(defect).__name__}: {defect}"
    if error is not None:
        state = TicketPost.GIVEN_UP if is_old else TicketPost.DUE
    wait = min(FIRST_WAIT * 2 ** min(attempts - 1, 20), LONGEST_WAIT)
    settled = {"id": number, "attempts": attempts, "state": state, "error": error and error[:2000], "wait": wait}
    with db.transaction() as cursor:
        cursor.execute(_SETTLE, settled)
    return True


def _send(webhook: TicketWebhook, ticket_id: str, seq: int, kind: str, post: Post) -> str | None:
    """Why it was not taken, or None. Raises TicketError for what is void by now."""
    kept = unseal(webhook.sealed)
    ticket = services.ticket(ticket_id, Person("", frozenset(), False))
    # People who read a channel would be asked in vain. Programs hear of every event, and how the ticket stands.
    over = closed(ticket)
    if over is not None and kind != "decided" and webhook.shape != "webhook":
        raise over
    body = _body(webhook, ticket, seq, kind)
    data = json.dumps(body, ensure_ascii=False)
    now = datetime.now(UTC)
    name = f"msg_{webhook.pk}.{ticket_id}.{seq}"
    headers = {
        "webhook-id": name,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(kept["secret"]).sign(name, now, data),
    }
    status, answer = post(kept["url"], data.encode(), headers)
    return None if 200 <= status < 300 else f"It answered {status}: {answer[:300]}"


def _body(webhook: TicketWebhook, ticket: dict[str, Any], seq: int, kind: str) -> dict[str, Any]:
    url = f"{settings.AOB_PUBLIC_URL}/approvals/{ticket['ticket']}/"
    text = ticket["body"] if isinstance(ticket["body"], str) else ""
    if webhook.shape != "webhook":
        return payload(webhook.shape, _notice(ticket, kind, text, url))
    names = (
        "ticket", "run", "node", "workflow", "title", "status", "assignees", "priority", "created_at", "due_at",
        "decided_at", "decided_by", "reason", "context", "brought_by",
    )  # fmt: skip
    data = {**{name: ticket[name] for name in names}, "seq": seq, "body": text[:MAX_BODY], "url": url}
    if webhook.decides_as is not None and ticket["status"] == "open":
        due = None if ticket["due_at"] is None else datetime.fromisoformat(ticket["due_at"])
        token = links.issue(webhook.decides_as, ticket["ticket"], due, webhook=webhook)
        data["callback_url"] = f"{settings.AOB_PUBLIC_URL}/api/v1/approvals/callback/{token}"
    return {"type": f"ticket.{kind}", "timestamp": datetime.now(UTC).isoformat(), "data": data}


def _notice(ticket: dict[str, Any], kind: str, text: str, url: str) -> Notice:
    fields = {"Workflow": ticket["workflow"]}
    if ticket["brought_by"]:
        fields["Written by the agent"] = ticket["brought_by"]
    if kind == "decided":
        words, text = ticket["status"].replace("_", " ").capitalize(), plain(ticket["reason"] or "")
        fields |= {"By": ticket["decided_by"] or "nobody in time"}
    else:
        words = {"opened": "Please decide", "escalated": "Handed on", "delegated": "Handed on"}.get(kind, "Still waiting")
        fields |= {"For": ", ".join(ticket["assignees"]) or "anybody"}
        fields |= {"Due": ticket["due_at"][:16].replace("T", " ") + " UTC"} if ticket["due_at"] else {}
    shown = text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"
    return Notice(shown, f"{words}: {plain_title(ticket['title'])}", fields, url)


def verified(token: str, body: bytes, headers: Mapping[str, str], door: Mapping[str, str]) -> links.Link:
    """What a callback may decide, once its signature is found right; its body has not been looked at then.

    Raises TicketError `callback_refused` for whatever is wrong with token or signature, else as `links.find`.
    """
    found = TicketLink.objects.select_related("webhook").filter(digest=links.digest(token)).first()
    refused = TicketError("callback_refused", "This callback is unknown, or its signature is not right.")
    if found is None or found.webhook is None or not found.webhook.is_active:
        raise refused
    try:
        Webhook(unseal(found.webhook.sealed)["secret"]).verify(body, dict(headers), json_parse=False)
    except (WebhookVerificationError, ValueError):
        raise refused from None
    if found.webhook.decides_as_id != found.user_id:
        raise refused
    return links.find(token, door={**door, "door": "webhook", "token": found.webhook.name}, webhook=found.webhook_id)
