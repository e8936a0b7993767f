"""Dead letters on the real database: each is dealt with once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from runs import db, deadletters, queries
from runs.deadletters import DeadLetterError
from tests.support.parallel import at_once
from tests.support.servers import HttpServer
from tests.support.system import ended, engine, start
from tests.unit.runs_core.test_engine import graph


def dead_letter() -> tuple[int, str]:
    """An open one, and its run."""
    with HttpServer() as server, engine():
        server.script = [400]
        run = start(graph({"call": {"type": "http", "config": {"method": "GET", "url": server.url}}}))
        assert ended(run)["status"] == "failed"
    [letter] = deadletters.dead_letters()["items"]
    return int(letter["id"]), run


def both_read_it_first(monkeypatch: pytest.MonkeyPatch) -> None:
    barrier = threading.Barrier(2)
    row = deadletters._row

    def read(number: int) -> Any:
        found = row(number)
        barrier.wait(10)
        return found

    monkeypatch.setattr(deadletters, "_row", read)


def test_of_two_who_replay_a_dead_letter_one_does_and_the_other_is_told_as_which_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    letter, run = dead_letter()
    with monkeypatch.context() as patch:
        both_read_it_first(patch)
        outcomes = at_once(*[lambda by=by: deadletters.replay(letter, by=by) for by in ("ada", "bob")])
    [new] = [one for one in outcomes if isinstance(one, str)]
    [late] = [one for one in outcomes if isinstance(one, DeadLetterError)]
    assert late.code == "dead_letter_closed" and new in late.message
    with db.transaction() as cursor:
        forks = cursor.execute("SELECT id::text FROM run WHERE forked_from = %s", [run]).fetchall()
    assert forks == [(new,)] and queries.run(new)["id"] == new
    told = deadletters.dead_letter(letter)
    assert (told["status"], told["replayed_as"]) == ("replayed", new)
    with pytest.raises(DeadLetterError, match=new):
        deadletters.replay(letter, by="eve")


def test_a_dead_letter_is_not_discarded_and_replayed_at_one_instant(monkeypatch: pytest.MonkeyPatch) -> None:
    letter, run = dead_letter()
    calls: list[Callable[[], Any]] = [
        lambda: deadletters.replay(letter, by="ada"),
        lambda: deadletters.discard(letter, reason="known"),
    ]
    with monkeypatch.context() as patch:
        both_read_it_first(patch)
        outcomes = at_once(*calls)
    assert sum(isinstance(one, DeadLetterError) for one in outcomes) == 1
    with db.transaction() as cursor:
        [forks] = cursor.execute("SELECT count(*) FROM run WHERE forked_from = %s", [run]).fetchone() or [0]
    assert (deadletters.dead_letter(letter)["status"], forks) in (("replayed", 1), ("discarded", 0))
