"""Dropouts of ``torch.nn.functional``, from PyTorch's own stream of random numbers on a CPU."""

from __future__ import annotations

import warnings

from torchlike._core import dtypes as dt
from torchlike._ops.table import TABLE
from torchlike._tensor import dispatch, random
from torchlike._tensor.dispatch import apply, apply_inplace
from torchlike._tensor.products import need_tensor

_DROPOUT, _ALPHA = TABLE["dropout"], TABLE["alpha_dropout"]


def _drop(op, input, p, training, inplace, channels: bool):
    if p < 0.0 or p > 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    if not isinstance(input, dispatch._Tensor):
        need_tensor(op.name, "input", 1, input)
    a = input._value.aval
    if not training or p == 0 or not a.numel:
        return input
    if a.dtype.category < dt.FLOATING:
        raise RuntimeError(
            f"result type Float can't be cast to the desired output type {dt.SCALAR_NAMES[a.dtype]}"
        )
    shape = a.shape
    if channels:
        if a.ndim < 2 and p != 1:
            raise RuntimeError("Feature dropout requires at least 2 dimensions in the input")
        shape = (*shape[:2], *[1] * (a.ndim - 2))
    mask = None
    if p != 1:
        draw = lambda shape: random.bernoulli_mask(shape, 1 - p, a.dtype, a.device)  # noqa: E731
        mask = draw(shape) if channels else random.along_memory(input, draw)
    call = apply_inplace if inplace else apply
    if op is _ALPHA:
        return call(op, (input, mask), (float(1 - p),))
    return call(op, (input, mask, float(1 - p)))


def dropout(input, p: float = 0.5, training: bool = True, inplace: bool = False):
    """Elements zeroed with probability p, the others divided by 1 - p."""
    return _drop(_DROPOUT, input, p, training, inplace, False)


def alpha_dropout(input, p: float = 0.5, training: bool = False, inplace: bool = False):
    """Dropout that keeps mean and variance of selu's activations."""
    return _drop(_ALPHA, input, p, training, inplace, False)


def feature_alpha_dropout(input, p: float = 0.5, training: bool = False, inplace: bool = False):
    """``alpha_dropout`` of whole channels."""
    return _drop(_ALPHA, input, p, training, inplace, True)


def dropout1d(input, p: float = 0.5, training: bool = True, inplace: bool = False):
    """Dropout of whole channels of (N, C, L) or (C, L)."""
    return _spatial(1, input, p, training, inplace)


def dropout2d(input, p: float = 0.5, training: bool = True, inplace: bool = False):
    """Dropout of whole channels of (N, C, H, W)."""
    return _spatial(2, input, p, training, inplace)


def dropout3d(input, p: float = 0.5, training: bool = True, inplace: bool = False):
    """Dropout of whole channels of (N, C, D, H, W) or (C, D, H, W)."""
    return _spatial(3, input, p, training, inplace)


def _spatial(rank, input, p, training, inplace):
    if p < 0.0 or p > 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    ndim = input._value.aval.ndim
    if rank == 1 and ndim not in (2, 3):
        raise RuntimeError(
            f"dropout1d: Expected 2D or 3D input, but received a {ndim}D input. Note that "
            "dropout1d exists to provide channel-wise dropout on inputs with 1 spatial dimension, "
            "a channel dimension, and an optional batch dimension (i.e. 2D or 3D inputs)."
        )
    if rank > 1 and ndim not in (rank + 1, rank + 2):
        warnings.warn(
            f"dropout{rank}d: Received a {ndim}-D input to dropout{rank}d, which is deprecated and "
            "will result in an error in a future release. To retain the behavior and silence this "
            f"warning, please use dropout instead. Note that dropout{rank}d exists to provide "
            f"channel-wise dropout on inputs with {rank} spatial dimensions, a channel dimension, "
            f"and an optional batch dimension (i.e. {rank + 1}D or {rank + 2}D inputs).",
            stacklevel=3,
        )
    if rank == 2 and ndim == 3:
        warnings.warn(
            "dropout2d: Received a 3D input to dropout2d and assuming that channel-wise 1D dropout "
            "behavior is desired - input is interpreted as shape (N, C, L), where C is the channel "
            "dim. This behavior will change in a future release to interpret the input as one "
            "without a batch dimension, i.e. shape (C, H, W). To maintain the 1D channel-wise "
            "dropout behavior, please switch to using dropout1d instead.",
            stacklevel=3,
        )
    lone = (rank == 1 and ndim == 2) or (rank == 3 and ndim != 5)
    if not lone:
        return _drop(_DROPOUT, input, p, training, inplace, True)
    if inplace:
        _drop(_DROPOUT, input.unsqueeze(0), p, training, True, True)
        return input
    return _drop(_DROPOUT, input.unsqueeze(0), p, training, False, True).squeeze(0)
