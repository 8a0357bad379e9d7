"""Every entry of PyTorch's op database: values, gradients, forms and errors are PyTorch's."""

from __future__ import annotations

import os

import pytest

pytest.importorskip("torch", reason="PyTorch 2.13 is the oracle of the parity suite")
pytest.importorskip("expecttest", reason="PyTorch's op database needs it")

from . import known
from .calls import NA
from .checks import form_units, mode_units, run
from .samples import op_db

# TORCHLIKE_PARITY_SAMPLES asks for more samples than a test run has time for.
SAMPLES = int(os.environ.get("TORCHLIKE_PARITY_SAMPLES", known.FEW))
OPS = [pytest.param(op, id=op.full_name) for op in op_db() if op.full_name not in NA]

pytestmark = pytest.mark.filterwarnings("ignore")  # PyTorch's samples use deprecated things


@pytest.mark.parametrize("op", OPS)
def test_op(op):
    records = [run(op, unit, SAMPLES, max(1, SAMPLES // 2)) for unit in form_units(op)]
    complaints = [known.complaint(op.full_name, record, SAMPLES) for record in records]
    assert not any(complaints), "\n".join(c for c in complaints if c)


def test_tables_name_checks_that_exist():
    units = {op.full_name: form_units(op) + mode_units(op) for op in op_db()}
    assert not [(op, unit) for op, unit in known.everything() if unit not in units.get(op, ())]
    assert not set(NA) - set(units)
