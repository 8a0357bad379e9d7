"""Thirty single ops at three sizes, PyTorch and torchlike in turn; the worst ratio first.

    python benchmarks/ops.py [--only REGEX] [--forward] [--eager]

The same code on both sides, forward and backward with a given gradient where the op has one. On
torchlike's side it is ``torchlike.compile(mode="max-autotune")``; with ``--eager`` every call is
recorded and run. Each call is waited for.
"""

from __future__ import annotations

import argparse
import re
from functools import partial

import numpy as np
import torch
from measure import busy, calls_for, in_turn, table, wait

import torchlike

WIDE = ((64, 64), (512, 512), (2048, 2048))
ROWS = ((32, 64), (256, 1024), (4096, 1024))
IMAGES = ((1, 16, 14, 14), (8, 32, 28, 28), (16, 64, 56, 56))


def pointwise(name):
    """A function of one tensor, under the same name in both libraries."""
    return WIDE, lambda lib, shape: getattr(lib, name)


def method(name, *args, **named):
    """A method of one tensor."""
    return ROWS, lambda lib, shape: lambda x: getattr(x, name)(*args, **named)


def functional(name, shapes, *args, **named):
    """A function of ``nn.functional`` of one tensor."""
    return shapes, lambda lib, shape: lambda x: getattr(lib.nn.functional, name)(x, *args, **named)


def with_weights(name, shapes, weights, **named):
    """A function of ``nn.functional`` with further operands, of shapes that depend on the first."""

    def make(lib, shape):
        rest = [constant(lib, s, i + 1) for i, s in enumerate(weights(shape))]
        options = {k: v(shape) if callable(v) else v for k, v in named.items()}
        return partial(getattr(lib.nn.functional, name), **options), rest

    return shapes, make


def matrices(name, *more):
    """A function of the top level or ``linalg`` of symmetric, positive definite matrices."""

    def make(lib, shape):
        function = lib
        for part in name.split("."):
            function = getattr(function, part)
        shift = lib.eye(shape[-1]) * shape[-1]
        return lambda x: function(x @ x.mT + shift, *[m(lib, shape) for m in more])

    return ((8, 8), (64, 64), (256, 256)), make


def indexed(name):
    """Rows named by an index, read or added to."""

    def make(lib, shape):
        index = lib.arange(shape[0]).flip(0)
        if name == "index_select":
            return lambda x: x.index_select(0, index)
        return lambda x: lib.zeros_like(x).index_add(0, index, x)

    return ROWS, make


def attention(lib, shape):
    """Scaled dot-product attention of a tensor with two others of its shape."""
    attend = lib.nn.functional.scaled_dot_product_attention
    return partial(attend, is_causal=True), [constant(lib, shape, i) for i in (1, 2)]


def depthwise(n):
    """A convolution of each channel with an n by n kernel of its own."""
    return with_weights("conv2d", IMAGES, lambda s: [(s[1], 1, n, n)], padding=n // 2,
                        groups=lambda s: s[1])  # fmt: skip


OPS = {
    "exp": pointwise("exp"),
    "tanh": pointwise("tanh"),
    "sigmoid": pointwise("sigmoid"),
    "gelu": functional("gelu", WIDE),
    "add, mul": (WIDE, lambda lib, shape: lambda x: x * 2 + x),
    "where": (WIDE, lambda lib, shape: lambda x: lib.where(x > 0, x, x * 0.1)),
    "sum": method("sum", -1),
    "mean": method("mean", 0),
    "var": method("var", -1),
    "amax": method("amax", -1),
    "argmax": method("argmax", -1),
    "cumsum": method("cumsum", -1),
    "sort": (ROWS, lambda lib, shape: lambda x: x.sort(-1)[0]),
    "topk": (ROWS, lambda lib, shape: lambda x: x.topk(8, -1)[0]),
    "softmax": functional("softmax", ROWS, dim=-1),
    "layer_norm": (ROWS, lambda lib, shape: lambda x: lib.nn.functional.layer_norm(x, shape[-1:])),
    "matmul": (((64, 64), (256, 256), (1024, 1024)), lambda lib, shape: lambda x: x @ x),
    "bmm": (((8, 16, 16), (32, 64, 64), (64, 128, 128)), lambda lib, s: lambda x: x @ x),
    "linear": with_weights("linear", ROWS, lambda s: [(256, s[-1]), (256,)]),
    "conv2d 3x3": with_weights("conv2d", IMAGES, lambda s: [(32, s[1], 3, 3)], padding=1),
    "conv2d 1x1": with_weights("conv2d", IMAGES, lambda s: [(32, s[1], 1, 1)]),
    "depthwise conv2d 3x3": depthwise(3),
    "depthwise conv2d 5x5": depthwise(5),
    "max_pool2d": functional("max_pool2d", IMAGES, 2),
    "avg_pool2d": functional("avg_pool2d", IMAGES, 2),
    "interpolate": functional("interpolate", IMAGES, scale_factor=2, mode="bilinear"),
    "attention": (((1, 2, 16, 16), (4, 4, 64, 32), (4, 8, 256, 64)), attention),
    "index_select": indexed("index_select"),
    "index_add": indexed("index_add"),
    "cholesky": matrices("linalg.cholesky"),
    "solve": matrices("linalg.solve", lambda lib, shape: lib.ones(shape[0], 4)),
    "transpose, copy": (WIDE, lambda lib, shape: lambda x: x.t().contiguous()),
}


def constant(lib, shape, seed: int = 0):
    """The same numbers in both libraries."""
    numbers = np.random.default_rng(seed).standard_normal(shape, np.float32)
    return lib.tensor(numbers)


def body(lib, make, shape, forward: bool):
    """A function of the op's operands, and those: its result, and its gradients if it has any.

    Everything that is computed is an argument or a result, so that no compiler may leave it out.
    """
    made = make(lib, shape)
    op, rest = made if isinstance(made, tuple) else (made, [])
    operands = [constant(lib, shape), *rest]
    if not forward:
        out = op(*[x.detach().requires_grad_() for x in operands])
        if out.requires_grad:
            operands.append(constant(lib, tuple(out.shape), 9))
            return partial(derived, lib, op), operands
    return lambda *xs: [op(*xs)], operands


def derived(lib, op, *operands):
    """The result of an op and its gradients, the last operand being the gradient that arrives."""
    leaves = [x.detach().requires_grad_() for x in operands[:-1]]
    out = op(*leaves)
    return [out.detach(), *lib.autograd.grad(out, leaves, operands[-1])]


def synchronously(call):
    """PyTorch computes when called; torchlike's program is done when any of its results is."""

    def run():
        results = call()  # all of them are wanted, not only the one that is waited for
        wait(results[-1])

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="regular expression on the op's name")
    parser.add_argument("--forward", action="store_true", help="without backward")
    parser.add_argument("--eager", action="store_true", help="torchlike as it is, not compiled")
    options = parser.parse_args()
    lines = []
    for name, (shapes, make) in OPS.items():
        if not re.search(options.only, name):
            continue
        for shape in shapes:
            sides = {}
            for lib in (torch, torchlike):
                run, operands = body(lib, make, shape, options.forward)
                if lib is torchlike and not options.eager:
                    run = torchlike.compile(run, mode="max-autotune")
                sides[lib.__name__] = synchronously(partial(run, *operands))
            us = {k: 1e6 * s for k, s in in_turn(sides, calls_for(sides["torch"], 0.02)).items()}
            ratio = us["torchlike"] / us["torch"]
            size = "x".join(map(str, shape))
            row = [name, size, f"{us['torch']:.0f}", f"{us['torchlike']:.0f}", f"**{ratio:.2f}**"]
            lines.append((ratio, row))
    lines.sort(key=lambda line: -line[0])
    header = ["op", "input", "torch us", "torchlike us", "ratio"]
    print(table(header, [row for _, row in lines]))
    print(busy())


if __name__ == "__main__":
    main()
