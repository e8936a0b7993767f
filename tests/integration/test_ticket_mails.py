"""Mails about tickets, with a real mail server: who gets them, that nobody gets them twice, and the links in them."""

from __future__ import annotations

import re
import threading
import uuid
from collections.abc import Iterator
from datetime import timedelta
from email.message import EmailMessage
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connections
from django.test import Client
from django.utils import timezone

from aob_web.ui.pages import links as pages
from approvals import links, messenger
from approvals.errors import TicketError
from approvals.models import MailPreference, TicketLink, TicketMail
from approvals.people import person
from approvals.services import decide
from runs import blobs, db, services
from runs.core.events import Event
from runs.models import Ticket, TicketMessage
from runs.patches import Proposal, propose
from runs.tickets import _tell
from tests.support.servers import SmtpServer
from tests.support.system import engine, start
from tests.support.waiting import eventually
from workflows.core.errors import AobError
from workflows.core.grants import Author, grant_of_config


@pytest.fixture(autouse=True)
def clean(database: None, settings: Any) -> Iterator[None]:
    settings.AOB_PUBLIC_URL = "http://testserver"
    settings.ALLOWED_HOSTS = ["testserver"]
    pages._throttle._failures.clear()
    yield
    TicketLink.objects.all().delete()
    TicketMail.objects.all().delete()
    User.objects.all().delete()
    Group.objects.all().delete()


@pytest.fixture
def smtp(settings: Any) -> Iterator[SmtpServer]:
    with SmtpServer() as server:
        settings.EMAIL_BACKEND = "runs.mail.SmtpBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", server.port
        yield server


def user(name: str, *groups: str, email: str | None = None) -> User:
    made = User.objects.create_user(name, f"{name}@example.com" if email is None else email, "secret-pass-1")
    for group in groups:
        made.groups.add(Group.objects.get_or_create(name=group)[0])
    return made


def asked(title: str = "Refund 7?", **config: Any) -> Ticket:
    """The ticket of a new run."""
    nodes = {
        "ok": {"type": "approval", "config": {"title": title, **config}},
        "done": {"type": "transform", "config": {"output": "{{ nodes.ok }}"}},
    }
    edges = {"go": {"from": "ok", "to": "done", "port": "approved"}}
    run = start({"name": "asks", "nodes": nodes, "edges": edges}, {})
    return Ticket.objects.get(run_id=run)


def tell() -> None:
    while messenger.turn():
        pass


def hurry() -> None:
    """The time until the next attempt passes."""
    TicketMessage.objects.update(next_at=timezone.now() - timedelta(seconds=1))


def link_in(mail: EmailMessage) -> str:
    plain = mail.get_body(("plain",))
    assert plain is not None
    found = re.search(r"http://testserver(/approvals/link/[\w-]{43}/)\?answer=approve", plain.get_content())
    assert found, plain.get_content()
    return found[1]


def browser() -> Client:
    return Client(enforce_csrf_checks=True)


def send(client: Client, link: str, **form: str) -> Any:
    """Opens the page and sends its form, as a browser does from a page without referrer."""
    page = client.get(link)
    assert page.status_code == 200, page.content
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.content.decode())
    assert token
    return client.post(link, {"csrfmiddlewaretoken": token[1], **form}, headers={"origin": "null"})


# Who gets a mail, and how often


def test_a_ticket_that_an_agent_wrote_says_so_wherever_it_is_shown(smtp: SmtpServer, client: Client) -> None:
    client.force_login(user("anna"))
    agent = {"model": "scripted:x", "prompt": "?", "patches": "auto", "may_add": {"node_types": ["approval"]}}
    run = start({"name": "helped", "nodes": {"helper": {"type": "agent", "config": agent}}}, {})
    question = {"type": "approval", "config": {"title": "Only a formality", "assignees": ["user:anna"]}}
    add = {"op": "add", "path": "/nodes/x", "value": question}
    author = Author("agent", "helper", run)
    grant = grant_of_config(agent)
    patched = propose(run, Proposal(operations=[add], reason="", author=author, grant=grant))
    assert patched["status"] == "applied"
    ticket = Ticket.objects.get(run_id=run)
    words = "The agent helper wrote this, no person"
    tell()
    [mail] = smtp.mails
    assert words in str(mail.get_body(("plain",))) and words in str(mail.get_body(("html",)))
    told = "put this question into the run while it went on"
    assert told in client.get(f"/approvals/{ticket.id}/").content.decode()
    assert told in browser().get(link_in(mail)).content.decode()


def test_assignees_and_their_groups_get_one_mail_each_with_all_that_is_asked(smtp: SmtpServer) -> None:
    user("anna"), user("berta", "ops"), user("carl", "ops"), user("dora")
    user("emil", "ops", email="")
    User.objects.filter(username="carl").update(is_active=False)
    asked(
        "Refund\n7?",
        body="Above **100** <b>x</b> ![p](//c.example/x)",
        assignees=["user:anna", "group:ops"],
        timeout="2h",
    )
    tell()
    assert sorted(address for to in smtp.envelopes for address in to) == ["anna@example.com", "berta@example.com"]
    [mail] = smtp.to("anna@example.com")
    assert mail["Subject"] == "Please decide: Refund 7?" and mail["Auto-Submitted"] == "auto-generated"
    plain, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert plain is not None and html is not None
    for text in (plain.get_content(), html.get_content()):
        assert "asks" in text and "UTC" in text and text.count("/approvals/link/") == 2 and "anna" in text
    assert "<strong>100</strong> &lt;b&gt;" in html.get_content() and "<img" not in html.get_content()
    assert [one.state for one in TicketMessage.objects.all()] == ["done"]


def test_who_wants_none_started_the_run_or_is_not_asked_gets_none(smtp: SmtpServer, settings: Any) -> None:
    quiet = user("quiet")
    user("loud")
    MailPreference.objects.create(user=quiet, tickets=False)
    asked(assignees=["user:quiet", "user:loud"])
    asked()
    tell()
    assert smtp.envelopes == [["loud@example.com"]]
    settings.AOB_TICKET_MAIL_ALL = True
    asked()
    tell()
    assert smtp.envelopes[1:] == [["loud@example.com"]]


def test_a_decided_ticket_is_not_mailed_about_any_more(smtp: SmtpServer) -> None:
    anna = user("anna")
    with engine():
        ticket = asked(assignees=["user:anna"])
        decide(str(ticket.pk), "approve", by=person(anna, may_decide=True))
    tell()
    assert smtp.mails == [] and TicketMessage.objects.get(kind="opened").state == "void"


def test_a_crash_between_two_recipients_mails_only_the_one_in_flight_again(
    smtp: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("anna", "berta", "carl")
    for name in names:
        user(name)
    asked(assignees=[f"user:{name}" for name in names])
    record = messenger._record

    class Crash(BaseException):
        pass

    def dies(message: Any, who: User, error: str | None) -> None:
        if who.username == "berta":
            raise Crash
        record(message, who, error)

    monkeypatch.setattr(messenger, "_record", dies)
    with pytest.raises(Crash):
        messenger.turn()
    monkeypatch.setattr(messenger, "_record", record)
    assert not messenger.turn()  # Its lease lasts.
    hurry()
    tell()
    counts = {name: len(smtp.to(f"{name}@example.com")) for name in names}
    assert counts == {"anna": 1, "berta": 2, "carl": 1}
    assert len({mail["Message-ID"] for mail in smtp.to("berta@example.com")}) == 1
    assert len({mail["Message-ID"] for mail in smtp.mails}) == 3
    assert {one.state for one in TicketMessage.objects.all()} == {"done"}


def test_of_two_messengers_only_one_goes_on_with_a_message(smtp: SmtpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    user("anna"), user("berta")
    asked(assignees=["user:anna", "user:berta"])
    first = messenger.send

    def slow(mail: Any) -> Any:
        # While the first mail is being sent, the lease runs out and another one takes over.
        monkeypatch.setattr(messenger, "send", first)
        answer = first(mail)
        hurry()
        tell()
        return answer

    monkeypatch.setattr(messenger, "send", slow)
    messenger.turn()
    assert len(smtp.to("berta@example.com")) == 1
    assert {one.state for one in TicketMessage.objects.all()} == {"done"}


def test_a_server_that_is_away_is_tried_again_and_given_up_after_a_day(smtp: SmtpServer) -> None:
    user("anna"), user("gone")
    asked(assignees=["user:anna", "user:gone"])
    smtp.answers = ["451 later", "250 taken"]
    smtp.refused = {"gone@example.com": "550 no such user"}
    tell()
    message = TicketMessage.objects.get()
    assert message.state == "due" and "anna: " in (message.error or "") and "451 later" in (message.error or "")
    assert 20 < (message.next_at - timezone.now()).total_seconds() < 40
    refused = TicketMail.objects.get()
    assert refused.user.username == "gone" and "550 no such user" in (refused.error or "")
    assert TicketLink.objects.count() == 0
    TicketMessage.objects.update(created_at=timezone.now() - timedelta(days=2))
    smtp.answers = ["451 later", "250 taken"]
    hurry()
    tell()
    message.refresh_from_db()
    assert message.state == "given_up" and "451 later" in (message.error or "") and smtp.mails == []
    messenger.try_again([message.pk])
    smtp.answers = []
    tell()
    message.refresh_from_db()
    assert message.state == "done" and smtp.envelopes == [["anna@example.com"]]


def test_an_escalation_mails_the_others_once_each(smtp: SmtpServer) -> None:
    user("anna"), user("berta")
    with engine():
        ticket = asked(assignees=["user:anna"], timeout="3s", on_timeout="escalate", escalate_to=["user:berta"])
        eventually(lambda: TicketMessage.objects.filter(ticket=ticket.pk, kind="escalated").exists(), seconds=20)
    tell()
    assert smtp.envelopes == [["berta@example.com"]] and smtp.mails[0]["Subject"].startswith("Handed to you")
    assert sorted(one.state for one in TicketMessage.objects.all()) == ["done", "void"]


def test_an_address_that_is_none_or_a_defect_of_ours_holds_up_nobody_else(
    smtp: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    user("evil", email="a@example.com\r\nBcc: b@example.com"), user("anna")
    asked(assignees=["user:evil", "user:anna"])
    tell()
    assert smtp.envelopes == [["anna@example.com"]]
    assert "no e-mail address" in (TicketMail.objects.get(user__username="evil").error or "")
    monkeypatch.setattr(messenger.messages, "mail", lambda *_: 1 / 0)
    asked(assignees=["user:anna"])
    tell()
    broken = TicketMessage.objects.get(state="due")
    assert "ZeroDivisionError" in (broken.error or "")
    TicketMessage.objects.update(created_at=timezone.now() - timedelta(days=2))
    hurry()
    tell()
    assert TicketMessage.objects.get(pk=broken.pk).state == "given_up"


def test_many_tickets_at_once_flood_nobody(smtp: SmtpServer, settings: Any) -> None:
    settings.AOB_TICKET_MAILS_PER_HOUR = 2
    user("anna"), user("berta")
    for number in range(3):
        asked(f"Ticket {number}", assignees=["user:anna"])
    asked(assignees=["user:berta"])
    tell()
    assert len(smtp.to("anna@example.com")) == 2 and len(smtp.to("berta@example.com")) == 1
    waiting = TicketMessage.objects.get(state="due")
    assert "anna: had 2 mails within an hour" in (waiting.error or "")
    TicketMail.objects.update(sent_at=timezone.now() - timedelta(hours=2))
    hurry()
    tell()
    assert len(smtp.to("anna@example.com")) == 3


def test_an_event_is_told_of_once_however_often_it_is_written() -> None:
    event = Event(7, "NodeWaiting", 0, "ok", {"ticket": str(uuid.uuid4())})
    with db.transaction() as cursor:
        _tell(cursor, str(uuid.uuid4()), event, "opened")
        _tell(cursor, str(uuid.uuid4()), event, "opened")
    assert TicketMessage.objects.filter(ticket=event.data["ticket"]).count() == 1


# The links


@pytest.fixture
def mailed(smtp: SmtpServer) -> Iterator[tuple[Ticket, str, SmtpServer]]:
    """A ticket of anna's and the link that she got."""
    user("anna"), user("berta")
    form = {"type": "object", "properties": {"percent": {"type": "integer", "minimum": 1, "maximum": 100}}}
    with engine():
        ticket = asked(assignees=["user:anna", "user:berta"], form=form, body="Pay **back**?")
        tell()
        yield ticket, link_in(smtp.to("anna@example.com")[0]), smtp


def is_open(ticket: Ticket) -> bool:
    ticket.refresh_from_db()
    return ticket.status == "open"


def test_looking_at_a_link_decides_nothing(mailed: Any) -> None:
    ticket, link, _ = mailed
    for client in (browser(), Client()):
        for method in ("get", "head"):
            response = getattr(client, method)(link + "?answer=approve")
            assert response.status_code == 200
            assert response["Referrer-Policy"] == "no-referrer" and response["Cache-Control"] == "no-store"
        for method in ("put", "patch", "delete", "options"):
            assert getattr(client, method)(link).status_code == 405
    page = browser().get(link).content.decode()
    assert "<strong>back</strong>" in page and "<strong>anna</strong>" in page and "berta" not in page
    assert is_open(ticket) and TicketLink.objects.filter(used_at=None).count() == 2


def test_a_link_decides_as_its_user_once_and_then_says_who_decided(mailed: Any) -> None:
    ticket, link, smtp = mailed
    client = browser()
    assert send(client, link, answer="approve", **{"form.percent": "500"}).status_code == 422 and is_open(ticket)
    assert send(client, link, answer="perhaps").status_code == 422 and is_open(ticket)
    assert send(client, link, answer="approve", reason="x" * 5_000).status_code == 422 and is_open(ticket)
    told = send(client, link, answer="approve", reason="Fine.", **{"form.percent": "50"})
    assert told.status_code == 200 and b"Approved" in told.content
    ticket.refresh_from_db()
    assert (ticket.status, ticket.decided_by, ticket.reason) == ("approved", "anna", "Fine.")
    again = client.get(link)
    assert again.status_code == 409 and b"approved already, by anna" in again.content
    late = browser().get(link_in(smtp.to("berta@example.com")[0]))
    assert late.status_code == 409 and b"by anna" in late.content


def test_the_page_of_a_link_shows_the_values_and_files_that_are_decided_on(smtp: SmtpServer) -> None:
    user("anna")
    file = blobs.put([b"a,b"], media_type="text/csv", max_bytes=100)
    asked(assignees=["user:anna"], values={"amount": "<b>7</b>", "bill": file}, body="{{ {'plain': 1} }}")
    tell()
    page = browser().get(link_in(smtp.mails[0])).content.decode()
    assert "What is decided on" in page and "&lt;b&gt;7&lt;/b&gt;" in page and "&quot;plain&quot;: 1" in page
    assert file["blob"] in page and "text/csv" in page


def test_whoever_is_signed_in_as_somebody_else_does_not_decide_by_a_link(mailed: Any) -> None:
    ticket, link, _ = mailed
    client = browser()
    page = client.get(link).content.decode()
    token = re.search(r'csrfmiddlewaretoken" value="(\w+)"', page)
    assert token
    client.force_login(User.objects.get(username="berta"))
    sent = {"answer": "approve", "csrfmiddlewaretoken": token[1], "form.percent": "5"}
    for response in (client.get(link), client.post(link, sent)):
        told = response.content.decode()
        assert response.status_code == 403 and "<strong>anna</strong>" in told and "<strong>berta</strong>" in told
        assert "/sign-out/" in told and 'href="/approvals/"' in told and "Refund" not in told
    assert is_open(ticket) and TicketLink.objects.filter(used_at=None).count() == 2
    client.force_login(User.objects.get(username="anna"))
    assert send(client, link, answer="approve").status_code == 200 and not is_open(ticket)


def again_and_again() -> dict[str, Any]:
    """A ticket that comes back to anna, whose answers before count no more."""
    return {"assignees": ["user:anna"], "timeout": "2s", "on_timeout": "escalate", "escalate_to": ["user:anna"]}


def escalated(ticket: Ticket) -> bool:
    return TicketMessage.objects.filter(ticket=ticket.pk, kind="escalated").exists()


def test_a_link_whose_answer_counts_is_used_also_after_a_crash(smtp: SmtpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    user("anna"), user("berta")
    with engine():
        ticket = asked(**{**again_and_again(), "assignees": ["user:anna", "user:berta"], "quorum": "all"})
        tell()
        found = links.find(link_in(smtp.to("anna@example.com")[0]).split("/")[3], door={"door": "email"})

        class Crash(BaseException):
            pass

        def dies() -> None:
            raise Crash

        monkeypatch.setattr(links.timezone, "now", dies)
        with pytest.raises(Crash):
            links.decide(found, "approve", reason=None, form=None)
        monkeypatch.undo()
        assert TicketLink.objects.get(digest=found.digest).used_at is None
        eventually(lambda: escalated(ticket), seconds=20)
        with pytest.raises(TicketError, match="used this link"):
            links.decide(found, "approve", reason=None, form=None)
    assert is_open(ticket)


def test_a_link_is_not_used_up_by_what_decides_nothing(mailed: Any) -> None:
    ticket, link, _ = mailed
    found = links.find(link.split("/")[3], door={"door": "email"})
    for answer, form in (("approve", {"percent": 500}), ("perhaps", None)):
        with pytest.raises(AobError):
            links.decide(found, answer, reason=None, form=form)
    with pytest.raises(TicketError, match="changed"):
        links.decide(found, "approve", reason=None, form=None, seen="something else")
    assert TicketLink.objects.get(digest=found.digest).used_at is None
    assert links.decide(found, "approve", reason=None, form=None)["status"] == "approved"


def test_two_posts_of_a_link_at_one_instant_are_one_decision(mailed: Any) -> None:
    ticket, link, _ = mailed
    found = links.find(link.split("/")[3], door={"door": "email"})
    barrier = threading.Barrier(2)
    outcomes: list[str] = []

    def post() -> None:
        barrier.wait()
        try:
            outcomes.append(links.decide(found, "approve", reason=None, form=None)["status"])
        except TicketError as error:
            outcomes.append(error.code)
        finally:
            connections.close_all()

    both = [threading.Thread(target=post) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert sorted(outcomes) == ["approved", "link_used"]


def test_a_post_that_is_not_from_its_page_decides_nothing(mailed: Any) -> None:
    ticket, link, _ = mailed
    client = browser()
    assert client.post(link, {"answer": "approve"}).status_code == 403
    client.get(link)
    assert client.post(link, {"answer": "approve", "csrfmiddlewaretoken": "a" * 64}).status_code == 403
    token = re.search(r'csrfmiddlewaretoken" value="(\w+)"', client.get(link).content.decode())
    assert token
    sent = {"answer": "approve", "csrfmiddlewaretoken": token[1]}
    assert client.post(link, sent, headers={"origin": "https://evil.example"}).status_code == 403
    assert is_open(ticket)


@pytest.mark.parametrize(
    "token", ["null", "None", "[]", "{}", "0", "undefined", "x" * 43, "A" * 5_000, "..%2f", "%20", "'or'1", "aob_x"]
)
def test_a_forged_link_is_like_any_that_never_was(mailed: Any, token: str) -> None:
    ticket, _, _ = mailed
    for response in (browser().get(f"/approvals/link/{token}/"), Client().post(f"/approvals/link/{token}/")):
        assert response.status_code == 404
        assert b"Refund" not in response.content and b"anna" not in response.content
    assert is_open(ticket)


def test_a_link_without_a_token_leads_nowhere(mailed: Any) -> None:
    assert browser().get("/approvals/link//").status_code == 404
    assert browser().get("/approvals/link/").status_code in (302, 404)


def test_guessing_is_slowed_down_and_holds_up_no_good_link(mailed: Any) -> None:
    _, link, _ = mailed
    client = browser()
    answers = [client.get(f"/approvals/link/{'x' * 42}{n % 10}/").status_code for n in range(40)]
    assert answers == [404] * 30 + [429] * 10
    assert client.get(link).status_code == 200


@pytest.mark.parametrize("change", ["expired", "inactive", "password", "address", "void", "group"])
def test_a_link_ends_with_what_it_stands_on(mailed: Any, change: str) -> None:
    ticket, link, _ = mailed
    client = browser()
    page = client.get(link).content.decode()
    anna = User.objects.get(username="anna")
    if change == "expired":
        TicketLink.objects.update(expires_at=timezone.now())
    elif change == "inactive":
        User.objects.update(is_active=False)
    elif change == "password":
        anna.set_password("another-pass-2")
        anna.save()
    elif change == "address":
        User.objects.filter(pk=anna.pk).update(email="other@example.com")
    elif change == "void":
        links.make_void(anna)
    else:
        Ticket.objects.update(assignees=["group:others"])
    status = {"void": 404, "group": 403}.get(change, 410)
    token = re.search(r'csrfmiddlewaretoken" value="(\w+)"', page)
    assert token
    sent = {"answer": "approve", "csrfmiddlewaretoken": token[1], "form.percent": "5"}
    for response in (client.post(link, sent), client.get(link)):
        assert response.status_code == status
        assert b"Refund" not in response.content and b"others" not in response.content
    assert is_open(ticket)


def test_a_link_of_a_cancelled_run_says_that_nothing_waits(mailed: Any) -> None:
    ticket, link, _ = mailed
    services.cancel(str(ticket.run_id), by="anna")
    eventually(lambda: not is_open(ticket))
    response = browser().get(link)
    assert response.status_code == 409 and b"did not wait" in response.content


def test_one_of_two_approvals_uses_its_link_up(smtp: SmtpServer) -> None:
    user("anna"), user("berta")
    with engine():
        ticket = asked(assignees=["user:anna", "user:berta"], quorum="all")
        tell()
        link = link_in(smtp.to("anna@example.com")[0])
        told = send(browser(), link, answer="approve")
        assert told.status_code == 200 and b"waits for others" in told.content
        again = browser().get(link)
        assert again.status_code == 410 and b"anna has used this link already" in again.content and is_open(ticket)


def test_a_token_is_stored_nowhere_and_ends_with_the_ticket_or_after_days(smtp: SmtpServer) -> None:
    user("anna")
    asked(assignees=["user:anna"], timeout="2h")
    tell()
    token = link_in(smtp.mails[0]).split("/")[3]
    with db.transaction() as cursor:
        for table in ("ticket_link", "ticket_mail", "ticket_message"):
            for row in cursor.execute(f"SELECT {table}::text FROM {table}").fetchall():
                assert token not in row[0]
    link = TicketLink.objects.get()
    assert link.expires_at == Ticket.objects.get().due_at
