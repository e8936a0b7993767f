"""What all lists of the console share: they are read, bounded and in the order of an index."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from django import forms
from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

BOUND = 10_000

NAMES = {
    "accounts.ApiToken": "API tokens",
    "admin.LogEntry": "What operators did",
    "runs.Inbox": "Facts that wait",
    "runs.StartKey": "Idempotency keys",
    "runs.TicketMessage": "Messages about tickets",
    "approvals.TicketMail": "Mails about tickets",
    "approvals.TicketPost": "Posts about tickets",
    "approvals.TicketWebhook": "Webhooks for tickets",
    "workflows.Version": "Documents",
    "workflows.WorkflowVersion": "Versions",
}
"""Where the name of a list is not the plural of its model's."""


def choice(name: str, *values: tuple[str, str], field: str = "") -> type[admin.SimpleListFilter]:
    """A filter on a column with known values; Django's own would read the whole table to find them."""

    class Choice(admin.SimpleListFilter):
        title = name
        parameter_name = field or name

        def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
            return list(values)

        def queryset(self, request: HttpRequest, queryset: Any) -> Any:
            known = self.value() in [value for value, _ in values]
            return queryset.filter(**{self.parameter_name: self.value()}) if known else queryset

    return Choice


class BoundedPaginator(Paginator):
    """Counts and turns pages up to BOUND rows: neither a count nor an OFFSET ever goes over a whole huge table."""

    @cached_property
    def count(self) -> int:
        return min(BOUND, self._counted)

    @cached_property
    def is_bounded(self) -> bool:
        """True when there is more than is shown; filters lead to it."""
        return self._counted > BOUND

    @cached_property
    def _counted(self) -> int:
        rows: Any = self.object_list
        return int(rows.order_by()[: BOUND + 1].count()) if isinstance(rows, QuerySet) else len(rows)


class ReadOnly(admin.ModelAdmin):  # type: ignore[type-arg]
    """Nothing can be added, changed or deleted here; what can be done stands among the actions."""

    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50
    list_max_show_all = 0
    sortable_by: tuple[str, ...] = ()
    actions: Any = ()

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        title = NAMES.get(self.opts.label, str(self.opts.verbose_name_plural).capitalize())
        # What a list needs; the rest of Django's scripts, jQuery among them, is for forms.
        media = forms.Media(js=["admin/js/actions.js"])
        return super().changelist_view(request, {"title": title, "media": media, **(extra_context or {})})

    def may_change(self, request: HttpRequest) -> bool:
        """Whether actions are offered: to those who may change this kind of thing, though only through services."""
        options = self.opts
        return bool(request.user.has_perm(f"{options.app_label}.change_{options.model_name}"))


class ByDay(admin.SimpleListFilter):
    """Years, months and days of the time that stands in the ids themselves, so that the primary key finds them."""

    title = "started"
    parameter_name = "started"
    HOURS = {"1h": ("last hour", 1), "24h": ("last 24 hours", 24), "7d": ("last 7 days", 168)}

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        found = [(key, words) for key, (words, _) in self.HOURS.items()]
        first = model_admin.model.objects.order_by("pk").values_list("pk", flat=True).first()
        return found + list(self._days(request.GET.get(self.parameter_name, ""), first))

    def _days(self, chosen: str, first: uuid.UUID | None) -> Iterator[tuple[str, str]]:
        """The years that there are runs of; below a chosen one its months, below that its days."""
        if first is None:
            return
        year, month, _ = (*chosen.split("-"), "", "")[:3] if _range(chosen) else ("", "", "")
        for each in range(_time_of(first).year, datetime.now(UTC).year + 1):
            yield str(each), str(each)
            if year != str(each):
                continue
            for number in range(1, 13):
                key = f"{each}-{number:02}"
                yield key, datetime(each, number, 1).strftime("– %B")
                if month == f"{number:02}":
                    start, end = _range(key) or (datetime.now(UTC),) * 2
                    for day in range((end - start).days):
                        yield f"{key}-{day + 1:02}", f"– – {day + 1}"

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        chosen = self.value() or ""
        if chosen in self.HOURS:
            since = datetime.now(UTC) - timedelta(hours=self.HOURS[chosen][1])
            return queryset.filter(pk__gte=_id_at(since))
        found = _range(chosen)
        return queryset.filter(pk__gte=_id_at(found[0]), pk__lt=_id_at(found[1])) if found else queryset


def _range(chosen: str) -> tuple[datetime, datetime] | None:
    """The year, month or day that a text such as 2030, 2030-04 or 2030-04-01 names."""
    for form, step in (("%Y-%m-%d", 1), ("%Y-%m", 31), ("%Y", 366)):
        try:
            start = datetime.strptime(chosen, form).replace(tzinfo=UTC)
        except ValueError:
            continue
        if not 1970 <= start.year < 9999:
            return None
        end = start + timedelta(days=step)
        return start, end if step == 1 else end.replace(day=1) if step == 31 else end.replace(month=1, day=1)
    return None


def _id_at(moment: datetime) -> uuid.UUID:
    """The smallest id of a run that started at a moment (RFC 9562, version 7)."""
    return uuid.UUID(int=round(moment.timestamp() * 1000) << 80)


def _time_of(run_id: uuid.UUID) -> datetime:
    return datetime.fromtimestamp((run_id.int >> 80) / 1000, UTC)


def pretty(value: Any) -> SafeString:
    """JSON for reading."""
    return format_html("<pre>{}</pre>", json.dumps(value, indent=2, ensure_ascii=False)[:20_000])


def state(text: str) -> SafeString:
    """A state with its colour."""
    return format_html('<span class="state {}">{}</span>', text, text.replace("_", " "))
