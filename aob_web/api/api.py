"""The API object: authentication, errors and routers in one place."""

from __future__ import annotations

from typing import Any

import psycopg
import psycopg_pool
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError
from ninja.errors import ValidationError as NinjaValidationError

from aob_web.accounts.access import AccessError
from aob_web.api import blobs, deadletters, editing, node_types, problems, runs, workflows
from runs.blobs import StorageUnavailable
from runs.errors import Unavailable
from runs.irs import NotUnderstood
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
    ("/workflows", workflows.router, "workflows"),
    ("/dead-letters", deadletters.router, "dead letters"),
    ("/blobs", blobs.router, "blobs"),
    ("/node-types", node_types.router, "node types"),
):
    api.add_router(prefix, router, tags=[tag])


@api.exception_handler(AobError)
def refused(request: HttpRequest, error: AobError) -> HttpResponse:
    return problems.response(error)


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


@api.exception_handler(psycopg.OperationalError)
@api.exception_handler(psycopg_pool.PoolTimeout)
@api.exception_handler(OperationalError)
@api.exception_handler(InterfaceError)
def database_away(request: HttpRequest, error: Exception) -> HttpResponse:
    return problems.unavailable("The database does not answer.")


@api.exception_handler(NotUnderstood)
def _not_understood(request: HttpRequest, error: NotUnderstood) -> HttpResponse:
    return problems.response(Unavailable(error.code, f"{error}."))


@api.exception_handler(StorageUnavailable)
def storage_away(request: HttpRequest, error: Exception) -> HttpResponse:
    return problems.response(Unavailable(StorageUnavailable.code, "The blob storage does not answer."))


@api.exception_handler(Exception)
def internal(request: HttpRequest, error: Exception) -> HttpResponse:
    return problems.internal(request, error)
