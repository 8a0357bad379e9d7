"""gradcheck and gradgradcheck: derivatives against finite differences."""

from __future__ import annotations

import warnings

import numpy as np

from torchlike._core import dtypes as dt
from torchlike._core.errors import NotSupported
from torchlike._core.settings import settings
from torchlike._tensor.backward import grad
from torchlike._tensor.forms import FUNCTIONS
from torchlike._tensor.function import Function
from torchlike._tensor.modes import enable_grad
from torchlike._tensor.tensor import Tensor
from torchlike.func.transforms import Push, basis, by_chunks, or_zeros, pull

__all__ = ["GradcheckError", "gradcheck", "gradgradcheck"]


class GradcheckError(RuntimeError):
    """A derivative and its finite difference disagree."""


def _tuple(x):
    return tuple(x) if isinstance(x, (tuple, list)) else (x,)


def _inexact(t) -> bool:
    return isinstance(t, Tensor) and t.dtype.category >= dt.FLOATING


def _check_inputs(inputs):
    if not any(_inexact(t) and t.requires_grad for t in inputs):
        raise ValueError(
            "gradcheck expects at least one input tensor to require gradient, but none of them "
            "have requires_grad=True."
        )
    for i, t in enumerate(inputs):
        if _inexact(t) and t.requires_grad and t.dtype not in (dt.float64, dt.complex128):
            warnings.warn(
                f"Input #{i} requires gradient and is not a double precision floating point or "
                "complex. This check will likely fail if all the inputs are not of double "
                "precision floating point or complex. ",
                stacklevel=4,
            )
        if not isinstance(t, Tensor) or not t.requires_grad or t._sparse:
            continue
        if any(n > 1 and not s for n, s in zip(t.shape, t.stride(), strict=True)):
            raise RuntimeError(
                f"The {i}th input has a dimension with stride 0. gradcheck only supports inputs "
                "that are non-overlapping to be able to compute the numerical gradients correctly. "
                "You should call .contiguous on the input before passing it to gradcheck."
            )


def gradcheck(
    func, inputs, *, eps=1e-6, atol=1e-5, rtol=1e-3, raise_exception=True, nondet_tol=0.0,
    check_undefined_grad=True, check_grad_dtypes=False, check_batched_grad=False,
    check_batched_forward_grad=False, check_forward_ad=False, check_backward_ad=True,
    fast_mode=False, masked=None,
) -> bool:  # fmt: skip
    """Whether the gradients of ``func`` agree with finite differences; all elements are checked
    (https://pytorch.org/docs/stable/generated/torch.autograd.gradcheck.gradcheck.html)."""
    if not (check_forward_ad or check_backward_ad):
        raise AssertionError(
            "Expected at least one of check_forward_ad or check_backward_ad to be True"
        )
    if check_batched_grad and not check_backward_ad:
        raise AssertionError(
            "Setting check_batched_grad=True requires check_backward_ad to be True"
        )
    if check_batched_forward_grad and not check_forward_ad:
        raise AssertionError(
            "Setting check_batched_forward_grad=True requires check_forward_ad to be True"
        )
    inputs = _tuple(inputs)
    if any(isinstance(x, Tensor) and x._sparse and x.requires_grad for x in inputs):
        raise NotSupported(
            "gradcheck of sparse tensors", "use torch.sparse.as_sparse_gradcheck(gradcheck)"
        )
    _check_inputs(inputs)
    try:
        # A function that comes back often enough is compiled, and may differ from what NumPy said
        # before in the last bit: a backward that is run twice would not look reentrant.
        with settings.override(small_on_host=True):
            _check(
                func, inputs, eps, atol, rtol, check_forward_ad, check_backward_ad,
                check_grad_dtypes, nondet_tol, check_batched_grad, check_undefined_grad,
            )  # fmt: skip
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def _check(
    func, inputs, eps, atol, rtol, forward, backward, dtypes, nondet_tol, batched, undefined
):  # fmt: skip
    outputs = [o for o in _tuple(func(*inputs)) if _inexact(o)]
    live = [i for i, t in enumerate(inputs) if _inexact(t) and t.requires_grad]
    if not outputs:
        return
    wanted = [inputs[i] for i in live]
    numeric = [_numeric(func, inputs, i, outputs, eps) for i in live]
    if not any(o.requires_grad for o in outputs):
        for k, i in enumerate(live):
            if any(np.abs(found).max(initial=0) > atol for found in numeric[k]):
                raise GradcheckError(
                    "Numerical gradient for function expected to be zero: no output requires "
                    f"grad, but some depend on input {i}"
                )
        return
    if backward:
        rows = [_analytic(o, wanted, dtypes) for o in outputs]
        for n, row in enumerate(rows):
            for k, found in enumerate(row):
                _compare(found, numeric[k][n], n, live[k], atol, rtol, "")
            again = _analytic(outputs[n], wanted, False)
            if any(_apart(a, b) > nondet_tol for a, b in zip(row, again, strict=True)):
                raise GradcheckError(
                    "Backward is not reentrant, i.e., running backward with same input and "
                    "grad_output multiple times gives different values, although analytical "
                    "gradient matches numerical gradient. The tolerance for nondeterminism was "
                    f"{nondet_tol}."
                )
    if backward and batched:
        _check_batched([o for o in outputs if o.requires_grad], wanted)
    if backward:
        _check_zeros([o for o in outputs if o.requires_grad], wanted)
    if backward and undefined:
        _check_undefined(func, inputs, wanted)
    if forward:
        push = Push(outputs, wanted)
        zeros = [FUNCTIONS["zeros_like"](t.detach()) for t in wanted]
        for k, t in enumerate(wanted):
            columns = _by_elements(
                t,
                lambda e, k=k: or_zeros(push([*zeros[:k], e, *zeros[k + 1 :]], False), outputs),
            )  # fmt: skip
            for n, found in enumerate(columns):
                found = found.numpy(force=True).reshape(t.numel(), -1)
                found = [found, 1j * found] if t.is_complex() else [found]
                _compare(
                    np.concatenate(found), numeric[k][n], n, live[k], atol, rtol,
                    " computed with forward mode",
                )  # fmt: skip


# A Jacobian has a row per real direction of the input (for a complex one the real directions, then
# the imaginary) and a column per element of the output, complex if that is.


def _numeric(func, inputs, i, outputs, eps) -> list:
    """By differences, with the input itself moved: the function may keep it, or ask its class."""
    data = inputs[i].data
    host = np.array(data.numpy(force=True))
    steps = [eps, 1j * eps] if np.iscomplexobj(host) else [eps]
    rows: list = [[] for _ in outputs]
    try:
        for step in steps:
            for at in range(host.size):
                sides = []
                for sign in (1, -1):
                    moved = host.copy()
                    moved.flat[at] += sign * step
                    data.copy_(FUNCTIONS["tensor"](moved))
                    with enable_grad():
                        found = [o for o in _tuple(func(*inputs)) if _inexact(o)]
                    _check_alike(found, outputs)
                    sides.append([np.array(o.numpy(force=True)) for o in found])
                for row, a, b in zip(rows, *sides, strict=True):
                    row.append((a - b).reshape(-1) / (2 * eps))
    finally:
        data.copy_(FUNCTIONS["tensor"](host))
    shape = (len(steps) * host.size, -1)
    return [
        np.array(row).reshape(shape) if row else np.zeros((0, o.numel()))
        for row, o in zip(rows, outputs, strict=True)
    ]


def _apart(a, b) -> float:
    """How far two Jacobians of one graph are apart, beyond the rounding of different programs."""
    rounding = np.finfo(a.dtype).eps ** 0.75 * np.abs(a).max(initial=0)
    return max(np.abs(a - b).max(initial=0) - rounding, 0.0)


def _check_alike(found, outputs) -> None:
    for what in ("shape", "dtype"):
        pairs = zip(found, outputs, strict=True)
        if any(getattr(a, what) != getattr(b, what) for a, b in pairs):
            raise AssertionError(
                f"Expected `func` to return outputs with the same {what} when inputs are perturbed"
            )


def _check_batched(outputs, inputs) -> None:
    """Raise if the gradients of a batch of gradients put in are not those one by one."""
    for n, o in enumerate(outputs):
        host = np.random.default_rng(0).standard_normal((2, *o.shape))
        put = FUNCTIONS["tensor"](host, dtype=o.dtype, device=o.device)
        rows = [or_zeros(pull([o], inputs, [put[k]], False), inputs) for k in range(2)]
        told = "gradcheck or gradgradcheck failed while testing batched gradient computation: "
        try:
            found = grad(
                [o], inputs, [put], retain_graph=True, allow_unused=True, is_grads_batched=True
            )
        except RuntimeError as error:
            raise GradcheckError(f"{told}{error}") from error
        for i, g in enumerate(found):
            expected = np.stack([row[i].numpy(force=True) for row in rows])
            if g is not None and not np.allclose(g.numpy(force=True), expected):
                raise GradcheckError(f"{told}output {n} and input {i} differ")


def _check_zeros(outputs, inputs) -> None:
    """Raise if gradients of zero do not give gradients of zero, of the inputs' kind."""
    seeds = [FUNCTIONS["zeros_like"](o.detach()) for o in outputs]
    for g, x in zip(pull(outputs, inputs, seeds, False), inputs, strict=True):
        if g is None:
            continue
        if g.layout is not x.layout:
            raise GradcheckError(f"grad is incorrect layout ({g.layout} is not {x.layout})")
        if _some(g):
            raise GradcheckError("backward not multiplied by grad_output")


def _some(g) -> bool:
    return bool(np.any((g.to_dense() if g._sparse else g).numpy(force=True)))


class _Undefined(Function):
    """Stands between a result and its gradient, which is None below."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, g):
        return None


_UNDEFINED = (
    'Please look at "Notes about undefined output gradients" in "tools/autograd/derivatives.yaml"'
)


def _check_undefined(func, inputs, wanted) -> None:
    """Raise if backward cannot do with gradients that are None: of all results, and of each."""

    def results():
        with enable_grad():
            return [o for o in _tuple(func(*inputs)) if _inexact(o) and o.requires_grad]

    count = len(results())
    for left_out in [None, *range(count if count > 1 else 0)]:
        outputs = [
            _Undefined.apply(o) if left_out in (None, i) else o for i, o in enumerate(results())
        ]
        seeds = [FUNCTIONS["zeros_like"](o.detach()) for o in outputs]
        told = error = None
        try:
            found = pull(outputs, wanted, seeds, False)
        except RuntimeError as raised:
            told, error = "Expected backward function to handle undefined output grads.", raised
        else:
            if any(g is not None and _some(g) for g in found):
                told = (
                    "Expected all input grads to be undefined or zero when all output grads are "
                    "undefined or zero."
                )
        if told is not None:
            warnings.warn(
                "Backwards compatibility: New undefined gradient support checking feature is "
                "enabled by default, but it may break existing callers of this function. If this "
                'is true for you, you can call this function with "check_undefined_grad=False" to '
                "disable the feature",
                stacklevel=4,
            )
            raise GradcheckError(f"{told} {_UNDEFINED}") from error


def _by_elements(x, function) -> list:
    """The results of ``function`` over the basis of a tensor's elements, at once where it can be.

    A backward of the user's own may do what has no batched form (``grad += ...``, ``.numpy()``).
    """
    try:
        return by_chunks(x, None, function)
    except GradcheckError:
        raise
    except (RuntimeError, NotImplementedError):
        rows = [function(basis(x, i, 1)[0]) for i in range(x.numel())]
        return [FUNCTIONS["stack"](r) for r in zip(*rows, strict=True)]


def _analytic(out, inputs, dtypes: bool) -> list:
    """The same Jacobians from the tape, by gradients of the real and the imaginary part."""
    parts = [1.0, 1j] if out.is_complex() else [1.0]
    total: list = [0] * len(inputs)
    for part in parts:

        def pulled(e, part=part):
            found = pull([out], inputs, [e * part], False)
            for g, x in zip(found, inputs, strict=True):
                if dtypes and g is not None and g.dtype is not x.dtype:
                    raise GradcheckError("Gradient has dtype mismatch")
            found = [g.to_dense() if g is not None and g._sparse else g for g in found]
            return or_zeros(found, inputs)

        if not out.numel():
            return [np.zeros((x.numel() * (2 if x.is_complex() else 1), 0)) for x in inputs]
        for k, found in enumerate(_by_elements(out, pulled)):
            rows = found.numpy(force=True).reshape(out.numel(), -1).T
            if inputs[k].is_complex():
                rows = np.concatenate([rows.real, rows.imag])
            total[k] = total[k] + rows * part
    return total


def _compare(found, expected, n, i, atol, rtol, how):
    if not np.allclose(found, expected, rtol, atol):
        part = ""
        if np.iscomplexobj(expected):
            wrong = not np.allclose(found.imag, expected.imag, rtol, atol)
            part = f"While considering the {'imaginary' if wrong else 'real'} part of complex "
            part += "outputs only, "
        raise GradcheckError(
            f"{part}Jacobian{how} mismatch for output {n} with respect to input {i},\n"
            f"numerical:{FUNCTIONS['tensor'](expected)}\nanalytical:{FUNCTIONS['tensor'](found)}\n"
        )


def gradgradcheck(
    func, inputs, grad_outputs=None, *, eps=1e-6, atol=1e-5, rtol=1e-3,
    gen_non_contig_grad_outputs=False, raise_exception=True, nondet_tol=0.0,
    check_undefined_grad=True, check_grad_dtypes=False, check_batched_grad=False,
    check_fwd_over_rev=False, check_rev_over_rev=True, fast_mode=False, masked=False,
) -> bool:  # fmt: skip
    """Whether the second derivatives of ``func`` agree with finite differences
    (https://pytorch.org/docs/stable/generated/torch.autograd.gradcheck.gradgradcheck.html)."""
    if not (check_fwd_over_rev or check_rev_over_rev):
        raise AssertionError(
            "Expected at least one of check_fwd_over_rev or check_rev_over_rev to be True"
        )
    inputs = _tuple(inputs)
    if grad_outputs is None:
        numbers = np.random.default_rng(0)
        grad_outputs = []
        for o in _tuple(func(*inputs)):
            if _inexact(o) and o.requires_grad:
                host = numbers.standard_normal(tuple(o.shape))
                if o.is_complex():
                    host = host + 1j * numbers.standard_normal(tuple(o.shape))
                grad_outputs.append(
                    FUNCTIONS["tensor"](host, dtype=o.dtype, device=o.device).requires_grad_()
                )
    grad_outputs = _tuple(grad_outputs)
    count = len(grad_outputs)

    def gradients(*given):
        xs, gs = given[: len(given) - count], given[len(given) - count :]
        xs = tuple(
            x.detach().requires_grad_()
            if _inexact(x) and not x.requires_grad and old.requires_grad
            else x
            for x, old in zip(xs, inputs, strict=True)
        )
        outs = [o for o in _tuple(func(*xs)) if _inexact(o) and o.requires_grad]
        wanted = [x for x in xs if _inexact(x) and x.requires_grad]
        return tuple(
            g for g in grad(outs, wanted, gs, create_graph=True, allow_unused=True) if g is not None
        )

    def with_grad(*given):
        with enable_grad():
            return gradients(*given)

    return gradcheck(
        with_grad, inputs + grad_outputs, eps=eps, atol=atol, rtol=rtol,
        raise_exception=raise_exception, nondet_tol=nondet_tol,
        check_grad_dtypes=check_grad_dtypes, check_forward_ad=check_fwd_over_rev,
        check_backward_ad=check_rev_over_rev, check_batched_grad=check_batched_grad,
        check_undefined_grad=check_undefined_grad,
    )  # fmt: skip
