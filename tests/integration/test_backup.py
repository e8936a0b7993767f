"""Backups of a system that runs, and what is restored from them, whole or not at all (hazard F35)."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from embedded import dump, restore
from embedded import home as homes
from embedded.home import EmbeddedError
from tests.support.installation import ROOT, Installation
from tests.support.servers import HttpServer
from tests.support.waiting import eventually

WAITING = {"name": "waiting", "nodes": {"go": {"type": "signal", "config": {"name": "go"}}}}
ECHO = {
    "name": "echo",
    "inputs": {"type": "object", "properties": {"text": {"type": "string"}}},
    "nodes": {"same": {"type": "transform", "config": {"output": "{{ inputs.text }}"}}},
}
CALL = {
    "name": "call",
    "inputs": {"type": "object", "properties": {"url": {"type": "string"}}},
    "nodes": {"post": {"type": "http", "config": {"method": "POST", "url": "{{ inputs.url }}", "body": {"n": 1}}}},
}
BIG = "".join(f"{number * number:08d} " for number in range(20_000))


@pytest.fixture(autouse=True)
def database() -> None:
    """These tests start a system of their own, so they need no clean tables."""


@dataclass
class Backed:
    """A system that runs, a backup of it, and the runs that were there before that was begun."""

    aob: Installation
    server: HttpServer
    path: Path
    told: dict[str, Any]
    waiting: str
    big: str
    leased: str
    kept: str
    started_meanwhile: list[str]


def start(aob: Installation, document: dict[str, Any], inputs: Any = None, **headers: str) -> str:
    status, view = aob.request(
        "POST", "/api/v1/runs", {"workflow": document, "inputs": {} if inputs is None else inputs}, **headers
    )
    assert status in (200, 201), view
    return str(view["id"])


@pytest.fixture(scope="module")
def backed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backed]:
    place = Path(tmp_path_factory.mktemp("backup"))
    with HttpServer(delay=10) as server, Installation(place / "home", AOB_HTTP_ALLOW="127.0.0.1") as aob:
        waiting, big = start(aob, WAITING), start(aob, ECHO, {"text": BIG})
        kept = start(aob, ECHO, {"text": "once"}, Idempotency_Key="order-1")
        aob.ended(big)
        leased = start(aob, CALL, {"url": server.url})
        eventually(lambda: server.requests)
        started: list[str] = []
        enough = threading.Event()

        def keep_starting() -> None:
            while not enough.is_set():
                started.append(start(aob, ECHO, {"text": f"run {len(started)}"}))

        thread = threading.Thread(target=keep_starting)
        thread.start()
        try:
            eventually(lambda: len(started) > 5)
            told = aob.json("backup")
        finally:
            enough.set()
            thread.join()
        yield Backed(aob, server, Path(told["path"]), told, waiting, big, leased, kept, started)


@pytest.fixture
def copied(backed: Backed, tmp_path: Path) -> Path:
    """A copy of the backup, to be damaged."""
    return Path(shutil.copytree(backed.path, tmp_path / "copy"))


def refused(backed: Backed, *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = backed.aob.json(*arguments, code=1)
    assert found["kind"] == "refused"
    return found


def test_a_backup_is_for_its_owner_only_and_says_what_it_holds(backed: Backed) -> None:
    assert backed.path.parent == backed.aob.home / "backups"
    for path in (backed.path, *backed.path.rglob("*")):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path
    known = json.loads((backed.path / "manifest.json").read_text())
    assert known.items() <= backed.told.items()
    assert (known["format"], known["blob_storage"]) == (1, "files") and known["blobs"] and known["blob_bytes"] > 10_000
    assert known["runs"] > 9 and known["events"] > known["runs"]
    assert (backed.path / "secret.key").read_text() == (backed.aob.home / "secret.key").read_text()
    assert not list(backed.path.glob("*password*")) and not list(backed.path.parent.glob("*.partial"))


def test_a_backup_that_is_verified_leaves_nothing_behind_but_itself(
    backed: Backed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        monkeypatch.setitem(backed.aob.environment, "TMPDIR", temporary)
        assert backed.aob.json("restore", str(backed.path), "--verify")["home"] is None
        assert backed.aob.json("backup", "--verify", "--to", str(tmp_path))["verified"]
        assert os.listdir(temporary) == []


def test_blobs_in_an_external_storage_are_left_there(
    backed: Backed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(backed.aob.environment, "AOB_STORAGE_URL", "s3://bucket/prefix")
    told = backed.aob.json("backup", "--to", str(tmp_path), "--verify")
    assert (told["blob_storage"], told["blobs"]) == ("external", 0) and "AOB_STORAGE_URL" in told["notes"][0]


def test_a_database_of_ones_own_is_dumped_too(backed: Backed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = homes.read_runtime(backed.aob.home)["database_url"]
    monkeypatch.setitem(backed.aob.environment, "DATABASE_URL", url)
    assert backed.aob.json("backup", "--to", str(tmp_path))["runs"] >= backed.told["runs"]
    assert refused(backed, "restore", str(backed.path), "--home", str(tmp_path / "new"))["code"] == "external_database"
    with pytest.raises(EmbeddedError, match="Postgres 99"):
        dump.dump_major(99)


def test_a_blob_that_is_missing_at_the_backup_is_named_and_leaves_no_backup(backed: Backed, tmp_path: Path) -> None:
    blob = next((backed.aob.home / "blobs").rglob("*.zst"))
    blob.rename(tmp_path / "aside")
    try:
        told = refused(backed, "backup", "--to", str(tmp_path / "to"))
    finally:
        (tmp_path / "aside").rename(blob)
    assert told["code"] == "blob_missing" and f"sha256:{blob.parent.name}{blob.stem}" in told["text"]
    assert [path.name for path in (tmp_path / "to").iterdir()] == [".lock"]


def test_a_schedule_goes_on_and_rotates_only_whole_backups_of_its_own(
    backed: Backed, copied: Path, tmp_path: Path
) -> None:
    others = [tmp_path / "notes", tmp_path / "20200101T000000.000Z"]
    stale = tmp_path / "20200101T000000.001Z.partial"
    for place in (*others, stale):
        place.mkdir()
    known = json.loads((copied / "manifest.json").read_text()) | {"system": "another"}
    (copied / "manifest.json").write_text(json.dumps(known))
    others.append(copied.rename(tmp_path / "20200101T000000.002Z"))
    process = subprocess.Popen(
        [str(ROOT / "bin" / "aob"), "backup", "--to", str(tmp_path), "--every", "500ms", "--keep", "2", "--json"],
        cwd=ROOT, env=backed.aob.environment, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    told = [json.loads(process.stdout.readline()) for _ in range(4)]
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) in (0, 130)
    process.stdout.close()
    assert [len(one["removed"]) for one in told] == [0, 0, 1, 1]
    assert told[3]["removed"] == [told[1]["path"]] and not Path(told[1]["path"]).exists()
    assert all(place.exists() for place in others) and not stale.exists()


@pytest.mark.parametrize(
    ("damage", "code"),
    [("dump", "backup_damaged"), ("lost blob", "blob_missing"), ("blob", "blob_damaged"), ("half", "backup_unfinished")],
)
def test_a_damaged_backup_is_refused_and_leaves_no_data_directory(
    backed: Backed, copied: Path, tmp_path: Path, damage: str, code: str
) -> None:
    blob = next((copied / "blobs").rglob("*.zst"))
    if damage == "half":
        (copied / "manifest.json").unlink()
    elif damage == "lost blob":
        blob.unlink()
    else:
        path = blob if damage == "blob" else copied / "database.dump"
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    told = refused(backed, "restore", str(copied), "--home", str(tmp_path / "new"))
    assert told["code"] == code and told["hint"]
    assert damage not in ("blob", "lost blob") or f"sha256:{blob.parent.name}{blob.stem}" in told["text"]
    assert not (tmp_path / "new").exists()


def test_a_target_that_is_used_or_not_empty_or_half_restored_is_refused(backed: Backed, tmp_path: Path) -> None:
    told = refused(backed, "restore", str(backed.path), "--home", str(backed.aob.home))
    assert told["code"] == "already_running" and str(backed.aob.home) in told["text"]
    (tmp_path / homes.RESTORING).touch()
    assert refused(backed, "restore", str(backed.path), "--home", str(tmp_path))["code"] == "home_not_empty"
    assert os.listdir(tmp_path) == [homes.RESTORING]
    with pytest.raises(EmbeddedError, match="never finished"):
        homes.prepare(tmp_path)


def test_the_checks_find_gaps_wrong_ends_and_damaged_rows(backed: Backed) -> None:
    with dump.connected(homes.read_runtime(backed.aob.home)["database_url"]) as connection:
        for query in (restore.LOG_GAPS, restore.WRONG_LAST_SEQ, restore.DAMAGED_BLOBS):
            assert connection.execute(query).fetchall() == []
        connection.execute("SELECT set_config('aob.retention', %s, true)", [backed.waiting])
        connection.execute("DELETE FROM run_event WHERE run_id = %s AND seq = 1", [backed.waiting])
        connection.execute("UPDATE run SET last_seq = last_seq + 1 WHERE id = %s", [backed.kept])
        connection.execute("INSERT INTO blob (hash, size, media_type, data) VALUES ('sha256:0', 1, '', 'x')")
        assert connection.execute(restore.LOG_GAPS).fetchall() == [(backed.waiting,)]
        assert connection.execute(restore.WRONG_LAST_SEQ).fetchall() == [(backed.kept,)]
        assert ("sha256:0",) in connection.execute(restore.DAMAGED_BLOBS).fetchall()
        connection.rollback()


def test_what_was_restored_goes_on_where_the_backup_was_taken(backed: Backed, tmp_path: Path) -> None:
    # The old system goes on after the backup: what it does then is lost for the new one.
    assert backed.aob.ended(backed.leased)["status"] == "completed"
    new = Installation(tmp_path / "restored", AOB_HTTP_ALLOW="127.0.0.1")
    told = new.json("restore", str(backed.path))
    assert told["leases_cleared"] == 1 and told["home"] == str(new.home)
    backed.server.delay = 0
    with new:
        listed = {run["id"] for run in new.json("run", "list", "--limit", "1000")["items"]}
        assert {backed.waiting, backed.big, backed.leased, backed.kept} <= listed and len(listed) == told["runs"]
        assert listed <= {backed.waiting, backed.big, backed.leased, backed.kept, *backed.started_meanwhile}
        new.aob("run", "signal", backed.waiting, "go", "--payload", '"now"')
        assert new.ended(backed.waiting)["output"] == {"go": "now"}
        assert new.ended(backed.big)["output"] == {"same": BIG}
        assert new.ended(backed.leased)["status"] == "completed"
        assert start(new, ECHO, {"text": "once"}, Idempotency_Key="order-1") == backed.kept
        for run in (backed.waiting, backed.big, backed.leased, *sorted(listed)[-5:]):
            assert new.json("verify", run)["ok"]
    stopped = new.json("backup", "--verify")
    assert stopped["runs"] == told["runs"] and stopped["events"] > told["events"]
    # The call of the lost time was made again, under the key by which its receiver recognises it.
    keys = [request["headers"]["idempotency-key"] for request in backed.server.requests]
    assert len(keys) == 2 and len(set(keys)) == 1
