"""Recurrent layers over whole sequences, single cells, and the gather that packs sequences."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from torchlike._core import dtypes as dt
from torchlike._ops import loops
from torchlike._ops.dims import surely
from torchlike._ops.table import Number, torch_dtype
from torchlike._ops.windows import layer, widen

GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}


def _times(a, b):
    """a @ b.T."""
    return lax.dot_general(a, b, (((1,), (1,)), ((), ())))


def _rows(x):
    """All steps and sequences as the rows of one matrix."""
    return x.reshape(-1, x.shape[-1])


def _check_dtypes(*pairs):
    for a, b in pairs:
        if a is not None and a.dtype != b.dtype:
            names = " and ".join(dt.SCALAR_NAMES[torch_dtype(x)] for x in (a, b))
            raise RuntimeError(f"mat1 and mat2 must have the same dtype, but got {names}")


# ---- one step ----------------------------------------------------------------------------------
# z is the input's part of the gates, biases included; u is w_hh.T, turned once outside of the scan
# (64 steps of the case below: 2.0 ms, 2.6 with w_hh). ``once`` gives its arrays back, computed once
# for all that read them. A step gives (h, c, what backward saves).


def _lstm_step(z, h, c, u, b_hh, w_hr, once):
    i, f, g, o = jnp.split(z + h @ u, 4, -1)
    i, f, g = once(lax.logistic(i), lax.logistic(f), jnp.tanh(g))
    o = lax.logistic(o)
    c = f * c + i * g
    h = o * jnp.tanh(c)
    if w_hr is not None:
        h = _times(h, w_hr)
    return h, c, (c, i, f, g, o)


def _gru_step(z, h, c, u, b_hh, w_hr, once):
    y = h @ u
    if b_hh is not None:
        y = y + b_hh
    (xr, xk, xn), (hr, hk, hn) = jnp.split(z, 3, -1), jnp.split(y, 3, -1)
    r, k = lax.logistic(xr + hr), lax.logistic(xk + hk)
    r, n = once(r, jnp.tanh(xn + r * hn))
    return (h - n) * k + n, c, (r, k, n, hn)


def _rnn_step(act, z, h, c, u, b_hh, w_hr, once):
    return act(z + h @ u), c, ()


_STEP = {
    "LSTM": _lstm_step,
    "GRU": _gru_step,
    "RNN_TANH": partial(_rnn_step, jnp.tanh),
    "RNN_RELU": partial(_rnn_step, lambda x: jnp.maximum(x, 0)),
}


_STORED = {"LSTM": 3, "GRU": 2}  # how many gates go through it


class _Stored:
    """Arrays that go through a small array which a loop carries from step to step.

    XLA for CPUs fuses what computes gates into all that reads them, through barriers too; a place
    that is only known at run time it does not look through. In ms, without gradients, 64 steps of
    16 sequences of 128 features: LSTM 2.74, 2.08 so, GRU 2.81 and 1.42; 32 of 64 and 256: 9.5 and
    9.7, 9.9 and 7.4. All four gates of the LSTM: 10.7; of the GRU r alone 8.6, n alone 11.2.
    """

    def __init__(self, carried, place):
        self.carried, self.place = carried, place

    def __call__(self, *parts):
        def through(carried, place, *parts):
            here = place % 2
            whole = jnp.concatenate(parts, -1)
            carried = lax.dynamic_update_index_in_dim(carried, whole, here, 0)
            whole = lax.dynamic_index_in_dim(carried, here, 0, False)
            return carried, *jnp.split(whole, len(parts), -1)

        self.carried, *parts = lax.platform_dependent(
            self.carried, self.place, *parts,
            cpu=through, default=lambda carried, place, *parts: (carried, *parts),
        )  # fmt: skip
        return parts


def _unchanged(*parts):
    return parts


def _input_part(x, w_ih, b_ih, b_hh, mode):
    """The input's part of the gates, for any number of rows; GRU's second bias comes later."""
    z = _times(x, w_ih)
    if b_ih is not None:
        z = z + (b_ih if mode == "GRU" else b_ih + b_hh)
    return z


# ---- backward of one step ----------------------------------------------------------------------
# From the gradients of h and c: (of c before, of the input's part, of the hidden part, of h before
# along other ways than the hidden part).


def _lstm_back(dh, dc, h, c, saved):
    now, i, f, g, o = saved
    t = jnp.tanh(now)
    dc = dc + dh * o * (1 - t * t)
    dz = jnp.concatenate(
        [dc * g * i * (1 - i), dc * c * f * (1 - f), dc * i * (1 - g * g), dh * t * o * (1 - o)], -1
    )
    return dc * f, dz, dz, None


def _gru_back(dh, dc, h, c, saved):
    r, k, n, hn = saved
    dn = dh * (1 - k) * (1 - n * n)
    dr, dk = dn * hn * r * (1 - r), dh * (h - n) * k * (1 - k)
    return dc, jnp.concatenate([dr, dk, dn], -1), jnp.concatenate([dr, dk, dn * r], -1), dh * k


def _tanh_back(dh, dc, h, c, saved):
    dz = dh * (1 - saved[0] * saved[0])
    return dc, dz, dz, None


def _relu_back(dh, dc, h, c, saved):
    dz = jnp.where(saved[0] > 0, dh, 0)
    return dc, dz, dz, None


_BACK = {"LSTM": _lstm_back, "GRU": _gru_back, "RNN_TANH": _tanh_back, "RNN_RELU": _relu_back}


# ---- a layer -----------------------------------------------------------------------------------


def _live(lengths, steps):
    """Per step and sequence, whether the sequence still runs: (T, B, 1), or None."""
    if lengths is None:
        return None
    return (jnp.arange(steps)[:, None] < lengths)[..., None]


def _choose(live, new, old):
    return new if live is None or new is None else jnp.where(live, new, old)


def _layer_vjp(c, *grads):
    """Back through the steps for the gates; every weight's gradient is then one product.

    A training step of LSTM(128, 128), length 64, batch 16, on 2 CPU cores: 7.3 ms with this rule,
    11.4 ms by jax.vjp of the scan, which adds to the weights' gradients at each step. Unrolling
    loses: 10.9 ms (and 1.7 s to compile) by 4 steps, 23 ms (6.7 s) by 16, 46 ms (60 s) by all 64.
    """
    mode, reverse = c.statics["mode"], c.statics["reverse"]
    lstm = mode == "LSTM"
    visible = 3 if lstm else 2
    complete = mode.startswith("RNN") or c.statics["keep"]
    if not complete or any(g is not None for g in grads[visible:]):
        return _by_jax(c, grads)  # a second derivative through what was saved, or nothing saved
    x, w_ih, w_hh, h0, c0, b_ih, b_hh, w_hr, lengths = (
        v if i == 8 else widen(v) for i, v in enumerate(c.operands)
    )
    out, *rest = (widen(r) for r in c.results)
    gy, gh, gc = (widen(g) for g in (*grads[:2], grads[2] if lstm else None))
    steps, batch, width = out.shape
    size = w_hh.shape[0] // GATES[mode]
    saved = tuple(rest[visible - 1 :])
    zeros = partial(jnp.zeros, dtype=out.dtype)

    def before(sequence, first, n):
        first = zeros((1, batch, n)) if first is None else first[None]
        parts = (sequence[1:], first) if reverse else (first, sequence[:-1])
        return jnp.concatenate(parts)

    h_before = before(out, h0, width)
    c_before = before(saved[0], c0, size) if lstm else None
    back, live = _BACK[mode], _live(lengths, steps)

    def step(carry, now):
        dh, dc = carry
        g, h, c, live, *kept = now
        dh = dh if g is None else dh + g
        new = _choose(live, dh, 0)  # the part that reaches this step's computing
        hidden = new if w_hr is None else new @ w_hr
        dc_live = _choose(live, dc, 0)
        dc_new, dz, dy, direct = back(hidden, dc_live, h, c, kept)
        dh_new = dy @ w_hh
        if direct is not None:
            dh_new = dh_new + direct
        if live is not None:
            dh_new = jnp.where(live, dh_new, dh)
            dc_new = None if dc is None else jnp.where(live, dc_new, dc)
        return (dh_new, dc_new), (dz, None if dy is dz else dy, None if w_hr is None else new)

    first = zeros((batch, width)) if gh is None else gh
    first_c = None
    if lstm:
        first_c = zeros((batch, size)) if gc is None else gc
    kept = saved if saved else (out,)
    (dh0, dc0), (dz, dy, dp) = loops.scan(
        step, (first, first_c), (gy, h_before, c_before, live, *kept), reverse=not reverse
    )
    dz = _rows(dz)
    dy = dz if dy is None else _rows(dy)
    d_hr = None
    if w_hr is not None:
        hidden = saved[-1] * jnp.tanh(saved[0])
        d_hr = _weight_gradient(_rows(dp), hidden)
    return (
        (dz @ w_ih).reshape(x.shape), _weight_gradient(dz, x), _weight_gradient(dy, h_before),
        dh0, dc0,
        None if b_ih is None else dz.sum(0), None if b_hh is None else dy.sum(0), d_hr, None,
    )  # fmt: skip


def _weight_gradient(dz, x):
    """dz.T @ x. XLA's CPU product is faster when its result is wider than high: 0.9 ms for
    (128, 1024) times (1024, 512), 1.5 for the transpose. The barrier keeps XLA from turning the
    former into the latter. In the middle a dz that is turned once, for both weights, is faster
    still: for 1024 rows of 512 gates 0.80 and 0.97, for 6400 of 1024 18.6 and 21.5; but for 2000
    of 96 0.18 and 0.08, for 8192 of 2048 104 and 85."""
    x = _rows(x)
    if surely(lambda: 2**18 < dz.size < 2**23):
        return lax.optimization_barrier(dz.T) @ x
    if dz.shape[1] <= x.shape[1]:
        return dz.T @ x
    return lax.optimization_barrier(x.T @ dz).T


def _by_jax(c, grads):
    """The gradients by differentiating the scan itself."""
    at = [i for i, wanted in enumerate(c.need) if wanted]

    def forward(*wanted):
        call = list(c.operands)
        for i, x in zip(at, wanted, strict=True):
            call[i] = x
        return rnn_layer(*call, **c.statics)

    outs, pull = jax.vjp(forward, *[c.operands[i] for i in at])
    given = tuple(
        jnp.zeros(o.shape, o.dtype) if g is None else g for o, g in zip(outs, grads, strict=True)
    )
    found = dict(zip(at, pull(given), strict=True))
    return tuple(found.get(i) for i in range(len(c.need)))


def _node(c):
    # PyTorch gives oneDNN an LSTM in float32 whose sequences are all as long; else it stacks steps.
    fused = c.mode == "LSTM" and c.w_hr is None and c.lengths is None
    fused = fused and c.input.dtype is dt.float32
    return "MkldnnRnnLayerBackward0" if fused else "StackBackward0"


@layer("rnn_layer", saves="both", vjp=_layer_vjp, grad_name=_node)
def rnn_layer(
    input, w_ih, w_hh, h0=None, c0=None, b_ih=None, b_hh=None, w_hr=None, lengths=None, *,
    mode: str, reverse: bool, keep: bool,
):  # fmt: skip
    """One direction of one layer over (T, B, I): (output, h[, c][, what backward saves]).

    A sequence that is over keeps its state, so a reversed one starts at its own end. ``keep``:
    whether the gates are wanted for backward. Without h0 and c0 the state begins as zeros.
    """
    steps, batch, width = input.shape
    if width != w_ih.shape[1]:
        raise RuntimeError(
            f"mat1 and mat2 shapes cannot be multiplied ({steps * batch}x{width} and "
            f"{w_ih.shape[1]}x{w_ih.shape[0]})"
        )
    _check_dtypes((input, w_ih), (h0, w_hh), (c0, w_hh))
    given = input.dtype
    input, w_ih, w_hh, h, c, b_ih, b_hh, w_hr = map(
        widen, (input, w_ih, w_hh, h0, c0, b_ih, b_hh, w_hr)
    )
    size = w_hh.shape[0] // GATES[mode]
    h = jnp.zeros((batch, w_hh.shape[1]), input.dtype) if h is None else h
    if mode == "LSTM" and c is None:
        c = jnp.zeros((batch, size), input.dtype)
    z = _input_part(_rows(input), w_ih, b_ih, b_hh, mode).reshape(steps, batch, w_ih.shape[0])
    u = w_hh.T

    parts = 0 if keep else _STORED.get(mode, 0)  # what is kept is stored as it is
    store = jnp.zeros((2, batch, parts * size), z.dtype) if parts else None

    def step(carry, now):
        h, c, store = carry
        z, live, place = now
        once = _unchanged if store is None else _Stored(store, place)
        new_h, new_c, saved = _STEP[mode](z, h, c, u, b_hh, w_hr, once)
        h = _choose(live, new_h, h)
        if mode == "LSTM":
            c = _choose(live, new_c, c)
            saved = (c, *saved[1:])
        store = None if store is None else once.carried
        return (h, c, store), (h, *(saved if keep else ()))

    steps_of = (z, _live(lengths, steps), jnp.arange(steps) if parts else None)
    (h, c, _), (out, *saved) = loops.scan(step, (h, c, store), steps_of, reverse=reverse)
    results = (out, h) if c is None else (out, h, c)
    return (*(r.astype(given) for r in results), *saved)


# ---- cells -------------------------------------------------------------------------------------


def _cell(mode, input, h, c, w_ih, w_hh, b_ih, b_hh):
    if input.shape[-1] != w_ih.shape[1]:
        raise RuntimeError(
            f"input has inconsistent input_size: got {input.shape[-1]} expected {w_ih.shape[1]}"
        )
    for i, state in enumerate((h, c)):
        if state is None:
            continue
        if state.shape[0] != input.shape[0]:
            raise RuntimeError(
                f"Input batch size {input.shape[0]} doesn't match hidden{i} batch size "
                f"{state.shape[0]}"
            )
        if state.shape[1] != w_hh.shape[1] or state.ndim != 2:
            raise RuntimeError(
                f"hidden{i} has inconsistent hidden_size: got {state.shape[1]}, expected "
                f"{w_hh.shape[1]}"
            )
    _check_dtypes((input, w_ih), (h, w_hh), (c, w_hh))
    given = input.dtype
    input, h, c, w_ih, w_hh, b_ih, b_hh = map(widen, (input, h, c, w_ih, w_hh, b_ih, b_hh))
    zeros = jnp.zeros((input.shape[0], w_hh.shape[1]), input.dtype)
    h = zeros if h is None else h
    c = zeros if c is None and mode == "LSTM" else c
    z = _input_part(input, w_ih, b_ih, b_hh, mode)
    h, c, _ = _STEP[mode](z, h, c, w_hh.T, b_hh, None, _unchanged)
    return (h.astype(given), c.astype(given)) if mode == "LSTM" else h.astype(given)


@layer("lstm_cell", grad_name="MulBackward0")
def lstm_cell(input, w_ih, w_hh, h=None, c=None, b_ih=None, b_hh=None):
    """One step of an LSTM: (h, c)."""
    return _cell("LSTM", input, h, c, w_ih, w_hh, b_ih, b_hh)


def _plain_cell(name, mode, node):
    @layer(name, grad_name=node)
    def cell(input, w_ih, w_hh, h=None, b_ih=None, b_hh=None):
        return _cell(mode, input, h, None, w_ih, w_hh, b_ih, b_hh)


_plain_cell("gru_cell", "GRU", "AddBackward0")
_plain_cell("rnn_tanh_cell", "RNN_TANH", "TanhBackward0")
_plain_cell("rnn_relu_cell", "RNN_RELU", "ReluBackward0")


# ---- packing -----------------------------------------------------------------------------------


def _pick(x, index, padding):
    shape = (-1, *[1] * (x.ndim - 1))
    return jnp.where((index >= 0).reshape(shape), x[jnp.maximum(index, 0)], padding)


def _spread(c, g):
    return _pick(g, c.operands[2], jnp.zeros((), g.dtype)), None, None, None


@layer("pack_rows", vjp=_spread, needs={"input": ("inverse",)})
def pack_rows(input, index, inverse, padding: Number):
    """Rows of ``input`` by index, ``padding`` where it is -1; ``inverse`` leads back.

    Each row goes to at most one place, so the gradient is a gather too: no scatter.
    """
    return _pick(input, index, padding.astype(input.dtype))
