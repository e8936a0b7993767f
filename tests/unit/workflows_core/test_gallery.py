"""Every template of the gallery is valid, works without the internet and teaches one thing."""

from __future__ import annotations

import re
from typing import Any

import pytest

from workflows.core.schemas import compile_schema
from workflows.core.validate import validate
from workflows.gallery import LEVELS, OWN_ADDRESS, Template, TemplateError, free_name, search, template, templates

ALL = list(templates().values())


def texts(value: Any) -> list[str]:
    """Every text in a document."""
    if isinstance(value, dict):
        return [text for part in value.values() for text in texts(part)]
    if isinstance(value, list):
        return [text for part in value for text in texts(part)]
    return [value] if isinstance(value, str) else []


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.slug)
def test_a_template_is_valid_without_a_warning(one: Template) -> None:
    document = one.document()
    assert validate(document) == []
    assert document["name"] == one.slug
    given = {name: value for name, value in one.inputs.items() if not isinstance(value, dict)}
    schema = {**document["inputs"], "required": []}
    assert compile_schema(schema).problems(given, pointer="/inputs") == []
    assert all(one.file(value["$file"]).is_file() for value in one.inputs.values() if isinstance(value, dict))


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.slug)
def test_a_template_calls_nothing_but_the_aob_that_it_runs_on(one: Template) -> None:
    document = one.document("https://aob.example")
    assert not any(OWN_ADDRESS in text for text in texts(document))
    hosts = {host for text in texts(document) for host in re.findall(r"https?://[^/\s\"']+", text)}
    assert hosts <= {"https://aob.example"}


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.slug)
def test_a_template_says_what_it_teaches_and_what_to_break(one: Template) -> None:
    assert one.level in LEVELS and one.node_types
    assert 2 <= len(one.steps) <= 4
    assert one.idea.count(".") == 1 and one.idea.endswith(".")


def test_there_are_enough_and_most_of_them_fail_on_purpose() -> None:
    assert len(ALL) >= 10
    breaking = [one for one in ALL if any("on purpose" in step.do for step in one.steps)]
    assert len(breaking) >= 10


def test_the_search_wants_every_word_and_every_filter() -> None:
    assert template("retry-with-backoff") in search(words="busy RETRY")
    assert search(words="busy nonsense") == []
    assert {one.level for one in search(level="advanced")} == {"advanced"}
    assert all("map" in one.node_types for one in search(node_type="map", category="Repetition"))
    assert search(category="'; DROP TABLE run; --") == []


@pytest.mark.parametrize("slug", ["", "gone", "../gallery", "retry-with-backoff/", "x" * 10_000])
def test_an_unknown_template_is_refused(slug: str) -> None:
    with pytest.raises(TemplateError) as refused:
        template(slug)
    assert refused.value.code == "template_unknown" and len(refused.value.message) < 200


def test_the_file_of_a_template_stands_beside_it() -> None:
    assert template("access-log").file("../../../../etc/passwd").parent.name == "access-log"


def test_a_free_name_counts_on() -> None:
    taken = {"a", "a-2", "b-2"}
    assert free_name("c", taken.__contains__) == "c"
    assert free_name("a", taken.__contains__) == "a-3"
    assert free_name("b-2", taken.__contains__) == "b-3"
