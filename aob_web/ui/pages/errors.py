"""The pages of errors: what happened, and where to go on."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string

FORBIDDEN = (
    "The form that you sent was not accepted, or you may not do this. If you have signed in again in another window, "
    "reload the page and try once more."
)


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    from aob_web.api.problems import plain

    if request.path.startswith("/api/"):
        return plain(404, "not_found", "There is nothing here.")
    text = "There is nothing at this address. It may have been deleted, or the address is not whole."
    return render(request, "ui/error.html", {"title": "Not found", "text": text, "code": 404}, status=404)


def forbidden(request: HttpRequest, exception: Exception | None = None, reason: str = "") -> HttpResponse:
    """Also for forms without their CSRF token."""
    context = {"title": "Not allowed", "text": FORBIDDEN, "code": 403}
    return render(request, "ui/error.html", context, status=403)


def failed(request: HttpRequest) -> HttpResponse:
    """Needs neither session nor database: one of them may be what failed."""
    text = (
        "Something went wrong here, and it is not your fault. The log of the web process says what: `aob doctor` helps."
    )
    context = {"title": "An error", "text": text, "code": 500}
    return HttpResponse(render_to_string("ui/error.html", context), status=500)
