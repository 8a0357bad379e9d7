"""torchlike: PyTorch's API on JAX and XLA, with no torch installed."""

from __future__ import annotations

from torchlike._core.collection import put_off as _collection_put_off

with _collection_put_off():
    from torchlike._core import absent_dtypes as _absent_dtypes
    from torchlike._core import dtypes as _dtypes
    from torchlike._core import freed_memory as _freed_memory
    from torchlike._core.absent_dtypes import qscheme as qscheme
    from torchlike._core.devices import device as device
    from torchlike._core.devices import get_default_device as get_default_device
    from torchlike._core.devices import set_default_device as set_default_device
    from torchlike._core.dtypes import dtype as dtype
    from torchlike._core.dtypes import get_default_dtype as get_default_dtype
    from torchlike._core.dtypes import promote_types as promote_types
    from torchlike._core.errors import NotSupported as NotSupported
    from torchlike._core.later import later as _later
    from torchlike._core.sizes import Size as Size
    from torchlike._core.symbolic import SymBool as SymBool
    from torchlike._core.symbolic import SymFloat as SymFloat
    from torchlike._core.symbolic import SymInt as SymInt
    from torchlike._tensor import checks as _checks
    from torchlike._tensor import install as _install
    from torchlike._tensor import layouts as _layouts
    from torchlike._tensor.forms import FUNCTIONS as _FUNCTIONS
    from torchlike._tensor.generators import Generator as Generator
    from torchlike._tensor.generators import default_generator as default_generator
    from torchlike._tensor.generators import get_rng_state as get_rng_state
    from torchlike._tensor.generators import initial_seed as initial_seed
    from torchlike._tensor.generators import manual_seed as manual_seed
    from torchlike._tensor.generators import seed as seed
    from torchlike._tensor.generators import set_rng_state as set_rng_state
    from torchlike._tensor.generators import thread_safe_generator as thread_safe_generator
    from torchlike._tensor.layouts import layout as layout
    from torchlike._tensor.layouts import memory_format as memory_format
    from torchlike._tensor.modes import enable_grad as enable_grad
    from torchlike._tensor.modes import inference_mode as inference_mode
    from torchlike._tensor.modes import is_grad_enabled as is_grad_enabled
    from torchlike._tensor.modes import is_inference_mode_enabled as is_inference_mode_enabled
    from torchlike._tensor.modes import no_grad as no_grad
    from torchlike._tensor.modes import set_grad_enabled as set_grad_enabled
    from torchlike._tensor.printing import get_printoptions as get_printoptions
    from torchlike._tensor.printing import set_printoptions as set_printoptions
    from torchlike._tensor.queries import can_cast as can_cast
    from torchlike._tensor.queries import finfo as finfo
    from torchlike._tensor.queries import get_num_threads as get_num_threads
    from torchlike._tensor.queries import iinfo as iinfo
    from torchlike._tensor.queries import is_storage as is_storage
    from torchlike._tensor.queries import is_tensor as is_tensor
    from torchlike._tensor.queries import result_type as result_type
    from torchlike._tensor.queries import set_default_dtype as set_default_dtype
    from torchlike._tensor.queries import set_num_threads as set_num_threads
    from torchlike._tensor.queries import typename as typename
    from torchlike._tensor.queues import AcceleratorError as AcceleratorError
    from torchlike._tensor.queues import Event as Event
    from torchlike._tensor.queues import OutOfMemoryError as OutOfMemoryError
    from torchlike._tensor.queues import Stream as Stream
    from torchlike._tensor.tensor import Tensor as Tensor

__version__ = "0.1.0"

_freed_memory.keep()
_install.publish(globals(), _FUNCTIONS)
for _name, _dtype in {**_dtypes.BY_NAME, **_dtypes.ALIASES}.items():
    globals()[_name] = _dtype
globals().update(_absent_dtypes.BY_NAME | _absent_dtypes.ALIASES | _absent_dtypes.SCHEMES)
for _name in (
    "strided", "sparse_coo", "sparse_csr", "sparse_csc", "sparse_bsr", "sparse_bsc", "jagged",
    "contiguous_format", "preserve_format", "channels_last", "channels_last_3d",
):  # fmt: skip
    globals()[_name] = getattr(_layouts, _name)
for _name in vars(_checks):
    if _name.startswith(("_check", "_assert")):
        globals()[_name] = getattr(_checks, _name)
for _value in list(globals().values()):
    if isinstance(_value, type) and _value.__module__.startswith("torchlike._"):
        _value.__module__ = "torchlike"

from math import e as e  # noqa: E402
from math import inf as inf  # noqa: E402
from math import nan as nan  # noqa: E402
from math import pi as pi  # noqa: E402

newaxis = None

with _collection_put_off():
    from torchlike import autograd as autograd
    from torchlike import compiler as compiler
    from torchlike import cuda as cuda
    from torchlike import linalg as linalg
    from torchlike import nn as nn
    from torchlike import random as random
    from torchlike import return_types as return_types
    from torchlike import special as special
    from torchlike import storage as storage
    from torchlike import version as version
    from torchlike._device_modules import get_device_module as get_device_module
    from torchlike._functional import FUNCTIONS as _TWINS
    from torchlike.compiler import _compile as _compile_backends
    from torchlike.compiler._compile import compile as compile
    from torchlike.storage import TypedStorage as TypedStorage
    from torchlike.storage import UntypedStorage as UntypedStorage

_install.publish(globals(), _TWINS)


_LATER = {
    "GradScaler": "amp", "autocast": "amp", "vmap": "func", "Future": "futures",
    "cond": "_higher_order_ops", "while_loop": "_higher_order_ops",
    "load": "serialization", "save": "serialization", "summary": "utils._summary",
    "Tag": "_custom_ops",
}  # fmt: skip
__getattr__, __dir__ = _later(
    "torchlike",
    (
        "__config__", "__future__", "_dynamo", "_higher_order_ops", "accelerator", "amp", "ao",
        "backends", "cpu", "distributions", "export", "fft", "func", "functional", "futures", "fx",
        "hub", "jit", "library", "masked", "mps", "multiprocessing", "nested", "ops", "optim",
        "overrides", "profiler", "quantization", "quasirandom", "serialization", "signal",
        "sparse", "testing", "types", "utils", "xpu",
    ),
    _LATER,
)  # fmt: skip


def _graphed():
    """What wraps a function for a backend of the user's own: it takes graphs of torch.fx."""
    from torchlike.fx._backend import Graphed

    return Graphed


_compile_backends.graphed = _graphed


def install(device: str | None = None) -> None:
    """Let ``import torch`` in this process find torchlike (``python -m torchlike`` does that).

    ``device``, "cpu", "cuda" or "tpu", is what ``cuda`` shall mean from then on; without it, GPUs.
    Raises ``RuntimeError`` if PyTorch is imported already or the machine has no such device.
    """
    from torchlike._runner.program import prepare

    prepare(device)


__all__ = sorted(
    name
    for name, value in {**globals(), **_LATER}.items()
    if not name.startswith("_") and not hasattr(value, "__spec__")
    and name not in ("annotations", "random", "return_types", "serialization", "storage", "version")
)  # fmt: skip
