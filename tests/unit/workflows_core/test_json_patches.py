"""RFC 6902 as AOB does it: exact, typed, bounded in time and memory whatever is asked, and its rebase and inverse."""

from __future__ import annotations

import copy
import random
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.support.corpora import cases
from workflows.core.canonical import canonical
from workflows.core.document import DocumentLimits, escape_pointer
from workflows.core.errors import AobError, LimitExceeded
from workflows.core.patches import (
    PatchConflict,
    PatchError,
    apply,
    difference,
    inverse,
    materialize,
    normalized,
    rebase,
    same,
)
from workflows.core.validate import validate

MIB = 1024 * 1024


def patched(document: Any, *operations: dict[str, Any], **more: Any) -> Any:
    return apply(document, normalized(list(operations)), **more)


def refusal(document: Any, *operations: Any) -> str:
    with pytest.raises(AobError) as caught:
        patched(document, *operations)
    return caught.value.code


def add(path: str, value: Any) -> dict[str, Any]:
    return {"op": "add", "path": path, "value": value}


def put(path: str, value: Any) -> dict[str, Any]:
    return {"op": "replace", "path": path, "value": value}


def expect(path: str, value: Any) -> dict[str, Any]:
    return {"op": "test", "path": path, "value": value}


@contextmanager
def bounded(*, seconds: float = 1.0, mib: float = 64) -> Iterator[None]:
    """Processor time, as others may use the machine, and the most memory that was taken on the way."""
    began = time.process_time()
    yield
    assert time.process_time() - began < seconds
    assert not tracemalloc.is_tracing() or tracemalloc.get_traced_memory()[1] < mib * MIB


@pytest.fixture
def memory() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.parametrize(
    "case", [*cases("json-patch-tests", "tests.json"), *cases("json-patch-tests", "spec_tests.json")]
)
def test_the_public_corpus_holds(case: dict[str, Any]) -> None:
    if "patch" not in case or case.get("disabled"):
        return
    before = copy.deepcopy(case["doc"])
    if "error" in case:
        with pytest.raises(PatchError):
            apply(case["doc"], normalized(case["patch"]))
    else:
        found = apply(case["doc"], normalized(case["patch"]))
        assert "expected" not in case or same(found, case["expected"])
    assert case["doc"] == before


@pytest.mark.parametrize(
    ("stored", "wanted"),
    [
        (1, True), (0, False), (True, 1), (1, "1"), (None, 0), (None, False), ("", None), ([], {}), ({}, []),
        ([1], [True]), ({"a": 0}, {"a": False}), ([[1]], [[1.5]]), ([1, 2], [2, 1]), ({"a": 1}, {"a": 1, "b": 1}),
        (2**53 + 1, float(2**53)), ("a", "A"), ("é", "e\u0301"),
    ],
)  # fmt: skip
def test_a_test_holds_for_the_same_type_only(stored: Any, wanted: Any) -> None:
    assert refusal({"a": stored}, expect("/a", wanted)) == "patch_test_failed"
    assert not same(stored, wanted)


@pytest.mark.parametrize(
    ("stored", "wanted"), [(1, 1.0), (0, -0.0), ([1.0], [1]), ({"a": 1, "b": 2}, {"b": 2, "a": 1}), (10**15, 1e15)]
)
def test_numbers_are_the_same_by_their_value(stored: Any, wanted: Any) -> None:
    assert patched({"a": stored}, expect("/a", wanted)) == {"a": stored}
    assert same(stored, wanted)


def test_a_failed_test_undoes_what_came_before_it() -> None:
    document = {"a": 1}
    assert refusal(document, put("/a", 2), expect("/a", 1)) == "patch_test_failed"
    assert document == {"a": 1}


def test_members_that_mean_nothing_are_dropped() -> None:
    sent = [
        {"op": "add", "path": "/a", "value": {"op": 1}, "from": "/b", "why": "x"},
        {"op": "remove", "path": "/a", "value": 1},
    ]
    assert normalized(sent) == [add("/a", {"op": 1}), {"op": "remove", "path": "/a"}]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/a~1b", {"a/b": 2, "~": 1, "": 1, "~1": 1, "l": [1]}),
        ("/~0", {"a/b": 1, "~": 2, "": 1, "~1": 1, "l": [1]}),
        ("/~01", {"a/b": 1, "~": 1, "": 1, "~1": 2, "l": [1]}),
        ("/", {"a/b": 1, "~": 1, "": 2, "~1": 1, "l": [1]}),
        ("/l/0", {"a/b": 1, "~": 1, "": 1, "~1": 1, "l": [2]}),
    ],
)
def test_pointers_are_read_as_they_are_written(path: str, expected: Any) -> None:
    assert patched({"a/b": 1, "~": 1, "": 1, "~1": 1, "l": [1]}, put(path, 2)) == expected


@pytest.mark.parametrize(
    "part", ["-", "00", "01", "-1", "+1", " 1", "1 ", "1\n", "1e0", "0x1", "1_0", "٠", "2", "", "9" * 30, "9" * 5_000]
)
@pytest.mark.parametrize("kind", ["replace", "remove", "test", "copy", "move"])
def test_what_is_no_place_of_a_list_is_refused(part: str, kind: str) -> None:
    operation = {"op": kind, "path": f"/l/{part}", "value": 1}
    if kind in ("copy", "move"):
        operation = {"op": kind, "from": f"/l/{part}", "path": "/m"}
    assert refusal({"l": [1, 1]}, operation) in ("patch_path", "patch_test_failed")


@pytest.mark.parametrize("part", ["00", "01", "-1", "3", "٠", "", "9" * 30, "9" * 5_000])
def test_nothing_is_added_outside_of_a_list(part: str) -> None:
    assert refusal({"l": [1, 1]}, add(f"/l/{part}", 1)) == "patch_path"


@pytest.mark.parametrize(
    "key", ["__proto__", "constructor", "prototype", "__class__", "__init__", "__dict__", "toString", "items"]
)
def test_names_of_prototypes_are_names(key: str) -> None:
    """S24: plain data."""
    assert patched({}, add(f"/{key}", {}), add(f"/{key}/x", 1)) == {key: {"x": 1}}
    assert refusal({"a": {}}, put(f"/a/{key}", 1)) == "patch_path"
    assert refusal({"a": "text", "b": [1]}, expect(f"/a/{key}", 1)) == "patch_test_failed"
    assert refusal({"a": "text", "b": [1]}, {"op": "copy", "from": f"/b/{key}", "path": "/c"}) == "patch_path"


@pytest.mark.parametrize("path", ["a", "~", "/~", "/~2", "/a~", "#/a", " "])
def test_what_is_no_pointer_is_refused(path: str) -> None:
    assert refusal({"a": 1}, expect(path, 1)) == "patch_pointer"


def test_nothing_moves_into_itself() -> None:
    assert refusal({"a": {"b": 1}}, {"op": "move", "from": "/a", "path": "/a/b"}) == "patch_path"
    assert refusal([{"x": 1}, {}], {"op": "move", "from": "/0", "path": "/0/y"}) == "patch_path"
    assert patched({"a": 1}, {"op": "move", "from": "/a", "path": "/a"}) == {"a": 1}


def test_a_copy_stands_by_itself() -> None:
    copied = {"op": "copy", "from": "/a", "path": "/b"}
    assert patched({"a": {"x": 1}}, copied, put("/b/x", 2)) == {"a": {"x": 1}, "b": {"x": 2}}


def test_what_a_patch_inserts_and_changes_again_stays_in_the_patch_as_it_was() -> None:
    operations = normalized([add("/a", {"x": []}), add("/a/x/-", 1), {"op": "remove", "path": "/a/x/0"}])
    before = copy.deepcopy(operations)
    assert apply({}, operations) == apply({}, operations) == {"a": {"x": []}}
    assert operations == before


def bomb(*, places: int) -> list[dict[str, Any]]:
    return [{"op": "copy", "from": "", "path": f"/c{number}"} for number in range(places)]


@pytest.mark.parametrize(
    "operations",
    [
        bomb(places=1_000),
        [{"op": "copy", "from": "/l", "path": "/l/-"}] * 1_000,
        [{"op": "copy", "from": "/l", "path": "/l/0"}] * 1_000,
        [operation for operation in bomb(places=20) for _ in range(50)],
        [add("/c", ["x" * 1000]), *[{"op": "copy", "from": "/c", "path": f"/c{n}"} for n in range(999)]],
        [*bomb(places=12), *[{"op": "copy", "from": "/c11", "path": "/again"}] * 900],
    ],
    ids=["whole", "end of itself", "beginning of itself", "each place again", "flat", "one place again"],
)
def test_a_copy_bomb_ends_early_and_small(operations: list[dict[str, Any]], memory: None) -> None:
    base = {"l": ["x" * 100], "m": "x" * 2_000}
    with bounded():
        try:
            found = patched(base, *operations, limits=DocumentLimits(max_document_bytes=MIB))
        except AobError as error:
            assert error.code in ("limit_document_bytes", "json_too_deep")
        else:
            assert len(canonical(found)) <= MIB


def test_the_size_is_that_after_each_operation() -> None:
    limits = DocumentLimits(max_document_bytes=1_000)
    with pytest.raises(LimitExceeded) as caught:
        patched({}, add("/a", "x" * 600), add("/b", "x" * 600), {"op": "remove", "path": "/a"}, limits=limits)
    assert (caught.value.code, caught.value.pointer) == ("limit_document_bytes", "/operations/1")
    assert patched({}, add("/a", "x" * 600), put("/a", "y" * 600), limits=limits) == {"a": "y" * 600}


def test_a_document_at_its_limit_is_not_measured_a_thousand_times() -> None:
    base = {"many": list(range(600_000)), "x": 100}
    limits = DocumentLimits(max_document_bytes=len(canonical(base)) + 4)
    with bounded():
        try:
            patched(base, *[put("/x", 111)] * 1_000, limits=limits)
        except LimitExceeded as error:
            assert error.code == "limit_document_bytes"


def test_tests_of_large_values_are_done_in_bounded_time() -> None:
    large = {"m": {str(number): [number, {"n": None}] for number in range(20_000)}}
    with bounded(seconds=2.0):
        patched(large, *[expect("/m/19999", [19999, {"n": None}])] * 1_000)
        assert refusal(large, *[expect("", {})] * 1_000) == "patch_test_failed"
        assert refusal(large, expect("/m", {"x": "y" * 900_000})) == "patch_test_failed"


def test_large_patches_are_refused_before_they_are_looked_at(memory: None) -> None:
    large = "x" * (10 * MIB)
    with bounded():
        assert refusal({}, add("/a", large)) == "limit_patch_bytes"
        assert refusal({}, {"op": "remove", "path": "/" + large}) == "limit_patch_bytes"
        assert refusal({}, *[add("/a", 1)] * 1_001) == "limit_patch_operations"
        assert refusal({}, add("/" + "a" * (MIB - 100) + "/b", 1)) == "patch_path"


def nested(depth: int) -> Any:
    found: Any = 1
    for number in range(depth):
        found = [found] if number % 2 else {"x": found}
    return found


def test_depth_is_bounded_however_it_comes() -> None:
    assert refusal({}, add("/a", nested(70))) == "json_too_deep"
    assert refusal({}, add("/x" * 70, 1)) == "json_too_deep"
    deep = [add("/a0", nested(50))]
    for number in range(490):
        deep.append(add(f"/a{number + 1}", {"x": nested(40)}))
        deep.append({"op": "move", "from": f"/a{number}", "path": f"/a{number + 1}/y"})
    with bounded(seconds=2.0):
        found = patched({}, *deep)
        assert [problem.code for problem in validate(found)] == ["json_too_deep"]


KEYS = st.sampled_from(["a", "b", "c", "", "~", "/", "~1", "~0", "0", "1", "-", "__proto__", "ä", "a/b"])
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=3)
"""What a document may hold: U+0000 is refused at each door."""
LEAVES = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, 1e19, 2**53 + 1, 1.0]) | TEXTS
VALUES = st.recursive(
    LEAVES, lambda part: st.lists(part, max_size=3) | st.dictionaries(KEYS, part, max_size=4), max_leaves=12
)
DOCUMENTS = st.dictionaries(KEYS, VALUES, max_size=5)


def places(value: Any, place: str = "") -> list[str]:
    inner: list[tuple[str, Any]] = []
    if isinstance(value, dict):
        inner = [(escape_pointer(key), part) for key, part in value.items()]
    elif isinstance(value, list):
        inner = [(str(number), part) for number, part in enumerate(value)]
    return [place, *(one for key, part in inner for one in places(part, f"{place}/{key}"))]


def random_patch(document: Any, chance: random.Random, *, below: str = "") -> list[dict[str, Any]]:
    """Operations that can be applied one after another, all of them at or within a place."""
    made: list[dict[str, Any]] = []
    for _ in range(chance.randint(1, 5)):
        there = [place for place in places(document) if place.startswith(f"{below}/")] or [f"{below}/n"]
        kind = chance.choice(["add", "replace", "remove", "move", "copy", "test"])
        path, source = chance.choice(there), chance.choice(there)
        if kind == "add":
            path = chance.choice([path, f"{path}/{chance.choice(['n', '0', '-'])}", f"{below}/new{chance.randint(0, 2)}"])
        operation: dict[str, Any] = {"op": kind, "path": path}
        if kind in ("add", "replace", "test"):
            operation["value"] = chance.choice([1, True, None, "x", [1, {"y": 2}], {"z": [0]}])
        if kind in ("move", "copy"):
            operation |= {"from": source, "path": chance.choice([path, f"{below}/to{chance.randint(0, 2)}"])}
        try:
            document = apply(document, normalized([operation]))
        except AobError:
            continue
        made.append(operation)
    return normalized(made)


@given(DOCUMENTS, DOCUMENTS)
def test_a_difference_leads_from_one_document_to_the_other(before: Any, after: Any) -> None:
    first, second = copy.deepcopy((before, after))
    assert canonical(apply(before, normalized(difference(before, after)))) == canonical(after)
    assert (before, after) == (first, second)
    assert difference(before, before) == []


@given(DOCUMENTS, st.randoms(use_true_random=False))
def test_an_inverse_restores(before: Any, chance: random.Random) -> None:
    operations = random_patch(before, chance)
    after = apply(before, operations)
    undo = inverse(operations, before=before, head=after)
    assert canonical(apply(after, normalized(undo))) == canonical(before)


@given(VALUES.map(lambda one: {"a": one, "b": one}), st.randoms(use_true_random=False))
def test_patches_of_different_places_come_out_the_same_in_any_order(base: Any, chance: random.Random) -> None:
    assume(isinstance(base["a"], dict))
    first, second = random_patch(base, chance, below="/a"), random_patch(base, chance, below="/b")
    after_first, after_second = apply(base, first), apply(base, second)
    found = rebase(second, base=base, head=after_first)
    assert canonical(found) == canonical(rebase(first, base=base, head=after_second))
    assert canonical(found) == canonical(materialize(base, [first, second]))
    undone = apply(found, inverse(first, before=base, head=found))
    assert canonical(undone) == canonical(after_second)


@given(DOCUMENTS, st.randoms(use_true_random=False))
def test_a_patch_of_what_others_changed_conflicts(base: Any, chance: random.Random) -> None:
    theirs = random_patch(base, chance)
    head = apply(base, theirs)
    changed = difference(base, head)
    assume(changed)
    path = chance.choice(changed)["path"]
    while path and chance.random() < 0.3:
        path = path.rpartition("/")[0]
    with pytest.raises(PatchConflict) as caught:
        rebase([add(path, "mine")], base=base, head=head)
    assert caught.value.places
    assert rebase([expect("", head)], base=base, head=head) == head


def test_entries_of_a_list_conflict_as_their_numbers_change() -> None:
    base = {"l": [1, 2, 3], "m": 1}
    head = patched(base, {"op": "remove", "path": "/l/0"})
    with pytest.raises(PatchConflict) as caught:
        rebase([put("/l/2", 9)], base=base, head=head)
    assert caught.value.places == ["/l"]
    assert rebase([put("/m", 2)], base=base, head=head) == {"l": [2, 3], "m": 2}


@given(DOCUMENTS, st.randoms(use_true_random=False), st.integers(0, 5))
def test_a_document_is_the_fold_of_its_patches(base: Any, chance: random.Random, count: int) -> None:
    kept, document, patches = copy.deepcopy(base), base, []
    for _ in range(count):
        patches.append(random_patch(document, chance))
        document = apply(document, patches[-1])
    sent = copy.deepcopy(patches)
    assert canonical(materialize(base, patches)) == canonical(document)
    assert patches == sent and base == kept


GARBAGE = st.recursive(
    LEAVES | st.sampled_from(["add", "move", "/a", "/a/0", "/-", "~", float("nan"), 2**70, "\ud800", "a\0"]),
    lambda part: (
        st.lists(part, max_size=3) | st.dictionaries(st.sampled_from(["op", "path", "from", "value", "x"]), part)
    ),
)


@settings(max_examples=150)
@given(DOCUMENTS, GARBAGE | st.lists(GARBAGE))
def test_every_refusal_is_one_of_ours(document: Any, operations: Any) -> None:
    before = copy.deepcopy(document)
    try:
        apply(document, normalized(operations))
    except AobError as error:
        assert error.code and error.message
    assert canonical(document) == canonical(before)


OPERATIONS = st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"])},
    optional={
        "path": st.lists(KEYS.map(escape_pointer) | st.sampled_from(["9", "00"]), max_size=3).map(
            lambda one: "".join("/" + x for x in one)
        ),
        "from": st.sampled_from(["", "/a", "/a/0", "/b/-", "/c/c"]),
        "value": VALUES,
    },
)


@settings(max_examples=150)
@given(DOCUMENTS, st.lists(OPERATIONS, max_size=4))
def test_operations_of_any_kind_end_in_a_document_or_a_refusal(document: Any, operations: Any) -> None:
    sent = copy.deepcopy(operations)
    try:
        found = apply(document, normalized(operations))
    except AobError as error:
        assert error.code and error.message and error.pointer
    else:
        canonical(found)
    assert operations == sent
