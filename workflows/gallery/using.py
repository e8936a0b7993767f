"""A template becomes a draft of one's own."""

from __future__ import annotations

from typing import Any

from workflows import drafts
from workflows.gallery import free_name, template
from workflows.models import Draft, Workflow


def use_template(slug: str, *, name: str | None, address: str, user: Any) -> str:
    """Begins a draft with this name, or with the first free one like the template's; gives its name.

    Raises TemplateError `template_unknown`, DraftError `name_taken` or `name_invalid`.
    """
    document = template(slug).document(address)
    document["name"] = name or free_name(slug, _is_taken)
    return drafts.begin_draft(document, user=user)


def suggested_name(slug: str) -> str:
    """A free name for a draft of this template."""
    return free_name(slug, _is_taken)


def _is_taken(name: str) -> bool:
    return Draft.objects.filter(name=name).exists() or Workflow.objects.filter(name=name).exists()
