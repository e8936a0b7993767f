"""One scripted server for each test of the command line client."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.cli.stub import Stub


@pytest.fixture
def stub() -> Iterator[Stub]:
    with Stub() as server:
        yield server
