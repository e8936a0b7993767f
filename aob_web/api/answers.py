"""How answers are written."""

from __future__ import annotations

from typing import Any

import msgspec
from django.http import HttpResponse


def as_json(value: Any, status: int = 200) -> HttpResponse:
    """A JSON answer."""
    return HttpResponse(msgspec.json.encode(value), status=status, content_type="application/json")
