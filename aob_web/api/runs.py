"""`/runs`: start, list, steer and watch runs."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

from channels.db import database_sync_to_async
from django.db import connection
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from ninja import Router

from aob_web.accounts.access import Caller, require
from aob_web.api import starts
from aob_web.api.answers import as_json
from aob_web.api.bodies import (
    BatchBody,
    EmptyBody,
    ReasonBody,
    ReplayBody,
    RetryBody,
    SignalBody,
    StartBody,
    documented,
    parse,
    raw,
)
from runs import queries, search, services, stream, timeline
from runs.verify import verify as verify_run
from workflows.core.errors import AobError
from workflows.services import document_of

router = Router()
MAX_SEQ = 2**31 - 1


@router.post("", openapi_extra=documented(StartBody), summary="Start a run")
def start(request: HttpRequest) -> HttpResponse:
    """Starts a run of a document, a workflow or a tag. Honours `Idempotency-Key` and `Prefer: respond-async`."""
    caller = require(request, "execute")
    headers = _lower(request)
    wanted = starts.one(raw(request), headers, caller)
    outcome = services.start_many([wanted], run_ahead=starts.runs_ahead(headers))[0]
    if isinstance(outcome, AobError):
        raise outcome
    return as_json(starts.answer_one(outcome), 201)


@router.post("/batch", openapi_extra=documented(BatchBody), summary="Start many runs")
def batch(request: HttpRequest) -> HttpResponse:
    """Takes `{"runs": […]}` or JSON lines; answers each with its run or its problem.

    Honours `Idempotency-Key` for the batch as a whole and `Prefer: respond-async`.
    """
    caller = require(request, "execute")
    headers = _lower(request)
    wanted, answers = starts.many(raw(request), headers, caller)
    outcomes = services.start_many(wanted, run_ahead=starts.runs_ahead(headers))
    return as_json(starts.answer_many(answers, outcomes))


def _lower(request: HttpRequest) -> dict[str, str]:
    return {name.lower(): value for name, value in request.headers.items()}


@router.get("", summary="List runs")
def runs(
    request: HttpRequest,
    status: str | None = None,
    workflow: str | None = None,
    label: str | None = None,
    parent: str | None = None,
    since: str | None = None,
    until: str | None = None,
    input_text: str | None = None,
    where: str | None = None,
    tries: bool = True,
    limit: int = 50,
    cursor: str | None = None,
) -> HttpResponse:
    """The newest first.

    `status` may name several, separated by commas; `label` is `name:value`. `since` and `until` are times of the start:
    `2h` for so long ago, a date, or a date-time (UTC where it has no offset). `input_text` stands in the inputs. `where`
    is a CEL expression over `inputs`, `output`, `error`, `status`, `duration` (seconds) and `workflow`.
    With `tries=false` the runs by which the editor tried a node are left out.

    Filters that no index serves look at the newest runs within a budget. Then `complete` is false, `looked_at` says at
    how many, the page may have fewer runs than asked for or none, and `next` goes on.
    """
    require(request, "read")
    labels = None
    if label is not None:
        name, colon, value = label.partition(":")
        if not colon:
            raise AobError("label_invalid", "A label filter is written name:value.", "/label")
        labels = {name: value}
    wanted = search.read_filter(
        status=status,
        workflow=workflow,
        since=since,
        until=until,
        text=input_text,
        where=where,
        labels=labels,
        parent=parent,
        tries=tries,
    )
    return as_json(search.search(wanted, limit=limit, cursor=cursor))


@router.get("/{run_id}", summary="One run")
def run(request: HttpRequest, run_id: str) -> HttpResponse:
    require(request, "read")
    return as_json(queries.run(run_id))


@router.get("/{run_id}/events", summary="The log of a run")
def events(
    request: HttpRequest,
    run_id: str,
    after: int = 0,
    limit: int = 200,
    node: str | None = None,
    filter: str = "",
    view: str = "",
) -> HttpResponse | StreamingHttpResponse:
    """A page of JSON, or a stream with `Accept: text/event-stream` (resumes by `Last-Event-ID`).

    `view=brief` leaves out the values of events and tells each in words, with a level.
    """
    caller = require(request, "read")
    if view not in ("", "brief"):
        raise AobError("view_unknown", f"There is no view {view[:40]!r}.", "/view", "Use view=brief.")
    if filter not in ("", "errors"):
        raise AobError("filter_unknown", f"There is no filter {filter[:40]!r}.", "/filter", "Use filter=errors.")
    if "text/event-stream" not in request.headers.get("Accept", ""):
        after = stream.resume_at(run_id, str(after))
        return as_json(
            queries.events(
                run_id, after=after, limit=limit, node=node, errors=filter == "errors", is_brief=view == "brief"
            )
        )
    after = stream.resume_at(run_id, request.headers.get("Last-Event-ID", "").strip() or str(after))
    # A stream may last for days; the connection that looked the caller up must not be kept for it.
    connection.close()
    answer = StreamingHttpResponse(
        _sse(run_id, after, node, filter == "errors", caller, is_brief=view == "brief"), content_type="text/event-stream"
    )
    answer["Cache-Control"] = "no-store"
    answer["X-Accel-Buffering"] = "no"
    return answer


async def _sse(
    run_id: str, after: int, node: str | None, errors: bool, caller: Caller, *, is_brief: bool
) -> AsyncIterator[bytes]:
    permitted = database_sync_to_async(caller.still_valid)
    yield b"retry: 1000\n\n"
    async for event in stream.follow(run_id, after, permitted=permitted):
        if event is None:
            yield b": keep-alive\n\n"
            continue
        if node and not (event.node and queries.is_within(event.node, node)):
            continue
        if errors and event.type not in queries.ERRORS:
            continue
        yield f"id: {event.seq}\nevent: {event.type}\ndata: {event.brief if is_brief else event.text}\n\n".encode()
    view = await database_sync_to_async(queries.run)(run_id)
    if view["status"] in queries.TERMINAL_STATUSES:
        yield f"event: end\ndata: {json.dumps({'status': view['status']})}\n\n".encode()


@router.get("/{run_id}/activations", summary="The timeline of a run")
def activations(request: HttpRequest, run_id: str) -> HttpResponse:
    require(request, "read")
    return as_json(timeline.activations(run_id))


@router.get("/{run_id}/document", summary="The graph of a run")
def document(request: HttpRequest, run_id: str, seq: int | None = None) -> HttpResponse:
    """The document that the run executes now, or executed after the event `seq`: patches change it."""
    require(request, "read")
    version = queries.version_at(run_id, seq)
    return as_json({"version": version, "document": document_of(version)})


@router.get("/{run_id}/started", summary="Its nodes that have begun")
def started(request: HttpRequest, run_id: str) -> HttpResponse:
    """Of the outermost graph, with their state: no patch may change them, what is in them, or what leads to them."""
    require(request, "read")
    return as_json({"nodes": timeline.started(run_id)})


@router.get("/{run_id}/outputs", summary="What its nodes gave")
def outputs(request: HttpRequest, run_id: str) -> HttpResponse:
    """By node path without indexes: of a map's or loop's body the first activation, and `each#item` its item.

    `skipped` are those that the run passed over."""
    require(request, "read")
    return as_json(timeline.outputs(run_id))


@router.get("/{run_id}/why", summary="Why a run has not ended")
def why(request: HttpRequest, run_id: str) -> HttpResponse:
    require(request, "read")
    return as_json(queries.why(run_id))


@router.get("/{run_id}/verify", summary="Check a run against its log")
def verify(request: HttpRequest, run_id: str) -> HttpResponse:
    require(request, "read")
    return as_json(verify_run(run_id))


@router.post("/{run_id}/cancel", openapi_extra=documented(ReasonBody, required=False), summary="Cancel a run")
def cancel(request: HttpRequest, run_id: str) -> HttpResponse:
    caller = require(request, "execute")
    services.cancel(run_id, reason=parse(request, ReasonBody).reason, by=caller.name)
    return as_json(queries.run(run_id))


@router.post("/{run_id}/pause", openapi_extra=documented(EmptyBody, required=False), summary="Pause a run")
def pause(request: HttpRequest, run_id: str) -> HttpResponse:
    caller = require(request, "execute")
    parse(request, EmptyBody)
    services.pause(run_id, by=caller.name)
    return as_json(queries.run(run_id))


@router.post("/{run_id}/resume", openapi_extra=documented(EmptyBody, required=False), summary="Resume a run")
def resume(request: HttpRequest, run_id: str) -> HttpResponse:
    caller = require(request, "execute")
    parse(request, EmptyBody)
    services.resume(run_id, by=caller.name)
    return as_json(queries.run(run_id))


@router.post("/{run_id}/signal", openapi_extra=documented(SignalBody), summary="Send a signal")
def signal(request: HttpRequest, run_id: str) -> HttpResponse:
    """Honours `Idempotency-Key`: a signal that is sent again under its key counts once."""
    caller = require(request, "execute")
    body = parse(request, SignalBody)
    services.signal(run_id, body.name, body.payload, by=caller.name, key=starts.key_of(_lower(request), caller))
    return as_json({"accepted": True}, 202)


@router.post("/{run_id}/replay", openapi_extra=documented(ReplayBody), summary="Replay from a node")
def replay(request: HttpRequest, run_id: str) -> HttpResponse:
    """Forks a new run; what came before the node is taken from the log. Honours `Idempotency-Key`."""
    caller = require(request, "execute")
    body = parse(request, ReplayBody)
    key = starts.key_of(_lower(request), caller)
    new = services.replay(run_id, body.from_, inputs=body.inputs, version=body.version, by=caller.name, key=key)
    return as_json(queries.run(new), 201)


@router.post("/{run_id}/retry-policy", openapi_extra=documented(RetryBody), summary="Override a retry policy")
def retry_policy(request: HttpRequest, run_id: str) -> HttpResponse:
    caller = require(request, "execute")
    body = parse(request, RetryBody)
    services.set_retry_policy(run_id, body.node, body.retry, by=caller.name)
    return as_json(queries.run(run_id))
