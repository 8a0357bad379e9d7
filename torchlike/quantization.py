"""torch.quantization: not supported, but for ``torch.fake_quantize_per_tensor_affine``."""

from __future__ import annotations

from torchlike._core.errors import NotSupported as _NotSupported

_NAMES = (
    "convert", "default_qconfig", "fuse_modules", "get_default_qconfig", "get_default_qat_qconfig",
    "prepare", "prepare_qat", "quantize", "quantize_dynamic", "quantize_qat",
)  # fmt: skip
__all__ = list(_NAMES)


def _absent(name: str):
    def function(*args, **kwargs):
        raise _NotSupported(
            f"quantization.{name}",
            "train with torch.fake_quantize_per_tensor_affine, or quantize an exported ONNX file",
        )

    function.__name__ = function.__qualname__ = name
    function.__doc__ = "Raises ``NotSupported``: there are no quantized tensors."
    return function


globals().update({_name: _absent(_name) for _name in _NAMES})
