"""Signing in, and API tokens."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.forms import UsernameField
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from aob_web.accounts.access import Throttle, door_of
from aob_web.accounts.models import FOR_SUPERUSERS, RUNNER_SCOPE, SCOPES, ApiToken
from approvals import links
from approvals.models import MailPreference

_throttle = Throttle()
_addresses = Throttle(most=50)
"""Of one address there may be many people, but none of them who fails so often in a minute."""


class SignIn(LoginView):
    """Sign in; guessing is slowed down, by the account as Django looks it up, and by the address that it comes from."""

    template_name = "ui/sign-in.html"
    redirect_authenticated_user = True

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        name, address = _who(request)
        if _throttle.blocked(name):
            messages.error(request, "Too many attempts for this account; wait a minute.")
            return redirect("sign-in")
        if _addresses.blocked(address):
            messages.error(request, "Too many attempts from your address; wait a minute.")
            return redirect("sign-in")
        return super().post(request, *args, **kwargs)

    def form_invalid(self, form: Any) -> HttpResponse:
        name, address = _who(self.request)
        _throttle.failed(name)
        _addresses.failed(address)
        return super().form_invalid(form)


def _who(request: HttpRequest) -> tuple[str, str]:
    """The name as the form cleans it, whose spellings are one account, and the address."""
    return UsernameField().to_python(request.POST.get("username", "")), door_of(request).get("address", "")


@require_http_methods(["GET", "POST"])
@login_required
def account(request: HttpRequest) -> HttpResponse:
    """API tokens: made here, shown once, revoked here; whether one wants mails about tickets."""
    made = None
    # A runner gets the tasks of everybody's agents, and what they may do; only who may do everything hands that on.
    offered = tuple(one for one in (*SCOPES, RUNNER_SCOPE) if one not in FOR_SUPERUSERS or request.user.is_superuser)
    if request.method == "POST" and "revoke" in request.POST:
        from django.utils import timezone

        number = request.POST["revoke"]
        if number.isascii() and number.isdigit() and len(number) < 10:
            ApiToken.objects.filter(user=request.user, pk=number).update(revoked_at=timezone.now())
        return redirect("account")
    if request.method == "POST" and "mails" in request.POST:
        wanted = request.POST.get("tickets") == "on"
        MailPreference.objects.update_or_create(user=request.user, defaults={"tickets": wanted})
        messages.success(request, "Saved.")
        return redirect("account")
    if request.method == "POST" and "void" in request.POST:
        count = links.make_void(request.user)
        messages.success(request, f"Links that do not work any more: {count}.")
        return redirect("account")
    if request.method == "POST":
        scopes = tuple(scope for scope in offered if scope in request.POST.getlist("scope"))
        name = request.POST.get("name", "").strip()[:100]
        if name and scopes:
            made = ApiToken.issue(request.user, name, scopes)
        else:
            messages.error(request, "Give the token a name and at least one scope.")
    tokens = ApiToken.objects.filter(user=request.user, revoked_at=None)
    wants_mails = not MailPreference.objects.filter(user=request.user, tickets=False).exists()
    context = {"tokens": tokens, "made": made, "scopes": offered, "wants_mails": wants_mails}
    return render(request, "ui/account.html", context)
