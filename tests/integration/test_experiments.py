"""Experiments on the real Postgres: a share of the new runs of a tag begins with another version."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from runs import experiments, queries, services, workflow_patches
from runs.core.ids import is_among
from runs.errors import RunError
from runs.patches import Proposal
from runs.services import StartRequest
from tests.integration.test_workflow_patches import ADA, add, propose, publish
from tests.support.system import start
from workflows.models import TagMove
from workflows.services import WorkflowError, document_of, push, resolve, save_version


def versions_of(ids: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for one in ids:
        found.setdefault(queries.run(one)["version"], []).append(one)
    return found


def begin(**more: Any) -> dict[str, Any]:
    return experiments.begin("w", "latest", **{"by": "ada", "share": 25, **more})


def test_a_share_of_new_runs_gets_the_variant_by_their_ids_alone() -> None:
    before = publish()
    patch = propose(add("more", "{{ 7 }}"), mode="shadow")
    told = begin(patch=patch["id"])
    assert told["status"] == "live" and [one["runs"] for one in told["versions"]] == [0, 0]
    ids = [start("w", {"x": 1}) for _ in range(100)]
    for _ in range(3):
        started = services.start_many([StartRequest("w", {"x": 1})] * 50 + [StartRequest("w@latest", {"x": 1})] * 50)
        ids += [one.id for one in started]  # type: ignore[union-attr]
    found = versions_of(ids)
    assert set(found) == {before, told["versions"][1]["version"]}
    variant = found[told["versions"][1]["version"]]
    assert 60 <= len(variant) <= 140, "a quarter of 400, within more than four standard deviations"
    assert all(is_among(one, 25) == (one in set(variant)) for one in ids)
    assert queries.run(variant[0])["output"] == {"last": 2, "more": 7}
    others = [start("w@stable", {"x": 1}) for _ in range(20)]
    assert set(versions_of(others)) == {before}
    old, new = experiments.outcomes("w", "latest")["versions"]
    assert (old["role"], new["role"]) == ("before", "variant")
    assert new["runs"] == new["completed"] == len(variant) and new["failed"] == 0
    assert old["runs"] + new["runs"] == 420, "those of @stable have the version before, too"
    assert 0 <= new["median"] <= new["p95"]


def test_the_variant_is_kept_by_applying_its_patch() -> None:
    publish(patches="review")
    patch = propose(add("more", "{{ 7 }}"))
    begin(patch=patch["id"], by="bob")
    kept = experiments.end("w", "latest", keep=True, by="bob")
    assert kept["status"] == "kept" and resolve("w") == kept["versions"][1]["version"]
    shown = workflow_patches.show(patch["id"])
    assert (shown["status"], shown["decided_by"], shown["decision"]) == ("applied", "bob", "The experiment was kept.")
    with pytest.raises(WorkflowError, match="No experiment"):
        experiments.end("w", "latest", keep=True, by="bob")


def test_a_dropped_variant_leaves_the_tag_alone() -> None:
    before = publish(patches="review")
    patch = propose(add("more", "{{ 7 }}"))
    begin(patch=patch["id"], by="bob")
    assert experiments.end("w", "latest", keep=False, by="bob")["status"] == "dropped"
    assert resolve("w") == before and workflow_patches.show(patch["id"])["status"] == "rejected"
    assert set(versions_of([start("w", {"x": 1}) for _ in range(20)])) == {before}


def code_of(call: Callable[[], Any]) -> str:
    with pytest.raises(RunError) as caught:
        call()
    return caught.value.code


@pytest.mark.parametrize("mode", ["auto", "shadow"])
def test_nobody_tries_their_own_patch_where_patches_are_reviewed(mode: str) -> None:
    publish(patches="review")
    patch = propose(add("more", "{{ 7 }}"), mode=mode)
    assert code_of(lambda: begin(patch=patch["id"])) == "patch_own"
    variant = begin(patch=patch["id"], by="bob", share=1)["versions"][1]["version"]
    assert code_of(lambda: begin(patch=patch["id"], share=99)) == "patch_own"
    with pytest.raises(WorkflowError, match="no tag"):
        begin(version=variant, share=99)
    assert code_of(lambda: experiments.end("w", "latest", keep=True, by="ada")) == "patch_own"
    assert experiments.outcomes("w", "latest")["status"] == "live"


def test_a_rejection_ends_the_experiment_with_the_patch() -> None:
    before = publish(patches="review")
    patch = propose(add("more", "{{ 7 }}"))
    begin(patch=patch["id"], by="bob", share=99)
    workflow_patches.answer(patch["id"], "reject", by="eve", reason="dangerous")
    assert set(versions_of([start("w", {"x": 1}) for _ in range(40)])) == {before}
    told = experiments.outcomes("w", "latest")
    assert (told["status"], told["ended_by"]) == ("dropped", "eve")
    with pytest.raises(WorkflowError, match="No experiment"):
        experiments.end("w", "latest", keep=True, by="ada")


def test_undoing_a_patch_ends_its_experiment() -> None:
    before = publish(patches="review")
    patch = propose(add("more", "{{ 7 }}"))
    begin(patch=patch["id"], by="bob")
    workflow_patches.answer(patch["id"], "approve", by="bob")
    undo = workflow_patches.revert(patch["id"], author=ADA, reason="no")
    workflow_patches.answer(undo["id"], "approve", by="bob")
    assert resolve("w") == before and experiments.outcomes("w", "latest")["status"] == "dropped"
    with pytest.raises(WorkflowError, match="No experiment"):
        experiments.end("w", "latest", keep=True, by="ada")


def test_a_version_is_tried_and_kept_and_the_move_is_recorded() -> None:
    before = publish()
    newer = push({**document_of(before), "output": "{{ nodes.last * 2 }}"}).version_id
    told = experiments.begin("w", "stable", share=50, by="ada", version="latest")
    assert told["versions"][1]["version"] == newer
    assert experiments.begin("w", "stable", share=10, by="ada", version=newer)["share"] == 10
    assert experiments.end("w", "stable", keep=True, by="ada")["status"] == "kept"
    assert resolve("w@stable") == newer
    move = TagMove.objects.first()
    assert move is not None and (move.name, move.before, move.after) == ("stable", before, newer)


def test_a_tag_that_moves_on_ends_what_was_tried_against_it() -> None:
    before = publish()
    newer = push({**document_of(before), "output": "{{ nodes.last * 2 }}"}).version_id
    experiments.begin("w", "stable", share=99, by="ada", version=newer)
    third = push({**document_of(before), "output": "{{ nodes.last * 3 }}"}, tag="stable").version_id
    assert experiments.outcomes("w", "stable")["status"] == "overtaken"
    assert set(versions_of([start("w@stable", {"x": 1}) for _ in range(20)])) == {third}
    with pytest.raises(WorkflowError) as caught:
        experiments.end("w", "stable", keep=True, by="ada")
    assert caught.value.code == "experiment_overtaken"
    assert experiments.begin("w", "stable", share=50, by="ada", version=newer)["status"] == "live"
    assert experiments.end("w", "stable", keep=False, by="ada")["status"] == "dropped"


def test_what_cannot_be_tried_is_refused() -> None:
    before = publish()
    other_inputs = push({**document_of(before), "inputs": {"type": "object", "required": ["y"]}}).version_id
    experiments_on = {"workflow": "w", "tag": "stable", "by": "ada"}
    for wanted, code in (
        ({"share": 0, "version": other_inputs}, "experiment_share"),
        ({"share": 5}, "experiment_variant"),
        ({"share": 5, "version": before}, "experiment_same"),
        ({"share": 5, "version": other_inputs}, "experiment_inputs"),
        ({"share": 5, "version": save_version({**document_of(before), "output": 1})}, "tag_unknown"),
    ):
        with pytest.raises(WorkflowError) as caught:
            experiments.begin(**experiments_on, **wanted)
        assert caught.value.code == code
    applied = propose(add("more", "{{ 7 }}"), "stable")
    with pytest.raises(RunError) as refused:
        experiments.begin(**experiments_on, share=5, patch=applied["id"])
    assert refused.value.code == "patch_decided"
    waiting = workflow_patches.propose(
        "w", "latest", Proposal(operations=add("z", "{{ 7 }}"), reason="", author=ADA, mode="review")
    )
    with pytest.raises(RunError) as refused:
        experiments.begin(**experiments_on, share=5, patch=waiting["id"])
    assert refused.value.code == "patch_elsewhere"
    with pytest.raises(WorkflowError, match="No experiment"):
        experiments.outcomes("w", "stable")
