"""The `aob` command against a running system."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from pathlib import Path

from tests.support.installation import ROOT, Installation

LOG = "examples/access-log"


def test_the_first_example_is_followed_to_its_report(aob: Installation, tmp_path: Path) -> None:
    text = aob.aob("run", "start", f"{LOG}/workflow.json", "--inputs", f"{LOG}/inputs.json", "--follow")
    assert "parse" in text and "completed: access-log" in text
    assert "\033" not in text
    view = aob.json("run", "list", "--workflow", "access-log")["items"][0]
    whole = aob.json("run", "show", view["id"])
    assert whole["output"]["requests"] == 7000 and whole["output"]["verdict"] == "alarm"
    aob.aob("blob", "get", whole["output"]["report"]["blob"], "--output", str(tmp_path / "report.md"))
    assert "# Access log report" in (tmp_path / "report.md").read_text()
    assert aob.json("verify", view["id"])["ok"]
    assert "completed" in aob.aob("run", "status", view["id"])
    assert aob.json("why", view["id"])["causes"] == []


def test_the_second_example_retries_and_the_log_streams_from_any_seq(aob: Installation) -> None:
    view = aob.json("run", "start", "api-fan-out", "--input", f"base={aob.url}", "--input", "count=20")
    lines = aob.aob("logs", "stream", view["id"], "--json").splitlines()
    events = [json.loads(line) for line in lines]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["type"] == "RunCompleted"
    rest = aob.aob("logs", "stream", view["id"], "--json", "--after", "5").splitlines()
    assert lines[5:] == rest
    errors = aob.aob("logs", "stream", view["id"], "--filter", "errors", "--json").splitlines()
    assert {json.loads(line)["type"] for line in errors} == {"TaskFailed"}
    assert aob.json("verify", view["id"])["ok"]


def test_the_third_example_waits_for_its_signal(aob: Installation) -> None:
    run = aob.json("run", "start", "long-process", "--input", "reminders=1")["id"]
    from tests.support.waiting import eventually

    eventually(lambda: "signal" in aob.aob("why", run), seconds=30, every=0.3)
    assert "unknown" in aob.aob("run", "signal", run, "other", "--json", code=1)
    aob.aob("run", "signal", run, "paid", "--payload", '{"amount": 0}', code=1)
    aob.aob("run", "signal", run, "paid", "--payload", '{"amount": 12.5}')
    assert aob.ended(run)["output"]["ship"] == {"order": "A-1001", "state": "shipped", "amount": 12.5}
    assert aob.json("verify", run)["ok"]


def test_workflows_are_pushed_pulled_tagged_compared(aob: Installation, tmp_path: Path) -> None:
    file = tmp_path / "flow.json"
    document = {"name": "cli-flow", "nodes": {"a": {"type": "transform", "config": {"output": 1}}}}
    file.write_text(json.dumps(document))
    first = aob.json("workflow", "push", str(file), "--tag", "stable")
    document["nodes"]["a"]["config"]["output"] = 2  # type: ignore[index]
    file.write_text(json.dumps(document))
    assert aob.json("workflow", "push", str(file))["number"] == 2
    assert aob.json("workflow", "pull", "cli-flow@stable")["version"] == first["version"]
    assert aob.json("workflow", "diff", "cli-flow@stable", "cli-flow")["same"] is False
    aob.aob("workflow", "tag", "cli-flow", "stable", aob.json("workflow", "pull", "cli-flow")["version"])
    assert aob.json("workflow", "diff", "cli-flow@stable", str(file))["same"] is True
    file.write_text('{"name": "x", "nodes": {"a": {"type": "nope"}}}')
    assert "unknown_node_type" in aob.aob("workflow", "validate", str(file), "--json", code=1)


def test_exit_codes_and_messages(aob: Installation, tmp_path: Path) -> None:
    assert "no command" in aob.aob("rnu", code=2)
    assert "there is no file" in aob.aob("run", "start", "gone.json", code=2)
    assert "not JSON" in aob.aob("run", "start", "access-log", "--inputs", "{", code=2)
    assert "inputs_invalid" in aob.aob("run", "start", "access-log", "--json", code=1)
    assert "run_unknown" in aob.aob("run", "status", "nope", "--json", code=1)
    broken = tmp_path / "twice.json"
    broken.write_text('{"name": "x", "name": "y", "nodes": {}}')
    assert "json_duplicate_key" in aob.aob("run", "start", str(broken), "--json", code=1)
    failing = tmp_path / "fails.json"
    failing.write_text('{"name": "x", "nodes": {"f": {"type": "fail", "config": {"message": "no", "code": "why"}}}}')
    assert "why" in aob.aob("run", "start", str(failing), "--follow", code=1)
    nobody = subprocess.run(
        [str(ROOT / "bin" / "aob"), "run", "list"],
        env={**os.environ, "AOB_URL": "http://127.0.0.1:9", "AOB_TOKEN": "x"},
        capture_output=True,
        text=True,
    )
    assert nobody.returncode == 3 and "make up" in nobody.stderr


def test_two_starts_of_the_same_file_at_once_make_two_runs(aob: Installation) -> None:
    before = len(aob.json("run", "list", "--workflow", "long-process", "--limit", "500")["items"])
    threads = [
        threading.Thread(target=aob.aob, args=("run", "start", "examples/long-process/workflow.json")) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    runs = aob.json("run", "list", "--workflow", "long-process", "--limit", "500")["items"]
    assert len(runs) == before + 2
    for run in runs[:2]:
        aob.aob("run", "cancel", run["id"], "--reason", "test")


def test_a_dead_letter_is_replayed_once_the_cause_is_gone(aob: Installation, tmp_path: Path) -> None:
    node = {"type": "function", "config": {"name": "blob.read", "args": {"source": "no blob"}}}
    (tmp_path / "dead.json").write_text(json.dumps({"name": "dead", "nodes": {"read": node}}))
    view = aob.json("run", "start", str(tmp_path / "dead.json"))
    assert aob.ended(view["id"])["status"] == "failed"
    letter = next(one for one in aob.json("deadletter", "list")["items"] if one["run"] == view["id"])
    assert aob.json("deadletter", "show", str(letter["id"]))["input"]["args"] == {"source": "no blob"}
    again = aob.json("deadletter", "replay", str(letter["id"]))
    assert again["forked_from"]["run"] == view["id"]
    assert aob.ended(again["id"])["status"] == "failed"
    assert "closed" in aob.aob("deadletter", "discard", str(letter["id"]), "--json", code=1)


def test_completion_knows_commands_and_runs(aob: Installation) -> None:
    assert "run" in aob.aob("__complete", "--", "ru").split()
    assert {"start", "status"} <= set(aob.aob("__complete", "--", "run", "sta").split())
    assert aob.aob("__complete", "--", "run", "status", "").strip()
    assert "complete" in aob.aob("completion", "bash")
    assert "--json" in aob.aob("run", "start", "--help")


def test_doctor_finds_everything_well(aob: Installation) -> None:
    findings = aob.json("doctor")
    assert {finding["state"] for finding in findings} == {"ok"}, findings
