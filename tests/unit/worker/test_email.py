"""The node `email` against a real mail server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.servers import SmtpServer
from tests.unit.worker.test_http import BLOBS, context
from worker.executors import email
from worker.executors.base import TaskError
from workflows.core.addresses import address_granted, parse_address
from workflows.core.errors import AobError

CONFIG: dict[str, Any] = {"to": "ops@example.com", "subject": "Grüße", "text": "Hello"}


@pytest.fixture
def server(settings: Any) -> Iterator[SmtpServer]:
    with SmtpServer() as smtp:
        settings.EMAIL_BACKEND = "runs.mail.SmtpBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", smtp.port
        yield smtp


def send(config: dict[str, Any], **more: Any) -> Any:
    return asyncio.run(email.execute({**CONFIG, **config}, context(**more)))


def blob(content: bytes, **more: Any) -> dict[str, Any]:
    name = f"sha256:{len(BLOBS.kept):064x}"
    BLOBS.kept[name] = content
    return {"blob": name, "bytes": len(content), "media_type": "application/octet-stream", **more}


def refused(config: dict[str, Any], **more: Any) -> TaskError:
    with pytest.raises(TaskError) as caught:
        send(config, **more)
    return caught.value


def test_markdown_becomes_html_beside_plain_text(server: SmtpServer) -> None:
    answer = send({"to": ["Ada <ada@example.com>"], "markdown": "**Hi** <script>x</script> ![p](https://c.example/p)"})
    [mail] = server.mails
    assert mail["Subject"] == "Grüße" and mail["To"] == "Ada <ada@example.com>"
    assert answer == {"message_id": mail["Message-ID"], "to": ["ada@example.com"], "accepted": ["ada@example.com"]}
    plain, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert plain is not None and plain.get_content().strip() == "Hello"
    assert html is not None and "<strong>Hi</strong> &lt;script&gt;" in html.get_content()
    assert "<img" not in html.get_content()


def test_markdown_alone_is_its_own_plain_text(server: SmtpServer) -> None:
    asyncio.run(email.execute({"to": "a@example.com", "subject": "x", "markdown": "- **one**"}, context()))
    plain = server.mails[0].get_body(("plain",))
    assert plain is not None and plain.get_content().strip() == "- **one**"


def test_blind_copies_reach_their_recipients_and_stand_in_no_header(server: SmtpServer) -> None:
    send({"cc": "b@example.com", "bcc": ["c@example.com"], "reply_to": "d@example.com", "from": "AOB <me@example.com>"})
    [mail] = server.mails
    assert server.envelopes == [["ops@example.com", "b@example.com", "c@example.com"]]
    assert "c@example.com" not in str(mail) and mail["Cc"] == "b@example.com" and mail["Reply-To"] == "d@example.com"
    assert mail["From"] == "AOB <me@example.com>"


@pytest.mark.parametrize("letter", ["\u00a0", "\u202f", "\u200d", "\u200c", "\u00ad", "\u200b", "\u200f", "\U000e0067"])
def test_ordinary_text_stands_in_subjects_and_names_whatever_letters_it_has(server: SmtpServer, letter: str) -> None:
    send({"subject": f"12{letter}€ 👩\u200d💻", "to": f"Zoë{letter}Ü 👩\u200d💻 <a@example.com>"})
    [mail] = server.mails
    assert mail["Subject"] == f"12{letter}€ 👩\u200d💻" and f"Zoë{letter}Ü" in mail["To"]
    assert sorted(set(mail.keys())) == sorted(mail.keys()) and "Bcc" not in mail
    assert server.envelopes == [["a@example.com"]]
    assert refused({"to": f"a{letter}b@example.com"}).code == "email_address"


@pytest.mark.parametrize("control", [*map(chr, (*range(32), *range(127, 160))), "\u2028", "\u2029", "\ud800"])
def test_no_control_character_comes_into_a_header(server: SmtpServer, control: str) -> None:
    assert refused({"subject": f"x{control}Bcc: evil@example.com"}).code == "email_subject"
    assert refused({"to": f"A{control}Bcc: e@example.com <a@example.com>"}).code == "email_address"
    assert server.mails == []


def test_attachments_arrive_byte_for_byte(server: SmtpServer) -> None:
    contents = [b"a,b\r\n1,2\n\xff", b"From: nobody\n\nx", bytes(range(256)) * 50]
    names = ["ünïcode list.csv", "mail.txt", "raw.bin"]
    kinds = ["text/csv; charset=utf-8", "text/plain", None]
    parts = [
        blob(c, name=n, **({"content_type": k} if k else {})) for c, n, k in zip(contents, names, kinds, strict=True)
    ]
    send({"attachments": parts})
    files = list(server.mails[0].iter_attachments())
    assert [file.get_payload(decode=True) for file in files] == contents
    assert [file.get_filename() for file in files] == names
    assert [file.get_content_type() for file in files] == ["text/csv", "text/plain", "application/octet-stream"]


def test_attachments_are_bounded_together(server: SmtpServer, settings: Any) -> None:
    settings.AOB_EMAIL_MAX_BYTES = 100
    send({"attachments": [blob(b"x" * 60, name="a")]})
    # What a reference says of its size does not count.
    error = refused({"attachments": [blob(b"x" * 60, name="a"), {**blob(b"x" * 60, name="b"), "bytes": 1}]})
    assert error.code == "email_too_large" and "AOB_EMAIL_MAX_BYTES" in (error.hint or "")
    assert len(server.mails) == 1


@pytest.mark.parametrize(
    ("config", "code"),
    [
        ({"subject": "x\r\nBcc: evil@example.com"}, "email_subject"),
        ({"subject": "x\nBcc: evil@example.com"}, "email_subject"),
        ({"subject": "x\u2028y"}, "email_subject"),
        ({"subject": "x\0"}, "email_subject"),
        ({"subject": " "}, "email_subject"),
        ({"subject": "x" * 2000}, "email_subject"),
        ({"to": "a@example.com\r\nBcc: evil@example.com"}, "email_address"),
        ({"to": "a@example.com\n"}, "email_address"),
        ({"to": "a@example.com, b@example.com"}, "email_address"),
        ({"to": "A\r\nBcc: e@example.com <a@example.com>"}, "email_address"),
        ({"to": "evil@example.com <a@example.com>"}, "email_address"),
        ({"to": "<a@example.com> b@example.com"}, "email_address"),
        ({"to": '"a\\" <e@example.com>" <a@example.com>'}, "email_address"),
        ({"to": "nobody"}, "email_address"),
        ({"to": "a@" + "ü" * 60 + ".example"}, "email_address"),
        ({"to": ["ops@example.com", "a@xn--" + "-" * 20 + ".example"], "subject": "x\x85y"}, "email_subject"),
        ({"to": "a@@example.com"}, "email_address"),
        ({"to": "a@-x.com"}, "email_address"),
        ({"to": [7]}, "email_address"),
        ({"to": []}, "email_address"),
        ({"to": None}, "email_address"),
        ({"to": ["a@example.com"], "bcc": [f"a{n}@example.com" for n in range(100)]}, "email_address"),
        ({"cc": {"a": 1}}, "email_address"),
        ({"reply_to": "a@example.com\r\nX: 1"}, "email_address"),
        ({"from": ["a@example.com", "b@example.com"]}, "email_address"),
        ({"text": "x" * 2_000_000}, "email_text"),
        ({"attachments": [{"name": "x"}]}, "email_attachment"),
        ({"attachments": "x"}, "email_attachment"),
        ({"attachments": [{"blob": "sha256:x", "name": "a\r\nX: 1"}]}, "email_attachment"),
        ({"attachments": [{"blob": "sha256:x", "name": "../../etc/passwd"}]}, "email_attachment"),
        ({"attachments": [{"blob": "sha256:x", "name": "a\\b"}]}, "email_attachment"),
        ({"attachments": [{"blob": "sha256:x", "content_type": "message/rfc822"}]}, "email_attachment"),
        ({"attachments": [{"blob": "sha256:x", "content_type": "a/b\r\nX: 1"}]}, "email_attachment"),
    ],
)  # fmt: skip
def test_what_could_set_a_header_or_cannot_be_sent_is_refused(
    server: SmtpServer, config: dict[str, Any], code: str
) -> None:
    error = refused(config)
    assert (error.code, error.transient) == (code, False)
    assert server.mails == []


def test_hosts_in_other_scripts_are_encoded(server: SmtpServer) -> None:
    answer = send({"to": "Zoë Ünal <zoe@bücher.example>"})
    assert server.envelopes == [["zoe@xn--bcher-kva.example"]] and answer["accepted"] == ["zoe@bücher.example"]
    assert server.mails[0]["To"] == "Zoë Ünal <zoe@xn--bcher-kva.example>"
    server.refused = {"zoe@xn--bcher-kva.example": "550 gone"}
    answer = send({"to": ["zoe@bücher.example", "a@example.com"]})
    assert answer["accepted"] == ["a@example.com"] and answer["refused"] == {"zoe@bücher.example": "550 gone"}
    assert refused({"to": "zoë@example.com"}).code == "email_address"


def test_text_that_looks_like_headers_stays_text(server: SmtpServer) -> None:
    send({"text": "Subject: other\r\nBcc: evil@example.com\r\n\r\n.\r\nRCPT TO:<evil@example.com>\r\n.\r\n"})
    [mail] = server.mails
    assert mail["Subject"] == "Grüße" and server.envelopes == [["ops@example.com"]]
    assert "RCPT TO" in mail.get_content()


@pytest.mark.parametrize(("answer", "transient"), [("451 4.3.0 try later", True), ("554 5.7.1 no spam here", False)])
def test_an_answer_of_the_server_says_whether_to_try_again(server: SmtpServer, answer: str, transient: bool) -> None:
    server.answers = [answer]
    error = refused({})
    assert (error.code, error.transient) == ("email_refused", transient) and answer in error.message


def test_a_refused_recipient_among_others_is_told_and_not_mailed_again(server: SmtpServer) -> None:
    server.refused = {"gone@example.com": "550 5.1.1 no such user"}
    answer = send({"to": ["ops@example.com", "gone@example.com"]})
    assert answer["accepted"] == ["ops@example.com"]
    assert answer["refused"] == {"gone@example.com": "550 5.1.1 no such user"}
    error = refused({"to": "gone@example.com"})
    assert not error.transient and "no such user" in error.message
    server.refused = {"full@example.com": "452 4.2.2 mailbox full"}
    assert refused({"to": "full@example.com"}).transient


def test_every_attempt_has_the_same_message_id_and_every_node_another(server: SmtpServer) -> None:
    server.answers = ["250 taken", "451 later", "250 taken"]
    first = send({})["message_id"]
    assert refused({}, attempt=2).transient
    assert send({}, attempt=3)["message_id"] == first == server.mails[-1]["Message-ID"]
    assert send({}, idempotency_key="r:other")["message_id"] != first
    assert first.endswith("@127.0.0.1>") and "r:n" not in first


def test_a_server_that_is_away_is_tried_again(settings: Any) -> None:
    settings.EMAIL_BACKEND = "runs.mail.SmtpBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 9
    error = refused({})
    assert (error.code, error.transient) == ("email_connection", True)


def test_a_server_that_does_not_answer_costs_a_bounded_time(settings: Any) -> None:
    import socket
    import time

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        settings.EMAIL_BACKEND, settings.EMAIL_HOST = "runs.mail.SmtpBackend", "127.0.0.1"
        settings.EMAIL_PORT, settings.EMAIL_TIMEOUT = silent.getsockname()[1], 0.3
        began = time.monotonic()
        assert refused({}).transient and time.monotonic() - began < 3


def test_addresses_are_read_as_one_would_write_them() -> None:
    assert parse_address(" a.b+c@example.com ") == ("", "a.b+c@example.com")
    assert parse_address('"Lovelace, Ada" <ada@example.com>') == ("Lovelace, Ada", "ada@example.com")
    assert parse_address("Zoë Ünal <zoe@bücher.example>") == ("Zoë Ünal", "zoe@bücher.example")
    with pytest.raises(AobError):
        parse_address("a" * 400 + "@example.com")
    granted = frozenset({"ops@example.com", "@partner.example"})
    assert address_granted("OPS@Example.com", granted) and address_granted("x@partner.example.", granted)
    assert not address_granted("x@example.com", granted) and not address_granted("x@a.partner.example", granted)
