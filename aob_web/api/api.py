"""The API object: authentication, errors and routers in one place."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError
from ninja.errors import ValidationError as NinjaValidationError

from aob_web.accounts.access import AccessError
from aob_web.api import (
    agents,
    approvals,
    blobs,
    deadletters,
    editing,
    node_types,
    patches,
    problems,
    runs,
    templates,
    workflow_patches,
    workflows,
)
from workflows.core.errors import AobError

api = NinjaAPI(
    title="AOB",
    version="1",
    description="Durable workflows whose graph may change while it runs.",
    docs_url=None,
    openapi_url="/openapi.json",
    urls_namespace="api-v1",
)

for prefix, router, tag in (
    ("", editing.router, "editing"),
    ("/runs", runs.router, "runs"),
    ("/runs", patches.of_runs, "patches"),
    ("/patches", patches.router, "patches"),
    ("/agents", agents.switch, "agents"),
    ("/agent-tasks", agents.router, "agents"),
    ("/workflows", workflows.router, "workflows"),
    ("/workflows", workflow_patches.router, "patches"),
    ("/approvals", approvals.router, "approvals"),
    ("/dead-letters", deadletters.router, "dead letters"),
    ("/blobs", blobs.router, "blobs"),
    ("/node-types", node_types.router, "node types"),
    ("/templates", templates.router, "templates"),
):
    api.add_router(prefix, router, tags=[tag])


@api.exception_handler(AuthenticationError)
def unauthenticated(request: HttpRequest, error: Any) -> HttpResponse:
    return problems.response(AccessError("unauthenticated", "Sign in, or send an API token."))


@api.exception_handler(NinjaValidationError)
def invalid(request: HttpRequest, error: NinjaValidationError) -> HttpResponse:
    first = error.errors[0]
    place = "/".join(str(part) for part in first["loc"])
    return problems.response(AobError("parameter_invalid", f"{place}: {first['msg']}.", f"/{first['loc'][-1]}"))


@api.exception_handler(HttpError)
def http_error(request: HttpRequest, error: HttpError) -> HttpResponse:
    return problems.plain(error.status_code, "bad_request", str(error))


@api.exception_handler(Http404)
def not_found(request: HttpRequest, error: Http404) -> HttpResponse:
    return problems.plain(404, "not_found", "There is nothing here.")


@api.exception_handler(Exception)
def failed(request: HttpRequest, error: Exception) -> HttpResponse:
    return problems.failed(request, error)
