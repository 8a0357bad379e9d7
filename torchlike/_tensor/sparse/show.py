"""repr of sparse tensors."""

from __future__ import annotations

from torchlike._core import dtypes as dt
from torchlike._tensor import printing
from torchlike._tensor.sparse.parts import Coo, parts_of

_INDENT = len("tensor(")


def _part(name: str, x) -> str:
    prefix = f"{name}=tensor("
    x = x.detach()
    text = printing.format_values(x._host(), x.dtype.name, indent=_INDENT + len(prefix))
    if not x.numel():
        text += f", size={tuple(x.shape)}"
    return f"{prefix}{text})"


def text(x) -> str:
    """The text PyTorch prints: the parts, then what else there is to say."""
    pattern = parts_of(x)
    if pattern.__class__ is Coo:
        shown = [("indices", pattern.indices), ("values", pattern.values)]
    else:
        by_rows = pattern.layout._name[-1] == "r"
        shown = [
            ("crow_indices" if by_rows else "ccol_indices", pattern.compressed),
            ("col_indices" if by_rows else "row_indices", pattern.plain),
            ("values", pattern.values),
        ]
    body = (",\n" + " " * _INDENT).join(_part(name, part) for name, part in shown)
    suffixes = [] if x.device.type == "cpu" else [f"device='{x.device}'"]
    suffixes += [f"size={tuple(x.shape)}", f"nnz={x._nnz()}"]
    default = dt.get_default_dtype().name
    if not printing._is_implied(x.dtype.name, default):
        suffixes.append(f"dtype=torch.{x.dtype.name}")
    suffixes.append(f"layout={x.layout!r}")
    name = None if x._node is None else x._node.name()
    suffixes += printing._autograd_suffixes(x.requires_grad, name, None)
    if pattern.__class__ is not Coo:
        return printing._join_suffixes(f"tensor({body}", suffixes, _INDENT)
    # In coordinates PyTorch begins a new line before the first of them.
    first = f"tensor({body},\n{' ' * _INDENT}{suffixes[0]}"
    column = _INDENT + len(suffixes[0])
    width = printing.get_printoptions()["linewidth"]
    for suffix in suffixes[1:]:
        if column + len(suffix) + 2 > width:
            first += ",\n" + " " * _INDENT + suffix
            column = _INDENT + len(suffix)
        else:
            first += ", " + suffix
            column += len(suffix) + 2
    return first + ")"
