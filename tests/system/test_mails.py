"""Mails of a whole AOB: from a node, and from a ticket to its decision on a phone."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from email.message import EmailMessage

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.browser import new_account, signed_in
from tests.support.installation import Installation
from tests.support.servers import SmtpServer
from tests.support.waiting import eventually
from tests.system.test_approval_doors import BODY, FORM, asked, output

pytestmark = pytest.mark.browser
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def anna(aob: Installation, browser: Browser) -> tuple[str, str]:
    """Name and address of an account that has one."""
    name, _ = new_account(browser, aob)
    address = f"{name}@example.com"
    page = signed_in(browser, aob)
    page.goto(f"/admin/auth/user/?q={name}")
    page.get_by_role("link", name=name).click()
    page.get_by_label("Email address").fill(address)
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".messagelist .success")).to_be_visible()
    page.context.close()
    return name, address


@pytest.fixture
def phone(browser: Browser, aob: Installation) -> Iterator[Page]:
    """A browser that is signed in nowhere."""
    context = browser.new_context(base_url=aob.url, viewport=PHONE)  # type: ignore[arg-type]
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: complaints.append(request.url) if not request.url.startswith(aob.url) else None)
    yield page
    context.close()
    assert complaints == []


def mail_to(smtp: SmtpServer, address: str, number: int = 0) -> EmailMessage:
    return eventually(lambda: (smtp.to(address)[number : number + 1] or [None])[0], seconds=30)  # type: ignore[return-value]


def links_in(mail: EmailMessage) -> list[str]:
    html = mail.get_body(("html",))
    assert html is not None
    return re.findall(r'href="(http://[^"]*/approvals/[^"]*)"', html.get_content())


def test_a_ticket_is_decided_on_a_phone_from_its_mail(
    aob: Installation, smtp: SmtpServer, anna: tuple[str, str], phone: Page
) -> None:
    name, address = anna
    ticket = asked(aob, n=uuid.uuid4().hex[:6], body=BODY, form=FORM, assignees=[f"user:{name}"], timeout="2h")
    mail = mail_to(smtp, address)
    assert ticket["title"] in mail["Subject"] and mail["To"] == address
    approve, reject, _ = links_in(mail)
    for method in ("GET", "HEAD"):
        # As a scanner of mails does, with every link that it finds.
        for link in (approve, reject):
            with urllib.request.urlopen(urllib.request.Request(link, method=method), timeout=30) as answer:
                assert answer.status == 200
    assert aob.request("GET", f"/api/v1/approvals/{ticket['ticket']}")[1]["status"] == "open"

    phone.goto(approve)
    expect(phone.get_by_role("heading", name=ticket["title"])).to_be_visible()
    expect(phone.get_by_text("You decide as")).to_contain_text(name)
    assert phone.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert phone.evaluate("document.referrer") == ""
    phone.get_by_label("Percent").fill("40")
    phone.get_by_label("Reason").fill("On the train.")
    phone.get_by_role("button", name="Approve").click()
    expect(phone.get_by_role("heading", name="Approved")).to_be_visible()
    [said] = output(aob, ticket).values()
    assert (said["answer"], said["by"], said["reason"], said["form"]) == (
        "approve", name, "On the train.", {"percent": 40},
    )  # fmt: skip

    phone.goto(reject)
    expect(phone.get_by_role("heading", name="Decided already")).to_be_visible()
    expect(phone.get_by_role("main")).to_contain_text(f"approved already, by {name}")


def test_a_ticket_is_rejected_from_its_mail_and_asks_for_no_form(
    aob: Installation, smtp: SmtpServer, anna: tuple[str, str], phone: Page
) -> None:
    name, address = anna
    before = len(smtp.to(address))
    ticket = asked(aob, n=uuid.uuid4().hex[:6], form={**FORM, "required": ["answer"]}, assignees=[f"user:{name}"])
    phone.goto(links_in(mail_to(smtp, address, before))[1])
    expect(phone.get_by_role("button", name="Approve")).to_have_count(0)
    phone.get_by_role("button", name="Reject").click()
    expect(phone.get_by_role("heading", name="Rejected")).to_be_visible()
    assert output(aob, ticket)["rejected"]["by"] == name


def test_who_wants_no_mails_says_so_on_the_account_page(aob: Installation, smtp: SmtpServer, browser: Browser) -> None:
    name, password = new_account(browser, aob)
    page = signed_in(browser, aob, user=(name, password))
    page.goto("/account/")
    expect(page.get_by_text("no e-mail address")).to_be_visible()
    page.get_by_label("Mail me about tickets").uncheck()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    expect(page.get_by_label("Mail me about tickets")).not_to_be_checked()
    page.get_by_role("button", name="Void all links").click()
    expect(page.get_by_text("do not work any more: 0")).to_be_visible()
    page.context.close()


def test_a_broken_link_tells_nothing(aob: Installation, phone: Page) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{aob.url}/approvals/link/{'x' * 43}/", timeout=30)
    assert refused.value.code == 404 and refused.value.headers["Referrer-Policy"] == "no-referrer"
    phone.goto(f"/approvals/link/{'x' * 43}/")
    expect(phone.get_by_role("heading", name="This link does not work")).to_be_visible()


def test_a_run_sends_a_mail_with_a_file_and_the_console_lists_what_was_told(
    aob: Installation, smtp: SmtpServer, anna: tuple[str, str], page: Page
) -> None:
    nodes = {
        "file": {
            "type": "function",
            "config": {"name": "blob.write", "args": {"content": "a,b", "media_type": "text/csv"}},
        },
        "mail": {
            "type": "email",
            "config": {
                "to": ["Ops <ops@example.com>"],
                "subject": "Orders {{ inputs.n }}",
                "markdown": "**{{ inputs.n }}** orders",
                "attachments": [{"blob": "{{ nodes.file.blob }}", "name": "orders.csv", "content_type": "text/csv"}],
            },
        },
    }
    document = {"name": "mails-a-file", "nodes": nodes, "edges": {"e": {"from": "file", "to": "mail"}}}
    status, run = aob.request("POST", "/api/v1/runs", {"workflow": document, "inputs": {"n": 17}})
    assert status == 201, run
    done = aob.ended(run["id"])
    assert done["status"] == "completed", done
    [mail] = smtp.to("ops@example.com")
    assert done["output"]["mail"]["message_id"] == mail["Message-ID"] and mail["Subject"] == "Orders 17"
    assert [part.get_payload(decode=True) for part in mail.iter_attachments()] == [b"a,b"]
    asked(aob, assignees=[f"user:{anna[0]}"])
    page.goto("/admin/runs/ticketmessage/?state=done")
    expect(page.get_by_role("cell", name="opened").first).to_be_visible(timeout=20_000)
    page.goto("/admin/approvals/ticketmail/")
    expect(page.get_by_role("cell", name=anna[1]).first).to_be_visible()


def test_a_webhook_is_made_in_the_console_and_what_it_does_not_take_is_seen_there(
    aob: Installation, page: Page, browser: Browser
) -> None:
    name = f"hook-{uuid.uuid4().hex[:6]}"
    page.goto("/admin/approvals/ticketwebhook/add/")
    page.get_by_label("Name").fill(name)
    page.get_by_label("URL").fill("http://user:password@example.com/")
    page.get_by_label("Workflow").fill(name)
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".errorlist")).to_contain_text("may not hold a user name or password")
    # The demo's bank is near, and takes nothing but payments.
    page.get_by_label("URL").fill(f"{aob.url}/demo/payments")
    page.get_by_role("button", name="Save", exact=True).click()
    shown = page.locator(".messagelist .warning").inner_text()
    secret = shown.rpartition(" ")[2]
    assert secret.startswith("whsec_") and len(secret) > 40
    page.locator("#result_list").get_by_role("link", name=name).click()
    assert secret not in page.content() and "/demo/payments" not in page.content()
    page.get_by_role("button", name="Save", exact=True).click()
    ticket = asked(aob, name=name)

    def refused() -> bool:
        page.goto("/admin/approvals/ticketpost/?state=due")
        row = page.locator("tr", has_text=name)
        return row.count() == 1 and ticket["ticket"] in row.inner_text() and "It answered 422" in row.inner_text()

    eventually(refused, seconds=20, every=0.5)
    page.goto("/admin/approvals/ticketwebhook/")
    page.locator("tr", has_text=name).locator("input[type=checkbox]").check()
    page.locator("select[name=action]").select_option("renew")
    page.locator("button[name=index]").click()
    expect(page.locator(".messagelist .warning")).to_contain_text(f"The secret of {name}")
    assert secret not in page.content()

    staff = signed_in(browser, aob, user=new_account(browser, aob, staff=True))
    for place in ("ticketwebhook/", "ticketwebhook/add/"):
        answer = staff.goto(f"/admin/approvals/{place}")
        assert answer is not None and answer.status == 403
    staff.context.close()
