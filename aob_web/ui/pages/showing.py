"""How values are written on a page."""

from __future__ import annotations

import json
from typing import Any

from django.template.defaultfilters import filesizeformat
from django.urls import reverse

from runs import reading

MAX_SHOWN = 20_000
MAX_FILES = 20
IMAGES = {
    "image/png": (b"\x89PNG\r\n\x1a\n",),
    "image/jpeg": (b"\xff\xd8\xff",),
    "image/gif": (b"GIF87a", b"GIF89a"),
    "image/webp": (b"RIFF",),
}
"""Pictures that a page shows, by how their bytes begin. Never SVG or HTML: they can act (hazard S19)."""

_ENDINGS = {
    "application/json": "json", "text/plain": "txt", "text/csv": "csv",
    "application/pdf": "pdf", "application/zip": "zip",
    "image/png": "png", "image/jpeg": "jpg", "image/gif": "gif", "image/webp": "webp",
}  # fmt: skip


def pretty(value: Any) -> str:
    text = json.dumps(value, indent=2, ensure_ascii=False)
    if len(text) > MAX_SHOWN:
        return text[:MAX_SHOWN] + f"\n… {len(text) - MAX_SHOWN} more characters; see the API or `aob run show`"
    return text


def shown(run_id: str, found: reading.Reading | None) -> dict[str, Any] | None:
    """What `parts/value.html` needs to show a value: its text as far as it fits a page, and where the rest is."""
    if found is None:
        return None
    text, whole = "", found.whole
    if found.whole:
        text = json.dumps(found.value, indent=2, ensure_ascii=False)
        whole = len(text) <= MAX_SHOWN
        text = text[:MAX_SHOWN]
    elif found.blob and not found.error:
        text = reading.text_window(found.blob, 0)[0][:2_000]
    where = f"{reverse('run-value', args=[run_id])}?seq={found.seq}&key={found.key}"
    return {
        "text": text,
        "whole": whole,
        "error": found.error,
        "size": filesizeformat(found.size),
        "bytes": found.size,
        "url": where,
        # A tree is made in the browser of what can be read at once; what is larger is read in windows.
        "tree": f"{where}&format=json" if found.whole else "",
        "blobs": reverse("run-blobs", args=[run_id]),
    }


def blob(reference: dict[str, Any]) -> dict[str, Any]:
    """A blob's reference with its size in words and how it can be looked at."""
    kind = plain_type(reference["media_type"])
    look = "image" if kind in IMAGES else "text" if is_text(kind) else "bytes"
    return {**reference, "size": filesizeformat(reference["bytes"]), "look": look, "type": kind or "unknown"}


def files_in(value: Any) -> list[dict[str, Any]]:
    """The blobs that a value names, each once, MAX_FILES at most."""
    found: dict[str, dict[str, Any]] = {}
    left = [value]
    while left and len(found) < MAX_FILES:
        one = left.pop(0)
        if isinstance(one, dict) and {"blob", "bytes", "media_type"} == one.keys():
            found[one["blob"]] = blob(one)
        elif isinstance(one, (dict, list)):
            left = [*(one.values() if isinstance(one, dict) else one), *left]
    return list(found.values())


def plain_type(media_type: str) -> str:
    """`text/csv; charset=utf-8` → `text/csv`."""
    return media_type.partition(";")[0].strip().lower()


def is_text(kind: str) -> bool:
    named = ("application/json", "application/xml", "application/yaml", "application/x-ndjson", "image/svg+xml")
    return kind.startswith("text/") or kind in named or kind.endswith(("+json", "+xml"))


def is_picture(kind: str, head: bytes) -> bool:
    """True when the bytes begin as the type says."""
    fits = any(head.startswith(magic) for magic in IMAGES.get(kind, ()))
    return fits and (kind != "image/webp" or head[8:12] == b"WEBP")


def file_name(name: str, media_type: str) -> str:
    """Under which a blob is downloaded: nothing that its maker chose."""
    return f"{name.replace(':', '-')[:19]}.{_ENDINGS.get(plain_type(media_type), 'bin')}"
