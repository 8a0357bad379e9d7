"""torch.nested: names that raise (https://pytorch.org/docs/stable/nested.html)."""

from torchlike.nested.missing import as_nested_tensor as as_nested_tensor
from torchlike.nested.missing import masked_select as masked_select
from torchlike.nested.missing import narrow as narrow
from torchlike.nested.missing import nested_tensor as nested_tensor
from torchlike.nested.missing import nested_tensor_from_jagged as nested_tensor_from_jagged
from torchlike.nested.missing import to_padded_tensor as to_padded_tensor

__all__ = [
    "as_nested_tensor",
    "masked_select",
    "narrow",
    "nested_tensor",
    "nested_tensor_from_jagged",
    "to_padded_tensor",
]
