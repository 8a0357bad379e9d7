"""What is known of a call before it runs: shapes and dtypes, what it costs, whether it rounds."""

from __future__ import annotations

from collections import OrderedDict
from functools import wraps

import jax
import numpy as np

from torchlike._core import devices, errors
from torchlike._core import dtypes as dt
from torchlike._core.symbolic import SymFloat, SymInt, opened, tracing
from torchlike._engine.compat import in_program_scope
from torchlike._engine.values import Aval, aval
from torchlike._ops.arguments import check_operands
from torchlike._ops.derivatives import Spec
from torchlike._ops.table import Op, Scalar, collecting_bad_indices, evaluate

# ---- shapes without arrays ---------------------------------------------------------------------

_MAX_INFERRED = 20_000


def infer(op: Op, statics: tuple, in_avals: tuple, device) -> tuple:
    """Avals of the results, by abstract evaluation, once per distinct call of an op."""
    key = (statics, in_avals, dt.get_default_dtype(), device)
    found = op.inferred.get(key)
    if found is not None:
        return found
    check_operands(op, in_avals)
    out = None
    if op.pointwise:
        out = _infer_pointwise(op, statics, in_avals, device)
    elif op.shapes is not None:
        out = op.shapes(statics, in_avals)
    if out is None and op.name in shape_rules:
        out = shape_rules[op.name](statics, in_avals)
    if out is None:
        out = _evaluate_shapes(op, statics, in_avals)
    places = [device] * len(out) if op.places is None else op.places(statics)
    out = tuple([aval(s, d, place) for (s, d), place in zip(out, places, strict=True)])
    if len(op.inferred) > _MAX_INFERRED:
        op.inferred.clear()
    op.inferred[key] = out
    return out


# Shapes of valid calls of frequent ops, (statics, operand avals) -> [(shape, dtype)] or None where
# only the op itself knows: twins.py and known_shapes.py, which stand above, fill it in.
shape_rules: dict = {}


def shape_rule(*names):
    """Register a shape rule; it may fail on a call that is not valid."""

    def put(rule):
        @wraps(rule)
        def safe(statics, in_avals):
            try:
                return rule(statics, in_avals)
            except (AttributeError, IndexError, RuntimeError, TypeError, ValueError):
                return None

        for name in names:
            shape_rules[name] = safe
        return rule

    return put


def _evaluate_shapes(op: Op, statics: tuple, in_avals: tuple) -> list:
    scope = tracing.scope
    try:
        if scope is None:
            closed, sizes = traced(op, statics, in_avals, True)
            results = closed.out_avals[: len(closed.out_avals) - bool(sizes)]
        else:
            results = _evaluate_open(op, as_jax_takes(statics), in_avals)
    except Exception as error:
        if raised_here(error):  # JAX adds that it has removed its frames, which nobody asked
            error.__notes__ = [n for n in getattr(error, "__notes__", ()) if "JAX" not in n]
            raise
        if not isinstance(error, (TypeError, ValueError, ZeroDivisionError)):
            raise
        text = str(error).split("\n")[0]
        raise RuntimeError(f"{op.name}(): {text} (operands {_describe(in_avals)})") from None
    if scope is not None:
        return [(scope.shape(r.shape), dt.BY_NUMPY[np.dtype(r.dtype)]) for r in results]
    return [(tuple(r.shape), dt.BY_NUMPY[np.dtype(r.dtype)]) for r in results]


def _evaluate_open(op: Op, statics: tuple, in_avals: tuple):
    """The results' shapes, some sizes being open."""
    shapes = [abstract(a) for a in in_avals]

    def body(*given):
        given = iter(given)
        full = [None if s is None else next(given) for s in shapes]
        return evaluate(op, wrap(op, full, in_avals), statics)

    return in_program_scope(jax.eval_shape, body, *[s for s in shapes if s is not None])


# Jaxprs that were made to learn shapes: if NumPy is to run the call, it needs the same one next.
_jaxprs: OrderedDict = OrderedDict()
_MAX_JAXPRS = 64


def traced(op: Op, statics: tuple, in_avals: tuple, keep: bool = False) -> tuple:
    """One call as a jaxpr of its arrays, and (size, ndim) of its range checks, whose flags are a
    result after the op's own."""
    key = (op, statics, in_avals, dt.get_default_dtype())
    found = _jaxprs.pop(key, None)
    if found is None:
        body, sizes = single_body(op, statics, in_avals)
        given = [abstract(a) for a in in_avals if a is not None and a.__class__ is not tuple]
        found = in_program_scope(_jaxpr_of, body, given), sizes
    if keep:
        _jaxprs[key] = found
        if len(_jaxprs) > _MAX_JAXPRS:
            _jaxprs.popitem(last=False)
    return found


def _jaxpr_of(body, given):
    # Functions of jnp are jitted ones: to trace each as such takes two thirds of the time, and a
    # first call of ``std`` 3.6 ms instead of 1.1.
    make = jax.make_jaxpr(body)
    with jax.disable_jit():
        return make(*given)


def single_body(op: Op, statics: tuple, in_avals: tuple):
    """One call as a function of its arrays, and the list that tracing it fills with its checks."""
    present = [a is not None and a.__class__ is not tuple for a in in_avals]
    sizes: list = []

    def single(*given):
        given = iter(given)
        full = []
        for a, p in zip(in_avals, present, strict=True):
            if p:
                full.append(next(given))
            else:
                full.append(None if a is None else jax.numpy.asarray(a[1], dt.WIDEST[a[0]].numpy))
        with collecting_bad_indices() as reports:
            results = evaluate(op, wrap(op, full, in_avals), statics)
        sizes[:] = [(size, ndim) for _, size, ndim in reports]
        if reports:
            results = (*results, jax.numpy.stack([flag for flag, _, _ in reports]))
        return results

    return single, sizes


def canonical(in_avals: tuple) -> tuple:
    """The operands of a pointwise op with every shape as (1,) or ()."""
    return tuple([
        aval((1,) if a.shape else (), a.dtype, devices.CPU) if hasattr(a, "shape") else a
        for a in in_avals
    ])  # fmt: skip


def broadcast(in_avals: tuple) -> tuple | None:
    """The common shape of the operands; None if they have none."""
    shape: tuple = ()
    for a in in_avals:
        if not hasattr(a, "shape") or a.shape == shape:
            continue
        other = a.shape
        if len(other) < len(shape):
            other = (1,) * (len(shape) - len(other)) + other
        else:
            shape = (1,) * (len(other) - len(shape)) + shape
        if any(m != n and m != 1 and n != 1 for m, n in zip(shape, other, strict=True)):
            return None
        shape = tuple([n if m == 1 else m for m, n in zip(shape, other, strict=True)])
    return shape


def _infer_pointwise(op, statics, in_avals, device):
    """The results' dtypes are those of any other shapes; None where the op must be asked."""
    shape = broadcast(in_avals)
    if shape is None:
        return None
    small = canonical(in_avals)
    key = (statics, small, dt.get_default_dtype(), None)
    found = op.inferred.get(key)
    if found is None:
        if small == in_avals:
            return None
        try:
            found = op.inferred[key] = _evaluate_shapes(op, statics, small)
        except Exception:  # raised again, in the words for the true shapes
            return None
    rank = (1,) if shape else ()
    if any(s != rank for s, _ in found):
        return None
    return [(shape, d) for _, d in found]


def raised_here(error: BaseException) -> bool:
    """Whether our own code raised this, rather than jax or numpy below it."""
    trace = error.__traceback__
    while trace.tb_next is not None:
        trace = trace.tb_next
    return trace.tb_frame.f_code.co_filename.startswith(errors.PACKAGE)


def _describe(in_avals) -> str:
    return ", ".join(
        "None" if a is None else a.__name__ if a.__class__ is type else repr(a) for a in in_avals
    )


# ---- operands ----------------------------------------------------------------------------------


def kind_of(x):
    """What an operand that is no Value is to a call: its class, or (class, number)."""
    if x.__class__ is SymInt or x.__class__ is SymFloat:
        return int if x.__class__ is SymInt else float
    return x.__class__ if x.__class__ in (float, int) else (x.__class__, x)


def abstract(a):
    """An operand's shape and dtype as JAX has them."""
    if a is None:
        return None
    if a.__class__ is type:
        return jax.ShapeDtypeStruct((), dt.WIDEST[a].numpy)
    if a.__class__ is tuple:
        return jax.ShapeDtypeStruct((), dt.WIDEST[a[0]].numpy)
    shape = a.shape if tracing.scope is None else opened(a.shape)[0]
    return jax.ShapeDtypeStruct(shape, a.dtype.numpy)


def wrap(op: Op, arrays, in_avals):
    """Operands as an op takes them: arrays of numbers become Scalars of their class."""
    out = []
    for x, a in zip(arrays, in_avals, strict=True):
        if x is None or (a.__class__ is not type and a.__class__ is not tuple):
            out.append(x)
        else:
            out.append(Scalar(x, a if a.__class__ is type else a[0]))
    return out


def as_jax_takes(statics):
    """Static arguments as JAX takes them: open sizes as its own expressions."""
    if statics.__class__ is Spec:
        avals = [
            aval(opened(a.shape)[0], a.dtype, a.device) if a.__class__ is Aval else a
            for a in statics.avals
        ]
        inner = as_jax_takes(statics.statics)
        return Spec(inner, tuple(avals), statics.need, statics.outs, statics.has_result)
    if statics.__class__ is tuple:
        return tuple([as_jax_takes(x) for x in statics])
    return opened(statics)[0]


# ---- cost --------------------------------------------------------------------------------------

# Products of matrices and what else costs more than its elements.
_PRODUCTS = frozenset((
    "matmul", "mm", "bmm", "mv", "addmm", "addbmm", "baddbmm", "linear", "bilinear", "tensordot",
    "inner", "einsum", "convolution", "conv_transpose", "scaled_dot_product_attention", "cdist_p",
))  # fmt: skip


_PARTIAL = frozenset(("index_basic", "index_at", "write_view"))


def work(op: Op, in_avals, avals) -> float:
    """Seconds, roughly, that NumPy would need for a call."""
    if op.inner is not None:
        return op.inner.work
    if op.name in _PARTIAL:  # of a large array that stays where it is, the part counts
        return 2e-9 * (in_avals[1] if op.name == "write_view" else avals[0]).nbytes
    arrays = [a for a in (*in_avals, *avals) if hasattr(a, "numel")]
    seconds = 1e-9 * sum(a.nbytes for a in arrays)
    products = 1 if op.name in _PRODUCTS else 0
    if op.forward is not None and op.forward.name in _PRODUCTS:
        products = len(avals)
        arrays += [a for a in in_avals[-1:] if a is not None]
    if products and len(arrays) > 2:
        # (m, k) @ (k, n): the square root of the three sizes' product is m * k * n.
        sizes = sorted([a.numel for a in arrays], reverse=True)[:3]
        seconds += 1e-10 * products * (sizes[0] * sizes[1] * sizes[2]) ** 0.5
    return seconds


# Ops that move numbers or choose among them: no rounding, so NumPy and XLA agree bit for bit.
_MOVES = frozenset((
    "abs", "amax", "amin", "aminmax", "block_diag", "cat", "ceil", "channel_shuffle", "clamp",
    "clamp_max", "clamp_min", "clone", "complex", "constant_pad_nd", "copysign", "cummax", "cummin",
    "diag_embed_dims", "diagonal_copy", "eye", "flip", "floor", "fmax", "fmin", "full", "full_like",
    "gather_dim", "im2col", "index", "index_at", "index_copy_dim", "index_fill_dim", "index_put",
    "index_select_dim", "kthvalue", "masked_fill_value", "masked_scatter_from", "max", "max_dim",
    "max_pool", "max_pool_with_indices", "maximum", "median", "median_dim", "min", "min_dim",
    "minimum", "mode", "nan_to_num", "neg", "ones", "ones_like", "overwrite", "pixel_shuffle",
    "pixel_unshuffle", "put_flat", "relu", "repeat", "repeat_counts", "repeat_each", "roll_dims",
    "round", "scatter_put", "sign", "sort", "stack", "take_flat", "to_dtype", "topk", "tril",
    "triu", "trunc", "where", "write_view", "zeros", "zeros_like",
))  # fmt: skip


# Ops that are one routine of LAPACK or a few, with nothing rounded between: the same on both sides.
_LAPACK = frozenset((
    "cholesky_inverse", "cholesky_solve", "geqrf", "linalg_cholesky_ex", "linalg_eig",
    "linalg_eigh", "linalg_eigvals", "linalg_householder_product", "linalg_inv_ex", "linalg_lu",
    "linalg_lu_factor_ex", "linalg_lu_solve", "linalg_qr", "linalg_solve_ex",
    "linalg_solve_triangular", "linalg_svd", "linalg_svdvals",
))  # fmt: skip


def is_exact(op: Op, avals) -> bool:
    """Whether NumPy and XLA give the same bits for a call."""
    if op.view or op.name in _MOVES or op.name in _LAPACK:
        return True
    return all(a.dtype.category < dt.FLOATING for a in avals)
