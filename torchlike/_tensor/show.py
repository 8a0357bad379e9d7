"""repr of a Tensor: gathers what printing.py writes."""

from __future__ import annotations

from torchlike._core import dtypes as dt
from torchlike._tensor import printing
from torchlike._tensor.modes import modes

_tangent_of = None  # set by forward_ad.py, which stands above


def node_label(node) -> str:
    """PyTorch's name of a tape node."""
    return node.name()


def _is_ours(kind: type) -> bool:
    """Whether a class of tensors is none of a user's."""
    return kind.__module__.partition(".")[0] in ("torchlike", "torch")


def tensor_repr(t) -> str:
    """The text PyTorch prints for this tensor."""
    text, kind = _text(t), type(t)
    if not _is_ours(kind) and (t._is_parameter or "_is_param" in vars(t)):
        _, containing, text = text.rpartition("Parameter containing:\n")
        return f"{containing}Parameter({text})"
    return text


def _text(t) -> str:
    t._refresh()
    node = t._node
    grad_fn = None if node is None else node_label(node)
    device = None if t.device.type == "cpu" else str(t.device)
    kind = type(t)
    class_name = "tensor" if _is_ours(kind) else kind.__name__
    if t.device.type == "meta":
        return printing.format_meta_tensor(
            t._value.aval.shape, dtype_name=t.dtype.name,
            default_dtype_name=dt.get_default_dtype().name, requires_grad=t.requires_grad,
            grad_fn_name=grad_fn, is_parameter=t._is_parameter, class_name=class_name,
        )  # fmt: skip
    if t._value.is_traced():
        return f"tensor({t._value.array})"
    tangent = _tangent_of(t) if modes.dual is not None else None
    requires_grad = t.requires_grad and tangent is None  # of a dual it means nothing to the user
    grad_fn = grad_fn if tangent is None else None
    return printing.format_tensor(
        t._host(), dtype_name=t.dtype.name, default_dtype_name=dt.get_default_dtype().name,
        device=device, requires_grad=requires_grad, grad_fn_name=grad_fn,
        is_parameter=t._is_parameter, class_name=class_name, tangent=tangent,
    )  # fmt: skip
