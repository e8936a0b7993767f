"""Values and blobs of a run: whole, window by window, as a picture, or as a download (hazard S19)."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.template.defaultfilters import filesizeformat
from django.views.decorators.http import require_GET

from aob_web.ui.pages import showing
from aob_web.ui.pages.run import run_or_404
from runs import blobs, reading

KEYS = (*reading.INPUT_KEYS, *reading.OUTPUT_KEYS)
HEAD = 512
MAX_PICTURE = 20 * 1024 * 1024
ALONE = "default-src 'none'; sandbox"
"""What a blob may do in the browser that is opened by its address: nothing."""

Answer = TypeVar("Answer", HttpResponse, StreamingHttpResponse)


@require_GET
@login_required
def value(request: HttpRequest, run_id: str) -> HttpResponse:
    """A value of an event: as a page, as JSON for the page's own tree, or as a download."""
    view = run_or_404(run_id)
    seq, key = _number(request.GET.get("seq", "")), request.GET.get("key", "")
    found = reading.reading(run_id, seq, (key,)) if key in KEYS else None
    if found is None:
        raise Http404
    if not found.whole and found.blob:
        return redirect("run-blob", run_id=run_id, name=found.blob)
    wanted = request.GET.get("format", "")
    text = json.dumps(found.value, ensure_ascii=False, indent=None if wanted == "json" else 2)
    if wanted in ("json", "download"):
        answer = _alone(HttpResponse(text, content_type="application/json"))
        answer["Content-Disposition"] = f'attachment; filename="{view["id"][:8]}-{found.seq}-{key}.json"'
        return answer
    context = {"run": view, "found": found, "text": text, "size": filesizeformat(found.size)}
    return render(request, "ui/run-value.html", context)


@require_GET
@login_required
def blob(request: HttpRequest, run_id: str, name: str) -> HttpResponse:
    """A blob: text in windows, a picture, or how it begins."""
    view = run_or_404(run_id)
    found = showing.blob(_mine(run_id, name))
    start = min(_number(request.GET.get("from", "")) or 0, found["bytes"])
    context: dict[str, Any] = {"run": view, "blob": found, "start": start}
    try:
        if found["look"] == "text":
            context["text"], after = reading.text_window(name, start)
            context["after"] = after if start < after < found["bytes"] else None
            context["before"] = max(start - reading.WINDOW_BYTES, 0) if start else None
            context["last"] = max(found["bytes"] - reading.WINDOW_BYTES, 0)
            context["end"] = after
        else:
            head = blobs.window(name, 0, HEAD)
            context["picture"] = showing.is_picture(found["type"], head) and found["bytes"] <= MAX_PICTURE
            context["dump"] = _dump(head)
    except (blobs.BlobError, blobs.StorageUnavailable) as error:
        context["fault"] = str(error)
    return render(request, "ui/run-blob.html", context)


@require_GET
@login_required
def picture(request: HttpRequest, run_id: str, name: str) -> HttpResponse | StreamingHttpResponse:
    """A blob as a picture: of a type that cannot act, whose bytes begin as that type does."""
    found = _mine(run_id, name)
    kind = showing.plain_type(found["media_type"])
    try:
        if found["bytes"] > MAX_PICTURE or not showing.is_picture(kind, blobs.window(name, 0, HEAD)):
            raise Http404
        return _alone(StreamingHttpResponse(blobs.read(name), content_type=kind))
    except (blobs.BlobError, blobs.StorageUnavailable):
        raise Http404 from None


@require_GET
@login_required
def download(request: HttpRequest, run_id: str, name: str) -> HttpResponse | StreamingHttpResponse:
    """A blob's bytes, checked against its name, always as a download."""
    found = _mine(run_id, name)
    try:
        answer = _alone(StreamingHttpResponse(blobs.read(name), content_type="application/octet-stream"))
    except (blobs.BlobError, blobs.StorageUnavailable):
        raise Http404 from None
    answer["Content-Length"] = str(found["bytes"])
    answer["Content-Disposition"] = f'attachment; filename="{showing.file_name(name, found["media_type"])}"'
    return answer


def _mine(run_id: str, name: str) -> dict[str, Any]:
    found = reading.blob_of(run_id, name)
    if found is None:
        raise Http404
    return found


def _alone(answer: Answer) -> Answer:
    answer["X-Content-Type-Options"] = "nosniff"
    answer["Content-Security-Policy"] = ALONE
    answer["Cache-Control"] = "private, max-age=3600"
    return answer


def _dump(data: bytes) -> str:
    """`00000000  89 50 4e 47 …  .PNG`."""
    rows = []
    for place in range(0, len(data), 16):
        part = data[place : place + 16]
        letters = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        rows.append(f"{place:08x}  {part.hex(' '):<47}  {letters}")
    return "\n".join(rows)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None
