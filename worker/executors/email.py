"""`email`: one mail by the installation's mail server. The server is the operator's, so the guard has no part in it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.conf import settings

from runs.mail import Attachment, Mail, MailError, message_id, send
from worker.executors.base import TaskContext, TaskError, in_line, is_blob, is_file_name, is_media_type
from workflows.core.addresses import MAX_RECIPIENTS, address_list
from workflows.core.errors import AobError
from workflows.core.markdown import MAX_TEXT, to_html
from workflows.nodes.email import MAX_ATTACHMENTS

AT_ONCE = 8
"""Mails that a worker sends at a time: few servers like more."""

MAX_PLAIN = 1024 * 1024
"""Characters of a plain text."""

# Of their own: a mail server that does not answer must not hold up what leases and records (hazard F29).
_senders = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="mail")
_places: dict[asyncio.AbstractEventLoop, asyncio.Semaphore] = {}


async def execute(config: dict[str, Any], context: TaskContext) -> Any:
    """`{message_id, to, accepted}`, and `refused` where some recipients were."""
    mail = await _mail(config, context)
    loop = asyncio.get_running_loop()
    try:
        async with in_line(_places.setdefault(loop, asyncio.Semaphore(AT_ONCE))):
            refused = await loop.run_in_executor(_senders, send, mail)
    except MailError as error:
        raise TaskError(error.code, error.message, transient=error.transient, hint=error.hint) from None
    recipients = [address for _, address in (*mail.to, *mail.cc, *mail.bcc)]
    output: dict[str, Any] = {
        "message_id": mail.message_id,
        "to": [address for _, address in mail.to],
        "accepted": [address for address in recipients if address not in refused],
    }
    if refused:
        context.log("warning", f"The mail server refused {', '.join(refused)}.")
        output["refused"] = refused
    return output


async def _mail(config: Mapping[str, Any], context: TaskContext) -> Mail:
    """Raises TaskError for what cannot be sent as it is."""
    try:
        found = {key: address_list(config.get(key), f"/{key}") for key in ("to", "cc", "bcc", "reply_to", "from")}
    except AobError as error:
        raise TaskError(error.code, error.message, transient=False, pointer=error.pointer, hint=error.hint) from None
    number = sum(len(found[key]) for key in ("to", "cc", "bcc"))
    if not found["to"] or number > MAX_RECIPIENTS or len(found["from"]) > 1:
        message = f"A mail needs a recipient and has at most {MAX_RECIPIENTS}; this one has {number}."
        raise TaskError("email_address", message, transient=False, pointer="/to")
    markdown = _text(config, "markdown", MAX_TEXT)
    text = _text(config, "text", MAX_PLAIN)
    if text is None and markdown is None:
        raise TaskError("email_text", "The mail has no text.", transient=False, pointer="/text")
    return Mail(
        message_id=message_id(context.idempotency_key),
        subject=_subject(config["subject"]),
        text=text if text is not None else markdown or "",
        html=None if markdown is None else to_html(markdown),
        to=found["to"],
        cc=found["cc"],
        bcc=found["bcc"],
        reply_to=found["reply_to"],
        sender=found["from"][0] if found["from"] else None,
        attachments=await _attachments(config.get("attachments") or [], context),
    )


def _subject(subject: Any) -> str:
    if not isinstance(subject, str) or not subject.strip():
        raise TaskError("email_subject", "The subject is no text, or empty.", transient=False, pointer="/subject")
    return subject


def _text(config: Mapping[str, Any], key: str, most: int) -> str | None:
    text = config.get(key)
    if text is None:
        return None
    text = text if isinstance(text, str) else str(text)
    if len(text) > most:
        message = f"{key!r} has {len(text):,} characters; a mail may have {most:,}."
        raise TaskError("email_text", message, transient=False, pointer=f"/{key}", hint="Attach it as a blob.")
    return text


async def _attachments(references: Any, context: TaskContext) -> list[Attachment]:
    if not isinstance(references, list) or len(references) > MAX_ATTACHMENTS:
        message = f"The attachments are no list of at most {MAX_ATTACHMENTS} blob references."
        raise TaskError("email_attachment", message, transient=False, pointer="/attachments")
    found = []
    left = settings.AOB_EMAIL_MAX_BYTES
    for number, reference in enumerate(references):
        place = f"/attachments/{number}"
        if not is_blob(reference):
            raise TaskError("email_attachment", "This is no blob reference.", transient=False, pointer=place)
        name = reference.get("name", f"attachment-{number + 1}")
        if not is_file_name(name):
            message = f"{str(name)[:60]!r} is no name for a file."
            raise TaskError("email_attachment", message, transient=False, pointer=f"{place}/name")
        kind = str(reference.get("content_type") or reference.get("media_type") or "application/octet-stream")
        kind = kind.partition(";")[0].strip()
        if not is_media_type(kind) or kind.lower().startswith(("multipart/", "message/")):
            message = f"{kind[:60]!r} is no content type of a file."
            raise TaskError("email_attachment", message, transient=False, pointer=f"{place}/content_type")
        content = b""
        async for chunk in context.blobs.open(reference):
            content += chunk
            if len(content) > left:
                raise TaskError(
                    "email_too_large",
                    f"The attachments have more than {settings.AOB_EMAIL_MAX_BYTES:,} bytes together.",
                    transient=False,
                    pointer=place,
                    hint="Send a link instead, or raise AOB_EMAIL_MAX_BYTES.",
                )
        left -= len(content)
        found.append(Attachment(name, kind, content))
    return found
