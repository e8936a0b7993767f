"""Tickets whose assignees are too few, as the people of this installation are: who is asked then, and what is said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from aob_web.accounts.models import ApiToken
from runs import queries
from runs.models import Ticket
from runs.verify import verify
from tests.integration.test_ticket_mails import user
from tests.support.system import engine, start
from tests.support.waiting import eventually


@pytest.fixture(autouse=True)
def clean(database: None) -> Iterator[None]:
    yield
    User.objects.all().delete()
    Group.objects.all().delete()


def root(name: str = "root") -> User:
    return User.objects.create_superuser(name, f"{name}@example.com", "secret-pass-1")


def asked(by: str | None = "starter", **config: Any) -> Ticket:
    nodes = {"ok": {"type": "approval", "config": {"title": "Pay?", **config}}}
    return Ticket.objects.get(run_id=start({"name": "asks", "nodes": nodes}, {}, by=by))


def assignees(ticket: Ticket) -> list[str]:
    ticket.refresh_from_db()
    return ticket.assignees


@pytest.mark.parametrize(
    "config",
    [
        {"assignees": ["group:ops"], "not_starter": True},
        {"assignees": ["user:starter", "group:ops", "group:empty"], "not_starter": True},
        {"assignees": ["user:anna", "user:ghost"], "quorum": {"n": 2}},
        {"assignees": ["user:anna", "user:ghost"], "quorum": "all"},
        {"assignees": ["user:anna", "group:of-anna"], "quorum": "all"},
        {"assignees": ["user:anna", "group:of-anna", "user:away"], "quorum": {"n": 2}},
    ],
)
def test_a_ticket_that_too_few_may_decide_goes_to_those_who_look_after_the_installation(config: Any) -> None:
    root(), user("starter", "ops"), user("anna", "of-anna"), user("away")
    Group.objects.create(name="empty")
    User.objects.filter(username="away").update(is_active=False)
    with engine():
        ticket = asked(**config)
        eventually(lambda: assignees(ticket) == ["user:root"], seconds=20)
    assert verify(str(ticket.run_id))["ok"]


@pytest.mark.parametrize(
    "config",
    [
        {"assignees": ["group:ops"], "not_starter": True},
        {"assignees": ["user:anna", "group:ops", "user:ghost"], "quorum": {"n": 2}},
        {"assignees": ["user:anna", "group:ops"], "quorum": "all"},
        {"assignees": ["user:ghost", "user:anna"]},
    ],
)
def test_a_ticket_that_enough_may_decide_stays_with_them(config: Any) -> None:
    root(), user("starter", "ops"), user("berta", "ops"), user("anna")
    with engine():
        ticket = asked(**config)
        other = asked(assignees=["user:ghost"])
        eventually(lambda: assignees(other) == ["user:root"], seconds=20)
    assert assignees(ticket) == config["assignees"]
    assert "too few" not in queries.run(str(ticket.run_id))["waiting_for"][0]["what"]


def test_whoever_may_not_decide_is_no_last_resort() -> None:
    root("starter"), root("other")
    with engine():
        ticket = asked(assignees=["user:ghost"], not_starter=True)
        eventually(lambda: assignees(ticket) == ["user:other"], seconds=20)


def test_where_nobody_else_exists_the_run_says_so_and_a_chain_is_gone_along_all_the_same() -> None:
    root("starter"), user("anna")
    config = {"assignees": ["user:ghost"], "not_starter": True}
    with engine():
        chain = asked(**config, timeout="1h", on_timeout="escalate", escalate_to=["user:anna"])
        alone = asked(**config)
        eventually(lambda: assignees(chain) == ["user:anna"], seconds=20)
    assert assignees(alone) == ["user:ghost"]
    assert "too few exist who may" in queries.run(str(alone.run_id))["waiting_for"][0]["what"]
    [cause] = queries.why(str(alone.run_id))["causes"]
    assert cause["who"].startswith("nobody, until")


def test_an_assignee_that_does_not_exist_is_a_warning_also_of_a_push(settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["testserver"]
    headers = {"Authorization": f"Bearer {ApiToken.issue(user('anna'), 't', ('read', 'write'))}"}
    nodes = {"ok": {"type": "approval", "config": {"title": "Pay?", "assignees": ["user:ghost", "user:anna"]}}}
    body = json.dumps({"document": {"name": "warned", "nodes": nodes}})
    for path, status in (("/api/v1/workflows/validate", 200), ("/api/v1/workflows", 201)):
        answer = Client().post(path, body, content_type="application/json", headers=headers)
        [problem] = answer.json()["problems"]
        assert answer.status_code == status
        assert (problem["code"], problem["severity"]) == ("assignee_unknown", "warning")
        assert problem["pointer"] == "/nodes/ok/config/assignees" and "'ghost'" in problem["message"]
