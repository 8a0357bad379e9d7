"""Functions over time steps of ``torch.nn.functional``: temporal convolution and CTC."""

from __future__ import annotations

from torchlike._ops.table import TABLE
from torchlike._tensor import dispatch
from torchlike._tensor.dispatch import apply, aval_of
from torchlike._tensor.forms import FUNCTIONS
from torchlike._tensor.indexing import host_bounds
from torchlike.nn.functional.reduction import reduction_of


def conv_tbc(input, weight, bias, pad: int = 0):
    """Convolution of (time, batch, channels) with (kernel, in channels, out channels)."""
    a, w, b = (x._value.aval for x in (input, weight, bias))
    if a.ndim != 3:
        raise RuntimeError("Input must have 3 dims: time, batch, in_channel")
    if w.ndim != 3:
        raise RuntimeError(
            "Weight tensor must have 3 dims: kernel_width, in_channels, out_channels."
        )
    if b.ndim != 1:
        raise RuntimeError("Bias must be 1-D")
    if a.shape[2] != w.shape[1]:
        raise RuntimeError("Input dim 2 (input channels) is not == dim 1 in the weight tensor")
    if w.shape[2] != b.shape[0]:
        raise RuntimeError("Bias size must equal dim 2 in the weight tensor (output channels).")
    operands = (input.permute(1, 2, 0), weight.permute(2, 1, 0), bias)
    return apply(TABLE["convolution"], operands, (1, pad, 1, 1, 1)).permute(2, 0, 1)


def ctc_loss(
    log_probs, targets, input_lengths, target_lengths, blank: int = 0, reduction: str = "mean",
    zero_infinity: bool = False,
):  # fmt: skip
    """Negative log likelihood of the targets under all their alignments with the input."""
    return ctc(
        log_probs, targets, input_lengths, target_lengths, blank, reduction_of(reduction),
        zero_infinity,
    )  # fmt: skip


def ctc(log_probs, targets, input_lengths, target_lengths, blank, reduction, zero_infinity):
    """``ctc_loss`` by a reduction known to be right."""
    a = aval_of(log_probs)
    if a.ndim not in (2, 3):
        raise RuntimeError(f"ctc_loss: expected log_probs of 2 or 3 dimensions, got {a.ndim}")
    if not a.numel:
        raise RuntimeError("log_probs tensor must not be empty")
    batch = a.shape[1] if a.ndim == 3 else 1
    lengths = []
    for name, given in (("input_lengths", input_lengths), ("target_lengths", target_lengths)):
        lengths.append(_lengths(name, given, batch))
    inputs, wanted = lengths
    if targets.dtype.category != 1:
        targets = targets.long()
    if not 0 <= blank < a.shape[-1]:
        raise RuntimeError("blank must be in label range")
    if any(not 0 <= n <= a.shape[0] for n in inputs):
        bad = next(n for n in inputs if not 0 <= n <= a.shape[0])
        raise RuntimeError(
            f"Expected input_lengths to have value at most {a.shape[0]}, but got value {bad} "
            "(while checking arguments for ctc_loss_allocate_outputs)"
        )
    if any(n < 0 for n in wanted):
        raise RuntimeError("Expected target_lengths to be at least 0")
    shape = targets._value.aval.shape
    flat = len(shape) == 1
    if flat and a.ndim == 3 and shape[0] != sum(wanted):
        raise RuntimeError(
            f"Expected tensor to have size {sum(wanted)} at dimension 0, but got size {shape[0]} "
            "for argument #2 'targets' (while checking arguments for ctc_loss_allocate_outputs)"
        )
    if not flat and (shape[0] != batch or shape[1] < max(wanted, default=0)):
        raise RuntimeError(
            f"Expected tensor to have size at least {max(wanted, default=0)} at dimension 1, but "
            f"got size {list(shape)} for argument #2 'targets' (while checking arguments for "
            "ctc_loss_allocate_outputs)"
        )
    bounds = host_bounds(targets)
    checked = bounds is not None and bounds[0] >= 0 and bounds[1] < a.shape[-1]
    # The width of padded targets changes less from call to call than the longest of them.
    longest = max(wanted, default=0) if flat else shape[1]
    statics = (int(blank), reduction, zero_infinity, longest, checked)
    make = FUNCTIONS["tensor"]
    operands = [make(n, device=log_probs.device) for n in (inputs, wanted)]
    return apply(TABLE["ctc_loss"], (log_probs, targets, *operands), statics)


def _lengths(name, given, batch) -> list[int]:
    if isinstance(given, dispatch._Tensor):
        if given.dtype.category != 1:
            raise RuntimeError(f"{name} must be integral")
        given = given.reshape(-1).tolist()
    given = [given] if isinstance(given, int) else [int(n) for n in given]
    if len(given) != batch:
        raise RuntimeError(f"{name} must be of size batch_size")
    return given
