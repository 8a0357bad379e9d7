"""Draws by tensors of parameters, gamma's and Dirichlet's with gradients, and those of
``torch.distributions``."""

from __future__ import annotations

import numpy as np

from torchlike._core import devices
from torchlike._core import dtypes as dt
from torchlike._core.errors import NotSupported
from torchlike._ops.table import TABLE
from torchlike._tensor import dispatch, levels
from torchlike._tensor.creation import from_host, make
from torchlike._tensor.dispatch import apply, into
from torchlike._tensor.forms import FUNCTIONS, function
from torchlike._tensor.generators import generator_of
from torchlike._tensor.modes import modes
from torchlike._tensor.products import need_tensor
from torchlike._tensor.random import draw


def _drawn(name: str, operands, generator, host):
    """Draws for tensors of parameters: on the CPU by its stream, elsewhere by the recorded op."""
    operands = [x.detach() for x in operands]
    device = operands[0].device
    if modes.levels:
        own = [x.detach() for x in operands]
        return levels.drawn_of(lambda *samples: _drawn(name, samples, generator, host), *own)
    if any(dispatch.value_of(x).is_traced() for x in operands):
        raise NotSupported(
            f"{name} draws inside JAX's transformations",
            "draw before, and pass the samples in",
        )
    generator = generator_of(device, generator)
    if generator.stream is None:
        return make(f"draw_{name}", (*generator.next_numbers(), *operands), (), device)
    arrays = [np.asarray(x._host()) for x in operands]
    return from_host(np.asarray(host(generator.stream, *arrays)), devices.CPU)


def _need_floating(name: str, t) -> None:
    if t.dtype.category != dt.FLOATING:
        raise NotImplementedError(f"\"{name}\" not implemented for '{dt.SCALAR_NAMES[t.dtype]}'")


@function()
def _standard_gamma(self, generator=None):
    """Gamma samples of scale 1, differentiable by the concentration ``self``."""
    need_tensor("_standard_gamma", "self", 1, self)
    _need_floating("gamma_cpu", self)
    sample = _drawn("gamma", (self,), generator, lambda s, a: s.standard_gamma(a))
    return apply(TABLE["standard_gamma"], (self, sample))


@function()
def _sample_dirichlet(self, generator=None):
    """Dirichlet samples along the last dimension of the concentrations ``self``."""
    need_tensor("_sample_dirichlet", "self", 1, self)
    _need_floating("dirichlet", self)
    sample = _drawn("dirichlet", (self,), generator, lambda s, a: s.dirichlet(a))
    return apply(TABLE["dirichlet_sample"], (self, sample))


@function()
def poisson(input, generator=None):
    """Poisson samples of the rates."""
    need_tensor("poisson", "input", 1, input)
    return _drawn("poisson", (input,), generator, lambda s, rate: s.poisson(rate))


@function()
def binomial(count, prob, generator=None, *, out=None):
    """Successes in ``count`` trials of probability ``prob``, element by element."""
    need_tensor("binomial", "count", 1, count)
    need_tensor("binomial", "prob", 2, prob)
    if count.dtype is not prob.dtype:
        raise RuntimeError(f"expected scalar type {count.dtype} but found {prob.dtype}")
    count, prob = FUNCTIONS["broadcast_tensors"](count.detach(), prob.detach())
    return into(out, _drawn("binomial", (count, prob), generator, lambda s, n, p: s.binomial(n, p)))


def exponential(shape, dtype, device):
    """Standard exponential numbers: what ``empty(shape).exponential_()`` holds."""
    return draw(shape, dtype, device, None, lambda s: s.exponential(shape, 1.0, dtype.numpy),
                "draw_exponential")  # fmt: skip


def cauchy(shape, dtype, device):
    """Standard Cauchy numbers: what ``empty(shape).cauchy_()`` holds."""
    return draw(shape, dtype, device, None, lambda s: s.cauchy(shape, 0.0, 1.0, dtype.numpy),
                "draw_cauchy")  # fmt: skip


def uniform(shape, low: float, high: float, dtype, device):
    """Uniform numbers in [low, high): what ``empty(shape).uniform_(low, high)`` holds."""
    drawn = draw(
        shape, dtype, device, None, lambda s: s.uniform(shape, low, high, dtype.numpy),
        "draw_uniform",
    )  # fmt: skip
    if device is devices.META or generator_of(device, None).stream is not None:
        return drawn
    return apply(TABLE["add"], (drawn * (high - low), low, None))
