"""Comparison of PyTorch's result tree with ours.

Mismatch classes, in the order in which they are looked for:
  structure  - another kind of object, another number of results, missing field
  dtype      - another dtype name, or a dtype name its numpy data contradicts
  shape      - another shape, or another layout
  value      - numbers outside the tolerance
"""

import numpy as np

# (rtol, atol) per dtype. float32 is looser than torch.testing's default
# (1.3e-6, 1e-5) because two independent libraries sum in different orders.
FORWARD_TOL = {
    "float64": (1e-7, 1e-7),
    "float32": (2e-5, 1e-5),
    "float16": (2e-3, 1e-3),
    "bfloat16": (1.6e-2, 1e-3),
    "complex128": (1e-7, 1e-7),
    "complex64": (2e-5, 1e-5),
    "complex32": (4e-3, 2e-3),
    "float8_e4m3fn": (1.3e-1, 1e-2),
    "float8_e5m2": (2.6e-1, 1e-2),
}
GRAD_TOL = dict(FORWARD_TOL)
GRAD_TOL["float32"] = (1e-4, 2e-5)
GRAD_TOL["complex64"] = (1e-4, 2e-5)
GRAD_TOL["float64"] = (1e-6, 1e-6)

# numpy dtype that a claimed dtype must come back as
NUMPY = {
    "float64": "float64",
    "float32": "float32",
    "float16": "float16",
    "bfloat16": "float32",
    "complex128": "complex128",
    "complex64": "complex64",
    "complex32": "complex64",
    "bool": "bool",
    "uint8": "uint8",
    "int8": "int8",
    "int16": "int16",
    "int32": "int32",
    "int64": "int64",
    "uint16": "uint16",
    "uint32": "uint32",
    "uint64": "uint64",
}

# The float64 second chance (see close()) never allows more than this fraction
# of the largest magnitude of the result.
F64_FACTOR = 10.0
F64_CAP = 1e-2


class Mismatch:
    def __init__(self, cls, where, text):
        self.cls = cls
        self.where = where
        self.text = text

    def __str__(self):
        return f"{self.where}: {self.text}" if self.where else self.text


def _parts(a):
    if np.iscomplexobj(a):
        return [a.real, a.imag]
    return [a]


def close(o, t, dtype, tol, scale=1.0, ref64=None):
    """Compare two arrays of one dtype and shape.

    Returns (ok, text, used_f64). Integers and bools must be equal. Floats must
    be within rtol/atol elementwise, NaN equal to NaN, infinities equal. When
    that fails and ref64 (the oracle's float64 result on the same inputs) is
    given, an element is still accepted where its error against ref64 is at
    most the tolerance plus F64_FACTOR times the oracle's own largest error (and
    never more than F64_CAP of the largest value): where torch's own float32
    result has lost digits (or overflowed to NaN), no other library can be asked
    to have lost the same ones.
    """
    if o.size == 0:
        return True, "", False
    if not (np.issubdtype(o.dtype, np.floating) or np.issubdtype(o.dtype, np.complexfloating)):
        bad = o != t
        if not bad.any():
            return True, "", False
        i = tuple(map(int, np.unravel_index(int(np.argmax(bad)), bad.shape)))
        text = f"{int(bad.sum())}/{bad.size} differ, at {i} expected {o[i]!s} got {t[i]!s}"
        return False, text, False
    rtol, atol = tol.get(dtype, (2e-5, 1e-5))
    rtol, atol = rtol * scale, atol * scale
    wide = np.complex128 if np.iscomplexobj(o) else np.float64
    ow, tw = o.astype(wide), t.astype(wide)
    nano, nant = np.isnan(ow), np.isnan(tw)
    bad = nano != nant
    fin = np.isfinite(ow) & np.isfinite(tw)
    # infinities (and half-infinite complex numbers) must be equal part by part
    inf = ~(nano | nant) & ~fin
    if inf.any():
        eq = np.ones(ow.shape, bool)
        for a, b in zip(_parts(ow), _parts(tw)):
            both = np.isfinite(a) & np.isfinite(b)
            with np.errstate(invalid="ignore"):
                eq &= np.where(both, np.abs(a - b) <= atol + rtol * np.abs(a), a == b)
        bad |= inf & ~eq
    with np.errstate(invalid="ignore", over="ignore"):
        diff = np.abs(np.where(fin, ow, 0) - np.where(fin, tw, 0))
        lim = atol + rtol * np.abs(np.where(fin, ow, 0))
    off = fin & (diff > lim)
    if not bad.any() and not off.any():
        return True, "", False
    if ref64 is not None and ref64.shape == o.shape:
        r = ref64.astype(wide)
        rfin = np.isfinite(r)
        both = fin & rfin
        own = float(np.max(np.abs(np.where(both, ow - r, 0)))) if both.any() else 0.0
        top = float(np.max(np.abs(np.where(rfin, r, 0)))) if rfin.any() else 0.0
        allow = min(F64_FACTOR * own, F64_CAP * top)
        good = rfin & np.isfinite(tw)
        err = np.abs(np.where(good, tw - r, 0))
        near = good & (err <= atol + rtol * np.abs(np.where(rfin, r, 0)) + allow)
        if np.all(near | ~(off | bad)):
            return True, "", True
    worst = off | bad
    n = int(worst.sum())
    score = np.where(bad, np.inf, np.where(off, diff, -1))
    i = np.unravel_index(int(np.argmax(score)), score.shape)
    return (
        False,
        f"{n}/{worst.size} differ, worst at {tuple(map(int, i))} expected {o[i]!s} got {t[i]!s}"
        f" (max abs diff {float(np.max(np.where(off, diff, 0))):.3g})",
        False,
    )


class Outcome:
    """Result of a comparison: first mismatch (None when equal), and how much
    was really compared."""

    def __init__(self):
        self.mismatch = None
        self.used_f64 = False
        self.n_tensors = self.n_numbers = 0  # tensors compared, finite numbers in them
        self.n_scalars = 0  # Python values compared

    @property
    def ok(self):
        return self.mismatch is None

    @property
    def weak(self):
        """Was there no number at all that could have been wrong?"""
        return self.n_numbers == 0 if self.n_tensors else self.n_scalars == 0


def compare(o, t, tol=FORWARD_TOL, scale=1.0, ref64=None, values=True, strict_seq=True):
    """Compare two trees: structure, dtypes and shapes first, then the numbers."""
    out = Outcome()
    refs = None
    if callable(ref64):
        # only computed when needed
        lazy = {"tree": None, "done": False}

        def refs():
            if not lazy["done"]:
                lazy["done"] = True
                try:
                    lazy["tree"] = ref64()
                except Exception:
                    lazy["tree"] = None
            return lazy["tree"]

    # two passes: first everything that is cheap and exact, then values
    _walk(o, t, "", out, tol, scale, None, False, strict_seq, ())
    if out.ok and values:
        out.n_tensors = out.n_numbers = out.n_scalars = 0
        _walk(o, t, "", out, tol, scale, refs, True, strict_seq, ())
    return out


def _follow(tree, path):
    for i in path:
        if tree is None or getattr(tree, "kids", None) is None or i >= len(tree.kids):
            return None
        tree = tree.kids[i]
    return tree


def _walk(o, t, where, out, tol, scale, refs, values, strict_seq, path):
    if not out.ok:
        return
    if o.kind != t.kind:
        out.mismatch = Mismatch("structure", where, f"expected {describe(o)}, got {describe(t)}")
        return
    if o.kind == "seq":
        if strict_seq and o.seq != t.seq:
            out.mismatch = Mismatch("structure", where, f"expected a {o.seq}, got a {t.seq}")
            return
        if len(o.kids) != len(t.kids):
            out.mismatch = Mismatch(
                "structure", where, f"expected {len(o.kids)} results, got {len(t.kids)}"
            )
            return
        if o.fields:
            for f in o.fields:
                if not hasattr(t.obj, f):
                    out.mismatch = Mismatch("structure", where, f"result has no field .{f}")
                    return
        for i, (a, b) in enumerate(zip(o.kids, t.kids)):
            _walk(a, b, f"{where}[{i}]", out, tol, scale, refs, values, strict_seq, path + (i,))
    elif o.kind == "dict":
        if o.keys != t.keys:
            out.mismatch = Mismatch("structure", where, f"expected keys {o.keys}, got {t.keys}")
            return
        for i, (a, b) in enumerate(zip(o.kids, t.kids)):
            _walk(
                a,
                b,
                f"{where}[{o.keys[i]!r}]",
                out,
                tol,
                scale,
                refs,
                values,
                strict_seq,
                path + (i,),
            )
    elif o.kind == "scalar":
        if o.type != t.type:
            out.mismatch = Mismatch("structure", where, f"expected a {o.type}, got a {t.type}")
            return
        out.n_scalars += 1
        if o.type in ("float", "complex"):
            ok, text, f64 = close(np.array(o.value), np.array(t.value), "float32", tol, scale)
        else:
            ok, text = o.value == t.value, f"expected {o.value!r} got {t.value!r}"
        if values and not ok:
            out.mismatch = Mismatch("value", where, text)
    elif o.kind == "object":
        if o.type != t.type:
            out.mismatch = Mismatch("structure", where, f"expected a {o.type}, got a {t.type}")
    elif o.kind == "flag":
        if o.value != t.value:
            out.mismatch = Mismatch("structure", "", f"{o.text}: expected {o.value}, got {t.value}")
    elif o.kind == "tensor":
        out.n_tensors += 1
        if o.dtype != t.dtype:
            out.mismatch = Mismatch("dtype", where, f"expected {o.dtype}, got {t.dtype}")
            return
        if t.dtype in NUMPY and str(t.arr.dtype) != NUMPY[t.dtype]:
            out.mismatch = Mismatch(
                "dtype", where, f"says {t.dtype} but its numpy data is {t.arr.dtype}"
            )
            return
        if tuple(o.shape) != tuple(t.shape):
            out.mismatch = Mismatch(
                "shape", where, f"expected {list(o.shape)}, got {list(t.shape)}"
            )
            return
        if tuple(t.arr.shape) != tuple(t.shape):
            out.mismatch = Mismatch(
                "shape", where, f"says {list(t.shape)} but its numpy data is {list(t.arr.shape)}"
            )
            return
        if o.layout != t.layout:
            out.mismatch = Mismatch(
                "structure", where, f"expected layout {o.layout}, got {t.layout}"
            )
            return
        if o.arr.dtype.kind in "fc":  # NaN and inf are compared, but say little
            out.n_numbers += int(np.isfinite(o.arr).sum())
        else:
            out.n_numbers += int(o.arr.size)
        if values:
            ok, text, _ = close(o.arr, t.arr, o.dtype, tol, scale)
            if not ok and refs is not None:
                r = _follow(refs(), path)
                if r is not None and r.kind == "tensor":
                    ok, _, f64 = close(o.arr, t.arr, o.dtype, tol, scale, ref64=r.arr)
                    out.used_f64 |= f64
            if not ok:
                out.mismatch = Mismatch("value", where, text)


def describe(leaf):
    """What a leaf is, in words."""
    if leaf.kind == "tensor":
        return f"a tensor ({leaf.dtype}{list(leaf.shape)})"
    if leaf.kind == "seq":
        return f"a {leaf.seq} of {len(leaf.kids)}"
    if leaf.kind == "scalar":
        return f"a Python {leaf.type}"
    if leaf.kind == "none":
        return "None"
    if leaf.kind == "object":
        return f"a {leaf.type}"
    return leaf.kind
