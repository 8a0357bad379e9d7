"""torch.masked: functions that leave out what a mask hides, and tensors that carry their mask."""

from torchlike._core.later import later as _later
from torchlike.masked import rules as _rules  # noqa: F401  (dispatch learns of MaskedTensor)
from torchlike.masked.normalizations import log_softmax as log_softmax
from torchlike.masked.normalizations import normalize as normalize
from torchlike.masked.normalizations import softmax as softmax
from torchlike.masked.normalizations import softmin as softmin
from torchlike.masked.reductions import amax as amax
from torchlike.masked.reductions import amin as amin
from torchlike.masked.reductions import argmax as argmax
from torchlike.masked.reductions import argmin as argmin
from torchlike.masked.reductions import cumprod as cumprod
from torchlike.masked.reductions import cumsum as cumsum
from torchlike.masked.reductions import logaddexp as logaddexp
from torchlike.masked.reductions import logsumexp as logsumexp
from torchlike.masked.reductions import mean as mean
from torchlike.masked.reductions import median as median
from torchlike.masked.reductions import norm as norm
from torchlike.masked.reductions import prod as prod
from torchlike.masked.reductions import std as std
from torchlike.masked.reductions import sum as sum
from torchlike.masked.reductions import var as var
from torchlike.masked.tensor import MaskedTensor as MaskedTensor
from torchlike.masked.tensor import as_masked_tensor as as_masked_tensor
from torchlike.masked.tensor import is_masked_tensor as is_masked_tensor
from torchlike.masked.tensor import masked_tensor as masked_tensor

__all__ = [
    "MaskedTensor", "amax", "amin", "argmax", "argmin", "as_masked_tensor", "cumprod", "cumsum",
    "is_masked_tensor", "log_softmax", "logaddexp", "logsumexp", "masked_tensor", "mean", "median",
    "norm", "normalize", "prod", "softmax", "softmin", "std", "sum", "var",
]  # fmt: skip

__getattr__, __dir__ = _later("torchlike.masked", ("_ops",))
