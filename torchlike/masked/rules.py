"""What the ops of the table do with MaskedTensors; dispatch asks here when one came to it."""

from __future__ import annotations

from torchlike._core.errors import NotSupported, SparseView
from torchlike._ops.table import TABLE, Op
from torchlike._tensor import dispatch, views
from torchlike._tensor.dispatch import apply, value_of
from torchlike.masked import normalizations, reductions
from torchlike.masked.masks import torch
from torchlike.masked.tensor import data_of, is_masked_tensor, mask_of, wrap

RULES: dict = {}  # by the op's name: rule(*operands, *statics)

# Elementwise too, though the table does not say so.
_POINTWISE = (
    "bitwise_not", "clone", "conj_physical", "erfinv", "full_like", "nan_to_num", "nextafter",
    "ones_like", "to_dtype", "zeros_like",
)  # fmt: skip
# They move elements about: what they do to the data they do to the mask.
_MOVING = (
    "cat", "diagonal", "flip", "index", "index_select_dim", "repeat", "stack", "tril",
    "triu", "unfold",
)  # fmt: skip
_NO_VIEW = ("imag", "real", "view_as_complex", "view_as_real", "view_dtype")


def call(op: Op, operands, statics):
    """The result of an op on operands of which some are masked; raises where it has none."""
    if not any(is_masked_tensor(x) for x in operands):
        return _below(op, operands, statics)
    found = RULES.get(op.name)
    if found is not None:
        return found(*operands, *statics)
    if op.view and op.name not in _NO_VIEW:
        raise SparseView(_viewed(op, operands, statics))
    if op.name in _MOVING:
        return _moved(op, operands, statics)
    if op.pointwise or op.name in _POINTWISE:
        return _pointwise(op, operands, statics)
    raise NotSupported(
        f"{op.name.removesuffix('_dim')}() of a MaskedTensor",
        "use its get_data(), or to_tensor(value)",
    )


# The hook is one: sparse tensors had it first, and get what is not masked.
_below, dispatch._sparse_call = dispatch._sparse_call, call


def _viewed(op, operands, statics):
    """Slices and other shapes of data and mask; one, or a tuple."""
    x, *numbers = operands
    if op.name == "view":  # a MaskedTensor counts as contiguous, its halves may not be so
        return wrap(torch.reshape(data_of(x), *statics), torch.reshape(mask_of(x), *statics))
    data = views.apply_view(op, data_of(x), tuple(numbers), statics)
    mask = views.apply_view(op, mask_of(x), tuple(numbers), statics)
    if data.__class__ is not tuple:
        return wrap(data, mask)
    return tuple([wrap(d, m) for d, m in zip(data, mask, strict=True)])


def _moved(op, operands, statics):
    """Elements and their bits of the mask in another order."""
    if op.list_at == 0:
        if not all(is_masked_tensor(x) for x in operands):
            raise TypeError(f"{op.name}(): all tensors must be MaskedTensors, or none")
        data, mask = [data_of(x) for x in operands], [mask_of(x) for x in operands]
    else:
        x, *rest = operands
        data, mask = [data_of(x), *rest], [mask_of(x), *rest]
    return wrap(apply(op, data, statics), apply(op, mask, statics))


def _pointwise(op, operands, statics):
    """An op elementwise on the data; operands that are masked must agree on their masks."""
    masks = [mask_of(x) for x in operands if is_masked_tensor(x)]
    mask = masks[0]
    for other in masks[1:]:
        if value_of(mask) is value_of(other):
            continue
        if mask.shape != other.shape or not torch.equal(mask, other):
            raise ValueError(
                "Input masks must match. If you need support for this, please open an issue on "
                "Github."
            )
    data = apply(op, [data_of(x) if is_masked_tensor(x) else x for x in operands], statics)
    return wrap(data, mask if mask.shape == data.shape else mask.expand(data.shape))


def rule(*names):
    """Decorator: the rule of ops; it gets the operands, then the static arguments."""

    def put(fn):
        for name in names:
            if name not in TABLE:
                raise ValueError(f"no op {name!r}")
            RULES[name] = fn
        return fn

    return put


@rule("where")
def where(condition, input, other):
    """Data and mask from the one or the other, and only where the condition is there."""
    data = [data_of(x) if is_masked_tensor(x) else x for x in (condition, input, other)]
    bits = [mask_of(x) if is_masked_tensor(x) else True for x in (condition, input, other)]
    out = torch.where(*data)
    mask = bits[0]
    if bits[1] is not True or bits[2] is not True:
        mask = torch.where(data[0], *bits[1:])
        mask = mask if bits[0] is True else mask & bits[0]
    return wrap(out, mask if mask.shape == out.shape else mask.expand(out.shape))


# ---- reductions --------------------------------------------------------------------------------


def _reduced(x, data, dim):
    """A result with its mask: it is there where anything went into it."""
    mask = mask_of(x)
    mask = torch.any(mask) if dim is None or dim == () else torch.any(mask, dim)
    return wrap(data, mask.reshape(data.shape))


def _reduction(name):
    fn = getattr(reductions, name)

    def rule_of(x, dim=None, keepdim=False, dtype=None):
        out = fn(data_of(x), dim, keepdim=keepdim, dtype=dtype, mask=mask_of(x))
        return _reduced(x, out, dim)

    return rule_of


for _name in ("sum", "prod", "mean", "amax", "amin", "argmax", "argmin", "logsumexp"):
    rule(_name)(_reduction(_name))
rule("max")(_reduction("amax"))
rule("min")(_reduction("amin"))


def _spread(name):
    fn = getattr(reductions, name)

    def rule_of(x, dim, correction, keepdim):
        out = fn(data_of(x), dim, correction=correction, keepdim=keepdim, mask=mask_of(x))
        return _reduced(x, out, dim)

    return rule_of


rule("var")(_spread("var"))
rule("std")(_spread("std"))


@rule("norm")
def norm(x, p, dim, keepdim, dtype):
    """The norm of what is there."""
    out = reductions.norm(data_of(x), p, dim, keepdim=keepdim, dtype=dtype, mask=mask_of(x))
    return _reduced(x, out, dim)


@rule("all")
def all_of(x, dim, keepdim):
    """Whether nothing that is there is zero."""
    filled = torch.where(mask_of(x), data_of(x) != 0, True)
    return _reduced(x, apply(TABLE["all"], (filled,), (dim, keepdim)), dim)


@rule("any")
def any_of(x, dim, keepdim):
    """Whether something that is there is not zero."""
    filled = torch.where(mask_of(x), data_of(x) != 0, False)
    return _reduced(x, apply(TABLE["any"], (filled,), (dim, keepdim)), dim)


# ---- along a dimension -------------------------------------------------------------------------


def _along(fn):
    def rule_of(x, dim, dtype=None):
        return wrap(fn(data_of(x), dim, dtype=dtype, mask=mask_of(x)), mask_of(x))

    return rule_of


rule("cumsum")(_along(reductions.cumsum))
rule("cumprod")(_along(reductions.cumprod))
rule("softmax")(_along(normalizations.softmax))
rule("log_softmax")(_along(normalizations.log_softmax))
