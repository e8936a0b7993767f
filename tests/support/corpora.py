"""Public test corpora outside the repository: in AOB_TEST_CORPORA, or in shared/corpora beside the checkout."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.installation import ROOT


def cases(name: str, file: str) -> list[Any]:
    """The entries of a JSON file of a corpus, or one that is skipped and says why."""
    place = Path(os.environ.get("AOB_TEST_CORPORA") or ROOT.parent / "shared" / "corpora") / name / file
    if not place.is_file():
        reason = f"the corpus {name} is not there; put it into a directory and name that in AOB_TEST_CORPORA"
        return [pytest.param(None, marks=pytest.mark.skip(reason=reason), id=f"{name} {file}")]
    return [pytest.param(entry, id=f"{file} {number}") for number, entry in enumerate(json.loads(place.read_text()))]
