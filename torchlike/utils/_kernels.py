"""Which of PyTorch's kernels a call of ours stands for, forward and backward: what FLOPs come from.

A kernel is (name, arguments, result): PyTorch's name, and shapes where it would get tensors. Only
those that have a formula are told of: products of matrices, convolutions and attention.
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import numpy as np

from torchlike._ops.einsum import parse
from torchlike._ops.recurrent import GATES


class Kernel(NamedTuple):
    """One call of PyTorch's: ``name`` with ``args`` and ``kwargs``, whose result has ``shape``."""

    name: str
    args: tuple
    shape: tuple
    kwargs: dict = {}  # noqa: RUF012  (never written to)


class Product(NamedTuple):
    """A batch of products (m, k) x (k, n), and the operands whose gradients need more of them.

    left, right   positions of operands, or tuples of them: a gradient for any asks for this one
    left_rows     how many of the m rows get a gradient
    """

    forward: str
    batch: tuple
    m: int
    k: int
    n: int
    left: tuple = ()
    right: tuple = ()
    left_rows: int | None = None

    def kernel(self) -> Kernel:
        """The product itself."""
        return self._kernel(self.forward, self.m, self.k, self.n)

    def _kernel(self, name, m, k, n):
        left, right, out = (*self.batch, m, k), (*self.batch, k, n), (*self.batch, m, n)
        added = (out,) if name in ("aten.addmm", "aten.baddbmm") else ()
        return Kernel(name, (*added, left, right), out)

    def gradients(self, need) -> list[Kernel]:
        """The products that give the gradients of its operands."""
        name = "aten.bmm" if self.batch else "aten.mm"
        out = []
        if any(need[i] for i in self.left):
            rows = self.m if self.left_rows is None else self.left_rows
            if rows:
                out.append(self._kernel(name, rows, self.n, self.k))
        if any(need[i] for i in self.right):
            out.append(self._kernel(name, self.k, self.m, self.n))
        return out


# ---- products ----------------------------------------------------------------------------------
# Each: (shapes of the operands, statics by name, shapes of the results, the operands) -> products.


def _mm(s, statics, outs, operands):
    (m, k), (_, n) = s[:2]
    return [Product("aten.mm", (), m, k, n, (0,), (1,))]


def _bmm(s, statics, outs, operands):
    (b, m, k), n = s[0], s[1][2]
    return [Product("aten.bmm", (b,), m, k, n, (0,), (1,))]


def _addmm(s, statics, outs, operands):
    (m, k), (_, n) = s[1:3]
    return [Product("aten.addmm", (), m, k, n, (1,), (2,))]


def _baddbmm(s, statics, outs, operands):
    (b, m, k), n = s[1], s[2][2]
    return [Product("aten.baddbmm", (b,), m, k, n, (1,), (2,))]


def _addbmm(s, statics, outs, operands):
    (b, m, k), n = s[1], s[2][2]
    return [Product("", (b,), m, k, n, (1,), (2,))]  # PyTorch has no formula for the way forward


def _linear(s, statics, outs, operands):
    (*lead, k), n = s[0], s[1][0] if len(s[1]) > 1 else 1
    if len(s[1]) == 1:
        return []
    name = "aten.mm" if s[2] is None else "aten.addmm"
    return [Product(name, (), prod(lead), k, n, (0,), (1,))]


def _matmul(s, statics, outs, operands):
    a, b = s[:2]
    if len(b) == 1 or (len(a) == 1 and len(b) > 2) or not a:
        return []  # a product with a vector, for which PyTorch has no formula
    n = b[-1]
    if len(b) == 2:
        return [Product("aten.mm", (), prod(a[:-1]), a[-1], n, (0,), (1,))]
    batch = np.broadcast_shapes(a[:-2], b[:-2])
    return [Product("aten.bmm", (prod(batch),), a[-2], a[-1], n, (0,), (1,))]


def _inner(s, statics, outs, operands):
    a, b = s[:2]
    if len(a) < 1 or len(b) < 1 or (len(a) == 1 and len(b) == 1):
        return []
    return [Product("aten.mm", (), prod(a[:-1]), a[-1], prod(b[:-1]), (0,), (1,))]


def _tensordot(s, statics, outs, operands):
    a, b = s[:2]
    k = prod(a[d] for d in statics["dims_a"])
    if not k:
        return []
    return [Product("aten.mm", (), prod(a) // k, k, prod(b) // k, (0,), (1,))]


def _einsum(s, statics, outs, operands):
    """From left to right, as PyTorch goes where opt_einsum is not installed."""
    terms, result = parse(statics["equation"], [len(x) for x in s])
    sizes: dict = {}
    for term, shape in zip(terms, s, strict=True):
        for label, size in zip(term, shape, strict=True):
            sizes[label] = max(size, sizes.get(label, 1))
    current, sources, found = set(terms[0]), (0,), []
    for i in range(1, len(terms)):
        later = set(result).union(*terms[i + 1 :])
        left, right = current, set(terms[i])
        left = {x for x in left if x in later or x in right}  # the others are summed before
        right = {x for x in right if x in later or x in left}
        shared = left & right
        summed = {x for x in shared if x not in later}
        if summed:
            parts = shared - summed, left - shared, summed, right - shared
            count = [prod(sizes[x] for x in part) for part in parts]
            found.append(Product("aten.bmm", (count[0],), *count[1:], sources, (i,)))
        current, sources = (left | right) - summed, (*sources, i)
    return found


def _cell(gates: int, first_bias: int):
    def cell(s, statics, outs, operands):
        x, w_ih, w_hh, h = s[:4]
        width, rows = gates * (outs[0][-1]), prod(x[:-1])
        name = "aten.mm" if s[first_bias] is None else "aten.addmm"
        state = () if h is None else (3,)
        return [
            Product(name, (), rows, w_ih[1], width, (0,), (1,)),
            Product(name, (), rows, w_hh[1], width, state, (2,)),
        ]

    return cell


def _rnn_layer(s, statics, outs, operands):
    x, w_ih, w_hh, _, _, b_ih, _, w_hr = s[:8]
    steps, batch, _ = x
    rows, lengths = steps * batch, operands[8] if len(operands) > 8 else None
    host = None if lengths is None else getattr(lengths, "_value", lengths).array
    if isinstance(host, np.ndarray):
        rows = int(host.sum())
    width = w_hh[0]
    hidden = width // GATES[statics["mode"]]
    name = "aten.mm" if b_ih is None else "aten.addmm"
    below = (0, 1, 2, 3, 4, 5, 6, 7)  # all that a state after the first depends on
    out = [
        Product(name, (), rows, w_ih[1], width, (0,), (1,)),
        Product(name, (), rows, w_hh[1], width, below, (2,), left_rows=rows - batch),
    ]
    if w_hr is not None:
        out.append(Product("aten.mm", (), rows, hidden, w_hr[0], below, (7,)))
    return out


def _first_state(s, need) -> list[Kernel]:
    """What the gradient of a recurrent layer's first state takes."""
    if len(need) > 3 and need[3]:
        (_, batch, _), w_hh = s[0], s[2]
        return [Kernel("aten.mm", ((batch, w_hh[0]), w_hh), (batch, w_hh[1]))]
    return []


def _attention_products(s, statics, outs, operands):
    (*lead, q, d), k, v = s[0], s[1], s[2]
    batch = (prod(lead),)
    return [
        Product("aten.bmm", batch, q, d, k[-2], (0,), (1,)),
        Product("aten.bmm", batch, q, k[-2], v[-1], (0, 1), (2,)),
    ]


def _linear_cross_entropy(s, statics, outs, operands):
    (*lead, k), (n, _) = s[0], s[1]
    return [Product("aten.mm", (), prod(lead), k, n, (0,), (1,))]


_PRODUCTS = {
    "mm": _mm, "bmm": _bmm, "addmm": _addmm, "baddbmm": _baddbmm, "addbmm": _addbmm,
    "linear": _linear, "matmul": _matmul, "inner": _inner, "tensordot": _tensordot,
    "einsum": _einsum, "rnn_layer": _rnn_layer, "lstm_cell": _cell(4, 5), "gru_cell": _cell(3, 4),
    "rnn_tanh_cell": _cell(1, 4), "rnn_relu_cell": _cell(1, 4),
    "linear_cross_entropy": _linear_cross_entropy,
}  # fmt: skip


# ---- convolutions ------------------------------------------------------------------------------


def _convolution_arguments(s, statics, transposed: bool):
    x, weight, bias = s[0], s[1], s[2] if len(s) > 2 else None
    if len(x) == len(weight) - 1:
        x = (1, *x)
    rest = (
        statics["stride"], statics["padding"], statics["dilation"], transposed,
        statics.get("output_padding", (0,) * (len(x) - 2)), statics["groups"],
    )  # fmt: skip
    return x, weight, bias, rest


def _convolved(x, out):
    return out if len(out) == len(x) else (1, *out)


def _convolution(transposed: bool):
    def forward(s, statics, outs):
        x, weight, bias, rest = _convolution_arguments(s, statics, transposed)
        shape = _convolved(x, outs[0])
        return [Kernel("aten.convolution", (x, weight, bias, *rest), shape)]

    def backward(s, statics, outs, need):
        x, weight, bias, rest = _convolution_arguments(s, statics, transposed)
        mask = [need[0], need[1], len(need) > 2 and need[2]]
        args = (_convolved(x, outs[0]), x, weight, bias and [bias[0]], *rest, mask)
        shapes = tuple(
            shape if wanted else None for shape, wanted in zip((x, weight, bias), mask, strict=True)
        )
        return [Kernel("aten.convolution_backward", args, shapes)]

    return forward, backward


_CONVOLUTIONS = {"convolution": _convolution(False), "conv_transpose": _convolution(True)}


# ---- attention ---------------------------------------------------------------------------------
# PyTorch counts it as its kernel for GPUs, or, with dropout, as the two products on the CPU. Its
# kernel for CPUs has no formula: there it reports nothing.


def _full(shape):
    return (1,) * (4 - len(shape)) + shape


def _attention(s, statics, outs):
    if s[4] is not None:
        return [p.kernel() for p in _attention_products(s, statics, outs, ())]
    q, k, v = (_full(x) for x in s[:3])
    if k[1] != q[1]:  # grouped heads: as many as there are queries
        k, v = ((x[0], q[1], *x[2:]) for x in (k, v))
    return [Kernel("aten._scaled_dot_product_flash_attention", (q, k, v), (*q[:-1], v[-1]))]


def _attention_backward(s, statics, outs, need):
    if s[4] is not None:
        return [
            k for p in _attention_products(s, statics, outs, ()) for k in p.gradients(need)
        ]  # fmt: skip
    (forward,) = _attention(s, statics, outs)
    name = f"{forward.name}_backward"
    return [Kernel(name, (forward.shape, *forward.args), forward.args)]


# ---- all of them -------------------------------------------------------------------------------


def forward_kernels(op, shapes, statics, outs, operands) -> list[Kernel]:
    """The kernels of a call: an op, its operands' shapes (None for numbers), its statics, its
    results' shapes, and the operands."""
    name = op.name
    if name in _PRODUCTS:
        products = _PRODUCTS[name](shapes, _by_name(op, statics), outs, operands)
        return [p.kernel() for p in products if p.forward]
    if name in _CONVOLUTIONS:
        return _CONVOLUTIONS[name][0](shapes, _by_name(op, statics), outs)
    if name == "scaled_dot_product_attention":
        return _attention(shapes, statics, outs)
    return []


def backward_kernels(op, shapes, statics, outs, operands, need, grads) -> list[Kernel]:
    """The kernels that give the gradients of the operands that ``need`` marks, from those of the
    results (None: all are there)."""
    name = op.name
    if name in _PRODUCTS:
        products = _PRODUCTS[name](shapes, _by_name(op, statics), outs, operands)
        found = [k for p in products for k in p.gradients(need)]
        return found + _first_state(shapes, need) if name == "rnn_layer" else found
    if name in _CONVOLUTIONS:
        return _CONVOLUTIONS[name][1](shapes, _by_name(op, statics), outs, need)
    if name == "scaled_dot_product_attention":
        return _attention_backward(shapes, statics, outs, need)
    if op.forward is not None and op.forward.name in _PRODUCTS:
        return _second_order(op, statics[0], need, grads)
    return []


def _second_order(op, spec, need, grads) -> list[Kernel]:
    """For the derivative of a product: gl = g r', gr = l' g, which are products in turn."""
    shapes = [getattr(a, "shape", None) for a in spec.avals]
    count = len(shapes)
    first, second = need[:count], need[-spec.outs :]
    places = [i for i, wanted in enumerate(spec.need) if wanted]  # of the operands, per result
    there = {i for i, g in zip(places, grads or places) if g is not None}
    found = []
    for p in _PRODUCTS[op.forward.name](shapes, _by_name(op.forward, spec.statics), (), ()):
        for wanted, other in ((p.left, p.right), (p.right, p.left)):
            if any(i in there for i in wanted):
                times = any(first[i] for i in other) + any(second)
                found += [p._kernel("aten.bmm" if p.batch else "aten.mm", p.m, p.k, p.n)] * times
    return found


def _by_name(op, statics) -> dict:
    return {p.name: x for p, x in zip(op.statics, statics)}


KNOWN = frozenset((*_PRODUCTS, *_CONVOLUTIONS, "scaled_dot_product_attention"))
