"""``torch.return_types``: the named tuples that functions with several results give."""

from torchlike._tensor.forms import RETURN_TYPES as _RETURN_TYPES

globals().update(_RETURN_TYPES)
__all__ = sorted(_RETURN_TYPES)
