"""torch._C: the few names of PyTorch's native module that Python programs ask for."""

from __future__ import annotations

import torchlike as torch
from torchlike._core.devices import device as device
from torchlike._core.dtypes import dtype as dtype
from torchlike._core.sizes import Size as Size
from torchlike._runner.shims._C import _nn as _nn
from torchlike._tensor.generators import Generator as Generator
from torchlike._tensor.modes import modes
from torchlike._tensor.overriding import (
    DisableTorchFunctionSubclass as DisableTorchFunctionSubclass,
)
from torchlike._tensor.overriding import disabled as _disabled_torch_function_impl  # noqa: F401

has_openmp = has_mkl = has_cuda = has_mps = has_xpu = False
TensorBase = _TensorBase = torch.Tensor
_TensorMeta = type(torch.Tensor)


class ScriptObject:
    """What a compiled program's objects are; there are none here."""


class Graph:
    """A graph of TorchScript; there are none here."""


class Node:
    """A node in a graph of TorchScript; there are none here."""


class Value:
    """A value in a graph of TorchScript; there are none here."""


def _log_api_usage_once(name: str) -> None:
    """Nothing: no usage is counted."""


def _get_tracing_state() -> None:
    """None: TorchScript's tracer never runs."""


def _are_functorch_transforms_active() -> bool:
    """Whether a function is being transformed by vmap, grad or their like."""
    return modes.transforms > 0


def _is_tracing() -> bool:
    """False: TorchScript's tracer never runs."""
    return False


def _get_accelerator() -> device:
    """The device that programs run on if they name none."""
    return torch.accelerator.current_accelerator() or device("cpu")


def _cuda_isCurrentStreamCapturing() -> bool:
    """False: there are no CUDA graphs."""
    return False


def _jit_set_texpr_fuser_enabled(enabled: bool) -> bool:
    """Nothing: there is no fuser to turn off; what it was."""
    return False


def _jit_set_profiling_executor(enabled: bool) -> bool:
    """Nothing: there is no such executor; what it was."""
    return False


def _jit_set_profiling_mode(enabled: bool) -> bool:
    """Nothing: there is no such mode; what it was."""
    return False
