"""The log of a run: a page of lines that fit a filter, and all of them as a download."""

from __future__ import annotations

import json
from collections.abc import Iterator

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.utils.http import urlencode
from django.views.decorators.http import require_GET

from aob_web.ui.pages.run import run_or_404
from runs import logs

LINES = 200
FORMATS = {"text": ("text/plain; charset=utf-8", "log"), "jsonl": ("application/x-ndjson", "jsonl")}


@require_GET
@login_required
def log(request: HttpRequest, run_id: str) -> HttpResponse | StreamingHttpResponse:
    """Lines of the log; with `format` all that fit, as a download."""
    view = run_or_404(run_id)
    level = request.GET.get("level", "")
    wanted = logs.Wanted(
        request.GET.get("node", "")[:500],
        level if level in logs.LEVELS else "debug",
        request.GET.get("q", "")[:200],
    )
    form = request.GET.get("format", "")
    if form in FORMATS:
        content_type, ending = FORMATS[form]
        answer = StreamingHttpResponse(_written(run_id, wanted, form), content_type=content_type)
        answer["Content-Disposition"] = f'attachment; filename="run-{view["id"]}.{ending}"'
        answer["X-Content-Type-Options"] = "nosniff"
        return answer
    text = request.GET.get("after", "0")
    after = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    found = logs.page(run_id, wanted, after=after, limit=LINES)
    query = urlencode({"node": wanted.node, "level": wanted.level, "q": wanted.text})
    context = {"run": view, "lines": found["items"], "next": found["next"], "wanted": wanted, "query": query}
    return render(request, "ui/run-log.html", {**context, "levels": logs.LEVELS})


def _written(run_id: str, wanted: logs.Wanted, form: str) -> Iterator[str]:
    for line in logs.all_lines(run_id, wanted):
        if form == "jsonl":
            yield json.dumps(line, ensure_ascii=False) + "\n"
        else:
            # One line stays one line, whatever a node wrote.
            text = line["text"].replace("\r", "\\r").replace("\n", "\\n")
            yield f"{line['at']} {line['seq']:>6} {line['level']:<7} {line['node'] or '-'} {text}\n"
