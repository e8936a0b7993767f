"""HTTP routes. What needs no credentials is listed in `PUBLIC` and tested against the whole map (S4)."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from aob_web import demo, health
from aob_web.api.api import api

PUBLIC = (
    "healthz",
    "sign-in/",
    "demo/",
    "static/",
    "approvals/link/",
    "api/v1/approvals/callback/",
    "api/v1/openapi.json",
)
"""Prefixes of routes that answer without credentials."""

urlpatterns = [
    path("healthz", health.healthz),
    path("api/v1/", api.urls),
    path("demo/", include(demo.urlpatterns)),
    path("admin/", admin.site.urls),
    path("", include("aob_web.ui.urls")),
]
handler404 = "aob_web.ui.pages.errors.not_found"
handler403 = "aob_web.ui.pages.errors.forbidden"
handler500 = "aob_web.ui.pages.errors.failed"
