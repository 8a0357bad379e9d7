"""torch.func: transforms of functions, and modules as functions."""

from torchlike.func.einops import rearrange as rearrange
from torchlike.func.modules import functional_call as functional_call
from torchlike.func.modules import (
    replace_all_batch_norm_modules_ as replace_all_batch_norm_modules_,
)
from torchlike.func.modules import stack_module_state as stack_module_state
from torchlike.func.transforms import functionalize as functionalize
from torchlike.func.transforms import grad as grad
from torchlike.func.transforms import grad_and_value as grad_and_value
from torchlike.func.transforms import hessian as hessian
from torchlike.func.transforms import jacfwd as jacfwd
from torchlike.func.transforms import jacrev as jacrev
from torchlike.func.transforms import jvp as jvp
from torchlike.func.transforms import linearize as linearize
from torchlike.func.transforms import vjp as vjp
from torchlike.func.vmap import debug_unwrap as debug_unwrap
from torchlike.func.vmap import vmap as vmap

__all__ = [
    "debug_unwrap", "functional_call", "functionalize", "grad", "grad_and_value", "hessian",
    "jacfwd", "jacrev", "jvp", "linearize", "rearrange",
    "replace_all_batch_norm_modules_",
    "stack_module_state", "vjp", "vmap",
]  # fmt: skip
