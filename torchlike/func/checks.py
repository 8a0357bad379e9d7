"""What the transforms of functions refuse, with PyTorch's errors."""

from __future__ import annotations

from torchlike._core import dtypes as dt
from torchlike._tensor.tensor import Tensor


def positions(argnums, count: int):
    """Positions of the arguments to differentiate, from an int or a tuple of ints."""
    if isinstance(argnums, tuple):
        if not argnums:
            raise RuntimeError("argnums must be non-empty")
        out = [position(n, count) for n in argnums]
        if len(set(out)) != len(out):
            raise RuntimeError(f"argnums elements must be unique, got {tuple(out)}")
        return out
    if not isinstance(argnums, int):
        raise RuntimeError(f"argnums must be int or Tuple[int, ...], got: {type(argnums)}")
    return [position(argnums, count)]


def position(n, count: int) -> int:
    """The position that one ``argnum`` names among so many arguments."""
    if not isinstance(n, int):
        raise RuntimeError(f"argnum must be int, got: {type(n)}")
    if -count <= n < count:
        return n % count
    raise RuntimeError(f"Got argnum={n}, but only {count} positional inputs")


def split_aux(output, name: str):
    """(output, aux) of a function that has both."""
    if not (isinstance(output, tuple) and len(output) == 2):
        raise RuntimeError(
            f"{name}: output of function f should be a tuple: (output, aux) if has_aux is True"
        )
    return output


def check_outputs(outs, name: str):
    """Raise ``RuntimeError`` where results are none or no tensors."""
    if not outs or (len(outs) == 1 and outs[0] is None):
        raise RuntimeError(
            f"{name}: Expected f to be a function that has non-empty output (got output = {outs})"
        )
    for o in outs:
        if not isinstance(o, Tensor):
            raise RuntimeError(
                f"{name}: expected f(*primals) to return only tensors, got unsupported type "
                f"{type(o)}"
            )


def check_floating(outs) -> None:
    """Raise ``RuntimeError`` for results that have no gradients."""
    for o in outs:
        if o.dtype.category < dt.FLOATING:
            raise RuntimeError(
                "vjp(f, ...): All outputs of f must be floating-point or complex Tensors, got "
                f"Tensor with dtype {o.dtype}"
            )


def check_real(name: str, tensors, kind: str):
    """Raise ``RuntimeError`` for complex tensors."""
    for i, t in enumerate(tensors):
        if isinstance(t, Tensor) and t.dtype.category == dt.COMPLEX:
            raise RuntimeError(
                f"{name}: Expected all {kind} to be real but received complex tensor at flattened "
                f"input idx: {i}"
            )


def check_primals(primals) -> None:
    """Raise ``ValueError`` for tensors that forward mode cannot differentiate."""
    for p in primals:
        if p.dtype.category < dt.FLOATING:
            raise ValueError(f"Expected primal to be floating point or complex, but got: {p.dtype}")


def check_tangents(primals, tangents) -> None:
    """Raise PyTorch's errors for tangents that do not fit their primals."""
    check_primals(primals)
    for p, t in zip(primals, tangents, strict=True):
        if t.dtype.category < dt.FLOATING:
            raise ValueError(
                f"Expected tangent to be floating point or complex, but got: {t.dtype}"
            )
        if p.shape != t.shape:
            raise RuntimeError(
                "Trying to set a forward gradient that has a different size than that of the "
                f"original Tensor, this is not supported. Tensor is of size {list(p.shape)} while "
                f"the given forward gradient is of size {list(t.shape)}."
            )
        if p.dtype is not t.dtype:
            raise RuntimeError(
                f"Expected tangent to have the same dtype as the primal, but got {t.dtype} for a "
                f"primal of {p.dtype}"
            )
