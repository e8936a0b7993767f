"""Server-rendered pages; htmx replaces the parts that change. Every change goes through the services."""

from __future__ import annotations

import json
import secrets
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import LoginView
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from aob_web.accounts.access import Throttle
from aob_web.accounts.models import SCOPES, ApiToken
from aob_web.ui import chart, forms
from runs import deadletters, queries, services
from runs import timeline as timelines
from workflows import drafts
from workflows.core.errors import AobError
from workflows.models import Draft, Workflow
from workflows.services import document_of

MAX_SHOWN = 20_000
EVENTS_PER_PAGE = 100
_throttle = Throttle()


class SignIn(LoginView):
    """Sign in; guessing is slowed down."""

    template_name = "ui/sign-in.html"
    redirect_authenticated_user = True

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if _throttle.blocked(request.POST.get("username", "")):
            messages.error(request, "Too many attempts for this account; wait a minute.")
            return redirect("sign-in")
        return super().post(request, *args, **kwargs)

    def form_invalid(self, form: Any) -> HttpResponse:
        _throttle.failed(self.request.POST.get("username", ""))
        return super().form_invalid(form)


@require_GET
@login_required
def home(request: HttpRequest) -> HttpResponse:
    return redirect("runs")


@require_GET
@login_required
def runs(request: HttpRequest) -> HttpResponse:
    """The runs, the newest first; the list asks for itself again every two seconds."""
    status = request.GET.get("status") or None
    workflow = request.GET.get("workflow") or None
    try:
        page = queries.runs(status=status, workflow=workflow, limit=50, cursor=request.GET.get("cursor") or None)
    except AobError as error:
        messages.error(request, error.message)
        return redirect("runs")
    context = {
        "page": page,
        "runs": page["items"],
        "status": status or "",
        "workflow": workflow or "",
        "statuses": queries.STATUSES,
        "cursor": request.GET.get("cursor", ""),
    }
    template = "ui/parts/run-rows.html" if request.htmx else "ui/runs.html"  # type: ignore[attr-defined]
    return render(request, template, context)


def _run_or_404(run_id: str) -> dict[str, Any]:
    try:
        return queries.run(run_id)
    except services.RunError:
        raise Http404 from None


@require_GET
@login_required
def run(request: HttpRequest, run_id: str) -> HttpResponse:
    """One run: what it is doing, its timeline, its inputs and output, its log."""
    return render(request, "ui/run.html", _run_context(run_id))


@require_GET
@login_required
def timeline(request: HttpRequest, run_id: str) -> HttpResponse:
    """The part of the run page that changes while the run goes on."""
    return render(request, "ui/parts/timeline.html", _run_context(run_id))


def _run_context(run_id: str) -> dict[str, Any]:
    view = _run_or_404(run_id)
    found = timelines.activations(run_id)
    rows = chart.bars(found["items"][:500], view["created_at"], view["ended_at"])
    live = view["status"] not in queries.TERMINAL_STATUSES
    return {
        "run": view,
        "rows": rows,
        "left_out": found["total"] - len(rows),
        "live": live,
        "inputs": _pretty(view["inputs"]),
        "output": _pretty(view["output"]),
    }


@require_GET
@login_required
def events(request: HttpRequest, run_id: str) -> HttpResponse:
    """A page of the event log."""
    _run_or_404(run_id)
    text = request.GET.get("after", "0")
    after = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    page = queries.events(run_id, after=after, limit=EVENTS_PER_PAGE)
    for event in page["items"]:
        event["text"] = _pretty(event["data"])
    return render(request, "ui/parts/events.html", {"page": page, "events": page["items"], "run_id": run_id})


@require_GET
@login_required
def node(request: HttpRequest, run_id: str) -> HttpResponse:
    """Input, output, attempts and error of one activation."""
    _run_or_404(run_id)
    path = request.GET.get("path", "")
    found = {one["node"]: one for one in timelines.activations(run_id)["items"]}.get(path)
    if found is None:
        raise Http404
    context = {
        "one": found,
        "run_id": run_id,
        "input": _pretty(queries.value_at(run_id, found["input_seq"], "input")) if found["input_seq"] else "",
        "output": _output(run_id, found["output_seq"]),
        "error": _pretty(found["error"]) if found["error"] else "",
    }
    return render(request, "ui/parts/node.html", context)


def _output(run_id: str, seq: int | None) -> str:
    if seq is None:
        return ""
    for key in ("output", "payload"):
        value = queries.value_at(run_id, seq, key)
        if value is not None:
            return _pretty(value)
    return "null"


@require_POST
@login_required
def steer(request: HttpRequest, run_id: str, action: str) -> HttpResponse:
    """Cancel, pause, resume, signal or replay."""
    by = request.user.get_username()
    target = run_id
    try:
        if action == "cancel":
            services.cancel(run_id, reason=request.POST.get("reason") or None, by=by)
        elif action == "pause":
            services.pause(run_id, by=by)
        elif action == "resume":
            services.resume(run_id, by=by)
        elif action == "signal":
            payload = forms.decode(request.POST.get("payload") or "null")
            services.signal(run_id, request.POST.get("name", ""), payload, by=by)
        elif action == "replay":
            target = services.replay(run_id, request.POST.get("from", ""), by=by)
        else:
            raise Http404
    except AobError as error:
        messages.error(request, f"{error.message} {error.hint or ''}")
    return redirect("run", run_id=target)


@require_GET
@login_required
def workflows(request: HttpRequest) -> HttpResponse:
    found = list(Workflow.objects.prefetch_related("versions", "tags"))
    published = {one.name for one in found}
    unpublished = [one for one in Draft.objects.all() if one.name not in published]
    return render(request, "ui/workflows.html", {"workflows": found, "drafts": unpublished})


@require_http_methods(["GET", "POST"])
@login_required
def workflow(request: HttpRequest, name: str) -> HttpResponse:
    """One workflow: a form that starts it, its versions, its document."""
    found = Workflow.objects.filter(name=name).first()
    newest = found.versions.first() if found else None
    if found is None or newest is None:
        raise Http404
    document = document_of(newest.version_id)
    schema = document.get("inputs")
    fields = forms.fields(schema)
    problems: list[str] = []
    if request.method == "POST":
        try:
            inputs = forms.read(request, schema)
            run_id = services.start(services.StartRequest(f"{name}@{newest.version_id}", inputs)).id
            return redirect("run", run_id=run_id)
        except AobError as error:
            found_problems = getattr(error, "problems", None) or [error]
            problems = [f"{one.pointer or ''} {one.message}".strip() for one in found_problems]
            for field in fields:
                field["value"] = request.POST.get(field["name"], field["value"])
    context = {
        "workflow": found,
        "newest": newest,
        "fields": fields,
        "problems": problems,
        "document": _pretty(document),
        "versions": found.versions.select_related("created_by")[:20],
        "tags": found.tags.all(),
    }
    return render(request, "ui/workflow.html", context, status=422 if problems else 200)


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


@require_GET
@login_required
def dead_letters(request: HttpRequest) -> HttpResponse:
    status = request.GET.get("status", "open")
    status = status if status in deadletters.STATUSES else "open"
    page = deadletters.dead_letters(status=status)
    return render(
        request,
        "ui/dead-letters.html",
        {"letters": page["items"], "status": status, "statuses": deadletters.STATUSES},
    )


@require_POST
@login_required
def settle_dead_letter(request: HttpRequest, number: int, action: str) -> HttpResponse:
    try:
        if action == "replay":
            return redirect("run", run_id=deadletters.replay(number, by=request.user.get_username()))
        if action != "discard":
            raise Http404
        deadletters.discard(number, reason=request.POST.get("reason") or None)
    except AobError as error:
        messages.error(request, error.message)
    return redirect("dead-letters")


@require_http_methods(["GET", "POST"])
@login_required
def account(request: HttpRequest) -> HttpResponse:
    """API tokens: made here, shown once, revoked here."""
    made = None
    if request.method == "POST" and "revoke" in request.POST:
        from django.utils import timezone

        number = request.POST["revoke"]
        if number.isascii() and number.isdigit() and len(number) < 10:
            ApiToken.objects.filter(user=request.user, pk=number).update(revoked_at=timezone.now())
        return redirect("account")
    if request.method == "POST":
        scopes = tuple(scope for scope in SCOPES if scope in request.POST.getlist("scope"))
        if "admin" in scopes and not request.user.is_superuser:
            scopes = tuple(scope for scope in scopes if scope != "admin")
        name = request.POST.get("name", "").strip()[:100]
        if name and scopes:
            made = ApiToken.issue(request.user, name, scopes)
        else:
            messages.error(request, "Give the token a name and at least one scope.")
    tokens = ApiToken.objects.filter(user=request.user, revoked_at=None)
    return render(request, "ui/account.html", {"tokens": tokens, "made": made, "scopes": SCOPES})


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    from aob_web.api.problems import plain

    if request.path.startswith("/api/"):
        return plain(404, "not_found", "There is nothing here.")
    return render(request, "ui/error.html", {"title": "Not found", "text": "There is nothing here."}, status=404)


def failed(request: HttpRequest) -> HttpResponse:
    text = "Something went wrong here; the log of the web process says what."
    return render(request, "ui/error.html", {"title": "An error", "text": text}, status=500)


def _pretty(value: Any) -> str:
    text = json.dumps(value, indent=2, ensure_ascii=False)
    if len(text) > MAX_SHOWN:
        return text[:MAX_SHOWN] + f"\n… {len(text) - MAX_SHOWN} more characters; see the API or `aob run show`"
    return text
