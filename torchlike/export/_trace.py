"""One run of a module on abstract values: its forward and its derivative as programs of JAX."""

from __future__ import annotations

import contextlib
import logging
import os
import warnings

import jax
import numpy as np
from jax.extend.core import jaxpr_as_fun

from torchlike._core import dtypes as dt
from torchlike._core.dtypes import FLOATING
from torchlike._core.errors import PACKAGE, GuardOnDataDependentSymNode, NotTraceable, UserError
from torchlike._core.symbolic import SymInt
from torchlike._engine.flush import array_of
from torchlike._engine.values import from_array
from torchlike._ops.table import TABLE
from torchlike._tensor import dispatch
from torchlike._tensor.modes import enable_grad
from torchlike._tensor.tensor import FIELDS, Tensor
from torchlike.autograd import grad as autograd_grad
from torchlike.export._symbols import Refine, errors_line, installed
from torchlike.func import trees
from torchlike.func.modules import replaced
from torchlike.nn.modules.module import Module

log = logging.getLogger("torchlike.export")
_OPS = os.path.join(PACKAGE, "_ops") + os.sep
PLATFORMS = ("cpu", "cuda", "tpu")
# What JAX raises when Python asks an abstract array for its numbers.
_NEEDS_NUMBERS = (
    jax.errors.TracerArrayConversionError, jax.errors.ConcretizationTypeError,
    jax.errors.TracerIntegerConversionError, jax.errors.TracerBoolConversionError, NotTraceable,
)  # fmt: skip
_PLAIN = (int, float, bool, complex, str, type(None))


class Lowered:
    """A traced function, and what it becomes on each platform."""

    def __init__(self, function, specs):
        traced = jax.jit(function).trace(*specs)
        self.jaxpr, self.specs = traced.jaxpr, specs
        self.exported = None

    def on(self, platform: str):
        """The ``jax.export.Exported`` that can run on a platform."""
        if self.exported is None or platform not in self.exported.platforms:
            self.exported = self.lower((platform,))
        return self.exported

    def lower(self, platforms):
        """The ``jax.export.Exported`` for these platforms; raises what JAX raises."""
        with jax.enable_x64(True):
            run = jax.jit(jaxpr_as_fun(self.jaxpr))
            return jax.export.export(run, platforms=platforms)(*self.specs)


class Loaded:
    """A program from a file: lowered already, for the platforms of the file."""

    def __init__(self, exported):
        self.exported = exported

    def on(self, platform: str):
        """The ``jax.export.Exported``; raises ``RuntimeError`` for another platform."""
        if platform not in self.exported.platforms:
            raise RuntimeError(
                f"the program was lowered for {', '.join(self.exported.platforms)} and cannot run "
                f"on {platform}: save it there, or load it onto one of these"
            )
        return self.exported


class Program:
    """What a trace has found.

    forward     state, tensors among the inputs and draws -> tensors among the outputs, what was
                changed, flags of bad indices
    backward    the same inputs and a gradient per output that has one -> gradients; None if there
                is nothing to differentiate, a text if it failed
    outputs     per leaf of the result ("tensor", n), ("input", n), ("state", name),
                ("size", text) or ("constant", number)
    first       how many of the inputs are state
    shapes      per tensor among the inputs, its shape with texts for open sizes
    results     per tensor result, such a shape and the dtype
    requires    per tensor result, whether it has a gradient
    floats      tensor results that have a gradient given to ``backward``
    wanted      inputs of the program that ``backward`` gives gradients of
    alone       per result, if there are several: (the derivative of it alone, its ``wanted``), for
                calls of which others get no gradient: zeros for those would not be nothing
    changed     ("state", name) or ("input", n) of what the call changes, in order
    """

    backward = None
    requires = wanted = floats = backward_conditions = ()

    def __init__(self):
        self.alone: dict[int, tuple] = {}


@contextlib.contextmanager
def _attributes_kept(module: Module):
    """Undo what the call assigns to plain attributes; a list that gets the names of tensors."""
    parts = list(module.named_modules())
    before = [dict(vars(part)) for _, part in parts]
    held = [
        (f"self.{name}.{key}" if name else f"self.{key}", value, value.copy())
        for name, part in parts for key, value in vars(part).items()
        if value.__class__ in (list, dict, set) and not key.startswith("_")
    ]  # fmt: skip
    hidden = ("_parameters", "_buffers", "_modules", "_non_persistent_buffers_set", "training")
    found: list[str] = []
    try:
        yield found
    finally:
        for (name, part), old in zip(parts, before, strict=True):
            now = vars(part)
            for key in [*now]:
                if key in hidden or (key in old and now[key] is old[key]):
                    continue
                leaves, _ = trees.flatten(now[key])
                if any(isinstance(x, Tensor) for x in leaves):
                    found.append(f"self.{name}.{key}" if name else f"self.{key}")
                elif not key.startswith("_"):
                    log.warning("the exported program does not assign %s.%s", name or "self", key)
                if key in old:
                    now[key] = old[key]
                else:
                    del now[key]
        for path, value, old in held:
            same = value == old if value.__class__ is set else _same_items(value, old)
            if same:
                continue
            if any(isinstance(x, Tensor) for x in trees.flatten(value)[0]):
                found.append(path)
            else:
                log.warning("the exported program does not change %s", path)
            value.clear()
            (value.extend if value.__class__ is list else value.update)(old)


def _warn_of_assigned(found: list[str]) -> None:
    """Warn as PyTorch does of tensors that the program will not assign."""
    if found:
        several = len(found) > 1
        warnings.warn(
            f"The tensor attribute{'s' if several else ''} {', '.join(found)} "
            f"{'were' if several else 'was'} assigned during export. Such attributes must be "
            "registered as buffers using the `register_buffer` API "
            "(https://pytorch.org/docs/stable/generated/torch.nn.Module.html"
            "#torch.nn.Module.register_buffer).",
            UserWarning,
            stacklevel=2,
        )


def _same_items(a, b) -> bool:
    """Whether two lists or dicts hold the same objects."""
    if len(a) != len(b):
        return False
    if a.__class__ is dict:
        return all(k in a and a[k] is v for k, v in b.items())
    return all(x is y for x, y in zip(a, b, strict=True))


def _stand_in(t: Tensor, array, requires_grad: bool) -> Tensor:
    """A tensor of a tracer that stands for ``t`` in the call."""
    out = object.__new__(type(t))
    out._value = from_array(array, t.device)
    out._requires_grad = requires_grad
    for name, value in t.__dict__.items():
        if name not in FIELDS:
            out.__dict__[name] = value
    return out


def _is_float(t) -> bool:
    return t._value.aval.dtype.category >= FLOATING


class Tracer:
    """The traces of one call: ``state`` is {name: tensor}, ``leaves`` and ``spec`` the inputs.

    A tensor of ``constants``, that is a plain attribute, can be written to but not replaced.
    """

    def __init__(self, module, state: dict, leaves: list, spec, symbols_of, constants=()):
        self.module, self.state, self.leaves, self.spec = module, state, leaves, spec
        self.constants = constants  # names of tensors that are plain attributes
        self.symbols_of = symbols_of
        self.tensors = [x for x in leaves if isinstance(x, Tensor)]

    def _specs(self, symbols, shapes) -> list:
        out = [jax.ShapeDtypeStruct(t.shape, t.dtype.numpy) for t in self.state.values()]
        for t, shape in zip(self.tensors, shapes, strict=True):
            shape = [symbols.sizes.get(n, n) for n in shape]
            out.append(jax.ShapeDtypeStruct(tuple(shape), t.dtype.numpy))
        out += [jax.ShapeDtypeStruct(*symbols.shape_of_draw(d)) for d in self.drawn]
        return out

    def trace(self) -> Program:
        """The program; begins again while open sizes turn out to be closed ones."""
        for _ in range(50):
            try:
                return self._trace()
            except Refine as refine:
                log.debug("tracing again: %s", refine)
                self.symbols_of.refine(refine)
        raise UserError("the open sizes of the program depend on each other without end")

    def _trace(self) -> Program:
        self.drawn: list = []
        program = Program()
        while True:
            symbols, shapes = self.symbols_of.open()
            program.forward = self._lowered(self._forward(program, symbols), symbols, shapes)
            if len(symbols.draws) == len(self.drawn):
                break
            self.drawn = symbols.draws  # what is drawn is an input: trace it again with these
        program.symbols, program.draws, program.checks = symbols, symbols.draws, symbols.checks
        self.symbols_of.check(symbols)
        program.opened = list(symbols.opened.values())
        program.conditions = symbols.conditions
        program.first = len(self.state)
        program.shapes = [_texts(shape) for shape in shapes]
        avals = program.forward.jaxpr.out_avals[: program.out_avals]
        program.results = [(_texts(a.shape), dt.BY_NUMPY[np.dtype(a.dtype)]) for a in avals]
        self._differentiate(program)
        return program

    def _lowered(self, function, symbols, shapes, extra=()) -> Lowered:
        with installed(symbols), jax.enable_x64(True):
            try:
                return Lowered(function, [*self._specs(symbols, shapes), *extra])
            except UserError:
                raise
            except Exception as error:
                if isinstance(error, _NEEDS_NUMBERS) and not _inside_an_op(error):
                    raise GuardOnDataDependentSymNode(
                        "Could not guard on data-dependent expression: the number of a tensor is "
                        f"needed at {errors_line(error)}, and an exported program has none before "
                        "it runs. Use torch.where or torch.cond there, or compute the number "
                        "outside and hand it in."
                    ) from error
                why = symbols.give_way(error)
                if why is None or not self._runs_closed():
                    raise
                raise UserError(why) from error

    def _runs_closed(self) -> bool:
        """Whether the module can be traced if no size is open: else it is not they that fail."""
        symbols, shapes = self.symbols_of.open(closed=True)
        try:
            with installed(symbols), jax.enable_x64(True):
                Lowered(self._forward(Program(), symbols), self._specs(symbols, shapes))
        except Exception:  # whatever it is, it is the module's own
            return False
        return True

    def _call(self, symbols, arrays, every_gradient: bool):
        """Run the module; (leaves of the result, their spec, stand-ins, what has changed)."""
        arrays = list(arrays)
        state, count = {}, len(self.state)
        leaves_with_gradient = [None] * (count + len(self.tensors))
        for n, ((name, t), array) in enumerate(zip(self.state.items(), arrays, strict=False)):
            wanted = t._is_parameter if every_gradient else t._requires_grad
            state[name] = _stand_in(t, array, (wanted or t._requires_grad) and _is_float(t))
            if state[name]._requires_grad:
                leaves_with_gradient[n] = state[name]
        inputs, given = [], []
        for n, (t, array) in enumerate(zip(self.tensors, arrays[count:], strict=False)):
            x = _stand_in(t, array, _is_float(t) if every_gradient else t._requires_grad)
            if every_gradient and _is_float(t):
                leaves_with_gradient[count + n] = x
                x = dispatch.apply(TABLE["clone"], (x,))  # it may be written in place
            inputs.append(x)
            given.append(x._value)
        symbols.inputs = arrays[count + len(self.tensors) :][: len(self.drawn)]
        before = {name: t._value for name, t in state.items()}
        places = iter(inputs)
        leaves = [next(places) if isinstance(x, Tensor) else x for x in self.leaves]
        args, kwargs = trees.unflatten(leaves, self.spec)
        wrappers = dict(state)
        symbols.begin_call()
        try:
            with (
                _attributes_kept(self.module) as assigned,
                replaced(self.module, state, True, False),
            ):
                result = self.module(*args, **kwargs)
        except BaseException:
            symbols.put_back()
            raise
        symbols.check_put_back([*trees.flatten(result)[0], *state.values()])
        changed = []
        for name, t in state.items():
            if dispatch.value_of(t) is before[name]:
                continue
            if name in self.constants and t is not wrappers[name]:
                assigned.append(f"self.{name}")
                continue
            self._check_changed(name, t)
            changed.append((("state", name), t))
        _warn_of_assigned(assigned)
        for n, t in enumerate(inputs):
            if dispatch.value_of(t) is not given[n]:
                changed.append((("input", n), t))
        out, out_spec = trees.flatten(result)
        return out, out_spec, wrappers | state, inputs, changed, leaves_with_gradient

    def _check_changed(self, name, t) -> None:
        a, b = t._value.aval, self.state[name]._value.aval
        if a.shape != b.shape or a.dtype is not b.dtype:
            raise UserError(
                f"the call assigns to {name!r}, {list(b.shape)} of {b.dtype}, a tensor of "
                f"{list(a.shape)} and {a.dtype}: an exported program cannot change a shape"
            )

    def _forward(self, program, symbols):
        def forward(*arrays):
            symbols.begin_trace()
            out, spec, state, inputs, changed, _ = self._call(symbols, arrays, False)
            results, program.outputs, program.spec = [], [], spec
            for x in out:
                program.outputs.append(_place(x, state, inputs, len(results)))
                if program.outputs[-1][0] == "tensor":
                    results.append(array_of(dispatch.value_of(x)))
            program.out_avals = len(results)
            program.changed = [where for where, _ in changed]
            results += [array_of(dispatch.value_of(t)) for _, t in changed]
            if symbols.flags:
                results.append(jax.numpy.stack(symbols.flags))
            return results

        return forward

    # ---- the derivative ------------------------------------------------------------------------

    def _differentiate(self, program) -> None:
        """Trace the derivative; if that fails the forward stands and the reason is kept."""
        further: list = []
        for _ in range(50):
            try:
                self._backward(program, further)
                return
            except Refine as refine:
                if refine.condition is None:
                    error = UserError(f"the sizes {refine.static or refine.same} cannot stay open")
                    break
                further.append(refine.condition)
            except Exception as found:  # it is raised when a gradient is asked for
                error = found
                break
        program.backward = f"{type(error).__name__}: {error}"
        program.requires = [True] * program.out_avals
        program.wanted = list(range(program.first + len(self.tensors)))

    def _backward(self, program, further) -> None:
        symbols, shapes = self.symbols_of.open(further)
        floats = [n for n, (_, d) in enumerate(program.results) if d.category >= FLOATING]
        if not floats:
            program.requires = [False] * len(program.results)
            return

        def backward_of(chosen: list[int]) -> tuple:
            """The derivative of some results, and which inputs it gives gradients of."""
            wanted: list[int] = []

            def backward(*arrays):
                first = len(arrays) - len(chosen)
                symbols.begin_trace()
                with enable_grad():
                    out, _, _, _, _, sources = self._call(symbols, arrays[:first], True)
                    results = [x for x, place in zip(out, program.outputs, strict=True)
                               if place[0] == "tensor"]  # fmt: skip
                    program.requires = [x.requires_grad for x in results]
                    given = zip(chosen, arrays[first:], strict=True)
                    pairs = [(results[n], a) for n, a in given if results[n].requires_grad]
                    asked = [t for t in sources if t is not None]
                    grads = [None] * len(asked)
                    if pairs and asked:
                        given = [dispatch.wrap(from_array(a, t.device)) for t, a in pairs]
                        outputs = [t for t, _ in pairs]
                        grads = autograd_grad(outputs, asked, given, allow_unused=True)
                at = [n for n, t in enumerate(sources) if t is not None]
                wanted[:] = [n for n, g in zip(at, grads, strict=True) if g is not None]
                return [array_of(dispatch.value_of(g)) for g in grads if g is not None]

            extra = [symbols.struct(*program.results[n]) for n in chosen]
            return self._lowered(backward, symbols, shapes, extra), wanted

        lowered, program.wanted = backward_of(floats)
        program.floats = floats
        if program.wanted:
            program.backward = lowered
            tracked = [n for n in floats if program.requires[n]]
            if len(tracked) > 1:
                program.alone = {n: backward_of([n]) for n in tracked}
        program.backward_conditions = [
            c for c in symbols.conditions if not any(c.says(d) for d in program.conditions)
        ]


def _inside_an_op(error) -> bool:
    """Whether an op raised it: it has met an open size that it needs as a number."""
    trace, name = error.__traceback__, ""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        name = file if file.startswith(PACKAGE) else name
        trace = trace.tb_next
    return name.startswith(_OPS)


def _texts(shape) -> tuple:
    """A shape with its open sizes as texts."""
    return tuple([n if isinstance(n, int) else str(n) for n in shape])


def _place(x, state, inputs, count) -> tuple:
    """Where a leaf of the result comes from."""
    if isinstance(x, Tensor):
        for n, t in enumerate(inputs):
            if t is x:
                return "input", n
        for name, t in state.items():
            if t is x:
                return "state", name
        return "tensor", count
    if isinstance(x, SymInt):
        return "size", str(x)
    if isinstance(x, _PLAIN):
        return "constant", x
    raise UserError(
        f"It looks like one of the outputs with type `{type(x)}` is not supported or "
        "pytree-flattenable. Exported graphs outputs can only contain the following supported "
        "types: tensors, numbers, texts, None and containers of them."
    )


def lowered_for_all(lowered) -> tuple:
    """(Exported, why not for all platforms or None): for all that it can be lowered for."""
    if isinstance(lowered, Loaded):
        return lowered.exported, None
    try:
        return lowered.lower(PLATFORMS), None
    except Exception as error:  # one of the platforms has no such operation
        return lowered.on(jax.default_backend()), str(error).split("\n")[0]


def platform_of(arrays) -> str:
    """The platform on which a program with these arrays runs."""
    for a in arrays:
        if isinstance(a, jax.Array) and not isinstance(a, jax.core.Tracer):
            platform = next(iter(a.devices())).platform
            return {"gpu": "cuda"}.get(platform, platform)
    return jax.export.default_export_platform()
