"""The functions of ``torch.masked`` in the module where PyTorch's pages find them."""

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
