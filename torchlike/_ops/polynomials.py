"""Orthogonal polynomials of a run-time degree, by their three-term recurrences; no gradients."""

from __future__ import annotations

import jax.numpy as jnp

from torchlike._ops import loops
from torchlike._ops.bessel import refuse_half
from torchlike._ops.table import register


def _polynomial(name, first, step, closed=None, limits=None):
    """Register a family: its degree 1, its step from k - 1 and k to k + 1, its closed form.

    closed   (degree, x) -> (where it holds, its value); it bounds the length of the recurrence
    limits   largest degrees in single and double precision; beyond them PyTorch gives nan
    """

    def body(input, n):
        refuse_half(f"{name}_cpu", input)
        x, n = jnp.broadcast_arrays(input, n)
        degree = jnp.where(jnp.isfinite(n), n, -1).astype(jnp.int64)
        at, value = (False, x) if closed is None else closed(degree, x)
        steps = jnp.where(at, 0, degree)
        if limits is not None:
            beyond = degree > limits[x.dtype.itemsize == 8]
            steps = jnp.where(beyond, 0, steps)
        last = steps.max(initial=0)

        def advance(state):
            k, before, now = state
            after = step(k.astype(x.dtype), x, before, now)
            going = k < steps
            return k + 1, jnp.where(going, now, before), jnp.where(going, after, now)

        start = jnp.ones((), jnp.int64), jnp.ones_like(x), first(x)
        result = loops.while_loop(lambda state: state[0] < last, advance, start)[2]
        result = jnp.where(at, value, jnp.where(degree == 0, 1, result))
        if limits is not None:
            result = jnp.where(beyond, jnp.nan, result)
        return jnp.where(degree < 0, 0, result).astype(x.dtype)

    body.__doc__ = f"The {name.replace('_', ' ')} of degree n."
    full = f"special_{name}"
    register(full, body, promotes="float", differentiable=False,
             forms=("out",))  # fmt: skip


# ---- Chebyshev ---------------------------------------------------------------------------------
# Inside of (-1, 1) they are trigonometric functions of the angle a = acos(x) (Abramowitz and Stegun
# 22.3.15, 22.3.16); PyTorch takes these for degrees above a limit.


def _parity(degree):
    return jnp.where(degree % 2 == 0, 1, -1)


def _t(n, a):
    return jnp.cos(n * a)


def _u(n, a):
    return jnp.sin((n + 1) * a) / jnp.sin(a)


def _v(n, a):
    return jnp.cos((n + 0.5) * a) / jnp.cos(a / 2)


def _w(n, a):
    return jnp.sin((n + 0.5) * a) / jnp.sin(a / 2)


# Values at 1 and, up to the sign (-1) ** n, at -1.
_ENDS = {
    "t": (lambda n: 1, lambda n: 1),
    "u": (lambda n: n + 1, lambda n: n + 1),
    "v": (lambda n: 1, lambda n: n + n + 1),
    "w": (lambda n: n + n + 1, lambda n: 1),
}


def _chebyshev(kind, inside, first, above, shift):
    right, left = _ENDS[kind]
    place = (lambda x: x + x - 1) if shift else (lambda x: x)

    def closed(degree, x):
        x, n = place(x), degree.astype(x.dtype)
        open_ = (degree > above) & (jnp.abs(x) < 1)
        angle = jnp.arccos(jnp.where(open_, x, 0))
        ends = jnp.where(x == 1, right(n), _parity(degree) * left(n))
        return open_ | (jnp.abs(x) == 1), jnp.where(open_, inside(n, angle), ends)

    def advance(k, x, before, now):
        return 2 * place(x) * now - before

    name = f"{'shifted_' if shift else ''}chebyshev_polynomial_{kind}"
    _polynomial(name, lambda x: first(place(x)), advance, closed)


_chebyshev("t", _t, lambda x: x, 6, False)
_chebyshev("u", _u, lambda x: x + x, 8, False)
_chebyshev("v", _v, lambda x: x + x - 1, 8, False)
_chebyshev("w", _w, lambda x: x + x + 1, 8, False)
_chebyshev("t", _t, lambda x: x, 6, True)
_chebyshev("u", _u, lambda x: x + x, 6, True)
_chebyshev("v", _v, lambda x: x + x - 1, 6, True)
_chebyshev("w", _w, lambda x: x + x + 1, 4, True)


# ---- Hermite, Laguerre, Legendre ---------------------------------------------------------------

_HERMITE_LIMITS = (128, 512)

_polynomial("hermite_polynomial_h", lambda x: x + x,
            lambda k, x, before, now: 2 * (x * now - k * before),
            limits=_HERMITE_LIMITS)  # fmt: skip
_polynomial("hermite_polynomial_he", lambda x: x,
            lambda k, x, before, now: x * now - k * before,
            limits=_HERMITE_LIMITS)  # fmt: skip


def _laguerre_origin(degree, x):
    return x == 0, jnp.ones_like(x)


_polynomial("laguerre_polynomial_l", lambda x: 1 - x,
            lambda k, x, before, now: ((k + k + 1 - x) * now - k * before) / (k + 1),
            _laguerre_origin)  # fmt: skip


def _legendre_ends(degree, x):
    return jnp.abs(x) == 1, jnp.where(x > 0, 1, _parity(degree)).astype(x.dtype)


_polynomial("legendre_polynomial_p", lambda x: x,
            lambda k, x, before, now: ((k + k + 1) * x * now - k * before) / (k + 1),
            _legendre_ends)  # fmt: skip
