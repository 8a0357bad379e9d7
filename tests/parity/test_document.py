"""docs/parity.md says what the stored results, the tables and the names of today say."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="PyTorch 2.13 is the oracle of the parity suite")
pytest.importorskip("expecttest", reason="PyTorch's op database needs it")

from . import document, known
from .calls import NA
from .samples import op_db

pytestmark = pytest.mark.filterwarnings("ignore")  # reading PyTorch's deprecated names


@pytest.mark.cpu_oracle  # the other build has more names
def test_page_is_current():
    assert document.PAGE.read_text() == document.page(), "run `python -m tests.parity --write-docs`"


def test_results_are_those_of_the_tables():
    results = document.read_results()
    assert results["samples"] == known.MANY
    assert set(results["ops"]) == {op.full_name for op in op_db()} - set(NA)
    failed = {(op, unit) for op, entry in results["ops"].items() for unit in entry["failed"]}
    assert failed == set(known.everything()), "run `python -m tests.parity --write-results`"
