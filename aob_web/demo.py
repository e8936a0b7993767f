"""Endpoints that examples and templates call, so that they need no internet. They hold no data and change nothing.

`/demo/items/{n}` fails at first for some numbers, as real services do; the same attempt always gets the same
answer, because it depends on the Idempotency-Key or `attempt` that the caller sends.
"""

from __future__ import annotations

import hashlib
import json
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


# Looks at no session or cookie either.
@csrf_exempt
def payment(request: HttpRequest) -> JsonResponse:
    """A bank that charges once for each Idempotency-Key, and whose first answer is lost on the way."""
    key = request.headers.get("Idempotency-Key", "")
    try:
        amount = json.loads(request.body).get("amount")
    except (ValueError, AttributeError):
        amount = None
    if request.method != "POST" or not key or type(amount) not in (int, float) or amount <= 0:
        return JsonResponse({"error": "POST an amount above 0 with an Idempotency-Key"}, status=422)
    asked = _count(f"payment:{key[:200]}")
    if asked == 1:
        return JsonResponse({"error": "charged, but the answer got lost"}, status=503)
    return JsonResponse({"charged": 1, "asked": asked, "amount": amount, "receipt": f"{zlib.crc32(key.encode()):08x}"})


def warehouse(request: HttpRequest) -> JsonResponse:
    """Closed for the first attempt of a run (`?attempt=1`), open for its replays."""
    if request.GET.get("attempt", "1") == "1":
        return JsonResponse({"error": "the warehouse is closed"}, status=503)
    return JsonResponse({"parcel": "packed"})


# Look at no session or cookie either.
@csrf_exempt
def upload(request: HttpRequest, name: str) -> JsonResponse:
    """Answers a PUT as an object store does, with the hash of what it was given, and keeps nothing of it."""
    if request.method != "PUT":
        return JsonResponse({"error": "PUT what is to be uploaded"}, status=405)
    etag = hashlib.sha256(request.body).hexdigest()
    return JsonResponse({"key": name[:200], "bytes": len(request.body), "etag": etag, "kept": False})


@csrf_exempt
def message(request: HttpRequest) -> JsonResponse:
    """Takes `{"text": …}` as a chat's webhook does, and tells nobody."""
    try:
        text = json.loads(request.body).get("text")
    except (ValueError, AttributeError):
        text = None
    if request.method != "POST" or not isinstance(text, str) or not text:
        return JsonResponse({"error": "POST a text"}, status=422)
    return JsonResponse({"text": text[:2000], "told": "nobody"})


def _count(key: str) -> int:
    if len(_seen) > 100_000:
        _seen.clear()
    _seen[key] = _seen.get(key, 0) + 1
    return _seen[key]


urlpatterns = [
    path("items", items),
    path("items/<int:number>", item),
    path("payments", payment),
    path("warehouse", warehouse),
    path("uploads/<str:name>", upload),
    path("messages", message),
]
