"""`notify`: a message to an incoming webhook, sent as an `http` node would."""

from __future__ import annotations

import json
from typing import Any

from worker.executors import http
from worker.executors.base import TaskContext, TaskError
from workflows.core.chat import MAX_FIELDS, Notice, is_link, payload


async def execute(config: dict[str, Any], context: TaskContext) -> Any:
    """`{status, body}` of the answer."""
    request = {
        "method": "POST",
        "url": config["url"],
        "json": payload(config.get("channel", "webhook"), notice(config)),
        "response": "auto",
    }
    answer = await http.execute(request, context)
    return {"status": answer["status"], "body": answer["body"]}


def notice(config: dict[str, Any]) -> Notice:
    """Raises TaskError for what is no notice."""
    fields = config.get("fields") or {}
    if not isinstance(fields, dict) or len(fields) > MAX_FIELDS:
        raise TaskError("notify_text", f"The fields are no map of at most {MAX_FIELDS} names.", transient=False)
    link = _shown(config.get("link") or "")
    if link and not is_link(link):
        raise TaskError("notify_text", f"{link[:100]!r} is no link to http or https.", transient=False, pointer="/link")
    return Notice(
        text=_shown(config["text"]),
        title=" ".join(_shown(config.get("title") or "").split()),
        fields={str(name): _shown(value) for name, value in fields.items()},
        link=link,
    )


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
