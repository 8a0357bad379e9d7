"""Convolutions of many kinds, forward and all gradients: PyTorch, XLA's own, and torchlike's forms.

    python benchmarks/convolutions.py [--only REGEX]

XLA's own is ``lax.conv_general_dilated`` as one would write it, with JAX's derivatives. All three
run in turn; torchlike's and XLA's are compiled by ``jax.jit``.
"""

from __future__ import annotations

import argparse
import re
from functools import partial

import jax
import torch
from jax import lax
from measure import busy, calls_for, in_turn, table

import torchlike
from ops import compiled, constant, derived, synchronously

# name: (input, weight, options of PyTorch's function, whether it is transposed)
CASES = {
    "depthwise 3x3": ((16, 64, 56, 56), (64, 1, 3, 3), {"padding": 1, "groups": 64}, False),
    "depthwise 5x5": ((16, 64, 56, 56), (64, 1, 5, 5), {"padding": 2, "groups": 64}, False),
    "1x1": ((16, 64, 56, 56), (32, 64, 1, 1), {}, False),
    "3x3": ((16, 64, 56, 56), (32, 64, 3, 3), {"padding": 1}, False),
    "3x3 without padding": ((64, 32, 26, 26), (64, 32, 3, 3), {}, False),
    "3x3, stride 2": ((16, 64, 56, 56), (64, 64, 3, 3), {"padding": 1, "stride": 2}, False),
    "4x4, stride 2": ((8, 16, 64, 64), (16, 16, 4, 4), {"padding": 1, "stride": 2}, False),
    "9x9, stride 2": ((4, 256, 20, 20), (256, 256, 9, 9), {"stride": 2}, False),
    "3x3, 4 groups": ((16, 64, 28, 28), (64, 16, 3, 3), {"padding": 1, "groups": 4}, False),
    "3x3x3": ((2, 16, 16, 16, 16), (16, 16, 3, 3, 3), {"padding": 1}, False),
    "5, of sequences": ((16, 64, 256), (64, 64, 5), {"padding": 2}, False),
    "transposed 4x4": ((8, 32, 16, 16), (32, 16, 4, 4), {"padding": 1, "stride": 2}, True),
}  # fmt: skip


def convolution(lib, rank: int, options: dict, transposed: bool):
    """The function of ``nn.functional``, of an input and a weight."""
    name = f"conv_transpose{rank}d" if transposed else f"conv{rank}d"
    return lambda x, w: getattr(lib.nn.functional, name)(x, w, **options)


def plain(rank: int, options: dict, transposed: bool):
    """The same in XLA's own form."""
    stride, pad = (options.get("stride", 1),) * rank, options.get("padding", 0)
    letters = "DHW"[3 - rank :]
    kinds = (f"NC{letters}", f"{'IO' if transposed else 'OI'}{letters}", f"NC{letters}")
    if not transposed:
        return lambda x, w: lax.conv_general_dilated(
            x, w, stride, [(pad, pad)] * rank, dimension_numbers=kinds,
            feature_group_count=options.get("groups", 1),
        )  # fmt: skip
    axes = tuple(range(2, 2 + rank))
    return lambda x, w: lax.conv_general_dilated(
        x, w[(..., *[slice(None, None, -1)] * rank)], (1,) * rank,
        [(k - 1 - pad, k - 1 - pad) for k in (w.shape[a] for a in axes)],
        lhs_dilation=stride, dimension_numbers=kinds,
    )  # fmt: skip


def jitted(function, arrays):
    """A call of a jitted function of the operands and a gradient: its result and its gradients."""

    def both(x, w, gradient):
        out, pull = jax.vjp(function, x, w)
        return out, *pull(gradient)

    return partial(jax.jit(both), *arrays)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="regular expression on the name")
    only = parser.parse_args().only
    lines = []
    for name, (shape, weight, options, transposed) in CASES.items():
        if not re.search(only, name):
            continue
        sides, rank, results = {}, len(shape) - 2, {}
        for lib in (torch, torchlike):
            op = convolution(lib, rank, options, transposed)
            operands = [constant(lib, shape), constant(lib, weight, 1)]
            operands.append(constant(lib, tuple(op(*operands).shape), 9))
            run = partial(derived, lib, op)
            run = partial(compiled(run) if lib is torchlike else run, *operands)
            sides[lib.__name__], results[lib.__name__] = synchronously(run), run()
        arrays = [x.jax() for x in operands]
        sides["XLA"] = synchronously(jitted(plain(rank, options, transposed), arrays))
        check(name, results["torch"], results["torchlike"])
        check(name, results["torch"], jitted(plain(rank, options, transposed), arrays)())
        ms = {k: 1e3 * s for k, s in in_turn(sides, calls_for(sides["torch"], 0.05), 9).items()}
        mine = ms["torchlike"]
        row = [name, "x".join(map(str, shape)), *(f"{ms[k]:.2f}" for k in ("torch", "XLA"))]
        row += [f"{mine:.2f}", f"**{mine / ms['torch']:.2f}**", f"{mine / ms['XLA']:.2f}"]
        lines.append((mine / ms["torch"], row))
    lines.sort(key=lambda line: -line[0])
    header = ["convolution", "input", "PyTorch, ms", "XLA's own", "torchlike", "/ PyTorch", "/ XLA"]
    print(table(header, [row for _, row in lines]))
    print(busy())


def check(name: str, theirs, ours) -> None:
    """Raise if the two sides have not computed the same."""
    for a, b in zip(theirs, ours, strict=True):
        b = torch.tensor(b.__array__())
        if not (a - b).norm() <= 1e-4 * a.norm():
            raise AssertionError(f"{name}: the results differ")


if __name__ == "__main__":
    main()
