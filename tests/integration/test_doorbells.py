"""What the worker takes out of its queues: doorbells, however much else somebody put there (hazards S16, F7)."""

from __future__ import annotations

import base64
import json
import logging
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import kombu.transport
import pytest
from celery.worker import state

from runs import dispatch
from tests.support.waiting import eventually
from worker import doorbells

QUEUE = "node.jobs.medium"


def message(body: bytes, kind: str = "application/json", *, properties: Any = None, **headers: Any) -> str:
    more = {
        "correlation_id": "x", "delivery_mode": 2, "delivery_info": {"exchange": "", "routing_key": QUEUE},
        "priority": 0, "body_encoding": "base64", "delivery_tag": "tag",
    }  # fmt: skip
    return json.dumps(
        {
            "body": base64.b64encode(body).decode(),
            "content-encoding": "utf-8",
            "content-type": kind,
            "headers": {"lang": "py", "task": dispatch.EXECUTE, "id": "x", "root_id": "x", **headers},
            "properties": {**more, **(properties or {})},
        }
    )


def task(args: Any, embed: Any = None) -> bytes:
    return json.dumps([args, {}, embed or {}]).encode()


CHAIN = {"chain": [{"task": "celery.backend_cleanup"}], "callbacks": [{"task": "x"}], "errbacks": [1], "chord": {"a": 1}}
NO_MESSAGES = (
    "not json", "null", "[]", "{}", "7", '"x"', "[" * 100_000, b"\xff\xfe", '{"properties": {}}', '{"properties": 1}',
    '{"headers": {}, "properties": {"delivery_tag": null, "delivery_info": {"exchange": "", "routing_key": ""}}}',
    '{"headers": null, "properties": {"delivery_tag": {}, "delivery_info": 1}, "body": 7}',
)  # fmt: skip
NO_DOORBELLS = (
    message(b"\x80\x04N.", "application/x-python-serialize"), message(task([[1]]), "application/x-yaml"),
    message(task([[1]]), task="os.system"), message(task([[1]]), task="celery.backend_cleanup"),
    message(b"[["), message(b"[]"), message(b"null"), message(b"{}"), message(task([])), message(task([[1], [2]])),
    message(task([["x"]])), message(task([[True, 1.5, None]])), message(task([[10**30]])), message(task([[-1]])),
    message(task([[1] * 20_000])), message(b"x" * 5_000_000), message(task({"__type__": "uuid", "__value__": 1})),
    message(b"\xff\xfe"), message(task([[2]], CHAIN), compression="zlib"), message(task([[1]]), task=["x"]),
    message(task([[1]]), properties={"body_encoding": "x"}), message(task([[1]]), properties={"delivery_tag": [1]}),
)  # fmt: skip
ODD_DOORBELLS = (
    message(task([[2]], CHAIN)), message(task([[2]]), eta="9999-01-01T00:00:00"), message(task([[2]]), eta="x"),
    message(task([[2]]), timelimit=["a", "b"], retries="x", argsrepr=5, expires="garbage", reply_to="x"),
    message(task([[2]]), shadow={"a": 1}, id=None, group=7, root_id=[], ignore_result=False),
)  # fmt: skip
"""Doorbells that also ask for what Celery would do. Nobody does it."""


@pytest.fixture
def heard(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """What a worker heard, from the real broker."""
    found: list[int] = []
    # A worker says at its start how queues are read; here other tests may have read some before.
    monkeypatch.setattr(kombu.transport, "_transport_cache", {})
    doorbells.careful()
    with dispatch.celery_app().connection_for_write() as connection:
        # Neither does anybody answer what earlier tests rang.
        connection.default_channel.client.delete(QUEUE)
    caplog.set_level(logging.WARNING)
    worker = dispatch.celery_app().Worker(
        consumer_cls=partial(doorbells.Doorbells, found.extend), pool="solo", concurrency=1, queues=[QUEUE],
        hostname="test@h", without_gossip=True, without_mingle=True, without_heartbeat=True, loglevel="WARNING",
        quiet=True,
    )  # fmt: skip
    crashes: list[BaseException] = []

    def work() -> None:
        try:
            worker.start()
        except BaseException as error:
            crashes.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield found
        assert not crashes and thread.is_alive()
    finally:
        state.should_stop = 0
        thread.join(10)
        state.should_stop = None


def put(*entries: Any) -> None:
    with dispatch.celery_app().connection_for_write() as connection:
        for entry in entries:
            connection.default_channel.client.lpush(QUEUE, entry)


def ring(number: int) -> None:
    dispatch.ring_ids({("runner", 1): [number]})


def test_a_worker_outlives_whatever_stands_in_its_queue_and_hears_what_comes_after(
    heard: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    ring(1)
    put(*NO_MESSAGES, *NO_DOORBELLS)
    ring(3)
    eventually(lambda: 3 in heard, seconds=20)
    assert heard == [1, 3]
    dropped = [record for record in caplog.records if "was dropped" in record.getMessage()]
    assert len(dropped) == len(NO_MESSAGES) + len(NO_DOORBELLS)
    assert all(record.levelno == logging.WARNING and record.exc_info is None for record in dropped)


def test_of_a_message_nothing_counts_but_its_numbers(heard: list[int]) -> None:
    put(*ODD_DOORBELLS)
    ring(3)
    eventually(lambda: 3 in heard, seconds=20)
    assert heard == [2] * len(ODD_DOORBELLS) + [3]
    with dispatch.celery_app().connection_for_read() as connection:
        client = connection.default_channel.client
        assert client.keys("*celery*") == [] or not client.llen("celery")
        assert client.hlen("unacked") == 0
