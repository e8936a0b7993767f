"""Patches of running runs on the real Postgres: applied, reviewed, tried, refused, rebased and undone."""

from __future__ import annotations

import threading
from typing import Any

import jsonpatch
import psycopg
import pytest
from django.db import connection

from runs import db, patches, queries, services
from runs.core.patching import PatchRefused
from runs.errors import RunError
from runs.patches import Proposal
from runs.verify import verify
from tests.support.checker import violations
from tests.support.system import ended, start
from tests.unit.runs_core.test_engine import graph, value
from workflows.core.grants import Author
from workflows.core.patches import PatchConflict

ADA = Author("person", "ada")


def waiting(**parts: Any) -> str:
    """A run that waits for a signal before its end."""
    document = graph(
        {
            "first": value("{{ inputs.x }}"),
            "wait": {"type": "signal", "config": {"name": "go"}},
            "last": value("{{ nodes.first + 1 }}"),
        },
        ("first", "wait"),
        ("wait", "last"),
    )
    return start({**document, **parts}, {"x": 1})


def add(name: str, expression: str, before: str = "wait") -> list[dict[str, Any]]:
    return [
        {"op": "add", "path": f"/nodes/{name}", "value": value(expression)},
        {"op": "add", "path": f"/edges/{before}-{name}", "value": {"from": before, "to": name}},
    ]


def propose(run: str, operations: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return patches.propose(run, Proposal(**{"operations": operations, "reason": "because", "author": ADA, **more}))


def go_on(run: str) -> dict[str, Any]:
    services.signal(run, "go", None, by="ada")
    return ended(run)


def verified(run: str) -> None:
    report = verify(run)
    assert report["ok"], report["problems"]


def test_a_patched_run_goes_through_its_new_node_and_replays() -> None:
    run = waiting()
    before = queries.run(run)["version"]
    patch = propose(run, add("more", "{{ nodes.first + 41 }}"))
    assert patch["status"] == "applied" and patch["before"] == before
    assert patch["version"] == queries.run(run)["version"] != before
    assert patch["report"]["skips"] == [] and patch["report"]["open"] == ["wait"]
    view = go_on(run)
    assert view["output"] == {"last": 2, "more": 42}
    verified(run)


def test_a_patch_that_leads_on_from_what_is_done_starts_at_once() -> None:
    run = waiting()
    propose(run, add("now", "{{ nodes.first + 1 }}", before="first"))
    assert next(one for one in queries.events(run)["items"] if one["node"] == "now")["type"] == "NodeCompleted"
    verified(run)


@pytest.mark.parametrize(
    ("operations", "code"),
    [
        ([{"op": "replace", "path": "/nodes/first/config/output", "value": 2}], "past_frozen"),
        ([{"op": "remove", "path": "/nodes/first"}], "edge_dangling"),
        ([{"op": "replace", "path": "/nodes/wait/config/name", "value": "stop"}], "past_frozen"),
        ([{"op": "replace", "path": "/edges/wait-last/when", "value": "true"}], "patch_path"),
        ([{"op": "add", "path": "/edges/last-first", "value": {"from": "last", "to": "first"}}], "cycle"),
        ([{"op": "add", "path": "/limits", "value": {"max_agents": 500}}], "patch_part_fixed"),
        ([{"op": "replace", "path": "/name", "value": "other"}], "patch_part_fixed"),
        ([{"op": "add", "path": "/nodes/x", "value": {"type": "shell"}}], "unknown_node_type"),
        ([{"op": "test", "path": "/nodes/first/config/output", "value": True}], "patch_test_failed"),
    ],
)
def test_what_may_not_be_changed_is_refused_and_leaves_no_trace(operations: list[dict[str, Any]], code: str) -> None:
    run = waiting()
    before = queries.run(run)
    with pytest.raises(PatchRefused) as caught:
        propose(run, operations)
    assert code in {problem.code for problem in caught.value.problems}
    assert {error["layer"] for error in caught.value.errors()} == {"server"}
    after = queries.run(run)
    assert (before["version"], before["status"]) == (after["version"], after["status"])
    assert patches.listed(run) == []
    assert go_on(run)["output"] == {"last": 2}
    verified(run)


def test_patches_of_other_places_are_rebased_and_of_the_same_place_conflict() -> None:
    run = waiting()
    base = queries.run(run)["version"]
    propose(run, add("a", "{{ 1 }}"), base=base)
    second = propose(run, add("b", "{{ 2 }}"), base=base)
    assert second["base"] == base and second["before"] != base
    with pytest.raises(PatchConflict) as caught:
        propose(run, add("b", "{{ 3 }}"), base=base)
    assert caught.value.places == ["/edges/wait-b", "/nodes/b"]
    with pytest.raises(RunError, match="never had"):
        propose(run, add("c", "{{ 3 }}"), base="sha256:" + "0" * 64)
    assert go_on(run)["output"] == {"last": 2, "a": 1, "b": 2}
    verified(run)


def test_a_patch_is_undone_by_another_as_long_as_nothing_builds_on_it() -> None:
    run = waiting()
    base = queries.run(run)["version"]
    first = propose(run, add("a", "{{ 1 }}"))
    undone = patches.revert(first["id"], author=ADA, reason="no")
    assert undone["version"] == base and undone["reverts"] == first["id"]
    assert [one["status"] for one in patches.listed(run)] == ["reverted", "applied"]
    with pytest.raises(RunError, match="reverted"):
        patches.revert(first["id"], author=ADA, reason="again")
    third = propose(run, add("a", "{{ 1 }}"))
    propose(run, [{"op": "replace", "path": "/nodes/a/config/output", "value": 5}])
    with pytest.raises(PatchConflict):
        patches.revert(third["id"], author=ADA, reason="too late")
    assert go_on(run)["output"] == {"last": 2, "a": 5}
    verified(run)


def test_a_reviewed_patch_waits_until_somebody_answers() -> None:
    run = waiting(patches="review")
    patch = propose(run, add("a", "{{ 1 }}"))
    assert patch["status"] == "pending_review" and "version" not in patch
    other = propose(run, add("b", "{{ 2 }}"))
    assert patches.answer(patch["id"], "approve", by="bob", reason="fine")["status"] == "applied"
    assert patches.answer(other["id"], "reject", by="bob", reason="no")["status"] == "rejected"
    with pytest.raises(RunError, match="by bob"):
        patches.answer(other["id"], "approve", by="eve")
    left = propose(run, add("c", "{{ 3 }}"))
    assert go_on(run)["output"] == {"last": 2, "a": 1}
    assert patches.show(left["id"])["status"] == "expired"
    with pytest.raises(RunError) as caught:
        patches.answer(left["id"], "approve", by="eve")
    assert caught.value.code == "patch_decided"
    verified(run)


def test_a_shadow_patch_is_tried_and_changes_nothing() -> None:
    run = waiting(patches="shadow")
    patch = propose(run, add("a", "{{ 1 / 0 }}", before="first"))
    assert patch["status"] == "shadow"
    assert patch["report"]["failures"][0]["node"] == "a" and patch["report"]["status"] == "failed"
    assert go_on(run)["output"] == {"last": 2}
    verified(run)


def test_a_workflow_may_take_no_patches() -> None:
    with pytest.raises(RunError) as caught:
        propose(waiting(patches="off"), add("a", "{{ 1 }}"))
    assert caught.value.code == "patches_off"


def test_the_same_key_patches_once() -> None:
    run = waiting()
    first = propose(run, add("a", "{{ 1 }}"), key="k")
    assert propose(run, add("a", "{{ 1 }}"), key="k") == first
    assert propose(run, add("a", "{{ 1 }}"), key="k", base=first["base"]) == first
    for operations, more in (
        (add("b", "{{ 1 }}"), {}),
        (add("a", "{{ 1 }}"), {"mode": "shadow"}),
        (add("a", "{{ 1 }}"), {"base": first["version"]}),
    ):
        with pytest.raises(RunError) as caught:
            propose(run, operations, key="k", **more)
        assert caught.value.code == "idempotency_key_reused"
    assert len(patches.listed(run)) == 1


def test_what_was_only_tried_under_a_key_is_not_applied_under_it() -> None:
    run = waiting()
    tried = propose(run, add("a", "{{ 1 }}"), key="k", mode="shadow")
    assert propose(run, add("a", "{{ 1 }}"), key="k", mode="shadow") == tried and tried["status"] == "shadow"
    with pytest.raises(RunError) as caught:
        propose(run, add("a", "{{ 1 }}"), key="k", mode="auto")
    assert caught.value.code == "idempotency_key_reused"


@pytest.mark.parametrize("kind", ["person", "agent"])
def test_the_same_key_sent_again_while_the_first_is_judged_patches_once(
    monkeypatch: pytest.MonkeyPatch, kind: Any
) -> None:
    """A client that gave up waiting sends again, and both requests look before either has written."""
    run = waiting()
    look, both = patches._known, threading.Barrier(2)
    looked = threading.local()

    def looks(*told: Any) -> Any:
        found = look(*told)
        if not getattr(looked, "before", False):
            looked.before = True
            both.wait(10)
        return found

    monkeypatch.setattr(patches, "_known", looks)
    operations = {"person": add("a", "{{ 1 }}"), "agent": [{"op": "add", "path": "/limits", "value": {}}]}[kind]
    answers: list[Any] = []

    def send() -> None:
        try:
            answers.append(propose(run, operations, author=Author(kind, "ada", run), key="k")["id"])
        except PatchRefused as refused:
            answers.append(refused.errors())
        finally:
            connection.close()

    threads = [threading.Thread(target=send) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(answers) == 2 and answers[0] == answers[1]
    log = [event["type"] for event in queries.events(run)["items"] if event["type"].startswith("Patch")]
    assert log == [{"person": "PatchApplied", "agent": "PatchRefused"}[kind]]
    verified(run)


def test_many_patch_one_run_at_once_and_none_is_lost() -> None:
    run = waiting()
    failures: list[Exception] = []

    def work(number: int) -> None:
        try:
            propose(run, add(f"n{number}", f"{{{{ {number} }}}}"))
        except Exception as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert go_on(run)["output"] == {"last": 2, **{f"n{number}": number for number in range(8)}}
    verified(run)


def wrong_patches(run: str) -> list[str]:
    """What the checker of the chaos runs says of a run's patches."""
    with psycopg.connect(db.conninfo(), autocommit=True) as checked:
        return [one for one in violations(checked, quiet=False) if run in one]


def test_the_checker_finds_a_test_that_does_not_look_at_types(monkeypatch: pytest.MonkeyPatch) -> None:
    run = waiting()
    propose(run, [{"op": "add", "path": "/nodes/last/config/output", "value": 1}])
    assert wrong_patches(run) == []
    monkeypatch.setattr(jsonpatch, "_json_equal", lambda stored, wanted: stored == wanted)
    propose(run, [{"op": "test", "path": "/nodes/last/config/output", "value": True}, *add("a", "{{ 1 }}")])
    go_on(run)
    [found] = wrong_patches(run)
    assert found.startswith("I10") and "tests a value at /nodes/last/config/output" in found


def test_an_ended_run_takes_no_patch() -> None:
    run = waiting()
    go_on(run)
    with pytest.raises(PatchRefused) as caught:
        propose(run, add("a", "{{ 1 }}"))
    assert caught.value.code == "run_ended"


def test_a_machines_refused_patch_stands_in_the_log_and_stays_refused() -> None:
    run = waiting()
    operations = [{"op": "add", "path": "/limits", "value": {"max_agents": 50}}]
    for _ in range(2):
        with pytest.raises(PatchRefused) as caught:
            propose(run, operations, author=Author("agent", "planner", run), key="1")
        assert {problem.code for problem in caught.value.problems} == {"patch_part_fixed"}
    [patch] = patches.listed(run)
    assert patch["status"] == "refused" and patch["errors"][0]["layer"] == "server"
    assert go_on(run)["output"] == {"last": 2}
    verified(run)


def test_a_run_takes_only_so_many_patches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patches, "MAX_PATCHES", 2)
    run = waiting()
    for name in ("a", "b"):
        propose(run, add(name, "{{ 1 }}"))
    with pytest.raises(PatchRefused) as caught:
        propose(run, add("c", "{{ 1 }}"))
    assert caught.value.code == "limit_patches"


SLOW = "{{ size(range(900000)) }}"
"""About half a second, which no expression's own limits forbid."""


def slow(count: int) -> list[dict[str, Any]]:
    return [{"op": "add", "path": f"/nodes/n{number}", "value": value(SLOW)} for number in range(count)]


def test_a_forecast_is_made_while_others_may_have_the_run_and_says_where_it_was_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = waiting(patches="review")
    seq = queries.state_of(run).seq
    foresee, asked = patches._forecast, []

    def watched(*given: Any) -> Any:
        with db.transaction() as cursor:
            cursor.execute("SELECT 1 FROM run WHERE id = %s FOR UPDATE NOWAIT", [run])
        asked.append(given[-1])
        return foresee(*given)

    monkeypatch.setattr(patches, "_forecast", watched)
    patch = propose(run, slow(160))
    assert asked == [patches.MAX_SECONDS]
    report = patch["report"]
    assert (report["complete"], report["seq"], report["status"]) == (False, seq, None)
    assert report["stopped_at"] in {f"n{number}" for number in range(160)} - set(report["starts"])
    assert len(report["starts"]) < 100
    services.cancel(run, by="ada")


def test_a_forecast_that_must_be_made_again_while_the_run_is_held_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    run = waiting(patches="review")
    made, others = patches._foreseen, ["other"]

    def overtaken(*given: Any) -> Any:
        found = made(*given)
        if others:
            patches.answer(
                propose(run, add(others.pop(), "{{ 1 }}"), author=Author("person", "bob"))["id"], "approve", by="ada"
            )
        return found

    monkeypatch.setattr(patches, "_foreseen", overtaken)
    patch = propose(run, slow(160))
    assert patch["status"] == "pending_review" and not patch["report"]["complete"]
    assert len(patch["report"]["starts"]) < 10
    services.cancel(run, by="ada")


def test_what_follows_an_applied_patch_is_left_to_coordinators_where_it_takes_long() -> None:
    run = waiting()
    assert propose(run, slow(40))["status"] == "applied"
    state = queries.state_of(run)
    assert state.has_work() and sum(name in state.frames[""].outputs for name in (f"n{n}" for n in range(40))) < 20
    services.cancel(run, by="ada")
    assert ended(run)["status"] == "cancelled"
