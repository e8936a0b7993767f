"""The process at the public port: starts taken in without the web process, everything else passed on as it is."""

from __future__ import annotations

import itertools
import json
import os
import signal
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.installation import Installation
from tests.support.waiting import eventually

DOCUMENT = {"name": "front", "nodes": {"a": {"type": "transform", "config": {"output": "{{ inputs.n }}"}}}}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with Installation(Path(tmp_path_factory.mktemp("front")) / "home") as installation:
        assert installation.request("POST", "/api/v1/workflows", {"document": DOCUMENT})[0] == 201
        yield installation


def start(n: int = 1) -> dict[str, Any]:
    return {"workflow": "front", "inputs": {"n": n}}


def test_a_start_is_answered_as_the_run_is_shown(own: Installation) -> None:
    status, view = own.request("POST", "/api/v1/runs", {**start(7), "labels": {"a": "b"}, "priority": "high"})
    assert status == 201 and view["status"] == "completed" and view["output"] == {"a": 7}
    assert own.request("GET", f"/api/v1/runs/{view['id']}")[1] == view


def test_a_batch_is_answered_item_by_item_and_its_key_covers_it(own: Installation) -> None:
    wrong = {"workflow": "nowhere", "inputs": {}}
    body = {"runs": [start(1), wrong, start(2), {"workflow": "front", "inputs": 1, "x": 2}]}
    first = own.request("POST", "/api/v1/runs/batch", body, Idempotency_Key="batch-1")
    again = own.request("POST", "/api/v1/runs/batch", body, Idempotency_Key="batch-1")
    statuses = [item["status"] for item in first[1]["items"]]
    assert first[0] == 200 and statuses[:3] == [201, 404, 201] and statuses[3] == 422
    ids = [item["run"]["id"] for item in first[1]["items"] if item["status"] == 201]
    assert ids == [item["run"]["id"] for item in again[1]["items"] if item["status"] == 201]
    lines = "\n".join(json.dumps(start(n)) for n in range(3)).encode()
    answer = own.request("POST", "/api/v1/runs/batch", data=lines, Content_Type="application/x-ndjson")
    assert [item["status"] for item in answer[1]["items"]] == [201, 201, 201]


def test_runs_that_are_only_accepted_are_executed_by_the_coordinator(own: Installation) -> None:
    request = urllib.request.Request(
        f"{own.url}/api/v1/runs",
        json.dumps(start(3)).encode(),
        {"Authorization": f"Bearer {own.token}", "Prefer": "respond-async"},
    )
    with urllib.request.urlopen(request) as answer:
        view = json.load(answer)
        assert answer.status == 201 and answer.headers["Preference-Applied"] == "respond-async"
        assert answer.headers["Location"] == f"/api/v1/runs/{view['id']}"
    assert view["last_seq"] == 1 and view["output"] is None
    assert own.ended(view["id"])["output"] == {"a": 3}


@pytest.mark.parametrize(
    ("data", "headers", "status", "code"),
    [
        (b"{}", {}, 422, "field_missing"),
        (b"{", {}, 400, "json_syntax"),
        (b'{"workflow": "front", "workflow": "x"}', {}, 400, "json_duplicate_key"),
        (b'{"workflow": "nowhere"}', {}, 404, "workflow_unknown"),
        (b'{"workflow": "front", "inputs": {}, "more": 1}', {}, 422, "unknown_field"),
        (b'{"workflow": "front", "inputs": {"n": NaN}}', {}, 400, "json_not_finite"),
        (b'{"workflow": "front"}', {"Idempotency_Key": "x" * 201}, 422, "idempotency_key_invalid"),
        (b'{"workflow": "front\\u0000"}', {}, 400, "json_nul"),
    ],
)
def test_wrong_starts_are_refused_with_the_place(
    own: Installation, data: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    answer = own.request("POST", "/api/v1/runs", data=data, **headers)
    assert (answer[0], answer[1]["code"]) == (status, code)


def test_credentials(own: Installation) -> None:
    assert own.request("POST", "/api/v1/runs", start(), token="aob_wrong")[0] == 401
    assert own.request("POST", "/api/v1/runs", start(), token=None)[0] == 401
    reading = token(own, "read")
    assert own.request("POST", "/api/v1/runs", start(), token=reading)[0] == 403
    revoked = token(own, "execute")
    assert own.request("POST", "/api/v1/runs", start(), token=revoked)[0] == 201
    django(own, f"ApiToken.objects.filter(digest=digest({revoked!r})).update(revoked_at=timezone.now())")
    eventually(lambda: own.request("POST", "/api/v1/runs", start(), token=revoked)[0] == 401, seconds=5)


def test_starts_are_taken_while_the_web_process_stands_still_or_is_gone(own: Installation) -> None:
    [web] = own.children("aob_web.processes web")
    os.kill(web, signal.SIGSTOP)
    try:
        began = time.monotonic()
        assert own.request("POST", "/api/v1/runs", start())[0] == 201
        assert time.monotonic() - began < 2
    finally:
        os.kill(web, signal.SIGCONT)
    os.kill(web, signal.SIGKILL)
    assert own.request("POST", "/api/v1/runs", start())[0] == 201
    status, answer = own.request("GET", "/api/v1/runs?limit=1")
    assert status == 200 or (status == 503 and answer["code"] == "unavailable" and answer["retry_after"])
    eventually(lambda: own.request("GET", "/api/v1/runs?limit=1")[0] == 200, seconds=20)


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "code"),
    [
        ("DELETE", "/api/v1/runs", {}, 405, "method_not_allowed"),
        ("PATCH", "/api/v1/runs/x", {}, 405, "method_not_allowed"),
        ("GET", "/api/v1/runs/x/patch", {}, 405, "method_not_allowed"),
        ("GET", "/api/v1/nothing/here", {}, 404, "not_found"),
        ("GET", "/api/v2", {}, 404, "not_found"),
        ("GET", "/api/v1/runs", {"Host": "elsewhere.example"}, 400, "bad_request"),
        ("GET", "/api/v1/runs", {"X-Long": "x" * 60_000}, 431, "headers_too_large"),
        ("GET", "/api/v1/runs", {"X-Long": "x" * 300_000}, 431, "headers_too_large"),
        ("GET", "/api/v1/runs?labels=" + "x" * 20_000, {}, 414, "address_too_long"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_programs_are_refused_with_problem_details_everywhere(
    own: Installation, method: str, path: str, headers: dict[str, str], status: int, code: str
) -> None:
    headers = {"Authorization": f"Bearer {own.token}", **headers}
    answer = httpx.request(method, own.url + path, headers=headers)
    problem = answer.json()
    assert (answer.status_code, problem["status"], problem["code"]) == (status, status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert bool(answer.headers.get("allow")) is (status == 405) and "retry-after" not in answer.headers


def test_headers_as_long_as_they_may_be_reach_the_web(own: Installation) -> None:
    headers = {"Authorization": f"Bearer {own.token}", "X-Long": "x" * (14 * 1024)}
    assert httpx.get(f"{own.url}/api/v1/runs?limit=1", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("path", "token", "status", "limit"),
    [
        ("/sign-in/", None, 413, "AOB_MAX_FORM_BYTES"),
        ("/workflows/front/", None, 413, "AOB_MAX_FORM_BYTES"),
        ("/approvals/link/nobody/", None, 413, "AOB_MAX_FORM_BYTES"),
        ("/api/v1/workflows", None, 401, "AOB_MAX_FORM_BYTES"),
        ("/api/v1/blobs", "aob_wrong", 401, "AOB_MAX_FORM_BYTES"),
        ("/mcp", None, 401, "AOB_MAX_FORM_BYTES"),
        ("/api/v1/workflows/validate", "", 413, "AOB_MAX_REQUEST_BYTES"),
    ],
)
def test_only_who_is_known_may_send_much(
    own: Installation, path: str, token: str | None, status: int, limit: str
) -> None:
    data = bytes(18 * 2**20 if token == "" else 3 * 2**20)
    answer, problem = own.request("POST", path, data=data, token=token)
    assert (answer, problem["status"]) == (status, status) and limit in problem["hint"]


def test_who_is_known_by_a_token_or_a_session_may_send_much(own: Installation) -> None:
    document = {**DOCUMENT, "description": "x" * 2**21}
    status, problem = own.request("POST", "/api/v1/workflows/validate", {"document": document})
    assert status == 200 and problem["problems"], "it was looked at"
    assert own.request("POST", "/api/v1/blobs", data=bytes(3 * 2**20))[0] == 201
    with httpx.Client(base_url=own.url, headers={"Origin": own.url}) as browser:
        browser.get("/sign-in/")
        field = {"csrfmiddlewaretoken": next(value for name, value in browser.cookies.items() if "csrf" in name)}
        signed_in = browser.post("/sign-in/", data={"username": "admin", "password": own.password, **field})
        assert signed_in.status_code == 302
        browser.headers["X-CSRFToken"] = next(value for name, value in browser.cookies.items() if "csrf" in name)
        answer = browser.post("/workflows/front/", files={"large": ("large.bin", bytes(3 * 2**20))})
        assert answer.status_code in (200, 302, 422), answer.text


@pytest.mark.parametrize("name", ["web", "front", "coordinator", "worker-runner"])
def test_a_hand_over_is_not_noticed_during_it_or_after_it(own: Installation, name: str) -> None:
    reads, writes = ("GET", "/api/v1/runs?limit=1", None), ("POST", "/api/v1/workflows/validate", {"document": DOCUMENT})
    asked = (reads, writes, ("POST", "/api/v1/runs", start()))
    answers: list[int] = []
    done = threading.Event()

    def client() -> None:
        for method, path, body in itertools.cycle(asked):
            if done.is_set():
                return
            answers.append(own.request(method, path, body)[0])

    with ThreadPoolExecutor(3) as clients:
        asking = [clients.submit(client) for _ in range(3)]
        try:
            for _ in range(2):
                hand_over(own, name)
        finally:
            done.set()
        for one in asking:
            one.result()
    assert len(answers) > 20 and set(answers) <= {200, 201}
    assert [own.request(*one)[0] for one in asked] == [200, 200, 201]


def hand_over(aob: Installation, name: str) -> None:
    """Has a process replaced as if it had grown, and waits until its predecessor has ended."""
    old = process_of(aob, name)
    (aob.home / "run" / f"{name}.grown").write_text(str(old))
    eventually(lambda: process_of(aob, name) != old and not Path(f"/proc/{old}/cmdline").exists(), seconds=40)


def process_of(aob: Installation, name: str) -> int:
    runtime = json.loads((aob.home / "run" / "runtime.json").read_text())
    return int(runtime["processes"][name].split("@")[0])


def test_a_web_process_that_cannot_be_reached_any_more_is_replaced(own: Installation) -> None:
    old = process_of(own, "web")
    (own.home / "run" / "web.sock").unlink()
    eventually(lambda: process_of(own, "web") != old, seconds=60)
    eventually(lambda: own.request("GET", "/api/v1/runs?limit=1")[0] == 200, seconds=20)


def token(aob: Installation, scope: str) -> str:
    return django(aob, f"print(ApiToken.issue(User.objects.get(), 'test', ({scope!r},)))")


def django(aob: Installation, statement: str) -> str:
    """What a statement prints in the system's own Django."""
    import subprocess
    import sys

    runtime = json.loads((aob.home / "run" / "runtime.json").read_text())
    program = (
        "import django; django.setup()\nfrom django.contrib.auth.models import User\nfrom django.utils import timezone\n"
        f"from aob_web.accounts.models import ApiToken, digest\n{statement}\n"
    )
    environment = {
        **aob.environment,
        "DATABASE_URL": runtime["database_url"],
        "AOB_SECRET_KEY": "x" * 40,
        "DJANGO_SETTINGS_MODULE": "aob_web.settings",
        "AOB_PROCESS": "front",
    }
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()
