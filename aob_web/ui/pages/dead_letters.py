"""Failed nodes that were set aside: why, with which input, and what is done about them."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_GET, require_POST

from aob_web.ui.pages.runs import NAMES_SHOWN
from aob_web.ui.pages.showing import pretty
from runs import deadletters
from workflows.core.errors import AobError
from workflows.models import Workflow
from workflows.nodes.registry import node_types

PER_PAGE = 25
MOST_AT_ONCE = 100


@require_GET
@login_required
def dead_letters(request: HttpRequest) -> HttpResponse:
    status = request.GET.get("status", "open")
    status = status if status in deadletters.STATUSES else "open"
    wanted = {name: request.GET.get(name, "").strip() for name in ("workflow", "type", "code")}
    try:
        page = deadletters.dead_letters(
            status=status,
            workflow=wanted["workflow"] or None,
            node_type=wanted["type"] or None,
            code=wanted["code"] or None,
            limit=PER_PAGE,
            cursor=request.GET.get("cursor") or None,
        )
    except AobError as error:
        messages.error(request, error.message)
        return redirect("dead-letters")
    context = {
        **wanted,
        "page": page,
        "letters": page["items"],
        "status": status,
        "statuses": deadletters.STATUSES,
        "types": [name for name, one in sorted(node_types().items()) if one.kind == "effect"],
        "names": Workflow.objects.values_list("name", flat=True)[:NAMES_SHOWN],
        "codes": sorted({str(one["error"].get("code", "")) for one in page["items"]} - {""}),
        "is_filtered": any(wanted.values()),
        "cursor": request.GET.get("cursor", ""),
        "looked_at": deadletters.MOST_LOOKED_AT,
        "here": request.get_full_path(),
    }
    return render(request, "ui/dead-letters.html", context)


@require_GET
@login_required
def dead_letter_input(request: HttpRequest, number: int) -> HttpResponse:
    """Error and input of one, read when somebody opens it."""
    try:
        letter = deadletters.dead_letter(number)
    except AobError:
        raise Http404 from None
    context = {"letter": letter, "input": pretty(letter["input"]), "error": pretty(letter["error"])}
    is_part = bool(request.htmx)  # type: ignore[attr-defined]
    return render(request, "ui/parts/dead-letter.html" if is_part else "ui/dead-letter.html", context)


@require_POST
@login_required
def settle_dead_letter(request: HttpRequest, number: int, action: str) -> HttpResponse:
    if action not in ("replay", "discard"):
        raise Http404
    try:
        if action == "replay":
            return redirect("run", run_id=deadletters.replay(number, by=request.user.get_username()))
        deadletters.discard(number, reason=request.POST.get("reason", "").strip() or None)
        messages.success(request, f"Dead letter {number} is discarded.")
    except AobError as error:
        messages.error(request, f"{error.message} {error.hint or ''}")
    return redirect(_back(request))


@require_POST
@login_required
def bulk_letters(request: HttpRequest) -> HttpResponse:
    """Replays or discards the chosen ones, and says what came of them."""
    action = request.POST.get("action", "")
    chosen = [int(text) for text in dict.fromkeys(request.POST.getlist("letter")) if _is_number(text)][:MOST_AT_ONCE]
    reason = request.POST.get("reason", "").strip()
    if action not in ("replay", "discard") or not chosen:
        messages.error(request, "Choose dead letters first.")
    elif action == "discard" and not reason:
        messages.error(request, "Say why they are discarded; the reason is kept with each.")
    else:
        done, refused = _settle(action, chosen, by=request.user.get_username(), reason=reason)
        words = "replayed; each as a new run" if action == "replay" else "discarded"
        if done:
            messages.success(request, f"{done} dead letter{'' if done == 1 else 's'} {words}.")
        for text in refused[:10]:
            messages.error(request, text)
        if len(refused) > 10:
            messages.error(request, f"{len(refused) - 10} more were refused.")
    return redirect(_back(request))


def _settle(action: str, chosen: list[int], *, by: str, reason: str) -> tuple[int, list[str]]:
    done, refused = 0, []
    for number in chosen:
        try:
            if action == "replay":
                deadletters.replay(number, by=by)
            else:
                deadletters.discard(number, reason=reason)
            done += 1
        except AobError as error:
            refused.append(f"No. {number}: {error.message}")
    return done, refused


def _is_number(text: Any) -> bool:
    return isinstance(text, str) and text.isascii() and text.isdigit() and len(text) < 19


def _back(request: HttpRequest) -> str:
    """The list as it was, if the form named it: an address of our own and nothing else."""
    wanted = request.POST.get("back", "")
    home = reverse("dead-letters")
    return wanted if wanted.startswith(home) and url_has_allowed_host_and_scheme(wanted, None) else home
