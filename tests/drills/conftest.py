"""What all drills share: a record of recovery times, and one xdist worker so that they do not disturb each other."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

import pytest

Recovery = Callable[[str, str, float], None]


@pytest.fixture(scope="session")
def recovery() -> Recovery:
    """Notes `(fault, what, seconds)` as a line of JSON in the file that AOB_DRILLS_REPORT names, if any."""

    def note(fault: str, what: str, seconds: float) -> None:
        file = os.environ.get("AOB_DRILLS_REPORT")
        if file:
            with open(file, "a") as report:
                report.write(json.dumps({"fault": fault, "what": what, "seconds": round(seconds, 2)}) + "\n")

    return note


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/drills" in str(item.path):
            item.add_marker(pytest.mark.xdist_group("drills"))
