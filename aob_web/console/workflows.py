"""Workflows, versions, tags, patches, experiments, drafts. What changes them is done on their pages."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from aob_web.console.reading import ReadOnly, pretty
from workflows.core.strictjson import decode
from workflows.models import Draft, Experiment, Tag, TagMove, Version, Workflow, WorkflowPatch, WorkflowVersion


def document(text: str) -> SafeString:
    return pretty(decode(text, is_canonical=True))


@admin.register(Workflow)
class WorkflowAdmin(ReadOnly):
    list_display = ("name", "description", "created_at", "page")
    search_fields = ("name", "description")
    date_hierarchy = "created_at"
    readonly_fields = ("page",)

    @admin.display(description="Page")
    def page(self, one: Workflow) -> SafeString:
        return format_html('<a href="{}">Its page</a>', reverse("workflow", args=[one.name]))


@admin.register(WorkflowVersion)
class WorkflowVersionAdmin(ReadOnly):
    list_display = ("workflow", "number", "version_id", "note", "created_at", "created_by")
    list_select_related = ("workflow", "created_by")
    search_fields = ("workflow__name", "version__hash")
    list_filter = (("created_by", admin.RelatedOnlyFieldListFilter),)
    date_hierarchy = "created_at"
    ordering = ("-id",)
    fields = ("workflow", "number", "version_id", "note", "created_at", "created_by", "text")
    readonly_fields = ("version_id", "text")

    @admin.display(description="Document")
    def text(self, one: WorkflowVersion) -> SafeString:
        return document(one.version.document)


@admin.register(Version)
class VersionAdmin(ReadOnly):
    """Documents by their hash, those of runs without a published workflow as well."""

    list_display = ("hash", "ir_hash", "created_at")
    search_fields = ("hash",)
    search_help_text = "A whole hash, sha256:…"
    ordering = ("hash",)
    fields = ("hash", "ir_hash", "created_at", "text")
    readonly_fields = ("text",)

    def get_queryset(self, request: Any) -> Any:
        return super().get_queryset(request).defer("document")

    def get_search_results(self, request: Any, queryset: Any, search_term: str) -> tuple[Any, bool]:
        return (queryset.filter(hash=search_term.strip()) if search_term.strip() else queryset), False

    @admin.display(description="Document")
    def text(self, one: Version) -> SafeString:
        return document(one.document)


@admin.register(Tag)
class TagAdmin(ReadOnly):
    list_display = ("workflow", "name", "version_id", "moved_at")
    list_select_related = ("workflow",)
    list_filter = ("name",)
    search_fields = ("workflow__name", "name")
    date_hierarchy = "moved_at"
    ordering = ("workflow__name", "name")
    fields = ("workflow", "name", "version_id", "moved_at")
    readonly_fields = ("version_id",)


@admin.register(TagMove)
class TagMoveAdmin(ReadOnly):
    list_display = ("moved_at", "workflow", "name", "before", "after", "moved_by")
    list_select_related = ("workflow", "moved_by")
    search_fields = ("workflow__name", "name")
    date_hierarchy = "moved_at"
    ordering = ("-id",)


# Here and not in the model, where it would be a migration: only the console says it.
WorkflowPatch._meta.verbose_name_plural = "workflow patches"


@admin.register(WorkflowPatch)
class WorkflowPatchAdmin(ReadOnly):
    list_display = (
        "created_at",
        "workflow",
        "tag",
        "number",
        "status",
        "author_kind",
        "author_name",
        "decided_by",
        "page",
    )
    list_select_related = ("workflow",)
    list_filter = ("status", "author_kind")
    search_fields = ("workflow__name",)
    date_hierarchy = "created_at"
    readonly_fields = ("page",)

    def get_queryset(self, request: Any) -> Any:
        return super().get_queryset(request).defer("operations", "report")

    @admin.display(description="Page")
    def page(self, one: WorkflowPatch) -> SafeString:
        return format_html('<a href="{}">Its page</a>', reverse("workflow-patch", args=[one.workflow.name, one.id]))


@admin.register(Experiment)
class ExperimentAdmin(ReadOnly):
    list_display = ("began_at", "workflow", "tag", "share", "before", "version", "began_by", "ended_at", "kept")
    list_select_related = ("workflow",)
    search_fields = ("workflow__name", "tag")
    date_hierarchy = "began_at"


@admin.register(Draft)
class DraftAdmin(ReadOnly):
    list_display = ("name", "revision", "base", "updated_at", "updated_by", "page")
    list_select_related = ("updated_by",)
    search_fields = ("name",)
    date_hierarchy = "updated_at"
    fields = ("name", "revision", "base", "updated_at", "updated_by", "page", "text")
    readonly_fields = ("page", "text")

    @admin.display(description="Page")
    def page(self, one: Draft) -> SafeString:
        return format_html('<a href="{}">Editor</a>', reverse("editor", args=[one.name]))

    @admin.display(description="Document")
    def text(self, one: Draft) -> SafeString:
        return document(one.document)
