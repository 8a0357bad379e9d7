"""Several modules, each with its inputs on its accelerator."""

from __future__ import annotations

from torchlike._tensor.tensor import Tensor
from torchlike.nn.parallel.comm import _accelerator

__all__ = ["get_a_var", "parallel_apply"]


def get_a_var(obj):
    """A tensor that is found in nested lists, tuples and dicts, or None."""
    if isinstance(obj, Tensor):
        return obj
    if isinstance(obj, dict):
        obj = list(obj.items())
    if isinstance(obj, (list, tuple)):
        return next((x for x in map(get_a_var, obj) if x is not None), None)
    return None


def parallel_apply(modules, inputs, kwargs_tup=None, devices=None):
    """Call each module with its inputs; the list of the results
    (https://pytorch.org/docs/stable/generated/torch.nn.parallel.parallel_apply.html).

    The calls are recorded one after the other; on different devices they run at the same time.
    """
    if len(modules) != len(inputs):
        raise AssertionError(
            f"The number of modules {len(modules)} is not equal to the number of inputs "
            f"{len(inputs)}"
        )
    if kwargs_tup is None:
        kwargs_tup = ({},) * len(modules)
    elif len(modules) != len(kwargs_tup):
        raise AssertionError(
            f"The number of modules {len(modules)} is not equal to the number of kwargs "
            f"{len(kwargs_tup)}"
        )
    _accelerator(0)  # raises where there is none
    if devices is not None and len(modules) != len(devices):
        raise AssertionError(
            f"The number of modules {len(modules)} is not equal to the number of devices "
            f"{len(devices)}"
        )
    out = []
    for module, args, kwargs in zip(modules, inputs, kwargs_tup, strict=True):
        args = args if isinstance(args, (list, tuple)) else (args,)
        out.append(module(*args, **kwargs))
    return out
