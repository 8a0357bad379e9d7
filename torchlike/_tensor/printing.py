"""How a tensor is written as text, the print options included; knows arrays and names, no Tensor.

The text is PyTorch's, character by character, oddities included: people compare printed losses
with a tutorial's, and doctests compare reprs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np


class ArrayLike(Protocol):
    """What is printed: a numpy array, or anything that slices and converts like one.

    Of an array that will be summarised only `array[np.ix_(...)]` is converted, never the whole.
    """

    shape: tuple[int, ...]

    def __getitem__(self, index: Any) -> Any: ...

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray: ...


# ---- options ----------------------------------------------------------------


@dataclasses.dataclass
class PrintOptions:
    """The settings of `set_printoptions`, with PyTorch's defaults."""

    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


_PROFILES: dict[str, dict[str, float]] = {
    "default": {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80},
    "short": {"precision": 2, "threshold": 1000, "edgeitems": 2, "linewidth": 80},
    "full": {"precision": 4, "threshold": math.inf, "edgeitems": 3, "linewidth": 80},
}

_options = PrintOptions()


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Set how tensors print; see https://docs.pytorch.org/docs/stable/generated/torch.set_printoptions.html.

    As in PyTorch, every call sets `sci_mode`: leaving it out brings back the automatic choice.
    """
    if profile is not None and profile not in _PROFILES:
        raise ValueError(
            f"set_printoptions: profile must be one of {', '.join(_PROFILES)}, got {profile!r}"
        )
    given = {
        "precision": precision,
        "threshold": threshold,
        "edgeitems": edgeitems,
        "linewidth": linewidth,
    }
    chosen = dict(_PROFILES[profile]) if profile is not None else {}
    chosen.update({name: value for name, value in given.items() if value is not None})
    for name, value in chosen.items():
        setattr(_options, name, value)
    _options.sci_mode = sci_mode


def get_printoptions() -> dict[str, Any]:
    """The current options, as keyword arguments for `set_printoptions`."""
    return dataclasses.asdict(_options)


@contextlib.contextmanager
def printoptions(**options: Any) -> Iterator[None]:
    """`set_printoptions` for the length of a `with` block."""
    before = get_printoptions()
    try:
        set_printoptions(**options)
        yield
    finally:
        set_printoptions(**before)


# ---- numbers ----------------------------------------------------------------


@dataclasses.dataclass
class _Cells:
    """The text of each shown number, in order, and the width that the columns are laid out with."""

    texts: list[str]
    width: int


def _exact_cells(data: np.ndarray) -> _Cells:
    """Integers and booleans."""
    values = data if data.dtype.kind in "biu" else data.astype(np.int64)  # int4 and its kin
    texts = [str(value) for value in values.ravel().tolist()]
    width = max(map(len, texts), default=1)
    return _Cells([text.rjust(width) for text in texts], width)


def _float_cells(data: np.ndarray, dtype_name: str) -> _Cells:
    # float64 holds every value of the narrower types exactly, so one path serves them all.
    values = data.astype(np.float64).ravel()
    if dtype_name == "float8_e8m0fnu":
        # PyTorch takes this type's nan for finite, and its smallest number for zero.
        counted = values != 2.0**-127
    else:
        counted = np.isfinite(values) & (values != 0)
    magnitudes = np.abs(values[counted])
    whole = True
    scientific = False
    if magnitudes.size:
        smallest, largest = float(magnitudes.min()), float(magnitudes.max())
        whole = bool((magnitudes == np.ceil(magnitudes)).all())
        scientific = _options.sci_mode
        if scientific is None:
            scientific = largest / smallest > 1000.0 or largest > 1.0e8 or smallest < 1.0e-4

    if scientific:
        spec, point = f".{_options.precision}e", ""
    elif whole:
        spec, point = ".0f", "."
    else:
        spec, point = f".{_options.precision}f", ""
    texts = [
        format(value, spec) + (point if math.isfinite(value) else "") for value in values.tolist()
    ]
    # Zeros and non-finite values do not widen a column: they overflow it if they must.
    width = max((len(t) for t, counts in zip(texts, counted, strict=True) if counts), default=1)
    return _Cells([text.rjust(width) for text in texts], width)


def _complex_cells(data: np.ndarray) -> _Cells:
    real, imaginary = _float_cells(data.real, "float64"), _float_cells(data.imag, "float64")
    texts = []
    for re, im in zip(real.texts, imaginary.texts, strict=True):
        im = im.lstrip()
        sign = "" if im[0] in "+-" else "+"
        texts.append(f"{re}{sign}{im}j")
    return _Cells(texts, real.width + imaginary.width + 1)


# ---- layout -----------------------------------------------------------------


@dataclasses.dataclass
class _Room:
    """Where a block of text stands: its first column, and the columns one number takes."""

    indent: int
    item_width: int


def _is_cut(size: int) -> bool:
    """Whether an axis of a summarised tensor shows its two ends only."""
    return size > 2 * _options.edgeitems


def _shown_part(array: ArrayLike) -> np.ndarray:
    """The corner elements that a summary shows, gathered without reading the others."""
    edge = _options.edgeitems
    kept = [
        np.r_[0:edge, size - edge : size] if _is_cut(size) else np.arange(size)
        for size in array.shape
    ]
    return np.asarray(array[np.ix_(*kept)])


def _layout(texts: Sequence[str], shape: Sequence[int], cut: Sequence[bool], room: _Room) -> str:
    """Brackets, commas and line breaks around `texts`, the row-major cells of `shape`."""
    if not shape:
        return texts[0]
    edge = _options.edgeitems
    if len(shape) == 1:
        items = list(texts)
        if cut[0]:
            items.insert(edge, " ..." if edge else "...")
        per_line = max(1, math.floor((_options.linewidth - room.indent) / room.item_width))
        lines = [", ".join(items[i : i + per_line]) for i in range(0, len(items), per_line)]
        return "[" + f",\n{' ' * (room.indent + 1)}".join(lines) + "]"

    step = len(texts) // shape[0] if shape[0] else 0
    inner = _Room(room.indent + 1, room.item_width)
    blocks = [
        _layout(texts[i * step : (i + 1) * step], shape[1:], cut[1:], inner)
        for i in range(shape[0])
    ]
    if cut[0]:
        blocks.insert(edge, "...")
    return "[" + ("," + "\n" * (len(shape) - 1) + " " * inner.indent).join(blocks) + "]"


def format_values(array: ArrayLike, dtype_name: str, *, indent: int = 0) -> str:
    """The numbers of a tensor in brackets, whose first character stands in column `indent`."""
    shape = tuple(array.shape)
    numel = math.prod(shape)
    if numel == 0:
        return "[]"
    summarised = numel > _options.threshold and len(shape) > 0
    if summarised and _options.edgeitems == 0:
        return "[...]"
    cut = [summarised and _is_cut(size) for size in shape]
    data = _shown_part(array) if any(cut) else np.asarray(array)
    if dtype_name.startswith("complex"):
        cells = _complex_cells(data)
    elif dtype_name.startswith(("float", "bfloat")):
        cells = _float_cells(data, dtype_name)
    else:
        cells = _exact_cells(data)
    return _layout(cells.texts, data.shape, cut, _Room(indent, cells.width + 2))


# ---- the whole text ---------------------------------------------------------


def _join_suffixes(text: str, suffixes: Sequence[str], indent: int) -> str:
    """Append `, name=value` parts, each on a new line when the last one is full."""
    # One more than the true length of the last line, two more for a single line: PyTorch's rule.
    column = len(text) - text.rfind("\n") + 1
    for suffix in suffixes:
        if column + len(suffix) + 2 > _options.linewidth:
            text += ",\n" + " " * indent + suffix
            column = indent + len(suffix)
        else:
            text += ", " + suffix
            column += len(suffix) + 2
    return text + ")"


def _is_implied(dtype_name: str, default_dtype_name: str) -> bool:
    """Whether the numbers themselves show the dtype: 1 is int64, True bool, 1. the default."""
    default_complex = "complex128" if default_dtype_name == "float64" else "complex64"
    return dtype_name in (default_dtype_name, default_complex, "int64", "bool")


def _autograd_suffixes(
    requires_grad: bool, grad_fn_name: str | None, tangent: object | None
) -> list[str]:
    suffixes = []
    if grad_fn_name is not None:
        suffixes.append(f"grad_fn=<{grad_fn_name}>")
    elif requires_grad:
        suffixes.append("requires_grad=True")
    if tangent is not None:
        suffixes.append(f"tangent={tangent}")
    return suffixes


def format_tensor(
    array: ArrayLike,
    *,
    dtype_name: str,
    default_dtype_name: str = "float32",
    device: str | None = None,
    requires_grad: bool = False,
    grad_fn_name: str | None = None,
    is_parameter: bool = False,
    tangent: object | None = None,
    class_name: str = "tensor",
    indent: int = 0,
) -> str:
    """The `repr` of a tensor with these values.

    Args:
        array: the values; only the shown part is converted to numpy.
        dtype_name: PyTorch's name without the `torch.` in front, as `"float32"`.
        device: shown as `device='...'`; None where PyTorch shows none (the default device).
        grad_fn_name: name of the tape node's class; wins over `requires_grad`.
        is_parameter: put `Parameter containing:` on a line before.
        tangent: shown with `str`, for a dual number of forward mode.
        class_name: `tensor`, or the name of a subclass of Tensor.
        indent: the column at which the text starts.
    """
    prefix = f"{class_name}("
    indent += len(prefix)
    shape = tuple(int(size) for size in array.shape)
    suffixes = [] if device is None else [f"device='{device}'"]
    if math.prod(shape) == 0:
        # No number shows the dtype here, and "[]" shows the shape (0,) only.
        if len(shape) != 1:
            suffixes.append(f"size={shape}")
        if dtype_name != default_dtype_name:
            suffixes.append(f"dtype=torch.{dtype_name}")
    else:
        if not _options.edgeitems:
            suffixes.append(f"size={shape}")
        if not _is_implied(dtype_name, default_dtype_name):
            suffixes.append(f"dtype=torch.{dtype_name}")
    suffixes += _autograd_suffixes(requires_grad, grad_fn_name, tangent)
    text = _join_suffixes(
        prefix + format_values(array, dtype_name, indent=indent), suffixes, indent
    )
    return f"Parameter containing:\n{text}" if is_parameter else text


def format_meta_tensor(
    shape: Sequence[int],
    *,
    dtype_name: str,
    default_dtype_name: str = "float32",
    device: str = "meta",
    requires_grad: bool = False,
    grad_fn_name: str | None = None,
    is_parameter: bool = False,
    tangent: object | None = None,
    class_name: str = "tensor",
    indent: int = 0,
) -> str:
    """The `repr` of a tensor that has a shape and no values; arguments as in `format_tensor`."""
    prefix = f"{class_name}("
    suffixes = [f"device='{device}'", f"size={tuple(int(size) for size in shape)}"]
    if dtype_name != default_dtype_name:
        suffixes.append(f"dtype=torch.{dtype_name}")
    suffixes += _autograd_suffixes(requires_grad, grad_fn_name, tangent)
    text = _join_suffixes(prefix + "...", suffixes, indent + len(prefix))
    return f"Parameter containing:\n{text}" if is_parameter else text
