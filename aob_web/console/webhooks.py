"""Webhooks that are told of tickets. Only superusers: one may decide in a user's name."""

from __future__ import annotations

from typing import Any

import httpx
from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.text import Truncator

from aob_web.console.reading import ReadOnly, choice, state
from approvals import webhooks
from approvals.models import TicketPost, TicketWebhook
from approvals.sealed import unseal
from worker.executors.base import TaskError
from worker.http.client import check_url


class WebhookForm(forms.ModelForm):  # type: ignore[type-arg]
    url = forms.CharField(
        label="URL",
        required=False,
        max_length=2000,
        help_text="Kept sealed, and not shown again. When changing a webhook: leave it empty to keep the one it has.",
        widget=forms.TextInput(attrs={"size": 80, "autocomplete": "off"}),
    )

    class Meta:
        model = TicketWebhook
        fields = ("name", "url", "shape", "workflow", "audience", "decides_as", "is_active")
        help_texts = {
            "workflow": "Only tickets of this workflow; empty: of all.",
            "audience": "Only tickets for these, such as group:ops or user:anna; empty: for all.",
            "decides_as": "The receiver may answer in this user's name, by signed callbacks; empty: it may not.",
        }

    def clean_url(self) -> str:
        url = str(self.cleaned_data["url"]).strip()
        if not url and self.instance.pk is None:
            raise ValidationError("A webhook needs a URL.")
        if url:
            try:
                check_url(httpx.URL(url))
            except (TaskError, httpx.InvalidURL) as error:
                raise ValidationError(str(getattr(error, "message", error))) from None
        return url


@admin.register(TicketWebhook)
class TicketWebhookAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """The secret that signs is made here and shown once."""

    form = WebhookForm
    list_display = ("name", "shape", "host", "workflow", "audience", "decides_as", "is_active")
    list_select_related = ("decides_as",)
    actions = ("renew",)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_superuser)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.is_superuser)

    has_add_permission = has_view_permission
    has_change_permission = has_view_permission
    has_delete_permission = has_view_permission

    def save_model(self, request: HttpRequest, obj: TicketWebhook, form: Any, change: bool) -> None:
        url = form.cleaned_data["url"]
        if url:
            secret = unseal(obj.sealed)["secret"] if change else webhooks.new_secret()
            obj.sealed, obj.host = webhooks.sealed(url, secret), httpx.URL(url).host
            if not change:
                self._show(request, obj, secret)
        super().save_model(request, obj, form, change)

    @admin.action(description="Make a new secret")
    def renew(self, request: HttpRequest, chosen: Any) -> None:
        for one in chosen:
            secret = webhooks.new_secret()
            one.sealed = webhooks.sealed(unseal(one.sealed)["url"], secret)
            one.save(update_fields=["sealed"])
            self._show(request, one, secret)

    def _show(self, request: HttpRequest, one: TicketWebhook, secret: str) -> None:
        self.message_user(request, f"The secret of {one.name}, shown only now: {secret}", messages.WARNING)


@admin.register(TicketPost)
class TicketPostAdmin(ReadOnly):
    """What webhooks were told; what was given up says why, and can be tried again."""

    list_display = ("id", "webhook", "kind", "badge", "attempts", "created_at", "next_at", "ticket", "why")
    list_select_related = ("webhook",)
    list_filter = (
        choice(
            "state", ("due", "due"), ("done", "taken"), ("void", "not needed any more"), ("given_up", "given up"),
        ),
    )  # fmt: skip
    ordering = ("-id",)
    actions = ("again",)

    def has_again_permission(self, request: HttpRequest) -> bool:
        return self.may_change(request)

    @admin.action(description="Try again", permissions=["again"])
    def again(self, request: HttpRequest, chosen: Any) -> None:
        now = timezone.now()
        count = chosen.filter(state__in=("due", "given_up")).update(state="due", next_at=now, created_at=now)
        self.message_user(request, f"Tried again within seconds: {count}.", messages.SUCCESS)

    @admin.display(description="Error")
    def why(self, one: TicketPost) -> str:
        return Truncator(one.error or "").chars(200)

    @admin.display(description="State")
    def badge(self, one: TicketPost) -> SafeString:
        return state(one.state.replace("_", " "))
