"""`aob run start`, `replay` and `batch`: what is sent, and that it is sent once."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.unit.cli.stub import CODE, ID, Answer, Request, Stub, aob, drop, of_json, problem, run

STARTED = of_json(run(status="queued"), 201)
REFERENCE = {"blob": "sha256:" + "ab" * 32, "bytes": 3, "media_type": "text/plain"}


def blob(request: Request) -> Answer:
    return of_json({**REFERENCE, "bytes": len(request.body), "media_type": request.headers["content-type"]}, 201)


def test_a_file_is_sent_as_it_was_written(stub: Stub, tmp_path: Path) -> None:
    text = '{ "name": "x", "name": "y", "n": 1.0, "big": 123456789012345678901234567890, "s": "\\ud800", "x": NaN }'
    (tmp_path / "flow.json").write_text(text)
    stub.on("POST /runs", STARTED)
    done = aob("run", "start", "flow.json", url=stub.url, cwd=tmp_path)
    assert done.code == 0, done.err
    assert done.out == f"Started score as {ID}: queued\n  Follow it: aob logs stream {ID}\n"
    [request] = stub.asked("POST /runs")
    assert request.body == b'{"workflow": ' + text.encode() + b"}"
    assert request.headers["authorization"] == "Bearer aob_test"
    assert request.headers["content-type"] == "application/json"


def test_a_name_with_every_option_is_sent(stub: Stub) -> None:
    stub.on("POST /runs", STARTED)
    done = aob(
        "run", "start", "score@stable", "--inputs", '{"n": 1.50}', "--priority", "high", "--label", "team=a=b",
        "--label", "x=y", "--idempotency-key", "mine", "--json", url=stub.url,
    )  # fmt: skip
    assert done.json()["id"] == ID
    [request] = stub.asked("POST /runs")
    assert b'"inputs": {"n": 1.50}' in request.body
    assert request.json() == {
        "workflow": "score@stable", "inputs": {"n": 1.5}, "priority": "high", "labels": {"team": "a=b", "x": "y"},
    }  # fmt: skip
    assert request.headers["idempotency-key"] == "mine"


def test_lost_answers_and_busy_servers_are_asked_again_with_one_key(stub: Stub) -> None:
    busy = problem(503, "unavailable", "Not now.")
    busy.headers["retry-after"] = "0"
    stub.on("POST /runs", drop(), busy, busy, STARTED)
    assert aob("run", "start", "score", "--json", url=stub.url).json()["id"] == ID
    keys = [request.headers["idempotency-key"] for request in stub.asked("POST /runs")]
    assert len(keys) == 4 and len(set(keys)) == 1 and len(keys[0]) == 32


def test_after_five_attempts_the_key_is_told(stub: Stub) -> None:
    stub.on("POST /runs", drop())
    done = aob("run", "start", "score", url=stub.url)
    assert done.code == 3
    keys = {request.headers["idempotency-key"] for request in stub.asked("POST /runs")}
    assert len(stub.asked("POST /runs")) == 5
    assert f"--idempotency-key {keys.pop()}" in done.err


def test_two_starts_have_different_keys(stub: Stub) -> None:
    stub.on("POST /runs", STARTED)
    for _ in range(2):
        aob("run", "start", "score", url=stub.url)
    assert len({request.headers["idempotency-key"] for request in stub.asked("POST /runs")}) == 2


def test_files_in_inputs_become_blobs(stub: Stub, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "access.log").write_text("GET /\n")
    (folder / "inputs.json").write_text(
        json.dumps({"log": {"$file": "access.log"}, "list": [{"$file": "./access.log"}], "n": 2})
    )
    (tmp_path / "table.csv").write_text("a,b\n")
    stub.on("POST /blobs", blob).on("POST /runs", STARTED)
    done = aob(
        "run", "start", "score", "--inputs", "data/inputs.json", "--input", "table=@table.csv", "--input", "k=7",
        "--input", "word=seven", "--input", "quoted=\"@x\"", "--input", "nan=NaN", url=stub.url, cwd=tmp_path,
    )  # fmt: skip
    assert done.code == 0, done.err
    log = {**REFERENCE, "bytes": 6, "media_type": "text/plain"}
    assert stub.asked("POST /runs")[0].json()["inputs"] == {
        "log": log, "list": [log], "n": 2, "table": {**REFERENCE, "bytes": 4, "media_type": "text/csv"},
        "k": 7, "word": "seven", "quoted": "@x", "nan": "NaN",
    }  # fmt: skip
    assert [one.body for one in stub.asked("POST /blobs")] == [b"GET /\n", b"a,b\n"]
    assert "Uploaded data/access.log (6 B)." in done.err


def test_a_large_file_is_streamed_with_its_length(stub: Stub, tmp_path: Path) -> None:
    size = 96 * 1024 * 1024
    with (tmp_path / "large.bin").open("wb") as file:
        file.truncate(size)
    stub.on("POST /blobs", blob)
    measured = CODE.replace(
        "sys.exit(main())",
        "code = main(); print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0], file=sys.stderr); "
        "sys.exit(code)",
    )
    done = aob("blob", "put", "large.bin", "--json", url=stub.url, cwd=tmp_path, code=measured)
    assert done.json() == {**REFERENCE, "bytes": size, "media_type": "application/octet-stream"}
    [request] = stub.asked("POST /blobs")
    assert request.headers["content-length"] == str(size)
    assert "transfer-encoding" not in request.headers
    assert int(done.err) < 48 * 1024, "KiB of memory"


def test_an_upload_is_repeated_from_its_start(stub: Stub, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("whole")
    stub.on("POST /blobs", drop(), blob)
    assert aob("blob", "put", "a.txt", url=stub.url, cwd=tmp_path).code == 0
    assert [one.body for one in stub.asked("POST /blobs")] == [b"whole", b"whole"]


def test_what_cannot_be_uploaded_is_named(stub: Stub, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "bad.json").write_text('{"a": {"$file": "gone.log"}}')
    (tmp_path / "twice.json").write_text('{"a": {"$file": "bad.json"}, "b": 1, "b": 2}')
    for arguments, words in (
        (("--inputs", "bad.json"), "there is no file 'gone.log'"),
        (("--inputs", '{"a": {"$file": 7}}'), "takes the path of a file, not 7"),
        (("--input", "a=@."), "'.' is a directory"),
        (("--input", "a=@pipe"), "is not a regular file"),
        (("--inputs", "twice.json"), "a key stands twice"),
        (("--inputs", "[1]", "--input", "a=1"), "adds to an object"),
        (("--input", "novalue"), "is written NAME=VALUE"),
        (("--label", "=x"), "is written NAME=VALUE"),
    ):
        done = aob("run", "start", "score", *arguments, url=stub.url, cwd=tmp_path)
        assert (done.code, done.out) == (2, ""), arguments
        assert words in done.err
    assert stub.requests == []


def test_inputs_that_are_not_json_are_shown_with_their_place(stub: Stub, tmp_path: Path) -> None:
    (tmp_path / "in.json").write_text('{\n  "a": 1,\n  "b" 2\n}')
    done = aob("run", "start", "score", "--inputs", "in.json", url=stub.url, cwd=tmp_path)
    assert done.code == 2
    message, shown, mark = done.err.splitlines()
    assert "in.json is not JSON" in message and "line 3, column 7" in message
    assert shown == '  3 |   "b" 2'
    assert shown[mark.index("^")] == "2"
    assert "line 1, column 2" in aob("run", "start", "score", "--inputs", "{", url=stub.url).err
    assert (
        "no file 'inputs.jsn', and it is not JSON"
        in aob("run", "start", "score", "--inputs", "inputs.jsn", url=stub.url, cwd=tmp_path).err
    )


def test_a_document_that_cannot_be_one_is_refused_before_anything_is_sent(stub: Stub, tmp_path: Path) -> None:
    stub.on("POST /runs", STARTED)
    file = tmp_path / "flow.json"
    for content, code, words in (
        (b"{", "json_syntax", "line 1, column 2"),
        (b"", "json_syntax", "is empty"),
        (b'{"name": "x"}, "inputs": {}', "json_syntax", "Extra data"),
        (b'{"name": "\xff"}', "json_encoding", "byte 10"),
        (b"\xef\xbb\xbf{}", "json_encoding", "byte order mark"),
    ):
        file.write_bytes(content)
        done = aob("run", "start", "flow.json", "--json", url=stub.url, cwd=tmp_path)
        assert done.code == 1
        assert done.json()["code"] == code and words in done.json()["detail"]
    with file.open("wb") as large:
        large.truncate(50 * 1024 * 1024)
    done = aob("run", "start", "flow.json", url=stub.url, cwd=tmp_path)
    assert done.code == 1 and "has 50.0 MiB; the limit of a request is 16.0 MiB" in done.err
    assert "there is no file 'gone.json'" in aob("run", "start", "gone.json", url=stub.url, cwd=tmp_path).err
    assert stub.requests == []


def test_a_deeply_nested_document_goes_to_the_server_which_judges_it(stub: Stub, tmp_path: Path) -> None:
    stub.on("POST /runs", problem(400, "json_too_deep", "Too deep."))
    deep = b"[" * 100_000 + b"]" * 100_000
    done = aob("run", "start", "-", "--json", url=stub.url, stdin=deep)
    assert (done.code, done.json()["code"]) == (1, "json_too_deep")
    assert stub.asked("POST /runs")[0].body == b'{"workflow": ' + deep + b"}"


def test_standard_input_is_a_document_or_inputs(stub: Stub) -> None:
    stub.on("POST /runs", STARTED)
    assert aob("run", "start", "-", url=stub.url, stdin=b'{"name": "x"}').code == 0
    assert aob("run", "start", "score", "--inputs", "-", url=stub.url, stdin=b'{"n": 2}').code == 0
    assert [one.json() for one in stub.asked("POST /runs")] == [
        {"workflow": {"name": "x"}}, {"workflow": "score", "inputs": {"n": 2}},
    ]  # fmt: skip
    assert "only one" in aob("run", "start", "-", "--inputs", "-", url=stub.url, stdin=b"{}").err


def test_replay_says_where_it_begins(stub: Stub) -> None:
    stub.on(f"POST /runs/{ID}/replay", of_json(run(id="new", status="queued"), 201))
    done = aob(
        "replay", ID, "--from", "each[3]/parse", "--inputs", '{"n": 2}', "--version", "stable", url=stub.url
    )  # fmt: skip
    assert done.code == 0 and f"Replays {ID} from each[3]/parse as new: queued" in done.out
    assert stub.asked(f"POST /runs/{ID}/replay")[0].json() == {
        "from": "each[3]/parse", "inputs": {"n": 2}, "version": "stable",
    }  # fmt: skip
    assert aob("replay", ID, url=stub.url).code == 2


def accept_lines(request: Request) -> Answer:
    lines = [json.loads(line) for line in request.body.splitlines()]
    return of_json(
        {
            "items": [
                {"status": 201, "run": {"id": f"run-{line['inputs']['n']}"}}
                if line["workflow"] == "score"
                else {"status": 404, "problem": {"detail": f"There is no workflow {line['workflow']!r}."}}
                for line in lines
            ]
        }
    )


def test_a_batch_goes_in_requests_of_bounded_size_and_answers_each_line(stub: Stub, tmp_path: Path) -> None:
    lines = [json.dumps({"workflow": "nope" if n == 700 else "score", "inputs": {"n": n}}) for n in range(1200)]
    (tmp_path / "runs.jsonl").write_text("\n\n".join(lines) + "\n")
    stub.on("POST /runs/batch", accept_lines)
    done = aob("run", "batch", "runs.jsonl", "--json", url=stub.url, cwd=tmp_path)
    assert done.code == 1
    items = done.json()["items"]
    assert [item["run"]["id"] for item in items if "run" in item] == [f"run-{n}" for n in range(1200) if n != 700]
    sizes = [len(one.body.splitlines()) for one in stub.asked("POST /runs/batch")]
    assert sizes == [500, 500, 200]
    assert stub.asked("POST /runs/batch")[0].headers["content-type"] == "application/x-ndjson"
    text = aob("run", "batch", "runs.jsonl", url=stub.url, cwd=tmp_path).out.splitlines()
    assert text[0] == "     1  started  run-0"
    assert text[700] == "  1401  refused  There is no workflow 'nope'."
    assert text[-1] == "1199 started, 1 refused"


def test_a_batch_with_a_bad_line_starts_nothing(stub: Stub) -> None:
    stub.on("POST /runs/batch", accept_lines)
    done = aob("run", "batch", "-", url=stub.url, stdin=b'{"workflow": "score"}\n{"workflow" 1}\n')
    assert done.code == 2 and "line 2 of standard input is not JSON" in done.err
    assert "line 1 of standard input is no object" in aob("run", "batch", "-", url=stub.url, stdin=b"7\n").err
    assert "has no lines" in aob("run", "batch", "-", url=stub.url, stdin=b"\n").err
    assert stub.requests == []


def test_a_batch_that_breaks_off_tells_what_was_started(stub: Stub) -> None:
    lines = "\n".join(json.dumps({"workflow": "score", "inputs": {"n": n}}) for n in range(600)).encode()
    stub.on("POST /runs/batch", accept_lines, drop())
    done = aob("run", "batch", "-", "--json", url=stub.url, stdin=lines)
    assert done.code == 3
    assert len(done.json()["items"]) == 500 and done.json()["problem"]["code"] == "unreachable"
