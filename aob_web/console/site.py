"""The site: for staff only, signed in by the one page that slows guessing down."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse

from aob_web.console.reading import NAMES
from runs import figures

GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "Runs",
        (
            "runs.Run", "console.Timer", "runs.Task", "runs.Inbox", "runs.Ticket", "runs.TicketMessage",
            "approvals.TicketMail", "approvals.TicketWebhook", "approvals.TicketPost", "runs.DeadLetter", "runs.Blob",
            "runs.StartKey",
        ),
    ),
    (
        "Workflows",
        (
            "workflows.Workflow", "workflows.Draft", "workflows.WorkflowVersion", "workflows.Tag", "workflows.TagMove",
            "workflows.Version", "workflows.WorkflowPatch", "workflows.Experiment",
        ),
    ),
    ("People", ("auth.User", "auth.Group", "accounts.ApiToken", "learning.Tour", "admin.LogEntry")),
)  # fmt: skip


class Console(admin.AdminSite):
    """Django's admin site with AOB's name, sign-in and first page."""

    site_header = "AOB console"
    site_title = "AOB console"
    index_title = "How it stands"
    index_template = "console/index.html"
    enable_nav_sidebar = True

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Never a form of its own: a second one would be a second place to guess passwords at."""
        if request.user.is_authenticated and not self.has_permission(request):
            text = "The console is for staff. Ask an administrator to make your account one."
            return render(request, "ui/error.html", {"title": "Not allowed", "text": text}, status=403)
        index = reverse("admin:index", current_app=self.name)
        return redirect_to_login(request.GET.get("next", index), reverse("sign-in"))

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[dict[str, Any]]:
        """The lists by what an operator looks for, not by the app that holds their tables."""
        found = super().get_app_list(request, app_label)
        models = {f"{model['model']._meta.label}": model for app in found for model in app["models"]}
        for label, model in models.items():
            model["name"] = NAMES.get(label, model["name"])
        if app_label is not None:
            return found
        known = [label for _, labels in GROUPS for label in labels]
        others = [label for label in models if label not in known]
        groups = [
            {
                "name": name,
                "app_label": f"group-{number}",
                "app_url": reverse("admin:index"),
                "has_module_perms": True,
                "models": [models[label] for label in labels if label in models],
            }
            for number, (name, labels) in enumerate((*GROUPS, ("More", others)))
        ]
        return [group for group in groups if group["models"]]

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().index(request, {**(extra_context or {}), "figures": figures.figures()})
