"""compile(): a function that is recorded, guarded and replayed as one program."""

from __future__ import annotations

import functools
import logging
import os
import threading
import weakref
from itertools import repeat
from operator import attrgetter

from torchlike._core import errors
from torchlike._core.settings import settings
from torchlike._engine.composites import Composite
from torchlike._engine.places import place_of_function
from torchlike._engine.prefix import local
from torchlike._engine.stats import stats
from torchlike._engine.values import TRACED
from torchlike.compiler import config
from torchlike.compiler._arguments import Flat, Tensors, Usual, aliases
from torchlike.compiler._recording import Recording
from torchlike.compiler._surroundings import elsewhere, surrounding
from torchlike.compiler._watch import Watch

log = logging.getLogger("torchlike.compiler")

_array, _TRACED = attrgetter("_value.array"), repeat(TRACED)

# A call that could not be replayed for the same reason so often runs its Python from then on.
_TRIES = 2

all_compiled: weakref.WeakSet = weakref.WeakSet()


class Stance(threading.local):
    """What ``torch.compiler.set_stance`` has set on this thread."""

    name = "default"


stance = Stance()


class Compiled:
    """A callable that runs ``function`` once or twice, and then replays what it did.

    replays    the recordings that can be replayed, the last used one first
    breaks     reasons why calls could not be replayed -> how often
    plain      the reason why the function runs its Python from now on, or None
    full       the reason why it does so wherever no recording holds, or None
    reasons    what had changed each time that a new recording was needed
    """

    _guarded = ("function",)

    def __init__(
        self, function, *, fullgraph=False, dynamic=None, name=None, limit=None, eager=False,
        backend=None, tuned=False,
    ):  # fmt: skip
        self.backend = backend  # of the user's own, with its options
        if backend is not None:
            name = name or getattr(function, "__name__", None)
            function = graphed()(function, *backend)
        self.function, self.fullgraph, self.dynamic = function, fullgraph, dynamic
        self.limit, self.eager, self.tuned = limit, eager, tuned
        self.name = name or getattr(function, "__name__", type(function).__name__)
        self.lock = threading.RLock()
        self.place = place_of_function(function, "compiled call")
        self.reset()
        all_compiled.add(self)

    def reset(self) -> None:
        """Forget everything that was recorded."""
        self.watch = Watch()
        self.replays: list = []
        self.breaks: dict = {}
        self.reasons: list[str] = []
        self.plain: tuple | None = ("its backend is eager", None) if self.eager else None
        self.full: tuple | None = None
        self.recordings = 0
        self._composites: dict = {}

    def composite(self, segment, outs, noted, donates) -> Composite:
        """The composite of a segment; the one made before if nothing differs."""
        key = segment.node, tuple(outs), tuple(noted), donates
        known = self._composites.setdefault(key, [])
        for composite in known:
            if composite.same_numbers(segment):
                return composite
        name = f"compiled_{self.name}"
        composite = Composite(name, segment, outs, noted, donates, self.tuned)
        known.append(composite)
        return composite

    def __call__(self, *args, **kwargs):
        if (
            local.capture is not None
            or self.plain is not None
            or stance.name == "force_eager"
            or settings.immediate
            or elsewhere()
        ):
            return self.function(*args, **kwargs)
        around = surrounding()
        replays = self.replays
        if replays and not kwargs:
            replay = replays[0]
            usual = replay.usual
            if (
                usual is not None
                and usual.holds(args, replay.lasting)
                and replay.surround == around
                and replay.hold()
            ):
                return replay.run(Tensors(args))
        flat = Flat(args, kwargs)
        if any(map(isinstance, map(_array, flat.tensors), _TRACED)):
            return self.function(*args, **kwargs)
        states = flat.states()
        failed, identities = [], flat.identities()
        for replay in self.replays:
            if replay.spec == flat.spec and replay.states == states and replay.surround == around:
                seen = identities
                if replay.no_grad is not None:
                    seen = [*identities, *flat.gradients()]
                    if replay.used:
                        seen += replay.guards.gradients()
                if replay.no_grad is not None and replay.no_grad != flat.no_grad():
                    failed.append("whether an argument has a .grad")
                elif replay.alias != aliases(seen, flat.owners, replay.lasting):
                    failed.append("which arguments share memory")
                elif replay.hold():
                    return self._replay(replay, flat)
                else:
                    why = replay.failed()
                    if why is None:
                        replay.refresh()  # a tensor may have got a memory that others show
                        if replay.alias == aliases(seen, flat.owners, replay.lasting):
                            return self._replay(replay, flat)
                        why = "which arguments share memory"
                    failed.append(why)
        if stance.name == "fail_on_recompile" and self.replays:
            raise RuntimeError(
                f"Detected recompile of {self.name} when torch.compile stance is "
                f"'fail_on_recompile': {failed[0] if failed else 'other arguments'}"
            )
        if stance.name == "eager_on_recompile" and self.replays:
            return self.function(*args, **kwargs)
        return self._record(flat, args, kwargs, failed, states, around, identities)

    def _replay(self, replay, flat):
        if self.replays[0] is not replay:  # a new list: other threads may be going through this
            self.replays = [replay, *(r for r in self.replays if r is not replay)]
        return replay.run(flat)

    def _record(self, flat, args, kwargs, failed, states, around, identities):
        """Run the Python; keep what a replay needs, or the reason why there can be none."""
        with self.lock:
            limit = self.limit or config.recompile_limit
            if len(self.replays) >= limit:
                if self.full is None:
                    why = failed[0] if failed else self._difference(flat, states)
                    self.full = f"it was recorded {limit} times; the last change: {why}", None
                    self._report(self.full, "runs its Python where no recording holds")
                if config.fail_on_recompile_limit_hit:
                    raise errors.FailOnRecompileLimitHit(f"{self.name}(): {self.full[0]}")
                return self.function(*args, **kwargs)
            if self.replays:
                why = failed[0] if failed else self._difference(flat, states)
                self.reasons.append(why)
                stats.recompiles += 1
                level = logging.WARNING if "recompiles" in _LOGS else logging.DEBUG
                log.log(level, "recording %s again: %s", self.name, why)
            self.recordings += 1
            self.around = around
            gradients = flat.gradients()
            recording = Recording(self, flat, args, kwargs, states)
            replay = recording.replay
            if replay is not None:
                replay.surround = around
                replay.remember()
                seen = identities
                if replay.no_grad is not None:
                    seen = [*identities, *gradients, *replay.used]
                replay.alias = aliases(seen, flat.owners, replay.lasting)
                replay.usual = Usual.of(replay)
                self.replays = [replay, *self.replays]
            else:
                self._consider(recording)
            return recording.result

    def _consider(self, recording) -> None:
        """Give up after the same reason came often enough."""
        why = recording.why
        if why is None and self.watch.effects:
            why = self.watch.effects[0]
        if why is None:
            if self.recordings > 3 * config.recompile_limit:
                self._stop(("other code runs in each call", None))
            return
        count = self.breaks[why] = self.breaks.get(why, 0) + 1
        if count >= _TRIES or len(self.breaks) > config.recompile_limit:
            self._stop(why)

    def _stop(self, why) -> None:
        self.plain = why
        self._report(why, "runs its Python at every call")

    def _report(self, why, what: str) -> None:
        reason, line = why
        at = f" at {line}" if line else ""
        log.warning("%s is compiled, but %s: %s%s", self.name, what, reason, at)

    def _difference(self, flat, states) -> str:
        """What is different in the arguments from the recording used last."""
        replay = self.replays[0]
        if replay.surround != surrounding():
            return "the grad mode, autocast, default dtype or device, or hooks of all modules"
        if replay.spec != flat.spec:
            for i, (a, b) in enumerate(zip(replay.spec, flat.spec, strict=False)):
                if a != b:
                    return f"argument {i} is {_shown(b)}, was {_shown(a)}"
            return f"there are {len(flat.spec)} arguments, were {len(replay.spec)}"
        for n, (old, new) in enumerate(zip(replay.states, states, strict=False)):
            for name, a, b in zip(_STATES, old, new, strict=True):
                if a != b:
                    return f"the {name} of tensor {n} is {b}, was {a}"
        return "the arguments"


# What ``Flat.states`` holds of each tensor.
_STATES = (
    "shape, dtype or device", "class", "requires_grad", "hooks", "hooks", "history", "memory",
    "layout", "base",
)  # fmt: skip
_LOGS = os.environ.get("TORCHLIKE_LOGS", "").split(",")


def _shown(x) -> str:
    text = repr(x[1]) if isinstance(x, tuple) and len(x) == 2 else repr(x)
    return text if len(text) < 60 else text[:57] + "..."


_MODES = (
    "default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs", "lite",
)  # fmt: skip
_TUNED = ("max-autotune", "max-autotune-no-cudagraphs")
_TUNED_BY = ("max_autotune", "max_autotune_pointwise", "max_autotune_gemm")  # inductor's options
BACKENDS = ("inductor", "cudagraphs", "openxla", "tvm", "onnxrt")
EAGER_BACKENDS = ("eager", "aot_eager", "aot_eager_decomp_partition")


def compile(
    model=None, *, fullgraph: bool = False, dynamic: bool | None = None, backend=None,
    mode: str | None = None, options: dict | None = None, name: str | None = None,
    disable: bool = False, recompile_limit: int | None = None, isolate_recompiles: bool = False,
    shapes_spec=None,
):  # fmt: skip
    """A callable that runs as one XLA program (https://pytorch.org/docs/stable/generated/torch.compile.html).

    Small programs are compiled in a hurry, with the bits of eager mode; with the mode
    "max-autotune" XLA works as hard as it can on them, too, and results may be rounded otherwise.
    A ``backend`` of your own, called with a ``torch.fx.GraphModule`` and its inputs, says what runs
    instead. Raises ``RuntimeError`` for an unknown mode or option.
    """
    if model is None:
        return functools.partial(
            compile, fullgraph=fullgraph, dynamic=dynamic, backend=backend, mode=mode,
            options=options, name=name, disable=disable, recompile_limit=recompile_limit,
            isolate_recompiles=isolate_recompiles, shapes_spec=shapes_spec,
        )  # fmt: skip
    if not callable(model):
        raise RuntimeError(f"torch.compile() takes a function or a module, not {type(model)}")
    if mode is not None and options is not None:
        raise RuntimeError(
            "Either mode or options can be specified, but both can't be specified at the same time."
        )
    if mode is not None and mode not in _MODES:
        raise RuntimeError(f"Unrecognized mode={mode}, should be one of: {', '.join(_MODES)}")
    if shapes_spec is not None:
        raise errors.NotSupported("shapes_spec", "every size is exact: leave it out")
    backend = default.backend if backend is None else known_backend(backend)
    kept = {"fullgraph": fullgraph, "dynamic": dynamic, "limit": recompile_limit}
    if mode in _TUNED or any((options or {}).get(name) for name in _TUNED_BY):
        kept["tuned"] = True
    if name is not None:
        kept["name"] = name
    if callable(backend):
        given = {"mode": None if mode == "default" else mode, "options": options}
        kept["backend"] = backend, {key: x for key, x in given.items() if x}
        kept["eager"] = True
    elif backend in EAGER_BACKENDS:
        kept["eager"] = True
    for kind, wrap in wrappers:
        if isinstance(model, kind):
            return wrap(model, disable, kept)
    return compile_function(model, disable, kept)


class InvalidBackend(RuntimeError):
    """No backend of this name."""


registered: dict = {}  # name -> a backend of the user's own


def known_backend(name):
    """The name of a backend, or one of the user's own; raises for one that there is not."""
    name = registered.get(name, name) if isinstance(name, str) else name
    if callable(name):
        return name
    if name not in BACKENDS and name not in EAGER_BACKENDS:
        raise InvalidBackend(f"Invalid backend: {name!r}, see `torch._dynamo.list_backends()`")
    return name


class Default:
    """The backend of ``compile`` if none is given."""

    backend = BACKENDS[0]


default = Default()


# Gives what wraps a function for a backend of the user's own: the top-level package sets it.
graphed = None

# (class, function) of objects that nn compiles in its own way: nn fills it in.
wrappers: list = []


def compile_function(function, disable: bool, kept: dict):
    """A function in place of another, with its name, signature and documentation."""
    inner = getattr(function, "_torchdynamo_orig_callable", None)
    if inner is not None:
        function = inner
    if disable:
        return function
    compiled = Compiled(function, **kept)

    def call(*args, **kwargs):
        return compiled(*args, **kwargs)

    try:
        functools.update_wrapper(call, function)
    except (AttributeError, TypeError):  # a callable object
        call.__wrapped__ = function
    call._torchdynamo_orig_callable = function
    call.compiled = compiled
    return call
