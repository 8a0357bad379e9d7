"""assert_close: nested structures of tensors, arrays and numbers, and how they differ."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping, Sequence

import numpy as np

from torchlike._core import devices
from torchlike._core import dtypes as dt
from torchlike._tensor import layouts
from torchlike._tensor.forms import FUNCTIONS
from torchlike._tensor.tensor import Tensor

# PyTorch's (rtol, atol) by dtype; other dtypes must be equal.
_TOLERANCES = {
    dt.float16: (1e-3, 1e-5), dt.bfloat16: (1.6e-2, 1e-5), dt.float32: (1.3e-6, 1e-5),
    dt.float64: (1e-7, 1e-7), dt.complex64: (1.3e-6, 1e-5), dt.complex128: (1e-7, 1e-7),
}  # fmt: skip
_NUMBERS = {
    bool: dt.bool_, int: dt.int64, float: dt.float64, complex: dt.complex128,
}  # fmt: skip


class _Mismatch(Exception):
    """What differs: the error to raise, its text, and where in the structure."""

    def __init__(self, kind, text: str, place=()):
        super().__init__(text)
        self.kind, self.text, self.place = kind, text, place

    def to_error(self, msg=None) -> Exception:
        """The error for the user, with his own message if there is one."""
        text = self.text
        if self.place:
            text += "\n\nThe failure occurred for item " + "".join(f"[{k!r}]" for k in self.place)
        if msg is not None:
            text = msg(text) if callable(msg) else msg
        return self.kind(text)


def get_tolerances(*inputs, rtol=None, atol=None, id=()) -> tuple:
    """(rtol, atol) as given, or PyTorch's for these tensors or dtypes: the widest."""
    if (rtol is None) != (atol is None):
        missing = "rtol" if rtol is None else "atol"
        raise ValueError(
            f"Both 'rtol' and 'atol' must be either specified or omitted, but got no {missing}."
        )
    return default_tolerances(*inputs) if rtol is None else (rtol, atol)


def default_tolerances(*inputs, dtype_precisions=None) -> tuple:
    """PyTorch's (rtol, atol) for these tensors or dtypes: the widest."""
    known = dtype_precisions or _TOLERANCES
    dtypes = [x.dtype if isinstance(x, Tensor) else x for x in inputs]
    found = [known.get(d, (0.0, 0.0)) for d in dtypes]
    return max(r for r, _ in found), max(a for _, a in found)


# ---- pairs of leaves ---------------------------------------------------------------------------


def _pairs(actual, expected, place, options):
    """The leaves of two structures, side by side, as functions that compare; raises ``_Mismatch``
    where the structures differ."""
    if _sequence(actual) and _sequence(expected):
        if len(actual) != len(expected):
            text = f"The length of the sequences mismatch: {len(actual)} != {len(expected)}"
            raise _Mismatch(AssertionError, text, place)
        for i, (a, b) in enumerate(zip(actual, expected, strict=True)):
            yield from _pairs(a, b, (*place, i), options)
        return
    if isinstance(actual, Mapping) and isinstance(expected, Mapping):
        missing, extra = set(expected) - set(actual), set(actual) - set(expected)
        if missing or extra:
            text = (
                "The keys of the mappings do not match:\n"
                f"Missing keys in the actual mapping: {_sorted(missing)}\n"
                f"Additional keys in the actual mapping: {_sorted(extra)}"
            )
            raise _Mismatch(AssertionError, text, place)
        for key in _sorted(expected):
            yield from _pairs(actual[key], expected[key], (*place, key), options)
        return
    for compare in (_none, _booleans, _numbers, _tensors):
        pair = compare(actual, expected, place, options)
        if pair is not None:
            yield pair
            return
    text = (
        f"No comparison pair was able to handle inputs of type {type(actual)} and {type(expected)}."
    )
    raise _Mismatch(TypeError, text, place)


def _sequence(x) -> bool:
    return isinstance(x, Sequence) and not isinstance(x, (str, bytes))


def _sorted(keys) -> list:
    try:
        return sorted(keys)
    except TypeError:
        return list(keys)


def _none(actual, expected, place, options):
    if actual is not None and expected is not None:
        return None
    same = actual is expected

    def compare():
        if not same:
            raise _Mismatch(AssertionError, f"None mismatch: {actual} is not {expected}", place)

    return compare


def _booleans(actual, expected, place, options):
    if not (isinstance(actual, (bool, np.bool_)) and isinstance(expected, (bool, np.bool_))):
        return None

    def compare():
        if bool(actual) is not bool(expected):
            text = f"Booleans mismatch: {bool(actual)} is not {bool(expected)}"
            raise _Mismatch(AssertionError, text, place)

    return compare


def _numbers(actual, expected, place, options):
    kinds = (int, float, complex, np.number)
    for x in (actual, expected):
        if not isinstance(x, kinds) or isinstance(x, (bool, np.bool_)):
            return None
    actual = actual.item() if isinstance(actual, np.number) else actual
    expected = expected.item() if isinstance(expected, np.number) else expected
    rtol, atol = get_tolerances(
        _NUMBERS[_kind(actual)], _NUMBERS[_kind(expected)],
        rtol=options["rtol"], atol=options["atol"],
    )  # fmt: skip

    def compare():
        if options["check_dtype"] and type(actual) is not type(expected):
            text = f"The (d)types do not match: {type(actual)} != {type(expected)}."
            raise _Mismatch(AssertionError, text, place)
        if actual == expected:
            return
        difference = abs(actual - expected)
        if options["equal_nan"] and actual != actual and expected != expected:
            return
        if difference < float("inf") and difference <= atol + rtol * abs(expected):
            return
        raise _Mismatch(AssertionError, _scalars(actual, expected, rtol, atol), place)

    return compare


def _kind(x):
    return next(kind for kind in (bool, int, float, complex) if isinstance(x, kind))


def _tensors(actual, expected, place, options):
    related = isinstance(actual, type(expected)) or isinstance(expected, type(actual))
    if not related or (type(actual) is not type(expected) and not options["allow_subclasses"]):
        return None
    sides = []
    for x in (actual, expected):
        if isinstance(x, np.ndarray):
            x = FUNCTIONS["as_tensor"](x)
        if not isinstance(x, Tensor):
            return None
        sides.append(x)
    rtol, atol = get_tolerances(*sides, rtol=options["rtol"], atol=options["atol"])
    return functools.partial(_compare, *sides, rtol, atol, place, options)


# ---- tensors -----------------------------------------------------------------------------------


def _compare(actual, expected, rtol, atol, place, options) -> None:
    """Raise ``_Mismatch`` unless two tensors agree."""
    checks = [
        ("shape", True, actual.shape, expected.shape),
        ("device", options["check_device"], actual.device, expected.device),
        ("dtype", options["check_dtype"], actual.dtype, expected.dtype),
        ("layout", options["check_layout"], actual.layout, expected.layout),
    ]
    if options["check_stride"] and not actual.is_sparse:
        checks.append(("stride()", True, actual.stride(), expected.stride()))
    for name, wanted, a, b in checks:
        if wanted and a != b:
            text = f"The values for attribute '{name}' do not match: {a} != {b}."
            raise _Mismatch(AssertionError, text, place)
    if actual.device is devices.META or expected.device is devices.META:
        return
    if actual.layout is expected.layout and actual.layout in _PARTS:
        _compare_parts(actual, expected, rtol, atol, place, options)
        return
    sides = [x if x.layout is layouts.strided else x.to_dense() for x in (actual, expected)]
    _compare_numbers(*sides, rtol, atol, place, options)


# The parts of sparse tensors, beside their values.
_PARTS = {
    layouts.sparse_coo: ("_indices",), layouts.sparse_csr: ("crow_indices", "col_indices"),
    layouts.sparse_csc: ("ccol_indices", "row_indices"),
    layouts.sparse_bsr: ("crow_indices", "col_indices"),
    layouts.sparse_bsc: ("ccol_indices", "row_indices"),
}  # fmt: skip


def _compare_parts(actual, expected, rtol, atol, place, options) -> None:
    """Compare two sparse tensors of one layout by their indices and values."""
    name = repr(actual.layout).rpartition("_")[2].upper()
    if actual._nnz() != expected._nnz():
        text = (
            f"The number of specified values in sparse {name} tensors does not match: "
            f"{actual._nnz()} != {expected._nnz()}"
        )
        raise _Mismatch(AssertionError, text, place)
    for part in _PARTS[actual.layout]:
        a, b = getattr(actual, part)(), getattr(expected, part)()
        _compare_numbers(a, b, 0, 0, place, options, f"Sparse {name} {part.lstrip('_')}")
    part = "_values" if actual.is_sparse else "values"
    a, b = getattr(actual, part)(), getattr(expected, part)()
    _compare_numbers(a, b, rtol, atol, place, options, f"Sparse {name} values")


def _compare_numbers(actual, expected, rtol, atol, place, options, what="Tensor-likes") -> None:
    """Compare two tensors of one shape element by element."""
    if actual.dtype is not expected.dtype:
        # Large unsigned integers have no promotion: here they count as int64.
        kinds = [dt.int64 if x.dtype in dt.UNSIGNED else x.dtype for x in (actual, expected)]
        common = dt.promote_types(*kinds)
        actual, expected = actual.to(common), expected.to(common)
    a, b = (_host(x) for x in (actual, expected))
    with np.errstate(all="ignore"):
        close = _close(a, b, rtol, atol, options["equal_nan"])
        if close.all():
            return
        if a.ndim == 0:
            text = _scalars(a.item(), b.item(), rtol, atol)
        else:
            text = _mismatched(a, b, close, rtol, atol, what)
    raise _Mismatch(AssertionError, text, place)


def _host(x) -> np.ndarray:
    """The numbers, on the host; what is not floating as int64."""
    host = x.detach()._host() if not x.is_conj() else x.detach().resolve_conj()._host()
    if x.dtype.category >= dt.FLOATING:
        return host.astype(np.float32) if x.dtype.itemsize == 1 else host
    return host.astype(np.int64)


def _close(a, b, rtol, atol, equal_nan) -> np.ndarray:
    """PyTorch's isclose."""
    close = a == b
    if rtol or atol:
        kind = b.real.dtype.type
        near = abs(a - b) <= kind(atol) + abs(kind(rtol) * b)
        close = close | (near & np.isfinite(b) & np.isfinite(a))
    if equal_nan and a.dtype != np.int64:
        close = close | (np.isnan(a) & np.isnan(b))
    return close


def _mismatched(a, b, close, rtol, atol, what) -> str:
    count, total = int((~close).sum()), close.size
    absolute = abs(a - b)
    relative = absolute / abs(b) if a.dtype != np.int64 else (absolute / abs(b)).astype(np.float32)
    lines = [
        f"{what} are not " + ("close!" if rtol or atol else "equal!"),
        "",
        f"Mismatched elements: {count} / {total} ({count / total:.1%})",
    ]
    for name, values, allowed in (("absolute", absolute, atol), ("relative", relative, rtol)):
        values = np.where(close, np.zeros_like(values), values)
        at = np.unravel_index(_greatest(values), close.shape)
        line = f"Greatest {name} difference: {values[at].item()} at index {tuple(map(int, at))}"
        lines.append(line + (f" (up to {allowed} allowed)" if rtol or atol else ""))
    return "\n".join(lines)


def _greatest(values) -> int:
    if values.dtype == np.int64:
        return int(np.argmax(values))
    values = values.astype(np.float64)
    bad = np.isnan(values)
    return int(np.argmax(bad)) if bad.any() else int(np.argmax(values))


def _scalars(actual, expected, rtol, atol) -> str:
    equal = not (rtol or atol)
    absolute = abs(actual - expected)
    relative = float("inf") if expected == 0 else absolute / abs(expected)
    lines = [
        "Scalars are not " + ("equal!" if equal else "close!"),
        "",
        f"Expected {expected} but got {actual}.",
        f"Absolute difference: {absolute}" + ("" if equal else f" (up to {atol} allowed)"),
        f"Relative difference: {relative}" + ("" if equal else f" (up to {rtol} allowed)"),
    ]
    return "\n".join(lines)


# ---- public ------------------------------------------------------------------------------------


def assert_close(
    actual, expected, *, allow_subclasses: bool = True, rtol: float | None = None,
    atol: float | None = None, equal_nan: bool = False, check_device: bool = True,
    check_dtype: bool = True, check_layout: bool = True, check_stride: bool = False, msg=None,
):  # fmt: skip
    """Raise ``AssertionError`` unless two structures of tensors, arrays and numbers agree: each
    |actual - expected| <= atol + rtol * |expected|, by default with PyTorch's tolerances
    (https://pytorch.org/docs/stable/testing.html#torch.testing.assert_close)."""
    __tracebackhide__ = True
    options = {
        "allow_subclasses": allow_subclasses, "rtol": rtol, "atol": atol, "equal_nan": equal_nan,
        "check_device": check_device, "check_dtype": check_dtype, "check_layout": check_layout,
        "check_stride": check_stride,
    }  # fmt: skip
    if rtol is not None and atol is not None and (rtol < 0 or atol < 0):
        raise RuntimeError(
            f"rtol and atol must be greater than or equal to zero, but got {rtol} and {atol}"
        )
    error = None
    try:
        pairs = list(_pairs(actual, expected, (), options))
    except _Mismatch as mismatch:
        error = mismatch.to_error(msg if mismatch.kind is AssertionError else None)
    if error is None:
        try:
            for compare in pairs:
                compare()
        except _Mismatch as mismatch:
            error = mismatch.to_error(msg)
    if error is not None:
        raise error


def assert_allclose(
    actual, expected, rtol: float | None = None, atol: float | None = None,
    equal_nan: bool = True, msg: str = "",
) -> None:  # fmt: skip
    """Deprecated: ``assert_close`` with other defaults, that does not compare dtypes."""
    warnings.warn(
        "`torch.testing.assert_allclose()` is deprecated since 1.12 and will be removed in a "
        "future release. Please use `torch.testing.assert_close()` instead. You can find detailed "
        "upgrade instructions in https://github.com/pytorch/pytorch/issues/61844.",
        FutureWarning,
        stacklevel=2,
    )
    actual, expected = (
        x if isinstance(x, Tensor) else FUNCTIONS["tensor"](x) for x in (actual, expected)
    )
    if rtol is None and atol is None:
        loose = {dt.float16: (1e-3, 1e-3), dt.float32: (1e-4, 1e-5), dt.float64: (1e-5, 1e-8)}
        found = [loose.get(x.dtype, (0.0, 0.0)) for x in (actual, expected)]
        rtol, atol = max(r for r, _ in found), max(a for _, a in found)
    assert_close(
        actual, expected, rtol=rtol, atol=atol, equal_nan=equal_nan, check_device=True,
        check_dtype=False, check_stride=False, msg=msg or None,
    )  # fmt: skip
