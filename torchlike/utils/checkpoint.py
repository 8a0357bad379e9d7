"""Activation checkpointing: what a function saves is dropped, and computed again in backward."""

from __future__ import annotations

import contextlib
import itertools
import warnings
import weakref
from collections.abc import Iterable

from torchlike._core.devices import device, device_count
from torchlike._core.errors import user_line, warn
from torchlike._engine.prefix import local as _engine
from torchlike._engine.values import Value
from torchlike._ops.table import TABLE
from torchlike._tensor import autocast as _autocast
from torchlike._tensor import dispatch, saving
from torchlike._tensor import generators as _generators
from torchlike._tensor import random as _random
from torchlike._tensor.modes import enable_grad, modes, no_grad
from torchlike._tensor.tensor import Tensor
from torchlike.autograd import Function
from torchlike.autograd import backward as _backward
from torchlike.utils._selective import SAC_IGNORED_OPS as SAC_IGNORED_OPS
from torchlike.utils._selective import CheckpointPolicy as CheckpointPolicy
from torchlike.utils._selective import SelectiveCheckpointContext as SelectiveCheckpointContext
from torchlike.utils._selective import (
    create_selective_checkpoint_contexts as create_selective_checkpoint_contexts,
)

__all__ = [
    "SAC_IGNORED_OPS", "CheckpointError", "CheckpointFunction", "CheckpointPolicy",
    "DefaultDeviceType", "GraphExecGroup", "SelectiveCheckpointContext", "check_backward_validity",
    "checkpoint", "checkpoint_sequential", "create_selective_checkpoint_contexts",
    "detach_variable", "get_device_states", "noop_context_fn", "set_checkpoint_debug_enabled",
    "set_checkpoint_early_stop", "set_device_states",
]  # fmt: skip


class CheckpointError(RuntimeError):
    """The function computed something else the second time."""


class DefaultDeviceType:
    """The kind of device whose random numbers are kept besides the CPU's; all are, here."""

    _kind = None

    @staticmethod
    def set_device_type(device: str = "cuda") -> None:
        """Set the kind."""
        DefaultDeviceType._kind = device

    @staticmethod
    def get_device_type() -> str:
        """The kind that was set, or that of the accelerator if there is one."""
        return DefaultDeviceType._kind or ("cuda" if device_count("cuda") else "cpu")


class GraphExecGroup:
    """Context that tells which checkpoints belong to several calls of backward."""

    _open: list = []  # noqa: RUF012

    def __enter__(self):
        if GraphExecGroup._open:
            raise RuntimeError(
                "GraphExecGroup contexts can not be nested. A group is already active."
            )
        GraphExecGroup._open.append(self)
        return self

    def __exit__(self, *exc):
        GraphExecGroup._open.pop()

    @classmethod
    def _get_current_group(cls):
        return cls._open[-1] if cls._open else None


class _Settings:
    early_stop = None
    debug = None


@contextlib.contextmanager
def set_checkpoint_early_stop(enable: bool):
    """Within: whether recomputation stops once it has all that was saved, whatever the calls say
    (https://pytorch.org/docs/stable/checkpoint.html#torch.utils.checkpoint.set_checkpoint_early_stop)."""
    before, _Settings.early_stop = _Settings.early_stop, enable
    try:
        yield
    finally:
        _Settings.early_stop = before


@contextlib.contextmanager
def set_checkpoint_debug_enabled(enabled: bool | None):
    """Within: whether an error tells the lines where tensors were saved; None: as the calls say."""
    before, _Settings.debug = _Settings.debug, enabled
    try:
        yield
    finally:
        _Settings.debug = before


def noop_context_fn():
    """Two contexts that do nothing."""
    return contextlib.nullcontext(), contextlib.nullcontext()


# ---- random numbers ----------------------------------------------------------------------------


def get_device_states(*args) -> tuple:
    """(device indices, generator states) of the accelerators among the tensors of ``args``."""
    found: dict = {}
    _walk(args, lambda t: found.setdefault(t.device, None) or t)
    held = [d for d in found if d.type not in ("cpu", "meta")]
    return [d.index for d in held], [_generators.generator_of(d, None).get_state() for d in held]


def set_device_states(devices, states, *, device_type=None) -> None:
    """Let the generators of accelerators continue from states that ``get_device_states`` gave."""
    kind = DefaultDeviceType.get_device_type() if device_type is None else device_type
    for index, state in zip(devices, states, strict=True):
        _generators.generator_of(device(kind, index), None).set_state(state)


class _Draws(list):
    """The draws of a function in a call that is recorded, where a generator's state is no help."""


def _random_states(preserve: bool) -> list | None:
    """What it takes to draw the same once more."""
    if not preserve:
        return None
    if _engine.capture is not None:
        return _Draws()
    return [(g, g.get_state()) for g in list(_generators._generators.values())]


def _noting(states):
    """A context in which the draws of a call that is recorded are noted in ``states``."""
    noted = isinstance(states, _Draws)
    return _random.draws.kept(states) if noted else contextlib.nullcontext()


@contextlib.contextmanager
def _randomness(states):
    """Within: the generators continue from ``states``; afterwards from where they were."""
    if states is None:
        yield
        return
    if isinstance(states, _Draws):
        with _random.draws.repeated(states):
            yield
        return
    before = [(g, g.get_state()) for g, _ in states]
    try:
        for g, state in states:
            g.set_state(state)
        yield
    finally:
        for g, state in before:
            g.set_state(state)


# ---- arguments ---------------------------------------------------------------------------------


def _walk(x, change):
    """A structure of tuples, lists and dicts with ``change`` applied to its tensors."""
    if isinstance(x, Tensor):
        return change(x)
    kind = type(x)
    if kind in (tuple, list):
        return kind(_walk(y, change) for y in x)
    if kind is dict:
        return {k: _walk(v, change) for k, v in x.items()}
    if isinstance(x, tuple) and hasattr(x, "_fields"):
        return kind(*(_walk(y, change) for y in x))
    return x


def _again(tensors: list, grads) -> list:
    """The values of tensors once more, so that XLA neither keeps nor merges what follows."""
    out = list(tensors)
    grads = [g if g.__class__ is Value else getattr(g, "_value", None) for g in grads]
    grads = [g for g in grads if g is not None]
    with no_grad():
        for place in {t.device for t in tensors}:
            at = [i for i, t in enumerate(tensors) if t.device == place]
            late = [dispatch.wrap(g) for g in grads if g.aval.device == place]
            operands = [dispatch.wrap(dispatch.value_of(tensors[i])) for i in at]
            fresh = dispatch.apply(TABLE["recompute_from"], (*operands, *late, 1), (len(at),))
            for i, t in zip(at, fresh if isinstance(fresh, tuple) else (fresh,), strict=True):
                out[i] = t
    return out


def detach_variable(inputs: tuple) -> tuple:
    """The inputs with tensors off the tape, still wanting gradients where they did."""
    if not isinstance(inputs, tuple):
        raise RuntimeError(
            "Only tuple of tensors is supported. Got Unsupported input type: "
            f"{type(inputs).__name__}"
        )
    return tuple(_detached(x, x) if isinstance(x, Tensor) else x for x in inputs)


def _detached(x, like):
    return x.detach().requires_grad_(like.requires_grad) if like.requires_grad else x.detach()


def check_backward_validity(inputs: Iterable) -> None:
    """Warn if no input wants a gradient."""
    if not any(x.requires_grad for x in inputs if isinstance(x, Tensor)):
        warn("None of the inputs have requires_grad=True. Gradients will be None")


# ---- with reentrant backward -------------------------------------------------------------------


class CheckpointFunction(Function):
    """A function run without the tape, and once more on it when its backward is called."""

    @staticmethod
    def forward(ctx, run_function, preserve_rng_state, *args):
        """Run, and keep the arguments."""
        check_backward_validity(args)
        ctx.run_function = run_function
        ctx.states = _random_states(preserve_rng_state)
        ctx.casts = _autocast.state.settings()
        ctx.at = [i for i, x in enumerate(args) if isinstance(x, Tensor)]
        ctx.inputs = [None if isinstance(x, Tensor) else x for x in args]
        ctx.save_for_backward(*[args[i] for i in ctx.at])
        with _noting(ctx.states):
            return run_function(*args)

    @staticmethod
    def backward(ctx, *args):
        """Run again, on the tape, and go back through it."""
        if modes.walk is not None and modes.walk[1] is not None:
            raise RuntimeError(
                "When use_reentrant=True, torch.utils.checkpoint is incompatible with .grad() or "
                "passing an `inputs` parameter to .backward(). To resolve this error, you can "
                "either set use_reentrant=False, or call .backward() without passing the `inputs` "
                "argument."
            )
        inputs, tensors = list(ctx.inputs), list(ctx.saved_tensors)
        fresh = _again(tensors, [g for g in args if isinstance(g, Tensor)])
        for i, t, old in zip(ctx.at, fresh, tensors, strict=True):
            inputs[i] = _detached(t, old)
        with _randomness(ctx.states), _autocast.state.restored(ctx.casts), enable_grad():
            outputs = ctx.run_function(*inputs)
        outputs = (outputs,) if isinstance(outputs, Tensor) else outputs
        pairs = [
            (y, g) for y, g in zip(outputs, args, strict=False)
            if isinstance(y, Tensor) and y.requires_grad
        ]  # fmt: skip
        if not pairs:
            raise RuntimeError(
                "none of output has requires_grad=True, this checkpoint() is not necessary"
            )
        before = _engine.after_backward
        _backward([y for y, _ in pairs], [g for _, g in pairs])
        _engine.after_backward = before  # this was a part of a backward, not its end
        grads = tuple(x.grad if isinstance(x, Tensor) else None for x in inputs)
        return None, None, *grads


# ---- without -----------------------------------------------------------------------------------


class _Stop(Exception):
    """All that was saved has been computed again."""


class _Holder:
    """Stands on the tape for a tensor that was saved; value is it, once computed again."""

    __slots__ = ("__weakref__", "frame", "value", "walk")

    def __init__(self, frame):
        self.frame, self.value, self.walk = frame, None, None


def _occasion():
    """What computed values are good for: one backward, or several that belong together."""
    return GraphExecGroup._get_current_group() or modes.walk


class _Frame:
    """One call of ``checkpoint``: how to do it again, and who waits for what."""

    complete = False  # whether the first run is at its end

    def __init__(self, function, args, kwargs, recompute, states, compare, debug, early_stop):
        self.function, self.recompute, self.states = function, recompute, states
        self.compare, self.debug, self.early_stop = compare, debug, early_stop
        self.casts = _autocast.state.settings()
        self.saved: list = []
        self.arguments = _walk((args, kwargs), self._keep)
        self.holders: list = []  # weak references, in the order of saving
        self.metadata: list = []
        self.lines: list = []

    def _keep(self, tensor):
        self.saved.append(saving.Saved(tensor))
        return _Place(tensor.requires_grad, tensor.is_leaf)

    def pack(self, tensor):
        """In place of a tensor, the tape keeps a holder."""
        holder = _Holder(self)
        self.holders.append(weakref.ref(holder))
        self.metadata.append(_metadata(tensor))
        if self.debug:
            self.lines.append(user_line())
        return holder

    def unpack(self, holder):
        """The tensor that a holder stands for, computed again by the first who asks."""
        if holder.value is None or holder.walk is not _occasion():
            self.run()
        if holder.value is None:
            raise CheckpointError(
                "torch.utils.checkpoint: a tensor that was saved during the original forward pass "
                "was not computed again."
            )
        value, holder.value = holder.value, None
        return value

    def _arguments(self):
        """The arguments once more, as far from what was computed before as XLA can see."""
        grads = saving.local.grads
        tensors = [s.get("CheckpointFrame") for s in self.saved]
        fresh = iter(zip(_again(tensors, grads), tensors, strict=True)) if tensors else iter(())

        def put(place):
            new, old = next(fresh)
            if place.requires_grad:
                if place.leaf or old._node is None:
                    new._requires_grad = True
                else:  # may be changed in place, as the first time
                    new._node, new._index = old._node, old._index
            return new

        return _fill(self.arguments, put)

    def run(self) -> None:
        """Do the call again, and hand out what it saves."""
        count, walk, lines, found = itertools.count(), _occasion(), [], []
        expected = len(self.holders)

        def pack(tensor):
            i = next(count)
            if i >= expected and not self.complete:  # a gradient is taken in the first run
                return tensor
            if i >= expected:
                raise CheckpointError(
                    "torch.utils.checkpoint: trying to save more tensors during recomputation "
                    f"than during the original forward pass.{self._tip(lines)}"
                )
            if self.debug:
                lines.append(user_line())
            found.append(_metadata(tensor))
            holder = self.holders[i]()
            if holder is not None:
                holder.value, holder.walk = dispatch.wrap(dispatch.value_of(tensor)), walk
            if self.early_stop and i == expected - 1:
                raise _Stop
            return tensor

        args, kwargs = self._arguments()
        with (
            _randomness(self.states), _autocast.state.restored(self.casts), self.recompute,
            enable_grad(),
        ):  # fmt: skip
            saving.push(pack, lambda tensor: tensor)
            try:
                self.function(*args, **kwargs)
            except _Stop:
                pass
            finally:
                saving.pop()
        self._check(found, lines)

    def _check(self, found, lines) -> None:
        if len(found) != len(self.holders):
            raise CheckpointError(
                "torch.utils.checkpoint: A different number of tensors was saved during the "
                "original forward and recomputation.\nNumber of tensors saved during forward: "
                f"{len(self.holders)}\nNumber of tensors saved during recomputation: {len(found)}."
                f"{self._tip(lines)}"
            )
        if not self.compare:
            return
        wrong = [
            f"tensor at position {i}:\nsaved metadata: {a}\nrecomputed metadata: {b}\n"
            for i, (a, b) in enumerate(zip(self.metadata, found, strict=True)) if a != b
        ]  # fmt: skip
        if wrong:
            raise CheckpointError(
                "torch.utils.checkpoint: Recomputed values for the following tensors have "
                "different metadata than during the forward pass.\n" + "".join(wrong) + "."
                + self._tip(lines)
            )  # fmt: skip

    def _tip(self, lines) -> str:
        if self.debug:
            both = itertools.zip_longest(self.lines, lines, fillvalue="-")
            rows = "\n".join(f"{i}: {a} | {b}" for i, (a, b) in enumerate(both))
            return f"\n\nSaved at (forward | recomputation):\n{rows}"
        return (
            "\n\nTip: To see the lines where tensors were saved, pass `debug=True` to "
            "`torch.utils.checkpoint.checkpoint(...)` or wrap the code in "
            "`torch.utils.checkpoint.set_checkpoint_debug_enabled(True)`."
        )


class _Place:
    """Stands among kept arguments for a tensor."""

    __slots__ = ("leaf", "requires_grad")

    def __init__(self, requires_grad, leaf):
        self.requires_grad, self.leaf = requires_grad, leaf


def _fill(x, put):
    if x.__class__ is _Place:
        return put(x)
    kind = type(x)
    if kind in (tuple, list):
        return kind([_fill(y, put) for y in x])
    if kind is dict:
        return {k: _fill(v, put) for k, v in x.items()}
    if isinstance(x, tuple) and hasattr(x, "_fields"):
        return kind(*[_fill(y, put) for y in x])
    return x


def _metadata(tensor) -> dict:
    return {"shape": tensor.shape, "dtype": tensor.dtype, "device": tensor.device}


# ---- public ------------------------------------------------------------------------------------


def checkpoint(
    function, *args, use_reentrant: bool | None = None, context_fn=noop_context_fn,
    determinism_check: str = "default", debug: bool = False, early_stop: bool = True, **kwargs,
):  # fmt: skip
    """Call a function; what it saves for backward is dropped, and computed again there
    (https://pytorch.org/docs/stable/checkpoint.html#torch.utils.checkpoint.checkpoint).

    Raises ``CheckpointError`` in backward if the second run saves other shapes or dtypes.
    """
    if use_reentrant is None:
        warnings.warn(
            "torch.utils.checkpoint: the use_reentrant parameter should be passed explicitly. "
            "Starting in PyTorch 2.9, calling checkpoint without use_reentrant will raise an "
            "exception. use_reentrant=False is recommended, but if you need to preserve the "
            "current default behavior, you can pass use_reentrant=True. Refer to docs for more "
            "details on the differences between the two variants.",
            stacklevel=2,
        )
        use_reentrant = True
    preserve = kwargs.pop("preserve_rng_state", True)
    if use_reentrant:
        if kwargs:
            raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
        if context_fn is not noop_context_fn or debug is not False:
            raise ValueError(
                "Passing `context_fn` or `debug` is only supported when use_reentrant=False."
            )
        return CheckpointFunction.apply(function, preserve, *args)
    if determinism_check not in ("default", "none"):
        raise ValueError(
            f"determinism_check should be one of ['default', 'none'], but got {determinism_check}"
        )
    forward, recompute = context_fn()
    if not modes.grad:
        with forward:
            return function(*args, **kwargs)
    frame = _Frame(
        function, args, kwargs, recompute, _random_states(preserve),
        determinism_check == "default", debug if _Settings.debug is None else _Settings.debug,
        early_stop if _Settings.early_stop is None else _Settings.early_stop,
    )  # fmt: skip
    saving.push(frame.pack, frame.unpack)
    try:
        with forward, _noting(frame.states):
            out = function(*args, **kwargs)
        frame.complete = True
        return out
    finally:
        saving.pop()


def checkpoint_sequential(functions, segments, input, use_reentrant=None, **kwargs):
    """Call a chain of functions in ``segments`` pieces, all but the last checkpointed
    (https://pytorch.org/docs/stable/checkpoint.html#torch.utils.checkpoint.checkpoint_sequential)."""
    if use_reentrant is None:
        warnings.warn(
            "torch.utils.checkpoint.checkpoint_sequential: the use_reentrant parameter should be "
            "passed explicitly. In version 2.9 we will raise an exception if use_reentrant is not "
            "passed. use_reentrant=False is recommended, but if you need to preserve the current "
            "default behavior, you can pass use_reentrant=True. Refer to docs for more details on "
            "the differences between the two variants.",
            stacklevel=2,
        )
        use_reentrant = True
    preserve = kwargs.pop("preserve_rng_state", True)
    if kwargs:
        raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
    children = getattr(functions, "children", None)
    functions = list(children() if children is not None else functions)

    def piece(start, end):
        def forward(input):
            for f in functions[start:end]:
                input = f(input)
            return input

        return forward

    size = len(functions) // segments
    end = 0
    for start in range(0, size * (segments - 1), size):
        end = start + size
        input = checkpoint(
            piece(start, end), input, use_reentrant=use_reentrant, preserve_rng_state=preserve
        )
    return piece(end, len(functions))(input)
