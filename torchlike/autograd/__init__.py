"""torch.autograd: backward, grad, Function and the grad modes."""

from torchlike._tensor.backward import backward as backward
from torchlike._tensor.backward import grad as grad
from torchlike._tensor.function import Function as Function
from torchlike._tensor.modes import enable_grad as enable_grad
from torchlike._tensor.modes import inference_mode as inference_mode
from torchlike._tensor.modes import no_grad as no_grad
from torchlike._tensor.modes import set_grad_enabled as set_grad_enabled
from torchlike._tensor.tensor import Tensor as Variable
from torchlike.autograd import function as function

__all__ = [
    "Function", "Variable", "backward", "enable_grad", "function", "grad", "inference_mode",
    "no_grad", "set_grad_enabled",
]  # fmt: skip
