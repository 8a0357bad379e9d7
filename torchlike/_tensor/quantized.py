"""Quantization: the fake kind, which rounds in floating point; tensors of integers with a scale
are not supported."""

from __future__ import annotations

from torchlike._core import dtypes as dt
from torchlike._core.errors import NotSupported
from torchlike._ops.table import TABLE
from torchlike._tensor import dispatch
from torchlike._tensor.dispatch import apply
from torchlike._tensor.forms import FUNCTIONS, METHODS, function, method

_FAKE = "fake_quantize_per_tensor_affine rounds to the same numbers in a floating dtype"


def _check(input, kernel: str, quant_min: int, quant_max: int) -> None:
    if not isinstance(input, dispatch._Tensor):
        raise TypeError(
            f"fake_quantize(): argument 'input' (position 1) must be Tensor, not "
            f"{type(input).__name__}"
        )
    if quant_min > quant_max:
        raise RuntimeError("`quant_min` should be less than or equal to `quant_max`.")
    if input.dtype.category != dt.FLOATING:
        raise NotImplementedError(
            f"\"{kernel}\" not implemented for '{dt.SCALAR_NAMES[input.dtype]}'"
        )


@function()
def fake_quantize_per_tensor_affine(input, scale, zero_point, quant_min: int, quant_max: int):
    """Numbers rounded to the grid of a scale and a zero point; the gradient passes where they lie
    on it (https://pytorch.org/docs/stable/generated/torch.fake_quantize_per_tensor_affine.html)."""
    name = "fake_quantize_tensor_cachemask_kernel_type_handling"
    _check(input, name, quant_min, quant_max)
    if not isinstance(zero_point, dispatch._Tensor) and not quant_min <= zero_point <= quant_max:
        raise RuntimeError("`zero_point` must be between `quant_min` and `quant_max`.")
    scale, zero_point = (
        x.detach() if isinstance(x, dispatch._Tensor) else x for x in (scale, zero_point)
    )
    return apply(TABLE["fake_quantize"], (input, scale, zero_point), (quant_min, quant_max))


@function()
def fake_quantize_per_channel_affine(
    input, scale, zero_point, axis: int, quant_min: int, quant_max: int
):
    """Numbers rounded to a grid of their channel's; scale and zero_point have one element for each
    (https://pytorch.org/docs/stable/generated/torch.fake_quantize_per_channel_affine.html)."""
    if scale.dtype not in (dt.float32, dt.bfloat16):
        raise RuntimeError(f"Scale must be Float or BFloat16, found {dt.SCALAR_NAMES[scale.dtype]}")
    if zero_point.dtype not in (dt.int32, dt.float32, dt.float16):
        raise RuntimeError(
            f"Zero-point must be Int32, Float or Half, found {dt.SCALAR_NAMES[zero_point.dtype]}"
        )
    if scale.ndim != 1 or zero_point.ndim != 1:
        raise RuntimeError("scale should be a 1-D tensor and zero point should be a 1-D tensor")
    if scale.numel() != zero_point.numel():
        raise RuntimeError("scale and zero-point need to have the same dimensions")
    rank = input.ndim
    if not -rank <= axis < rank:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-rank}, {rank - 1}], but got "
            f"{axis})"
        )
    if scale.numel() != input.shape[axis]:
        raise RuntimeError(
            "dimensions of scale and zero-point are not consistent with input tensor"
        )
    _check(input, "fake_quantize_channel_cachemask_cpu_type_handling", quant_min, quant_max)
    integral = zero_point.dtype is dt.int32
    if integral and not zero_point._value.is_traced() and zero_point.numel():
        low, high = (int(x.item()) for x in zero_point.aminmax())
        if low < quant_min or high > quant_max:
            raise RuntimeError("`zero_point` must be between `quant_min` and `quant_max`.")
    if axis < 0:
        raise RuntimeError("`axis` must be between 0 and number of dimensions of input")
    shape = [-1 if d == axis else 1 for d in range(rank)]
    scale, zero_point = scale.detach().reshape(shape), zero_point.detach().reshape(shape)
    return apply(TABLE["fake_quantize"], (input, scale, zero_point), (quant_min, quant_max))


# ---- quantized tensors -------------------------------------------------------------------------


@function()
def quantize_per_tensor(input, scale, zero_point, dtype):
    """Raises ``NotSupported``: JAX has no quantized arrays."""
    raise NotSupported("quantized tensors (quantize_per_tensor)", _FAKE)


@function()
def quantize_per_tensor_dynamic(input, dtype, reduce_range: bool):
    """Raises ``NotSupported``: JAX has no quantized arrays."""
    raise NotSupported("quantized tensors (quantize_per_tensor_dynamic)", _FAKE)


@function()
def quantize_per_channel(input, scales, zero_points, axis: int, dtype):
    """Raises ``NotSupported``: JAX has no quantized arrays."""
    raise NotSupported(
        "quantized tensors (quantize_per_channel)",
        "fake_quantize_per_channel_affine rounds to the same numbers in a floating dtype",
    )


@function(method=True)
def dequantize(tensor):
    """A tensor in float32, as PyTorch gives for one that is not quantized."""
    if isinstance(tensor, (list, tuple)):
        raise _not_quantized("dequantize.tensors")
    return tensor.float()


def _not_quantized(name: str) -> NotImplementedError:
    return NotImplementedError(
        f"Could not run 'aten::{name}' with arguments from the 'CPU' backend: the tensor is not "
        "quantized, and quantized tensors are not supported."
    )


def _of_quantized(name: str):
    def of_quantized(input):
        raise _not_quantized(name)

    of_quantized.__name__ = of_quantized.__qualname__ = name
    of_quantized.__doc__ = "Raises ``NotImplementedError``: no tensor is quantized."
    return of_quantized


for _name in ("int_repr", "q_scale", "q_zero_point", "q_per_channel_scales",
              "q_per_channel_zero_points", "q_per_channel_axis"):  # fmt: skip
    function(method=True)(_of_quantized(_name))
method("qscheme")(_of_quantized("qscheme"))


@method("chalf")
def chalf(self, memory_format=None):
    """Raises ``NotSupported``: JAX has no complex numbers of half precision."""
    raise NotSupported("tensors of dtype torch.complex32", "use Tensor.cfloat()")


_ = FUNCTIONS, METHODS
