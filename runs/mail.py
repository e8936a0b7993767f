"""E-mail: made so that its text can set no header, and sent by Django's backend (AOB_EMAIL_URL).

A mail has a Message-ID that its maker chose: the same whenever it is sent again, so that a repetition is recognised.
"""

from __future__ import annotations

import contextlib
import hashlib
import smtplib
import ssl
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from email import encoders
from email.mime.base import MIMEBase
from email.utils import formataddr
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core import mail as django_mail
from django.core.mail.backends import smtp
from django.core.mail.message import sanitize_address

from workflows.core.addresses import parse_address
from workflows.core.errors import AobError
from workflows.core.lines import is_one_line

MAX_SUBJECT = 900
MAX_ANSWER = 500
"""Characters of a server's answer that are kept."""


class MailError(AobError):
    """A mail was not taken. `transient` says that it may be taken later."""

    def __init__(self, code: str, message: str, *, transient: bool, hint: str | None = None) -> None:
        super().__init__(code, message, None, hint)
        self.transient = transient


@dataclass(frozen=True)
class Attachment:
    """A file of a mail."""

    name: str
    content_type: str
    content: bytes


@dataclass(frozen=True)
class Mail:
    """Addresses are pairs of a display name, or nothing, and the address itself."""

    message_id: str
    subject: str
    text: str
    html: str | None = None
    to: Sequence[tuple[str, str]] = ()
    cc: Sequence[tuple[str, str]] = ()
    bcc: Sequence[tuple[str, str]] = ()
    reply_to: Sequence[tuple[str, str]] = ()
    sender: tuple[str, str] | None = None
    attachments: Sequence[Attachment] = ()
    headers: Mapping[str, str] = field(default_factory=dict)


def message_id(key: str) -> str:
    """The Message-ID of what has this key; it tells nothing of the key."""
    digest = hashlib.sha256(key.encode()).hexdigest()
    return f"<{digest[:40]}@{urlsplit(settings.AOB_PUBLIC_URL).hostname or 'aob'}>"


def send(mail: Mail) -> dict[str, str]:
    """Sends one mail; gives the recipients that the server refused, with its answers. Raises MailError.

    A mail that some of its recipients get counts as sent: who has it would get it twice otherwise. Takes
    AOB_EMAIL_SECONDS at most for each step with the server.
    """
    if len(mail.subject) > MAX_SUBJECT or not is_one_line(mail.subject):
        raise MailError(
            "email_subject",
            f"The subject holds a line break or other control character, or more than {MAX_SUBJECT} characters.",
            transient=False,
            hint="Put long text into the body.",
        )
    message = _message(mail)
    connection = django_mail.get_connection()
    try:
        connection.send_messages([message])
    except smtplib.SMTPRecipientsRefused as error:
        codes = [code for code, _ in error.recipients.values()]
        raise _refused("No recipient was accepted", _answers(error.recipients), codes) from None
    except smtplib.SMTPResponseException as error:
        what = "The mail server refused the sign-in" if isinstance(error, smtplib.SMTPAuthenticationError) else ""
        answer = {"": f"{error.smtp_code} {_text(error.smtp_error)}"}
        raise _refused(what or "The mail server refused the mail", answer, [error.smtp_code]) from None
    except smtplib.SMTPNotSupportedError as error:
        raise MailError("email_refused", f"The mail server cannot do this: {_text(error)}", transient=False) from None
    except ssl.SSLCertVerificationError as error:
        message_ = f"The mail server's certificate does not fit: {error.verify_message}."
        raise MailError("email_connection", message_, transient=False, hint="See AOB_EMAIL_URL.") from None
    except (smtplib.SMTPException, OSError) as error:
        reason = _text(error) or type(error).__name__
        message_ = f"The connection to the mail server failed: {reason}"
        raise MailError("email_connection", message_, transient=True, hint="See AOB_EMAIL_URL.") from None
    names = {_encoded(address): address for _, address in (*mail.to, *mail.cc, *mail.bcc)}
    return {names.get(name, name): answer for name, answer in getattr(connection, "refused", {}).items()}


def _refused(what: str, answers: Mapping[str, str], codes: Iterable[int]) -> MailError:
    """Replies of 400 to 499 are of the moment (RFC 5321, section 4.2.1)."""
    told = "; ".join(f"{name}: {answer}" if name else answer for name, answer in answers.items())
    return MailError("email_refused", f"{what}: {told}"[:2000], transient=any(400 <= code < 500 for code in codes))


def _answers(refused: Mapping[str, tuple[int, Any]]) -> dict[str, str]:
    return {name: f"{code} {_text(answer)}" for name, (code, answer) in refused.items()}


def _text(answer: Any) -> str:
    text = answer.decode("utf-8", "replace") if isinstance(answer, bytes) else str(answer)
    return " ".join(text.replace("\x00", "�").split())[:MAX_ANSWER]


def _message(mail: Mail) -> django_mail.EmailMultiAlternatives:
    message = django_mail.EmailMultiAlternatives(
        subject=mail.subject,
        body=mail.text,
        from_email=_written(mail.sender or parse_address(settings.DEFAULT_FROM_EMAIL)),
        to=[_written(one) for one in mail.to],
        cc=[_written(one) for one in mail.cc],
        bcc=[_written(one) for one in mail.bcc],
        reply_to=[_written(one) for one in mail.reply_to],
        headers={**mail.headers, "Message-ID": mail.message_id},
    )
    if mail.html is not None:
        message.attach_alternative(mail.html, "text/html")
    for one in mail.attachments:
        message.attach(_part(one))
    return message


def _written(one: tuple[str, str]) -> str:
    """An address with its display name as headers take it."""
    name, address = one
    try:
        return formataddr((name, _encoded(address)))
    except UnicodeError as error:
        message = f"Mail cannot be sent to {address!r}: {error}"
        raise MailError("email_address", message[:500], transient=False) from None


def _encoded(address: str) -> str:
    """As envelopes take it: names of hosts in other scripts are encoded."""
    local, _, host = address.rpartition("@")
    return f"{local}@{host.encode('idna').decode()}"


def _part(attachment: Attachment) -> MIMEBase:
    """Its bytes as they are: Django would take texts apart, and messages for mails."""
    main, _, sub = attachment.content_type.partition("/")
    part = MIMEBase(main, sub)
    part.set_payload(attachment.content)
    encoders.encode_base64(part)
    part.add_header("Content-Disposition", "attachment", filename=attachment.name)
    return part


class SmtpBackend(smtp.EmailBackend):
    """Django's, which forgets whom the server refused where it took others."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.refused: dict[str, str] = {}

    def _send(self, email_message: Any) -> bool:
        encoding = email_message.encoding or settings.DEFAULT_CHARSET
        address = partial(sanitize_address, encoding=encoding)
        assert self.connection is not None
        refused = self.connection.sendmail(
            address(email_message.from_email),
            [address(one) for one in email_message.recipients()],
            email_message.message().as_bytes(linesep="\r\n"),
        )
        self.refused = _answers(refused)
        return True

    def close(self) -> None:
        """What was taken stays taken, however the connection ends."""
        with contextlib.suppress(OSError):
            super().close()
