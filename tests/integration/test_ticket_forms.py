"""The forms of tickets as pages have them: what is sent by mistake, and what a refusal must not lose."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.integration.test_ticket_mails import asked, link_in, tell, user
from tests.support.servers import SmtpServer

FORM = {
    "type": "object",
    "properties": {
        "sure": {"type": "boolean", "default": True},
        "account": {"type": "string", "enum": ["travel", "office"]},
        "size": {"type": "string", "enum": ["s", "m"], "default": "m"},
        "note": {"type": "string"},
        "percent": {"type": "integer", "maximum": 100},
    },
    "required": ["account"],
}


@pytest.fixture(autouse=True)
def clean(database: None, settings: Any) -> Iterator[None]:
    settings.AOB_PUBLIC_URL = "http://testserver"
    settings.ALLOWED_HOSTS = ["testserver"]
    yield
    User.objects.all().delete()


@pytest.fixture
def smtp(settings: Any) -> Iterator[SmtpServer]:
    with SmtpServer() as server:
        settings.EMAIL_BACKEND = "runs.mail.SmtpBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", server.port
        yield server


@pytest.fixture
def doors(smtp: SmtpServer) -> list[tuple[Client, str]]:
    """The page of a ticket, and that of the link in its mail."""
    signed_in = Client()
    signed_in.force_login(user("anna"))
    ticket = asked(assignees=["user:anna"], form=FORM, bulk=False)
    tell()
    return [(signed_in, f"/approvals/{ticket.pk}/"), (Client(), link_in(smtp.mails[0]))]


def deciding(page: str) -> str:
    """The form that decides."""
    return next(form for form in re.findall(r"<form.*?</form>", page, re.DOTALL) if 'value="approve"' in form)


def test_enter_in_a_field_decides_nothing(doors: list[tuple[Client, str]]) -> None:
    client = doors[0][0]
    asked(bulk=True)
    for one, path in (*doors, (client, "/approvals/")):
        form = deciding(one.get(path).content.decode())
        first = re.search(r"<button[^>]*>", form)
        assert first and " disabled" in first[0] and " hidden" in first[0], "it would send the form, which approves"


def test_a_refused_form_stays_as_it_was_sent(doors: list[tuple[Client, str]]) -> None:
    sent = {"answer": "approve", "form.account": "office", "form.note": "a <b>", "form.percent": "500", "reason": "so"}
    for client, path in doors:
        fresh = deciding(client.get(path).content.decode())
        assert re.search(r'name="form.sure" checked', fresh)
        assert re.search(r'name="form.account" required><option value="" selected></option>', fresh)
        assert "<option selected>m</option>" in fresh and fresh.count("<option value=") == 1
        answer = client.post(path, sent)
        page = deciding(answer.content.decode())
        assert answer.status_code == 422
        assert re.search(r'name="form.sure" >', page), "it was not ticked"
        assert "<option selected>office</option>" in page
        assert 'value="a &lt;b&gt;"' in page and 'value="500"' in page and ">so</textarea>" in page


def test_a_comment_that_is_refused_leaves_the_form_that_decides_alone(doors: list[tuple[Client, str]]) -> None:
    client, path = doors[0]
    answer = client.post(f"{path}comment/", {"text": " "})
    page = deciding(answer.content.decode())
    assert answer.status_code == 422 and re.search(r'name="form.sure" checked', page)
