"""Events as lines of a log: with a level, in words, and what nodes and functions wrote themselves. Pure.

`brief` is an event without its values, as small as a page needs that takes hundreds of them a second.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from runs.core import paths
from runs.core.events import Event
from runs.core.scope import instant

LEVELS = ("debug", "info", "warning", "error")
MAX_TEXT = 2_000
MAX_TAKEN = 200
_KEPT = frozenset(
    {
        "attempt",
        "taken",
        "port",
        "count",
        "version",
        "handled",
        "kind",
        "name",
        "until",
        "because",
        "child",
        "workflow",
        "patch",
        "ticket",
        "title",
        "mode",
        "step",
    }
)


def brief(event: Event) -> dict[str, Any]:
    """The event with level and text, its own log lines, and of its data only what is small."""
    level, text = said(event)
    data = {key: _small(value) for key, value in event.data.items() if key in _KEPT}
    error = event.data.get("error")
    if isinstance(error, dict):
        data["error"] = {key: str(error.get(key, ""))[:500] for key in ("code", "message")}
    author = event.data.get("by")
    if isinstance(author, dict):
        data["by"] = {key: _small(author.get(key, "")) for key in ("kind", "name")}
    forked = event.data.get("forked_from")
    if isinstance(forked, dict):
        data["copied"] = forked.get("copied", 0)
    view: dict[str, Any] = {
        "seq": event.seq,
        "type": event.type,
        "at": instant(event.at),
        "node": event.node,
        "level": level,
        "text": text,
        "data": data,
    }
    written = own_lines(event)
    if written:
        view["log"] = written
    return view


def own_lines(event: Event) -> list[dict[str, str]]:
    """What a log node or an executor wrote."""
    found = event.data.get("log")
    lines = found if isinstance(found, list) else [found] if isinstance(found, dict) else []
    return [
        {
            "level": one["level"] if one.get("level") in LEVELS else "info",
            "message": _cut(str(one.get("message", ""))),
        }
        for one in lines
        if isinstance(one, dict)
    ]


def said(event: Event) -> tuple[str, str]:
    """Level and text of an event."""
    level, words = _SAID.get(event.type, ("info", lambda event: event.type))
    if event.type == "NodeFailed" and event.data.get("handled") != "fail":
        level = "warning"
    return level, _cut(words(event))


def _error(event: Event) -> str:
    error = event.data.get("error")
    return f"{error.get('code')}: {error.get('message')}" if isinstance(error, dict) else "unknown error"


def _attempt(event: Event) -> str:
    return f"Attempt {event.data.get('attempt')}"


def _started(event: Event) -> str:
    forked = event.data.get("forked_from")
    if isinstance(forked, dict):
        copied = forked.get("copied", 0)
        return f"Run started as a replay of {forked.get('run')} from {forked.get('from')}; {copied} events are taken over"
    return f"Run started by {event.data['by']}" if event.data.get("by") else "Run started"


def _completed(event: Event) -> str:
    port = event.data.get("port", "out")
    return "Done" if port == "out" else f"Done, leaves by {port}"


def _node_failed(event: Event) -> str:
    then = {
        "error": "; goes on by its error edge",
        "skip": "; counts as skipped",
        "continue": "; goes on with its value",
    }.get(str(event.data.get("handled")), "")
    return f"Failed: {_error(event)}{then}"


def _waits(event: Event) -> str:
    data = event.data
    whose = f"for {', '.join(data.get('assignees', ())) or 'anybody'} to decide: {data.get('title')}"
    words = {"signal": f"for the signal {data.get('name')}", "approval": whose, "failure": f"{_error(event)}; {whose}"}
    what = words.get(str(data.get("kind")), "")
    until = f"until {data['until']}" if data.get("until") else ""
    return " ".join(part for part in ("Waits", what, until) if part)


def _patch(words: str) -> Callable[[Event], str]:
    def said(event: Event) -> str:
        author = event.data.get("by", {})
        name = author.get("name") if author.get("kind") == "person" else f"{author.get('kind')} {author.get('name')}"
        errors = event.data.get("errors")
        because = errors[0]["message"] if errors else event.data.get("reason")
        return f"{words} by {name}" + (f": {because}" if because else "")

    return said


def _escalated(event: Event) -> str:
    data = event.data
    why = "Nobody of those asked exists here" if data.get("because") == "unattended" else "Nobody decided in time"
    return f"{why}; handed to {', '.join(data.get('assignees', ())) or 'anybody'}"


def _delegated(event: Event) -> str:
    words = f"{event.data['by']} asks {event.data['to']} to decide instead"
    return f"{words}: {event.data['reason']}" if event.data.get("reason") else words


def _by(words: str) -> Callable[[Event], str]:
    def said(event: Event) -> str:
        by, reason = event.data.get("by"), event.data.get("reason")
        return words + (f" by {by}" if by else "") + (f": {reason}" if reason else "")

    return said


def _index(words: str) -> Callable[[Event], str]:
    return lambda event: words.format(paths.owner(event.node or "[0]")[1])


_WHOM = {"model": "asks its model", "tool": "calls a tool"}


def _step_ended(event: Event) -> str:
    used = event.data.get("used", {})
    tokens = f", {used['tokens']} tokens" if used.get("tokens") else ""
    return f"Step {event.data['step']} is done{tokens}"


def _plain(words: str) -> Callable[[Event], str]:
    return lambda event: words


_SAID: dict[str, tuple[str, Callable[[Event], str]]] = {
    "RunStarted": ("info", _started),
    "TaskScheduled": ("debug", lambda event: f"{_attempt(event)} is queued"),
    "TaskStarted": ("debug", lambda event: f"{_attempt(event)} begins"),
    "TaskCompleted": ("debug", lambda event: f"{_attempt(event)} succeeded"),
    "TaskFailed": ("warning", lambda event: f"{_attempt(event)} failed: {_error(event)}"),
    "TaskLost": ("warning", lambda event: f"{_attempt(event)} was lost: its worker fell silent"),
    "RetryScheduled": ("info", lambda event: f"{_attempt(event)} follows at {event.data.get('until')}"),
    "TimerFired": ("debug", _plain("Its time has come")),
    "SignalReceived": ("info", _by("Signal received, sent")),
    "TicketAnswered": ("info", lambda event: _by({"approve": "Approved"}.get(event.data["answer"], "Rejected"))(event)),
    "TicketEscalated": ("warning", _escalated),
    "TicketDelegated": ("info", _delegated),
    "TicketClaimed": ("debug", lambda event: f"{event.data['by']} looks at it"),
    "TicketReleased": ("debug", lambda event: f"{event.data['by']} does not look at it any more"),
    "TicketCommented": ("info", lambda event: f"{event.data['by']} wrote: {event.data.get('text', '…')}"),
    "TicketReminded": ("info", lambda event: f"Reminder {event.data['count']}"),
    "TicketUnattended": (
        "warning",
        lambda event: f"Too few who may decide exist of {', '.join(event.data['assignees'])}",
    ),
    "TicketDecided": ("info", lambda event: _by(f"Decided: {str(event.data.get('status')).replace('_', ' ')},")(event)),
    "ChildStarted": ("info", lambda event: f"Started {event.data.get('workflow')} as run {event.data.get('child')}"),
    "ChildEnded": ("info", _plain("The child run ended")),
    "NodeCompleted": ("info", _completed),
    "NodeFailed": ("error", _node_failed),
    "NodeSkipped": ("debug", _plain("Skipped")),
    "NodeWaiting": ("info", _waits),
    "NodeRouted": ("debug", _plain("Its new edges are decided")),
    "MapStarted": ("info", lambda event: f"Starts on {event.data.get('count')} items"),
    "ItemCompleted": ("debug", _index("Item {} is done")),
    "ItemFailed": ("error", lambda event: f"{_index('Item {}')(event)} failed: {_error(event)}"),
    "IterationStarted": ("debug", _index("Iteration {} begins")),
    "IterationCompleted": ("debug", _index("Iteration {} is done")),
    "PauseRequested": ("warning", _by("Paused")),
    "ResumeRequested": ("info", _by("Resumed")),
    "CancelRequested": ("warning", _by("Cancelled")),
    "RetryOverridden": ("warning", _by("Retry policy changed")),
    "PatchProposed": ("warning", _patch("Patch proposed")),
    "PatchApplied": ("warning", _patch("Graph patched")),
    "PatchRejected": ("warning", lambda event: f"Patch turned down by {event.data.get('decided_by')}"),
    "PatchRefused": ("error", _patch("Patch refused")),
    "AgentStepStarted": ("debug", lambda event: f"Step {event.data['step']}: {_WHOM[event.data['kind']]}"),
    "AgentStepEnded": ("debug", _step_ended),
    "EngineFailed": ("error", lambda event: f"The engine failed: {_error(event)}"),
    "RunCompleted": ("info", _plain("Run completed")),
    "RunFailed": ("error", lambda event: f"Run failed: {_error(event)}"),
    "RunCancelled": ("warning", _plain("Run cancelled")),
    "RunTimedOut": ("error", _plain("Run timed out")),
}


def _small(value: Any) -> Any:
    if isinstance(value, str):
        return value[:300]
    return value[:MAX_TAKEN] if isinstance(value, list) else value


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + " …"
