"""What does not agree with PyTorch, and why: a check that starts to agree must leave the table."""

from __future__ import annotations

FEW, MANY = 2, 4  # samples of each check: in a test run, and for the published numbers

CHALF = "there is no complex32 in jax"
REFLECTED = (
    "called on the class with a number in place of the tensor, it computes instead of raising"
)

# op -> {checks, separated by commas: reason}
KNOWN: dict[str, dict[str, str]] = {
    "__radd__": {"errors": REFLECTED},
    "__rand__": {"errors": REFLECTED},
    "__rdiv__": {"errors": REFLECTED},
    "__rmul__": {"errors": REFLECTED},
    "__ror__": {"errors": REFLECTED},
    "__rxor__": {"errors": REFLECTED},
    "as_strided_scatter": {
        "grad float32, grad complex64, second": "PyTorch's gradient keeps the places that were"
        " overwritten: a defect there",
    },
    "chalf": {
        "forward float32, forward int64, forward bool, forward complex64": CHALF,
        "grad float32, grad complex64, method": CHALF,
        "immediate, vmap, second": CHALF,
    },
    "linalg.norm.subgradients_at_zero": {
        "second": "PyTorch's second derivative of a norm at zero is NaN, here it is zero",
    },
    "nn.functional.linear_cross_entropy.chunked": {
        "second": "PyTorch's takes the gradient for a constant, here it is differentiated",
    },
}

# The same for what only shows with many samples.
SELDOM: dict[str, dict[str, str]] = {
    "addbmm": {
        "inplace, inplace_grad": "PyTorch's lets a number grow to a matrix, here it raises",
    },
    "fft.ihfftn": {"out": "PyTorch's leaves `out=` as it was: a defect there"},
    "masked.logaddexp": {
        "second": "PyTorch's second derivative is NaN where both operands are masked, here zero",
    },
    "nn.functional.ctc_loss": {
        "vmap": "lengths in a tensor are read on the host, which a batch does not allow",
    },
    "ormqr": {
        "grad float32, grad complex64": "PyTorch's gives no gradient to an empty matrix, here it is"
        " empty",
    },
}


def find(table, op: str, unit: str) -> str | None:
    """The reason that a table gives for a check."""
    for units, reason in table.get(op, {}).items():
        if unit in units.split(", "):
            return reason
    return None


def reason(op: str, unit: str) -> str | None:
    """Why a check does not agree with PyTorch, or None if no table says so."""
    return find(KNOWN, op, unit) or find(SELDOM, op, unit)


def complaint(op: str, record, samples: int) -> str | None:
    """What is wrong with a record, given the tables; None if it is as known."""
    always, seldom = find(KNOWN, op, record.unit), find(SELDOM, op, record.unit)
    if record.status == "fail":
        if always or (seldom and samples > FEW):
            return None
        return f"{record.unit}: {record.fault}"
    if always or (seldom and samples >= MANY):
        return f"{record.unit} agrees now: remove it from the table of known differences"
    return None


def everything():
    """(op, check) of all entries of the tables."""
    for table in (KNOWN, SELDOM):
        for op, reasons in table.items():
            for units in reasons:
                for unit in units.split(", "):
                    yield op, unit
