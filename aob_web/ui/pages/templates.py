"""The templates gallery."""

from __future__ import annotations

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from aob_web.ui.pages.showing import pretty
from aob_web.ui.picture import picture
from runs import samples
from workflows import gallery
from workflows.core.errors import AobError
from workflows.gallery.using import suggested_name, use_template
from workflows.nodes.registry import node_types

MAX_WORDS = 200


@login_required
@require_http_methods(["GET"])
def templates(request: HttpRequest) -> HttpResponse:
    """All templates, or those that fit the words and filters."""
    chosen = {name: request.GET.get(name, "") for name in ("q", "category", "level", "node_type")}
    found = gallery.search(
        words=chosen["q"][:MAX_WORDS],
        category=chosen["category"],
        level=chosen["level"],
        node_type=chosen["node_type"],
    )
    everything = gallery.templates().values()
    context = {
        "templates": [(one, picture(one.document())) for one in found],
        "total": len(everything),
        "chosen": chosen,
        "is_filtered": any(chosen.values()),
        "categories": sorted({one.category for one in everything}),
        "levels": gallery.LEVELS,
        "node_types": [one for one in node_types().values() if any(one.name in each.node_types for each in everything)],
    }
    return render(request, "ui/templates.html", context)


@login_required
@require_http_methods(["GET", "POST"])
def template(request: HttpRequest, slug: str) -> HttpResponse:
    """One template: what it teaches, what to try; used as a draft or run at once from here."""
    try:
        found = gallery.template(slug)
    except gallery.TemplateError:
        raise Http404 from None
    problem = None
    wanted = request.POST.get("name", "").strip()
    if request.method == "POST":
        try:
            if "run" in request.POST:
                started = samples.start_template(slug, address=settings.AOB_PUBLIC_URL, by=request.user.get_username())
                return redirect("run", run_id=started.id)
            name = use_template(slug, name=wanted or None, address=settings.AOB_PUBLIC_URL, user=request.user)
            return redirect("editor", name=name)
        except AobError as error:
            problem = f"{error.message} {error.hint or ''}".strip()
            if "run" in request.POST:
                messages.error(request, problem)
                return redirect("template", slug=slug)
    known = node_types()
    context = {
        "template": found,
        "picture": picture(found.document()),
        "types": [known[name] for name in found.node_types if name in known],
        "name": wanted or suggested_name(slug),
        "problem": problem,
        "inputs": pretty(found.inputs),
        "document": pretty(found.document(settings.AOB_PUBLIC_URL)),
    }
    return render(request, "ui/template.html", context, status=422 if problem else 200)
