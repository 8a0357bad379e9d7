"""Fractional max pools of ``torch.nn.functional``."""

from __future__ import annotations

from torchlike._ops.table import TABLE
from torchlike._tensor.dispatch import apply
from torchlike._tensor.forms import FUNCTIONS

_POOL = TABLE["fractional_max_pool"]


def _each(value, rank, name, what) -> tuple:
    if isinstance(value, int):
        return (value,) * rank
    value = tuple(value)
    if len(value) not in (1, rank):
        raise RuntimeError(f"{name}: {what} must either be a single Int or tuple of Ints")
    return value * rank if len(value) == 1 else value


def _pools(rank):
    name = f"fractional_max_pool{rank}d"

    def with_indices(
        input, kernel_size, output_size=None, output_ratio=None, return_indices: bool = False,
        _random_samples=None,
    ):  # fmt: skip
        shape = input._value.aval.shape
        if output_size is None:
            if output_ratio is None:
                raise ValueError(
                    f"{name} requires specifying either an output_size or an output_ratio"
                )
            if len(output_ratio) > rank:
                raise ValueError(
                    f"{name} requires output_ratio to either be a single Int or tuple of Ints."
                )
            output_size = [
                int(n * r) for n, r in zip(shape[-rank:], _each(output_ratio, rank, name, "ratio"))
            ]
        if _random_samples is None:
            batch = 1 if len(shape) == rank + 1 else shape[0]
            _random_samples = FUNCTIONS["rand"](
                batch, shape[-rank - 1], rank, dtype=input.dtype, device=input.device
            )
        sizes = (
            _each(kernel_size, rank, name, "kernel_size"),
            _each(output_size, rank, name, "output_size"),
        )
        return apply(_POOL, (input, _random_samples.detach()), (*sizes, rank))

    def pool(
        input, kernel_size, output_size=None, output_ratio=None, return_indices: bool = False,
        _random_samples=None,
    ):  # fmt: skip
        found = with_indices(
            input, kernel_size, output_size, output_ratio, return_indices, _random_samples
        )
        return found if return_indices else found[0]

    doc = "maxima of windows that begin at steps drawn at random"
    pool.__name__ = pool.__qualname__ = name
    pool.__doc__ = f"The {doc}."
    with_indices.__name__ = with_indices.__qualname__ = f"{name}_with_indices"
    with_indices.__doc__ = f"The {doc}, and their places."
    return pool, with_indices


fractional_max_pool2d, fractional_max_pool2d_with_indices = _pools(2)
fractional_max_pool3d, fractional_max_pool3d_with_indices = _pools(3)
