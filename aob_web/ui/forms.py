"""Input forms generated from a workflow's JSON Schema, and what people send back, as JSON."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest

from runs import blobs
from workflows.core.errors import AobError
from workflows.core.strictjson import decode


class FormError(AobError):
    """A field that cannot be read."""


def fields(schema: Any) -> list[dict[str, Any]]:
    """The fields of a form: name, kind (text, number, checkbox, select, file or json), label, help, value."""
    if not isinstance(schema, dict) or not isinstance(schema.get("properties"), dict):
        return []
    required = schema.get("required", [])
    return [_field(name, part, name in required) for name, part in schema["properties"].items()]


def _field(name: str, part: Any, required: bool) -> dict[str, Any]:
    part = part if isinstance(part, dict) else {}
    default = part.get("default")
    kind = _kind(part)
    value = default if kind != "json" or default is None else json.dumps(default, indent=2, ensure_ascii=False)
    return {
        "name": name,
        "kind": kind,
        "label": part.get("title", name),
        "help": part.get("description", ""),
        "required": required and kind != "checkbox",
        "options": part.get("enum", []),
        "step": "1" if part.get("type") == "integer" else "any",
        "value": "" if value is None else value,
    }


def _kind(part: dict[str, Any]) -> str:
    if "enum" in part and all(isinstance(option, str) for option in part["enum"]):
        return "select"
    if part.get("format") == "blob":
        return "file"
    kinds = {"string": "text", "integer": "number", "number": "number", "boolean": "checkbox"}
    wanted = part.get("type")
    return kinds.get(wanted, "json") if isinstance(wanted, str) else "json"


def refill(shown: list[dict[str, Any]], request: HttpRequest, *, prefix: str = "") -> None:
    """Puts what was sent back into the fields, so that a refusal costs nobody what they wrote (files apart)."""
    for field in shown:
        name = prefix + field["name"]
        # A checkbox that is not ticked is not sent at all.
        field["value"] = name in request.POST if field["kind"] == "checkbox" else request.POST.get(name, field["value"])


def read(request: HttpRequest, schema: Any, *, into: str = "inputs", prefix: str = "") -> dict[str, Any]:
    """The values that a form stands for, to become `into`; its fields are named `prefix` and the property's name.

    Raises FormError that names the field; files become blobs.
    """
    inputs: dict[str, Any] = {}
    for field in fields(schema):
        name, kind = field["name"], field["kind"]
        if kind == "file":
            upload = request.FILES.get(prefix + name)
            if isinstance(upload, UploadedFile):
                inputs[name] = blobs.put(
                    upload.chunks(),
                    media_type=upload.content_type or "application/octet-stream",
                    max_bytes=settings.AOB_MAX_BLOB_BYTES,
                )
            continue
        text = request.POST.get(prefix + name, "")
        if kind == "checkbox":
            inputs[name] = text == "on"
        elif text != "" or (kind == "text" and field["required"]):
            inputs[name] = _value(field, text, into)
    return inputs


def _value(field: dict[str, Any], text: str, into: str) -> Any:
    if field["kind"] in ("text", "select"):
        return text
    try:
        return decode(text)
    except AobError as error:
        raise FormError(error.code, f"{field['label']}: {error.message}", f"/{into}/{field['name']}") from None
