"""XLA's primitives in NumPy: for each name, how to build the function that computes one equation.

A builder takes the equation's parameters and the abstract values of its operands and results, and
returns a function of arrays. The numbers must be XLA's: integers wrap, division truncates, a shift
by the whole width gives 0, nan wins in max and min, an index out of range clamps or drops.
"""

from __future__ import annotations

from math import prod

import numpy as np

_HALF = frozenset(("float16", "bfloat16"))
_F32 = np.dtype(np.float32)


class Unsupported(Exception):
    """The interpreter cannot compute this; XLA must."""


BUILDERS: dict = {}
ELEMENTWISE: set = set()  # primitives whose numpy twin broadcasts, whatever the shapes


def _builder(*names):
    def put(build):
        for name in names:
            BUILDERS[name] = build
        return build

    return put


# ---- elementwise -------------------------------------------------------------------------------


def _elementwise(name, fn, *, half=True, ints=None, refuse=""):
    """One numpy function; in half precision around float32, for integers ``ints`` if given."""

    def build(params, ins, outs):
        d = np.dtype(ins[0].dtype)
        if d.kind in refuse:
            raise Unsupported(name)
        if ints is not None and d.kind in "iu":
            return ints
        if half and (d.name in _HALF or d.name.startswith("float8")):
            out = np.dtype(outs[0].dtype)
            return lambda *xs: fn(*[x.astype(_F32) for x in xs]).astype(out)
        return fn

    BUILDERS[name] = build
    ELEMENTWISE.add(name)


def _divide_integers(x, y):
    q = np.floor_divide(x, y)
    rest = x - q * y
    q = q + ((rest != 0) & ((x < 0) != (y < 0)))
    q = q.astype(x.dtype)
    return np.where(y == 0, np.array(-1).astype(x.dtype), q)


def _rest_of_integers(x, y):
    return np.where(y == 0, x, np.fmod(x, y))


def _sign(x):
    return np.where(x == 0, x, np.sign(x))


def _power(x, y):
    return np.power(x, y.astype(x.dtype) if y.dtype != x.dtype else y)


def _logistic(x):
    return 1 / (1 + np.exp(-x))


def _shift_left(x, n):
    width = x.dtype.itemsize * 8
    fits = n.astype(np.uint64) < width
    return np.where(fits, np.left_shift(x, np.where(fits, n, n.dtype.type(0))), x.dtype.type(0))


def _shift_right(x, n):
    width = x.dtype.itemsize * 8
    top = n.dtype.type(width - 1)
    fits = n.astype(np.uint64) < width
    shifted = np.right_shift(x, np.where(fits, n, top))
    return shifted if x.dtype.kind == "i" else np.where(fits, shifted, x.dtype.type(0))


def _shift_right_logical(x, n):
    if x.dtype.kind == "u":
        return _shift_right(x, n)
    unsigned = np.dtype(f"u{x.dtype.itemsize}")
    return _shift_right(np.asarray(x).view(unsigned), n.astype(unsigned)).view(x.dtype)


def _special(name):
    def call(*xs):
        import scipy.special  # slow to import, and rarely needed

        out = getattr(scipy.special, name)(*xs)
        return out if out.dtype == xs[0].dtype else out.astype(xs[0].dtype)

    return call


def _lgamma(x):
    return np.where(np.isinf(x), np.abs(x), _special("gammaln")(x))


def _make_complex(x, y):
    out = np.empty(np.broadcast_shapes(x.shape, y.shape), np.result_type(x.dtype, np.complex64))
    out.real, out.imag = x, y
    return out


def _half_away(x):
    whole = np.trunc(x)
    return np.where(np.abs(x - whole) >= 0.5, whole + np.sign(x), whole).astype(x.dtype)


for _name, _fn in {
    "add": np.add, "add_any": np.add, "sub": np.subtract, "mul": np.multiply, "neg": np.negative,
    "eq": np.equal, "ne": np.not_equal, "is_finite": np.isfinite, "real": np.real,
    "imag": np.imag, "complex": _make_complex, "conj": np.conj, "nextafter": np.nextafter,
    "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor, "not": np.invert,
    "square": np.square, "copy": lambda x: x, "copy_p": lambda x: x,
    "stop_gradient": lambda x: x,
}.items():  # fmt: skip
    _elementwise(_name, _fn, half=False)
for _name, _fn in {
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
    "max": np.maximum, "min": np.minimum,
}.items():  # fmt: skip
    _elementwise(_name, _fn, half=False, refuse="c")
for _name, _fn in {
    "exp": np.exp, "exp2": np.exp2, "log": np.log, "log1p": np.log1p, "expm1": np.expm1,
    "tanh": np.tanh, "sin": np.sin, "cos": np.cos, "tan": np.tan, "asin": np.arcsin,
    "acos": np.arccos, "atan": np.arctan, "sinh": np.sinh, "cosh": np.cosh, "asinh": np.arcsinh,
    "acosh": np.arccosh, "atanh": np.arctanh, "sqrt": np.sqrt, "abs": np.abs,
    "rsqrt": lambda x: 1 / np.sqrt(x), "logistic": _logistic, "pow": _power,
}.items():  # fmt: skip
    _elementwise(_name, _fn)
for _name, _fn in {
    "cbrt": np.cbrt, "atan2": np.arctan2, "floor": np.floor, "ceil": np.ceil,
    "erf": _special("erf"), "erfc": _special("erfc"), "erf_inv": _special("erfinv"),
    "lgamma": _lgamma, "digamma": _special("psi"), "zeta": _special("zeta"),
    "igamma": _special("gammainc"), "igammac": _special("gammaincc"),
    "bessel_i0e": _special("i0e"), "bessel_i1e": _special("i1e"),
}.items():  # fmt: skip
    _elementwise(_name, _fn, refuse="c")
_elementwise("sign", _sign)
_elementwise("div", np.true_divide, half=False, ints=_divide_integers)
_elementwise("rem", np.fmod, ints=_rest_of_integers)
_elementwise("shift_left", _shift_left, half=False)
_elementwise("shift_right_arithmetic", _shift_right, half=False, refuse="u")
_elementwise("shift_right_logical", _shift_right_logical, half=False)
_elementwise("population_count", lambda x: np.bitwise_count(x).astype(x.dtype), half=False)
_elementwise(
    "clamp", lambda low, x, high: np.minimum(np.maximum(low, x), high), half=False, refuse="c"
)
ELEMENTWISE |= {"convert_element_type", "integer_pow", "round", "select_n"}


@_builder("round")
def _round(params, ins, outs):
    nearest_even = int(params["rounding_method"]) == 1
    return np.rint if nearest_even else _half_away


@_builder("reduce_precision")
def _reduce_precision(params, ins, outs):
    bits = params["exponent_bits"], params["mantissa_bits"]
    own = {"float16": (5, 10), "bfloat16": (8, 7), "float32": (8, 23), "float64": (11, 52)}
    if own.get(np.dtype(ins[0].dtype).name) != bits:
        raise Unsupported("reduce_precision")
    return lambda x: x


@_builder("integer_pow")
def _integer_pow(params, ins, outs):
    n, d = params["y"], np.dtype(ins[0].dtype)
    if n == 2:
        return lambda x: x * x
    if n < 0 and d.kind not in "fcV":
        raise Unsupported("integer_pow")

    def power(x):
        out, base, k = None, x, abs(n)
        while k:
            if k & 1:
                out = base if out is None else out * base
            base, k = base * base, k >> 1
        out = np.ones_like(x) if out is None else out
        return 1 / out if n < 0 else out

    if d.name in _HALF:
        return lambda x: power(x.astype(_F32)).astype(d)
    return power


@_builder("select_n")
def _select(params, ins, outs):
    if len(ins) == 2:
        return lambda which, x: x
    if len(ins) != 3 or np.dtype(ins[0].dtype).kind != "b":
        raise Unsupported("select_n")
    return lambda which, no, yes: np.where(which, yes, no)


@_builder("convert_element_type")
def _convert(params, ins, outs):
    source, target = np.dtype(ins[0].dtype), np.dtype(params["new_dtype"])
    if source == target:
        return lambda x: x
    if source.kind == "c" and target.kind != "c":
        return lambda x: x.real.astype(target)
    real = source.kind == "f" or source.kind == "V"
    if target.kind == "b":
        return lambda x: x != 0
    if real and target.kind in "iu":
        low, high = float(np.iinfo(target).min), float(np.iinfo(target).max) + 1
        if target.kind == "u":
            low = -1.0
        wide = np.float64 if source.name == "float64" else np.float32
        top, bottom = np.iinfo(target).max, np.iinfo(target).min

        def convert(x):
            x = x.astype(wide)
            inside = (x > low if low == -1.0 else x >= low) & (x < high)
            if inside.all():
                return x.astype(target)
            safe = np.where(inside, x, 0).astype(target)
            edge = np.where(x >= high, target.type(top), target.type(bottom))
            return np.where(inside, safe, np.where(x != x, target.type(0), edge))

        return convert
    return lambda x: x.astype(target)


@_builder("bitcast_convert_type")
def _bitcast(params, ins, outs):
    source, target = np.dtype(ins[0].dtype), np.dtype(params["new_dtype"])
    if "b" in (source.kind, target.kind):
        raise Unsupported("bitcast of bool")
    shape = outs[0].shape

    def cast(x):
        x = np.array(x, order="C", ndmin=1)
        return x.view(target).reshape(shape)

    return cast


# ---- shape -------------------------------------------------------------------------------------


@_builder("broadcast_in_dim")
def _broadcast(params, ins, outs):
    shape, dims = tuple(params["shape"]), params["broadcast_dimensions"]
    middle = [1] * len(shape)
    for d, n in zip(dims, ins[0].shape, strict=True):
        middle[d] = n
    middle = tuple(middle)
    if middle == shape:
        return lambda x: x.reshape(shape)
    return lambda x: np.broadcast_to(x.reshape(middle), shape)


@_builder("reshape", "squeeze", "expand_dims")
def _reshape(params, ins, outs):
    shape = outs[0].shape
    order = params.get("dimensions") if "new_sizes" in params else None
    if order is not None:
        return lambda x: x.transpose(order).reshape(shape)
    return lambda x: x.reshape(shape)


@_builder("transpose")
def _transpose(params, ins, outs):
    order = params["permutation"]
    return lambda x: x.transpose(order)


@_builder("rev")
def _rev(params, ins, outs):
    at = [slice(None)] * len(outs[0].shape)
    for d in params["dimensions"]:
        at[d] = slice(None, None, -1)
    at = tuple(at)
    return lambda x: x[at]


@_builder("stack")
def _stack(params, ins, outs):
    axis = params["axis"]
    return lambda *xs: np.stack(xs, axis)


@_builder("unstack")
def _unstack(params, ins, outs):
    axis = params["axis"]
    return lambda x: list(np.moveaxis(x, axis, 0))


@_builder("platform_index")
def _platform_index(params, ins, outs):
    for i, names in enumerate(params["platforms"]):
        if names is None or "cpu" in names:
            index = np.int32(i)
            return lambda: index
    raise Unsupported("platform_index")


@_builder("tile")
def _tile(params, ins, outs):
    reps = params["reps"]
    return lambda x: np.tile(x, reps)


@_builder("concatenate")
def _concatenate(params, ins, outs):
    axis = params["dimension"]
    return lambda *xs: np.concatenate(xs, axis)


@_builder("slice")
def _slice(params, ins, outs):
    steps = params["strides"] or [1] * len(params["start_indices"])
    ranges = zip(params["start_indices"], params["limit_indices"], steps, strict=True)
    at = (*[slice(a, b, s) for a, b, s in ranges], ...)
    return lambda x: x[at]


@_builder("split")
def _split(params, ins, outs):
    axis = params["axis"]
    ends = np.cumsum(params["sizes"])[:-1].tolist()
    return lambda x: np.split(x, ends, axis)


@_builder("iota")
def _iota(params, ins, outs):
    shape, d, at = params["shape"], np.dtype(params["dtype"]), params["dimension"]
    line = np.arange(shape[at]).astype(d).reshape([-1 if i == at else 1 for i in range(len(shape))])
    made = np.broadcast_to(line, shape)
    return lambda: made


@_builder("pad")
def _pad(params, ins, outs):
    config, shape = params["padding_config"], outs[0].shape
    if any(inner < 0 for _, _, inner in config):
        raise Unsupported("pad")
    put, take = [], []
    for (low, _, inner), n, size in zip(config, ins[0].shape, shape, strict=True):
        step = inner + 1
        first = max(0, -(low // step)) if low < 0 else 0  # the first element that stays
        last = min(n, max(0, (size - 1 - low) // step + 1)) if size else 0
        last = max(first, last)
        take.append(slice(first, last))
        start = low + first * step
        put.append(slice(start, start + max(0, (last - first - 1) * step + 1), step)
                   if last > first else slice(0, 0))  # fmt: skip
    put, take = (*put, ...), (*take, ...)

    def pad(x, value):
        out = np.empty(shape, x.dtype)
        out[...] = value
        out[put] = x[take]
        return out

    return pad


@_builder("empty", "empty2")
def _empty(params, ins, outs):
    shape, d = outs[0].shape, np.dtype(outs[0].dtype)
    return lambda *_: np.zeros(shape, d)


def _window_at(starts, shape, sizes):
    at = []
    for start, n, size in zip(starts, shape, sizes, strict=True):
        start = min(max(int(start), 0), n - size)
        at.append(slice(start, start + size))
    return (*at, ...)


@_builder("dynamic_slice")
def _dynamic_slice(params, ins, outs):
    shape, sizes = ins[0].shape, params["slice_sizes"]
    return lambda x, *starts: x[_window_at(starts, shape, sizes)]


@_builder("dynamic_update_slice")
def _dynamic_update_slice(params, ins, outs):
    shape, sizes = ins[0].shape, ins[1].shape

    def update(x, new, *starts):
        out = x.copy()
        out[_window_at(starts, shape, sizes)] = new
        return out

    return update


@_builder("optimization_barrier", "device_put")
def _identity(params, ins, outs):
    if len(outs) == 1:
        return lambda x: x
    return lambda *xs: xs


# ---- gather and scatter ------------------------------------------------------------------------


def _places(starts, shape, sizes, index_map, batch, inner_dims):
    """Index arrays (batch dimensions, then window dimensions) and whether each row is inside.

    ``batch`` pairs operand dimensions with dimensions of ``starts``; ``inner_dims`` are the operand
    dimensions that the window keeps.
    """
    lead = starts.shape[:-1]
    inside = np.ones(lead, bool)
    at = [np.zeros(lead, np.int64) for _ in shape]
    for k, d in enumerate(index_map):
        raw = starts[..., k].astype(np.int64)
        top = shape[d] - sizes[d]
        inside &= (raw >= 0) & (raw <= top)
        at[d] = np.clip(raw, 0, max(top, 0))
    for d, b in batch:
        line = np.arange(shape[d]).reshape([-1 if i == b else 1 for i in range(len(lead))])
        at[d] = np.broadcast_to(line, lead)
    extra = len(inner_dims)
    out = [a.reshape(lead + (1,) * extra) for a in at]
    for n, d in enumerate(inner_dims):
        line = np.arange(sizes[d]).reshape([-1 if i == n else 1 for i in range(extra)])
        out[d] = out[d] + line
    return tuple(out), inside


@_builder("gather")
def _gather(params, ins, outs):
    numbers, sizes = params["dimension_numbers"], params["slice_sizes"]
    mode = params["mode"].name if hasattr(params["mode"], "name") else str(params["mode"])
    shape, out_shape = ins[0].shape, outs[0].shape
    batch = tuple(
        zip(numbers.operand_batching_dims, numbers.start_indices_batching_dims, strict=True)
    )
    gone = {*numbers.collapsed_slice_dims, *numbers.operand_batching_dims}
    inner = [d for d in range(len(shape)) if d not in gone]
    index_map = numbers.start_index_map
    lead = len(ins[1].shape) - 1
    offsets = numbers.offset_dims
    rest = [d for d in range(len(out_shape)) if d not in offsets]
    order = [0] * len(out_shape)
    for n, d in enumerate(rest):
        order[d] = n
    for n, d in enumerate(offsets):
        order[d] = lead + n
    plain = order == list(range(len(order)))
    dtype = np.dtype(outs[0].dtype)
    fill = params["fill_value"]
    if fill is None:
        fill = np.nan if dtype.kind in "fcV" else False if dtype.kind == "b" else (
            np.iinfo(dtype).min if dtype.kind == "i" else np.iinfo(dtype).max
        )  # fmt: skip
    filling = mode == "FILL_OR_DROP"
    # Rows of one dimension: what an embedding or x[index] is; np.take does it in one call.
    rows = (
        len(index_map) == 1 and not batch and numbers.collapsed_slice_dims == index_map
        and all(sizes[d] == shape[d] for d in inner) and sizes[index_map[0]] == 1
    )  # fmt: skip

    def gather(x, starts):
        if rows and shape[index_map[0]] and not filling:
            d = index_map[0]
            out = np.take(x, starts[..., 0], axis=d, mode="clip")
            out = np.moveaxis(out, list(range(d, d + lead)), list(range(lead))) if d else out
            return out if plain else out.transpose(order)
        if 0 in out_shape:
            return np.zeros(out_shape, x.dtype)
        at, inside = _places(starts, shape, sizes, index_map, batch, inner)
        if filling and not inside.all():
            if not x.size:
                return np.full(out_shape, fill, dtype)
            out = np.array(x[at])
            out[~inside] = fill
        else:
            out = x[at]
        return out if plain else out.transpose(order)

    return gather


_SCATTERS = {
    "scatter": None, "scatter-add": np.add, "scatter_add": np.add, "scatter-sub": np.subtract,
    "scatter_sub": np.subtract, "scatter-mul": np.multiply, "scatter_mul": np.multiply,
    "scatter-min": np.minimum, "scatter_min": np.minimum, "scatter-max": np.maximum,
    "scatter_max": np.maximum,
}  # fmt: skip


def _scatter_with(ufunc):
    def build(params, ins, outs):
        numbers, shape = params["dimension_numbers"], ins[0].shape
        mode = params["mode"].name if hasattr(params["mode"], "name") else str(params["mode"])
        batch = tuple(
            zip(numbers.operand_batching_dims, numbers.scatter_indices_batching_dims, strict=True)
        )
        gone = {*numbers.inserted_window_dims, *numbers.operand_batching_dims}
        inner = [d for d in range(len(shape)) if d not in gone]
        window = numbers.update_window_dims
        sizes = [1] * len(shape)
        for d, w in zip(inner, window, strict=True):
            sizes[d] = ins[2].shape[w]
        order = [d for d in range(len(ins[2].shape)) if d not in window] + list(window)

        def scatter(x, starts, updates):
            out = x.copy()
            if not updates.size or not out.size:
                return out
            at, inside = _places(
                starts, shape, sizes, numbers.scatter_dims_to_operand_dims, batch, inner
            )
            updates = updates.transpose(order)
            if mode != "CLIP" and not inside.all():
                at = tuple(np.broadcast_to(a, updates.shape)[inside] for a in at)
                updates = updates[inside]
            if ufunc is None:
                out[at] = updates
            else:
                ufunc.at(out, at, updates)
            return out

        return scatter

    return build


for _name, _ufunc in _SCATTERS.items():
    BUILDERS[_name] = _scatter_with(_ufunc)


# ---- reductions --------------------------------------------------------------------------------


def _edge(dtype, lowest):
    if dtype.kind == "b":
        return not lowest
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return info.min if lowest else info.max
    return -np.inf if lowest else np.inf


def _reduction(name, ufunc, initial=None, refuse=""):
    def build(params, ins, outs):
        axes, d = tuple(params["axes"]), np.dtype(ins[0].dtype)
        if d.kind in refuse:
            raise Unsupported(name)
        reduce = ufunc.reduce
        if not axes:
            return lambda x: x
        if prod(ins[0].shape) == 0:
            out = np.dtype(outs[0].dtype)
            empty = initial(d) if initial is not None else ufunc.identity
            return lambda x: np.full(outs[0].shape, empty, out)
        if initial is not None:
            return lambda x: reduce(x, axes)
        if d.name in _HALF:
            return lambda x: reduce(x.astype(_F32), axes).astype(d)
        return lambda x: reduce(x, axes, d)

    BUILDERS[name] = build


_reduction("reduce_sum", np.add)
_reduction("reduce_prod", np.multiply)
_reduction("reduce_max", np.maximum, lambda d: _edge(d, True), "c")
_reduction("reduce_min", np.minimum, lambda d: _edge(d, False), "c")
_reduction("reduce_and", np.bitwise_and, lambda d: True if d.kind == "b" else -1)
_reduction("reduce_or", np.bitwise_or)
_reduction("reduce_xor", np.bitwise_xor)


def _arg(fn):
    def build(params, ins, outs):
        (axis,), out = params["axes"], np.dtype(params["index_dtype"])
        if not ins[0].shape[axis] or np.dtype(ins[0].dtype).kind == "V":
            raise Unsupported("argmax")
        return lambda x: fn(x, axis).astype(out)

    return build


BUILDERS["argmax"], BUILDERS["argmin"] = _arg(np.argmax), _arg(np.argmin)


def _cumulative(name, ufunc, keep=True):
    def build(params, ins, outs):
        axis, d = params["axis"], np.dtype(ins[0].dtype)
        back = [slice(None)] * len(ins[0].shape)
        back[axis] = slice(None, None, -1)
        back = tuple(back)
        wide = _F32 if d.name in _HALF else d

        def scan(x):
            x = x.astype(wide, copy=False)
            if params["reverse"]:
                x = x[back]
            out = ufunc.accumulate(x, axis, wide) if keep else ufunc.accumulate(x, axis)
            if params["reverse"]:
                out = out[back]
            return out.astype(d, copy=False)

        return scan

    BUILDERS[name] = build


_cumulative("cumsum", np.add)
_cumulative("cumprod", np.multiply)
_cumulative("cummax", np.maximum, keep=False)
_cumulative("cummin", np.minimum, keep=False)
_cumulative("cumlogsumexp", np.logaddexp, keep=False)


# ---- order -------------------------------------------------------------------------------------


def _ranks(x):
    """Integers in XLA's total order of the elements: -nan, -inf, ..., -0, 0, ..., inf, nan."""
    if x.dtype.kind not in "fV":
        return x
    width = x.dtype.itemsize
    bits = np.asarray(x).view(f"i{width}")
    return np.where(bits < 0, bits ^ np.iinfo(bits.dtype).max, bits)


for _name, _fn in {"lt_to": np.less, "le_to": np.less_equal}.items():
    _elementwise(_name, lambda x, y, fn=_fn: fn(_ranks(x), _ranks(y)), half=False, refuse="c")


@_builder("sort")
def _sort(params, ins, outs):
    axis, keys = params["dimension"], params["num_keys"]
    kinds = [np.dtype(a.dtype) for a in ins[:keys]]
    if any(d.kind == "c" for d in kinds):
        raise Unsupported("sort")

    def key(x):
        return x.astype(_F32) if x.dtype.kind == "V" else x

    def sort(*xs):
        if len(xs) == 1:
            return [np.sort(key(xs[0]), axis, "stable").astype(xs[0].dtype, copy=False)]
        if keys == 1:
            order = np.argsort(key(xs[0]), axis, "stable")
        else:
            order = np.lexsort([key(x) for x in reversed(xs[:keys])], axis)
        return [np.take_along_axis(x, order, axis) for x in xs]

    return sort if len(outs) > 1 else lambda x: sort(x)[0]


@_builder("top_k")
def _top_k(params, ins, outs):
    k, axis = params["k"], params.get("axis", -1) % max(1, len(ins[0].shape))
    if np.dtype(ins[0].dtype).kind == "c":
        raise Unsupported("top_k")
    n = ins[0].shape[axis]
    back = tuple(slice(None, None, -1) if d == axis else slice(None) for d in range(axis + 1))
    first = tuple(slice(0, k) if d == axis else slice(None) for d in range(axis + 1))
    index = np.dtype(outs[1].dtype)

    def top(x):
        # Sorted from behind, so that equal elements come in the order of their places.
        order = (n - 1 - np.argsort(_ranks(x)[back], axis, "stable"))[back][first]
        return [np.take_along_axis(x, order, axis), order.astype(index)]

    return top


# ---- products ----------------------------------------------------------------------------------


@_builder("dot_general")
def _dot_general(params, ins, outs):
    (left_sum, right_sum), (left_batch, right_batch) = params["dimension_numbers"]
    a, b = ins
    left_free = [d for d in range(len(a.shape)) if d not in left_sum and d not in left_batch]
    right_free = [d for d in range(len(b.shape)) if d not in right_sum and d not in right_batch]
    batch = tuple(a.shape[d] for d in left_batch)
    m = prod(a.shape[d] for d in left_free)
    k = prod(a.shape[d] for d in left_sum)
    n = prod(b.shape[d] for d in right_free)
    left_order = (*left_batch, *left_free, *left_sum)
    right_order = (*right_batch, *right_sum, *right_free)
    left_shape, right_shape = (*batch, m, k), (*batch, k, n)
    shape, out = outs[0].shape, np.dtype(outs[0].dtype)
    wide = _F32 if out.name in _HALF else out

    def dot(x, y):
        x = x.transpose(left_order).reshape(left_shape).astype(wide, copy=False)
        y = y.transpose(right_order).reshape(right_shape).astype(wide, copy=False)
        return np.matmul(x, y).reshape(shape).astype(out, copy=False)

    return dot


def _dilated(x, value, pads, dilation):
    """Spatial dimensions (from the third) dilated and padded; negative padding crops."""
    shape, put, crop = list(x.shape), [slice(None)] * 2, [slice(None)] * 2
    for d, ((low, high), step) in enumerate(zip(pads, dilation, strict=True), 2):
        n = (x.shape[d] - 1) * step + 1 if x.shape[d] else 0
        start = max(low, 0)
        shape[d] = n + start + max(high, 0)
        put.append(slice(start, start + n, step))
        crop.append(slice(max(-low, 0), shape[d] - max(-high, 0)))
    if shape == list(x.shape):
        return x[tuple(crop)]
    out = np.full(shape, value, x.dtype)
    out[tuple(put)] = x
    return out[tuple(crop)]


def _windows(x, sizes, strides, dilation):
    """(N, C, *out, *window) as a view."""
    spans = [(n - 1) * d + 1 for n, d in zip(sizes, dilation, strict=True)]
    axes = tuple(range(2, 2 + len(sizes)))
    view = np.lib.stride_tricks.sliding_window_view(x, spans, axes)
    at = [slice(None)] * 2 + [slice(None, None, s) for s in strides]
    at += [slice(None, None, d) for d in dilation]
    return view[tuple(at)]


@_builder("conv_general_dilated")
def _convolution(params, ins, outs):
    numbers, groups = params["dimension_numbers"], params["feature_group_count"]
    out = np.dtype(outs[0].dtype)
    if 0 in ins[0].shape or 0 in ins[1].shape or 0 in outs[0].shape:
        return lambda x, w: np.zeros(outs[0].shape, out)
    parts = params["batch_group_count"]
    wide = _F32 if out.name in _HALF else out
    window = [ins[1].shape[d] for d in numbers.rhs_spec[2:]]
    rank = len(window)
    place = np.argsort(numbers.out_spec)

    def convolve(x, w):
        x = x.transpose(numbers.lhs_spec).astype(wide, copy=False)
        w = w.transpose(numbers.rhs_spec).astype(wide, copy=False)
        if parts == 1:
            made = one(x, w)
        else:
            pairs = zip(np.split(x, parts), np.split(w, parts), strict=True)
            made = np.concatenate([one(a, b) for a, b in pairs], 1)
        return made.transpose(place).astype(out, copy=False)

    def one(x, w):
        x = _dilated(x, 0, params["padding"], params["lhs_dilation"])
        view = _windows(x, window, params["window_strides"], params["rhs_dilation"])
        # (N, C, *out, *window) -> (groups, N * out, C / groups * window)
        batch, channels, space = view.shape[0], view.shape[1], view.shape[2 : 2 + rank]
        view = view.reshape(batch, groups, channels // groups, *space, *window)
        order = (1, 0, *range(3, 3 + rank), 2, *range(3 + rank, 3 + 2 * rank))
        rows = view.transpose(order).reshape(groups, batch * prod(space), -1)
        kernel = w.reshape(groups, w.shape[0] // groups, -1).transpose(0, 2, 1)
        made = np.matmul(rows, kernel)  # (groups, N * out, O / groups)
        made = made.reshape(groups, batch, *space, -1).transpose(
            (1, 0, 2 + rank, *range(2, 2 + rank))
        )
        return made.reshape(batch, w.shape[0], *space)

    return convolve


def _reduce_window(name, ufunc, lowest):
    def build(params, ins, outs):
        d = np.dtype(ins[0].dtype)
        if d.kind == "c" or any(n != 1 for n in params["base_dilation"]) or 0 in outs[0].shape:
            raise Unsupported(name)
        value = ufunc.identity if lowest is None else _edge(d, lowest)
        half = d.name in _HALF and lowest is None
        rank = len(ins[0].shape)

        def reduce(x):
            x = x.astype(_F32) if half else x
            x = _dilated(x[None, None], value, params["padding"], params["base_dilation"])
            view = _windows(
                x, params["window_dimensions"], params["window_strides"], params["window_dilation"]
            )
            axes = tuple(range(2 + rank, 2 + 2 * rank))
            made = ufunc.reduce(view, axes, x.dtype)
            return made[0, 0].astype(d, copy=False)

        return reduce

    BUILDERS[name] = build


_reduce_window("reduce_window_sum", np.add, None)
_reduce_window("reduce_window_max", np.maximum, True)
_reduce_window("reduce_window_min", np.minimum, False)
