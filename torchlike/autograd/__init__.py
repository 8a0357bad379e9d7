"""torch.autograd: backward, grad, Function and the grad modes."""

from torchlike._core.later import later as _later
from torchlike._tensor.backward import backward as backward
from torchlike._tensor.backward import grad as grad
from torchlike._tensor.function import Function as Function
from torchlike._tensor.modes import enable_grad as enable_grad
from torchlike._tensor.modes import inference_mode as inference_mode
from torchlike._tensor.modes import no_grad as no_grad
from torchlike._tensor.modes import set_grad_enabled as set_grad_enabled
from torchlike._tensor.saving import SavedTensor as SavedTensor
from torchlike.autograd import function as function
from torchlike.autograd import grad_mode as grad_mode
from torchlike.autograd import graph as graph
from torchlike.autograd.anomaly_mode import detect_anomaly as detect_anomaly
from torchlike.autograd.anomaly_mode import set_detect_anomaly as set_detect_anomaly
from torchlike.autograd.function import NestedIOFunction as NestedIOFunction
from torchlike.autograd.grad_mode import enforce_grad_layout_policy as enforce_grad_layout_policy
from torchlike.autograd.grad_mode import is_multithreading_enabled as is_multithreading_enabled
from torchlike.autograd.grad_mode import set_multithreading_enabled as set_multithreading_enabled
from torchlike.autograd.gradcheck import gradcheck as gradcheck
from torchlike.autograd.gradcheck import gradgradcheck as gradgradcheck
from torchlike.autograd.variable import Variable as Variable

__all__ = [
    "Function", "NestedIOFunction", "SavedTensor", "Variable", "backward", "detect_anomaly",
    "enable_grad", "enforce_grad_layout_policy", "forward_ad", "function", "functional", "grad",
    "grad_mode", "gradcheck", "gradgradcheck", "graph", "inference_mode",
    "is_multithreading_enabled", "no_grad", "profiler", "set_detect_anomaly", "set_grad_enabled",
    "set_multithreading_enabled", "variable",
]  # fmt: skip


__getattr__, __dir__ = _later(
    "torchlike.autograd", ("forward_ad", "functional", "profiler", "profiler_util")
)


def variable(*args, **kwargs):
    """Raise ``RuntimeError``: use ``torch.tensor``."""
    raise RuntimeError("torch.autograd.variable(...) is deprecated, use torch.tensor(...) instead")
