"""`/healthz`: up or down, nothing more (hazard S4)."""

from __future__ import annotations

import psycopg
import psycopg_pool
from django.http import HttpRequest, JsonResponse

from runs import db


def healthz(request: HttpRequest) -> JsonResponse:
    """200 when the database answers, 503 otherwise."""
    try:
        with db.transaction() as cursor:
            cursor.execute("SELECT 1")
    except (psycopg.Error, psycopg_pool.PoolTimeout):
        return JsonResponse({"status": "down"}, status=503)
    return JsonResponse({"status": "up"})
