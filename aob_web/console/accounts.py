"""Accounts, API tokens, tours, and what operators did in the console."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.models import LogEntry
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import User
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString

from aob_web.accounts.models import ApiToken
from aob_web.console.reading import ReadOnly, state
from aob_web.learning.models import Tour

admin.site.unregister(User)


@admin.register(User)
class AccountAdmin(UserAdmin):
    """Only a superuser gives rights away or touches a superuser."""

    list_display = ("username", "email", "is_active", "is_staff", "is_superuser", "last_login", "date_joined")
    date_hierarchy = "date_joined"
    RIGHTS = ("is_staff", "is_superuser", "groups", "user_permissions")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        own = super().get_readonly_fields(request, obj)
        return own if request.user.is_superuser else (*own, *self.RIGHTS)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and self._may_touch(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and self._may_touch(request, obj)

    def _may_touch(self, request: HttpRequest, obj: Any) -> bool:
        return request.user.is_superuser or obj is None or not obj.is_superuser

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Accounts are deleted one by one: all at once would not ask for each whether it may be touched."""
        return {name: action for name, action in super().get_actions(request).items() if name != "delete_selected"}


class IsValid(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("valid", "valid"), ("revoked", "revoked")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        wanted = {"valid": True, "revoked": False}.get(self.value() or "")
        return queryset if wanted is None else queryset.filter(revoked_at__isnull=wanted)


@admin.register(ApiToken)
class ApiTokenAdmin(ReadOnly):
    """Tokens are made by their owners on the account page; neither they nor their hashes can be seen."""

    list_display = ("name", "user", "may", "created_at", "expires_at", "badge")
    list_select_related = ("user",)
    list_filter = (IsValid,)
    search_fields = ("name", "user__username")
    date_hierarchy = "created_at"
    fields = ("name", "user", "may", "created_at", "expires_at", "revoked_at")
    readonly_fields = ("may",)
    actions = ("revoke",)

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return self.may_change(request)

    @admin.action(description="Revoke", permissions=["revoke"])
    def revoke(self, request: HttpRequest, chosen: Any) -> None:
        count = chosen.filter(revoked_at=None).update(revoked_at=timezone.now())
        self.message_user(request, f"Revoked: {count}. Open connections end within seconds.", messages.SUCCESS)

    @admin.display(description="May")
    def may(self, one: ApiToken) -> str:
        return ", ".join(one.scopes)

    @admin.display(description="State")
    def badge(self, one: ApiToken) -> SafeString:
        return state("revoked" if one.revoked_at else "valid")


@admin.register(Tour)
class TourAdmin(ReadOnly):
    list_display = ("user", "state", "step", "updated_at")
    list_select_related = ("user",)
    list_filter = ("state",)
    search_fields = ("user__username",)


@admin.register(LogEntry)
class LogEntryAdmin(ReadOnly):
    """Who did what in the console."""

    list_display = ("action_time", "user", "content_type", "object_repr", "get_change_message")
    list_select_related = ("user", "content_type")
    list_filter = (("user", admin.RelatedOnlyFieldListFilter),)
    search_fields = ("object_repr", "user__username")
    date_hierarchy = "action_time"
