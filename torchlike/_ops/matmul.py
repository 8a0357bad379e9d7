"""Products of vectors and matrices: matmul and relatives, outer, Kronecker and cross products."""

from __future__ import annotations

from functools import partial
from math import prod

import jax
import jax.numpy as jnp
from jax import lax

from torchlike._core import dtypes as dt
from torchlike._ops import conventions
from torchlike._ops.arguments import check_factor
from torchlike._ops.join import common_dtype
from torchlike._ops.table import Dim, Number, Shape, as_array, op, torch_dtype

FORMS = ("function", "method", "out")
ADDED = ("function", "method", "inplace", "out")


def contract(a, b, a_dims, b_dims, a_batch=(), b_batch=(), kind=None):
    """lax.dot_general over the given dimensions: batch, then the rest of ``a``, then of ``b``.

    PyTorch multiplies float32 in full precision unless asked otherwise; accelerators would not.
    """
    full = a.dtype in (jnp.float32, jnp.complex64)
    return lax.dot_general(
        a, b, ((a_dims, b_dims), (a_batch, b_batch)),
        precision=lax.Precision.HIGHEST if full else None, preferred_element_type=kind,
    )  # fmt: skip


def product(a, b, kind=None):
    """a @ b for shapes that fit, with at most one transpose, and none if ``b`` is a matrix."""
    if b.ndim <= 2:
        return contract(a, b, (a.ndim - 1,), (0,), kind=kind)
    if a.ndim == 1:
        return contract(a, b, (0,), (b.ndim - 2,), kind=kind)
    batch_a, batch_b = a.shape[:-2], b.shape[:-2]
    common = jnp.broadcast_shapes(batch_a, batch_b)
    out_shape = (*common, a.shape[-2], b.shape[-1])
    if batch_b != common and prod(batch_b) == 1:
        return contract(a, b.reshape(b.shape[-2:]), (a.ndim - 1,), (0,), kind=kind).reshape(
            out_shape
        )
    if batch_a != common and prod(batch_a) == 1:
        rows_first = contract(a.reshape(a.shape[-2:]), b, (1,), (b.ndim - 2,), kind=kind)
        return jnp.moveaxis(rows_first, 0, -2).reshape(out_shape)
    a = jnp.broadcast_to(a, (*common, *a.shape[-2:]))
    b = jnp.broadcast_to(b, (*common, *b.shape[-2:]))
    batch = tuple(range(len(common)))
    return contract(a, b, (a.ndim - 1,), (b.ndim - 2,), batch, batch, kind)


# ---- what PyTorch checks -----------------------------------------------------------------------


def scalar_name(x) -> str:
    """PyTorch's capitalised name of an array's dtype."""
    return dt.SCALAR_NAMES[torch_dtype(x)]


def _no_bool(x, kernel: str) -> None:
    if x.dtype == bool:
        raise NotImplementedError(f"\"{kernel}\" not implemented for 'Bool'")


def _by(shape) -> str:
    return "x".join(map(str, shape))


def check_mm(a, b, names=("self", "mat2")) -> None:
    """Raise PyTorch's errors unless a @ b is a product of two matrices of one dtype."""
    for x, name in ((a, names[0]), (b, names[1])):
        if x.ndim != 2:
            more = f", got {x.ndim}-D tensor" if names[0] != "self" else ""
            raise RuntimeError(f"{name} must be a matrix{more}")
    if a.shape[1] != b.shape[0]:
        raise RuntimeError(
            f"mat1 and mat2 shapes cannot be multiplied ({_by(a.shape)} and {_by(b.shape)})"
        )
    if a.dtype != b.dtype:
        raise RuntimeError(
            f"expected m1 and m2 to have the same dtype, but got: "
            f"{scalar_name(a).lower()} != {scalar_name(b).lower()}"
        )
    _no_bool(a, "addmm_impl_cpu_")


def check_mv(a, b, size=None) -> None:
    """Raise PyTorch's errors unless ``a`` is a matrix and ``b`` a vector that fits."""
    if a.ndim != 2 or b.ndim != 1:
        raise RuntimeError(
            f"vector + matrix @ vector expected, got {1 if size is None else len(size)}, "
            f"{a.ndim}, {b.ndim}"
        )
    n = a.shape[0] if size in (None, (), (1,)) else size[0]
    if a.shape[1] != b.shape[0] or n != a.shape[0]:
        raise RuntimeError(
            f"size mismatch, got input ({n}), mat ({_by(a.shape)}), vec ({b.shape[0]})"
        )
    if a.dtype != b.dtype:
        raise RuntimeError(
            f"addmv input tensors must have the same dtype, but got {scalar_name(b)}, "
            f"{scalar_name(a)}, and {scalar_name(b)}"
        )
    _no_bool(a, "addmv_impl_cpu")


def check_dot(a, b, name: str = "dot") -> None:
    """Raise PyTorch's errors unless both are vectors of one length and dtype."""
    if a.ndim != 1 or b.ndim != 1:
        raise RuntimeError(f"1D tensors expected, but got {a.ndim}D and {b.ndim}D tensors")
    if a.dtype != b.dtype:
        raise RuntimeError(
            f"{name} : expected both vectors to have same dtype, but found {scalar_name(a)} and "
            f"{scalar_name(b)}"
        )
    if a.shape != b.shape:
        raise RuntimeError(
            f"inconsistent tensor size, expected tensor [{a.shape[0]}] and src [{b.shape[0]}] to "
            f"have the same number of elements, but got {a.shape[0]} and {b.shape[0]} elements "
            f"respectively"
        )
    _no_bool(a, name)


def check_bmm(a, b) -> None:
    """Raise PyTorch's errors unless both are batches of matrices that fit."""
    for x, name in ((a, "batch1"), (b, "batch2")):
        if x.ndim != 3:
            raise RuntimeError(f"{name} must be a 3D tensor")
    if a.shape[0] != b.shape[0] or a.shape[2] != b.shape[1]:
        raise RuntimeError(
            "Expected size for first two dimensions of batch2 tensor to be: "
            f"[{a.shape[0]}, {a.shape[2]}] but got: [{b.shape[0]}, {b.shape[1]}]."
        )
    check_same_scalar(a, b)
    _no_bool(a, "bmm")


def check_same_scalar(a, b) -> None:
    """Raise PyTorch's error unless the dtypes are one."""
    if a.dtype != b.dtype:
        raise RuntimeError(f"expected scalar type {scalar_name(a)} but found {scalar_name(b)}")


# ---- products ----------------------------------------------------------------------------------


@op("mm", promotes="raw", numbers=(), multilinear=True, forms=FORMS)
def mm(input, mat2):
    """The product of two matrices."""
    check_mm(input, mat2)
    return product(input, mat2)


@op("mv", promotes="raw", numbers=(), multilinear=True, forms=FORMS)
def mv(input, vec):
    """A matrix times a vector."""
    check_mv(input, vec)
    return product(input, vec)


@op("dot", promotes="raw", numbers=(), multilinear=True, forms=FORMS)
def dot(input, tensor):
    """The sum of the products of two vectors, without conjugation."""
    check_dot(input, tensor)
    return product(input, tensor)


@op("vdot", promotes="raw", numbers=(), multilinear=True, forms=FORMS)
def vdot(input, other):
    """The sum of the products of two vectors, the first one conjugated."""
    check_dot(input, other, "vdot" if jnp.iscomplexobj(input) else "dot")
    return product(input.conj(), other)


@op("bmm", promotes="raw", numbers=(), multilinear=True, forms=FORMS)
def bmm(input, mat2):
    """The products of two batches of matrices."""
    check_bmm(input, mat2)
    return product(input, mat2)


def _matmul_node(c):
    a, b = c.input.shape, c.other.shape
    if len(a) == 1 and len(b) == 2:
        return "SqueezeBackward4"
    # PyTorch folds the larger batch into rows, here after turning both factors round.
    turned = len(b) > 2 and len(a) > 1 and prod(a[:-2]) == 1 < prod(b[:-2])
    return "CloneBackward0" if turned else "UnsafeViewBackward0"


@op("matmul", promotes="raw", numbers=(), multilinear=True, grad_name=_matmul_node)
def matmul(input, other):
    """The product over the last dimension of the first and the last but one of the second."""
    a, b = input, other
    if a.ndim == 0 or b.ndim == 0:
        raise RuntimeError(
            f"both arguments to matmul need to be at least 1D, but they are {a.ndim}D and {b.ndim}D"
        )
    if a.ndim == 1 and b.ndim == 1:
        check_dot(a, b)
    elif b.ndim == 1:
        check_mv(a.reshape(prod(a.shape[:-1]), a.shape[-1]), b)
    elif b.ndim == 2 or (a.ndim == 1 and b.ndim == 2):
        check_mm(a.reshape(prod(a.shape[:-1]) if a.ndim > 1 else 1, a.shape[-1]), b)
    else:
        _check_batches(a if a.ndim > 1 else a[None], b)
    return product(a, b)


def _check_batches(a, b):
    batch_a, batch_b = a.shape[:-2], b.shape[:-2]
    lead = max(len(batch_a), len(batch_b))
    for i in range(1, lead + 1):
        m = batch_a[-i] if i <= len(batch_a) else 1
        n = batch_b[-i] if i <= len(batch_b) else 1
        if m != n and m != 1 and n != 1:
            raise RuntimeError(
                f"The size of tensor a ({m}) must match the size of tensor b ({n}) at "
                f"non-singleton dimension {lead - i}"
            )
    if a.shape[-1] != b.shape[-2]:
        n = prod(jnp.broadcast_shapes(batch_a, batch_b))
        raise RuntimeError(
            f"Expected size for first two dimensions of batch2 tensor to be: [{n}, {a.shape[-1]}] "
            f"but got: [{n}, {b.shape[-2]}]."
        )
    check_same_scalar(a, b)
    _no_bool(a, "bmm")


@op(
    "inner", promotes="raw", numbers=(), multilinear=True, forms=FORMS,
    grad_name=lambda c: "ViewBackward0" if c.input.ndim and c.other.ndim else "MulBackward0",
)  # fmt: skip
def inner(input, other):
    """The product over the last dimension of both; with a scalar, the plain product."""
    if input.ndim == 0 or other.ndim == 0:
        common = common_dtype([input, other])
        return input.astype(common) * other.astype(common)
    check_same_scalar(input, other)
    if input.shape[-1] != other.shape[-1]:
        raise RuntimeError(
            "inner() the last dimension must match on both input tensors but got shapes "
            f"{list(input.shape)} and {list(other.shape)}"
        )
    _no_bool(input, "inner")
    return contract(input, other, (input.ndim - 1,), (other.ndim - 1,))


@op("outer", promotes="raw", multilinear=True, grad_name="MulBackward0")
def outer(input, vec2):
    """Every element of one vector times every element of another."""
    common = common_dtype([input, vec2])
    return input.astype(common)[:, None] * vec2.astype(common)[None, :]


# ---- sums with products ------------------------------------------------------------------------


def _expand(x, shape):
    """``input`` of an add op as its result's shape wants it."""
    lead = len(shape) - x.ndim
    if lead < 0:
        raise RuntimeError(
            f"The number of sizes provided ({len(shape)}) must be greater or equal to the number "
            f"of dimensions in the tensor ({x.ndim})"
        )
    for i, (old, n) in enumerate(zip(x.shape, shape[lead:], strict=True)):
        if old not in (1, n):
            raise RuntimeError(
                f"The expanded size of the tensor ({n}) must match the existing size ({old}) at "
                f"non-singleton dimension {i + lead}.  Target sizes: {list(shape)}.  Tensor sizes: "
                f"{list(x.shape)}"
            )
    return jnp.broadcast_to(x, shape)


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def _unrounded(a, b, multiply):
    return multiply(a, b, jnp.float32)


@_unrounded.defjvp
def _unrounded_tangent(multiply, primals, tangents):
    # Each part is rounded, as PyTorch rounds the gradients.
    (a, b), (da, db) = primals, tangents
    tangent = multiply(da, b) + multiply(a, db)
    return _unrounded(a, b, multiply), tangent.astype(jnp.float32)


def _added(input, a, b, beta, alpha, multiply=product):
    """beta * input + alpha * (a @ b); half precision is rounded once, behind the sum."""
    if torch_dtype(a) not in dt.HALF:
        return _weighted(input, multiply(a, b), beta, alpha)
    if input.dtype != a.dtype:
        check_same_scalar(input, a)
    out = _weighted(input.astype(jnp.float32), _unrounded(a, b, multiply), beta, alpha)
    return out.astype(a.dtype)


def _weighted(input, result, beta, alpha):
    """beta * input + alpha * result; an input of weight zero is not looked at."""
    if result.dtype != input.dtype:
        check_same_scalar(input, result)
    input = _expand(input, result.shape)
    if alpha is not None:
        result = as_array(alpha).astype(result.dtype) * result
    if beta is not None:
        beta = as_array(beta).astype(result.dtype)
        input = jnp.where(beta == 0, jnp.zeros_like(input), beta * input)
    return input + result


def _either(a: str, b: str) -> dict:
    """Each factor's gradient needs the other; that of the summand needs neither."""
    return {"input": (), a: (b,), b: (a,)}


@op("addmm", promotes="raw", numbers=(), needs=_either("mat1", "mat2"), forms=ADDED)
def addmm(input, mat1, mat2, *, beta: Number = None, alpha: Number = None):
    """beta * input + alpha * (mat1 @ mat2)."""
    check_mm(mat1, mat2, ("mat1", "mat2"))
    return _added(input, mat1, mat2, beta, alpha)


@op("addmv", promotes="raw", numbers=(), needs=_either("mat", "vec"), forms=ADDED)
def addmv(input, mat, vec, *, beta: Number = None, alpha: Number = None):
    """beta * input + alpha * (mat @ vec)."""
    check_mv(mat, vec, input.shape)
    return _added(input, mat, vec, beta, alpha)


@op("addr", promotes="raw", numbers=(), needs=_either("vec1", "vec2"), forms=ADDED)
def addr(input, vec1, vec2, *, beta: Number = None, alpha: Number = None):
    """beta * input + alpha * outer(vec1, vec2)."""
    for x, name in ((vec1, "vec1"), (vec2, "vec2")):
        if x.ndim != 1:
            raise RuntimeError(f"addr: Expected 1-D argument {name}, but got {x.ndim}-D")
    category = max(torch_dtype(x).category for x in (input, vec1, vec2))
    for x, name in ((beta, "beta"), (alpha, "alpha")):
        if x is not None:
            check_factor(name, x.kind, category)
    kind = common_dtype((input, vec1, vec2))
    input, vec1, vec2 = (x.astype(kind) for x in (input, vec1, vec2))
    return _weighted(input, vec1[:, None] * vec2[None, :], beta, alpha)


@op("baddbmm", promotes="raw", numbers=(), needs=_either("batch1", "batch2"), forms=ADDED)
def baddbmm(input, batch1, batch2, *, beta: Number = None, alpha: Number = None):
    """beta * input + alpha * bmm(batch1, batch2)."""
    check_bmm(batch1, batch2)
    return _added(input, batch1, batch2, beta, alpha)


@op("addbmm", promotes="raw", numbers=(), needs=_either("batch1", "batch2"), forms=ADDED)
def addbmm(input, batch1, batch2, *, beta: Number = None, alpha: Number = None):
    """beta * input + alpha * the sum over the batch of bmm(batch1, batch2)."""
    for x, name in ((batch1, "batch1"), (batch2, "batch2")):
        if x.ndim != 3:
            raise RuntimeError(f"{name} must be a 3D tensor")
    if batch1.shape[0] != batch2.shape[0]:
        raise RuntimeError(
            "batch1 and batch2 must have same number of batches, got "
            f"{batch1.shape[0]} and {batch2.shape[0]}"
        )
    if batch1.shape[2] != batch2.shape[1]:
        raise RuntimeError(
            f"Incompatible matrix sizes for bmm ({_by(batch1.shape[1:])} and "
            f"{_by(batch2.shape[1:])})"
        )
    check_same_scalar(batch1, batch2)
    multiply = lambda a, b, kind=None: contract(a, b, (0, 2), (0, 1), kind=kind)  # noqa: E731
    return _added(input, batch1, batch2, beta, alpha, multiply)


# ---- tensors -----------------------------------------------------------------------------------


@op("tensordot", promotes="raw", numbers=(), multilinear=True, grad_name="ViewBackward0")
def tensordot(a, b, dims_a: Shape, dims_b: Shape):
    """The product over pairs of dimensions, counted from the front."""
    for i, j in zip(dims_a, dims_b, strict=True):
        m, n = a.shape[i], b.shape[j]
        if m == 1 or n == 1:  # PyTorch broadcasts here
            if m != 1:
                a = a.sum(i, keepdims=True, dtype=a.dtype)
            if n != 1:
                b = b.sum(j, keepdims=True, dtype=b.dtype)
        elif m != n:
            raise RuntimeError(
                f"contracted dimensions need to match, but first has size {m} in dim {i} and "
                f"second has size {n} in dim {j}"
            )
    check_same_scalar(a, b)
    return contract(a, b, dims_a, dims_b)


@op(
    "kron",
    saves="nothing",
    promotes=None,
    numbers=(),
    multilinear=True,
    grad_name="UnsafeViewBackward0",
    forms=FORMS,
)
def kron(input, other):
    """The Kronecker product: every element of the first times the whole second."""
    # A number that is a tensor has the part of any tensor here.
    common = dt.promote_types(torch_dtype(input), torch_dtype(other)).numpy
    input, other = input.astype(common), other.astype(common)
    n = max(input.ndim, other.ndim)
    a = input.reshape((*(1,) * (n - input.ndim), *input.shape))
    b = other.reshape((*(1,) * (n - other.ndim), *other.shape))
    grid = a.reshape([k for m in a.shape for k in (m, 1)]) * b.reshape(
        [k for m in b.shape for k in (1, m)]
    )
    return grid.reshape([i * j for i, j in zip(a.shape, b.shape, strict=True)])


@op("cross_dim", promotes="raw", multilinear=True, grad_name="LinalgCrossBackward0")
def cross_dim(input, other, dim: Dim):
    """The cross product of vectors of three along ``dim``."""
    check_same_scalar(input, other)
    for x in (input, other):
        if x.shape[dim] != 3:
            raise RuntimeError(
                f"linalg.cross: inputs dimension {dim} must have length 3. Got "
                f"{input.shape[dim]} and {other.shape[dim]}"
            )
    if input.dtype == bool:
        raise NotImplementedError("\"cross\" not implemented for 'Bool'")
    return jnp.cross(input, other, axis=dim)


_FEW_ROWS = 25  # up to which PyTorch differentiates distances pair by pair


def _cdist_gradient(c, g):
    x1, x2 = c.operands
    p, rows = c.statics["p"], (x1.shape[-2], x2.shape[-2])
    few = all(isinstance(n, int) and n <= _FEW_ROWS for n in rows)
    if p != 2 or few or x1.shape[:-2] != x2.shape[:-2]:
        return jax.vjp(lambda a, b: _distances(a, b, p), x1, x2)[1](g)
    # By products, as PyTorch: 1000 by 1000 rows of 32 in 9 ms, and 155 pair by pair; without the
    # barriers, where XLA computes the distances for each reader, 19.
    d = lax.optimization_barrier(_distances(x1, x2, p))
    weight = lax.optimization_barrier(jnp.where(d > 0, g / jnp.where(d > 0, d, 1), 0))
    product = partial(jnp.matmul, precision=lax.Precision.HIGHEST)
    back = jnp.matrix_transpose(weight)
    return (
        x1 * weight.sum(-1)[..., None] - product(weight, x2),
        x2 * weight.sum(-2)[..., None] - product(back, x1),
    )


@op("cdist_p", vjp=_cdist_gradient, grad_name="CdistBackward0")
def cdist_p(x1, x2, p: float):
    """The p-norm distances between the rows of two batches of matrices."""
    if x1.dtype != x2.dtype:
        raise RuntimeError(
            f"expected m1 and m2 to have the same dtype, but got: {scalar_name(x1).lower()} != "
            f"{scalar_name(x2).lower()}"
        )
    return _distances(x1, x2, p)


def _distances(x1, x2, p: float):
    gap = x1[..., :, None, :] - x2[..., None, :, :]
    size = conventions.magnitude(gap)
    if p == 0:
        return (gap != 0).astype(gap.dtype).sum(-1)
    if p == 1:
        return size.sum(-1)
    if p == float("inf"):
        empty = not size.shape[-1]
        return jnp.zeros(size.shape[:-1], size.dtype) if empty else conventions.each_largest(size)
    # At distance zero the gradient is zero, not nan: the root is kept away from it.
    power = (size * size if p == 2 else jnp.where(size == 0, 1, size) ** p * (size != 0)).sum(-1)
    far = power != 0
    root = jnp.sqrt(jnp.where(far, power, 1)) if p == 2 else jnp.where(far, power, 1) ** (1 / p)
    return jnp.where(far, root, 0)
