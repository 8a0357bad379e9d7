"""Losses: each one op, its reduction included."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax.scipy.special import xlogy

from torchlike._core import dtypes as dt
from torchlike._ops import conventions
from torchlike._ops.normalization import safe_norm
from torchlike._ops.table import report_bad_index, torch_dtype
from torchlike._ops.windows import floating, layer, reduce_loss, require_floating, widen


def _loss(name: str, **attributes):
    """Register a loss whose operands are promoted and broadcast together."""
    return layer(name, promotes="result", computes="opmath", pointwise=False, **attributes)


def clamp_zero(x):
    """max(x, 0) whose gradient passes at 0, as PyTorch's ``clamp_min`` does."""
    if jnp.iscomplexobj(x):
        raise NotImplementedError("clamp is not supported for complex types")
    return conventions.at_least(x, 0)


def _node(plain: str, mean: str = "MeanBackward0", total: str = "SumBackward0"):
    """A node's name by reduction, for a loss that PyTorch composes of several steps."""
    names = {"none": plain, "mean": mean, "sum": total}
    return lambda c: names.get(c.reduction, "DivBackward0")  # the last for "batchmean"


def _by_weight(own):
    """The node's name of a loss that is one step without a weight and several with one."""
    weighted = _node("MulBackward0", "DivBackward0")
    return lambda c: own(c) if c.weight is None else weighted(c)


def _weighted(x, weight, reduction):
    if weight is None:
        return reduce_loss(x, reduction)
    x = x * weight
    if reduction == "mean":
        return x.sum() / weight.sum()
    return reduce_loss(x, reduction)


# ---- regression --------------------------------------------------------------------------------


@_loss("mse_loss", grad_name=_by_weight(lambda c: "MseLossBackward0"))
def mse_loss(input, target, weight=None, *, reduction: str):
    """(input - target)^2."""
    require_floating(input, "mse_cpu")
    difference = input - target
    if jnp.iscomplexobj(difference):
        raise NotImplementedError("\"mse_cpu\" not implemented for 'ComplexFloat'")
    return _weighted(difference * difference, weight, reduction)


_absolute = _node("AbsBackward0")


@_loss("l1_loss", saves="nothing", grad_name=_by_weight(_absolute))
def l1_loss(input, target, weight=None, *, reduction: str):
    """|input - target|."""
    if reduction == "mean" and torch_dtype(input).category < dt.FLOATING:
        raise RuntimeError(
            "mean(): could not infer output dtype. Input dtype must be either a floating point or "
            f"complex dtype. Got: {dt.SCALAR_NAMES[torch_dtype(input)]}"
        )
    return _weighted(conventions.magnitude(input - target), weight, reduction)


@_loss("smooth_l1_loss", grad_name=lambda c: "SmoothL1LossBackward0" if c.beta else _absolute(c))
def smooth_l1_loss(input, target, reduction: str, beta: float):
    """Squared below beta, absolute above."""
    if beta < 0:
        raise RuntimeError("smooth_l1_loss does not support negative values for beta.")
    require_floating(input, "smooth_l1_cpu")
    if beta == 0:
        return reduce_loss(conventions.magnitude(input - target), reduction)
    size = jnp.abs(input - target)
    square = conventions.by_number(0.5 * size * size, beta)
    return reduce_loss(jnp.where(size < beta, square, size - 0.5 * beta), reduction)


@_loss("huber_loss")
def huber_loss(input, target, weight=None, *, reduction: str, delta: float):
    """Squared up to delta, then delta times absolute."""
    if delta <= 0:
        raise RuntimeError("huber_loss does not support non-positive values for delta.")
    require_floating(input, "huber_cpu")
    size = jnp.abs(input - target)
    loss = jnp.where(size < delta, 0.5 * size * size, delta * (size - 0.5 * delta))
    # Unlike its neighbours' the mean is plain, not by the sum of the weights.
    return reduce_loss(loss if weight is None else loss * weight, reduction)


@_loss(
    "poisson_nll_loss",
    grad_name=lambda c: _node("AddBackward0" if c.full else "SubBackward0")(c),
    signature="poisson_nll_loss(input, target, log_input, full, eps)",
)
def poisson_nll_loss(input, target, log_input: bool, full: bool, eps: float, reduction: str):
    """Negative log likelihood of counts under a Poisson distribution."""
    input = floating(input)
    if log_input:
        loss = jnp.exp(input) - target * input
    else:
        loss = input - target * jnp.log(input + eps)
    if full:
        target = floating(target)
        big = jnp.where(target > 1, target, 1)
        stirling = big * jnp.log(big) - big + 0.5 * jnp.log(2 * math.pi * big)
        loss = loss + jnp.where(target > 1, stirling, 0)
    return reduce_loss(loss, reduction)


@_loss(
    "gaussian_nll_loss",
    saves="nothing",  # PyTorch's is made of ops that save what they make of the operands
    grad_name=lambda c: _node("AddBackward0" if c.full else "MulBackward0")(c),
)
def gaussian_nll_loss(input, target, var, *, full: bool, eps: float, reduction: str):
    """Negative log likelihood under a normal distribution; nan where a variance is negative."""
    # PyTorch clamps under no_grad, so the gradient passes to a clamped variance too.
    clamped = jnp.where(var < 0, jnp.nan, jnp.maximum(var, eps))
    var = var + jax.lax.stop_gradient(clamped - var)
    loss = 0.5 * (jnp.log(var) + (input - target) ** 2 / var)
    if full:
        loss = loss + 0.5 * math.log(2 * math.pi)
    return reduce_loss(loss, reduction)


# ---- probabilities -----------------------------------------------------------------------------


def _bce_vjp(c, g):
    input, target, weight = c.operands
    reduction = c.statics["reduction"]
    if reduction == "mean":
        g = g / max(input.size, 1)
    if weight is not None:
        g = g * weight
    dx = g * (input - target) / jnp.maximum((1 - input) * input, 1e-12) if c.need[0] else None
    dt_, dw = None, None
    if c.need[1]:
        dt_ = g * (_log100(1 - input) - _log100(input))
    if c.need[2]:
        plain = target * _log100(input) + (1 - target) * _log100(1 - input)
        full = g / weight
        dw = -full * plain
    return dx, dt_, dw


def _log100(x):
    return jnp.maximum(jnp.log(x), -100)


@layer("binary_cross_entropy", vjp=_bce_vjp)
def binary_cross_entropy(input, target, weight=None, *, reduction: str):
    """Cross entropy of probabilities; logarithms stop at -100; nan outside [0, 1]."""
    if target.dtype != input.dtype:
        a, b = torch_dtype(target), torch_dtype(input)
        raise RuntimeError(f"Found dtype {dt.SCALAR_NAMES[a]} but expected {dt.SCALAR_NAMES[b]}")
    require_floating(input, "binary_cross_entropy")
    x, y = widen(input), widen(target)
    loss = -(y * _log100(x) + (1 - y) * _log100(1 - x))
    loss = jnp.where((y < 0) | (y > 1), jnp.nan, loss)
    if weight is not None:
        loss = loss * weight
    return reduce_loss(loss, reduction).astype(input.dtype)


@_loss("binary_cross_entropy_with_logits")
def binary_cross_entropy_with_logits(
    input, target, weight=None, pos_weight=None, *, reduction: str
):
    """Cross entropy of sigmoid(input), without its overflow."""
    require_floating(input, "log_sigmoid_cpu")
    log_positive = jax.nn.log_sigmoid(input)
    factor = 1 if pos_weight is None else (pos_weight - 1) * target + 1
    loss = (1 - target) * input - factor * log_positive
    if weight is not None:
        loss = loss * weight
    return reduce_loss(loss, reduction)


def _kl_refuses(input, target):
    for a in (input, target):
        kind = a.dtype.category
        if kind != dt.FLOATING:
            word = "Complex" if kind > dt.FLOATING else "Integral"
            raise RuntimeError(f"kl_div: {word} inputs not supported.")


@_loss(
    "kl_div",
    saves="nothing",
    refuses=_kl_refuses,
    grad_name=lambda c: _node("MulBackward0" if c.log_target else "SubBackward0")(c),
)
def kl_div(input, target, reduction: str, log_target: bool):
    """target * (log target - input)."""
    if log_target:
        loss = jnp.exp(target) * (target - input)
    else:
        loss = xlogy(target, target) - target * input
    if reduction == "batchmean":
        return loss.sum() / (input.shape[0] if input.ndim else 1)
    return reduce_loss(loss, reduction)


# ---- classes -----------------------------------------------------------------------------------


def _check_weight(weight, classes, input=None):
    if weight is not None and weight.shape != (classes,):
        raise RuntimeError(
            f"weight tensor should be defined either for all {classes} classes or no classes but "
            f"got weight tensor of shape: {list(weight.shape)}"
        )
    if weight is not None and input is not None and weight.dtype != input.dtype:
        wanted, found = (dt.SCALAR_NAMES[torch_dtype(x)] for x in (input, weight))
        raise RuntimeError(f"expected scalar type {wanted} but found {found}")


def _check_target(input, target):
    if input.ndim == 0:
        raise ValueError("Expected 1 or more dimensions (got 0)")
    if input.ndim == 1:
        if target.size != 1:
            raise ValueError("For 1D input, 1D target must have size 1")
    elif target.ndim == 0 or input.shape[0] != target.shape[0]:
        raise ValueError(
            f"Expected input batch_size ({input.shape[0]}) to match target batch_size "
            f"({target.shape[0] if target.ndim else 1})."
        )
    elif input.ndim == 2 and target.ndim > 1:
        raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
    wanted = (input.shape[0], *input.shape[2:])
    if input.ndim > 1 and target.shape != wanted:
        raise RuntimeError(f"Expected target size {list(wanted)}, got {list(target.shape)}")
    d = torch_dtype(target)
    if d is not dt.int64 and d is not dt.uint8:
        raise RuntimeError(
            f"expected target dtype to be Long or Byte, but got {dt.SCALAR_NAMES[d]}"
        )


class _Classes:
    """What the losses over class numbers share: the axis, the hits, the weights, the divisor."""

    def __init__(self, shape, target, weight, ignore_index, checked, report=True):
        self.axis = 1 if len(shape) > 1 else 0
        classes = shape[self.axis]
        if len(shape) == 1:
            target = target.reshape(())
        target = target.astype(jnp.int32) if target.dtype == jnp.uint8 else target
        self.valid = target != ignore_index
        if not checked and report:
            report_bad_index(jnp.where(self.valid, target, 0), classes)
        number = jax.lax.broadcasted_iota(target.dtype, shape, self.axis)
        self.hit = number == jnp.expand_dims(target, self.axis)
        self.spread = lambda x: jnp.expand_dims(x, self.axis)
        if weight is None:
            self.by_class = None
            self.weights = self.valid
        else:
            self.by_class = weight.reshape([-1 if d == self.axis else 1 for d in range(len(shape))])
            own = jnp.where(self.hit, self.by_class, 0).sum(self.axis)
            self.weights = jnp.where(self.valid, own, 0)

    def pick(self, x):
        """The entry of each sample's class.

        A mask over all classes fuses with what is around it: forward and backward of (512, 128)
        took 0.086 ms, with a gather and a scatter 0.116; of (64, 50257) 1.92 against 1.99.
        """
        return jnp.where(self.hit, x, 0).sum(self.axis)

    def masked(self, g):
        """Zero for ignored samples, even where the divisor was 0 and the gradient is infinite."""
        return jnp.where(self.valid, g, jnp.zeros((), g.dtype))

    def divisor(self, dtype):
        """What a mean divides by."""
        return self.weights.sum().astype(dtype)


def _nll_vjp(c, g):
    _, target, weight = c.operands
    shape, s = c.shapes[0].shape, c.statics
    k = _Classes(shape, target, widen(weight), s["ignore_index"], s["checked"], False)
    g = widen(g)
    if s["reduction"] == "mean":
        g = g / k.divisor(g.dtype)
    return jnp.where(k.hit, k.spread(-k.masked(g * k.weights)), 0), None, None


def _nll_node(c):
    if c.input.ndim < 3:
        return "NllLossBackward0"
    # PyTorch brings every other rank to 4 and, unreduced, back.
    return "ViewBackward0" if c.reduction == "none" and c.input.ndim != 4 else "NllLoss2DBackward0"


@layer(
    "nll_loss", checks=True, vjp=_nll_vjp, grad_name=_nll_node,
    signature="nll_loss_nd(input, target, weight, reduction, ignore_index)",
)  # fmt: skip
def nll_loss(input, target, weight=None, *, ignore_index: int, reduction: str, checked: bool):
    """-input[class], weighted by class; the mean is by the sum of the weights."""
    _check_target(input, target)
    require_floating(input, "nll_loss_out_frame")
    _check_weight(weight, input.shape[1 if input.ndim > 1 else 0], input)
    x = widen(input)
    k = _Classes(input.shape, target, widen(weight), ignore_index, checked)
    loss = -k.pick(x) * k.weights
    return _reduce_classes(loss, k, reduction).astype(input.dtype)


def _reduce_classes(loss, k, reduction):
    if reduction == "mean":
        return loss.sum() / k.divisor(loss.dtype)
    return reduce_loss(loss, reduction)


def _cross_entropy_vjp(c, g):
    """softmax minus the wanted distribution, in one pass over the logits."""
    input, target, weight = c.operands
    s = c.statics
    x, weight, g = widen(input), widen(weight), widen(g)
    k = _Classes(x.shape, target, weight, s["ignore_index"], s["checked"], False)
    if s["reduction"] == "mean":
        g = g / k.divisor(g.dtype)
    if x.ndim == 1:
        g = g.reshape(())
    shifted = jnp.exp(x - x.max(k.axis, keepdims=True))
    soft = shifted / shifted.sum(k.axis, keepdims=True)
    eps = s["label_smoothing"]
    own = k.spread(k.masked(g * k.weights))
    if not eps:
        return jnp.where(k.hit, own * (soft - 1), own * soft), None, None
    by_class = 1.0 if k.by_class is None else k.by_class
    total = x.shape[k.axis] if k.by_class is None else weight.sum()
    even = k.spread(k.masked(g)) * (eps / x.shape[k.axis])
    out = (1 - eps) * jnp.where(k.hit, own * (soft - 1), own * soft)
    return out + even * (soft * total - by_class), None, None


@layer(
    "cross_entropy", checks=True, vjp=_cross_entropy_vjp, saves="nothing",
    grad_name=lambda c: "AddBackward0" if c.label_smoothing else _nll_node(c),
    signature="cross_entropy_loss(input, target, weight, reduction, ignore_index, label_smoothing)",
)  # fmt: skip
def cross_entropy(
    input,
    target,
    weight=None,
    *,
    ignore_index: int,
    reduction: str,
    label_smoothing: float,
    checked: bool,
):
    """nll_loss of log_softmax, fused; smoothing mixes in the even distribution."""
    _check_smoothing(label_smoothing)
    _check_target(input, target)
    require_floating(input, "log_softmax_lastdim_kernel_impl")
    axis = 1 if input.ndim > 1 else 0
    classes = input.shape[axis]
    _check_weight(weight, classes, input)
    x = widen(input)
    k = _Classes(input.shape, target, widen(weight), ignore_index, checked)
    shifted = x - jax.lax.stop_gradient(x.max(axis, keepdims=True))
    log_sum = jnp.log(jnp.exp(shifted).sum(axis))
    loss = (log_sum - k.pick(shifted)) * k.weights
    if label_smoothing:
        by_class = shifted if k.by_class is None else shifted * k.by_class
        total = classes if k.by_class is None else k.by_class.sum()
        even = jnp.where(k.valid, log_sum * total - by_class.sum(axis), 0)
        loss = (1 - label_smoothing) * loss + even * (label_smoothing / classes)
    return _reduce_classes(loss, k, reduction).astype(input.dtype)


def _check_smoothing(label_smoothing):
    if label_smoothing > 1:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing:g}")


@layer(
    "cross_entropy_soft", saves="nothing",
    grad_name=_node("NegBackward0", "DivBackward1", "NegBackward0"),
)  # fmt: skip
def cross_entropy_soft(input, target, weight=None, *, reduction: str, label_smoothing: float):
    """Cross entropy against class probabilities."""
    if torch_dtype(target).category < dt.FLOATING:
        raise RuntimeError(
            "Expected floating point type for target with class probabilities, got "
            f"{dt.SCALAR_NAMES[torch_dtype(target)]}"
        )
    _check_smoothing(label_smoothing)
    axis = 1 if input.ndim > 1 else 0
    classes = input.shape[axis] if input.ndim else 1
    _check_weight(weight, classes)
    require_floating(input, "log_softmax_lastdim_kernel_impl")
    x, y = widen(input), widen(target)
    if label_smoothing:
        y = y * (1 - label_smoothing) + label_smoothing / max(classes, 1)
    terms = jax.nn.log_softmax(x, axis) * y
    if weight is not None:
        terms = terms * widen(weight).reshape([-1 if d == axis else 1 for d in range(x.ndim)])
    loss = -terms.sum(axis)
    if reduction == "mean":
        loss = loss.sum() / float(input.size // max(classes, 1))
    elif reduction == "sum":
        loss = loss.sum()
    return loss.astype(jnp.promote_types(input.dtype, target.dtype))


# ---- margins -----------------------------------------------------------------------------------


@_loss("hinge_embedding_loss", saves="nothing", grad_name=_node("AddBackward0"))
def hinge_embedding_loss(input, target, margin: float, reduction: str):
    """x where the target is 1, max(0, margin - x) where it is -1."""
    apart = jnp.where(target != 1, clamp_zero(margin - input), 0)
    together = jnp.where(target != -1, input, 0)
    return reduce_loss(apart + together, reduction)


@_loss("margin_ranking_loss", saves="nothing", grad_name=_node("ClampMinBackward0"))
def margin_ranking_loss(input1, input2, target, margin: float, reduction: str):
    """max(0, -target * (input1 - input2) + margin)."""
    return reduce_loss(clamp_zero(floating(-target * (input1 - input2)) + margin), reduction)


@_loss("soft_margin_loss")
def soft_margin_loss(input, target, reduction: str):
    """log(1 + exp(-target * input))."""
    shape = jnp.broadcast_shapes(input.shape, target.shape)
    if shape != input.shape:
        raise RuntimeError(
            f"output with shape {list(input.shape)} doesn't match the broadcast shape {list(shape)}"
        )
    return reduce_loss(jax.nn.softplus(-target * input), reduction)


@layer("cosine_embedding_loss", grad_name=_node("AddBackward0"))
def cosine_embedding_loss(input1, input2, target, margin: float, reduction: str):
    """1 - cos where the target is 1, max(0, cos - margin) where it is -1."""
    kind = jnp.promote_types(floating(input1).dtype, floating(input2).dtype)
    a, b = widen(floating(input1)), widen(floating(input2))
    inner = (a * b).sum(-1)
    size = ((a * a).sum(-1) + 1e-12) * ((b * b).sum(-1) + 1e-12)
    cos = inner / jnp.sqrt(size)
    loss = jnp.where(target == 1, 1 - cos, 0) + jnp.where(target == -1, clamp_zero(cos - margin), 0)
    return reduce_loss(loss, reduction).astype(kind)


@_loss(
    "triplet_margin_loss",
    saves="nothing",
    grad_name=_node("ClampMinBackward0"),
    signature="triplet_margin_loss(anchor, positive, negative, margin, p, eps)",
)
def triplet_margin_loss(
    anchor, positive, negative, margin: float, p: float, eps: float, swap: bool, reduction: str
):
    """max(0, margin + d(anchor, positive) - d(anchor, negative))."""
    distance = lambda a, b: safe_norm(floating(a - b) + eps, p, -1, False)  # noqa: E731
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        other = distance(positive, negative)
        far = jnp.where(other < far, other, far)
    return reduce_loss(clamp_zero(margin + near - far), reduction)


def _class_hits(input, target):
    number = jax.lax.broadcasted_iota(target.dtype, input.shape, input.ndim - 1)
    return number == target[..., None]


@layer("multi_margin_loss", checks=True)
def multi_margin_loss(
    input, target, weight=None, *, p: int, margin: float, reduction: str, checked: bool
):
    """Mean over the other classes of max(0, margin - x[class] + x)^p."""
    require_floating(input, "multi_margin_loss_cpu_kernel")
    x = input if input.ndim == 2 else input.reshape(1, -1)
    target = target.reshape(-1)
    if not checked:
        report_bad_index(target, x.shape[1])
    hit = _class_hits(x, target)
    own = jnp.where(hit, x, 0).sum(1, keepdims=True)
    room = margin - own + x
    room = jnp.where(room > 0, room, 0)
    room = room if p == 1 else room * room
    if weight is not None:
        room = room * jnp.where(hit, weight, 0).sum(1, keepdims=True)
    loss = jnp.where(hit, 0, room).sum(1) / x.shape[1]
    if input.ndim < 2:
        loss = loss.reshape(())
    return reduce_loss(loss, reduction)


@layer("multilabel_margin_loss", checks=True)
def multilabel_margin_loss(input, target, reduction: str, checked: bool):
    """Mean over classes of max(0, 1 - (x[wanted] - x[other])); targets end at the first -1."""
    x = input.reshape(1, -1) if input.ndim < 2 else input
    wanted = target.reshape(x.shape)
    if not checked:
        report_bad_index(wanted, x.shape[1], -1)
    live = jnp.cumprod(wanted >= 0, 1).astype(bool)
    wanted = jnp.where(live, wanted, 0)
    classes = jnp.arange(x.shape[1])
    among = (live[:, :, None] & (wanted[:, :, None] == classes)).any(1)
    own = jnp.take_along_axis(x, wanted, 1)
    room = 1 - own[:, :, None] + x[:, None, :]
    count = live[:, :, None] & ~among[:, None, :] & (room > 0)
    loss = jnp.where(count, room, 0).sum((1, 2)) / x.shape[1]
    if input.ndim < 2:
        loss = loss.reshape(())
    return reduce_loss(loss, reduction)


@_loss("multilabel_soft_margin_loss", grad_name=_node("DivBackward0"))
def multilabel_soft_margin_loss(input, target, weight=None, *, reduction: str):
    """Mean over classes of the cross entropy of each sigmoid."""
    require_floating(input, "log_sigmoid_cpu")
    loss = -(target * jax.nn.log_sigmoid(input) + (1 - target) * jax.nn.log_sigmoid(-input))
    if weight is not None:
        loss = loss * weight
    if not input.ndim:
        raise IndexError("Dimension specified as -1 but tensor has no dimensions")
    # Over the last dimension of the input, by its size: the target may have broadcast it.
    return reduce_loss(loss.sum(input.ndim - 1) / input.shape[-1], reduction)
