"""A template is run at once, with the inputs that come along with it."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings

from runs import blobs
from runs.accepting import Started, StartRequest, start
from workflows.gallery import Template, template

LABEL = "aob.template"
CHUNK = 256 * 1024


def start_template(slug: str, *, address: str, by: str) -> Started:
    """Starts a run of the template's own document; nothing is published. Raises TemplateError."""
    found = template(slug)
    return start(StartRequest(found.document(address), sample_inputs(found), labels={LABEL: slug}, by=by))


def sample_inputs(found: Template) -> dict[str, Any]:
    """Its inputs, where `{"$file": name}` has become a blob."""
    return {name: _value(found, value) for name, value in found.inputs.items()}


def _value(found: Template, value: Any) -> Any:
    if not (isinstance(value, dict) and value.keys() == {"$file"}):
        return value
    file = found.file(value["$file"])
    media_type = mimetypes.guess_type(file.name)[0] or "text/plain"
    return blobs.put(_chunks(file), media_type=media_type, max_bytes=settings.AOB_MAX_BLOB_BYTES)


def _chunks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        while chunk := opened.read(CHUNK):
            yield chunk
