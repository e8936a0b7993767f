from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.installation import Installation


@pytest.fixture(scope="session")
def aob(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """One running AOB for all tests that do no harm to it."""
    with Installation(Path(tmp_path_factory.mktemp("aob")) / "home") as installation:
        yield installation


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All on one worker, so that it is started once and the other core is free for it."""
    for item in items:
        if "tests/system" in str(item.path):
            item.add_marker(pytest.mark.xdist_group("system"))
