"""Steps of the tour: begun, reached, ended early, finished."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import redirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from aob_web.learning import tour


@require_POST
@login_required
def step(request: HttpRequest) -> HttpResponse:
    """What a button of the tour, or its card by itself, says."""
    action = request.POST.get("action", "")
    if action == "start":
        tour.start(request.user)
        return redirect("template", slug=tour.TEMPLATE)
    if action == "skip":
        tour.skip(request.user)
        return _back(request)
    if action == "close":
        return _back(request)
    if action == "finish":
        tour.finish(request.user)
        return HttpResponse(status=204)
    if action == "reach":
        number = request.POST.get("step", "")
        if number.isascii() and number.isdigit() and len(number) < 3:
            tour.reach(request.user, int(number), request.POST.get("place", ""))
            return HttpResponse(status=204)
    return HttpResponseBadRequest("Unknown step.")


def _back(request: HttpRequest) -> HttpResponse:
    back = request.POST.get("back", "")
    is_ours = back.startswith("/") and url_has_allowed_host_and_scheme(back, allowed_hosts=None)
    return redirect(back if is_ours else "home")
