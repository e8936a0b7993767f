"""A run that ends the coordinators that advance it, one after another, is set aside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from runs import coordinator, queries
from runs.coordinator import Advancer
from runs.suspects import MAX_DEATHS, Suspects
from runs.verify import verify
from tests.support.system import start
from tests.unit.runs_core.test_engine import graph, value

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import os, pathlib, signal, sys
from runs.suspects import Suspects
home, run, end = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
with Suspects(home).advancing(run):
    if end == "within":
        os.kill(os.getpid(), signal.SIGKILL)
if end == "after":
    os.kill(os.getpid(), signal.SIGKILL)
"""
RUN = "01a224ea-420b-77ff-9345-7b91eb153ccb"


def dies(home: Path, end: str = "within") -> None:
    assert subprocess.run([sys.executable, "-c", PROGRAM, str(home), RUN, end], cwd=ROOT).returncode == -signal.SIGKILL


def test_a_run_is_guilty_when_so_many_processes_ended_while_they_advanced_it(tmp_path: Path) -> None:
    for _ in range(MAX_DEATHS):
        suspects = Suspects(tmp_path)
        assert suspects.guilty() == []
        suspects.close()
        dies(tmp_path)
    assert Suspects(tmp_path).guilty() == [RUN]


def test_a_process_that_ends_between_two_runs_accuses_none(tmp_path: Path) -> None:
    for _ in range(MAX_DEATHS):
        dies(tmp_path, end="after")
    assert Suspects(tmp_path).guilty() == []


def test_a_run_that_was_advanced_begins_anew(tmp_path: Path) -> None:
    for _ in range(MAX_DEATHS - 1):
        dies(tmp_path)
    suspects = Suspects(tmp_path)
    with suspects.advancing(RUN):
        pass
    suspects.close()
    dies(tmp_path)
    assert Suspects(tmp_path).guilty() == []


def test_what_a_living_process_is_at_accuses_nobody(tmp_path: Path) -> None:
    living = Suspects(tmp_path)
    with living.advancing(RUN):
        (tmp_path / "run/advancing" / str(os.getpid())).rename(tmp_path / "run/advancing/1")
        for _ in range(MAX_DEATHS):
            Suspects(tmp_path).close()
    assert not list((tmp_path / "run/deaths").iterdir())


def test_a_raised_error_is_no_death(tmp_path: Path) -> None:
    suspects = Suspects(tmp_path)
    with pytest.raises(ValueError), suspects.advancing(RUN):
        raise ValueError
    suspects.close()
    assert not list((tmp_path / "run/deaths").iterdir())


def test_a_guilty_run_fails_with_a_named_error_and_is_not_advanced_any_more(tmp_path: Path) -> None:
    waiting = graph({"wait": {"type": "delay", "config": {"for": "1h"}}, "a": value(1)}, ("wait", "a"))
    run_id = start(waiting)
    (tmp_path / "run/deaths").mkdir(parents=True)
    (tmp_path / "run/deaths" / run_id).write_bytes(b"x" * MAX_DEATHS)
    suspects = Suspects(tmp_path)
    coordinator._fail_guilty(suspects)
    Advancer(suspects).ready()
    view = queries.run(run_id)
    assert (view["status"], view["error"]["code"]) == ("failed", "coordinator_lost")
    assert suspects.guilty() == [] and verify(run_id)["ok"]
