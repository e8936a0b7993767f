"""Workflows: the list, one of them with a form that starts it, and the editor."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from aob_web.ui import forms
from aob_web.ui.pages import workflow_patches
from aob_web.ui.pages.showing import pretty
from runs import overview, search, services
from workflows import catalog, drafts
from workflows.core.errors import AobError
from workflows.models import Draft, Workflow
from workflows.nodes.registry import node_types
from workflows.services import document_of, move_tag

PER_PAGE = 25
VERSIONS_SHOWN = 20
SORTS = {"name": "by name", "edited": "last edited first", "made": "newest first"}


@require_GET
@login_required
def workflows(request: HttpRequest) -> HttpResponse:
    """Search, filter by tag and node type, sort; a page by keyset."""
    sort = request.GET.get("sort", "")
    wanted = {
        "search": request.GET.get("q", "").strip()[:200],
        "tag": request.GET.get("tag", "")[:64],
        "node_type": request.GET.get("type", "")[:64],
        "sort": sort if sort in SORTS else "name",
    }
    try:
        page = page_of_workflows(**wanted, limit=PER_PAGE, cursor=request.GET.get("cursor") or None)
    except AobError as error:
        messages.error(request, error.message)
        return redirect("workflows")
    context = {
        **wanted,
        "page": page,
        "workflows": page["items"],
        "sorts": SORTS,
        "tags": catalog.tag_names(),
        "types": sorted(node_types()),
        "is_filtered": bool(wanted["search"] or wanted["tag"] or wanted["node_type"]),
        "cursor": request.GET.get("cursor", ""),
        "recent_many": overview.RECENT,
    }
    return render(request, "ui/workflows.html", context)


def _beside(fields: list[dict[str, Any]], problems: Sequence[AobError]) -> list[str]:
    """Gives each field what is wrong with it, in words; what belongs to none of them is left."""
    others = []
    for one in problems:
        parts = (one.pointer or "").split("/")[1:]
        name = parts[1].replace("~1", "/").replace("~0", "~") if len(parts) > 1 and parts[0] == "inputs" else None
        inside = f"{'/'.join(parts[2:])}: " if len(parts) > 2 else ""
        said = f"{inside}{one.message} {one.hint or ''}".strip()
        mine = next((field for field in fields if field["name"] == name), None)
        if mine is None:
            others.append(f"{one.pointer or ''} {said}".strip())
        else:
            mine["problem"] = f"{mine['problem']} {said}" if mine.get("problem") else said
    return others


def page_of_workflows(**wanted: Any) -> dict[str, Any]:
    """A page of the catalog, each workflow with its last runs."""
    page = catalog.catalog(**wanted)
    recent = overview.recent([one["name"] for one in page["items"]])
    for one in page["items"]:
        one["recent"] = recent[one["name"]]
    return page


@require_http_methods(["GET", "POST"])
@login_required
def workflow(request: HttpRequest, name: str) -> HttpResponse:
    """One workflow: a form that starts it, its last runs, its versions and tags, its document."""
    found = Workflow.objects.filter(name=name).first()
    newest = found.versions.first() if found else None
    if found is None or newest is None:
        if Draft.objects.filter(name=name).exists():
            return redirect("editor", name=name)
        if search.search(search.read_filter(workflow=name), limit=1)["items"]:
            # Runs may come from a document that nobody has published.
            messages.info(request, f"{name} has no published version; these are its runs.")
            return redirect(f"{reverse('runs')}?{urlencode({'workflow': name})}")
        raise Http404
    document = document_of(newest.version_id)
    schema = document.get("inputs")
    fields = forms.fields(schema)
    problems: list[str] = []
    refused = False
    if request.method == "POST":
        try:
            inputs = forms.read(request, schema)
            run_id = services.start(
                services.StartRequest(f"{name}@{newest.version_id}", inputs, by=request.user.get_username())
            ).id
            return redirect("run", run_id=run_id)
        except AobError as error:
            found_problems = getattr(error, "problems", None) or [error]
            forms.refill(fields, request)
            problems, refused = _beside(fields, found_problems), True
    tags = list(found.tags.all())
    versions = list(found.versions.select_related("created_by")[:VERSIONS_SHOWN])
    for version in versions:
        version.names = [tag.name for tag in tags if tag.version_id == version.version_id]  # type: ignore[attr-defined]
    context = {
        "workflow": found,
        "newest": newest,
        "fields": fields,
        "problems": problems,
        "refused": refused,
        "document": pretty(document),
        "nodes": sorted({node["type"] for node in document["nodes"].values()}),
        "node_count": len(document["nodes"]),
        "versions": versions,
        "more_versions": newest.number - len(versions),
        "tags": tags,
        "moves": found.tag_moves.select_related("moved_by")[:10],
        "draft": Draft.objects.filter(name=name).select_related("updated_by").first(),
        "recent": overview.recent([name])[name],
        "runs": search.search(search.Filter(workflow=name, tries=False), limit=8)["items"],
        "recent_many": overview.RECENT,
        **workflow_patches.section(found),
    }
    return render(request, "ui/workflow.html", context, status=422 if problems else 200)


@require_POST
@login_required
def tag_workflow(request: HttpRequest, name: str) -> HttpResponse:
    """Sets a tag at a version, or moves it there."""
    tag = request.POST.get("tag", "").strip()
    try:
        move_tag(name, tag, request.POST.get("version", ""), user=request.user)
        messages.success(request, f"The tag {tag} is at that version now; runs of {name}@{tag} start with it.")
    except AobError as error:
        messages.error(request, f"{error.message} {error.hint or ''}")
    return redirect("workflow", name=name)


@require_POST
@login_required
def new_workflow(request: HttpRequest) -> HttpResponse:
    """Begins an empty draft, and draws it."""
    try:
        name = drafts.begin_draft({"name": request.POST.get("name", "").strip(), "nodes": {}}, user=request.user)
    except AobError as error:
        messages.error(request, f"{error.message} {error.hint or ''}")
        return redirect("workflows")
    return redirect("editor", name=name)


@require_GET
@login_required
def editor(request: HttpRequest, name: str) -> HttpResponse:
    """The graph editor. Its code is loaded here and nowhere else."""
    try:
        drafts.draft_of(name)
    except drafts.DraftError:
        raise Http404 from None
    nonce = secrets.token_urlsafe(16)
    response = render(request, "ui/editor.html", {"name": name, "nonce": nonce})
    response.style_nonce = nonce  # type: ignore[attr-defined]
    return response
