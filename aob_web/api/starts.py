"""Starts as clients send them and as they are answered; the same for the lean way in and for the API's views."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from django.conf import settings

from aob_web.accounts.access import Caller
from aob_web.api import problems
from aob_web.api.bodies import BatchBody, StartBody, shape
from runs import queries, services
from workflows.core.errors import AobError, LimitExceeded
from workflows.core.strictjson import decode

JSON_LINES = frozenset({"application/x-ndjson", "application/jsonl"})
MAX_KEY = 200

_LIKE_AN_ITEM = re.compile(r"#[0-9]+\Z")


def one(data: bytes, headers: Mapping[str, str], caller: Caller) -> services.StartRequest:
    """The start that a body asks for. Raises AobError."""
    return _request(_decoded(data), key_of(headers, caller), caller)


def many(
    data: bytes, headers: Mapping[str, str], caller: Caller
) -> tuple[list[services.StartRequest], list[dict[str, Any] | None]]:
    """The starts of a batch, and an answer for each item: None until it is started. Raises AobError.

    An `Idempotency-Key` covers the batch: each item has the key with its place in it, which no single start has.
    """
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in JSON_LINES:
        items = [decode(line) for line in _lines(data)]
    else:
        items = shape(_decoded(data), BatchBody).runs
        _check_count(len(items), "runs")
    key = key_of(headers, caller)
    requests: list[services.StartRequest] = []
    answers: list[dict[str, Any] | None] = [None] * len(items)
    for place, item in enumerate(items):
        try:
            requests.append(_request(item, key, caller, place))
        except AobError as error:
            answers[place] = _refused(error)
    return requests, answers


def _lines(data: bytes) -> list[bytes]:
    """The lines that are not blank, no more of them than a batch may have: they are counted before one is read."""
    # A line break may be two characters, and a blank line may follow each line.
    breaks = data.count(b"\n") + data.count(b"\r")
    if breaks > 4 * settings.AOB_MAX_BATCH:
        _check_count(breaks, "line breaks")
    lines = [line for line in data.splitlines() if line.strip()]
    _check_count(len(lines), "runs")
    return lines


def _check_count(count: int, what: str) -> None:
    if count > settings.AOB_MAX_BATCH:
        raise LimitExceeded(
            "limit_batch",
            f"The batch has {count} {what}; the limit is {settings.AOB_MAX_BATCH} runs.",
            "/runs",
            "Send it in parts, or raise AOB_MAX_BATCH.",
        )


def answer_one(started: services.Started) -> dict[str, Any]:
    """The run as the answer shows it; read again when the key had started it before."""
    return queries.run(started.id) if started.change is None else queries.view_of_new(started.change)


def answer_many(
    answers: Sequence[dict[str, Any] | None], outcomes: Sequence[services.Started | AobError]
) -> dict[str, Any]:
    """The answers of a batch, completed by what became of its starts; read again where a key had started them before."""
    known = queries.statuses([one.id for one in outcomes if isinstance(one, services.Started) and one.change is None])
    coming = iter(outcomes)
    return {"items": [_item(next(coming), known) if answer is None else answer for answer in answers]}


def runs_ahead(headers: Mapping[str, str]) -> bool:
    """False with `Prefer: respond-async` (RFC 7240): accept the runs and leave all of their work to coordinators."""
    return "respond-async" not in headers.get("prefer", "").lower()


def _item(outcome: services.Started | AobError, known: Mapping[str, str]) -> dict[str, Any]:
    if isinstance(outcome, AobError):
        return _refused(outcome)
    status = known.get(outcome.id) if outcome.change is None else queries.public_status(outcome.change.held.state)
    return {"status": 201, "run": {"id": outcome.id} if status is None else {"id": outcome.id, "status": status}}


def _refused(error: AobError) -> dict[str, Any]:
    details = problems.problem(error)
    return {"status": details["status"], "problem": details}


def _request(value: Any, key: str | None, caller: Caller, place: int | None = None) -> services.StartRequest:
    return wanted(shape(value, StartBody), key, caller, place)


def wanted(body: StartBody, key: str | None, caller: Caller, place: int | None = None) -> services.StartRequest:
    """The start that somebody asks for, under a key of `own_key`; `place` is that in a batch."""
    kept, former = (None, None) if key is None else _kept_as(key, place)
    return services.StartRequest(
        body.workflow, body.inputs, body.priority, body.labels, kept, caller.name, former_key=former
    )


def _kept_as(key: str, place: int | None) -> tuple[str, str | None]:
    """How a key is kept, and how it was before, when `K#0` could be that of a single start or of a batch's first."""
    if place is not None:
        return f"batch:{key}#{place}", f"{key}#{place}"
    return (f"one:{key}", key) if _LIKE_AN_ITEM.search(key) else (key, None)


def _decoded(data: bytes) -> Any:
    return decode(data, max_bytes=settings.DATA_UPLOAD_MAX_MEMORY_SIZE) if data.strip() else {}


def key_of(headers: Mapping[str, str], caller: Caller) -> str | None:
    return own_key(headers.get("idempotency-key"), caller)


def own_key(key: str | None, caller: Caller) -> str | None:
    """Idempotency keys of different users never meet."""
    if key is None:
        return None
    if not 0 < len(key) <= MAX_KEY:
        raise services.RunError("idempotency_key_invalid", f"An Idempotency-Key has 1 to {MAX_KEY} characters.")
    return f"{caller.user.pk}:{key}"
