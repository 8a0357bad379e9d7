"""torch.functional: the top-level functions that PyTorch writes in Python."""

from __future__ import annotations

from torchlike._tensor.forms import FUNCTIONS as _FUNCTIONS

_NAMES = (
    "align_tensors", "atleast_1d", "atleast_2d", "atleast_3d", "block_diag", "broadcast_shapes",
    "broadcast_tensors", "cartesian_prod", "cdist", "chain_matmul", "einsum", "istft", "lu",
    "meshgrid", "norm", "pca_lowrank", "split", "stft", "svd_lowrank", "tensordot", "unique",
    "unique_consecutive", "unravel_index",
)  # fmt: skip
__all__ = [_name for _name in _NAMES if _name in _FUNCTIONS]
globals().update({_name: _FUNCTIONS[_name] for _name in __all__})
