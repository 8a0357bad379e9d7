"""How the entries of PyTorch's op database are called through the public API."""

from __future__ import annotations

import numpy as np
import torch

from .specs import MissingName

# Not counted: entries of op_db that are not part of the public Python API, or
# that no CPU build can run. Everything else in op_db is counted.

NA = {
    "_softmax_backward_data": "internal aten op (leading underscore)",
    "_native_batch_norm_legit": "internal aten op (leading underscore)",
    "_batch_norm_with_update": "internal aten op, only torch.ops.aten",
    "_upsample_bilinear2d_aa": "internal aten op (public form: nn.functional.interpolate)",
    "_unsafe_masked_index": "internal aten op (leading underscore)",
    "_unsafe_masked_index_put_accumulate": "internal aten op (leading underscore)",
    "_chunk_cat": "internal aten op (leading underscore)",
    "_segment_reduce.lengths": "internal aten op (leading underscore)",
    "_segment_reduce.offsets": "internal aten op (leading underscore)",
    "max_pool2d_with_indices_backward": "internal aten backward op, only torch.ops.aten",
    "native_dropout_backward": "internal aten backward op, only torch.ops.aten",
    "slice": "aten overload; the public form is __getitem__, counted there",
    "torch._scaled_mm": "internal op, float8 only",
    "torch._scaled_mm_v2": "internal op, float8 only",
    "torch.ops.aten._safe_softmax.default": "internal aten op, only torch.ops.aten",
    "torch.ops.aten._flash_attention_forward": "internal aten op, CUDA only",
    "torch.ops.aten._efficient_attention_forward": "internal aten op, CUDA only",
    "jiterator_unary": "CUDA only: compiles CUDA C++ source given as a string",
    "jiterator_binary": "CUDA only: compiles CUDA C++ source given as a string",
    "jiterator_4inputs_with_extra_args": "CUDA only: compiles CUDA C++ source given as a string",
    "jiterator_binary_return_by_ref": "CUDA only: compiles CUDA C++ source given as a string",
    "jiterator_2inputs_2outputs": "CUDA only: compiles CUDA C++ source given as a string",
    "nn.functional.batch_norm.without_cudnn": "CUDA only; counted as nn.functional.batch_norm",
    "bmm.triton_optimized": "CUDA kernel choice of torch.bmm; the same function is counted as bmm",
}

# How an op is called. The default is the public function of the op's name
# ('linalg.svd' -> torchlike.linalg.svd). The rest:

# the op only exists as a Tensor method
METHOD_ONLY = {
    "item",
    "contiguous",
    "sum_to_size",
    "expand",
    "expand_as",
    "to",
    "reshape_as",
    "view",
    "view_as",
    "unfold",
    "repeat",
    "to_sparse",
    "new_zeros",
    "new_ones",
    "new_empty",
    "new_empty_strided",
    "new_full",
    "bfloat16",
    "bool",
    "byte",
    "char",
    "double",
    "float",
    "half",
    "int",
    "long",
    "short",
    "cdouble",
    "cfloat",
    "chalf",
    "__radd__",
    "__rdiv__",
    "__rmul__",
    "__rand__",
    "__ror__",
    "__rxor__",
    "__rmatmul__",
    "__rmod__",
    "__rpow__",
    "__rsub__",
    "__getitem__",
}
# ... or as a Tensor property
PROPERTY = {"T", "H", "mT", "mH"}
# ... or as an in-place Tensor method of another name
INPLACE_ONLY = {
    "cauchy": "cauchy_",
    "exponential": "exponential_",
    "geometric": "geometric_",
    "log_normal": "log_normal_",
    "normal.in_place": "normal_",
    "uniform": "uniform_",
}


def _reorder(name, build):
    def make(B):
        return build(B.get(name))

    return make


# the op's sample inputs come in another order than the function's arguments
ADAPT = {
    "einsum": _reorder("einsum", lambda f: lambda tensors, eq: f(eq, tensors)),
    "polygamma": _reorder("polygamma", lambda f: lambda x, n, **k: f(n, x, **k)),
    "special.polygamma": _reorder("special.polygamma", lambda f: lambda x, n, **k: f(n, x, **k)),
    "where": _reorder("where", lambda f: lambda x, cond, other, **k: f(cond, x, other, **k)),
    "nn.functional.embedding": _reorder(
        "nn.functional.embedding", lambda f: lambda w, idx, **k: f(idx, w, **k)
    ),
    "nn.functional.embedding_bag": _reorder(
        "nn.functional.embedding_bag", lambda f: lambda w, idx, **k: f(idx, w, **k)
    ),
    "svd_lowrank": _reorder("svd_lowrank", lambda f: lambda a, b, **k: f(a @ b.mT, **k)),
    "pca_lowrank": _reorder("pca_lowrank", lambda f: lambda a, b, **k: f(a @ b.mT, **k)),
    "linalg.lstsq.grad_oriented": _reorder(
        "linalg.lstsq", lambda f: lambda a, b, driver: f(a, b, driver=driver)[:2]
    ),
    "linalg.pinv.singular": _reorder("linalg.pinv", lambda f: lambda a, b: f(a @ b.mT)),
    "normal.number_mean": _reorder(
        "normal", lambda f: lambda std, mean, *a, **k: f(mean, std, *a, **k)
    ),
    "resize_": lambda B: _need(B, "resize_", lambda x, shape: x.clone().resize_(shape)),
    "resize_as_": _reorder("resize_as_", lambda f: lambda x, other: f(x.clone(), other)),
    "zero_": _reorder("zero_", lambda f: lambda x: f(x.clone())),
}

_probe_cache = {}


def has_method(B, name):
    """Has the library's Tensor this attribute (on the class or an instance)?"""
    try:
        if hasattr(B.Tensor, name):
            return True
    except MissingName:
        raise
    except Exception:
        return False
    key = (id(B), "probe")
    if key not in _probe_cache:
        try:
            _probe_cache[key] = B.m.tensor(np.zeros((1, 1), np.float32))
        except Exception:
            _probe_cache[key] = None
    t = _probe_cache[key]
    try:
        return t is not None and hasattr(t, name)
    except Exception:
        return False


def _need(B, method, fn):
    if not has_method(B, method):
        raise MissingName("Tensor." + method)
    return fn


def method(B, name):
    """A Tensor method as a function; called on the class where the input is no tensor."""

    def f(x, *a, **k):
        if not B.is_tensor(x):  # error inputs: Tensor.add(2, tensor)
            return getattr(B.Tensor, name)(x, *a, **k)
        try:
            bound = getattr(x, name)
        except AttributeError:
            raise MissingName("Tensor." + name) from None
        return bound(*a, **k)

    return _need(B, name, f)


def function(B, op):
    """The library's callable for an op: takes (input, *args, **kwargs)."""
    full, name = op.full_name, op.name
    if full in INPLACE_ONLY:
        return method(B, INPLACE_ONLY[full])
    if name in PROPERTY:
        return _need(B, name, lambda x: getattr(x, name))
    if name in METHOD_ONLY:
        return method(B, name)
    for key in (full, name):
        if key in ADAPT:
            return ADAPT[key](B)
    return B.get(name)


def inplace(B, op):
    """The library's in-place form of an op: a method, or a function with inplace=True."""
    v = op.inplace_variant
    n = getattr(v, "__name__", None)
    if n and n != "<lambda>" and getattr(torch.Tensor, n, None) is v:
        return method(B, n)
    if op.name.startswith("nn.functional."):
        f = B.get(op.name)
        return lambda *a, **k: f(*a, **k, inplace=True)
    raise AssertionError(f"in-place variant of {op.full_name} not understood")


def method_name(op):
    """The name of an op's method."""
    v = op.method_variant
    n = getattr(v, "__name__", None)
    if n and n != "<lambda>" and getattr(torch.Tensor, n, None) is v:
        return n
    return op.name  # multinomial, bernoulli: seeded wrappers of the method


def _mha_without_dropout(sample, n):
    """PyTorch's samples for gradients all have dropout: add one without."""
    args = list(sample.args)
    if args[9] == 0.0:
        return None
    args[9] = 0.0
    return n + sample.index, sample.input, tuple(args), sample.kwargs


# a further sample made from each chosen one
DERIVED = {"nn.functional.multi_head_attention_forward": _mha_without_dropout}

# contents are uninitialised memory: structure, dtype and shape only
UNINITIALISED = {
    "empty",
    "empty_like",
    "new_empty",
    "empty_strided",
    "new_empty_strided",
    "empty_permuted",
}


def grown_by_resize(op, sample):
    """resize_ to more elements leaves the new ones uninitialised."""
    if op.name == "resize_":
        want = sample.args[0]
        want = getattr(want, "dims", want)
        return int(np.prod(want)) > sample.input.data.size
    if op.name == "resize_as_":
        return sample.args[0].data.size > sample.input.data.size
    return False


def grad_wrapper(op):
    """PyTorch's own gradcheck wrappers, where gradients are only defined on a
    subspace; they use nothing but operators and Tensor methods."""
    n = getattr(op.gradcheck_wrapper, "__name__", "")
    if n == "gradcheck_wrapper_hermitian_input":
        return lambda f: lambda x, *a, **k: f(x + x.mH, *a, **k)
    if n == "gradcheck_wrapper_ctc_loss":
        return lambda f: lambda x, *a, **k: f(x.log_softmax(dim=2), *a, **k)
    if op.name == "cholesky_solve":  # says nothing of the other triangle
        return lambda f: lambda x, y, upper=False: f(x, y.triu() if upper else y.tril(), upper)
    return lambda f: f


def grad_ignores_nonfinite(op):
    """Masked reductions: masked-out results are not finite and not defined."""
    return "masked" in getattr(op.gradcheck_wrapper, "__name__", "")
