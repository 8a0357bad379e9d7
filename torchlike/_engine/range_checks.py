"""Checks that programs make of indices, divisors and conditions: kept until the next sync."""

from __future__ import annotations

import builtins

import numpy as np

from torchlike._core import errors
from torchlike._engine.prefix import Prefix

pending_checks: list = []
_MAX_PENDING_CHECKS = 1_000


def check_later(flags, checks: list) -> None:
    """Keep a program's range checks for the next sync; look at once if they have piled up."""
    pending_checks.append((flags, checks))
    if len(pending_checks) > _MAX_PENDING_CHECKS:
        check_bad_indices()


def check_bad_indices() -> None:
    """Raise ``IndexError`` for the first range check that failed since the last sync."""
    checks = pending_checks[:]
    del pending_checks[: len(checks)]
    try:  # most often all are zero, which their bytes tell in half a microsecond for each
        if not b"".join([flags for flags, _ in checks]).strip(b"\0"):
            return
    except (TypeError, BufferError, RuntimeError):  # not on the host
        pass
    for flags, meta in checks:
        rows = np.asarray(flags)
        for (bad, first), (size, _, call) in zip(rows, meta, strict=True):
            if bad:
                raise bad_value_error(call, int(first), size)


def bad_value_error(call: Prefix, index: int, size: int) -> Exception:
    """PyTorch's error for an index out of range, a divisor of zero, a condition that does not hold;
    with the user's line."""
    at = f" (recorded at {call.line})" if call.line else ""
    name, statics = call.op.name.removesuffix("_batched"), call.statics
    if name != call.op.name:
        statics = statics[0]  # beside which operands are batches
    if name == errors.REQUIREMENT:
        kind, text = statics
        return getattr(builtins, kind)(text + at)
    if name == errors.FAILURE:
        matrix, code = divmod(index - 1, errors.MOST_CODES)
        error = errors.failure(*statics, matrix if call.in_avals[0].ndim else None, code)
        error.args = (str(error) + at,)
        return error
    if name in errors.NOT_FINITE:
        kind, text = errors.NOT_FINITE[name]
        return kind(text + at)
    if name.endswith(errors.NONZERO):
        return RuntimeError(f"ZeroDivisionError: {name.removesuffix(errors.NONZERO)}{at}")
    if name in ("cross_entropy", "nll_loss"):
        return errors.BadIndex(f"Target {index} is out of bounds.: {name} over {size} classes{at}")
    return errors.BadIndex(
        f"index {index} is out of bounds for dimension with size {size}: {name}{at}"
    )
