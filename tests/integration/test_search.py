"""Finding runs, bulk work and the figures of the first page, on the real database."""

from __future__ import annotations

import pytest

from runs import bulk, overview, queries, search, services
from runs.errors import RunError
from runs.where import judging
from tests.support.system import start
from tests.unit.runs_core.test_engine import graph, value

FINE = graph({"a": value("{{ inputs.n }}")})
FALSE = graph({"stop": {"type": "fail", "config": {"message": "no"}}})
WAIT = graph({"w": {"type": "signal", "config": {"name": "go"}}})


def found(limit: int = 50, **wanted: object) -> list[str]:
    return [run["id"] for run in search.search(search.read_filter(**wanted), limit=limit)["items"]]  # type: ignore[arg-type]


def test_pages_of_every_kind_of_filter_give_each_run_once_in_order() -> None:
    runs = [start(FINE, {"n": number}) for number in range(7)] + [start(WAIT) for _ in range(3)]
    for wanted in (
        {},
        {"status": "completed"},
        {"status": "waiting,paused"},
        {"where": "true"},
        {"text": "n"},
        {"workflow": "test"},
        {"status": "waiting", "workflow": "test"},
        {"since": "1h", "until": "2099-01-01"},
    ):
        seen, cursor = [], None
        while True:
            page = search.search(search.read_filter(**wanted), limit=2, cursor=cursor)  # type: ignore[arg-type]
            seen += [run["id"] for run in page["items"]]
            cursor = page["next"]
            if cursor is None:
                break
        assert seen == sorted(set(seen), reverse=True) == found(**wanted), wanted
        assert set(seen) <= set(runs), wanted


def test_a_search_that_ends_by_its_budget_says_so_and_goes_on_where_it_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "FIRST_BATCH", 2)
    monkeypatch.setattr(search, "LARGEST_BATCH", 2)
    oldest = start(FINE, {"n": 77})
    for _ in range(5):
        start(FINE, {"n": 1})
    wanted = search.read_filter(where="inputs.n == 77")
    first = search.search(wanted, budget=search.Budget(rows=2, seconds=60))
    assert (first["items"], first["looked_at"], first["complete"]) == ([], 2, False)
    second = search.search(wanted, cursor=first["next"])
    assert [run["id"] for run in second["items"]] == [oldest]
    assert second["complete"] and second["next"] is None


def test_an_expression_sees_exactly_the_six_names_and_a_null_output_is_no_fault() -> None:
    fine, bad = start(FINE, {"n": 5}), start(FALSE)
    assert found(where="output.a == 5") == [fine]
    assert found(where="error.code != '' && status == 'failed'") == [bad]
    assert found(where="duration >= 0 && duration < 600.0 && workflow != ''") == [bad, fine]
    for wrong in ("nodes.a == 1", "run.id == ''", "inputs", "'x'", "inputs.n +", "(" * 80 + "1" + ")" * 80):
        with pytest.raises(RunError) as caught:
            found(where=wrong)
        assert caught.value.pointer == "/where", wrong


def test_an_expression_that_does_not_end_is_ended_with_its_process() -> None:
    numbers = "[" + ",".join(map(str, range(250))) + "]"
    endless = f"{numbers}.exists(a, {numbers}.exists(b, {numbers}.exists(c, a + b + c == -1)))"
    with pytest.raises(RunError) as caught, judging(endless) as judge:
        judge.verdicts([{}] * 20_000, seconds=0.3)
    assert caught.value.code in ("where_too_slow", "where_failed")
    with judging("status == 'failed'") as judge:
        assert judge.verdicts([{"status": "failed"}, {"status": "x"}], seconds=5) == [True, False]


def test_a_child_that_has_grown_is_replaced_and_others_are_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from runs import where

    with judging("true") as judge:
        judge.roots()
    assert where._idle
    monkeypatch.setattr(where, "MAX_KILOBYTES", 1)
    with judging("true") as judge:
        judge.roots()
    assert not where._idle


def test_bulk_work_does_what_it_can_and_names_the_rest() -> None:
    waiting, done, failed = start(WAIT), start(FINE, {"n": 1}), start(FALSE)
    unknown = services.new_id()
    paused = bulk.apply("pause", [waiting, done, unknown, "no id"], by="test")
    assert [one.done for one in paused] == [True, False, False, False]
    assert all(one.why for one in paused[1:])
    assert not bulk.apply("pause", [waiting], by="test")[0].done
    assert bulk.apply("resume", [waiting], by="test")[0].done
    retried = bulk.apply("retry", [failed, done], by="test")
    assert retried[0].done and retried[0].new and not retried[1].done
    with pytest.raises(RunError):
        bulk.within(search.read_filter(status="completed"), "cancel")


def test_figures_count_what_there_is() -> None:
    start(FINE, {"n": 1}), start(FALSE), start(WAIT)
    assert overview.is_used() and overview.live_counts() == {"queued": 0, "running": 0, "waiting": 1, "paused": 0}
    now = overview.Throughput().intervals()
    assert sum(one.started or 0 for one in now) == 3
    assert [sum(getattr(one, kind) for one in now) for kind in ("failed", "cancelled", "live")] == [1, 0, 1]
    name = search.search(search.Filter())["items"][0]["workflow"]
    recent = overview.recent([name, "no such workflow"])
    assert [state for _, state in recent[name].runs] == ["completed", "failed", "waiting"]
    assert recent[name].success == 50 and recent["no such workflow"].success is None


def test_what_a_run_waits_for_names_its_question() -> None:
    run = start(graph({"ask": {"type": "approval", "config": {"title": "Send the bill?"}}}))
    assert queries.run(run)["waiting_for"][0]["what"] == "somebody to decide “Send the bill?”"
    assert queries.waits_of([run])[run][0]["what"] == "somebody to decide “Send the bill?”"


def test_tries_of_nodes_are_counted_nowhere_and_found_when_they_are_wanted() -> None:
    for document in (FINE, FALSE, WAIT):
        start(document, {"n": 1}, labels={"aob.try": "a"})
    assert sum(overview.live_counts().values()) == 0
    assert overview.newest_in(("failed", "waiting"), limit=5) == []
    name = search.search(search.Filter())["items"][0]["workflow"]
    assert overview.recent([name])[name].runs == []
    now = overview.Throughput().intervals()
    assert [sum(getattr(one, kind) or 0 for one in now) for kind in ("started", "failed", "live")] == [0, 0, 0]
    run = start(WAIT)
    assert found(tries=False) == found(tries=False, status="waiting") == [run] and len(found()) == 4
    assert overview.newest_in(("waiting",), limit=1)[0]["id"] == run


@pytest.mark.parametrize(
    "wanted",
    [
        {"since": "soon"},
        {"since": "2030-01-01", "until": "2029-01-01"},
        {"status": "failed,nonsense"},
        {"text": "x" * 201},
        {"where": "x" * 2001},
    ],
)
def test_a_filter_that_makes_no_sense_is_refused(wanted: dict[str, str]) -> None:
    with pytest.raises(RunError):
        search.read_filter(**wanted)  # type: ignore[arg-type]
