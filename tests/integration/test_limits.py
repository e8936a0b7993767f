"""Limits and retention on the real database."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from runs import accepting, blobs, db, queries, services, sweeper
from runs.coordinator import Advancer, leave
from runs.core.events import Fact
from runs.verify import verify
from tests.support.parallel import meanwhile
from tests.support.system import start
from tests.support.waiting import eventually
from tests.unit.runs_core.test_engine import graph, value
from workflows.core.errors import AobError, LimitExceeded


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


def test_a_replay_is_verified_without_its_parents_log_once_retention_has_deleted_that() -> None:
    nodes = {"a": value("{{ 1 }}"), "b": value("{{ nodes.a + 1 }}"), "c": value("{{ nodes.b }}")}
    run = start(graph(nodes, ("a", "b"), ("b", "c")))
    again = services.replay(run, "c", by="ada")
    before = verify(again)
    with db.transaction() as cursor:
        cursor.execute("UPDATE run SET ended_at = ended_at - interval '3 days' WHERE id = %s", [run])
    assert sweeper.retain(2) == 1
    report = verify(again)
    assert before["ok"] and report["ok"], report["problems"]
    assert [check["name"] for check in report["checks"]] == [check["name"] for check in before["checks"]]
    assert "left out" in report["checks"][-1]["detail"] and "left out" not in before["checks"][-1]["detail"]


def test_a_key_that_retention_deletes_as_it_is_used_again_stands_for_the_new_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    document = graph({"a": value(1)})
    old = start(document, key="k")
    with db.transaction() as cursor:
        cursor.execute("UPDATE run SET ended_at = ended_at - interval '3 days' WHERE id = %s", [old])
    remember = accepting._remember

    class Deletes:
        """A cursor before whose looks at known keys retention comes."""

        def __init__(self, cursor: Any) -> None:
            self._cursor = cursor

        def execute(self, query: Any, *arguments: Any) -> Any:
            if str(query).startswith("SELECT key"):
                meanwhile(lambda: sweeper.retain(2))
            return self._cursor.execute(query, *arguments)

        def __iter__(self) -> Any:
            return iter(self._cursor)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._cursor, name)

    with monkeypatch.context() as patch:
        patch.setattr(accepting, "_remember", lambda cursor, *more: remember(Deletes(cursor), *more))  # type: ignore[arg-type]
        new = start(document, key="k")
    assert start(document, key="k") == new != old


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


def loops(count: int) -> dict[str, Any]:
    body = {"nodes": {"t": value("{{ iteration }}")}}
    return {"type": "loop", "config": {"while": f"iteration < {count}", "max_iterations": 150, "body": body}}


def test_what_a_run_decides_does_not_depend_on_how_long_its_turns_are(monkeypatch: pytest.MonkeyPatch) -> None:
    from runs import accepting, coordinator

    for module in (accepting, coordinator):
        monkeypatch.setattr(module, "TURN_SECONDS", -1.0)
    monkeypatch.setattr(accepting, "_heavy", accepting._Heavy())
    runs = [start(graph({"a": loops(5), "b": value("{{ nodes.a.t + inputs.n }}")}, ("a", "b")), {"n": n}) for n in (1, 2)]
    lengths = [len(queries.events(run)["items"]) for run in runs]
    assert lengths == [2, 1], "the first makes one decision, and what follows it of this version none"
    advancer = Advancer()
    eventually(lambda: not advancer.ready().runs and all(queries.run(run)["ended_at"] for run in runs))
    assert [queries.run(run)["output"] for run in runs] == [{"b": 5}, {"b": 6}]
    assert all(verify(run)["ok"] for run in runs)


def test_a_slow_run_is_committed_with_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    from runs import coordinator

    wait = {"type": "signal", "config": {"name": "go"}}
    slow = start(graph({"wait": wait, "a": loops(20)}, ("wait", "a")))
    others = waiting_runs(3)
    advancer = Advancer()
    go_all([slow])
    with monkeypatch.context() as patched:
        patched.setattr(coordinator, "TURN_SECONDS", -1.0)
        advancer.ready()
    real = coordinator.write
    batches: list[set[str]] = []

    def watched(cursor: Any, changes: Any, **more: Any) -> Any:
        batches.append({change.row.id for change in changes})
        return real(cursor, changes, **more)

    monkeypatch.setattr(coordinator, "write", watched)
    go_all(others)
    advancer.ready()
    assert batches == [set(others), {slow}]
    assert queries.run(slow)["status"] == "completed"


def test_a_run_that_makes_batches_get_lost_is_taken_alone_and_fails_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """One decision took so long that the server ended the session (here: the writing finds it ended)."""
    from runs import coordinator

    runs = waiting_runs(5)
    real, real_write = coordinator.advance, coordinator.write
    lost: list[int] = []

    def long(state: Any, *arguments: Any, **more: Any) -> int:
        made = real(state, *arguments, **more)
        began = time.thread_time()
        while state.run_id == runs[2] and time.thread_time() - began < 0.02:
            pass
        return made

    def ended_by_the_server(cursor: Any, changes: Any, **more: Any) -> Any:
        mine = [change for change in changes if change.row.id == runs[2]]
        if mine and mine[0].held.state.status != "failed":
            lost.append(len(changes))
            raise psycopg.OperationalError("terminating connection due to idle-in-transaction timeout")
        return real_write(cursor, changes, **more)

    monkeypatch.setattr(coordinator, "BLAMED_SECONDS", 0.01)
    monkeypatch.setattr(coordinator, "advance", long)
    monkeypatch.setattr(coordinator, "write", ended_by_the_server)
    go_all(runs)
    advancer = Advancer()

    def ended() -> bool:
        with contextlib.suppress(psycopg.OperationalError):
            advancer.ready()
        return all(queries.run(run)["ended_at"] for run in runs)

    eventually(ended)
    assert lost == [5, 1, 1], "the others are in one lost batch only"
    assert [queries.run(run)["status"] for run in runs] == ["completed"] * 2 + ["failed"] + ["completed"] * 2
    assert queries.run(runs[2])["error"]["code"] == "engine_too_slow"


def test_a_storage_that_answers_late_rests_only_the_runs_that_read_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from runs import blobs, coordinator, fetching

    wait = {"type": "signal", "config": {"name": "go"}}
    document = graph({"wait": wait, "n": value("{{ size(inputs.t) }}")}, ("wait", "n"))
    late, *others = [start(document, {"t": text}) for text in ("x" * 200_000, "y", "z")]
    served, real = threading.Event(), blobs._open

    def crawling(name: str) -> Any:
        served.wait(30)
        return real(name)

    monkeypatch.setattr(blobs, "_open", crawling)
    monkeypatch.setattr(fetching, "PATIENCE", 0.05)
    monkeypatch.setattr(coordinator, "REST_SECONDS", 0.05)
    go_all([late, *others])
    advancer = Advancer()
    advancer.ready()
    found = [queries.run(run, with_values=False)["status"] for run in (late, *others)]
    assert found == ["waiting", "completed", "completed"]
    served.set()

    def completed() -> bool:
        advancer.ready()
        return bool(queries.run(late)["status"] == "completed")

    eventually(completed)


def in_parallel(*calls: Callable[[], Any]) -> list[Any]:
    with ThreadPoolExecutor(len(calls)) as threads:
        return [future.exception() or future.result() for future in [threads.submit(call) for call in calls]]


def test_as_many_replays_at_a_time_as_there_are_connections_all_start(monkeypatch: pytest.MonkeyPatch) -> None:
    from runs import store

    document = graph({"a": value("{{ 1 }}"), "b": value("{{ nodes.a + size(inputs.t) }}")}, ("a", "b"))
    run = start(document, {"t": "x" * 30_000})
    together, real = threading.Barrier(db.POOL_SIZE), store.events_of

    def events_of(*arguments: Any, **more: Any) -> Any:
        found = real(*arguments, **more)
        together.wait(20)
        return found

    monkeypatch.setattr(store, "events_of", events_of)
    replays = in_parallel(*[lambda: services.replay(run, "b", by="ada")] * db.POOL_SIZE)
    assert [queries.run(one)["output"] for one in replays] == [{"b": 30_001}] * db.POOL_SIZE


def test_whoever_waits_for_a_busy_run_keeps_nobody_from_another(monkeypatch: pytest.MonkeyPatch) -> None:
    from runs import holding

    monkeypatch.setattr(holding, "HOLD_MS", 2_000)
    busy, idle = waiting_runs(2)
    waiting, real = threading.Semaphore(0), holding._lock

    def lock(cursor: Any, run_id: str) -> None:
        waiting.release()
        real(cursor, run_id)

    monkeypatch.setattr(holding, "_lock", lock)

    def hold(run_id: str) -> str:
        with holding.hold(run_id) as held:
            return held.state.run_id

    with db.transaction() as cursor, ThreadPoolExecutor(9) as threads:
        cursor.execute("SELECT 1 FROM run WHERE id = %s FOR UPDATE", [busy])
        others = [threads.submit(hold, busy) for _ in range(9)]
        for _ in range(db.POOL_SIZE // 2):
            waiting.acquire()
        assert hold(idle) == idle
        assert not any(other.done() for other in others), "the idle run did not wait for those who give up"
        errors = [other.exception() for other in others]
    assert {error.code for error in errors if isinstance(error, AobError)} == {"run_busy"} and None not in errors
    assert hold(busy) == busy


def test_retention_goes_on_until_nothing_is_left_or_its_time_is_up() -> None:
    document = graph({"a": value(1)})
    services.start_many([services.StartRequest(document, {}) for _ in range(10)])
    with db.transaction() as cursor:
        cursor.execute("UPDATE run SET ended_at = ended_at - interval '9 days'")

    def left() -> int:
        with db.transaction() as cursor:
            found = cursor.execute("SELECT count(*) FROM run").fetchone()
        assert found is not None
        return int(found[0])

    assert sweeper.retain_for(0.0, 2, limit=3) is True
    assert left() == 7, "one small transaction when there is no time for more"
    assert sweeper.retain_for(30.0, 2, limit=3) is False
    assert left() == 0
