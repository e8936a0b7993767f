"""`/blobs`: bytes named by their hash."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

from django.conf import settings
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from ninja import Router

from aob_web.accounts.access import require
from aob_web.api.answers import as_json
from runs import blobs
from workflows.core.errors import LimitExceeded

router = Router()
CHUNK = 256 * 1024

_upload = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


def _chunks(request: HttpRequest) -> Iterator[bytes]:
    while chunk := request.read(CHUNK):
        yield chunk


@router.post("", openapi_extra=_upload, summary="Store a blob")
def put(request: HttpRequest) -> HttpResponse:
    """Stores the body of the request, of any type, and gives its reference."""
    require(request, "execute")
    length = request.headers.get("Content-Length", "0")
    if length.isdigit() and int(length) > settings.AOB_MAX_BLOB_BYTES:
        raise LimitExceeded(
            "blob_too_large",
            f"The blob has {length} bytes; the limit is {settings.AOB_MAX_BLOB_BYTES}.",
            hint="Raise AOB_MAX_BLOB_BYTES.",
        )
    media_type = request.headers.get("Content-Type") or "application/octet-stream"
    reference = blobs.put(_chunks(request), media_type=media_type, max_bytes=settings.AOB_MAX_BLOB_BYTES)
    return as_json(reference, 201)


@router.get("/{name}", summary="The bytes of a blob")
def get(request: HttpRequest, name: str) -> StreamingHttpResponse:
    """Always sent as a download: nothing in a blob may act in the browser (hazard S19)."""
    require(request, "read")
    found = blobs.describe(name)
    answer = StreamingHttpResponse(blobs.read(name), content_type="application/octet-stream")
    answer["Content-Length"] = str(found["bytes"])
    answer["Content-Disposition"] = f"attachment; filename={quote(name.replace(':', '-'))}"
    answer["X-Blob-Media-Type"] = found["media_type"].encode("ascii", "replace").decode()
    answer["ETag"] = f'"{name}"'
    return answer
