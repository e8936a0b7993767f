"""Webhooks that are told of tickets: what they get, in which order, how it is signed, and what they may answer."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from standardwebhooks import Webhook

from aob_web.api import approvals as api
from approvals import webhooks
from approvals.models import TicketLink, TicketPost, TicketWebhook
from approvals.people import person
from approvals.services import decide
from runs import db
from runs.models import Ticket, TicketMessage
from tests.integration.test_ticket_mails import asked, user
from tests.support.servers import HttpServer
from tests.support.system import engine
from worker.executors.base import TaskError
from worker.http.posting import post


@pytest.fixture(autouse=True)
def clean(database: None, settings: Any) -> Iterator[None]:
    settings.AOB_PUBLIC_URL = "http://testserver"
    settings.ALLOWED_HOSTS = ["testserver"]
    api._throttle._failures.clear()
    yield
    TicketLink.objects.all().delete()
    TicketWebhook.objects.all().delete()
    User.objects.all().delete()


@pytest.fixture
def server() -> Iterator[HttpServer]:
    with HttpServer() as http:
        yield http


def webhook(server: HttpServer, **more: Any) -> tuple[TicketWebhook, str]:
    """One that is told of all tickets, and its secret."""
    secret = webhooks.new_secret()
    values = {"name": f"w{TicketWebhook.objects.count()}", "host": "127.0.0.1", **more}
    return TicketWebhook.objects.create(sealed=webhooks.sealed(f"{server.url}/hook", secret), **values), secret


def tell() -> None:
    while webhooks.turn(post):
        pass


def hurry() -> None:
    TicketPost.objects.update(next_at=timezone.now() - timedelta(seconds=1))


def body(request: dict[str, Any]) -> Any:
    return json.loads(request["body"])


def test_what_happens_to_a_ticket_is_posted_in_order_and_signed(server: HttpServer) -> None:
    _, secret = webhook(server)
    anna = user("anna")
    with engine():
        ticket = asked("Refund <7>?", assignees=["user:anna"], body="Pay **back**?")
        decide(str(ticket.pk), "reject", by=person(anna, may_decide=True), reason="No.")
    tell()
    opened, decided = server.requests
    assert [body(one)["type"] for one in server.requests] == ["ticket.opened", "ticket.decided"]
    for request in server.requests:
        Webhook(secret).verify(request["body"], request["headers"])
    data = body(decided)["data"]
    assert (data["ticket"], data["title"], data["status"]) == (str(ticket.pk), "Refund <7>?", "rejected")
    assert (data["decided_by"], data["reason"], data["body"]) == ("anna", "No.", "Pay **back**?")
    assert data["url"] == f"http://testserver/approvals/{ticket.pk}/" and "callback_url" not in data
    assert opened["headers"]["webhook-id"] != decided["headers"]["webhook-id"]
    assert {one.state for one in TicketPost.objects.all()} == {"done"}


def test_a_later_event_waits_for_the_earlier_one_of_its_ticket_and_for_no_other(server: HttpServer) -> None:
    webhook(server)
    anna = user("anna")
    server.script = [503]
    with engine():
        first = asked("First")
        tell()
        decide(str(first.pk), "approve", by=person(anna, may_decide=True))
        asked("Second")
        tell()
    assert [body(one)["data"]["title"] for one in server.requests] == ["First", "Second"]
    waiting = TicketPost.objects.get(ticket=first.pk, kind="opened")
    assert waiting.attempts == 1 and "503" in (waiting.error or "")
    assert 5 < (waiting.next_at - timezone.now()).total_seconds() < 15
    hurry()
    tell()
    told = [(body(one)["data"]["title"], body(one)["type"]) for one in server.requests[2:]]
    assert told == [("First", "ticket.opened"), ("First", "ticket.decided")]
    ids = [one["headers"]["webhook-id"] for one in server.requests if body(one)["type"] == "ticket.opened"]
    assert ids[0] == ids[2] != ids[1]


def test_each_webhook_is_told_of_what_it_asked_for(server: HttpServer) -> None:
    webhook(server, workflow="other")
    webhook(server, audience="group:ops")
    webhook(server, is_active=False)
    asked(assignees=["user:anna"])
    tell()
    assert server.requests == [] and TicketPost.objects.count() == 0
    asked(assignees=["group:ops"])
    tell()
    assert len(server.requests) == 1


@pytest.mark.parametrize("shape", ["slack", "teams", "discord"])
def test_a_channel_gets_its_shape(server: HttpServer, shape: str) -> None:
    webhook(server, shape=shape, decides_as=user("anna"))
    asked("Refund\n@everyone?", assignees=["group:ops"], timeout="2h")
    tell()
    told = json.dumps(body(server.requests[0]))
    assert "Please decide: Refund @everyone?" in told and "group:ops" in told and "http://testserver/approvals/" in told
    assert "callback" not in told and TicketLink.objects.count() == 0


@pytest.mark.parametrize(("shape", "told"), [("slack", 1), ("teams", 1), ("discord", 1), ("webhook", 2)])
def test_a_channel_is_not_asked_for_what_is_decided_already(server: HttpServer, shape: str, told: int) -> None:
    webhook(server, shape=shape)
    with engine():
        ticket = asked()
        decide(str(ticket.pk), "approve", by=person(user("anna"), may_decide=True))
    tell()
    assert len(server.requests) == told and "Please decide" not in json.dumps(body(server.requests[0]))
    opened = TicketPost.objects.get(kind="opened")
    assert opened.state == ("done" if shape == "webhook" else "void"), "programs hear of every event"
    assert TicketPost.objects.get(kind="decided").state == "done"


def test_what_is_not_taken_within_a_day_is_given_up_and_holds_up_nothing(server: HttpServer) -> None:
    webhook(server)
    asked()
    server.script = [500, 500]
    tell()
    TicketPost.objects.update(created_at=timezone.now() - timedelta(days=2))
    hurry()
    tell()
    given_up = TicketPost.objects.get()
    assert given_up.state == "given_up" and "500" in (given_up.error or "")


def test_inner_addresses_and_redirects_are_not_followed(server: HttpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    _, secret = webhook(server)
    TicketWebhook.objects.update(sealed=webhooks.sealed("http://169.254.169.254/latest", secret))
    asked()
    tell()
    assert "not a public address" in (TicketPost.objects.get().error or "")
    TicketWebhook.objects.update(sealed=webhooks.sealed(server.url, secret))
    server.script = [(307, {"location": "http://169.254.169.254/"}, b"")]
    hurry()
    tell()
    assert "307" in (TicketPost.objects.get().error or "") and len(server.requests) == 1


def test_one_that_never_answers_costs_a_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    from worker.http import posting

    monkeypatch.setattr(posting, "SECONDS", 0.3)
    with HttpServer(delay=5) as silent:
        began = time.monotonic()
        with pytest.raises(TaskError) as late:
            post(silent.url, b"{}", {})
    assert late.value.code == "http_timeout" and time.monotonic() - began < 3


def test_url_and_secret_are_sealed(server: HttpServer, settings: Any) -> None:
    one, secret = webhook(server)
    with db.transaction() as cursor:
        row = cursor.execute("SELECT ticket_webhook::text FROM ticket_webhook").fetchone()
    assert row is not None and secret not in row[0] and "/hook" not in row[0]
    settings.SECRET_KEY = "another-key-" + "x" * 40
    asked()
    tell()
    assert server.requests == [] and "AOB_SECRET_KEY" in (TicketPost.objects.get().error or "")
    assert one.name in str(one)


def test_a_defect_of_ours_with_one_post_holds_up_no_other(server: HttpServer) -> None:
    _, secret = webhook(server)
    TicketWebhook.objects.update(sealed=webhooks.sealed(server.url, "whsec_"))
    asked("First")
    tell()
    assert "Empty" in (TicketPost.objects.get().error or "")
    TicketWebhook.objects.update(sealed=webhooks.sealed(server.url, secret))
    asked("Second")
    tell()
    assert [body(one)["data"]["title"] for one in server.requests] == ["Second"]


def test_two_messengers_tell_each_event_once(server: HttpServer) -> None:
    webhook(server)
    for number in range(6):
        asked(f"Ticket {number}")

    def slow(url: str, data: bytes, headers: Any) -> tuple[int, str]:
        webhooks.turn(post)
        return post(url, data, headers)

    while webhooks.turn(slow):
        pass
    titles = [body(one)["data"]["title"] for one in server.requests]
    assert sorted(titles) == [f"Ticket {number}" for number in range(6)]
    assert TicketMessage.objects.filter(arranged=False).count() == 0


# The callback


@pytest.fixture
def told(server: HttpServer) -> Iterator[tuple[Ticket, str, str]]:
    """A ticket, the path of its callback, and the secret."""
    _, secret = webhook(server, decides_as=user("anna"))
    form = {"type": "object", "properties": {"percent": {"type": "integer", "maximum": 100}}}
    with engine():
        ticket = asked(form=form)
        tell()
        url = body(server.requests[0])["data"]["callback_url"]
        yield ticket, url.removeprefix("http://testserver"), secret


def call(path: str, secret: str, sent: Any, *, at: datetime | None = None, drop: str = "", **headers: str) -> Any:
    data = sent if isinstance(sent, str) else json.dumps(sent)
    moment = at or datetime.now(UTC)
    signed = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": Webhook(secret).sign("msg_1", moment, data),
        **{name.replace("_", "-"): text for name, text in headers.items()},
    }
    signed.pop(drop, None)
    return Client(enforce_csrf_checks=True).post(path, data, content_type="application/json", headers=signed)


def is_open(ticket: Ticket) -> bool:
    ticket.refresh_from_db()
    return ticket.status == "open"


def test_a_signed_callback_decides_once_as_the_user_whom_the_operator_named(told: Any) -> None:
    ticket, path, secret = told
    assert call(path, secret, {"answer": "approve", "form": {"percent": 500}}).status_code == 422 and is_open(ticket)
    sent = {"answer": "approve", "by": "Ada", "reason": "Fine.", "form": {"percent": 5}}
    answer = call(path, secret, sent)
    assert answer.status_code == 200, answer.content
    ticket.refresh_from_db()
    assert (ticket.status, ticket.decided_by) == ("approved", "anna")
    assert ticket.reason == "Fine. (by Ada, through a webhook)"
    again = call(path, secret, sent)
    assert again.status_code == 409 and again.json()["code"] == "ticket_decided"


def test_a_callback_that_says_what_its_receiver_saw_decides_on_nothing_else(told: Any, server: HttpServer) -> None:
    ticket, path, secret = told
    changed = call(path, secret, {"answer": "approve", "seen": "something else"})
    assert changed.status_code == 409 and changed.json()["code"] == "context_changed" and is_open(ticket)
    seen = body(server.requests[0])["data"]["context"]
    assert call(path, secret, {"answer": "approve", "seen": seen}).status_code == 200


@pytest.mark.parametrize(
    "wrong",
    [
        {"drop": "webhook-signature"},
        {"drop": "webhook-id"},
        {"drop": "webhook-timestamp"},
        {"webhook_signature": ""},
        {"webhook_signature": "v1,"},
        {"webhook_signature": "v1,AAAA"},
        {"webhook_signature": "v2,AAAA"},
        {"webhook_signature": "nonsense"},
        {"webhook_signature": "v1,ü"},
        {"webhook_id": "msg_2"},
        {"webhook_timestamp": "nan"},
        {"webhook_timestamp": "0"},
        {"at": datetime.now(UTC) - timedelta(minutes=6)},
        {"at": datetime.now(UTC) + timedelta(days=1)},
        {"secret": webhooks.new_secret()},
    ],
)
def test_a_signature_that_is_not_right_is_refused_before_the_body_is_read(told: Any, wrong: dict[str, Any]) -> None:
    ticket, path, secret = told
    more = dict(wrong)
    for sent in ({"answer": "approve"}, "not json", ""):
        answer = call(path, more.get("secret", secret), sent, **{k: v for k, v in more.items() if k != "secret"})
        assert answer.status_code == 401 and answer.json()["code"] == "callback_refused"
    assert is_open(ticket)


def test_tokens_are_for_one_door_only_and_unknown_ones_are_like_wrong_signatures(told: Any, server: HttpServer) -> None:
    ticket, path, secret = told
    token = path.rpartition("/")[2]
    assert Client().get(f"/approvals/link/{token}/").status_code == 404
    other, others = webhook(server)
    for bad_path, key in (
        ("/api/v1/approvals/callback/" + "x" * 43, secret),
        ("/api/v1/approvals/callback/null", secret),
        ("/api/v1/approvals/callback/[]", secret),
        (path, others),
    ):
        answer = call(bad_path, key, {"answer": "approve"})
        assert (answer.status_code, answer.json()["code"]) == (401, "callback_refused")
    assert is_open(ticket) and other.pk


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ("[]", 422),
        ('{"answer": "approve", "answer": "reject"}', 400),
        ('{"answer": "perhaps"}', 422),
        ('{"answer": "approve", "user": "admin"}', 422),
        ("", 422),
    ],
)
def test_a_signed_callback_that_says_nothing_sensible_decides_nothing(told: Any, sent: str, status: int) -> None:
    ticket, path, secret = told
    assert call(path, secret, sent).status_code == status and is_open(ticket)


@pytest.mark.parametrize("change", ["inactive user", "inactive webhook", "another user", "nobody", "expired"])
def test_a_callback_ends_with_what_it_stands_on(told: Any, change: str) -> None:
    ticket, path, secret = told
    if change == "inactive user":
        User.objects.update(is_active=False)
    elif change == "inactive webhook":
        TicketWebhook.objects.update(is_active=False)
    elif change == "another user":
        TicketWebhook.objects.update(decides_as=user("berta"))
    elif change == "nobody":
        TicketWebhook.objects.update(decides_as=None)
    else:
        TicketLink.objects.update(expires_at=timezone.now())
    status = 410 if change in ("inactive user", "expired") else 401
    assert call(path, secret, {"answer": "approve"}).status_code == status and is_open(ticket)


def test_guessing_is_slowed_down_and_holds_up_no_good_callback(told: Any) -> None:
    ticket, path, secret = told
    guess = "/api/v1/approvals/callback/" + "x" * 43
    answers = [call(guess, secret, {}).status_code for _ in range(35)]
    assert answers == [401] * 30 + [429] * 5
    assert call(path, secret, {"answer": "reject"}).status_code == 200 and not is_open(ticket)
