"""Puts the forms of every op on Tensor: the last step of building the facade."""

from __future__ import annotations

from torchlike._core.errors import TENSOR
from torchlike._ops import (  # noqa: F401  # noqa: F401
    activation,
    attention,
    convolution,
    distance,
    dropout,
    embedding,
    images,
    linear,
    loss,
    normalization,
    pooling,
    recurrent,
)
from torchlike._ops import arithmetic as _a  # noqa: F401
from torchlike._ops import compare as _cmp  # noqa: F401
from torchlike._ops import control as _cf  # noqa: F401
from torchlike._ops import creation as _c  # noqa: F401
from torchlike._ops import ctc as _ctc  # noqa: F401
from torchlike._ops import differences as _d  # noqa: F401
from torchlike._ops import einsum as _e  # noqa: F401
from torchlike._ops import factorizations as _fa  # noqa: F401
from torchlike._ops import fft as _f  # noqa: F401
from torchlike._ops import fractional as _fr  # noqa: F401
from torchlike._ops import gamma as _gm  # noqa: F401
from torchlike._ops import grouped as _gr  # noqa: F401
from torchlike._ops import indexing as _i  # noqa: F401
from torchlike._ops import join as _j  # noqa: F401
from torchlike._ops import ldl as _ldl  # noqa: F401
from torchlike._ops import linear_cross_entropy as _lce  # noqa: F401
from torchlike._ops import matmul as _m  # noqa: F401
from torchlike._ops import optimizers as _o  # noqa: F401
from torchlike._ops import pointwise as _p  # noqa: F401
from torchlike._ops import polynomials as _po  # noqa: F401
from torchlike._ops import quantization as _qu  # noqa: F401
from torchlike._ops import recompute as _rec  # noqa: F401
from torchlike._ops import reduce as _r  # noqa: F401
from torchlike._ops import requirement as _req  # noqa: F401
from torchlike._ops import rounding as _ro  # noqa: F401
from torchlike._ops import sample as _sa  # noqa: F401
from torchlike._ops import scan as _sc  # noqa: F401
from torchlike._ops import segments as _sg  # noqa: F401
from torchlike._ops import softmax as _so  # noqa: F401
from torchlike._ops import sort as _sr  # noqa: F401
from torchlike._ops import sparse as _spa  # noqa: F401
from torchlike._ops import special as _sp  # noqa: F401
from torchlike._ops import spectra as _spe  # noqa: F401
from torchlike._ops import statistics as _st  # noqa: F401
from torchlike._ops import trigonometry as _tr  # noqa: F401
from torchlike._ops import views as _v  # noqa: F401
from torchlike._tensor import forms

forms.install()

from torchlike._tensor import (  # noqa: E402  # noqa: E402  # noqa: E402  # noqa: E402
    arithmetic,
    creation,
    fourier,
    joining,
    legacy,
    methods,
    parts,
    products,
    random,
    ranges,
    reductions,
    restriding,
    sampling,
    searches,
    selection,
    shapes,
    windows,
)
from torchlike._tensor import attributes as _at  # noqa: E402, F401
from torchlike._tensor import autocast as _au  # noqa: E402, F401
from torchlike._tensor import copies as _cp  # noqa: E402, F401
from torchlike._tensor import decompositions as _de  # noqa: E402, F401
from torchlike._tensor import dlpack as _dl  # noqa: E402, F401
from torchlike._tensor import eigenpairs as _ei  # noqa: E402, F401
from torchlike._tensor import flags as _fl  # noqa: E402, F401
from torchlike._tensor import foreach as _fe  # noqa: E402, F401
from torchlike._tensor import gamma as _gam  # noqa: E402, F401
from torchlike._tensor import mapped_files as _mf  # noqa: E402
from torchlike._tensor import method_signatures as _ms  # noqa: E402, F401
from torchlike._tensor import quantized as _q  # noqa: E402, F401
from torchlike._tensor import recurrent as _rn  # noqa: E402, F401
from torchlike._tensor import segments as _se  # noqa: E402, F401
from torchlike._tensor import shared_memory as _shm  # noqa: E402, F401
from torchlike._tensor import sparse as _spt  # noqa: E402, F401
from torchlike._tensor import storages as _sto  # noqa: E402, F401
from torchlike._tensor.tensor import Tensor  # noqa: E402

forms.tell_methods_apart()
for _name, _fn in forms.METHODS.items():
    if _name not in Tensor.__dict__:
        setattr(Tensor, _name, _fn)
for _name, _fn in {**shapes.PROPERTIES, "real": parts.real, "imag": parts.imag}.items():
    setattr(Tensor, _name, property(_fn, parts.SETTERS.get(_name)))
methods.install_operators()
Tensor.grad_dtype = _mf.grad_dtype
TENSOR.append(Tensor)
_ = arithmetic, creation, selection, random
_ = fourier, sampling
_ = joining, products, restriding, reductions, searches


from torchlike._tensor import overriding as _ov  # noqa: E402, F401


def publish(namespace: dict, functions: dict) -> None:
    """Put the public functions of the op table into the top-level namespace."""
    for name, fn in functions.items():
        if name in namespace:
            raise ValueError(f"torchlike.{name} is defined twice")
        namespace[name] = fn


_ = legacy, ranges, windows
