"""Arguments split over accelerators and results joined, through tuples, lists and dicts."""

from __future__ import annotations

from torchlike._tensor.tensor import Tensor
from torchlike.nn.parallel import comm

__all__ = ["gather", "scatter", "scatter_kwargs"]


def _is_namedtuple(x) -> bool:
    return isinstance(x, tuple) and hasattr(x, "_fields")


def scatter(inputs, target_gpus, dim=0):
    """For each accelerator the tensors' slices along ``dim``, and all else as it is
    (https://pytorch.org/docs/stable/generated/torch.nn.parallel.scatter.html)."""
    targets = [d if isinstance(d, int) else comm._accelerator(d) for d in target_gpus]

    def split(x):
        if isinstance(x, Tensor):
            return comm.scatter(x, targets, None, dim)
        if _is_namedtuple(x):
            return [type(x)(*part) for part in zip(*map(split, x), strict=False)]
        if isinstance(x, (tuple, list)) and x:
            return [type(x)(part) for part in zip(*map(split, x), strict=False)]
        if isinstance(x, dict) and x:
            parts = zip(*(split(v) for v in x.values()), strict=False)
            return [type(x)(zip(x, part, strict=True)) for part in parts]
        return [x for _ in targets]

    return split(inputs)


def scatter_kwargs(inputs, kwargs, target_gpus, dim=0):
    """Positional and keyword arguments scattered: a tuple of each, of one length."""
    args = scatter(inputs, target_gpus, dim) if inputs else []
    named = scatter(kwargs, target_gpus, dim) if kwargs else []
    args = [*args, *([()] * (len(named) - len(args)))]
    named = [*named, *({} for _ in range(len(args) - len(named)))]
    return tuple(args), tuple(named)


def gather(outputs, target_device, dim=0):
    """Results of several accelerators joined along ``dim`` on one device (-1: the CPU)
    (https://pytorch.org/docs/stable/generated/torch.nn.parallel.gather.html)."""
    target = "cpu" if target_device == -1 else target_device

    def join(parts):
        first = parts[0]
        if isinstance(first, Tensor):
            return comm.gather(parts, dim, target)
        if first is None:
            return None
        if isinstance(first, dict):
            if any(len(p) != len(first) for p in parts):
                raise ValueError("All dicts must have the same number of keys")
            return type(first)((k, join([p[k] for p in parts])) for k in first)
        joined = map(join, zip(*parts, strict=True))
        return type(first)(*joined) if _is_namedtuple(first) else type(first)(joined)

    return join(outputs)
