"""Max pools whose windows start at fractional steps, drawn for each plane."""

from __future__ import annotations

from math import prod

import jax.numpy as jnp

from torchlike._ops.extremes import number_of_first
from torchlike._ops.table import Shape
from torchlike._ops.windows import layer, require_floating

_SIDES = {2: ("height", "width"), 3: ("time", "height", "width")}


def _check(input, samples, kernel, out, rank):
    name = f"fractional_max_pool{rank}d"
    if input.ndim not in (rank + 1, rank + 2) or 0 in input.shape[1:]:
        raise RuntimeError(
            f"{name}(): Expected {rank + 1}D or {rank + 2}D tensor, but got: {list(input.shape)}"
        )
    require_floating(input, name)
    if samples.dtype != input.dtype:
        raise RuntimeError("Expect _random_samples to have the same dtype as input")
    lead = input.shape[:-rank] if input.ndim == rank + 2 else (1, input.shape[0])
    given = samples.shape
    if len(given) != 3 or given[2] != rank:
        raise RuntimeError(f"Expect _random_samples.size(2) equals to {rank} got {list(given)}.")
    if given[0] < lead[0]:
        raise RuntimeError("Expect _random_samples.size(0) no less then input batch size.")
    if given[1] != lead[1]:
        raise RuntimeError("Expect _random_samples.size(1) equals to input channel size.")
    for n, k, o, side in zip(input.shape[-rank:], kernel, out, _SIDES[rank], strict=True):
        if k <= 0:
            raise RuntimeError("kernel_size must be greater than zero")
        if o + k - 1 > n:
            raise RuntimeError(f"{name}(): pool {side} {k} too large relative to input {side} {n}")
    return lead


def _starts(sample, size, out, kernel):
    """Where the windows of each plane begin along one dimension: (..., out)."""
    if out == 1:
        return jnp.full((*sample.shape, 1), size - kernel)
    alpha = jnp.asarray(size - kernel, sample.dtype) / jnp.asarray(out - 1, sample.dtype)
    sample = sample[..., None]
    steps = jnp.arange(out - 1).astype(sample.dtype)
    begun = ((steps + sample) * alpha).astype(jnp.int64) - (sample * alpha).astype(jnp.int64)
    last = jnp.full((*sample.shape[:-1], 1), size - kernel)
    return jnp.concatenate([begun, last], -1)


def _first_maximum(x):
    """The place in the last dimension of the first maximum, or of the last nan."""
    place = jnp.arange(1, x.shape[-1] + 1) * (x != x)
    first = number_of_first(x, x.ndim - 1)
    return jnp.where(place.any(-1, keepdims=True), jnp.argmax(place, -1, keepdims=True), first)


@layer("fractional_max_pool", grad_name=lambda c: f"FractionalMaxPool{c.rank}DBackward0")
def fractional_max_pool(input, samples, kernel: Shape, out: Shape, rank: int):
    """The maximum of each window, and where in the flattened plane it stands."""
    lead = _check(input, samples, kernel, out, rank)
    spatial = input.shape[-rank:]
    shape = (*input.shape[:-rank], *out)
    if 0 in shape:
        return jnp.zeros(shape, input.dtype), jnp.zeros(shape, jnp.int64)
    samples = samples[: lead[0]]
    # The samples of two dimensions stand in the order width, height; of three, in their own.
    order = (1, 0) if rank == 2 else (0, 1, 2)
    flat = jnp.zeros((*lead, *[1] * (2 * rank)), jnp.int64)
    for d, (n, k, o) in enumerate(zip(spatial, kernel, out, strict=True)):
        begin = _starts(samples[:, :, order[d]], n, o, k)
        window = [1] * (2 * rank)
        window[d], window[rank + d] = o, k
        flat = flat * n + (begin[..., None] + jnp.arange(k)).reshape(*lead, *window)
    flat = flat.reshape(*lead, prod(out), prod(kernel))
    planes = input.reshape(*lead, prod(spatial))
    seen = jnp.take_along_axis(planes[:, :, None], flat, 3)
    found = jnp.take_along_axis(flat, _first_maximum(seen), 3)[..., 0]
    best = jnp.take_along_axis(planes, found, 2)
    return best.reshape(shape), found.reshape(shape)
