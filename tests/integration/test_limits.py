"""Limits and retention on the real database."""

from __future__ import annotations

from typing import Any

import pytest

from runs import blobs, db, queries, services, sweeper
from runs.coordinator import Advancer, leave
from runs.core.events import Fact
from runs.verify import verify
from tests.support.system import start
from tests.support.waiting import eventually
from tests.unit.runs_core.test_engine import graph, value
from workflows.core.errors import LimitExceeded


def test_an_output_above_the_limit_fails_its_node_and_names_the_limit() -> None:
    run_id = start(graph({"a": value("{{ range(900000) }}")}))
    view = queries.run(run_id)
    assert view["status"] == "failed"
    assert view["error"]["code"] == "output_too_large" and "AOB_MAX_VALUE_BYTES" in view["error"]["hint"]
    assert verify(run_id)["ok"]


def test_large_outputs_and_inputs_are_kept_as_blobs_and_come_back_the_same() -> None:
    items = [{"n": number, "half": number / 2} for number in range(5000)]
    run_id = start(
        graph({"a": value("{{ inputs.items }}"), "b": value("{{ size(nodes.a) }}")}, ("a", "b")), {"items": items}
    )
    assert queries.run(run_id)["inputs"]["items"] == items
    assert queries.run(run_id)["output"] == {"b": 5000}
    assert "output_ref" in queries.events(run_id)["items"][1]["data"]
    assert verify(run_id)["ok"]


@pytest.mark.timeout(30)
def test_a_start_whose_events_are_many_megabytes_is_written() -> None:
    """A small batch is pipelined; psycopg left the end of a large statement unsent and waited for its answer for ever."""
    body = {"nodes": {"t": value("{{ inputs.text }}")}}
    each = {"type": "map", "config": {"items": "range(330)", "body": body}}
    run_id = start(graph({"each": each}), {"text": "x" * 12_000})
    assert queries.run(run_id)["last_seq"] >= 500 and verify(run_id)["ok"]


def test_inputs_above_the_limit_are_refused_at_the_door() -> None:
    with pytest.raises(LimitExceeded) as refused:
        start(graph({"a": value(1)}), {"text": "x" * (5 * 1024 * 1024)})
    assert refused.value.code == "inputs_too_large"


def test_a_map_with_too_many_items_is_refused() -> None:
    body = {"nodes": {"x": value(1)}}
    document = graph({"each": {"type": "map", "config": {"items": "range(11)", "body": body}}}, limits={"max_items": 10})
    assert queries.run(start(document))["error"]["code"] == "limit_max_items"


def test_one_bad_start_of_many_leaves_the_others_alone() -> None:
    good = services.StartRequest(graph({"a": value(1)}), {})
    bad = services.StartRequest(graph({"a": value(1)}), {"x": "\x00"})
    outcomes: list[Any] = services.start_many([good, bad, good])
    assert [isinstance(outcome, services.Started) for outcome in outcomes] == [True, False, True]
    assert outcomes[1].code == "json_nul" and outcomes[1].pointer == "/inputs/x"


def test_blobs_of_any_size_hash_to_their_name_and_a_damaged_one_is_not_handed_on() -> None:
    for size in (0, 10, 64 * 1024, 64 * 1024 + 1, 3_000_000):
        reference = blobs.put([b"x" * size], media_type="text/plain", max_bytes=10**7)
        assert reference["bytes"] == size and b"".join(blobs.read(reference["blob"])) == b"x" * size
    with pytest.raises(LimitExceeded):
        blobs.put([b"x" * 100], media_type="text/plain", max_bytes=99)
    with db.transaction() as cursor:
        cursor.execute("UPDATE blob SET data = 'other' WHERE size = 10")
    with pytest.raises(blobs.BlobError, match="hash"):
        b"".join(blobs.read(blobs.put([b"x" * 10], media_type="text/plain", max_bytes=100)["blob"]))
    with db.transaction() as cursor:
        cursor.execute("DELETE FROM blob WHERE size = 10")


def test_retention_deletes_ended_runs_with_their_logs_and_nothing_else() -> None:
    old = start(graph({"a": value(1)}))
    live = start(graph({"a": {"type": "delay", "config": {"for": "1h"}}}))
    with db.transaction() as cursor:
        cursor.execute("UPDATE run SET ended_at = ended_at - interval '3 days' WHERE id = %s", [old])
    assert sweeper.retain(2) == 1
    with pytest.raises(services.RunError, match="no run"):
        queries.run(old)
    with db.transaction() as cursor:
        assert cursor.execute("SELECT count(*) FROM run_event WHERE run_id = %s", [old]).fetchone() == (0,)
    assert queries.run(live)["status"] == "waiting"


def test_a_defect_met_by_one_run_fails_that_run_and_not_its_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    from runs import coordinator

    waiting = graph({"a": {"type": "delay", "config": {"for": "1ms"}}, "b": value("{{ inputs.n }}")}, ("a", "b"))
    poison = start(waiting, {"n": 1})
    others = [start(waiting, {"n": number}) for number in (2, 3)]
    real = coordinator.advance

    def broken(state: Any, *arguments: Any, **more: Any) -> int:
        if state.run_id == poison and more["max_events"] > 1:
            raise ZeroDivisionError("planted")
        return real(state, *arguments, **more)

    monkeypatch.setattr(coordinator, "advance", broken)
    advancer = coordinator.Advancer()
    eventually(lambda: advancer.ready().runs == 0 and all(queries.run(run)["ended_at"] for run in [poison, *others]))
    assert queries.run(poison)["error"]["code"] == "engine_error"
    assert [queries.run(run)["output"] for run in others] == [{"b": 2}, {"b": 3}]


def waiting_runs(count: int) -> list[str]:
    document = graph({"wait": {"type": "signal", "config": {"name": "go"}}})
    return [start(document) for _ in range(count)]


def go_all(runs: list[str], poisoned: str | None = None) -> None:
    """Leaves the signal for all runs at once; one run may get what Postgres refuses."""
    with db.transaction() as cursor:
        for run in runs:
            leave(cursor, run, Fact("SignalReceived", None, {"name": "go", "payload": 1, "by": "test"}))
            if run == poisoned:
                leave(cursor, run, Fact("EngineFailed", None, {"error": {"code": "x", "message": "\x00"}}))


def test_one_poisonous_run_of_a_batch_fails_alone() -> None:
    runs = waiting_runs(9)
    go_all(runs, poisoned=runs[4])
    advancer = Advancer()
    eventually(lambda: not advancer.ready().more)
    statuses = [queries.run(run)["status"] for run in runs]
    assert statuses == ["completed"] * 4 + ["failed"] + ["completed"] * 4
    assert queries.run(runs[4])["error"]["code"] == "engine_data_refused"


def test_a_defect_met_while_writing_holds_up_its_own_run_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from runs import writing

    runs = waiting_runs(6)
    real = writing._projection

    def broken(change: Any, now: int) -> Any:
        if change.row.id == runs[2]:
            raise RuntimeError("a defect")
        return real(change, now)

    monkeypatch.setattr(writing, "_projection", broken)
    go_all(runs)
    advancer = Advancer()
    advancer.ready()
    statuses = [queries.run(run)["status"] for run in runs]
    assert statuses == ["completed"] * 2 + ["waiting"] + ["completed"] * 3
    monkeypatch.undo()
    advancer.ready()
    assert queries.run(runs[2])["status"] == "completed"


def test_a_late_result_changes_nothing_of_a_run_that_has_ended() -> None:
    [run] = waiting_runs(1)
    go_all([run])
    advancer = Advancer()
    advancer.ready()
    before = queries.run(run)
    with db.transaction() as cursor:
        leave(cursor, run, Fact("TaskCompleted", "wait", {"attempt": 1, "output": 2}))
    advancer.ready()
    assert queries.run(run) == before and before["status"] == "completed"
    with db.transaction() as cursor:
        assert cursor.execute("SELECT count(*) FROM run_inbox").fetchone() == (0,)
