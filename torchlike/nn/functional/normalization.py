"""Normalizations of ``torch.nn.functional``."""

from __future__ import annotations

from math import prod

from torchlike._core.symbolic import is_whole
from torchlike._ops.table import TABLE
from torchlike._tensor import dispatch
from torchlike._tensor.dispatch import apply
from torchlike._tensor.modes import modes, no_grad
from torchlike._tensor.shapes import named, wrap_dim

_TRAIN, _EVAL = TABLE["batch_norm_train"], TABLE["batch_norm_eval"]
_UPDATE, _INSTANCE = TABLE["update_running"], TABLE["instance_norm"]
_LAYER, _RMS, _GROUP = (TABLE[f"native_{n}_norm"] for n in ("layer", "rms", "group"))

_UNBATCHED = (
    "Batch norm got a batched tensor as input while the running_mean or running_var, which will "
    "be updated in place, were not batched.\nIf you are using a module and do not need eval mode, "
    "please set `track_running_stats` to be False.If you are using a prebuilt module and do not "
    "need eval mode, please see the functorch website for resources on how to patch your module "
    "to work with vmap"
)


def _move(running_mean, running_var, mean, var, momentum) -> None:
    """Move the running statistics: both, or none if one of them cannot be."""
    momentum = momentum if isinstance(momentum, dispatch._Tensor) else float(momentum)
    moved = []
    if running_mean is not None:
        moved.append((running_mean, apply(_UPDATE, (running_mean, mean, momentum))))
    if running_var is not None:
        moved.append((running_var, apply(_UPDATE, (running_var, var, momentum))))
    if modes.levels:
        try:
            for running, new in moved:
                dispatch._check_rebind(running, new)
        except RuntimeError as error:
            raise RuntimeError(_UNBATCHED) from error
    for running, new in moved:
        dispatch.rebind(running, new)


def _check_batch(shape) -> None:
    if shape[0] * prod(shape[2:]) == 1:
        raise ValueError(
            "Expected more than 1 value per channel when training, got input size "
            f"torch.Size({list(shape)})"
        )


def batch_norm(
    input, running_mean, running_var, weight=None, bias=None, training: bool = False,
    momentum: float = 0.1, eps: float = 1e-05,
):  # fmt: skip
    """Normalized by channel; in training by the batch, which moves the running statistics."""
    if eps <= 0 if training else eps < 0:
        kind = "positive during training" if training else "non-negative"
        raise ValueError(f"batch_norm eps must be {kind}, but got {eps}")
    if not training:
        for name, t in (("running_mean", running_mean), ("running_var", running_var)):
            if t is None:
                raise RuntimeError(f"{name} must be defined in evaluation mode")
        return apply(_EVAL, (input, running_mean, running_var, weight, bias), (eps,))
    _check_batch(input._value.aval.shape)
    if (running_mean is None) is not (running_var is None):
        raise ValueError("running_mean and running_var must either both be None or neither be None")
    operands, known = (input, weight, bias), bool(input._value.aval.numel)  # of an empty one: none
    if known and modes.saving is not None:  # a recomputation stops with the last save, in the op
        with no_grad():
            _, mean, var = apply(_TRAIN, operands, (eps,))
            _move(running_mean, running_var, mean, var, momentum)
        return apply(_TRAIN, operands, (eps,))[0]
    out, mean, var = apply(_TRAIN, operands, (eps,))
    if known:
        _move(running_mean, running_var, mean, var, momentum)
    return out


def instance_norm(
    input, running_mean=None, running_var=None, weight=None, bias=None,
    use_input_stats: bool = True, momentum: float = 0.1, eps: float = 1e-05,
):  # fmt: skip
    """Normalized by channel and sample."""
    if not use_input_stats:
        if running_mean is None or running_var is None:
            raise RuntimeError(
                "Expected running_mean and running_var to be defined when use_input_stats is false"
            )
        out = apply(_EVAL, (input, running_mean, running_var, weight, bias), (eps,))
        return named(out, "ViewBackward0")
    if (running_mean is None) is not (running_var is None):
        raise ValueError("running_mean and running_var must either both be None or neither be None")
    shape = input._value.aval.shape
    if prod(shape[2:]) == 1:
        raise ValueError(
            "Expected more than 1 spatial element when training, got input size "
            f"torch.Size({list(shape)})"
        )
    out, mean, var = apply(_INSTANCE, (input, weight, bias), (eps,))
    _move(running_mean, running_var, mean, var, momentum)
    return out


def _shape(name: str, normalized_shape) -> tuple:
    if isinstance(normalized_shape, int):
        raise TypeError(
            f"{name}(): argument 'normalized_shape' (position 2) must be tuple of ints, not int"
        )
    return tuple(normalized_shape)


def layer_norm(input, normalized_shape, weight=None, bias=None, eps: float = 1e-05):
    """Normalized over the last dimensions."""
    return apply(_LAYER, (input, weight, bias), (_shape("layer_norm", normalized_shape), eps))


def rms_norm(input, normalized_shape, weight=None, eps: float | None = None):
    """Divided by the root mean square over the last dimensions."""
    return apply(_RMS, (input, weight), (_shape("rms_norm", normalized_shape), eps))


def group_norm(input, num_groups: int, weight=None, bias=None, eps: float = 1e-05):
    """Normalized over groups of channels."""
    shape = input._value.aval.shape
    if len(shape) >= 2 and num_groups > 0 and shape[1] % num_groups == 0:
        _check_batch((shape[0] * shape[1] // num_groups, num_groups, *shape[2:]))
    return apply(_GROUP, (input, weight, bias), (num_groups, eps))


def local_response_norm(input, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0):
    """Divided by a power of the mean square over neighbouring channels."""
    if input._value.aval.ndim < 3:
        raise ValueError(
            f"Expected 3D or higher dimensionality input (got {input._value.aval.ndim} dimensions)"
        )
    if not input._value.aval.numel:
        return input
    return apply(TABLE["local_response_norm"], (input,), (size, alpha, beta, k))


def normalize(input, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out=None):
    """Divided by the p-norm along a dimension, or by eps where that is larger."""
    for d in (dim,) if is_whole(dim) else dim:
        wrap_dim(d, input.dim())
    if isinstance(p, str) and p != "fro":  # a norm of matrices
        result = input / input.norm(p, dim, keepdim=True).clamp_min(eps)
    else:
        p = 2.0 if p == "fro" else float(p)
        result = apply(TABLE["normalize"], (input,), (p, dim, eps))
    return result if out is None else dispatch.copy_out(out, result)
