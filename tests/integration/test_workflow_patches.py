"""Patches of workflows on the real Postgres: applied, reviewed, rebased, undone, promoted, squashed, tried on runs."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import IntegrityError, connection

from runs import patches, queries, services, workflow_patches
from runs.core.patching import PatchRefused
from runs.errors import RunError
from runs.patches import Proposal
from tests.support.parallel import meanwhile
from tests.support.system import ended, start
from tests.unit.runs_core.test_engine import graph, value
from workflows.core.document import document_hash
from workflows.core.grants import Author, Grant
from workflows.core.patches import PatchConflict, materialize
from workflows.models import TagMove, Workflow, WorkflowPatch
from workflows.services import WorkflowError, document_of, move_tag, push, resolve

ADA = Author("person", "ada")


def publish(**parts: Any) -> str:
    """The workflow `w`: it waits for nothing, and gives `x` and one more."""
    document = graph(
        {"first": value("{{ inputs.x }}"), "last": value("{{ nodes.first + 1 }}")}, ("first", "last"), **parts
    )
    return str(push(document, tag="stable").version_id)


def add(name: str, expression: str, behind: str = "first") -> list[dict[str, Any]]:
    return [
        {"op": "add", "path": f"/nodes/{name}", "value": value(expression)},
        {"op": "add", "path": f"/edges/{behind}-{name}", "value": {"from": behind, "to": name}},
    ]


def propose(operations: list[dict[str, Any]], tag: str = "latest", **more: Any) -> dict[str, Any]:
    return workflow_patches.propose(
        "w", tag, Proposal(**{"operations": operations, "reason": "because", "author": ADA, **more})
    )


def run(reference: str = "w", **inputs: Any) -> dict[str, Any]:
    return ended(start(reference, inputs or {"x": 1}))


def test_a_patch_makes_the_version_that_later_runs_begin_with() -> None:
    base = publish()
    earlier = start("w", {"x": 1})
    patch = propose(add("more", "{{ nodes.first + 41 }}"))
    assert (patch["status"], patch["number"], patch["base"], patch["before"]) == ("applied", 1, base, base)
    assert resolve("w") == patch["version"] and resolve("w@stable") == base
    assert run()["output"] == {"last": 2, "more": 42}
    assert ended(earlier)["version"] == base
    assert Workflow.objects.get(name="w").versions.first().note == "because"
    assert TagMove.objects.first().after == patch["version"]
    assert materialize(document_of(base), [patch["operations"]]) == document_of(patch["version"])


@pytest.mark.parametrize(
    ("operations", "code"),
    [
        ([{"op": "replace", "path": "/name", "value": "other"}], "patch_part_fixed"),
        ([{"op": "remove", "path": "/nodes/first"}], "edge_dangling"),
        ([{"op": "add", "path": "/nodes/x", "value": {"type": "shell"}}], "unknown_node_type"),
        ([{"op": "test", "path": "/nodes/first/config/output", "value": True}], "patch_test_failed"),
    ],
)
def test_what_may_not_be_changed_is_refused_and_leaves_no_trace(operations: list[dict[str, Any]], code: str) -> None:
    base = publish()
    with pytest.raises(PatchRefused) as caught:
        propose(operations)
    assert code in {problem.code for problem in caught.value.problems}
    assert resolve("w") == base and workflow_patches.listed("w")["items"] == []


def test_people_change_limits_and_machines_neither_those_nor_what_they_were_not_granted() -> None:
    publish()
    limits = [{"op": "add", "path": "/limits", "value": {"max_agents": 5}}]
    assert propose(limits)["status"] == "applied"
    machine = {"author": Author("optimizer", "built-in"), "grant": Grant(node_types=frozenset({"transform"}))}
    with pytest.raises(PatchRefused) as caught:
        propose([{"op": "remove", "path": "/limits"}], **machine)
    assert caught.value.code == "patch_part_fixed"
    with pytest.raises(PatchRefused) as caught:
        propose([{"op": "add", "path": "/nodes/x", "value": {"type": "log", "config": {"message": "x"}}}], **machine)
    assert caught.value.code == "capability_missing"
    assert propose(add("a", "{{ 1 }}"), **machine)["by"] == {"kind": "optimizer", "name": "built-in"}
    waiting = propose(add("b", "{{ 1 }}"), **machine, mode="review")
    assert waiting["grant"]["node_types"] == ["transform"]
    assert workflow_patches.answer(waiting["id"], "approve", by="bob")["status"] == "applied"


def test_patches_of_other_places_are_rebased_and_of_the_same_place_conflict() -> None:
    base = publish()
    propose(add("a", "{{ 1 }}"), base=base)
    second = propose(add("b", "{{ 2 }}"), base=base)
    assert second["base"] == base and second["before"] != base and second["number"] == 2
    with pytest.raises(PatchConflict) as caught:
        propose(add("b", "{{ 3 }}"), base=base)
    assert caught.value.places == ["/edges/first-b", "/nodes/b"]
    with pytest.raises(RunError, match="never had"):
        propose(add("c", "{{ 3 }}"), base="sha256:" + "0" * 64)
    with pytest.raises(WorkflowError, match="no tag"):
        propose(add("c", "{{ 3 }}"), "nowhere")
    with pytest.raises(WorkflowError, match="not a tag"):
        propose(add("c", "{{ 3 }}"), base)
    assert run()["output"] == {"last": 2, "a": 1, "b": 2}


def test_a_patch_is_undone_by_another_as_long_as_nothing_builds_on_it() -> None:
    base = publish()
    first = propose(add("a", "{{ 1 }}"))
    undone = workflow_patches.revert(first["id"], author=ADA, reason="no")
    assert undone["version"] == base == resolve("w") and undone["reverts"] == first["id"]
    assert [one["status"] for one in workflow_patches.listed("w")["items"]] == ["applied", "reverted"]
    with pytest.raises(RunError, match="reverted"):
        workflow_patches.revert(first["id"], author=ADA, reason="again")
    third = propose(add("a", "{{ 1 }}"))
    propose([{"op": "replace", "path": "/nodes/a/config/output", "value": 5}])
    with pytest.raises(PatchConflict):
        workflow_patches.revert(third["id"], author=ADA, reason="too late")


def test_a_reviewed_patch_waits_until_somebody_answers_and_is_rebased_then() -> None:
    base = publish(patches="review")
    patch = propose(add("a", "{{ 1 }}"))
    assert patch["status"] == "pending_review" and "version" not in patch and "number" not in patch
    other = propose(add("b", "{{ 2 }}"))
    assert resolve("w") == base
    assert workflow_patches.answer(patch["id"], "approve", by="bob", reason="fine")["status"] == "applied"
    rejected = workflow_patches.answer(other["id"], "reject", by="bob", reason="no")
    assert (rejected["status"], rejected["decided_by"], rejected["decision"]) == ("rejected", "bob", "no")
    with pytest.raises(RunError, match="by bob"):
        workflow_patches.answer(other["id"], "approve", by="eve")
    third = propose(add("c", "{{ 3 }}"), base=base)
    propose(add("d", "{{ 4 }}"))
    push({**document_of(resolve("w")), "description": "by hand"})
    assert workflow_patches.answer(third["id"], "approve", by="bob")["base"] == base
    assert run()["output"] == {"last": 2, "a": 1, "c": 3}
    late = propose([{"op": "replace", "path": "/nodes/a/config/output", "value": 5}])
    propose([{"op": "replace", "path": "/nodes/a/config/output", "value": 6}])
    for one in workflow_patches.listed("w")["items"][:1]:
        workflow_patches.answer(one["id"], "approve", by="bob")
    with pytest.raises(PatchConflict):
        workflow_patches.answer(late["id"], "approve", by="bob")
    assert workflow_patches.show(late["id"])["status"] == "pending_review"


def test_shadow_and_off_hold_for_workflows_as_well() -> None:
    base = publish(patches="shadow")
    assert propose(add("a", "{{ 1 }}"))["status"] == "shadow" and resolve("w") == base
    push({**document_of(base), "patches": "off"})
    with pytest.raises(RunError) as caught:
        propose(add("a", "{{ 1 }}"))
    assert caught.value.code == "patches_off"


def test_the_same_key_patches_once() -> None:
    publish()
    first = propose(add("a", "{{ 1 }}"), key="k")
    assert propose(add("a", "{{ 1 }}"), key="k") == first
    with pytest.raises(RunError) as caught:
        propose(add("b", "{{ 1 }}"), key="k")
    assert caught.value.code == "idempotency_key_reused"
    assert len(workflow_patches.listed("w")["items"]) == 1


def waiting_run() -> str:
    push(graph({"wait": {"type": "signal", "config": {"name": "go"}}, "last": value("{{ inputs.x }}")}, ("wait", "last")))
    return start("w", {"x": 1})


def test_a_patch_of_a_run_is_promoted_to_its_workflow() -> None:
    run_id = waiting_run()
    one = patches.propose(run_id, Proposal(operations=add("a", "{{ 1 }}", "wait"), reason="why", author=ADA))
    two = patches.propose(run_id, Proposal(operations=add("b", "{{ 2 }}", "wait"), reason="", author=ADA))
    promoted = workflow_patches.promote(two["id"], author=Author("person", "bob"))
    assert promoted["promoted_from"] == two["id"] and promoted["by"]["name"] == "bob"
    assert sorted(document_of(resolve("w"))["nodes"]) == ["b", "last", "wait"]
    document = document_of(resolve("w"))
    push({**document, "nodes": {**document["nodes"], "last": value("{{ inputs.x * 2 }}")}})
    promoted = workflow_patches.promote(one["id"], author=ADA)
    assert promoted["reason"] == "why" and sorted(document_of(resolve("w"))["nodes"]) == ["a", "b", "last", "wait"]
    with pytest.raises(PatchConflict):
        workflow_patches.promote(one["id"], author=ADA)
    three = patches.propose(run_id, Proposal(operations=add("b2", "{{ nodes.b }}", "b"), reason="", author=ADA))
    push({**document_of(resolve("w")), "nodes": document["nodes"], "edges": document["edges"]})
    move_tag("w", "old", workflow_patches.show(promoted["id"])["before"])
    with pytest.raises(RunError, match="reverted"):
        workflow_patches.promote(patches.revert(three["id"], author=ADA, reason="")["reverts"], author=ADA)
    services.cancel(run_id, by="ada", reason=None)


def test_a_patch_that_is_undone_while_it_is_promoted_is_not_promoted(monkeypatch: pytest.MonkeyPatch) -> None:
    base = str(
        push(
            {**graph({"a": value(1), "wait": {"type": "signal", "config": {"name": "go"}}}, ("a", "wait")), "name": "w"}
        ).version_id
    )
    run_id = start("w")
    made = patches.propose(
        run_id, Proposal(operations=add("more", "{{ 41 }}", behind="wait"), reason="because", author=ADA)
    )
    assert made["status"] == "applied"
    tried = workflow_patches._tried

    def and_undone(*arguments: Any) -> Any:
        meanwhile(lambda: patches.revert(made["id"], author=ADA, reason="a bad idea", run_id=run_id))
        return tried(*arguments)

    monkeypatch.setattr(workflow_patches, "_tried", and_undone)
    with pytest.raises(RunError) as refused:
        workflow_patches.promote(made["id"], author=ADA)
    assert refused.value.code == "patch_not_applied" and resolve("w") == base


def test_a_patch_goes_on_to_another_tag() -> None:
    publish()
    patch = propose(add("a", "{{ 1 }}"))
    promoted = workflow_patches.promote(patch["id"], "stable", author=ADA)
    assert promoted["version"] == patch["version"] == resolve("w@stable") and promoted["tag"] == "stable"


def test_a_chain_becomes_one_patch_with_the_same_version() -> None:
    publish()
    propose(add("before", "{{ 0 }}"))
    by_hand = push({**document_of(resolve("w")), "description": "by hand"}).version_id
    first = propose(add("a", "{{ 1 }}"))
    workflow_patches.revert(propose(add("b", "{{ 2 }}"))["id"], author=ADA, reason="no")
    last = propose([{"op": "replace", "path": "/nodes/a/config/output", "value": 7}])
    squashed = workflow_patches.squash("w", author=ADA)
    assert (squashed["before"], squashed["version"]) == (by_hand, last["version"]) and resolve("w") == last["version"]
    applied = materialize(document_of(by_hand), [squashed["operations"]])
    assert document_hash(applied) == last["version"]
    statuses = [one["status"] for one in workflow_patches.listed("w")["items"]]
    assert statuses == ["applied", "squashed", "squashed", "squashed", "squashed", "applied"]
    with pytest.raises(RunError, match="squashed"):
        workflow_patches.revert(first["id"], author=ADA, reason="")
    with pytest.raises(RunError, match="no chain"):
        workflow_patches.squash("w", author=ADA)
    propose(add("c", "{{ 3 }}"))
    again = workflow_patches.squash("w", author=ADA, reason="both")
    assert again["before"] == by_hand and again["version"] == resolve("w")
    assert workflow_patches.revert(again["id"], author=ADA, reason="all")["version"] == by_hand


def test_many_patch_one_workflow_at_once_and_none_is_lost() -> None:
    publish()
    failures: list[Exception] = []

    def work(number: int) -> None:
        try:
            if number == 4:
                move_tag("w", "other", resolve("w"))
            propose(add(f"n{number}", f"{{{{ {number} }}}}"))
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
    assert run()["output"] == {"last": 2, **{f"n{number}": number for number in range(8)}}
    chain = workflow_patches.listed("w")["items"]
    assert sorted(one["number"] for one in chain) == list(range(1, 9))
    by_number = sorted(chain, key=lambda one: one["number"])
    assert all(one["version"] == two["before"] for one, two in zip(by_number, by_number[1:], strict=False))


def test_the_report_says_what_recorded_runs_would_have_become() -> None:
    publish()
    for number in range(10):
        run("w", x=number)
    patch = propose([{"op": "replace", "path": "/nodes/last/config/output", "value": "{{ [9, 8, 7, 6, 5][inputs.x] }}"}])
    report = patch["report"]
    assert (report["runs"], report["fail"], report["differ"], report["same"]) == (10, 5, 4, 1)
    [failure] = report["failures"]
    assert (failure["node"], failure["runs"]) == ("last", 5) and failure["run"]
    assert report["differences"][0]["places"] == ["/last"]
    assert "5 would not complete" in patch["words"][0] and "at last in 5 runs" in patch["words"][1]
    harmless = workflow_patches.revert(patch["id"], author=ADA, reason="no")
    assert (harmless["report"]["fail"], harmless["report"]["differ"], harmless["report"]["same"]) == (0, 9, 1)


def test_the_report_names_effects_of_which_no_result_is_recorded() -> None:
    publish()
    run("w", x=1)
    http = {"type": "http", "config": {"method": "GET", "url": "http://127.0.0.1:1/"}}
    patch = propose(
        [
            {"op": "add", "path": "/nodes/ask", "value": http},
            {"op": "add", "path": "/edges/first-ask", "value": {"from": "first", "to": "ask"}},
            {"op": "remove", "path": "/edges/first-last"},
            {"op": "add", "path": "/edges/ask-last", "value": {"from": "ask", "to": "last"}},
        ],
        mode="shadow",
    )
    report = patch["report"]
    assert (report["unknown"], report["acts"], report["starts"]) == (1, {"ask": 1}, {"ask": 1})
    assert report["calls"] == {"before": 0, "after": 1} and report["stops"] == {}


def test_the_report_is_cut_off_when_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    publish()
    run("w", x=1)
    monkeypatch.setattr("runs.rehearsing.MAX_SECONDS", -1.0)
    patch = propose(add("a", "{{ 1 }}"))
    assert patch["report"]["cut_off"] and patch["report"]["runs"] == 0
    assert any("time" in words for words in patch["words"])


@pytest.mark.parametrize("change", [{"operations": "[]"}, {"reason": "other"}, {"version": "sha256:0"}])
def test_the_database_refuses_to_change_what_a_patch_says(change: dict[str, Any]) -> None:
    publish()
    patch = WorkflowPatch.objects.filter(id=propose(add("a", "{{ 1 }}"))["id"])
    with pytest.raises(IntegrityError, match="never changed"):
        patch.update(**change)
    with pytest.raises(IntegrityError, match="never changed"):
        patch.delete()
    assert patch.update(status="reverted") == 1


def test_pages_of_patches_go_on_where_one_ended() -> None:
    publish()
    made = [propose(add(f"n{number}", "{{ 1 }}"))["id"] for number in range(3)]
    first = workflow_patches.listed("w", limit=2)
    rest = workflow_patches.listed("w", limit=2, cursor=first["next"])
    assert [one["id"] for one in (*first["items"], *rest["items"])] == made[::-1] and rest["next"] is None
    assert workflow_patches.listed("w", tag="stable")["items"] == []
    assert queries.run(start("w", {"x": 1}))["version"] == resolve("w")
