"""What is posted to chat systems and webhooks: one notice in the shape that each of them takes (pure).

What stands in a notice is data: it mentions nobody and breaks out of no field.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

Shape = Literal["webhook", "slack", "teams", "discord"]
SHAPES: tuple[Shape, ...] = ("webhook", "slack", "teams", "discord")

MAX_FIELDS = 25
_SLACK_TEXT, _SLACK_TITLE, _SLACK_FIELD, _SLACK_FIELDS = 11_000, 150, 1_900, 10
_DISCORD_TEXT, _DISCORD_TITLE, _DISCORD_NAME, _DISCORD_FIELD = 4_000, 250, 250, 1_000
_TEAMS_TEXT, _TEAMS_TITLE, _TEAMS_NAME, _TEAMS_FIELD = 8_000, 250, 100, 250
"""Below what each of them takes; longer text ends with an ellipsis."""

_URL = re.compile(r"https?://[^\s<>\"|\\^`{}]+", re.IGNORECASE)
_MARKS = re.compile(
    # An address stays as it is, or it would lead elsewhere; no bracket belongs to it that could hide another.
    r"(?P<address>https?://[^\s<>\"|\\^`{}\[\]()]+)"
    r"|(?P<mark>[\\`*_~|\[\]<])"
    r"|(?P<start>^[ \t]*(?:[-+#>]|[0-9]{1,9}(?=[.)])))",
    re.IGNORECASE | re.MULTILINE,
)


class Notice(msgspec.Struct, frozen=True):
    """A text in Markdown, with what may stand around it, which is plain."""

    text: str
    title: str = ""
    fields: Mapping[str, str] = {}
    link: str = ""


def is_link(text: str) -> bool:
    return len(text) <= 2_000 and _URL.fullmatch(text) is not None


def plain(text: str) -> str:
    """A text as Markdown that shows it as it is (CommonMark, section 2.4), in the Markdown of all these systems.

    Adaptive Cards take a subset of CommonMark, also in the titles and values of facts; Discord has marks of its own, and
    a backslash before them as well.
    """
    return _MARKS.sub(_as_it_is, text)


def _as_it_is(found: re.Match[str]) -> str:
    if found["start"] is not None:
        # Of the number of a list its dot is the mark.
        return f"{found['start']}\\" if found["start"][-1].isdigit() else f"{found['start'][:-1]}\\{found['start'][-1]}"
    return found["address"] or f"\\{found['mark']}"


def _cut_plain(text: str, most: int) -> str:
    shown = plain(text[: most + 1])
    if len(shown) <= most:
        return shown
    shown = shown[: most - 1]
    is_half = (len(shown) - len(shown.rstrip("\\"))) % 2 == 1
    return f"{shown[:-1] if is_half else shown}…"


def payload(shape: Shape, notice: Notice) -> dict[str, Any]:
    """The JSON body of a notice."""
    return {"webhook": _webhook, "slack": _slack, "teams": _teams, "discord": _discord}[shape](notice)


def _webhook(notice: Notice) -> dict[str, Any]:
    return {
        "text": notice.text,
        **({"title": notice.title} if notice.title else {}),
        **({"fields": dict(notice.fields)} if notice.fields else {}),
        **({"link": notice.link} if notice.link else {}),
    }


def _slack(notice: Notice) -> dict[str, Any]:
    """Blocks (Slack's Block Kit), and a plain text for notifications."""
    blocks: list[dict[str, Any]] = []
    if notice.title:
        header = {"type": "plain_text", "text": _cut(notice.title, _SLACK_TITLE), "emoji": False}
        blocks.append({"type": "header", "text": header})
    if notice.text.strip():
        blocks.append({"type": "markdown", "text": _escaped(_cut(notice.text, _SLACK_TEXT))})
    rows = [
        {"type": "mrkdwn", "text": f"*{_slack_plain(name)}*\n{_slack_plain(value)}"[:2000]}
        for name, value in notice.fields.items()
    ]
    blocks += [
        {"type": "section", "fields": rows[start : start + _SLACK_FIELDS]} for start in range(0, len(rows), _SLACK_FIELDS)
    ]
    if notice.link:
        button = {"type": "button", "text": {"type": "plain_text", "text": "Open"}, "url": notice.link}
        blocks.append({"type": "actions", "elements": [button]})
    return {"text": _escaped(_cut(notice.title or notice.text, _SLACK_TEXT)), "blocks": blocks}


def _escaped(text: str) -> str:
    """`<!channel>` and `<@somebody>` stay text."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _slack_plain(text: str) -> str:
    return _cut(_escaped(text).replace("*", "∗"), _SLACK_FIELD)


def _teams(notice: Notice) -> dict[str, Any]:
    """An Adaptive Card, as Teams' workflows for incoming webhooks take it."""
    body: list[dict[str, Any]] = []
    if notice.title:
        body.append(
            {
                "type": "TextBlock",
                "text": _cut_plain(notice.title, _TEAMS_TITLE),
                "weight": "Bolder",
                "size": "Medium",
            }
        )
        body[-1]["wrap"] = True
    body.append({"type": "TextBlock", "text": _cut(notice.text, _TEAMS_TEXT), "wrap": True})
    if notice.fields:
        facts = [
            {"title": _cut_plain(name, _TEAMS_NAME), "value": _cut_plain(value, _TEAMS_FIELD)}
            for name, value in notice.fields.items()
        ]
        body.append({"type": "FactSet", "facts": facts})
    card: dict[str, Any] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": body,
    }
    if notice.link:
        card["actions"] = [{"type": "Action.OpenUrl", "title": "Open", "url": notice.link}]
    return {
        "type": "message",
        "attachments": [{"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}],
    }


def _discord(notice: Notice) -> dict[str, Any]:
    """An embed; `allowed_mentions` keeps `@everyone` in a text from calling anybody."""
    embed: dict[str, Any] = {"description": _cut(notice.text, _DISCORD_TEXT)}
    if notice.title:
        embed["title"] = _cut_plain(notice.title, _DISCORD_TITLE)
    if notice.link:
        embed["url"] = notice.link
        embed.setdefault("title", "Open")
    if notice.fields:
        # An embed has 6,000 characters in all, so many fields are short ones.
        most = min(_DISCORD_FIELD, 1_000 // len(notice.fields))
        embed["description"] = _cut(notice.text, 3_500)
        embed["fields"] = [
            {
                "name": _cut_plain(name or "–", min(_DISCORD_NAME, most)),
                "value": _cut_plain(value or "–", most),
                "inline": True,
            }
            for name, value in notice.fields.items()
        ]
    return {"embeds": [embed], "allowed_mentions": {"parse": []}}


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
