"""A signal that is answered with success stands in the log of its run, once."""

from __future__ import annotations

from typing import Any

import pytest

from runs import db, queries, services, sweeper
from runs.coordinator import leave
from runs.core.events import Fact
from runs.core.state import Limits
from runs.errors import RunError, Unavailable
from tests.support.parallel import at_once, meanwhile
from tests.support.system import start
from tests.unit.runs_core.test_engine import graph, value
from workflows.core.errors import LimitExceeded


def waits(name: str = "go") -> dict[str, Any]:
    return {"type": "signal", "config": {"name": name}}


def run_of(*names: str) -> str:
    """It waits for these signals, one after the other."""
    return start(graph({name: waits(name) for name in names}, *zip(names, names[1:], strict=False)))


def payloads(run: str) -> list[Any]:
    found = []
    with db.transaction() as cursor:
        for (data,) in cursor.execute(
            "SELECT data FROM run_event WHERE run_id = %s AND type = 'SignalReceived' ORDER BY seq", [run]
        ):
            found.append(data["payload"])
    return found


def test_a_signal_to_a_run_that_ends_before_it_arrives_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of("go")
    check_payload = services._check_payload

    def and_cancels(*arguments: Any) -> None:
        meanwhile(lambda: services.cancel(run, by="eve"))
        check_payload(*arguments)

    monkeypatch.setattr(services, "_check_payload", and_cancels)
    with pytest.raises(RunError) as refused:
        services.signal(run, "go", 1, by="ada", key="k")
    assert refused.value.code == "run_ended" and payloads(run) == []


def test_a_signal_beyond_the_room_for_its_name_is_refused_and_may_be_sent_when_there_is_some() -> None:
    run = run_of("first", "go", "last")
    room = Limits().max_stored_signals
    with db.transaction() as cursor:
        for number in range(room):
            leave(cursor, run, Fact("SignalReceived", None, {"name": "go", "payload": number, "by": "ada"}))
    while len(payloads(run)) < room:
        services.advancer().runs([run])
    with pytest.raises(LimitExceeded) as refused:
        services.signal(run, "go", "one more", by="ada", key="k")
    assert refused.value.code == "limit_stored_signals" and str(room) in refused.value.message
    services.signal(run, "first", None, by="ada")
    services.signal(run, "go", "one more", by="ada", key="k")
    services.signal(run, "go", "one more", by="ada", key="k")
    assert payloads(run)[room:] == [None, "one more"]


def test_a_signal_that_ended_its_run_is_answered_again_under_its_key() -> None:
    run = run_of("go")
    for _ in range(2):
        services.signal(run, "go", 1, by="ada", key="k")
    assert queries.run(run)["status"] == "completed" and payloads(run) == [1]
    with pytest.raises(RunError, match="Idempotency-Key"):
        services.signal(run, "go", 2, by="ada", key="k")
    with pytest.raises(RunError, match="ended"):
        services.signal(run, "go", 1, by="ada", key="another")


def test_the_key_of_a_signal_may_be_long() -> None:
    run = run_of("go", "go2")
    for last in "ab":
        services.signal(run, "go", last, by="ada", key="k" * 400 + last)
    assert payloads(run) == ["a", "b"]


def test_a_signal_that_the_run_has_no_turn_for_is_taken_back_and_may_be_sent_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = run_of("go")
    monkeypatch.setattr(services, "ANSWER_SECONDS", 0.1)
    with db.transaction() as cursor:
        cursor.execute("SELECT 1 FROM run WHERE id = %s FOR UPDATE", [run])
        with pytest.raises(Unavailable):
            services.signal(run, "go", 1, by="ada", key="k")
    with db.transaction() as cursor:
        assert cursor.execute("SELECT count(*) FROM run_inbox WHERE run_id = %s", [run]).fetchone() == (0,)
    services.signal(run, "go", 1, by="ada", key="k")
    assert payloads(run) == [1]


def test_a_signal_whose_sender_died_before_its_answer_is_found_under_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(run_id: str) -> None:
        raise KeyboardInterrupt

    run = run_of("go", "go2")
    with monkeypatch.context() as patch:
        patch.setattr(services, "_go_on", dies)
        with pytest.raises(KeyboardInterrupt):
            services.signal(run, "go", 1, by="ada", key="k")
    assert payloads(run) == []
    services.signal(run, "go", 1, by="ada", key="k")
    assert payloads(run) == [1]


def test_a_key_of_a_signal_that_retention_deletes_is_none_of_another_signal() -> None:
    run = run_of("go")
    services.signal(run, "go", 1, by="ada", key="k")
    with db.transaction() as cursor:
        cursor.execute("UPDATE run SET ended_at = ended_at - interval '9 days' WHERE id = %s", [run])
    sweeper.retain(2)
    with pytest.raises(RunError) as refused:
        services.signal(run, "go", 1, by="ada", key="k")
    assert refused.value.code == "run_unknown"


def test_many_send_one_signal_under_one_key_at_once_and_it_counts_once() -> None:
    run = run_of("go", "go2")
    outcomes = at_once(*[lambda: services.signal(run, "go", 1, by="ada", key="k")] * 6)
    assert outcomes == [None] * 6 and payloads(run) == [1]
    assert queries.run(run)["status"] == "waiting"


def test_signals_with_large_payloads_come_back_the_same() -> None:
    run = start(graph({"go": waits(), "size": value("{{ size(nodes.go) }}")}, ("go", "size")))
    services.signal(run, "go", "x" * 50_000, by="ada", key="k")
    assert queries.run(run)["output"] == {"size": 50_000}
