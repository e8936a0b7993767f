"""`/templates`: the gallery of workflows to begin with."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from ninja import Router
from pydantic import Field

from aob_web.accounts.access import require
from aob_web.api.answers import as_json
from aob_web.api.bodies import Body, EmptyBody, documented, parse
from runs import queries, samples
from workflows import gallery
from workflows.gallery.using import use_template

router = Router()


class UseBody(Body):
    name: str | None = Field(default=None, max_length=128, description="A free name like the template's by default.")


def _view(one: gallery.Template) -> dict[str, Any]:
    return {
        "slug": one.slug,
        "title": one.title,
        "idea": one.idea,
        "category": one.category,
        "level": one.level,
        "node_types": one.node_types,
        "try": [{"do": step.do, "see": step.see} for step in one.steps],
        "inputs": one.inputs,
    }


@router.get("", summary="List templates")
def templates(
    request: HttpRequest, q: str = "", category: str = "", level: str = "", node_type: str = ""
) -> HttpResponse:
    require(request, "read")
    found = gallery.search(words=q[:200], category=category, level=level, node_type=node_type)
    return as_json({"items": [_view(one) for one in found], "next": None})


@router.get("/{slug}", summary="One template with its document")
def template(request: HttpRequest, slug: str) -> HttpResponse:
    require(request, "read")
    found = gallery.template(slug)
    return as_json({**_view(found), "document": found.document(settings.AOB_PUBLIC_URL)})


@router.post("/{slug}/use", openapi_extra=documented(UseBody, required=False), summary="Make a draft of a template")
def use(request: HttpRequest, slug: str) -> HttpResponse:
    caller = require(request, "write")
    wanted = parse(request, UseBody).name
    name = use_template(slug, name=wanted, address=settings.AOB_PUBLIC_URL, user=caller.user)
    return as_json({"name": name, "template": slug, "editor": reverse("editor", args=[name])}, 201)


@router.post("/{slug}/run", openapi_extra=documented(EmptyBody, required=False), summary="Run a template with its inputs")
def run(request: HttpRequest, slug: str) -> HttpResponse:
    caller = require(request, "execute")
    parse(request, EmptyBody)
    started = samples.start_template(slug, address=settings.AOB_PUBLIC_URL, by=caller.name)
    return as_json(queries.run(started.id), 201)
