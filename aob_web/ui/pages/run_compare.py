"""Two runs side by side, and the choice of what a run is compared with."""

from __future__ import annotations

import json
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from aob_web.ui import diff, gantt
from aob_web.ui.pages.run import run_or_404
from runs import comparing, reading, search, timeline
from workflows.core.document import Document
from workflows.services import document_of

OFFERED = 20
MAX_TEXT = 400_000
MAX_PAIRS = 300


@require_GET
@login_required
def compare(request: HttpRequest) -> HttpResponse:
    """`?a=…&b=…` compares; with one of them alone the other is chosen."""
    a, b = request.GET.get("a", "").strip(), request.GET.get("b", "").strip()
    if not (a and b):
        return _choice(request, b or a)
    left, right = run_or_404(a), run_or_404(b)
    found = comparing.compare(a, b)
    only = request.GET.get("only") == "different"
    pairs = [_pair(one) for one in found.pairs]
    chosen = [one for one in pairs if not only or one["differs"]]
    node = request.GET.get("node", "")
    context = {
        "a": _head(left),
        "b": _head(right),
        "pairs": chosen[:MAX_PAIRS],
        "left_out": max(len(chosen) - MAX_PAIRS, 0),
        "differing": sum(one["differs"] for one in pairs),
        "total": len(pairs),
        "cut": found.cut,
        "only": only,
        "inputs": _difference(_value(a, 1, ("inputs",)), _value(b, 1, ("inputs",))),
        "output": _difference(_end(left), _end(right)),
        "node": node,
        "node_parts": _node_parts(a, b, node) if node else [],
        "document": _documents(left, right),
    }
    return render(request, "ui/run-compare.html", context)


def _choice(request: HttpRequest, run_id: str) -> HttpResponse:
    """The runs that a run may be compared with: where it comes from, and those of its workflow before it."""
    view = run_or_404(run_id)
    page = search.search(search.read_filter(workflow=view["workflow"], tries=False), limit=OFFERED + 1)
    others = [one for one in page["items"] if one["id"] != view["id"]][:OFFERED]
    origin = run_or_404(view["forked_from"]["run"]) if view["forked_from"] else None
    return render(request, "ui/run-compare-choice.html", {"run": view, "others": others, "origin": origin})


def _head(view: dict[str, Any]) -> dict[str, Any]:
    with timeline.held(view["id"]) as found:
        end = found.ended_at or found.last_at
        took = end - found.started_at if end is not None and found.started_at is not None else 0
    return {**view, "micros": took, "took": gantt.took(took)}


def _pair(one: comparing.Pair) -> dict[str, Any]:
    """A row: what differs is said in words, not by colour alone."""
    differs = (
        one.a is None
        or one.b is None
        or one.a.states != one.b.states
        or one.a.attempts != one.b.attempts
        or one.output not in ("same", "none")
    )
    ratio = one.ratio
    return {
        "node": one.node,
        "type": one.type,
        "sides": [_side(one.a), _side(one.b)],
        "path": next((side.path for side in (one.b, one.a) if side is not None and side.path), one.node),
        "output": one.output,
        "differing": one.differing,
        "ratio": None if ratio is None else f"{ratio:.2g}×" if ratio < 100 else f"{ratio:.0f}×",
        "slower": ratio is not None and ratio > 1.2,
        "differs": differs,
    }


def _side(side: comparing.Side | None) -> dict[str, Any] | None:
    if side is None:
        return None
    states = sorted(side.states.items())
    return {
        "states": states,
        "single": states[0][0] if side.count == 1 else "",
        "took": gantt.took(side.took) if side.ran else "",
        "attempts": side.attempts,
        "error": side.error,
        "path": side.path,
    }


def _node_parts(a: str, b: str, node: str) -> list[dict[str, Any]]:
    """Input and output of a node in both runs."""
    left, right = timeline.activation(a, node), timeline.activation(b, node)

    def value(run_id: str, one: timeline.Activation | None, what: str) -> reading.Reading | None:
        if one is None:
            return None
        if what == "Input":
            return _value(run_id, one.input_seq, reading.INPUT_KEYS)
        return _value(run_id, one.output_seq, (one.output_key,))

    return [{"title": what, **_difference(value(a, left, what), value(b, right, what))} for what in ("Input", "Output")]


def _value(run_id: str, seq: int | None, keys: tuple[str, ...]) -> reading.Reading | None:
    return reading.reading(run_id, seq, keys)


def _end(view: dict[str, Any]) -> reading.Reading | None:
    return _value(view["id"], view["last_seq"], ("output",)) if view["ended_at"] else None


def _difference(a: reading.Reading | None, b: reading.Reading | None) -> dict[str, Any]:
    """`same`, `none`, `large` (differs, but is too large to be shown line by line) or `rows`."""
    if a is None and b is None:
        return {"kind": "none"}
    if a is None or b is None:
        return {"kind": "only b" if a is None else "only a"}
    if a.blob is not None and a.blob == b.blob:
        return {"kind": "same"}
    if not (a.whole and b.whole):
        return {"kind": "large"}
    left, right = (_text(one.value) for one in (a, b))
    if left == right:
        return {"kind": "same"}
    rows = diff.side_by_side(left, right) if len(left) + len(right) < MAX_TEXT else None
    return {"kind": "large"} if rows is None else {"kind": "rows", "rows": rows}


def _documents(left: dict[str, Any], right: dict[str, Any]) -> dict[str, Any]:
    if left["version"] == right["version"]:
        return {"kind": "same"}
    return documents_compared(document_of(left["version"]), document_of(right["version"]))


def documents_compared(before: Document, after: Document) -> dict[str, Any]:
    """Two documents line by line, as `_difference` gives values."""
    rows = diff.side_by_side(_text(before), _text(after))
    return {"kind": "large"} if rows is None else {"kind": "rows", "rows": rows}


def _text(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True)
