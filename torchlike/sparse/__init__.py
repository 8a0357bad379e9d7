"""torch.sparse: functions of sparse tensors (https://pytorch.org/docs/stable/sparse.html)."""

from torchlike.sparse.checks import as_sparse_gradcheck as as_sparse_gradcheck
from torchlike.sparse.checks import (
    check_sparse_tensor_invariants as check_sparse_tensor_invariants,
)
from torchlike.sparse.functions import addmm as addmm
from torchlike.sparse.functions import log_softmax as log_softmax
from torchlike.sparse.functions import mm as mm
from torchlike.sparse.functions import sampled_addmm as sampled_addmm
from torchlike.sparse.functions import softmax as softmax
from torchlike.sparse.functions import spdiags as spdiags
from torchlike.sparse.functions import spsolve as spsolve
from torchlike.sparse.functions import sum as sum
from torchlike.sparse.legacy import BFloat16Tensor as BFloat16Tensor
from torchlike.sparse.legacy import ByteTensor as ByteTensor
from torchlike.sparse.legacy import CharTensor as CharTensor
from torchlike.sparse.legacy import DoubleTensor as DoubleTensor
from torchlike.sparse.legacy import FloatTensor as FloatTensor
from torchlike.sparse.legacy import HalfTensor as HalfTensor
from torchlike.sparse.legacy import IntTensor as IntTensor
from torchlike.sparse.legacy import LongTensor as LongTensor
from torchlike.sparse.legacy import ShortTensor as ShortTensor
from torchlike.sparse.semi_structured import (
    SparseSemiStructuredTensor as SparseSemiStructuredTensor,
)
from torchlike.sparse.semi_structured import (
    SparseSemiStructuredTensorCUSPARSELT as SparseSemiStructuredTensorCUSPARSELT,
)
from torchlike.sparse.semi_structured import (
    SparseSemiStructuredTensorCUTLASS as SparseSemiStructuredTensorCUTLASS,
)
from torchlike.sparse.semi_structured import to_sparse_semi_structured as to_sparse_semi_structured

__all__ = [
    "BFloat16Tensor",
    "ByteTensor",
    "CharTensor",
    "DoubleTensor",
    "FloatTensor",
    "HalfTensor",
    "IntTensor",
    "LongTensor",
    "ShortTensor",
    "SparseSemiStructuredTensor",
    "SparseSemiStructuredTensorCUSPARSELT",
    "SparseSemiStructuredTensorCUTLASS",
    "addmm",
    "as_sparse_gradcheck",
    "check_sparse_tensor_invariants",
    "log_softmax",
    "mm",
    "sampled_addmm",
    "softmax",
    "spdiags",
    "spsolve",
    "sum",
    "to_sparse_semi_structured",
]  # fmt: skip
