"""The page of a patch for what only machines bring about: refused, held, read; and the list at an earlier seq."""

from __future__ import annotations

import html
import re
import uuid
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from aob_web.ui import patched
from runs import patches
from runs.core.patching import PatchRefused
from tests.integration.test_patches import add, go_on, propose, waiting
from workflows.core.grants import NOTHING, Author

pytestmark = pytest.mark.filterwarnings("ignore:No directory at")
PLANNER = Author("agent", "plan")
HTTP = {"type": "http", "config": {"method": "POST", "url": "http://127.0.0.1:9/"}}
EFFECT = [
    {"op": "add", "path": "/nodes/call", "value": HTTP},
    {"op": "add", "path": "/edges/wait-call", "value": {"from": "wait", "to": "call"}},
]


@pytest.fixture
def client() -> Client:
    made = Client()
    made.force_login(get_user_model().objects.create_user(f"reader-{uuid.uuid4().hex[:8]}"))
    return made


def page_of(client: Client, run: str, patch: str) -> str:
    answer = client.get(f"/runs/{run}/patches/{patch}/")
    assert answer.status_code == 200, answer.content
    text = re.sub(r"<[^>]+>", " ", answer.content.decode())
    return " ".join(html.unescape(text).split())


def test_a_machines_refused_patch_says_where_why_and_by_which_layer(client: Client) -> None:
    run = waiting()
    with pytest.raises(PatchRefused):
        propose(run, EFFECT, author=PLANNER, grant=NOTHING, reason="<b>I want it</b>")
    (listed,) = patches.listed(run)
    text = page_of(client, run, listed["id"])
    assert "refused" in text and "agent plan" in text and "<b>I want it</b>" in text
    assert "/nodes/call/type" in text and "capability_missing, refused by the server" in text
    assert "adds node call http" in text and "Approve" not in text
    assert "refused" in client.get(f"/runs/{run}/").content.decode()


def test_operations_that_fit_nothing_are_shown_as_they_were_sent(client: Client) -> None:
    run = waiting()
    with pytest.raises(PatchRefused):
        propose(run, [{"op": "remove", "path": "/nodes/nothing"}], author=PLANNER)
    (listed,) = patches.listed(run)
    assert patches.documents(patches.show(listed["id"])) is None
    text = page_of(client, run, listed["id"])
    assert "fit no document of this run" in text and '"/nodes/nothing"' in text


def test_a_held_patch_says_why_and_what_its_author_had_read(client: Client) -> None:
    run = waiting()
    patch = propose(run, EFFECT, author=PLANNER, outside=True, read=["first", "wait"])
    assert patch["status"] == "pending_review"
    text = page_of(client, run, patch["id"])
    assert "Held for review. It brings effects before which no approval stands (call)" in text
    assert "The author had read first , wait ; some of what the author had read came from outside AOB." in text
    assert "would wait, or act and then go on wait" in text


def test_what_waits_is_told_of_the_newest_document_or_else_of_its_own(client: Client) -> None:
    run = waiting()
    change = [{"op": "replace", "path": "/nodes/last/config/output", "value": 1}]
    first = propose(run, change, mode="review")
    propose(run, add("more", "1"))
    before, after = patches.documents(patches.show(first["id"])) or ({}, {})
    assert "more" in before["nodes"] and "more" in after["nodes"]
    propose(run, [{**change[0], "value": 2}])
    before, after = patches.documents(patches.show(first["id"])) or ({}, {})
    assert "more" not in before["nodes"] and after["nodes"]["last"]["config"]["output"] == 1
    assert client.post(f"/runs/{run}/patches/{first['id']}/approve/").status_code == 409


def test_the_list_shows_how_patches_stood_at_a_seq() -> None:
    run = waiting()
    reviewed = propose(run, add("more", "1"), mode="review")
    left = propose(run, add("less", "1"), mode="review")
    patches.answer(reviewed["id"], "approve", by="bob")
    undone = patches.revert(reviewed["id"], author=Author("person", "ada"), reason="")

    def stood(at: int | None) -> dict[str, Any]:
        names = {reviewed["id"]: "more", left["id"]: "less", undone["id"]: "undone"}
        return {names[one["id"]]: one["words"] for one in patched.rows(run, at)}

    assert stood(reviewed["first_seq"]) == {"more": "waits for review"}
    applied = patches.show(reviewed["id"])["seq"]
    assert stood(applied) == {"more": "applied", "less": "waits for review"}
    go_on(run)
    assert stood(applied) == {"more": "applied", "less": "waits for review"}
    assert stood(undone["seq"]) == {"more": "undone", "less": "waits for review", "undone": "applied"}
    assert stood(None) == {"more": "undone", "less": "expired", "undone": "applied"}
