"""Runs, their log, timers, tasks, waiting facts, dead letters and blobs."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from aob_web.console.models import Timer
from aob_web.console.reading import ByDay, ReadOnly, choice, pretty, state
from approvals import messenger
from approvals.inbox import ENDS
from approvals.models import TicketMail
from runs import deadletters, queries, services
from runs.models import STATUSES, Blob, DeadLetter, Inbox, Run, StartKey, Task, Ticket, TicketMessage
from workflows.core.errors import AobError

MAX_AT_ONCE = 500
EVENTS_PER_PAGE = 200


def steer(
    request: HttpRequest, chosen: Any, act: Callable[[Any, str], None], done: str, model_admin: admin.ModelAdmin[Any]
) -> None:
    """Does one thing to each of the chosen by a service, notes it, and tells which were refused and why."""
    rows = list(chosen[: MAX_AT_ONCE + 1])
    if len(rows) > MAX_AT_ONCE:
        model_admin.message_user(request, f"Choose at most {MAX_AT_ONCE} at once.", messages.ERROR)
        return
    count = 0
    for one in rows:
        try:
            act(one, request.user.get_username())
        except AobError as error:
            model_admin.message_user(request, f"{error.message} {error.hint or ''}".strip(), messages.ERROR)
        else:
            count += 1
            LogEntry.objects.log_actions(request.user.pk, [one], CHANGE, f"{done}.", single_object=True)
    if count:
        model_admin.message_user(request, f"{done}: {count}.", messages.SUCCESS)


def confirmed(request: HttpRequest, model_admin: Any, chosen: Any, action: str, words: str) -> HttpResponse | None:
    """The page that asks before something is ended, or None when it was answered with yes."""
    if request.POST.get("confirmed") == "yes":
        return None
    context = {
        **model_admin.admin_site.each_context(request),
        "title": words,
        "opts": model_admin.opts,
        "chosen": list(chosen[:MAX_AT_ONCE]),
        "action": action,
        "checkbox": admin.helpers.ACTION_CHECKBOX_NAME,
        "back": reverse(f"admin:{model_admin.opts.app_label}_{model_admin.opts.model_name}_changelist"),
    }
    return TemplateResponse(request, "console/confirm.html", context)


Status = choice("status", *((one, one.replace("_", " ")) for one in STATUSES))


class RunList(ReadOnly):
    """What runs and timers have in common."""

    search_fields = ("id", "workflow")
    search_help_text = "A whole run id, or the whole name of a workflow"
    list_filter: Any = (Status, ByDay)

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """By equality, so that an index answers."""
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            return queryset.filter(pk=uuid.UUID(term)), False
        except ValueError:
            return queryset.filter(workflow=term[:128]), False

    @admin.display(description="Run")
    def short(self, run: Run) -> str:
        return str(run.pk)

    @admin.display(description="Status")
    def badge(self, run: Run) -> SafeString:
        return state(run.status)

    @admin.display(description="Priority")
    def priority_name(self, run: Run) -> str:
        return queries.PRIORITY_NAMES[run.priority]

    @admin.display(description="Page")
    def page(self, run: Run) -> SafeString:
        return format_html('<a href="{}">Run page</a>', reverse("run", args=[run.pk]))


@admin.register(Run)
class RunAdmin(RunList):
    list_display = ("short", "workflow", "badge", "priority_name", "created_at", "ended_at", "page")
    ordering = ("-id",)
    actions = ("cancel_runs", "pause_runs", "resume_runs")
    fields = (
        "id", "workflow", "version", "badge", "priority_name", "links", "created_at", "ended_at", "wake_at", "last_seq",
        "error_text", "labels", "parent", "parent_node", "forked_from", "depth",
    )  # fmt: skip
    readonly_fields = ("badge", "priority_name", "links", "error_text")

    def has_steer_permission(self, request: HttpRequest) -> bool:
        return self.may_change(request)

    @admin.action(description="Cancel", permissions=["steer"])
    def cancel_runs(self, request: HttpRequest, chosen: Any) -> HttpResponse | None:
        asked = confirmed(request, self, chosen, "cancel_runs", "Cancel these runs?")
        if asked is None:
            reason = request.POST.get("reason", "").strip() or None
            steer(request, chosen, lambda run, by: services.cancel(str(run.pk), reason=reason, by=by), "Cancelled", self)
        return asked

    @admin.action(description="Pause", permissions=["steer"])
    def pause_runs(self, request: HttpRequest, chosen: Any) -> None:
        steer(request, chosen, lambda run, by: services.pause(str(run.pk), by=by), "Paused", self)

    @admin.action(description="Resume", permissions=["steer"])
    def resume_runs(self, request: HttpRequest, chosen: Any) -> None:
        steer(request, chosen, lambda run, by: services.resume(str(run.pk), by=by), "Resumed", self)

    @admin.display(description="More")
    def links(self, run: Run) -> SafeString:
        return format_html(
            '<a href="{}">Run page</a> · <a href="{}">Event log</a>',
            reverse("run", args=[run.pk]),
            reverse("admin:runs_run_log", args=[run.pk]),
        )

    @admin.display(description="Error")
    def error_text(self, run: Run) -> Any:
        return pretty(run.error) if run.error else "–"

    def get_urls(self) -> list[URLPattern]:
        log = path("<uuid:run_id>/log/", self.admin_site.admin_view(self.log), name="runs_run_log")
        return [log, *super().get_urls()]

    def log(self, request: HttpRequest, run_id: uuid.UUID) -> HttpResponse:
        """The events of a run by their seq; the log has a key of two columns, which Django's lists do not know."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        after = request.GET.get("after", "0")
        node = request.GET.get("node", "")[:500]
        errors = request.GET.get("errors") == "yes"
        try:
            page = queries.events(
                str(run_id),
                after=int(after) if after.isascii() and after.isdigit() and len(after) < 10 else 0,
                limit=EVENTS_PER_PAGE,
                node=node or None,
                errors=errors,
            )
        except AobError:
            raise Http404 from None
        for event in page["items"]:
            event["text"] = pretty(event["data"])
        context = {
            **self.admin_site.each_context(request),
            "title": "Event log",
            "opts": self.opts,
            "run_id": run_id,
            "page": page,
            "events": page["items"],
            "node": node,
            "errors": errors,
        }
        return TemplateResponse(request, "console/log.html", context)


@admin.register(Timer)
class TimerAdmin(RunList):
    list_display = ("wake_at", "short", "workflow", "badge", "priority_name", "page")
    list_filter = (Status,)
    ordering = ("priority", "wake_at")
    fields = ("id", "workflow", "badge", "priority_name", "wake_at", "page")
    readonly_fields = ("badge", "priority_name", "page")

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).filter(wake_at__isnull=False)


class OfRun(ReadOnly):
    """What belongs to a run."""

    search_fields = ("run_id",)
    search_help_text = "A whole run id"

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        if not search_term.strip():
            return queryset, False
        try:
            return queryset.filter(run_id=uuid.UUID(search_term.strip())), False
        except ValueError:
            return queryset.none(), False

    @admin.display(description="Run")
    def run(self, one: Any) -> SafeString | str:
        if one.run_id is None:
            return "–"
        return format_html('<a href="{}">{}</a>', reverse("run", args=[one.run_id]), str(one.run_id))


class Leased(admin.SimpleListFilter):
    title = "lease"
    parameter_name = "lease"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("free", "waits for a worker"), ("leased", "being executed")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        wanted = {"free": True, "leased": False}.get(self.value() or "")
        return queryset if wanted is None else queryset.filter(lease_until__isnull=wanted)


@admin.register(Task)
class TaskAdmin(OfRun):
    list_display = (
        "id", "node", "type", "attempt", "losses", "plane", "priority", "created_at", "lease_until", "worker", "run",
    )  # fmt: skip
    list_filter = (Leased, choice("plane", ("runner", "runner"), ("agent", "agent")))
    ordering = ("-id",)


@admin.register(Inbox)
class InboxAdmin(OfRun):
    list_display = ("id", "type", "node", "run")
    ordering = ("-id",)


@admin.register(Ticket)
class TicketAdmin(OfRun):
    """Tickets are decided on their own page, by whoever may."""

    list_display = ("title", "workflow", "badge", "audience", "due_at", "created_at", "decided_by", "run")
    list_filter = (choice("status", *((one, one) for one in ("open", *ENDS))),)
    ordering = ("-id",)
    fields = (
        "title", "run", "node", "workflow", "badge", "audience", "answered", "due_at", "created_at", "decided_at",
        "decided_by", "reason",
    )  # fmt: skip
    readonly_fields = ("run", "badge", "audience")

    @admin.display(description="Status")
    def badge(self, one: Ticket) -> SafeString:
        return state(one.status)

    @admin.display(description="For")
    def audience(self, one: Ticket) -> str:
        return ", ".join(name for name in one.assignees if name != Ticket.ANYONE) or "anybody"


@admin.register(TicketMessage)
class TicketMessageAdmin(OfRun):
    """What people are told of tickets; what was given up says why, and can be tried again."""

    list_display = ("id", "kind", "badge", "attempts", "created_at", "next_at", "error", "run")
    list_filter = (
        choice(
            "state", ("due", "due"), ("done", "told"), ("void", "not needed any more"), ("given_up", "given up"),
        ),
    )  # fmt: skip
    ordering = ("-id",)
    fields = ("run", "ticket", "kind", "badge", "attempts", "created_at", "next_at", "error")
    readonly_fields = ("run", "badge")
    actions = ("again",)

    def has_again_permission(self, request: HttpRequest) -> bool:
        return self.may_change(request)

    @admin.action(description="Try again", permissions=["again"])
    def again(self, request: HttpRequest, chosen: Any) -> None:
        count = messenger.try_again(list(chosen.values_list("pk", flat=True)[:MAX_AT_ONCE]))
        self.message_user(request, f"Tried again within seconds: {count}.", messages.SUCCESS)

    @admin.display(description="State")
    def badge(self, one: TicketMessage) -> SafeString:
        return state(one.state.replace("_", " "))


@admin.register(TicketMail)
class TicketMailAdmin(ReadOnly):
    """Who was mailed about which ticket."""

    list_display = ("sent_at", "user", "address", "ticket", "error")
    list_select_related = ("user",)
    search_fields = ("user__username", "address")
    ordering = ("-id",)


@admin.register(DeadLetter)
class DeadLetterAdmin(OfRun):
    list_display = ("id", "workflow", "node", "type", "attempts", "code", "created_at", "badge", "run")
    list_filter = (choice("status", *((one, one) for one in deadletters.STATUSES)),)
    ordering = ("-id",)
    actions = ("replay", "discard")
    fields = (
        "run", "workflow", "node", "type", "attempts", "created_at", "badge", "error_text", "replayed_as", "resolved_at",
        "reason",
    )  # fmt: skip
    readonly_fields = ("run", "badge", "error_text")

    def has_settle_permission(self, request: HttpRequest) -> bool:
        return self.may_change(request)

    @admin.action(description="Replay", permissions=["settle"])
    def replay(self, request: HttpRequest, chosen: Any) -> None:
        def again(letter: DeadLetter, by: str) -> None:
            deadletters.replay(letter.pk, by=by)

        steer(request, chosen, again, "Replayed", self)

    @admin.action(description="Discard", permissions=["settle"])
    def discard(self, request: HttpRequest, chosen: Any) -> HttpResponse | None:
        asked = confirmed(request, self, chosen, "discard", "Discard these dead letters?")
        if asked is None:
            reason = request.POST.get("reason", "").strip() or None
            steer(request, chosen, lambda one, by: deadletters.discard(one.pk, reason=reason), "Discarded", self)
        return asked

    @admin.display(description="Status")
    def badge(self, one: DeadLetter) -> SafeString:
        return state(one.status)

    @admin.display(description="Error")
    def code(self, one: DeadLetter) -> str:
        return str(one.error.get("code", ""))

    @admin.display(description="Error")
    def error_text(self, one: DeadLetter) -> SafeString:
        return pretty(one.error)


@admin.register(Blob)
class BlobAdmin(ReadOnly):
    list_display = ("hash", "size", "media_type", "place", "created_at")
    search_fields = ("hash",)
    search_help_text = "A whole hash, sha256:…"
    ordering = ("hash",)
    fields = ("hash", "size", "media_type", "created_at")

    def get_queryset(self, request: HttpRequest) -> Any:
        """Without the bytes: a list of fifty blobs is not fifty blobs long."""
        from django.db.models import BooleanField, ExpressionWrapper, Q

        stored = ExpressionWrapper(Q(data__isnull=False), output_field=BooleanField())
        return super().get_queryset(request).defer("data").annotate(is_row=stored)

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        return (queryset.filter(hash=search_term.strip()) if search_term.strip() else queryset), False

    @admin.display(description="Kept in")
    def place(self, one: Any) -> str:
        return "Postgres" if one.is_row else "blob storage"


@admin.register(StartKey)
class StartKeyAdmin(OfRun):
    list_display = ("key", "run", "created_at")
    ordering = ("key",)
