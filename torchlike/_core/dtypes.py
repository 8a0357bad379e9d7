"""PyTorch's dtypes and type promotion, on top of numpy and ml_dtypes; knows nothing of arrays."""

from __future__ import annotations

from functools import cache
from math import inf

import ml_dtypes
import numpy as np

BOOL, INTEGRAL, FLOATING, COMPLEX = range(4)


class dtype:
    """A PyTorch data type, e.g. ``torch.float32`` (https://pytorch.org/docs/stable/tensor_attributes.html)."""

    __slots__ = ("category", "itemsize", "name", "numpy")

    def __init__(self, name: str, numpy_type, category: int):
        self.name = name
        self.numpy = np.dtype(numpy_type)
        self.category = category
        self.itemsize = self.numpy.itemsize

    @property
    def is_floating_point(self) -> bool:
        return self.category == FLOATING

    @property
    def is_complex(self) -> bool:
        return self.category == COMPLEX

    @property
    def is_signed(self) -> bool:
        return self.category >= FLOATING or self.numpy.kind == "i"

    def to_real(self) -> dtype:
        """The real dtype of one component: complex64 gives float32."""
        return _REAL.get(self, self)

    def to_complex(self) -> dtype:
        """The complex dtype whose components are this dtype: float32 gives complex64."""
        if self.category < FLOATING:
            raise RuntimeError(f"Unknown Complex ScalarType for {SCALAR_NAMES[self]}")
        return _COMPLEX_OF.get(self, self)

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self):
        return _dtype_named, (self.name,)

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self


def _dtype_named(name: str) -> dtype:
    return BY_NAME[name]


bool_ = dtype("bool", np.bool_, BOOL)
uint8 = dtype("uint8", np.uint8, INTEGRAL)
int8 = dtype("int8", np.int8, INTEGRAL)
int16 = dtype("int16", np.int16, INTEGRAL)
int32 = dtype("int32", np.int32, INTEGRAL)
int64 = dtype("int64", np.int64, INTEGRAL)
uint16 = dtype("uint16", np.uint16, INTEGRAL)
uint32 = dtype("uint32", np.uint32, INTEGRAL)
uint64 = dtype("uint64", np.uint64, INTEGRAL)
float16 = dtype("float16", np.float16, FLOATING)
bfloat16 = dtype("bfloat16", ml_dtypes.bfloat16, FLOATING)
float32 = dtype("float32", np.float32, FLOATING)
float64 = dtype("float64", np.float64, FLOATING)
float8_e4m3fn = dtype("float8_e4m3fn", ml_dtypes.float8_e4m3fn, FLOATING)
float8_e5m2 = dtype("float8_e5m2", ml_dtypes.float8_e5m2, FLOATING)
float8_e4m3fnuz = dtype("float8_e4m3fnuz", ml_dtypes.float8_e4m3fnuz, FLOATING)
float8_e5m2fnuz = dtype("float8_e5m2fnuz", ml_dtypes.float8_e5m2fnuz, FLOATING)
float8_e8m0fnu = dtype("float8_e8m0fnu", ml_dtypes.float8_e8m0fnu, FLOATING)
complex64 = dtype("complex64", np.complex64, COMPLEX)
complex128 = dtype("complex128", np.complex128, COMPLEX)

ALL = (
    bool_, uint8, int8, int16, int32, int64, uint16, uint32, uint64,
    float16, bfloat16, float32, float64,
    float8_e4m3fn, float8_e5m2, float8_e4m3fnuz, float8_e5m2fnuz, float8_e8m0fnu,
    complex64, complex128,
)  # fmt: skip
BY_NAME = {d.name: d for d in ALL}
BY_NUMPY = {d.numpy: d for d in ALL}
FLOAT8 = frozenset(d for d in ALL if d.name.startswith("float8"))
HALF = frozenset((float16, bfloat16))
_REAL = {complex64: float32, complex128: float64}
_COMPLEX_OF = {float32: complex64, float64: complex128}

# PyTorch's own spellings of the same objects.
ALIASES = {
    "half": float16, "float": float32, "double": float64, "short": int16, "int": int32,
    "long": int64, "cfloat": complex64, "cdouble": complex128,
}  # fmt: skip

# Scalar type names as they stand in PyTorch's error messages.
SCALAR_NAMES = {
    bool_: "Bool", uint8: "Byte", int8: "Char", int16: "Short", int32: "Int", int64: "Long",
    float16: "Half", bfloat16: "BFloat16", float32: "Float", float64: "Double",
    complex64: "ComplexFloat", complex128: "ComplexDouble", uint16: "UInt16", uint32: "UInt32",
    uint64: "UInt64", float8_e4m3fn: "Float8_e4m3fn", float8_e5m2: "Float8_e5m2",
    float8_e4m3fnuz: "Float8_e4m3fnuz", float8_e5m2fnuz: "Float8_e5m2fnuz",
    float8_e8m0fnu: "Float8_e8m0fnu",
}  # fmt: skip

# And as C++ types, which other messages name.
C_NAMES = {
    float32: "float", float64: "double", float16: "c10::Half", bfloat16: "c10::BFloat16",
    int64: "long int", int32: "int", int16: "short int", int8: "signed char",
    uint8: "unsigned char", bool_: "bool", complex64: "c10::complex<float>",
    complex128: "c10::complex<double>",
}  # fmt: skip


# The largest finite number of a floating dtype; a number of Python's is no larger than float64's.
LARGEST = {
    float16: 65504.0, bfloat16: float(ml_dtypes.finfo(ml_dtypes.bfloat16).max),
    float32: float(np.finfo(np.float32).max), complex64: float(np.finfo(np.float32).max),
    float8_e4m3fn: 448.0, float8_e5m2: 57344.0,
}  # fmt: skip


def check_held(x, d: dtype) -> None:
    """Raise PyTorch's error for a finite number that a floating dtype cannot hold."""
    largest = LARGEST.get(d)
    for part in (x.real, x.imag):
        if largest is not None and not -largest <= part <= largest and -inf < part < inf:
            raise does_not_fit(d)


def does_not_fit(d: dtype) -> RuntimeError:
    """PyTorch's error for a number that a dtype cannot hold."""
    plain = d.category != INTEGRAL or d is int32
    name = C_NAMES.get(d, d.name) if plain else f"{d.name}_t"
    return RuntimeError(f"value cannot be converted to type {name} without overflow")


_default = float32


def get_default_dtype() -> dtype:
    """The floating dtype that new tensors of Python floats get."""
    return _default


def set_default_dtype(d: dtype) -> None:
    """Set the floating dtype of new tensors; raises ``TypeError`` for one that is not floating."""
    global _default
    if not isinstance(d, dtype) or d not in (float16, bfloat16, float32, float64):
        of = "" if isinstance(d, dtype) else "invalid dtype object: "
        raise TypeError(f"{of}only floating-point types are supported as the default type")
    _default = d


# What holds every number of a class of Python's.
WIDEST = {float: float64, int: int64, bool: bool_, complex: complex128}


def as_dtype(name: str, d) -> dtype | None:
    """A ``dtype=`` argument of the function ``name``; Python's own types stand for the widest
    dtype of their kind. Raises ``TypeError`` for anything else."""
    if d is None or d.__class__ is dtype:
        return d
    if isinstance(d, dtype):  # one that says itself why it has no arrays
        return d
    if isinstance(d, type) and d in WIDEST:
        return WIDEST[d]
    raise TypeError(f"{name}(): argument 'dtype' must be torch.dtype, not {type(d).__name__}")


def scalar_dtype(kind: type) -> dtype:
    """The dtype that a Python number of class ``kind`` stands for in promotion."""
    if kind is bool:
        return bool_
    if kind is int:
        return int64
    if kind is float:
        return _default
    return _default.to_complex() if _default in _COMPLEX_OF else complex64


UNSIGNED = frozenset((uint16, uint32, uint64))  # without promotion among integers
_INT_RANK = {uint8: 8, int8: 8, int16: 16, int32: 32, int64: 64}


@cache
def promote_types(a: dtype, b: dtype) -> dtype:
    """The smallest dtype that holds both, by PyTorch's rules (``torch.promote_types``)."""
    for i, given in enumerate((a, b)):
        if not isinstance(given, dtype):
            raise TypeError(
                f"promote_types(): argument 'type{i + 1}' (position {i + 1}) must be torch.dtype, "
                f"not {type(given).__name__}"
            )
    if a is b:
        return a
    if a in FLOAT8 or b in FLOAT8:
        raise RuntimeError(
            f"Promotion for Float8 Types is not supported, attempted to promote "
            f"{SCALAR_NAMES[a]} and {SCALAR_NAMES[b]}"
        )
    if FLOATING not in (a.category, b.category) and (a in UNSIGNED or b in UNSIGNED):
        raise RuntimeError(
            f"Promotion for uint16, uint32, uint64 types is not supported, attempted to promote "
            f"{SCALAR_NAMES[a]} and {SCALAR_NAMES[b]}"
        )
    if a.category != b.category:
        low, high = (a, b) if a.category < b.category else (b, a)
        if high.category == COMPLEX and low.category == FLOATING:
            return complex128 if low is float64 else high
        return high
    if a.category == FLOATING:
        if a.itemsize == b.itemsize:  # float16 with bfloat16
            return float32
        return a if a.itemsize > b.itemsize else b
    if a.category == COMPLEX:
        return complex128
    if uint8 in (a, b):
        other = b if a is uint8 else a
        return int16 if other is int8 else other
    return a if _INT_RANK[a] > _INT_RANK[b] else b


def result_type(dimensioned, zero_dim, scalars) -> dtype:
    """PyTorch's result dtype of operands in three priority classes.

    ``dimensioned`` and ``zero_dim`` are dtypes of tensors with and without dimensions, ``scalars``
    dtypes of Python numbers; a lower class only matters if its category is higher.
    """
    result = None
    for group in (dimensioned, zero_dim, scalars):
        group_type = None
        for d in group:
            group_type = d if group_type is None else promote_types(group_type, d)
        if group_type is None:
            continue
        if result is None:
            result = group_type
        elif group_type.category > result.category:
            # A lower class lifts the category only: its width does not count, except that a
            # complex scalar beside a real tensor keeps the tensor's precision.
            if group_type.category == COMPLEX and result.category == FLOATING:
                result = complex128 if result is float64 else complex64
            else:
                result = group_type
    return result


def can_cast(source: dtype, target: dtype) -> bool:
    """Whether PyTorch lets a result of ``source`` be written into a tensor of ``target``."""
    return not (
        (source.category == COMPLEX and target.category != COMPLEX)
        or (source.category == FLOATING and target.category <= INTEGRAL)
        or (source.category != BOOL and target.category == BOOL)
    )
