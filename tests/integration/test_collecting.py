"""Retention collects what nothing names, and never what somebody is storing or naming (invariant I14)."""

from __future__ import annotations

import os
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.files.storage import storages

from runs import blobs, collecting, db, queries, services, sweeper, writing
from runs.core.values import Values
from runs.errors import RunError
from tests.support.parallel import meanwhile
from tests.support.system import start
from tests.support.waiting import eventually
from tests.unit.runs_core.test_engine import graph, value

DAYS = 3 * 86_400
BLOCKED = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


def waiting() -> dict[str, Any]:
    nodes = {"wait": {"type": "signal", "config": {"name": "go"}}, "n": value("{{ size(inputs.text) }}")}
    return graph(nodes, ("wait", "n"))


def uploaded(size: int = 100) -> str:
    return str(blobs.put([os.urandom(size)], media_type="x/y", max_bytes=size)["blob"])


def grown_old(name: str) -> None:
    with db.transaction() as cursor:
        cursor.execute("UPDATE blob SET created_at = created_at - interval '3 days' WHERE hash = %s", [name])
    if file_of(name).exists():
        os.utime(file_of(name), (time.time() - DAYS,) * 2)


def file_of(name: str) -> Path:
    return Path(storages["blobs"].path(blobs.key_of(name)))


def is_there(name: str) -> bool:
    try:
        blobs.describe(name)
    except blobs.BlobError:
        return False
    return b"".join(blobs.read(name)) != b""


def ended_long_ago(run: str) -> None:
    with db.transaction() as cursor:
        cursor.execute("UPDATE run SET ended_at = ended_at - interval '90 days' WHERE id = %s", [run])


def collect() -> None:
    """As retention does it, with all folders at once."""
    meanwhile(lambda: sweeper.retain(30))
    folders = [Path(entry.path).name for entry in os.scandir(storages["blobs"].location)]
    meanwhile(lambda: [collecting.sweep_folder(folder) for folder in folders])


def test_what_nothing_names_goes_after_a_day_with_its_file() -> None:
    small, large, young = uploaded(), uploaded(200_000), uploaded(200_000)
    for name in (small, large):
        grown_old(name)
    collect()
    assert [is_there(name) for name in (small, large, young)] == [False, False, True]
    assert not file_of(large).exists() and file_of(young).exists()


def test_an_old_blob_that_is_uploaded_again_is_as_good_as_new() -> None:
    for size in (100, 200_000):
        data = os.urandom(size)
        name = blobs.put([data], media_type="x/y", max_bytes=size)["blob"]
        grown_old(name)
        blobs.put([data], media_type="x/y", max_bytes=size)
        collect()
        assert is_there(name)


@pytest.mark.parametrize("size", [30_000, 200_000])
def test_a_value_that_is_collected_while_a_start_stores_it_again_is_there(
    monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    inputs = {"text": uuid.uuid4().hex + "x" * size}
    values = Values()
    name = values.store(inputs, max_bytes=10**7, what="It")
    assert isinstance(name, str)
    with db.transaction() as cursor:
        blobs.write_values(cursor, values.new)
    grown_old(name)
    write_values = blobs.write_values

    def and_collects(cursor: Any, new: Any) -> None:
        collect_before = not looked
        looked.append(1)
        write_values(cursor, new)
        if collect_before:
            collect()

    looked: list[int] = []
    monkeypatch.setattr(blobs, "write_values", and_collects)
    run = start(waiting(), inputs)
    services.advancer.cache_clear()
    services.signal(run, "go", 1, by="ada")
    assert looked and queries.run(run)["output"] == {"n": size + 32}


def test_an_upload_whose_file_is_collected_before_its_row_is_written_has_its_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = os.urandom(200_000)
    name = blobs.put([data], media_type="x/y", max_bytes=10**6)["blob"]
    grown_old(name)
    insert = blobs._insert

    def after_a_collection(*row: Any) -> None:
        collect()
        assert not file_of(name).exists()
        insert(*row)

    monkeypatch.setattr(blobs, "_insert", after_a_collection)
    blobs.put([data], media_type="x/y", max_bytes=10**6)
    assert is_there(name)


def test_who_stores_a_blob_whose_file_is_being_deleted_waits_and_writes_it_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    data = os.urandom(200_000)
    name = blobs.put([data], media_type="x/y", max_bytes=10**6)["blob"]
    grown_old(name)
    delete = collecting.delete
    again = threading.Thread(target=lambda: blobs.put([data], media_type="x/y", max_bytes=10**6))

    def while_somebody_stores_it(one: str) -> None:
        again.start()
        with psycopg.connect(db.conninfo(), autocommit=True) as other:
            eventually(lambda: other.execute(BLOCKED).fetchone())
        delete(one)

    monkeypatch.setattr(collecting, "delete", while_somebody_stores_it)
    meanwhile(lambda: sweeper.retain(30))
    again.join(20)
    assert is_there(name)


def test_an_old_blob_is_not_collected_while_a_start_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    name = uploaded()
    grown_old(name)
    write_snapshots = writing._write_snapshots

    def and_collects(*arguments: Any) -> None:
        collect()
        write_snapshots(*arguments)

    monkeypatch.setattr(writing, "_write_snapshots", and_collects)
    run = start(waiting(), {"file": {"blob": name}, "text": ""})
    monkeypatch.undo()
    collect()
    assert is_there(name)
    services.signal(run, "go", 1, by="ada")
    ended_long_ago(run)
    collect()
    assert not is_there(name)


def test_what_a_large_value_names_is_kept_as_long_as_the_value() -> None:
    of_inputs, of_payload = uploaded(), uploaded()
    run = start(waiting(), {"file": {"blob": of_inputs}, "text": "x" * 20_000})
    for name in (of_inputs, of_payload):
        grown_old(name)
    services.signal(run, "go", {"file": {"blob": of_payload}, "pad": "x" * 20_000}, by="ada")
    collect()
    assert is_there(of_inputs) and is_there(of_payload)
    with db.transaction() as cursor:
        used = {name for (name,) in cursor.execute("SELECT hash FROM blob_use WHERE run_id = %s", [run])}
    values = used - {of_inputs, of_payload}
    assert len(values) == 2
    ended_long_ago(run)
    for name in values:
        grown_old(name)
    collect()
    assert is_there(of_inputs) and not any(is_there(name) for name in values)
    collect()
    assert not is_there(of_inputs) and not is_there(of_payload)


@pytest.mark.parametrize("when", ["before its values are read", "before the replay is written"])
def test_a_replay_of_a_run_that_is_deleted_meanwhile_says_so(monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    from runs import store

    nodes = {"a": value("{{ size(inputs.text) }}"), "b": value("{{ inputs.text }}")}
    run = start(graph(nodes, ("a", "b")), {"text": uuid.uuid4().hex + "x" * 30_000})
    with db.transaction() as cursor:
        [name] = cursor.execute("SELECT hash FROM blob_use WHERE run_id = %s", [run]).fetchone() or [""]
    ended_long_ago(run)
    grown_old(name)
    place, what = (store, "events_of") if when.startswith("before its") else (services, "advance")
    whole = getattr(place, what)

    def and_deletes(*arguments: Any, **more: Any) -> Any:
        found = whole(*arguments, **more)
        collect()
        return found

    monkeypatch.setattr(place, what, and_deletes)
    with pytest.raises(RunError, match="no run"):
        services.replay(run, "b", by="ada")
    monkeypatch.undo()
    with db.transaction() as cursor:
        assert cursor.execute("SELECT 1 FROM run WHERE forked_from = %s", [run]).fetchone() is None


def test_the_file_of_a_start_that_was_rolled_back_goes_after_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: Any) -> None:
        raise psycopg.errors.SerializationFailure("rolled back")

    root = Path(storages["blobs"].location)
    before = set(root.rglob("*.zst"))
    monkeypatch.setattr(writing, "_write_events", refused)
    with pytest.raises(psycopg.Error):
        start(waiting(), {"text": uuid.uuid4().hex + "y" * 200_000})
    [left] = set(root.rglob("*.zst")) - before
    collect()
    assert left.exists()
    os.utime(left, (time.time() - DAYS,) * 2)
    half = left.with_name(f".{uuid.uuid4().hex}.part")
    half.touch()
    os.utime(half, (time.time() - DAYS,) * 2)
    collect()
    assert not left.exists() and not half.exists() and before <= set(root.rglob("*.zst"))


def test_a_stray_file_is_left_to_who_is_about_to_write_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collecting, "PATIENCE_MS", 50)
    values = Values()
    name = values.store(uuid.uuid4().hex + "z" * 200_000, max_bytes=10**7, what="It")
    assert isinstance(name, str)
    with db.transaction() as cursor:
        blobs.write_values(cursor, values.new)
        os.utime(file_of(name), (time.time() - DAYS,) * 2)
        collect()
        assert file_of(name).exists()
    assert is_there(name)
