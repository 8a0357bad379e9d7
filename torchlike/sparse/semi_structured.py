"""Semi-structured (2:4) sparsity: names that raise, for its kernels are those of one GPU vendor."""

from __future__ import annotations

from torchlike._core.errors import NotSupported

_INSTEAD = "use a dense tensor, or another layout of torch.sparse"


class SparseSemiStructuredTensor:
    """Not supported; making one raises ``NotSupported``."""

    def __init__(
        self, shape, packed, meta, packed_t, meta_t, compressed_swizzled_bitmask,
        fuse_transpose_cusparselt: bool = False, alg_id_cusparselt: int = 0,
        requires_grad: bool = False,
    ):  # fmt: skip
        raise NotSupported("semi-structured sparse tensors", _INSTEAD)


class SparseSemiStructuredTensorCUSPARSELT(SparseSemiStructuredTensor):
    """Not supported; making one raises ``NotSupported``."""


class SparseSemiStructuredTensorCUTLASS(SparseSemiStructuredTensor):
    """Not supported; making one raises ``NotSupported``."""


def to_sparse_semi_structured(original_tensor, transposed: bool = False, alg_id: int = 0):
    """Not supported: raises ``NotSupported``."""
    raise NotSupported("to_sparse_semi_structured", _INSTEAD)
