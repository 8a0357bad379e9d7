"""torch._tensor: the class of tensors, and how a subclass's instance is rebuilt."""

from torchlike import Tensor as Tensor


def _rebuild_from_type_v2(func, new_type, args, state):
    """``func(*args)`` as a ``new_type`` with the attributes of ``state``."""
    out = func(*args)
    if type(out) is not new_type:
        out = out.as_subclass(new_type)
    if state:
        if hasattr(new_type, "__setstate__"):
            out.__setstate__(state)
        else:
            (slots, own) = (state[1], state[0]) if isinstance(state, tuple) else ({}, state)
            for name, value in {**(own or {}), **(slots or {})}.items():
                setattr(out, name, value)
    return out
