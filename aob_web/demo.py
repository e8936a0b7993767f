"""Endpoints that the examples call, so that they need no internet. They hold no data and change nothing.

`/demo/items/{n}` fails at first for some numbers, as real services do; the same attempt always gets the same
answer, because it depends on the Idempotency-Key or `attempt` that the caller sends.
"""

from __future__ import annotations

import zlib

from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

MAX_ITEMS = 10_000
_seen: dict[str, int] = {}


def items(request: HttpRequest) -> JsonResponse:
    """The ids of all items: `?count=n`."""
    text = request.GET.get("count", "20")
    count = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 20
    return JsonResponse({"items": [{"id": number} for number in range(1, min(count, MAX_ITEMS) + 1)]})


# No session or cookie is looked at here, so there is nothing that a forged request could misuse.
@csrf_exempt
def item(request: HttpRequest, number: int) -> JsonResponse:
    """One item; every seventh is unavailable for the first call under a `key`."""
    run = request.headers.get("Idempotency-Key", request.GET.get("key", ""))
    if number % 7 == 0 and _count(f"{run}:{number}") == 1:
        answer = JsonResponse({"error": "busy, try again"}, status=503)
        answer["Retry-After"] = "0"
        return answer
    price = 5 + zlib.crc32(str(number).encode()) % 9_500 / 100
    return JsonResponse({"id": number, "price": price, "stock": number % 11, "group": "ABC"[number % 3]})


def _count(key: str) -> int:
    if len(_seen) > 100_000:
        _seen.clear()
    _seen[key] = _seen.get(key, 0) + 1
    return _seen[key]


urlpatterns = [path("items", items), path("items/<int:number>", item)]
