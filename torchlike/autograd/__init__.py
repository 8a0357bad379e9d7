"""torch.autograd: backward, grad, Function and the grad modes."""

from torchlike._tensor.backward import backward as backward
from torchlike._tensor.backward import grad as grad
from torchlike._tensor.function import Function as Function
from torchlike._tensor.modes import enable_grad as enable_grad
from torchlike._tensor.modes import inference_mode as inference_mode
from torchlike._tensor.modes import no_grad as no_grad
from torchlike._tensor.modes import set_grad_enabled as set_grad_enabled
from torchlike._tensor.tensor import Tensor as Variable
from torchlike.autograd import forward_ad as forward_ad
from torchlike.autograd import function as function
from torchlike.autograd import functional as functional
from torchlike.autograd.anomaly_mode import detect_anomaly as detect_anomaly
from torchlike.autograd.anomaly_mode import set_detect_anomaly as set_detect_anomaly
from torchlike.autograd.gradcheck import gradcheck as gradcheck
from torchlike.autograd.gradcheck import gradgradcheck as gradgradcheck

__all__ = [
    "Function", "Variable", "backward", "detect_anomaly", "enable_grad", "forward_ad", "function",
    "functional", "grad", "gradcheck", "gradgradcheck", "inference_mode", "no_grad",
    "set_detect_anomaly", "set_grad_enabled",
]  # fmt: skip
