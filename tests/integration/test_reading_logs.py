"""Where a log is read from: a page and a stream say the same of a seq that is none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from aob_web.accounts.models import ApiToken
from runs import queries
from tests.support.system import start

PURE = {"name": "pure", "nodes": {"a": {"type": "transform", "config": {"output": 1}}}, "edges": {}}


@pytest.fixture(autouse=True)
def clean(database: None, settings: Any) -> Iterator[None]:
    settings.ALLOWED_HOSTS = ["testserver"]
    yield
    User.objects.all().delete()


@pytest.mark.parametrize("form", ["application/json", "text/event-stream"])
@pytest.mark.parametrize(
    ("after", "status", "code"),
    [("99999", 409, "seq_ahead"), ("2147483648", 409, "seq_ahead"), ("-1", 400, "seq_invalid")],
)
def test_a_seq_beyond_the_log_is_a_conflict_in_every_form(form: str, after: str, status: int, code: str) -> None:
    run = start(PURE, {})
    headers = {"Authorization": f"Bearer {ApiToken.issue(User.objects.create_user('anna'), 'test')}"}
    answer = Client().get(f"/api/v1/runs/{run}/events?after={after}", headers={**headers, "Accept": form})
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    last = queries.run(run)["last_seq"]
    page = Client().get(f"/api/v1/runs/{run}/events?after={last}", headers=headers)
    assert page.status_code == 200 and page.json() == {"items": [], "next": None}
