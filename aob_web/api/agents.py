"""`/agent-tasks`: how a runner, here or anywhere, works for agents. A lease's token goes with every call."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Literal

from channels.db import database_sync_to_async
from django.http import HttpRequest, HttpResponse
from ninja import Router
from pydantic import Field

from aob_web.accounts.access import require
from aob_web.accounts.models import RUNNER_SCOPE
from aob_web.api.answers import as_json
from aob_web.api.bodies import Body, EmptyBody, ReasonBody, documented, parse
from runs import agents
from runs.agents import Lease

router = Router()
switch = Router()
LOOK_SECONDS = 0.25
MAX_WAIT = 30.0


class ClaimBody(Body):
    runner: str = Field(min_length=1, max_length=100, description="The runner's name; two runners have two.")
    slots: int = Field(ge=1, le=agents.MAX_CLAIMED)
    wait: float = Field(default=0.0, ge=0, le=MAX_WAIT, description="Seconds to wait for a task.")


class LeaseBody(Body):
    task: int
    token: int
    run: str = Field(max_length=36)
    node: str = Field(max_length=2000)
    attempt: int

    def lease(self) -> Lease:
        return Lease(**self.model_dump())


class LeasesBody(Body):
    leases: list[LeaseBody] = Field(max_length=agents.MAX_CLAIMED)


class OnlyLease(Body):
    lease: LeaseBody


class WhatBody(Body):
    number: int = Field(ge=1)
    kind: Literal["model", "tool"]
    what: dict[str, Any]
    outcome: dict[str, Any] | None = None


class StepBody(OnlyLease):
    step: WhatBody


class FinishBody(OnlyLease):
    output: Any = None
    error: dict[str, Any] | None = None
    jitter: float = Field(default=1.0, ge=0, le=1)


class PatchBody(OnlyLease):
    key: str = Field(min_length=1, max_length=200)
    operations: Any
    reason: str = ""


class WorkflowBody(OnlyLease):
    key: str = Field(min_length=1, max_length=200)
    workflow: str = Field(max_length=200)
    inputs: Any = None
    consent: str | None = Field(default=None, max_length=200, description="The key under which people allowed it.")


class QuestionBody(OnlyLease):
    key: str = Field(min_length=1, max_length=200)
    question: str = Field(min_length=1, max_length=10_000)
    form: dict[str, Any] | None = None


class ConsentBody(OnlyLease):
    key: str = Field(min_length=1, max_length=200)
    tool: str = Field(min_length=1, max_length=600, description="As `consent` of the node names it.")
    arguments: dict[str, Any]


class OutputBody(OnlyLease):
    started: str = Field(max_length=36)


class BlobBody(OnlyLease):
    hash: str = Field(pattern="^sha256:[0-9a-f]{64}$")


class TextBody(OnlyLease):
    number: int
    text: str = Field(max_length=64 * 1024)


@router.post("/claim", openapi_extra=documented(ClaimBody), summary="Lease agent tasks")
async def claim(request: HttpRequest) -> HttpResponse:
    """Waits for tasks at most `wait` seconds. Each comes with its config, its grant, what is left of its budget, and the
    steps of earlier attempts."""
    await database_sync_to_async(require)(request, RUNNER_SCOPE)
    body = await database_sync_to_async(parse)(request, ClaimBody)
    until = time.monotonic() + body.wait
    while True:
        tasks = await database_sync_to_async(agents.claim)(body.runner, body.slots)
        if tasks or time.monotonic() >= until:
            return as_json({"tasks": tasks})
        await asyncio.sleep(LOOK_SECONDS)


@router.post("/renew", openapi_extra=documented(LeasesBody), summary="Keep leases")
def renew(request: HttpRequest) -> HttpResponse:
    """The tasks whose leases still hold; others have gone on without this runner, which stops working on them."""
    require(request, RUNNER_SCOPE)
    body = parse(request, LeasesBody)
    return as_json({"held": agents.renew([one.lease() for one in body.leases])})


@router.post("/begin", openapi_extra=documented(StepBody), summary="Begin a step")
def begin(request: HttpRequest) -> HttpResponse:
    """Reserves what the step may use. What the step does may be done when this has been answered."""
    require(request, RUNNER_SCOPE)
    body = parse(request, StepBody)
    agents.begin(body.lease.lease(), body.step.model_dump())
    return as_json({"recorded": True}, 201)


@router.post("/end", openapi_extra=documented(StepBody), summary="End a step")
def end(request: HttpRequest) -> HttpResponse:
    require(request, RUNNER_SCOPE)
    body = parse(request, StepBody)
    agents.end(body.lease.lease(), {**body.step.model_dump(), "outcome": body.step.outcome or {}})
    return as_json({"recorded": True}, 201)


@router.post("/finish", openapi_extra=documented(FinishBody), summary="Finish a task")
def finish(request: HttpRequest) -> HttpResponse:
    require(request, RUNNER_SCOPE)
    body = parse(request, FinishBody)
    recorded = agents.finish(body.lease.lease(), output=body.output, error=body.error, jitter=body.jitter)
    return as_json({"recorded": recorded})


@router.post("/document", openapi_extra=documented(OnlyLease), summary="The graph of an agent's run")
def document(request: HttpRequest) -> HttpResponse:
    require(request, RUNNER_SCOPE)
    return as_json(agents.document(parse(request, OnlyLease).lease.lease()))


@router.post("/patch", openapi_extra=documented(PatchBody), summary="Patch in an agent's name")
def patch(request: HttpRequest) -> HttpResponse:
    """Under the agent's grant and mode, as the workflow's owner wrote them down."""
    require(request, RUNNER_SCOPE)
    body = parse(request, PatchBody)
    return as_json(agents.patch(body.lease.lease(), body.key, body.operations, body.reason), 201)


@router.post("/workflow", openapi_extra=documented(WorkflowBody), summary="Start a workflow that is an agent's tool")
def workflow(request: HttpRequest) -> HttpResponse:
    require(request, RUNNER_SCOPE)
    body = parse(request, WorkflowBody)
    run = agents.start_workflow(body.lease.lease(), body.key, body.workflow, body.inputs, body.consent)
    return as_json({"run": run}, 201)


@router.post("/question", openapi_extra=documented(QuestionBody), summary="Ask people in an agent's name")
def question(request: HttpRequest) -> HttpResponse:
    """A run that waits for the answer: it has a ticket like any approval, and its output is the answer."""
    require(request, RUNNER_SCOPE)
    body = parse(request, QuestionBody)
    return as_json({"run": agents.ask(body.lease.lease(), body.key, body.question, body.form)}, 201)


@router.post("/consent", openapi_extra=documented(ConsentBody), summary="Ask whether an agent may make a call")
def consent(request: HttpRequest) -> HttpResponse:
    """A run that waits until people have allowed or refused the call: its output says which, and why."""
    require(request, RUNNER_SCOPE)
    body = parse(request, ConsentBody)
    return as_json({"run": agents.ask_consent(body.lease.lease(), body.key, body.tool, body.arguments)}, 201)


@router.post("/workflow-output", openapi_extra=documented(OutputBody), summary="How that workflow's run stands")
def workflow_output(request: HttpRequest) -> HttpResponse:
    require(request, RUNNER_SCOPE)
    body = parse(request, OutputBody)
    return as_json(agents.started_by(body.lease.lease(), body.started))


@router.post("/blob", openapi_extra=documented(BlobBody), summary="A blob of an agent's run")
def blob(request: HttpRequest) -> HttpResponse:
    require(request, RUNNER_SCOPE)
    body = parse(request, BlobBody)
    return HttpResponse(agents.blob(body.lease.lease(), body.hash), content_type="application/octet-stream")


@router.post("/text", openapi_extra=documented(TextBody), summary="Live text of an agent")
def text(request: HttpRequest) -> HttpResponse:
    """Shown to who watches the run now, and kept nowhere: the whole answer comes with the end of the step."""
    require(request, RUNNER_SCOPE)
    body = parse(request, TextBody)
    agents.text(body.lease.lease(), body.number, body.text)
    return as_json({"passed": True})


@switch.get("", summary="Whether agents may work")
def status(request: HttpRequest) -> HttpResponse:
    require(request, "read")
    return as_json({"stopped": agents.stopped()})


@switch.post("/stop", openapi_extra=documented(ReasonBody, required=False), summary="Stop all agents")
def stop(request: HttpRequest) -> HttpResponse:
    """No agent begins another step until they are started again; their runs wait, and nothing is lost."""
    caller = require(request, "admin")
    agents.stop_all(by=caller.name, reason=parse(request, ReasonBody).reason or "")
    return as_json({"stopped": agents.stopped()})


@switch.post("/start", openapi_extra=documented(EmptyBody, required=False), summary="Let agents go on")
def start(request: HttpRequest) -> HttpResponse:
    require(request, "admin")
    parse(request, EmptyBody)
    agents.start_all()
    return as_json({"stopped": None})
