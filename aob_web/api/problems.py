"""Refusals as RFC 9457 problem details."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Any

import psycopg
import psycopg_pool
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse

from aob_web.accounts.access import AccessError
from approvals.errors import FormInvalid
from runs.admission import Overloaded
from runs.blobs import StorageUnavailable
from runs.core.patching import LAYER, PatchRefused
from runs.errors import Unavailable
from runs.irs import NotUnderstood
from runs.starting import InputsInvalid
from workflows.core.errors import AobError
from workflows.core.patches import PatchConflict
from workflows.core.problems import DocumentInvalid
from workflows.core.strictjson import JsonError

_log = logging.getLogger(__name__)

_CONFLICTS = frozenset(
    {
        "run_ended", "run_not_paused", "idempotency_key_reused", "dead_letter_closed", "replay_version_conflict",
        "seq_ahead", "draft_stale", "name_taken", "patch_conflict", "patch_decided", "patch_not_applied",
        "nothing_to_squash", "experiment_live", "experiment_overtaken",
        "ticket_decided", "ticket_answered", "ticket_not_claimed", "ticket_not_bulk", "delegate_refused",
        "context_changed",
    }
)  # fmt: skip
_TOO_LARGE = frozenset({"json_too_large", "blob_too_large", "request_too_large", "inputs_too_large"})
_NOT_FOUND = frozenset(
    {
        "run_unknown", "workflow_unknown", "tag_unknown", "version_unknown", "blob_unknown", "dead_letter_unknown",
        "template_unknown", "node_type_unknown", "patch_unknown", "experiment_unknown", "ticket_unknown",
        "link_unknown",
    }
)  # fmt: skip
_FORBIDDEN = frozenset({"ticket_forbidden", "patch_own"})
_GONE = frozenset({"link_void", "link_used"})
_LOST = frozenset({"blob_missing", "blob_damaged"})
RETRY_SECONDS = 2
"""After so long a refused client may try again."""

_TITLES = {
    400: "Bad request", 401: "Not signed in", 403: "Not allowed", 404: "Not found", 405: "Method not allowed",
    409: "Conflict", 410: "Gone", 413: "Too large", 414: "Address too long", 422: "Refused", 429: "Too many requests",
    431: "Headers too large", 500: "Internal error", 503: "Not available",
}  # fmt: skip


_REFUSED = {
    400: ("bad_request", "The request cannot be understood; is its host one of AOB_ALLOWED_HOSTS?"),
    403: ("forbidden", "This is not allowed."),
    404: ("not_found", "There is nothing here."),
    405: ("method_not_allowed", "This address does not take that method; `Allow` says which."),
    500: ("internal", "Something went wrong here; the log of the web process says what."),
}


def status_of(error: AobError) -> int:
    """The HTTP status that fits an error."""
    if isinstance(error, AccessError):
        return 401 if error.code == "unauthenticated" else 403
    if error.code == "callback_refused":
        return 401
    if error.code in _FORBIDDEN:
        return 403
    if error.code in _NOT_FOUND:
        return 404
    if error.code in _GONE:
        return 410
    if error.code in _CONFLICTS:
        return 409
    if error.code in _TOO_LARGE:
        return 413
    if isinstance(error, JsonError) or error.code == "seq_invalid":
        return 400
    if isinstance(error, Overloaded):
        return 429
    if isinstance(error, Unavailable):
        return 503
    if error.code in _LOST:
        return 500
    return 422


def problem(error: AobError) -> dict[str, Any]:
    """The problem details of an error."""
    status = status_of(error)
    details: dict[str, Any] = {
        "type": f"urn:aob:problem:{error.code}",
        "title": _TITLES[status],
        "status": status,
        "detail": error.message,
        "code": error.code,
    }
    if error.hint:
        details["hint"] = error.hint
    if isinstance(error, (Overloaded, Unavailable)):
        details["retry_after"] = RETRY_SECONDS
    errors = _errors(error)
    if errors:
        details["errors"] = errors
    return details


def _errors(error: AobError) -> Sequence[dict[str, Any]]:
    if isinstance(error, DocumentInvalid):
        return [one.as_dict() for one in error.problems]
    if isinstance(error, (InputsInvalid, FormInvalid)):
        return [one.as_dict() for one in error.problems]
    if isinstance(error, PatchRefused):
        return error.errors()
    if isinstance(error, PatchConflict):
        return [{**error.as_dict(), "pointer": place, "layer": LAYER} for place in error.places]
    return [error.as_dict()] if error.pointer is not None else []


def response(error: AobError) -> HttpResponse:
    return _written(problem(error))


def unavailable_details(reason: str) -> dict[str, Any]:
    """503: nothing was accepted; the caller may try again (hazard I20)."""
    return {
        "type": "urn:aob:problem:unavailable", "title": _TITLES[503], "status": 503, "detail": reason,
        "code": "unavailable", "hint": "Try again shortly; nothing was accepted.", "retry_after": RETRY_SECONDS,
    }  # fmt: skip


def plain(status: int, code: str, message: str) -> HttpResponse:
    """A problem that has no AobError behind it."""
    return _written(plain_details(status, code, message))


def instead_of_page(response: HttpResponse) -> HttpResponse:
    """What Django or Ninja refuse by themselves, with a page or a word, as a problem; other answers as they are."""
    if response.status_code < 400 or not response.headers.get("Content-Type", "").startswith("text/"):
        return response
    code, message = _REFUSED.get(response.status_code, ("refused", "The request was refused."))
    refused = plain(response.status_code, code, message)
    if "Allow" in response.headers:
        refused["Allow"] = response["Allow"]
    return refused


def plain_details(status: int, code: str, message: str) -> dict[str, Any]:
    """Those of a problem that has no AobError behind it."""
    return {
        "type": f"urn:aob:problem:{code}", "title": _TITLES.get(status, "Error"), "status": status,
        "detail": message, "code": code,
    }  # fmt: skip


def internal_details() -> dict[str, Any]:
    return plain_details(500, "internal", "Something went wrong here; the log of the web process says what.")


def _written(details: dict[str, Any]) -> HttpResponse:
    answer = HttpResponse(
        json.dumps(details, ensure_ascii=False).encode("utf-8", "replace"),
        status=details["status"],
        content_type="application/problem+json",
    )
    if details["status"] == 401:
        answer["WWW-Authenticate"] = "Bearer"
    if "retry_after" in details:
        answer["Retry-After"] = str(details["retry_after"])
    return answer


DATABASE_AWAY = (psycopg.OperationalError, psycopg_pool.PoolTimeout, OperationalError, InterfaceError)


def details_of(error: Exception, what: str) -> dict[str, Any]:
    """The problem details of whatever a service raised; what nobody expected is logged with `what`."""
    if isinstance(error, AobError):
        return problem(error)
    if isinstance(error, DATABASE_AWAY):
        return unavailable_details("The database does not answer.")
    if isinstance(error, NotUnderstood):
        return problem(Unavailable(error.code, f"{error}."))
    if isinstance(error, StorageUnavailable):
        return problem(Unavailable(StorageUnavailable.code, "The blob storage does not answer."))
    _log.error("%s failed", what, exc_info=error)
    return internal_details()


def failed(request: HttpRequest, error: Exception) -> HttpResponse:
    return _written(details_of(error, f"{request.method} {request.path}"))
