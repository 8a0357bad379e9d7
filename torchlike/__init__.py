"""torchlike: PyTorch's API on JAX and XLA."""

from torchlike._tensor import install as _install  # noqa: F401
from torchlike._core.devices import device
from torchlike._core.dtypes import *  # noqa
from torchlike._core import dtypes as _dt
for _n, _d in {**_dt.BY_NAME, **_dt.ALIASES}.items():
    globals()[_n] = _d
from torchlike._core.sizes import Size
from torchlike._tensor.tensor import Tensor
from torchlike._tensor.forms import FUNCTIONS as _F
globals().update(_F)
from torchlike._tensor.modes import no_grad, enable_grad, set_grad_enabled, inference_mode
from torchlike import autograd, compiler
from torchlike._tensor.random import Generator, default_generator, manual_seed, seed, initial_seed, get_rng_state, set_rng_state
from torchlike import random, optim
