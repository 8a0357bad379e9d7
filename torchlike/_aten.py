"""``torch.ops.aten``: PyTorch's own operators by the names that its dispatcher calls them."""

from __future__ import annotations

from torchlike._core.errors import NotSupported
from torchlike._tensor.forms import FUNCTIONS, METHODS

# How the overloads of an operator are called; which one is meant, the arguments tell as well.
_OVERLOADS = frozenset(
    {
        "default", "Tensor", "Scalar", "Tensor_Scalar", "Scalar_Tensor", "Tensor_Tensor",
        "Tensor_mode", "Scalar_mode", "Tensor_float", "int", "int_Dimname", "dim", "dims",
        "dim_IntList", "self", "self_int", "self_Tensor", "dtype", "dtype_layout", "device",
        "other", "out", "stable", "values", "two", "value", "reduce", "correction", "start",
        "start_step", "low", "like", "dim_max", "dim_min", "ScalarOpt_dim",
    }
)  # fmt: skip
# What kernels of PyTorch's are called that are no functions of ``torch``: programs name them to
# say what shall be done in their place.
_KERNELS = frozenset(
    {
        "_conj", "_fft_c2c", "_grouped_mm", "_local_scalar_dense", "_pin_memory",
        "_scaled_dot_product_efficient_attention", "_scaled_dot_product_flash_attention",
        "_scaled_dot_product_flash_attention_for_cpu",
        "_scaled_dot_product_cudnn_attention", "_sparse_addmm", "_sparse_mm_reduce_impl",
        "_to_copy", "_unsafe_view", "alias", "convolution_backward", "detach",
        "embedding_dense_backward", "index", "index_put_", "native_dropout_backward",
        "native_layer_norm_backward", "slice", "slice_backward",
    }
)  # fmt: skip


class Operator:
    """``torch.ops.aten.name`` or one of its overloads; called, it is ``torch.name``.

    Raises ``NotSupported`` if it is called and no function of ``torch`` has its name.
    """

    def __init__(self, name: str, overload: str = ""):
        self.__name__, self._overload = f"{name}.{overload}" if overload else name, overload
        self._plain = name

    def __getattr__(self, name: str) -> Operator:
        if self._overload or name not in _OVERLOADS:
            kind = "OpOverload" if self._overload else "OpOverloadPacket"
            raise AttributeError(f"'{kind}' object has no attribute '{name}'")
        made = self.__dict__[name] = Operator(self._plain, name)
        return made

    def __call__(self, *args, **kwargs):
        function = FUNCTIONS.get(self._plain) or METHODS.get(self._plain)
        if function is None:
            raise NotSupported(
                f"torch.ops.aten.{self.__name__}", "call the function of torch that it belongs to"
            )
        return function(*args, **kwargs)

    def __str__(self):
        return f"aten.{self.__name__}"

    def __repr__(self):
        if self._overload:
            return f"<OpOverload(op='aten.{self._plain}', overload='{self._overload}')>"
        return f"<OpOverloadPacket(op='aten.{self._plain}')>"


class Operators:
    """The namespace: the same object for the same name each time, for tables by operator."""

    def __getattr__(self, name: str) -> Operator:
        if name not in FUNCTIONS and name not in METHODS and name not in _KERNELS:
            raise AttributeError(f"'_OpNamespace' 'aten' object has no attribute '{name}'")
        made = self.__dict__[name] = Operator(name)
        return made

    def __repr__(self):
        return "<module 'torch.ops.aten'>"


aten = Operators()
