"""Every other command against a scripted server: what it asks, prints and ends with."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.stub import ID, ROOT, Answer, Stub, aob, of_json, on_terminal, problem, run

VERSION = {"version": "sha256:aa", "number": 3, "note": "First", "created_at": "2026-03-01T10:00:00Z"}
WORKFLOW = {"name": "score", "description": "Adds.\nMore.", "number": 3, "version": "sha256:aa", "tags": {"stable": "x"}}
LETTER = {
    "id": 7, "run": ID, "workflow": "score", "node": "fetch", "type": "http", "attempts": 8, "input": {"url": "u"},
    "error": {"code": "http_503", "message": "Not\nnow."}, "created_at": "2026-03-01T10:00:00Z", "status": "open",
    "replayed_as": None,
}  # fmt: skip
ACTIVATION: dict[str, Any] = {
    "node": "each[3]/parse", "type": "http", "state": "failed", "attempts": [{"attempt": 1}, {"attempt": 2}],
    "started_at": "2026-03-01T10:00:00Z", "ended_at": "2026-03-01T10:00:00.045000Z", "input": 1, "output": None,
    "error": {"code": "x", "message": "Bad line."},
}  # fmt: skip
WAIT = {"node": "ask", "kind": "signal", "what": "the signal 'paid'", "since": "2026-03-01T10:00:00Z"}
PAGE = {"items": [run(), run(id="b", status="failed", error={"code": "x", "message": "Bad."})], "next": "abc"}
WHY = {
    "run": ID, "status": "waiting", "causes": [
        {**WAIT, "node": "child", "what": "the child run c", "who": "the child run", "depth": 0},
        {**WAIT, "who": "whoever sends it", "depth": 1, "until": "2026-03-02T10:00:00Z"},
        {**WAIT, "node": "later", "what": "its time", "depth": 0},
    ],
}  # fmt: skip
VERIFIED = {"ok": True, "events": 9, "checks": [{"name": "Gap-free", "ok": True, "detail": "9 events"}], "problems": []}
TYPES = {"items": [{"name": "http", "kind": "effect", "ports": ["out"], "help": "Calls. More."}], "next": None}
DOCUMENT = {"name": "score", "nodes": {"a": {"type": "transform"}}}

SHOWN = [
    (("run", "list"), "GET /runs", PAGE, f"{ID}  completed"),
    (("run", "status", ID), f"GET /runs/{ID}", run(), "completed"),
    (("run", "cancel", ID), f"POST /runs/{ID}/cancel", run(status="cancelled"), f"{ID}: cancelled"),
    (("run", "pause", ID), f"POST /runs/{ID}/pause", run(status="paused"), f"{ID}: paused"),
    (("run", "resume", ID), f"POST /runs/{ID}/resume", run(status="running"), f"{ID}: running"),
    (("run", "signal", ID, "paid"), f"POST /runs/{ID}/signal", {"delivered": "stored"}, "is kept until"),
    (("run", "retry-policy", ID, "a", "{}"), f"POST /runs/{ID}/retry-policy", run(), "a is retried"),
    (("replay", ID, "--from", "a"), f"POST /runs/{ID}/replay", run(id="new"), "as new: completed"),
    (("verify", ID), f"GET /runs/{ID}/verify", VERIFIED, "✓ Gap-free (9 events)"),
    (("why", ID), f"GET /runs/{ID}/why", WHY, "child waits for the child run c"),
    (("workflow", "list"), "GET /workflows", {"items": [WORKFLOW], "next": None}, "score  3        stable  Adds."),
    (
        ("workflow", "versions", "score"), "GET /workflows/score/versions", {"items": [VERSION], "next": None},
        "3       sha256:aa  2026-03-01 10:00:00  First",
    ),
    (("workflow", "tag", "score", "t", "sha256:aa"), "PUT /workflows/score/tags/t", {"tag": "t"}, "score@t is sha256:aa"),
    (("deadletter", "list"), "GET /dead-letters", {"items": [LETTER], "next": None}, "Not now."),
    (("deadletter", "show", "7"), "GET /dead-letters/7", LETTER, '"url": "u"'),
    (("deadletter", "replay", "7"), "POST /dead-letters/7/replay", run(id="new"), "Replayed as new"),
    (("deadletter", "discard", "7"), "POST /dead-letters/7/discard", {**LETTER, "status": "discarded"}, "Discarded 7"),
    (("node-types",), "GET /node-types", TYPES, "http  effect  out    Calls"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "route", "value", "words"), SHOWN, ids=[" ".join(one[0]) for one in SHOWN])
def test_a_command_prints_for_people_and_gives_programs_the_document(
    stub: Stub, arguments: tuple[str, ...], route: str, value: Any, words: str
) -> None:
    stub.on(route, of_json(value))
    done = aob(*arguments, url=stub.url)
    assert done.code == 0, done.err
    assert words in done.out
    assert "\033" not in done.out and done.err == ""
    assert aob(*arguments, "--json", url=stub.url).json() == value
    assert aob("--json", *arguments, url=stub.url).json() == value
    assert len(stub.asked(route)) == 3


def test_a_list_is_filtered_and_paged(stub: Stub) -> None:
    stub.on("GET /runs", of_json(PAGE))
    done = aob(
        "run", "list", "--status", "failed,completed", "--workflow", "a b", "--label", "x:y", "--limit", "2", "--cursor",
        "c==", url=stub.url,
    )  # fmt: skip
    assert stub.asked("GET /runs")[0].query == {
        "status": "failed,completed", "workflow": "a b", "label": "x:y", "limit": "2", "cursor": "c==",
    }  # fmt: skip
    rows = done.out.splitlines()
    assert rows[0].split() == ["RUN", "STATUS", "WORKFLOW", "CREATED", "TOOK", "ERROR"]
    assert rows[2].split()[:2] == ["b", "failed"] and rows[2].endswith("12.3s  Bad.")
    assert "--cursor abc" in rows[3]
    stub.on("GET /runs", of_json({"items": [], "next": None}))
    assert "Start one: aob run start FILE" in aob("run", "list", url=stub.url).out


def test_status_tells_what_is_waited_for_and_a_bad_end_by_its_code(stub: Stub) -> None:
    failed = run(status="failed", error={"code": "boom", "message": "No.", "node": "a", "hint": "Mend it."})
    stub.on(f"GET /runs/{ID}", of_json(run(status="waiting", ended_at=None, waiting_for=[WAIT] * 12)), of_json(failed))
    waiting = aob("run", "status", ID, url=stub.url)
    assert waiting.code == 0
    assert waiting.out.splitlines()[1] == "  ask waits for the signal 'paid', since 2026-03-01 10:00:00"
    assert waiting.out.splitlines()[-1] == "  … and 2 more"
    done = aob("run", "status", ID, "--url", stub.url, "--token", "t")
    assert (done.code, done.out) == (1, "failed\n  a: No. (boom)\n  Mend it.\n")
    assert stub.requests[-1].headers["authorization"] == "Bearer t"


def test_show_has_the_run_and_its_activations(stub: Stub) -> None:
    view = run(parent={"run": "p", "node": "sub"}, labels={"team": "a"})
    stub.on(f"GET /runs/{ID}", of_json(view))
    stub.on(f"GET /runs/{ID}/activations", of_json({"items": [ACTIVATION], "next": None, "total": 5}))
    done = aob("run", "show", ID, url=stub.url)
    rows = done.out.splitlines()
    assert rows[0] == f"score {ID}: completed" and "took 12.3s" in rows[1]
    assert "part of p at sub" in rows and "labels team=a" in rows
    assert "each[3]/parse  failed  http  2         45ms  Bad line." in rows
    assert "… and 4 more" in rows
    assert aob("run", "show", ID, "--json", url=stub.url).json() == {**view, "activations": [ACTIVATION]}


def test_why_is_a_tree_in_local_time(stub: Stub) -> None:
    stub.on(f"GET /runs/{ID}/why", of_json(WHY))
    lines = aob("why", ID, url=stub.url, TZ="XYZ-2").out.splitlines()
    assert lines == [
        f"{ID}: waiting",
        "├─ child waits for the child run c, since 2026-03-01 12:00:00 – ended by the child run",
        "│  └─ ask waits for the signal 'paid', since 2026-03-01 12:00:00, until 2026-03-02 12:00:00"
        " – ended by whoever sends it",
        "└─ later waits for its time, since 2026-03-01 12:00:00",
    ]


def test_verify_that_fails_ends_with_one(stub: Stub) -> None:
    bad = {**VERIFIED, "ok": False, "problems": [{"code": "log_gap", "message": "A gap.", "seq": 4}]}
    stub.on(f"GET /runs/{ID}/verify", of_json(bad))
    done = aob("verify", ID, url=stub.url)
    assert done.code == 1 and "  seq 4: A gap. (log_gap)" in done.out
    assert aob("verify", ID, "--json", url=stub.url).code == 1


def test_signal_cancel_and_policy_send_what_was_written(stub: Stub, tmp_path: Path) -> None:
    stub.on(f"POST /runs/{ID}/signal", of_json({"delivered": True}, 202))
    stub.on(f"POST /runs/{ID}/cancel", of_json(run(status="cancelled")))
    stub.on(f"POST /runs/{ID}/retry-policy", of_json(run()))
    (tmp_path / "retry.json").write_text('{"max_attempts": 10}')
    assert aob("run", "signal", ID, "paid", "--payload", '{"amount": 7.50}', url=stub.url).out == "Signal paid sent.\n"
    assert aob("run", "signal", ID, "go", "--payload", "-5", url=stub.url).code == 0
    assert aob("run", "cancel", ID, "--reason", "wrong", url=stub.url).code == 0
    assert aob("run", "retry-policy", ID, "a", "retry.json", url=stub.url, cwd=tmp_path).code == 0
    assert [one.body for one in stub.requests] == [
        b'{"name": "paid", "payload": {"amount": 7.50}}',
        b'{"name": "go", "payload": -5}',
        b'{"reason": "wrong"}',
        b'{"node": "a", "retry": {"max_attempts": 10}}',
    ]


def test_a_push_says_what_it_is_warned_of(stub: Stub, tmp_path: Path) -> None:
    warned = {"pointer": "/nodes/ok", "code": "assignee_unknown", "severity": "warning", "message": "There is no 'gone'."}
    stub.on("POST /workflows", of_json({**WORKFLOW, **VERSION, "problems": [warned]}, 201))
    (tmp_path / "flow.json").write_text('{"name": "score"}')
    done = aob("workflow", "push", "flow.json", url=stub.url, cwd=tmp_path)
    assert done.code == 0 and done.out.splitlines()[1] == "warning /nodes/ok: There is no 'gone'."


def test_workflows_are_pushed_and_pulled(stub: Stub, tmp_path: Path) -> None:
    stub.on("POST /workflows", of_json({**WORKFLOW, **VERSION}, 201))
    stub.on("GET /workflows/score/versions/stable", of_json({**VERSION, "document": DOCUMENT}))
    stub.on("GET /workflows/score/versions/latest", of_json({**VERSION, "document": DOCUMENT}))
    (tmp_path / "flow.json").write_text('{"name": "score",  "n": 1.0}')
    done = aob("workflow", "push", "flow.json", "--tag", "stable", "--note", "ä", url=stub.url, cwd=tmp_path)
    assert done.out == "score version 3: sha256:aa\n"
    assert stub.asked("POST /workflows")[0].body == (
        b'{"document": {"name": "score",  "n": 1.0}, "tag": "stable", "note": "\\u00e4"}'
    )
    assert aob("workflow", "pull", "score", url=stub.url).json() == DOCUMENT
    done = aob("workflow", "pull", "score@stable", "--output", "out.json", url=stub.url, cwd=tmp_path)
    assert done.out == "Wrote out.json.\n" and json.loads((tmp_path / "out.json").read_text()) == DOCUMENT
    assert "cannot be written" in aob("workflow", "pull", "score", "--output", "/no/where", url=stub.url).err


def test_a_tag_moves_to_a_number_over_all_pages(stub: Stub) -> None:
    pages = [
        {"items": [{**VERSION, "number": 3}], "next": 3},
        {"items": [{"number": 2, "version": "sha256:bb"}], "next": None},
    ]
    stub.on("GET /workflows/score/versions", *map(of_json, pages)).on("PUT /workflows/score/tags/stable", of_json({}))
    assert aob("workflow", "tag", "score", "stable", "2", url=stub.url).code == 0
    assert stub.asked("PUT /workflows/score/tags/stable")[0].json() == {"version": "sha256:bb"}
    assert "has no version 9" in aob("workflow", "tag", "score", "stable", "9", url=stub.url).err


def test_validate_names_every_problem(stub: Stub, tmp_path: Path) -> None:
    found = {"pointer": "/nodes/a", "code": "x", "message": "No.", "hint": "Mend.", "severity": "error"}
    (tmp_path / "flow.json").write_text("{}")
    stub.on("POST /workflows/validate", of_json({"valid": False, "problems": [found]}))
    done = aob("workflow", "validate", "flow.json", url=stub.url, cwd=tmp_path)
    assert (done.code, done.out) == (1, "error /nodes/a: No. (Mend.)\nThe document cannot be run.\n")
    stub.on("POST /workflows/validate", of_json({"valid": True, "problems": []}))
    assert aob("workflow", "validate", "flow.json", url=stub.url, cwd=tmp_path).code == 0
    assert stub.requests[0].body == b'{"document": {}}'


def test_diff_compares_files_and_versions(stub: Stub, tmp_path: Path) -> None:
    stub.on("GET /workflows/score/versions/latest", of_json({"document": {"a": 1, "b": 2}}))
    (tmp_path / "same.json").write_text('{"b": 2, "a": 1}')
    (tmp_path / "other.json").write_text('{"b": 3, "a": 1}')
    assert aob("workflow", "diff", "score", "same.json", url=stub.url, cwd=tmp_path).out == "They are the same.\n"
    done = aob("workflow", "diff", "score", "other.json", url=stub.url, cwd=tmp_path)
    assert '-  "b": 2' in done.out.splitlines() and '+  "b": 3' in done.out.splitlines()
    assert aob("workflow", "diff", "score", "other.json", "--json", url=stub.url, cwd=tmp_path).json()["same"] is False


def test_a_blob_comes_whole_or_not_at_all(stub: Stub, tmp_path: Path) -> None:
    data = bytes(range(256)) * 1000
    name = f"sha256:{hashlib.sha256(data).hexdigest()}"
    route = f"GET /blobs/{name.replace(':', '%3A')}"
    good = Answer(200, [data[:70_000], data[70_000:]], {"x-blob-media-type": "image/png"})
    stub.on(route, good)
    assert aob("blob", "get", name, url=stub.url).raw == data
    assert aob("blob", "get", name.removeprefix("sha256:"), "--output", "a", url=stub.url, cwd=tmp_path).code == 0
    assert (tmp_path / "a").read_bytes() == data
    assert aob("blob", "get", name, "--output", "a", "--json", url=stub.url, cwd=tmp_path).json() == {
        "blob": name, "bytes": len(data), "media_type": "image/png", "file": "a",
    }  # fmt: skip
    for broken in (Answer(200, [data[:100]], {}, "cut"), Answer(200, [b"other"])):
        stub.on(route, broken)
        done = aob("blob", "get", name, "--output", "a", url=stub.url, cwd=tmp_path)
        assert done.code == 3
        assert [file.name for file in tmp_path.iterdir()] == ["a"] and (tmp_path / "a").read_bytes() == data
    assert aob("blob", "get", name, "--json", url=stub.url).code == 2


def test_bytes_are_not_written_to_a_terminal(stub: Stub) -> None:
    stub.on("GET /blobs/sha256%3Aab", Answer(200, [b"\x00\x1b]0;x\x07"]))
    done = on_terminal("blob", "get", "ab", url=stub.url)
    assert done.code == 2 and done.out == "" and "--output" in done.err


def test_a_problem_is_its_message_and_every_place(stub: Stub) -> None:
    errors = [{"pointer": f"/nodes/{n}", "code": "x", "message": "No.", "hint": "Mend."} for n in range(60)]
    errors[0]["pointer"] = ""
    refusal = problem(422, "document_invalid", "The document has 60 problems.", errors=errors, hint="See docs.")
    stub.on("POST /runs", refusal)
    done = aob("run", "start", "score", url=stub.url)
    lines = done.err.splitlines()
    assert (done.code, done.out) == (1, "")
    assert lines[:3] == ["aob: The document has 60 problems.", "  (document): No. (Mend.)", "  /nodes/1: No. (Mend.)"]
    assert lines[-2:] == ["  … 10 more; --json shows all", "  See docs."]
    done = aob("run", "start", "score", "--json", url=stub.url)
    assert done.err == "" and len(done.json()["errors"]) == 60


def test_colours_and_width_follow_the_terminal(stub: Stub) -> None:
    stub.on(
        "GET /runs", of_json({"items": [run(error={"message": "e" * 200, "code": "x"}, status="failed")], "next": None})
    )
    done = on_terminal("run", "list", url=stub.url, columns=120)
    assert "\033[31mfailed" in done.out
    assert max(len(line.replace("\033[31m", "").replace("\033[0m", "")) for line in done.out.split("\n")[1:]) <= 120
    assert "…" in done.out
    assert "\033" not in on_terminal("run", "list", url=stub.url, NO_COLOR="1").out
    assert "\033" not in on_terminal("run", "list", url=stub.url, TERM="dumb").out
    assert "e" * 200 in aob("run", "list", url=stub.url).out


def test_output_that_the_locale_cannot_show_is_no_crash(stub: Stub) -> None:
    stub.on(f"GET /runs/{ID}", of_json(run(workflow="grün \ud800", ended_at=None)))
    stub.on(f"GET /runs/{ID}/activations", of_json({"items": [], "next": None}))
    code = f"import sys; sys.stdout.reconfigure(encoding='ascii'); sys.path.insert(0, {str(ROOT)!r});"
    code += "from cli.main import main; sys.exit(main())"
    done = aob("run", "show", ID, url=stub.url, code=code)
    assert done.code == 0 and "gr\\xfcn \\ud800" in done.out
    assert aob("run", "show", ID, "--json", url=stub.url, code=code).json()["workflow"] == "grün \ud800"


def test_completion_offers_commands_options_values_and_names(stub: Stub) -> None:
    stub.on("GET /runs", of_json({"items": [run(), run(id="$(bad)")], "next": None}))
    stub.on("GET /workflows", of_json({"items": [WORKFLOW], "next": None}))
    for words, offered in (
        (["wo"], "workflow"),
        (["run", "sta"], "start\nstatus"),
        (["run", "status", ""], ID),
        (["run", "start", "--json", "s"], "score"),
        (["run", "start", "./"], ""),
        (["run", "start", "x", "--pri"], "--priority"),
        (["run", "start", "x", "--priority", ""], "high\nmedium\nlow"),
        (["run", "list", "--status", "co"], "completed"),
        (["why", "--url", stub.url, "0198"], ID),
        (["completion", ""], "bash\nzsh\nfish"),
        (["backup", "--ke"], "--keep"),
        (["restore", "--to"], ""),
        (["nonsense", ""], ""),
    ):
        done = aob("__complete", "--", *words, url=stub.url)
        assert (done.code, done.out.strip()) == (0, offered), words
    assert aob("__complete", "--", "run", "status", "", url="http://127.0.0.1:9").out == ""


def test_the_bash_script_completes(stub: Stub, tmp_path: Path) -> None:
    stub.on("GET /runs", of_json({"items": [run()], "next": None}))
    script = tmp_path / "aob.bash"
    script.write_text(aob("completion", "bash").out)
    launcher = tmp_path / "aob"
    code = f"import sys; sys.path.insert(0, '{ROOT}'); from cli.main import main; sys.exit(main())"
    launcher.write_text(f'#!/bin/sh\nexec {sys.executable} -IS -c "{code}" "$@"\n')
    launcher.chmod(0o755)
    probe = (
        f". {script}; COMP_WORDS=({launcher} run status ''); COMP_CWORD=3; _aob; "
        'printf "%s|" "${COMPREPLY[@]}"; complete -p aob'
    )
    done = subprocess.run(
        ["bash", "-c", probe], env={"PATH": "/usr/bin:/bin", "AOB_URL": stub.url, "AOB_TOKEN": "x"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.startswith(f"{ID}|") and "-F _aob aob" in done.stdout
    assert "compdef _aob aob" in aob("completion", "zsh").out
    assert "complete -c aob" in aob("completion", "fish").out


def test_a_ticket_is_decided_on_what_it_shows_now(stub: Stub) -> None:
    decided = {"ticket": ID, "status": "approved", "decided_by": "anna", "answered": ["anna"]}
    stub.on(f"GET /approvals/{ID}", of_json({"context": "c1"}), problem(403, "forbidden", "Needs read."))
    stub.on(f"POST /approvals/{ID}/decide", of_json(decided))
    for _ in range(2):
        found = aob("approve", ID, "approve", "--reason", "fine", url=stub.url)
        assert found.code == 0 and "approved by anna" in found.out, found
    sent = [one.json() for one in stub.requests if one.method == "POST"]
    assert sent == [{"answer": "approve", "reason": "fine", "seen": "c1"}, {"answer": "approve", "reason": "fine"}]
    stub.on(f"GET /approvals/{ID}", problem(404, "ticket_unknown", "There is no ticket."))
    assert "no ticket" in aob("approve", ID, "approve", url=stub.url).err
    assert len(stub.asked(f"POST /approvals/{ID}/decide")) == 2
