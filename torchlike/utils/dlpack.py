"""torch.utils.dlpack: data shared with other libraries."""

from __future__ import annotations

import enum

from torchlike._tensor.forms import FUNCTIONS as _FUNCTIONS

__all__ = ["DLDeviceType", "from_dlpack", "to_dlpack"]

from_dlpack = _FUNCTIONS["from_dlpack"]
to_dlpack = _FUNCTIONS["to_dlpack"]


class DLDeviceType(enum.IntEnum):
    """The kinds of device that DLPack knows (https://dmlc.github.io/dlpack/latest/c_api.html)."""

    kDLCPU = 1
    kDLCUDA = 2
    kDLCUDAHost = 3
    kDLOpenCL = 4
    kDLVulkan = 7
    kDLMetal = 8
    kDLVPI = 9
    kDLROCM = 10
    kDLROCMHost = 11
    kDLExtDev = 12
    kDLCUDAManaged = 13
    kDLOneAPI = 14
    kDLWebGPU = 15
    kDLHexagon = 16
    kDLMAIA = 17
