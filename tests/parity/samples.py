"""Samples of PyTorch's op database: the telling ones first, frozen for both libraries."""

from __future__ import annotations

import itertools
import random as pyrandom
import warnings
from functools import cache

import numpy as np
import torch

from . import calls
from .specs import Freezer, Unconvertible

MAX_CANDIDATES = 1500


@cache
def op_db() -> list:
    """PyTorch's op database; it is imported by the first caller, which takes seconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.testing._internal.common_methods_invocations import op_db
        from torch.testing._internal.opinfo import core

    # It looks through the stack for PyTorch's own test, at every sample: two thirds of the time.
    core.extract_test_fn = lambda: None
    return list(op_db)


class Sample:
    __slots__ = ("input", "args", "kwargs", "process", "op_name", "index")

    def __init__(self, op_name, index, input, args, kwargs, process):
        self.op_name, self.index = op_name, index
        self.input, self.args, self.kwargs = input, args, kwargs
        self.process = process

    def build(self, B, grad, widen=False, leaves=None):
        return B.thaw((self.input, self.args, self.kwargs), grad=grad, widen=widen, leaves=leaves)

    def __repr__(self):
        def show(x):
            if isinstance(x, np.ndarray):
                return f"ndarray{list(x.shape)}"
            if isinstance(x, (list, tuple)):
                return "[" + ", ".join(show(y) for y in x) + "]"
            return repr(x)

        parts = [show(self.input)] + [show(a) for a in self.args]
        parts += [f"{k}={show(v)}" for k, v in self.kwargs.items()]
        text = f"#{self.index}({', '.join(parts)})"
        return text if len(text) < 200 else text[:200] + "...)"


def seed_all(seed=0):
    """Seed every generator that PyTorch's samples are drawn from."""
    torch.manual_seed(seed)
    np.random.seed(seed % (2**32))
    pyrandom.seed(seed)


def _features(s):
    """What distinguishes one sample from another, for choosing diverse ones."""
    feats = []

    def arg(where, x):
        if isinstance(x, torch.Tensor):
            feats.append((where, "tensor", x.dim(), str(x.dtype)))
            feats.append(
                (where, "empty" if x.numel() == 0 else "scalar" if x.dim() == 0 else "full")
            )
            if x.layout is torch.strided and x.numel() and not x.is_contiguous():
                feats.append((where, "strided"))
        elif isinstance(x, (list, tuple)):
            feats.append((where, type(x).__name__, len(x)))
            for i, y in enumerate(x[:4]):
                arg(f"{where}[]" if isinstance(y, torch.Tensor) else f"{where}[{i}]", y)
        elif isinstance(x, (int, float, complex, str, bool)) or x is None:
            feats.append((where, type(x).__name__, repr(x)))
        else:
            feats.append((where, type(x).__name__, str(x)[:40]))

    arg("in", s.input)
    feats.append(("nargs", len(s.args)))
    feats.append(("kw", tuple(sorted(s.kwargs))))
    for i, a in enumerate(s.args):
        arg(i, a)
        if isinstance(a, torch.Tensor) and isinstance(s.input, torch.Tensor):
            feats.append((i, "same shape", a.shape == s.input.shape))
            feats.append((i, "same dtype", a.dtype == s.input.dtype))
    for k in sorted(s.kwargs):
        arg(k, s.kwargs[k])
    feats.append(("process", getattr(s.output_process_fn_grad, "__name__", "")))
    return frozenset(feats)


def choose(samples, n):
    """n samples: the first one, then always the one that adds most features
    not seen yet (earliest wins), then evenly spaced ones; at most a quarter
    with empty tensors while there are others. Deterministic."""
    empty = [_is_empty(s) for s in samples]
    if len(samples) <= n:
        return sorted(range(len(samples)), key=lambda i: empty[i])
    feats = [_features(s) for s in samples]
    first = empty.index(False) if False in empty else 0
    picked, seen = [first], set(feats[first])
    spare = max(n // 4, n - empty.count(False))  # how many empty ones may come
    while len(picked) < n:
        best, gain = None, 0
        for i, f in enumerate(feats):
            if i in picked or (empty[i] and sum(empty[j] for j in picked) >= spare):
                continue
            g = len(f - seen)
            if g > gain:
                best, gain = i, g
        if best is None:
            break
        picked.append(best)
        seen |= feats[best]
    need = n - len(picked)
    rest = [i for i in range(len(samples)) if i not in picked and not empty[i]]
    if len(rest) < need:
        rest += [i for i in range(len(samples)) if i not in picked and empty[i]]
    if need > 0:
        picked += [rest[int(j * len(rest) / need)] for j in range(need)]
    # full-size samples first: the variant checks look at the first few only
    return sorted(picked, key=lambda i: empty[i])


def _is_empty(s):
    ts = [x for x in _flat((s.input, s.args, s.kwargs)) if isinstance(x, torch.Tensor)]
    return any(t.numel() == 0 for t in ts)


def _flat(x):
    if isinstance(x, (list, tuple)):
        for y in x:
            yield from _flat(y)
    elif isinstance(x, dict):
        for y in x.values():
            yield from _flat(y)
    else:
        yield x


_cache = {}
_cache_op = None


def samples_of(op, dtype, requires_grad, n):
    """Frozen samples of an op: (chosen ones followed by a reserve, number of
    chosen ones). The reserve is for ops most of whose samples turn out
    to have empty results."""
    global _cache_op
    if _cache_op != op.full_name:
        _cache.clear()
        _cache_op = op.full_name
    key = (dtype, requires_grad, n)
    if key in _cache:
        return _cache[key]
    seed_all(0)
    it = op.sample_inputs("cpu", getattr(torch, dtype), requires_grad=requires_grad)
    raw = []
    try:
        for s in itertools.islice(it, MAX_CANDIDATES):
            raw.append(s)
    except Exception:  # a sample function of PyTorch that does not run here
        if not raw:
            raise
    out = []
    picked = choose(raw, n)
    rest = [i for i in range(len(raw)) if i not in picked and not _is_empty(raw[i])]
    reserve = [rest[int(j * len(rest) / n)] for j in range(min(n, len(rest)))]
    for i in picked + reserve:
        if i == (reserve or [None])[0]:
            n_chosen = len(out)
        s = raw[i]
        try:
            fz = Freezer()
            inp, args, kwargs = fz(s.input), fz(tuple(s.args)), fz(dict(s.kwargs))
        except Unconvertible:
            continue
        process = s.output_process_fn_grad
        if process.__code__.co_code == (lambda x: x).__code__.co_code:
            process = None
        sample = Sample(op.name, i, inp, args, kwargs, process)
        out.append(sample)
        if op.full_name in calls.DERIVED:
            more = calls.DERIVED[op.full_name](sample, len(raw))
            if more is not None:
                out.append(Sample(op.name, *more, process))
    if not reserve:
        n_chosen = len(out)
    _cache[key] = (out, n_chosen)
    return _cache[key]
