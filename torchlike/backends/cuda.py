"""torch.backends.cuda: what may be faster on a GPU; XLA decides, so switches are only kept."""

from __future__ import annotations

from contextlib import contextmanager

from torchlike._core import devices as _devices
from torchlike._tensor.forms import FUNCTIONS as _FUNCTIONS

__all__ = [
    "SDPAParams", "allow_fp16_bf16_reduction_math_sdp", "can_use_cudnn_attention",
    "can_use_efficient_attention", "can_use_flash_attention", "cudnn_sdp_enabled",
    "enable_cudnn_sdp",
    "enable_flash_sdp", "enable_math_sdp", "enable_mem_efficient_sdp", "flash_sdp_enabled",
    "fp16_bf16_reduction_math_sdp_allowed", "is_built", "is_flash_attention_available",
    "math_sdp_enabled", "mem_efficient_sdp_enabled", "preferred_blas_library",
    "preferred_linalg_library", "sdp_kernel",
]  # fmt: skip


class _Matmul:
    """Switches of products of matrices; products of float32 are exact, whatever is permitted."""

    allow_fp16_reduced_precision_reduction = True
    allow_bf16_reduced_precision_reduction = True
    allow_fp16_accumulation = False
    fp32_precision = "none"

    @property
    def allow_tf32(self) -> bool:
        """Whether TF32 is permitted: ``get_float32_matmul_precision() != "highest"``."""
        return _FUNCTIONS["get_float32_matmul_precision"]() != "highest"

    @allow_tf32.setter
    def allow_tf32(self, value: bool) -> None:
        _FUNCTIONS["set_float32_matmul_precision"]("high" if value else "highest")


matmul = _Matmul()
_sdp = {"flash": True, "mem_efficient": True, "math": True, "cudnn": True, "reduction": False}


def is_built() -> bool:
    """Whether JAX sees a GPU."""
    return _devices.device_count("cuda") > 0


def _switch(name: str, public: tuple[str, str]):
    def enabled() -> bool:
        return _sdp[name]

    def enable(enabled: bool) -> None:
        _sdp[name] = bool(enabled)

    enabled.__name__, enable.__name__ = public
    enabled.__doc__ = "Whether this way to compute attention is permitted."
    enable.__doc__ = "Permit this way to compute attention; XLA chooses among equals."
    return enabled, enable


flash_sdp_enabled, enable_flash_sdp = _switch("flash", ("flash_sdp_enabled", "enable_flash_sdp"))
mem_efficient_sdp_enabled, enable_mem_efficient_sdp = _switch(
    "mem_efficient", ("mem_efficient_sdp_enabled", "enable_mem_efficient_sdp")
)
math_sdp_enabled, enable_math_sdp = _switch("math", ("math_sdp_enabled", "enable_math_sdp"))
cudnn_sdp_enabled, enable_cudnn_sdp = _switch("cudnn", ("cudnn_sdp_enabled", "enable_cudnn_sdp"))
fp16_bf16_reduction_math_sdp_allowed, allow_fp16_bf16_reduction_math_sdp = _switch(
    "reduction", ("fp16_bf16_reduction_math_sdp_allowed", "allow_fp16_bf16_reduction_math_sdp")
)


def is_flash_attention_available() -> bool:
    """Whether there is a GPU."""
    return is_built()


class SDPAParams:
    """The arguments of an attention, for the functions that ask what may compute it."""

    def __init__(self, query, key, value, attn_mask, dropout, is_causal, enable_gqa, /):
        self.query, self.key, self.value, self.attn_mask = query, key, value, attn_mask
        self.dropout, self.is_causal, self.enable_gqa = dropout, is_causal, enable_gqa


def can_use_flash_attention(params: SDPAParams, debug: bool = False) -> bool:
    """False: there is one attention here, which XLA compiles."""
    return False


def can_use_efficient_attention(params: SDPAParams, debug: bool = False) -> bool:
    """False, as for ``can_use_flash_attention``."""
    return False


def can_use_cudnn_attention(params: SDPAParams, debug: bool = False) -> bool:
    """False, as for ``can_use_flash_attention``."""
    return False


@contextmanager
def sdp_kernel(
    enable_flash: bool = True, enable_math: bool = True, enable_mem_efficient: bool = True,
    enable_cudnn: bool = True,
):  # fmt: skip
    """A block with these ways to compute attention permitted."""
    before = dict(_sdp)
    _sdp.update(
        flash=enable_flash, math=enable_math, mem_efficient=enable_mem_efficient,
        cudnn=enable_cudnn,
    )  # fmt: skip
    try:
        yield {}
    finally:
        _sdp.update(before)


def preferred_linalg_library(backend=None) -> str:
    """ "default": XLA chooses; raises ``RuntimeError`` for an unknown name."""
    if backend not in (None, "default", "cusolver", "magma"):
        raise RuntimeError("Unknown input value. Choose from: default, cusolver, magma.")
    return "default"


def preferred_blas_library(backend=None) -> str:
    """ "default": XLA chooses; raises ``RuntimeError`` for an unknown name."""
    if backend not in (None, "default", "cublas", "cublaslt", "hipblaslt", "ck"):
        raise RuntimeError("Unknown input value. Choose from: default, cublas, cublaslt.")
    return "default"
