"""vmap: a function of one sample as a function of a batch."""

from __future__ import annotations

import functools

from torchlike._core.errors import NotSupported
from torchlike._engine.batched import levels_of
from torchlike._engine.values import Batched
from torchlike._tensor import function
from torchlike._tensor.dispatch import value_of, wrap
from torchlike._tensor.forms import FUNCTIONS
from torchlike._tensor.generators import get_rng_state, set_rng_state
from torchlike._tensor.levels import enter, leave, open_level
from torchlike._tensor.restriding import become
from torchlike._tensor.tensor import Tensor
from torchlike._tensor.views import may_share, version_of
from torchlike.func import rules, trees

function.rules[:] = rules.for_call, rules.for_forward  # before anything opens a level


def vmap(func, in_dims=0, out_dims=0, randomness="error", *, chunk_size=None):
    """``func`` over a batch dimension of its arguments
    (https://pytorch.org/docs/stable/generated/torch.func.vmap.html).

    in_dims     per argument the dimension to map over, or None; a prefix of their structure
    out_dims    where the dimension goes in the results
    randomness  "error", "same" or "different" numbers for the samples
    chunk_size  how many samples at a time; None: all
    """
    check_randomness(randomness)
    if not (chunk_size is None or chunk_size > 0):
        raise ValueError(f"vmap: chunk_size should be None or greater than 0. (got {chunk_size})")

    @functools.wraps(func, updated=())
    def wrapped(*args, **kwargs):
        return _vmap(func, in_dims, out_dims, randomness, chunk_size, args, kwargs)

    return wrapped


def check_randomness(randomness) -> None:
    """Raise ``RuntimeError`` for what is no way to draw random numbers."""
    if randomness not in ("error", "different", "same"):
        raise RuntimeError(
            "Only allowed values for randomness are 'error', 'different', or 'same'. "
            f"Got {randomness}"
        )


def name_of(func) -> str:
    """What errors call a function."""
    if hasattr(func, "__name__"):
        return func.__name__
    if isinstance(func, functools.partial):
        return f"functools.partial({name_of(func.func)}, ...)"
    return repr(func)


def _vmap(func, in_dims, out_dims, randomness, chunk_size, args, kwargs):
    _check_out_dims(func, out_dims)
    flat, dims, spec = _inputs(func, in_dims, args)
    size = _batch_size(flat, dims)
    if chunk_size is None or chunk_size >= size:
        outs, spec_out, _ = _run(func, flat, dims, spec, size, out_dims, randomness, kwargs)
        return trees.unflatten(outs, spec_out)
    parts = []
    state = get_rng_state() if randomness == "same" else None
    for start in range(0, size, chunk_size):
        if state is not None:
            set_rng_state(state)
        count = min(chunk_size, size - start)
        piece = [
            x if d is None else x.narrow(d, start, count) for x, d in zip(flat, dims, strict=True)
        ]
        parts.append(_run(func, piece, dims, spec, count, out_dims, randomness, kwargs))
    _, spec_out, places = parts[0]
    outs = [
        pieces[0] if d is None else FUNCTIONS["cat"](pieces, d)
        for d, pieces in zip(places, zip(*(p[0] for p in parts), strict=True), strict=True)
    ]
    return trees.unflatten(outs, spec_out)


def _run(func, flat, dims, spec, size, out_dims, randomness, kwargs):
    """The flat results of one run over a batch, their structure, and where the batch is in each."""
    with open_level(size, randomness) as level:
        inner = _samples(flat, dims, level)
        result = func(*trees.unflatten(inner, spec), **kwargs)
        outs, spec_out = trees.flatten(result)
        places = _places(func, result, out_dims, spec_out)
        outs = [_out(func, x, d, level) for x, d in zip(outs, places, strict=True)]
        # What was written in place is so outside, too.
        written = {
            id(sample): (n, x, d, sample)
            for n, (x, d, sample) in enumerate(zip(flat, dims, inner, strict=True))
            if d is not None and version_of(sample)
        }
        for n, x, _, sample in written.values():
            _check_apart(n, x, sample, flat, inner)
        for _, x, d, sample in written.values():
            _write_back(x, leave(sample, level), d)
    return outs, spec_out, places


def _samples(flat, dims, level) -> list:
    """What the function gets for its arguments; the same for the same argument."""
    made: dict = {}
    out = []
    for x, d in zip(flat, dims, strict=True):
        if d is not None and (id(x), d) not in made:
            made[id(x), d] = enter(x.movedim(d, 0) if d else x, level, True)
        out.append(x if d is None else made[id(x), d])
    return out


def _check_apart(n, x, sample, flat, inner) -> None:
    """Raise if an argument that was written to shares memory with another one, which the function
    has then seen as it was."""
    for other, (y, its) in enumerate(zip(flat, inner, strict=True)):
        if other == n or its is sample or not isinstance(y, Tensor):
            continue
        if y is x or (x._storage is not None and x._storage is y._storage and may_share(x, y)):
            raise NotSupported(
                "writing, inside vmap, to an argument that shares memory with another",
                "clone() one of them",
            )


def _write_back(x, batch, dim: int) -> None:
    """Let an argument be what its samples, the first dimension of ``batch``, have become."""
    moved = batch.movedim(0, dim) if dim < batch.ndim else batch
    if moved.shape == x.shape:
        x.copy_(moved)
    elif dim:
        raise NotSupported(
            "changing the shape in place, inside vmap, of samples that are not the first dimension",
            "movedim() the dimension to the front",
        )
    else:
        become(x, batch)


# ---- arguments ---------------------------------------------------------------------------------


def _inputs(func, in_dims, args):
    head = f"vmap({name_of(func)}, in_dims={in_dims}, ...)(<inputs>): "
    if not isinstance(in_dims, (int, tuple)):
        raise ValueError(
            f"{head}expected `in_dims` to be int or a (potentially nested) tuple "
            f"matching the structure of inputs, got: {type(in_dims)}."
        )
    if not args:
        raise ValueError(
            f"vmap({name_of(func)})(<inputs>): got no inputs. Maybe you forgot to add "
            "inputs, or you are trying to vmap over a function with no inputs. "
            "The latter is unsupported."
        )
    flat, spec = trees.flatten(tuple(args))
    dims = trees.broadcast(in_dims, spec)
    if dims is None:
        raise ValueError(
            f"{head}in_dims is not compatible with the structure of `inputs`. in_dims has "
            f"structure {trees.flatten(in_dims)[1]} but inputs has structure {spec}."
        )
    for i, (x, d) in enumerate(zip(flat, dims, strict=True)):
        if d is None:
            continue
        if not isinstance(d, int):
            raise ValueError(
                f"{head}Got in_dim={d} for an input but in_dim must be either an integer "
                "dimension or None."
            )
        if not isinstance(x, Tensor):
            raise ValueError(
                f"{head}Got in_dim={d} for an input but the input is of type {type(x)}. We cannot "
                "vmap over non-Tensor arguments, please use None as the respective in_dim"
            )
        if not -x.ndim <= d < x.ndim:
            raise ValueError(
                f"{head}Got in_dim={d} for some input, but that input is a Tensor of "
                f"dimensionality {x.ndim} so expected in_dim to satisfy "
                f"-{x.ndim} <= in_dim < {x.ndim}."
            )
        dims[i] = d % x.ndim
    return flat, dims, spec


def _batch_size(flat, dims) -> int:
    sizes = [x.shape[d] for x, d in zip(flat, dims, strict=True) if d is not None]
    if not sizes:
        raise ValueError("vmap: Expected at least one Tensor to vmap over")
    if any(n != sizes[0] for n in sizes):
        raise ValueError(
            "vmap: Expected all tensors to have the same size in the mapped dimension, got sizes "
            f"{sizes} for the mapped dimension"
        )
    return sizes[0]


# ---- results -----------------------------------------------------------------------------------


def _check_out_dims(func, out_dims):
    for d in trees.flatten(out_dims)[0]:
        if d is not None and not isinstance(d, int):
            raise ValueError(
                f"vmap({name_of(func)}, ..., out_dims={out_dims}): `out_dims` must be an int, None "
                "or a python collection of ints representing where in the outputs the vmapped "
                "dimension should appear."
            )


def _places(func, result, out_dims, spec) -> list:
    if isinstance(result, Tensor):
        if out_dims is None or isinstance(out_dims, int):
            return [out_dims]
        if isinstance(out_dims, tuple) and len(out_dims) == 1:
            return list(out_dims)
        places = None
    else:
        places = trees.broadcast(out_dims, spec)
    if places is None:
        raise ValueError(
            f"vmap({name_of(func)}, ..., out_dims={out_dims})(<inputs>): out_dims is not "
            f"compatible with the structure of `outputs`. out_dims has structure "
            f"{trees.flatten(out_dims)[1]} but outputs has structure {spec}."
        )
    return places


def _out(func, x, dim, level):
    name = name_of(func)
    if dim is None:
        if not isinstance(x, Tensor) or level not in levels_of(value_of(x)):
            return x
        raise ValueError(
            f"vmap({name}, ...): `{name}` can not return a BatchedTensor when out_dim is None"
        )
    if not isinstance(x, Tensor):
        raise ValueError(
            f"vmap({name}, ...): `{name}` must only return Tensors, got type {type(x)}. "
            "Did you mean to set out_dims= to None for output?"
        )
    out = leave(x, level)
    return out.movedim(0, dim) if dim else out


def debug_unwrap(tensor, *, recurse=True):
    """What a tensor inside ``vmap`` holds: all samples, or its own data if it is no batch
    (https://pytorch.org/docs/stable/generated/torch.func.debug_unwrap.html)."""
    value = value_of(tensor)
    if value.array.__class__ is not Batched:
        return tensor
    value = value.array.value
    while recurse and value.array.__class__ is Batched:
        value = value.array.value
    return wrap(value)


def over_batch(function, tensors, randomness="same") -> list:
    """The flat results of ``function`` over the first dimension of tensors, off the tape or on."""
    with open_level(tensors[0].shape[0], randomness) as level:
        outs = function(*[enter(t, level, True) for t in tensors])
        return [leave(x, level) for x in outs]
