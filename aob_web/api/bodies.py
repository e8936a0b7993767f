"""What clients send: strict JSON into closed models; unknown fields are refused by name (hazards S9, S29)."""

from __future__ import annotations

from typing import Any, Literal, TypeVar

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest
from django.http.request import UnreadablePostError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from workflows.core.errors import AobError, LimitExceeded
from workflows.core.strictjson import decode

M = TypeVar("M", bound="Body")


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class StartBody(Body):
    workflow: str | dict[str, Any] = Field(description="A document, `name` or `name@tag`.")
    inputs: Any = Field(default_factory=dict)
    priority: Literal["high", "medium", "low"] = "medium"
    labels: dict[str, str] = Field(default_factory=dict)


class BatchBody(Body):
    runs: list[Any]


class ReasonBody(Body):
    reason: str | None = Field(default=None, max_length=2000)


class DecideBody(Body):
    answer: Literal["approve", "reject"]
    reason: str | None = None
    form: dict[str, Any] | None = None
    seen: str | None = Field(default=None, max_length=71, description="The `context` of the ticket that you looked at.")


class DecideManyBody(Body):
    tickets: list[str] = Field(min_length=1)
    answer: Literal["approve", "reject"]
    reason: str | None = None
    seen: dict[str, str] | None = Field(
        default=None, description="By ticket, the `context` that you looked at; those of the tickets that have none pass."
    )


class DelegateBody(Body):
    to: str = Field(min_length=1, max_length=200, description="The name of a user.")
    reason: str | None = None


class CommentBody(Body):
    text: str


class CallbackBody(DecideBody):
    by: str | None = Field(default=None, max_length=200)


class EmptyBody(Body):
    pass


class SignalBody(Body):
    name: str = Field(min_length=1, max_length=200)
    payload: Any = None


class ReplayBody(Body):
    from_: str = Field(alias="from", max_length=2000)
    inputs: Any = None
    version: str | None = Field(default=None, max_length=100)


class RetryBody(Body):
    node: str = Field(max_length=2000)
    retry: dict[str, Any]


class PushBody(Body):
    document: Any
    tag: str | None = Field(default=None, max_length=64)
    note: str = Field(default="", max_length=2000)


class ValidateBody(Body):
    document: Any


class TagBody(Body):
    version: str = Field(max_length=71)


def raw(request: HttpRequest) -> bytes:
    """The body, bounded by AOB_MAX_REQUEST_BYTES."""
    try:
        return request.body
    except RequestDataTooBig:
        raise LimitExceeded(
            "request_too_large",
            f"The request has more than {settings.DATA_UPLOAD_MAX_MEMORY_SIZE} bytes.",
            hint="Send large data as a blob, or raise AOB_MAX_REQUEST_BYTES.",
        ) from None
    except UnreadablePostError:
        raise AobError("request_cut_off", "The request ended before its body was complete.") from None


def parse(request: HttpRequest, model: type[M]) -> M:
    """The body as a model. Raises AobError that names every wrong field."""
    data = raw(request)
    value = decode(data, max_bytes=settings.DATA_UPLOAD_MAX_MEMORY_SIZE) if data.strip() else {}
    return shape(value, model)


class BodyInvalid(AobError):
    """Fields that are missing, unknown or of the wrong type."""


def shape(value: Any, model: type[M]) -> M:
    if not isinstance(value, dict):
        raise BodyInvalid("body_invalid", "The body is not a JSON object.", "")
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        pointer = "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in first["loc"])
        code = {"extra_forbidden": "unknown_field", "missing": "field_missing"}.get(first["type"], "wrong_type")
        name = pointer or "the body"
        raise BodyInvalid(code, f"{name}: {first['msg']}.", pointer) from None


def documented(model: type[Body], *, required: bool = True) -> dict[str, Any]:
    """The request body for OpenAPI."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": schema}}}}
