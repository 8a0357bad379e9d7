"""PyTorch's drawing functions: on the CPU numbers are drawn on the host, elsewhere by ops."""

from __future__ import annotations

import contextlib
import math
import threading

import numpy as np

from torchlike._core import devices
from torchlike._core import dtypes as dt
from torchlike._core.errors import NotSupported, NotTraceable, type_name
from torchlike._core.streams import HostStream
from torchlike._core.symbolic import tracing, whole
from torchlike._engine.prefix import local
from torchlike._engine.values import Value, aval
from torchlike._ops.table import TABLE, check_broadcast
from torchlike._tensor import dispatch, levels, views
from torchlike._tensor.creation import (
    as_leaf,
    check_size,
    empty,
    from_host,
    make,
    refuse_unknown,
    target_device,
)
from torchlike._tensor.dispatch import apply, aval_of
from torchlike._tensor.forms import FUNCTIONS, function, method
from torchlike._tensor.generators import generator_of
from torchlike._tensor.modes import modes
from torchlike._tensor.size_arguments import integer, is_integer, lone_keyword

# ---- drawing -----------------------------------------------------------------------------------


def draw(size, dtype, device, generator, host, op_name, numbers=()):
    """A tensor of draws: ``host(stream)`` on the CPU, the recorded op elsewhere."""
    if modes.levels:
        return levels.drawn(draw, size, dtype, device, generator, host, op_name, numbers)
    if device is devices.META:
        return dispatch.wrap(Value(aval(tuple(size), dtype, device)))
    generator = generator_of(device, generator, noted=True)
    if generator.stream is not None:
        return _from_stream(generator, host)
    if tracing.scope is not None:
        drawn = tracing.scope.drawn_numbers(generator)
        return make(op_name, (*drawn, *numbers), (tuple(size), dtype), device)
    drawn = _next_numbers(generator)
    return make(op_name, (*drawn, *numbers), (tuple(size), dtype), device)


def _next_numbers(generator) -> tuple[int, int]:
    """(seed, offset) of a draw on an accelerator."""
    if local.capture is None and not draws.noted:
        return generator.next_numbers()
    last: list = []

    def draw_again():
        last[:] = generator.next_numbers()
        return tuple(last)

    def take(again=draw_again):
        if local.capture is not None:
            local.capture.numbers(again, (int, int))
        return again()

    return _drawn(take, lambda: take(lambda: tuple(last)))


def _from_stream(generator, host):
    """A tensor of what ``host`` draws from a generator of the CPU."""
    if tracing.scope is not None:
        return tracing.scope.drawn(generator, host)
    draw_array = lambda: np.asarray(host(generator.stream))  # noqa: E731
    if local.capture is None and not draws.noted:
        return from_host(draw_array(), devices.CPU)
    made: list = []

    def take():
        out = from_host(draw_array(), devices.CPU)
        if local.capture is not None:
            local.capture.draw(out._value, draw_array)
        made.append(out._value)
        return out

    return _drawn(take, lambda: dispatch.wrap(*made))


# ---- drawing the same once more ----------------------------------------------------------------


class Draws(threading.local):
    """What parts of a call that is recorded draw, for those parts to run again with the same.

    A generator's state would not do: in a replay it is another one.
    """

    def __init__(self):
        self.keeping: tuple = ()
        self.repeating = None

    @property
    def noted(self) -> bool:
        """Whether somebody notes the draws, or has them repeated."""
        return self.repeating is not None or bool(self.keeping)

    @contextlib.contextmanager
    def kept(self, into: list):
        """Within: every draw is noted in ``into``, too."""
        before, self.keeping = self.keeping, (*self.keeping, into)
        try:
            yield
        finally:
            self.keeping = before

    @contextlib.contextmanager
    def repeated(self, made: list):
        """Within: the draws are those that were noted, in their order."""
        before, self.repeating = self.repeating, iter(made)
        try:
            yield
        finally:
            self.repeating = before


draws = Draws()


def _drawn(take, take_again):
    """A draw: a new one, or the next of those that were noted."""
    if draws.repeating is not None:
        take = take_again = next(draws.repeating, None)
        if take is None:
            raise NotTraceable("drawing more random numbers when it runs again")
    for made in draws.keeping:
        made.append(take_again)
    return take()


def along_memory(tensor, make):
    """``make(shape)``, laid out like the tensor's memory, which PyTorch fills in order."""
    tensor._refresh()
    shape, order = tensor._value.aval.shape, views.memory_order(tensor)
    if order is None:
        return make(shape)
    back = sorted(range(len(order)), key=order.__getitem__)
    return make(tuple([shape[d] for d in order])).permute(back)


def _float_dtype(name, dtype):
    d = dt.as_dtype(name, dtype) or dt.get_default_dtype()
    if d.category < dt.FLOATING:
        raise NotImplementedError(f"\"{name}\" not implemented for '{dt.SCALAR_NAMES[d]}'")
    return d


def _finish(out, result, requires_grad, layout=None, name="rand"):
    refuse_unknown(name, {"layout": layout})
    return as_leaf(result, requires_grad) if out is None else levels.copy_drawn(out, result)


@function()
def rand(*size, generator=None, out=None, dtype=None, device=None, requires_grad=False,
         layout=None, pin_memory=False, names=None, **named):  # fmt: skip
    """Uniform numbers in [0, 1)."""
    size = check_size((lone_keyword("rand", "size", named),) if named else size, "rand")
    d = _float_dtype("check_uniform_bounds", dtype or (out.dtype if out is not None else None))
    t = draw(
        size, d, target_device(device), generator, lambda s: s.rand(size, d.numpy), "draw_uniform"
    )
    return _finish(out, t, requires_grad, layout, "rand")


@function()
def randn(*size, generator=None, out=None, dtype=None, device=None, requires_grad=False,
          layout=None, pin_memory=False, names=None, **named):  # fmt: skip
    """Standard normal numbers."""
    size = check_size((lone_keyword("randn", "size", named),) if named else size, "randn")
    d = _float_dtype("normal_kernel_cpu", dtype or (out.dtype if out is not None else None))
    t = draw(
        size, d, target_device(device), generator, lambda s: s.randn(size, d.numpy), "draw_normal"
    )
    return _finish(out, t, requires_grad, layout, "randn")


@function()
def randint(*args, generator=None, out=None, dtype=None, device=None, requires_grad=False,
            layout=None, pin_memory=False, **named):  # fmt: skip
    """Integers in [low, high): ``randint(high, size)`` or ``randint(low, high, size)``."""
    args = list(args)
    size = named.pop("size", None)
    if size is None:
        if not args:
            raise TypeError("randint() missing argument 'size'")
        size = args.pop()
    low = named.pop("low", None)
    high = named.pop("high", None)
    if low is None and (len(args) == 2 or (len(args) == 1 and high is not None)):
        low = args.pop(0)
    if high is None:
        if not args:
            raise TypeError("randint() missing argument 'high'")
        high = args.pop(0)
    low = 0 if low is None else integer("randint", "low", 1, low, True)
    high = integer("randint", "high", 1, high, True)
    if named:
        raise TypeError(f"randint() got an unexpected keyword argument '{next(iter(named))}'")
    size = check_size((size,) if isinstance(size, (tuple, list)) else ((size,),))
    if low >= high:
        raise RuntimeError(
            f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}"
        )
    d = dt.as_dtype("randint", dtype) or (out.dtype if out is not None else dt.int64)
    device = target_device(device)
    t = draw(
        size, d, device, generator,
        lambda s: s.randint(low, high, size, d.numpy), "draw_integers", (low, high),
    )  # fmt: skip
    return _finish(out, t, requires_grad, layout, "randint")


@function()
def randperm(n: int, *, generator=None, out=None, dtype=dt.int64, device=None, requires_grad=False,
             layout=None, pin_memory=False):  # fmt: skip
    """A random permutation of 0 to n - 1."""
    n = integer("randperm", "n", 1, n, True)
    if n < 0:
        raise RuntimeError(f"n must be non-negative, got{n}")
    dtype = dt.as_dtype("randperm", dtype) if out is None else out.dtype
    t = draw((n,), dtype, target_device(device), generator,
             lambda s: s.randperm(n, dtype.numpy), "draw_permutation")  # fmt: skip
    return _finish(out, t, requires_grad, layout, "randperm")


def _like(name, maker):
    def like(input, *args, dtype=None, device=None, requires_grad=False, generator=None,
             memory_format=None, layout=None, pin_memory=False, **named):  # fmt: skip
        if input._sparse:
            raise NotSupported(f"{name} of a sparse tensor", "use x.to_dense()")
        options = {"dtype": dtype or input.dtype, "device": device or input.device, **named}
        if maker is randn and views.memory_order(input) is not None:
            out = along_memory(input, lambda shape: empty(shape, **options)).normal_(
                generator=generator
            )
        else:
            out = along_memory(
                input, lambda shape: maker(*args, size=shape, generator=generator, **options)
            )
        return _finish(None, out.detach(), requires_grad, layout, name)

    like.__name__ = name
    like.__doc__ = f"``{maker.__name__}`` in the shape, dtype and device of a tensor."
    return function(name)(like)


rand_like = _like("rand_like", rand)
randn_like = _like("randn_like", randn)
randint_like = _like("randint_like", randint)


@function()
def normal(mean, std=1.0, size=None, *, generator=None, out=None, dtype=None, device=None,
           requires_grad=False, layout=None, pin_memory=False):  # fmt: skip
    """Normal numbers; mean and std are numbers (with ``size``) or tensors."""
    tensors = levels.tensors_of_draw(mean, std)
    if not tensors:
        if size is None:
            raise TypeError(
                "normal() received an invalid combination of arguments - got "
                f"({type(mean).__name__}, {type(std).__name__}), but a size is missing"
            )
        size = check_size((size,))
        _check_std(std)
        d = _float_dtype("normal_kernel_cpu", dtype)
        t = draw(size, d, target_device(device), generator,
                 lambda s: s.normal(size, mean, std, d.numpy), "draw_normal")  # fmt: skip
        if t.device is not devices.CPU and t.device is not devices.META:
            t = t * std + mean
        return _finish(out, t, requires_grad, layout, "normal")
    first = tensors[0]
    if isinstance(std, dispatch._Tensor):
        if std.dtype.is_complex:
            raise RuntimeError("normal expects standard deviation to be non-complex")
        levels.check_std(std)
    else:
        _check_std(std)
    if first.device is devices.CPU and not modes.levels:
        if len(tensors) == 2:
            check_broadcast([x._value.aval for x in tensors])
        a, b = (x._host() if isinstance(x, dispatch._Tensor) else x for x in (mean, std))
        if np.any(np.asarray(b) < 0):
            raise RuntimeError("normal expects all elements of std >= 0.0")
        g = generator_of(devices.CPU, generator)
        t = from_host(np.asarray(g.stream.normal_arrays(a, b, first.dtype.numpy)), devices.CPU)
        if modes.grad and any(x.requires_grad for x in tensors):
            t = apply(TABLE["drawn_normal"], (t, *tensors, None)[:3])
        return _finish(out, t, requires_grad, layout, "normal")
    shape = (mean * std if len(tensors) == 2 else first).shape
    d = first.dtype
    t = draw(shape, d, first.device, generator, lambda s: s.randn(shape, d.numpy), "draw_normal")
    t = t * std + mean
    return _finish(out, t, requires_grad, layout, "normal")


def _check_std(std):
    if std < 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {float(std):g}")


@function()
def bernoulli(input, p=None, *, generator=None, out=None):
    """0 or 1 with the probabilities of the input (or ``p``)."""
    if input.dtype.category < dt.FLOATING and p is None:
        raise NotImplementedError(
            f"\"bernoulli_tensor_cpu_p_\" not implemented for '{dt.SCALAR_NAMES[input.dtype]}'"
        )
    result = _bernoulli(input, p, generator, input.dtype)
    if modes.grad and input.requires_grad:
        result = apply(TABLE["drawn_bernoulli"], (result, input))
    return _finish(out, result, False)


def _bernoulli(input, p, generator, d):
    a = levels.tensors_of_draw(input, p)[0]._value.aval
    if p is not None and not isinstance(p, dispatch._Tensor):
        return bernoulli_mask(a.shape, p, d, a.device, generator)
    chances = input if p is None else p
    if local.capture is not None and a.device is devices.CPU and not modes.levels:
        chances = chances.detach()
        _state((chances >= 0) & (chances <= 1), _NO_CHANCE)
        kind = dt.float64 if chances.dtype is dt.float64 else dt.float32
        u = draw(a.shape, kind, a.device, generator, lambda s: s.rand(a.shape, kind.numpy), None)
        return (u < chances).to(d)
    host = levels.numbers_of(chances) if a.device is devices.CPU else None
    if host is not None and not (np.all(host >= 0) and np.all(host <= 1)):
        raise RuntimeError(_NO_CHANCE)
    if a.device is devices.CPU and not modes.levels:
        g = generator_of(a.device, generator)
        if p is not None and host.shape != a.shape:
            host = np.broadcast_to(host, a.shape)
        return from_host(np.asarray(g.stream.bernoulli(host, d.numpy)), devices.CPU)
    u = draw(a.shape, dt.float32, a.device, generator, lambda s: s.rand(a.shape), "draw_uniform")
    return (u < chances.detach()).to(d)


_NO_CHANCE = "Expected p_in >= 0 && p_in <= 1 to be true, but got false."


def _state(condition, text: str) -> None:
    """Let the program of a call that is recorded check what its numbers have to satisfy."""
    apply(TABLE["require"], (condition,), ("RuntimeError", text))


def bernoulli_mask(shape, p: float, dtype, device, generator=None):
    """A mask that is 1 with probability ``p``: what ``empty(shape).bernoulli_(p)`` draws."""
    if not 0 <= p <= 1:
        raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={p}")
    shape = tuple(shape)
    if device is devices.CPU and modes.levels:
        return draw(shape, dtype, device, generator,
                    lambda s: s.bernoulli_p(shape, p, dtype.numpy), None)  # fmt: skip
    if device is devices.CPU:
        g = generator_of(device, generator, noted=True)
        return _from_stream(g, lambda s: s.bernoulli_p(shape, p, dtype.numpy))
    u = draw(shape, dt.float32, device, generator, None, "draw_uniform")
    return u if device is devices.META else (u < p).to(dtype)


@function(method=True)
def multinomial(input, num_samples: int, replacement: bool = False, *, generator=None, out=None):
    """Indices drawn by the weights of each row."""
    a = aval_of(input)
    if a.ndim not in (1, 2):
        raise RuntimeError("prob_dist must be 1 or 2 dim")
    if a.dtype.category != dt.FLOATING:
        raise RuntimeError(
            f"multinomial only supports floating-point dtypes for input, got: "
            f"{dt.SCALAR_NAMES[a.dtype]}"
        )
    if replacement.__class__ is not bool:
        raise TypeError(
            "multinomial(): argument 'replacement' (position 3) must be bool, not "
            f"{type_name(replacement)}"
        )
    if num_samples <= 0:
        raise RuntimeError("cannot sample n_sample <= 0 samples")
    if not a.shape[-1]:
        raise RuntimeError("cannot sample from an empty set of categories")
    if not replacement and num_samples > a.shape[-1]:
        raise RuntimeError(
            "cannot sample n_sample > prob_dist.size(-1) samples without replacement"
        )
    if modes.levels and a.device is devices.CPU:

        def rows(weights):
            flat = weights.reshape(-1, a.shape[-1]) if weights.ndim > 2 else weights
            drawn = multinomial(flat, num_samples, replacement, generator=generator)
            return drawn.reshape((*weights.shape[:-1], num_samples))

        return _finish(out, levels.drawn_of(rows, input.detach()), False)
    if a.device is devices.CPU:
        if out is not None and out.dtype is not dt.int64:
            kind = dt.SCALAR_NAMES[out.dtype]
            raise RuntimeError(f"multinomial expects Long tensor out, got: {kind}")
        if local.capture is not None and a.numel and (num_samples == 1 or not replacement):
            return _finish(out, _first_to_ring(input.detach(), num_samples, generator), False)
        g = generator_of(a.device, generator)
        drawn = g.stream.multinomial(np.asarray(input._host()), num_samples, replacement)
        return _finish(out, from_host(np.asarray(drawn), devices.CPU), False)
    weights = input.detach().float()
    if replacement:
        cdf = weights.cumsum(-1)
        u = draw(
            (*a.shape[:-1], num_samples), dt.float32, a.device, generator, None, "draw_uniform"
        )
        at = (cdf.unsqueeze(-2) <= (u * cdf[..., -1:]).unsqueeze(-1)).sum(-1)
        return _finish(out, at, False)
    u = draw(a.shape, dt.float32, a.device, generator, None, "draw_uniform")
    scores = weights / -(1 - u).log()
    return _finish(out, scores.topk(num_samples, -1)[1], False)


def _first_to_ring(weights, num_samples: int, generator):
    """What the stream's ``multinomial`` gives, as ops: its draws do not depend on the weights."""
    a = weights._value.aval
    _state(
        (weights >= 0) & (weights < math.inf),
        "probability tensor contains either `inf`, `nan` or element < 0",
    )
    _state((weights > 0).any(-1), "invalid multinomial distribution (sum of probabilities <= 0)")
    rings = lambda s: s.exponential(a.shape, 1.0, a.dtype.numpy)  # noqa: E731
    scores = weights / draw(a.shape, a.dtype, a.device, generator, rings, None)
    if num_samples == 1:
        return scores.argmax(-1, True)
    return scores.argsort(-1, descending=True, stable=True)[..., :num_samples]


# ---- in place ----------------------------------------------------------------------------------


def _refill(t, host, op_name, generator, after=None, numbers=()):
    """Overwrite a tensor by a draw of its own shape and dtype."""
    dispatch.check_inplace(t)
    views.check_overlap(t)  # before anything is drawn
    a = t._value.aval
    # Ops draw geometric numbers for integers, too.
    dtype = dt.float32 if a.dtype.category < dt.FLOATING and after is not None else a.dtype
    new = along_memory(t, lambda shape: draw(
        shape, dtype, a.device, generator, lambda s: host(s, shape), op_name, numbers
    ))  # fmt: skip
    if after is not None and a.device is not devices.CPU and a.device is not devices.META:
        new = after(new).to(a.dtype)
    t.detach()._refresh()
    return dispatch.rebind(t, dispatch.fit(t, new.detach()))


@method("uniform_")
def uniform_(self, from_: float = 0, to: float = 1, *, generator=None, **named):
    """Overwrite with uniform numbers in [from, to)."""
    low = float(lone_keyword("uniform_", "from", named) if named else from_)
    a = self._value.aval
    if a.dtype.is_complex:
        FUNCTIONS["view_as_real"](self).uniform_(low, to, generator=generator)
        return self
    if a.dtype.category < dt.FLOATING:
        raise NotImplementedError(
            f"\"check_uniform_bounds\" not implemented for '{dt.SCALAR_NAMES[a.dtype]}'"
        )
    if low > to:
        raise RuntimeError(
            f"uniform_ expects to return a [from, to) range, but found from={low:g} > to={to:g}"
        )
    return _refill(
        self, lambda s, shape: s.uniform(shape, low, float(to), a.dtype.numpy), "draw_uniform",
        generator, lambda t: t * (to - low) + low,
    )  # fmt: skip


@method("normal_")
def normal_(self, mean: float = 0, std: float = 1, *, generator=None):
    """Overwrite with normal numbers."""
    mean, std = _real("mean", mean), _real("std", std)
    _check_std(std)
    a = aval_of(self)
    if a.dtype.is_complex:
        parts = FUNCTIONS["view_as_real"](self)
        parts.normal_(mean, std / math.sqrt(2), generator=generator)
        return self
    if a.dtype.category < dt.FLOATING:
        raise NotImplementedError(
            f"\"normal_kernel_cpu\" not implemented for '{dt.SCALAR_NAMES[a.dtype]}'"
        )
    serial = not self.is_contiguous()
    return _refill(
        self, lambda s, shape: s.normal(shape, mean, std, a.dtype.numpy, serial=serial),
        "draw_normal", generator, lambda t: t * std + mean,
    )  # fmt: skip


@method("random_")
def random_(self, from_=None, to=(), *, generator=None, **named):
    """Overwrite with integers: in [from, to), [0, to), or up to the dtype's largest number."""
    low, high = lone_keyword("random_", "from", named) if named else from_, to
    if to == ():  # none was given; ``None`` is "up to the largest"
        low, high = (low, None) if named else (None, low)
    if not all(x is None or is_integer(x) for x in (low, high)):
        raise TypeError("random_() received an invalid combination of arguments - got (no integer)")
    low, high = (x if x is None else whole(x) for x in (low, high))
    a = self._value.aval
    if a.dtype.is_complex:
        kind = dt.SCALAR_NAMES[a.dtype]
        raise NotImplementedError(f"\"random_kernel_cpu\" not implemented for '{kind}'")
    if high is None:
        top = 2**53 if a.dtype is dt.float64 else 2**24 if a.dtype.category == dt.FLOATING else (
            2 if a.dtype is dt.bool_ else np.iinfo(a.dtype.numpy).max)  # fmt: skip
        return _refill(self, lambda s, shape: s.random(shape, a.dtype.numpy, low), "draw_integers",
                       generator, numbers=(low or 0, int(top)))  # fmt: skip
    low = low or 0
    if low >= high:
        raise RuntimeError(
            f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}"
        )
    return _refill(
        self, lambda s, shape: s.randint(low, high, shape, a.dtype.numpy), "draw_integers",
        generator, numbers=(low, high),
    )  # fmt: skip


@method("bernoulli_")
def bernoulli_(self, p=0.5, *, generator=None):
    """Overwrite with 0 or 1, 1 with probability ``p`` (a number or a tensor)."""
    dispatch.check_inplace(self)
    draw = lambda shape: bernoulli_mask(shape, p, self.dtype, self.device, generator)  # noqa: E731
    if isinstance(p, dispatch._Tensor):
        if self.dtype.is_complex:
            raise NotImplementedError(
                '"bernoulli_tensor_cpu_self_" not implemented for '
                f"'{dt.SCALAR_NAMES[self.dtype]}'"
            )
        new = _bernoulli(self, p, generator, self.dtype)
    else:
        new = along_memory(self, draw)
    return dispatch.rebind(self, dispatch.fit(self, new))


@method("bernoulli")
def bernoulli_method(self, p=None, *, generator=None):
    """0 or 1 with the probabilities of the tensor (or ``p``)."""
    return bernoulli(self, p, generator=generator)


def _real(parameter: str, x) -> float:
    """A number for a draw; what is none raises before anything is drawn."""
    if isinstance(x, dispatch._Tensor) and not x.ndim and not x.requires_grad:
        x = x.item()
    if isinstance(x, (int, float, np.floating, np.integer)):
        return x
    raise TypeError(f"argument '{parameter}' must be float, not {type_name(x)}")


def _filler(name, host, op_name, after):
    """The method that overwrites by ``host`` of the CPU's stream, elsewhere by ``after`` of an op's
    draws; both take the numbers that the method is given."""
    names = host.__code__.co_varnames[3 : host.__code__.co_argcount]

    def fill(self, *args, generator=None, **named):
        a = self._value.aval
        dtype = a.dtype
        args = [_real(key, x) for key, x in zip(names, args, strict=False)]
        named = {key: _real(key, x) for key, x in named.items()}
        if a.device is not devices.CPU:  # no stream is asked, which raises for wrong numbers
            host(HostStream(0), (0,), dtype.numpy, *args, **named)
        return _refill(
            self, lambda s, shape: host(s, shape, dtype.numpy, *args, **named), op_name, generator,
            lambda t: after(t, *args, **named),
        )  # fmt: skip

    fill.__name__ = name
    fill.__doc__ = f"Overwrite with draws, see ``torch.Tensor.{name}``."
    method(name)(fill)


_filler(
    "exponential_", lambda s, shape, d, lambd=1.0: s.exponential(shape, lambd, d),
    "draw_exponential", lambda t, lambd=1.0: t / lambd,
)  # fmt: skip
_filler(
    "geometric_", lambda s, shape, d, p: s.geometric(shape, p, d),
    "draw_exponential", lambda t, p: (t / -math.log1p(-p)).ceil(),
)  # fmt: skip
_filler(
    "cauchy_", lambda s, shape, d, median=0.0, sigma=1.0: s.cauchy(shape, median, sigma, d),
    "draw_cauchy", lambda t, median=0.0, sigma=1.0: t * sigma + median,
)  # fmt: skip
_filler(
    "log_normal_", lambda s, shape, d, mean=1.0, std=2.0: s.log_normal(shape, mean, std, d),
    "draw_normal", lambda t, mean=1.0, std=2.0: (t * std + mean).exp(),
)  # fmt: skip
