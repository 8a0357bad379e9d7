"""A row by NumPy: small segments that are not compiled give the numbers of compiled programs."""

from __future__ import annotations

from unittest import mock

import numpy as np

import torchlike
from torchlike._core.settings import settings
from torchlike._engine import flush, host
from torchlike._engine.primitives import Unsupported

from . import table

# What the NumPy host leaves to XLA, one op at a time: the odd ones that only rare functions reach.
ON_XLA = {
    "LAPACK of empty matrices",
    "a transform of nothing",
    "igamma_grad_a",
    "reduce",
    "bitcast_convert_type",
}

# Where the reference itself is this far from the true numbers.
# The mean of numbers near 1000, taken away again.
TOLERANCE = {"std": 3e-4, "std_mean": 3e-4, "var": 3e-4, "var_mean": 3e-4}


def numbers(row, sample, second, seed=5):
    """Results and gradients of a sample as (dtype, array), or the error it raises."""
    function = table.find(torchlike, row.name)
    try:
        result, first, _ = table.gradients(torchlike, function, sample, seed, second)
        found = [*table.tensors_in(result), *[g for g in first if g is not None]]
        return [(t.dtype, table.to_numpy(t)) for t in found]
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def by_numpy(row, sample):
    """``numbers`` where every small segment runs by NumPy, and what NumPy could not run."""
    left = set()

    def run_host(call, arrays):
        try:
            return host.run_host(call, arrays)
        except Unsupported as reason:
            left.add(str(reason))
            raise

    with (
        mock.patch.object(flush, "worth_compiling", lambda *args: False),
        mock.patch.object(flush, "run_host", run_host),
        settings.override(host=True, immediate=False),
    ):
        return numbers(row, sample, False), left


def check_host(row, sample):
    """NumPy and XLA agree on a sample, and NumPy leaves nothing to XLA but what is known."""
    ours, left = by_numpy(row, sample)
    with settings.override(immediate=True):
        # Recorded as the table's check records it, so that its small programs serve here too.
        expected = numbers(row, sample, row.grad and row.second)
    if isinstance(expected, str):
        assert ours == expected
        return
    assert len(ours) == len(expected)
    for (d, a), (other, b) in zip(ours, expected, strict=True):
        assert d is other
        assert a.shape == b.shape
        if b.dtype.kind not in "fc":
            np.testing.assert_array_equal(a, b)
            continue
        tol = TOLERANCE.get(row.name, 1e-2 if d.itemsize == 2 else 3e-6)
        finite = np.abs(b[np.isfinite(b)])
        np.testing.assert_allclose(a, b, rtol=tol, atol=tol * max(1.0, finite.max(initial=0)))
    assert left <= ON_XLA
