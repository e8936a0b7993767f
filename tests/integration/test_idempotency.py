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
