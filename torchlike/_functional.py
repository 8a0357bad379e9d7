"""Functions of ``torch`` itself that have a twin in ``nn.functional`` under other arguments.

Their signatures are those of PyTorch's op table: reductions are 0 (none), 1 (mean) or 2 (sum),
the weights of a normalization stand before its statistics, and ``train`` has no default.
"""

from __future__ import annotations

from torchlike._core.dtypes import bool_, float64
from torchlike._core.errors import NotSupported
from torchlike._ops.table import TABLE
from torchlike._tensor import dispatch
from torchlike._tensor.dispatch import apply, aval_of
from torchlike._tensor.forms import FUNCTIONS as _TORCH
from torchlike._tensor.modes import no_grad
from torchlike.nn import functional as F
from torchlike.nn.functional.dropout import _drop
from torchlike.nn.functional.loss import in_dtype_of
from torchlike.nn.functional.normalization import _move as move_running
from torchlike.nn.functional.sequences import ctc

FUNCTIONS: dict = {}  # by name, for the top-level namespace


def _public(name):
    def wrap(fn):
        fn.__name__ = fn.__qualname__ = name.strip()
        fn.__module__ = "torchlike"
        FUNCTIONS[name] = fn
        return fn

    return wrap


def _twin(fn):
    """A function of its own module name: the function's name is the public one."""
    return _public(fn.__name__)(fn)


# The same signatures: the functions themselves.
for _name in (
    "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
    "conv_tbc", "bilinear", "rms_norm", "celu_", "selu_", "threshold_", "native_channel_shuffle",
    "avg_pool1d", "adaptive_avg_pool1d", "pdist",
):  # fmt: skip
    FUNCTIONS[_name] = getattr(F, _name)


# ---- convolutions and pools --------------------------------------------------------------------


@_twin
def convolution(input, weight, bias, stride, padding, dilation, transposed, output_padding, groups):
    """A convolution of any rank, or its transpose."""
    rank = weight._value.aval.ndim - 2
    if not 1 <= rank <= 3:
        raise RuntimeError(f"expected a weight of 3 to 5 dimensions, but got {rank + 2}")
    at = tuple(stride), tuple(padding), tuple(dilation)
    if transposed:
        statics = (at[0], at[1], tuple(output_padding), groups, at[2], rank)
        return apply(TABLE["conv_transpose"], (input, weight, bias), statics)
    return apply(TABLE["convolution"], (input, weight, bias), (*at, groups, rank))


def _max_pool(name, rank):
    whole = getattr(F, name)

    def max_pool(input, kernel_size, stride=(), padding=0, dilation=1, ceil_mode: bool = False):
        return whole(input, kernel_size, stride, padding, dilation, ceil_mode)

    max_pool.__doc__ = whole.__doc__
    _public(name)(max_pool)


for _name, _rank in {
    "max_pool1d": 1, "max_pool2d": 2, "max_pool3d": 3, "max_pool1d_with_indices": 1,
}.items():  # fmt: skip
    _max_pool(_name, _rank)


@_twin
def adaptive_max_pool1d(input, output_size):
    """Maxima over windows that divide the input evenly, and their places."""
    return F.adaptive_max_pool1d_with_indices(input, output_size)


# ---- normalizations ----------------------------------------------------------------------------


@_twin
def native_batch_norm(
    input, weight, bias, running_mean, running_var, training: bool, momentum: float, eps: float,
    *, out=None,
):  # fmt: skip
    """(result, mean, 1 / std) of ``batch_norm``; the last two are empty unless in training."""
    if not training:
        result = F.batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
        none = _TORCH["empty"](0, dtype=result.dtype, device=result.device)
        return _into(out, (result, none, none.clone()))
    result, mean, variance = apply(TABLE["batch_norm_train"], (input, weight, bias), (eps,))
    a = input._value.aval
    count = a.numel // max(a.shape[1], 1)
    biased = variance.detach() * ((count - 1) / max(count, 1))
    given = next((t for t in (weight, running_mean) if t is not None), input)
    statistics = mean.detach(), (biased + eps).rsqrt()
    results = _into(out, (result, *(t.to(given.dtype) for t in statistics)))
    move_running(running_mean, running_var, mean, variance, momentum)
    return results


def _into(out, results):
    return results if out is None else dispatch.copy_out(out, results)


@_twin
def batch_norm(
    input, weight, bias, running_mean, running_var, training: bool, momentum: float, eps: float,
    cudnn_enabled: bool,
):  # fmt: skip
    """Normalized by channel; in training by the batch, which moves the running statistics."""
    if training:
        given = input, weight, bias, running_mean, running_var
        return native_batch_norm(*given, True, momentum, eps)[0]
    return F.batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)


@_twin
def instance_norm(
    input, weight, bias, running_mean, running_var, use_input_stats: bool, momentum: float,
    eps: float, cudnn_enabled: bool,
):  # fmt: skip
    """Normalized by channel and sample."""
    if not use_input_stats:
        given = running_mean, running_var, weight, bias
        return F.instance_norm(input, *given, False, momentum, eps)
    out, mean, variance = apply(TABLE["instance_norm"], (input, weight, bias), (eps,))
    move_running(running_mean, running_var, mean, variance, momentum)
    return out


@_twin
def layer_norm(
    input, normalized_shape, weight=None, bias=None, eps: float = 1e-05, cudnn_enable: bool = True
):
    """Normalized over the last dimensions."""
    return F.layer_norm(input, normalized_shape, weight, bias, eps)


@_twin
def group_norm(
    input, num_groups: int, weight=None, bias=None, eps: float = 1e-05, cudnn_enabled: bool = True
):
    """Normalized over groups of channels."""
    return apply(TABLE["native_group_norm"], (input, weight, bias), (num_groups, eps))


def _statistics(x, dims, eps, keepdim):
    """Mean and 1 / std over dimensions, of half precision in float32."""
    mean = x.mean(dims, keepdim=keepdim)
    return mean, (x.var(dims, correction=0, keepdim=keepdim) + eps).rsqrt()


@_twin
def native_layer_norm(input, normalized_shape, weight, bias, eps: float, *, out=None):
    """(result, mean, 1 / std) of ``layer_norm``."""
    result = F.layer_norm(input, normalized_shape, weight, bias, eps)
    dims = tuple(range(-len(tuple(normalized_shape)), 0))
    with no_grad():
        return _into(out, (result, *_statistics(input, dims, eps, True)))


@_twin
def native_group_norm(
    input, weight, bias, N: int, C: int, HxW: int, group: int, eps: float, *, out=None
):
    """(result, mean, 1 / std) of ``group_norm``."""
    result = group_norm(input, group, weight, bias, eps)
    groups = input.reshape(N, group, C // group * HxW)
    return _into(out, (result, *_statistics(groups, -1, eps, False)))


# ---- dropouts ----------------------------------------------------------------------------------


def _dropout(name, op, channels):
    def dropout(input, p: float, train: bool, inplace=False):
        if p < 0.0 or p > 1.0:
            raise RuntimeError(f"dropout probability has to be between 0 and 1, but got {p}")
        return _drop(TABLE[op], input, p, train, inplace, channels)

    def plain(input, p: float, train: bool):
        return dropout(input, p, train)

    def inplace(input, p: float, train: bool):
        return dropout(input, p, train, True)

    plain.__doc__ = f"``nn.functional.{name}`` with its arguments in the op table's order."
    inplace.__doc__ = f"In-place ``{name}``."
    _public(name)(plain)
    _public(name + "_")(inplace)


_dropout("dropout", "dropout", False)
_dropout("feature_dropout", "dropout", True)
_dropout("alpha_dropout", "alpha_dropout", False)
_dropout("feature_alpha_dropout", "alpha_dropout", True)


@_twin
def native_dropout(input, p: float, train: bool | None, *, out=None):
    """(dropout, the mask of what was kept)."""
    if train is not None and not train:
        return _into(out, (input.clone(), _TORCH["ones_like"](input, dtype=bool_)))
    keep = 1 - p
    with no_grad():
        mask = _TORCH["empty_like"](input, dtype=bool_).bernoulli_(keep)
    scale = 1 / keep if keep else 0.0
    return _into(out, (input * mask * scale, mask))


# ---- embeddings --------------------------------------------------------------------------------


@_twin
def embedding(
    weight, indices, padding_idx: int = -1, scale_grad_by_freq: bool = False, sparse: bool = False
):
    """weight[indices]; the row ``padding_idx`` gets no gradient."""
    rows = weight._value.aval.shape[0] if weight._value.aval.ndim else 1
    padding = padding_idx if 0 <= padding_idx < rows else None
    return F.embedding(indices, weight, padding, None, 2.0, scale_grad_by_freq, sparse)


_MODES = ("sum", "mean", "max")


@_twin
def embedding_bag(
    weight, indices, offsets, scale_grad_by_freq: bool = False, mode: int = 0,
    sparse: bool = False, per_sample_weights=None, include_last_offset: bool = False,
    padding_idx: int | None = None,
):  # fmt: skip
    """(bags, bag of each index, sizes of the bags, indices of the maxima)."""
    if indices.ndim != 1:
        raise NotSupported("embedding_bag of indices that are no vector", "use nn.functional's")
    bags = F.embedding_bag(
        indices, weight, offsets, None, 2.0, scale_grad_by_freq, _MODES[mode], sparse,
        per_sample_weights, include_last_offset, padding_idx,
    )  # fmt: skip
    with no_grad():
        return (bags, *_bag_tables(weight, indices, offsets, mode, include_last_offset,
                                   padding_idx))  # fmt: skip


def _bag_tables(weight, indices, offsets, mode, include_last_offset, padding_idx):
    """What PyTorch's kernel keeps for its gradient; it keeps less for plain sums."""
    zeros, arange = _TORCH["zeros"], _TORCH["arange"]
    starts = offsets[:-1] if include_last_offset else offsets
    n, count = starts.shape[0], indices.shape[0]
    none = zeros(n, dtype=indices.dtype)
    if mode == 0 and padding_idx is None and weight.dtype is not float64:
        return zeros(0, dtype=indices.dtype), none, none.clone()
    places = arange(count, dtype=indices.dtype)
    bag = _TORCH["bucketize"](places, starts, right=True) - 1
    bag = bag.to(indices.dtype)
    if mode == 0:
        return bag, none, none.clone()
    live = _TORCH["ones_like"](indices)
    if padding_idx is not None:
        rows = weight.shape[0]
        live = (indices != (padding_idx % rows)).to(indices.dtype)
    sizes = none.index_add(0, bag.long(), live)
    if mode == 1:
        return bag, sizes, sizes.clone()
    return bag, sizes, _maxima(weight, indices, bag, live, n)


def _maxima(weight, indices, bag, live, n):
    """For each bag and column, the row of the table that holds the maximum; 0 for none."""
    rows = weight.detach()[indices]
    mine = (bag == _TORCH["arange"](n, dtype=bag.dtype)[:, None]) & (live != 0)
    scores = rows.masked_fill(~mine[:, :, None], float("-inf"))
    best = indices[scores.argmax(1)] if indices.shape[0] else None
    if best is None:
        return _TORCH["zeros"](n, weight.shape[1], dtype=indices.dtype)
    return best.masked_fill(~mine.any(1)[:, None], 0)


# ---- losses ------------------------------------------------------------------------------------


def _reduction(reduction: int) -> str:
    """A number other than 1 or 2 reduces nothing, as in PyTorch's kernels.

    PyTorch's op table says that 1 is the default, but its Python functions reduce nothing then.
    """
    return "mean" if reduction == 1 else "sum" if reduction == 2 else "none"


@_twin
def binary_cross_entropy_with_logits(
    input, target, weight=None, pos_weight=None, reduction: int = 0
):
    """Cross entropy of sigmoid(input), without its overflow."""
    operands = (input, target, weight, pos_weight)
    loss = apply(TABLE["binary_cross_entropy_with_logits"], operands, (_reduction(reduction),))
    return in_dtype_of(loss, target)


@_twin
def cosine_embedding_loss(input1, input2, target, margin: float = 0.0, reduction: int = 0):
    """1 - cos where the target is 1, max(0, cos - margin) where it is -1."""
    return F.cosine_embedding_loss(input1, input2, target, margin, reduction=_reduction(reduction))


@_twin
def hinge_embedding_loss(input, target, margin: float = 1.0, reduction: int = 0):
    """x where the target is 1, max(0, margin - x) where it is -1."""
    return F.hinge_embedding_loss(input, target, margin, reduction=_reduction(reduction))


@_twin
def kl_div(input, target, reduction: int = 0, *, log_target: bool = False):
    """target * (log target - input)."""
    return apply(TABLE["kl_div"], (input, target), (_reduction(reduction), log_target))


@_twin
def margin_ranking_loss(input1, input2, target, margin: float = 0.0, reduction: int = 0):
    """max(0, -target * (input1 - input2) + margin)."""
    statics = (float(margin), _reduction(reduction))
    return apply(TABLE["margin_ranking_loss"], (input1, input2, target), statics)


@_twin
def poisson_nll_loss(input, target, log_input: bool, full: bool, eps: float, reduction: int):
    """Negative log likelihood of counts under a Poisson distribution."""
    statics = (log_input, full, eps, _reduction(reduction))
    return apply(TABLE["poisson_nll_loss"], (input, target), statics)


@_twin
def triplet_margin_loss(
    anchor, positive, negative, margin: float = 1.0, p: float = 2.0, eps: float = 1e-6,
    swap: bool = False, reduction: int = 0,
):  # fmt: skip
    """max(0, margin + d(anchor, positive) - d(anchor, negative))."""
    statics = (float(margin), float(p), eps, swap, _reduction(reduction))
    return apply(TABLE["triplet_margin_loss"], (anchor, positive, negative), statics)


@_twin
def ctc_loss(
    log_probs, targets, input_lengths, target_lengths, blank: int = 0, reduction: int = 0,
    zero_infinity: bool = False,
):  # fmt: skip
    """Negative log likelihood of the targets under all their alignments with the input."""
    lengths = input_lengths, target_lengths
    return ctc(log_probs, targets, *lengths, blank, _reduction(reduction), zero_infinity)


# ---- others ------------------------------------------------------------------------------------


@_twin
def rrelu(input, lower=0.125, upper=1 / 3, training: bool = False, generator=None):
    """Leaky relu whose slopes are drawn at random in training, and their mean otherwise."""
    _own_generator("rrelu", generator)
    return F.rrelu(input, lower, upper, training)


@_twin
def rrelu_(input, lower=0.125, upper=1 / 3, training: bool = False, generator=None):
    """In-place ``rrelu``."""
    _own_generator("rrelu_", generator)
    return F.rrelu_(input, lower, upper, training)


def _own_generator(name, generator):
    if generator is not None:
        raise NotSupported(f"{name} with a generator of its own", "seed the default generator")


_FOUND_BY = ("bilinear", "nearest", "bicubic")
_OUTSIDE = ("zeros", "border", "reflection")


def _grid_sampler(name, ndim):
    def sampler(input, grid, interpolation_mode: int, padding_mode: int, align_corners: bool):
        if ndim and aval_of(input).ndim != ndim:
            raise RuntimeError(
                f"{name}(): expected {ndim}D input, but got input with sizes {list(input.shape)}"
            )
        mode, outside = _FOUND_BY[interpolation_mode], _OUTSIDE[padding_mode]
        return F.grid_sample(input, grid, mode, outside, align_corners)

    sampler.__doc__ = "``nn.functional.grid_sample`` with numbers for its modes."
    _public(name)(sampler)


_grid_sampler("grid_sampler", 0)
_grid_sampler("grid_sampler_2d", 4)
_grid_sampler("grid_sampler_3d", 5)


@_twin
def constant_pad_nd(input, pad, value=0):
    """Pad with one number, from the last dimension backwards."""
    return F.pad(input, pad, "constant", value)
