"""One key, one effect: what is sent again under its `Idempotency-Key` gets the first's answer, at every door."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from aob_web.accounts.models import ApiToken
from runs import db
from runs.services import StartRequest
from tests.support.system import engine

PURE = {"name": "pure", "nodes": {"a": {"type": "transform", "config": {"output": 1}}}, "edges": {}}
ASKS: dict[str, Any] = {"name": "asks", "nodes": {"ok": {"type": "approval", "config": {"title": "Go?"}}}, "edges": {}}


@pytest.fixture(autouse=True)
def clean(database: None, settings: Any) -> Iterator[None]:
    settings.ALLOWED_HOSTS = ["testserver"]
    yield
    User.objects.all().delete()


class Api:
    """Somebody with a token."""

    def __init__(self, name: str) -> None:
        self.user = User.objects.create_user(name)
        self._headers = {"Authorization": f"Bearer {ApiToken.issue(self.user, 'test')}"}

    def post(self, path: str, body: Any, key: str | None = None) -> tuple[int, Any]:
        headers = {**self._headers, **({"Idempotency-Key": key} if key else {})}
        answer = Client().post(f"/api/v1/{path}", body, content_type="application/json", headers=headers)
        return answer.status_code, answer.json()

    def get(self, path: str) -> Any:
        return Client().get(f"/api/v1/{path}", headers=self._headers).json()

    def start(self, document: Any, key: str | None = None) -> str:
        status, run = self.post("runs", {"workflow": document}, key)
        assert status == 201, run
        return str(run["id"])

    def batch(self, count: int, key: str) -> list[Any]:
        return list(self.post("runs/batch", {"runs": [{"workflow": PURE}] * count}, key)[1]["items"])


@pytest.fixture
def anna() -> Api:
    return Api("anna")


def test_a_repeated_batch_is_answered_as_the_first(anna: Api) -> None:
    first = anna.batch(3, "k")
    assert first == anna.batch(3, "k")
    assert [one["run"]["status"] for one in first] == ["completed"] * 3


@pytest.mark.parametrize("is_batch_first", [True, False])
def test_the_key_of_a_batchs_item_is_no_key_of_a_single_start(anna: Api, is_batch_first: bool) -> None:
    if is_batch_first:
        items, single = anna.batch(2, "k"), anna.start(PURE, "k#0")
    else:
        single, items = anna.start(PURE, "k#0"), anna.batch(2, "k")
    assert len({single, *(one["run"]["id"] for one in items)}) == 3
    assert anna.start(PURE, "k#0") == single and anna.batch(2, "k") == items


def test_keys_that_older_processes_kept_are_still_known(anna: Api) -> None:
    kept = {name: anna.start(PURE) for name in ("k", "k#0", "b#0", "b#1")}
    fingerprint = StartRequest(PURE, {}).fingerprint()
    with db.transaction() as cursor:
        for name, run in kept.items():
            row = [f"{anna.user.pk}:{name}", fingerprint, run]
            cursor.execute("INSERT INTO start_key (key, request_hash, run_id) VALUES (%s, %s, %s)", row)
    assert anna.start(PURE, "k") == kept["k"] and anna.start(PURE, "k#0") == kept["k#0"]
    items = [one["run"]["id"] for one in anna.batch(3, "b")]
    assert items[:2] == [kept["b#0"], kept["b#1"]] and items[2] not in kept.values()
    assert [one["run"]["id"] for one in anna.batch(3, "b")] == items


def test_a_replay_under_its_key_is_made_once(anna: Api) -> None:
    run = anna.start(PURE)

    def replay(start: str, key: str | None) -> tuple[int, Any]:
        try:
            return anna.post(f"runs/{run}/replay", {"from": start}, key)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as several:
        answers = list(several.map(lambda _: replay("a", "k"), range(4)))
    assert {status for status, _ in answers} == {201} and len({new["id"] for _, new in answers}) == 1
    assert replay("a", "other")[1]["id"] != answers[0][1]["id"]
    assert replay("a", None)[1]["id"] != answers[0][1]["id"]
    status, refused = anna.post(f"runs/{run}/replay", {"from": "a", "inputs": {"x": 1}}, "k")
    assert status == 409 and refused["code"] == "idempotency_key_reused"
    assert Api("berta").post(f"runs/{run}/replay", {"from": "a"}, "k")[1]["id"] != answers[0][1]["id"]


FORM = {"type": "object", "properties": {"n": {"type": "integer", "default": 1}, "note": {"type": "string"}}}


def asks(api: Api, **config: Any) -> str:
    node = {"type": "approval", "config": {"title": "Go?", **config}}
    run = api.start({"name": "asks", "nodes": {"ok": node}, "edges": {}})
    [found] = api.get(f"approvals?run={run}")["items"]
    return str(found["ticket"])


def test_the_same_decision_under_the_same_key_gets_the_firsts_answer(anna: Api) -> None:
    ticket = asks(anna, form=FORM)

    def decide(_: int) -> tuple[int, Any]:
        try:
            return anna.post(f"approvals/{ticket}/decide", said, "k")
        finally:
            connection.close()

    said = {"answer": "approve", "reason": "fine", "form": {"note": "x" * 30_000}}
    with engine(), ThreadPoolExecutor(3) as several:
        answers = list(several.map(decide, range(3)))
        answers.append(decide(3))
    assert [status for status, _ in answers] == [200] * 4
    assert {found["status"] for _, found in answers} == {"approved"}
    assert len(anna.get(f"approvals/{ticket}")["answers"]) == 1
    for key, changed, code in (
        ("k", {"answer": "reject"}, "idempotency_key_reused"),
        ("k", {"form": {"n": 2}}, "idempotency_key_reused"),
        ("other", {}, "ticket_decided"),
        (None, {}, "ticket_decided"),
    ):
        status, refused = anna.post(f"approvals/{ticket}/decide", {**said, **changed}, key)
        assert (status, refused["code"]) == (409, code)
    status, refused = Api("berta").post(f"approvals/{ticket}/decide", said, "k")
    assert (status, refused["code"]) == (409, "ticket_decided")
    run = anna.get(f"approvals/{ticket}")["run"]
    assert anna.get(f"runs/{run}/verify")["ok"]


def test_one_voice_of_several_under_a_key_is_one_voice(anna: Api) -> None:
    ticket = asks(anna, quorum={"n": 2})
    with engine():
        for _ in range(2):
            status, found = anna.post(f"approvals/{ticket}/decide", {"answer": "approve"}, "k")
            assert status == 200 and found["status"] == "open" and len(found["answers"]) == 1
        assert Api("berta").post(f"approvals/{ticket}/decide", {"answer": "approve"}, "k")[1]["status"] == "approved"
