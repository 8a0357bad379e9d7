"""Tensors of a new module, made in host memory: nothing is recorded until the first call."""

from __future__ import annotations

import numpy as np

from torchlike._core import devices
from torchlike._core import dtypes as dt
from torchlike._tensor.creation import check_size, from_host, target_device
from torchlike.nn.parameter import Parameter


def parameter(*shape, device=None, dtype=None) -> Parameter:
    """A parameter of zeros, to be initialised."""
    return Parameter(full(shape, 0, device, dtype))


def full(shape, value, device=None, dtype=None):
    """A tensor of one number, for buffers."""
    shape = check_size(shape)
    dtype, device = dt.as_dtype("empty", dtype) or dt.get_default_dtype(), target_device(device)
    if device is devices.META:  # no memory, however large
        return from_host(np.broadcast_to(np.zeros((), dtype.numpy), shape), device)
    return from_host(np.full(shape, value, dtype.numpy), device)
