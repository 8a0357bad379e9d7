"""Every differentiable entry of PyTorch's op database in other modes.

One sample each: op by op as in one program, inside ``func.vmap`` as PyTorch's, and its second
derivatives.
"""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="PyTorch 2.13 is the oracle of the parity suite")
pytest.importorskip("expecttest", reason="PyTorch's op database needs it")

from . import known
from .calls import NA
from .checks import mode_units, run
from .samples import op_db

OPS = [
    pytest.param(op, id=op.full_name) for op in op_db() if op.full_name not in NA and mode_units(op)
]

pytestmark = pytest.mark.filterwarnings("ignore")  # PyTorch's samples use deprecated things


@pytest.mark.parametrize("op", OPS)
def test_modes(op):
    records = [run(op, unit, known.FEW, 1) for unit in mode_units(op)]
    complaints = [known.complaint(op.full_name, record, known.FEW) for record in records]
    assert not any(complaints), "\n".join(c for c in complaints if c)
