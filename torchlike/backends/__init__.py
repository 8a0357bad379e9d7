"""torch.backends: switches that PyTorch code sets; XLA decides, so they are kept and reported."""

from __future__ import annotations

from types import SimpleNamespace as _Namespace

__all__ = ["cuda", "cudnn", "mkl", "mps", "openmp"]


def _never() -> bool:
    return False


# Determinism and autotuning are XLA's own: its CPU and GPU programs give the same numbers each run
# unless XLA_FLAGS asks otherwise, which is what these flags promise at best.
cudnn = _Namespace(benchmark=False, deterministic=True, enabled=True, is_available=_never)
cuda = _Namespace(matmul=_Namespace(allow_tf32=False), is_built=_never)
mps = _Namespace(is_available=_never, is_built=_never)
mkl = _Namespace(is_available=_never)
openmp = _Namespace(is_available=_never)
