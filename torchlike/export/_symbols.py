"""The open sizes of a program while it is traced: what is known of them, and what gets assumed."""

from __future__ import annotations

import contextlib
import gc
import itertools
import re
import weakref

import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np
from jax import export as jax_export

from torchlike._core import devices, errors
from torchlike._core import dtypes as dt
from torchlike._core.errors import UserError
from torchlike._core.symbolic import SymFloat, SymInt, symint, tracing
from torchlike._engine.prefix import local
from torchlike._engine.values import from_array
from torchlike._tensor import dispatch
from torchlike._tensor.modes import no_grad
from torchlike.export._expressions import evaluate, names

_Inconclusive = jax.extend.core.InconclusiveDimensionOperation


class Refine(BaseException):
    """Ends a trace that is to be begun again with less left open: ``static`` or ``same`` names, or
    a condition.

    No ``Exception``: the traced code must not catch it.
    """

    def __init__(self, static=(), same=None, condition=None):
        self.static, self.same, self.condition = static, same, condition

    def __str__(self):
        if self.condition is not None:
            return f"assuming {self.condition.shown({})} at {self.condition.line}"
        what = f"{self.same} are one" if self.same else f"{', '.join(self.static)} are fixed"
        return f"{what} ({self.__cause__})" if self.__cause__ else what


class Open:
    """One open size: its name, the kind of request, an example, its bounds, where it stands.

    kind is "named" (a Dim), "dynamic" or "auto"; place is such as ``x.size()[0]``.
    """

    def __init__(self, name, kind, example, low, high, place):
        self.name, self.kind, self.example = name, kind, example
        self.low, self.high, self.place = low, high, place

    @property
    def shown(self) -> str:
        """The place as PyTorch writes it: ``L['x'].size()[0]``."""
        name = re.match(r"\w*", self.place)[0]
        return f"L['{name}']{self.place[len(name) :]}"


class Condition:
    """What a program assumes of its sizes: ``left relation right``, one of == != >=, and the line.

    soft: holds for all sizes above 1, which PyTorch assumes without a word.
    """

    def __init__(self, left: str, relation: str, right: str, line: str | None, soft: bool = False):
        self.left, self.relation, self.right = left, relation, right
        self.line, self.soft = line, soft

    def holds(self, sizes: dict) -> bool:
        """Whether these sizes fulfil it."""
        a, b = evaluate(self.left, sizes), evaluate(self.right, sizes)
        return a == b if self.relation == "==" else a != b if self.relation == "!=" else a >= b

    def shown(self, places: dict) -> str:
        """The condition with the places in the inputs for the names, as PyTorch shows it."""
        left, right = (_replaced(t, places) for t in (self.left, self.right))
        return f"{left} {self.relation} {right}"

    def says(self, other: Condition) -> bool:
        """Whether another condition is the same."""
        mine, its = ((c.left, c.relation, c.right) for c in (self, other))
        return mine == its

    def as_list(self) -> list:
        """Its parts, for a file."""
        return [self.left, self.relation, self.right, self.line, self.soft]

    @property
    def names(self) -> frozenset:
        """The names of the sizes in it."""
        return names(self.left) | names(self.right)


def _replaced(text: str, places: dict) -> str:
    return re.sub(r"[A-Za-z_]\w*", lambda m: places.get(m[0], m[0]), text)


class Symbols:
    """The decisions of one trace (``torchlike._core.symbolic.tracing.scope`` while it runs).

    sizes       per name the expression of JAX
    conditions  what the traced code found true and what has to be true of other sizes, too
    noted       equalities of the example that were taken for inequalities, the last one last
    draws       the random numbers that each call draws, in order
    checks      (op, size, ndim, line) of each check of indices, flags their arrays
    """

    def __init__(self, opened: list[Open], assumed: list[Condition] = ()):
        self.opened = {o.name: o for o in opened}
        self.examples = {o.name: o.example for o in opened}
        constraints = []
        for o in opened:
            if o.low is not None and o.low > 2:
                constraints.append(f"{o.name} >= {o.low}")
            if o.high is not None:
                constraints.append(f"{o.name} <= {o.high}")
        constraints += [f"{c.left} >= {c.right}" for c in assumed]
        self.jax_scope = jax_export.SymbolicScope(constraints)
        self.sizes = {
            o.name: jax_export.symbolic_shape(o.name, scope=self.jax_scope)[0] for o in opened
        }
        self.assumed, self.conditions = list(assumed), []
        self._seen: set = set()
        self.noted: list = []
        self.inputs, self.draws = [], []
        self.checks: list = []
        self.flags: list = []
        self.overwritten: dict = {}
        self.last = None

    def struct(self, shape, dtype):
        """An abstract array of a shape with texts for its open sizes."""
        shape = [n if n.__class__ is int else evaluate(n, self.sizes) for n in shape]
        return jax.ShapeDtypeStruct(tuple(shape), dtype.numpy)

    def begin_trace(self) -> None:
        """Forget an earlier trace with these symbols."""
        self.conditions = list(self.assumed)
        self._seen = {(c.left, c.relation, c.right) for c in self.assumed}
        self.noted, self.draws, self.checks, self.flags = [], [], [], []

    # ---- for the engine ------------------------------------------------------------------------

    def shape(self, shape: tuple) -> tuple:
        """A shape of JAX with its open sizes as ours."""
        return tuple([n if n.__class__ is int else symint(n, self) for n in shape])

    def begin(self, op, statics, operands) -> None:
        """Note the call that is being traced: errors of JAX do not tell it."""
        self.last = op, statics, operands

    def array(self, x):
        """A number made of open sizes as a 0-d array."""
        return x.array if x.__class__ is SymFloat else jnp.asarray(x.expr, np.int64)

    def as_float(self, expr):
        """An expression as a 0-d float64."""
        return jnp.asarray(expr, np.int64).astype(np.float64)

    def begin_call(self) -> None:
        """Begin to note which tensors from outside are written to."""
        self.overwritten = {}

    def note_write(self, tensor) -> None:
        """Keep what a tensor holds that is no part of the trace so far: an array of this trace
        would be of no use after it."""
        base = tensor if tensor._base is None else tensor._base
        value = dispatch.value_of(base)
        if not value.is_traced() and id(base) not in self.overwritten:
            history = base._node, base._index, base._requires_grad
            self.overwritten[id(base)] = weakref.ref(base), value, history

    def put_back(self, beside=()) -> list:
        """Give tensors that outlive the call what they held; they, without those in ``beside``."""
        alive = [(ref(), value, history) for ref, value, history in self.overwritten.values()]
        alive = [x for x in alive if x[0] is not None and not any(x[0] is y for y in beside)]
        self.overwritten = {}
        with no_grad():
            for base, value, history in alive:
                dispatch.rebind(base, dispatch.wrap(value))
                base._node, base._index, base._requires_grad = history
        return [base for base, _, _ in alive]

    def check_put_back(self, own) -> None:
        """Raise if the call has written to tensors that are neither known to it nor among what it
        leaves, ``own``."""
        if not self.overwritten:
            return
        own = [x for x in own if isinstance(x, dispatch._Tensor)]
        own += [x._base for x in own if x._base is not None]
        if any(ref() is not None for ref, _, _ in self.overwritten.values()):
            gc.collect()  # what the call made itself may be part of a circle
        if self.put_back(own):
            raise errors.NotSupported(
                "an exported program that writes to a tensor which is neither an input nor the "
                "module's",
                "register it as a buffer",
            )

    def note_checks(self, op, reports) -> None:
        """Keep the flags of indices that may be out of range."""
        for flag, size, ndim in reports:
            self.flags.append(flag)
            self.checks.append([op.name, str(size), ndim, errors.user_line()])

    # ---- decisions -----------------------------------------------------------------------------

    def example(self, expr) -> int:
        """What an expression is in the example."""
        return expr if expr.__class__ is int else evaluate(str(expr), self.examples)

    def _sure(self, expr, sizes=None) -> bool | None:
        """Whether an expression is at least 0, if that is known of all sizes."""
        try:
            if sizes is not None:
                expr = evaluate(str(expr), sizes)
            return bool(expr >= 0)
        except _Inconclusive:
            return None

    def _beyond_one(self) -> dict:
        return {name: size + 1 for name, size in self.sizes.items()}

    def _assume(self, left, relation, right, soft=False) -> None:
        condition = Condition(str(left), relation, str(right), errors.user_line(), soft)
        key = condition.left, relation, condition.right
        if key in self._seen:
            return
        self._seen.add(key)
        self.conditions.append(condition)
        if relation == ">=":  # what follows is easier for JAX if it knows from the beginning
            raise Refine(condition=condition)

    def equal(self, a, b, asker: str) -> bool:
        """``a == b``: by what is known, else by the example.

        asker tells whose code compares: "user", "ours" or "layout".
        """
        difference = a - b
        if difference.__class__ is int:
            return difference == 0
        if self._sure(difference - 1) or self._sure(-difference - 1):
            return False
        if self.example(difference) == 0:
            if asker == "user":
                self._require_zero(difference)
            self.noted.append((difference, errors.user_line()))
        elif asker == "user":
            small = b.__class__ is int and b in (0, 1)
            self._assume(a, "!=", b, small)
        return False

    def is_one(self, a) -> bool:
        """Whether a size is 1, where a size of 1 would mean another program."""
        if not (self._sure(a - 2) or self._sure(-a)):
            self._assume(a, "!=", 1, True)
        return False

    def at_least(self, a, b, asker: str) -> bool:
        """``a >= b``: by what is known, else by the example, which is then assumed."""
        difference = a - b
        if difference.__class__ is int:
            return difference >= 0
        known = self._sure(difference)
        if known is not None:
            return known
        answer = self.example(difference) >= 0
        soft = self._sure(difference, self._beyond_one()) is answer  # true of all sizes but 1
        if soft and asker == "layout":
            return answer
        if answer:
            self._assume(a, ">=", b, soft)
        else:
            self._assume(b, ">=", a + 1, soft)
        return answer

    def number(self, expr):
        """The number of the example: the program then holds for it only."""
        self.require_static(names(str(expr)), f"int({expr})")
        raise AssertionError("a size was neither made static nor refused")

    def _require_zero(self, difference) -> None:
        """From here on the program holds only for sizes for which an expression is 0."""
        found = names(str(difference))
        self._unite(difference, found)
        self.require_static(found, f"{difference} == 0")

    def require_static(self, found, why: str, line: str | None = None) -> None:
        """End the trace: sizes have to be those of the example, if that is allowed."""
        asked = [self.opened[n] for n in sorted(found) if self.opened[n].kind != "auto"]
        if not asked:
            raise Refine(static=tuple(found))
        raise UserError(specialized(asked, why, line or errors.user_line()))

    def refuse(self, why: str):
        """Raise PyTorch's error for what needs a number."""
        raise UserError(f"{why} at {errors.user_line()}; an exported program has none")

    def give_way(self, error: BaseException) -> str | None:
        """After an error that open sizes may have caused: begin again with less open, if that is
        allowed; else the text for the case that they have caused it."""
        for difference, line in reversed(self.noted):
            found = names(str(difference))
            self._unite(difference, found, error)
            if all(self.opened[n].kind == "auto" for n in found):
                raise Refine(static=tuple(found)) from error
            asked = [self.opened[n] for n in sorted(found) if self.opened[n].kind != "auto"]
            return specialized(asked, f"{difference} == 0", line)
        pair = self._alike_in_last()
        if pair is not None:
            raise Refine(same=pair) from error
        found = self._names_in_last()
        auto = [n for n in found if self.opened[n].kind == "auto"]
        if auto:
            raise Refine(static=self._to_blame(auto, str(error))) from error
        if not found:
            return None
        asked = [self.opened[n] for n in sorted(found)]
        text = str(error).strip().split("\n")[0]
        return specialized(asked, f"{self.last[0].name}() ({text})", errors_line(error))

    def _unite(self, difference, found, error=None) -> None:
        """Begin again with one size for two, if an expression says no more than that."""
        if len(found) == 2:
            a, b = sorted(found)
            one, other = self.sizes[a], self.sizes[b]
            if difference in (one - other, other - one):
                raise Refine(same=(a, b)) from error

    def _names_in_last(self) -> set:
        return set().union(*[names(e) for e in self._expressions_in_last()])

    def _expressions_in_last(self) -> set:
        if self.last is None:
            return set()
        _, statics, operands = self.last
        return set().union(*[_expressions_in(x) for x in (statics, *operands)])

    def _alike_in_last(self) -> tuple | None:
        """Two open sizes of different operands that are equal in the example, if there are any:
        those in the same dimension first."""
        if self.last is None:
            return None
        shapes = [x.aval.shape for x in self.last[2] if hasattr(x, "aval")]
        found = []
        for (i, one), (j, other) in itertools.product(enumerate(shapes), repeat=2):
            for (d, m), (e, n) in itertools.product(enumerate(one), enumerate(other)):
                pair = str(m), str(n)
                if i >= j or pair[0] == pair[1] or not all(name in self.opened for name in pair):
                    continue
                if self.examples[pair[0]] == self.examples[pair[1]]:
                    found.append((d != e, pair))
        return min(found)[1] if found else None

    def _to_blame(self, auto: list, text: str) -> tuple:
        """Which of the open sizes to fix after an error: those that are a number in its text, as
        the channels of a kernel are; else all but batches; else all."""
        later = [n for n in auto if not self.opened[n].place.endswith(".size()[0]")]
        numbers = {int(n) for n in re.findall(r"\b\d+\b", text)}
        blamed: set = set()
        for e in self._expressions_in_last():
            if evaluate(e, self.examples) in numbers:
                blamed |= names(e) & set(later)
        return tuple(sorted(blamed or later or auto))

    # ---- random numbers ------------------------------------------------------------------------

    def drawn(self, generator, host):
        """A tensor of numbers that each call draws from the default generator."""
        from torchlike._tensor.generators import default_generator

        if generator is not default_generator:
            self.refuse("random numbers of a generator of one's own are drawn")
        draw = Draw()
        host(draw)
        return self._input(draw.call, devices.CPU)

    def drawn_numbers(self, generator):
        """The (seed, offset) that each call takes from the generator of a device."""
        from torchlike._tensor.generators import _generators

        if generator is not _generators.get(generator.device):
            self.refuse("random numbers of a generator of one's own are drawn")
        device = str(generator.device)
        return [self._input(["numbers", [device, k], None], generator.device) for k in (0, 1)]

    def _input(self, call, device):
        place = len(self.draws)
        self.draws.append(call)
        if place < len(self.inputs):
            array = self.inputs[place]
        else:  # the first trace only counts: any array will do
            array = jnp.zeros(*self.shape_of_draw(call))
        return dispatch.wrap(from_array(array, device))

    def shape_of_draw(self, call) -> tuple:
        """(shape, dtype) of a draw."""
        method, args, dtype = call
        if method == "numbers":
            return (), np.int64
        size = args[{"randint": 2}.get(method, 0)]
        size = (size,) if method == "randperm" else size
        shape = [evaluate(n, self.sizes) if isinstance(n, str) else n for n in size]
        return tuple(shape), dt.BY_NAME[dtype].numpy


class Draw:
    """A stream that draws nothing, but notes what was asked: [method, arguments, dtype].

    Open sizes are texts among the arguments, "@dtype" stands where the dtype was given.
    """

    _DTYPES = {"random": np.int64, "randint": np.int64, "randperm": np.int64}  # noqa: RUF012

    def __getattr__(self, method):
        def note(*args, **named):
            if named.pop("serial", False):
                raise errors.NotSupported(
                    "exporting a draw into memory that is not row-major", "draw into a new tensor"
                )
            dtype = named.pop("dtype", None)
            if named:
                raise errors.NotSupported(f"exporting {method}({', '.join(named)}=)")
            plain = []
            for x in args:
                if isinstance(x, (np.dtype, type)):
                    dtype = x
                    plain.append("@dtype")
                elif isinstance(x, (tuple, list)):
                    plain.append([_text(n) for n in x])
                else:
                    plain.append(_text(x))
            dtype = np.dtype(dtype or self._DTYPES.get(method, np.float32))
            self.call = [method, plain, dt.BY_NUMPY[dtype].name]
            return np.zeros((), dtype)

        return note


def _text(x):
    return str(x) if isinstance(x, SymInt) else x


def _expressions_in(x) -> set:
    if isinstance(x, SymInt):
        return {str(x.expr)}
    if isinstance(x, (tuple, list)):
        return set().union(*[_expressions_in(y) for y in x])
    if hasattr(x, "aval"):
        return _expressions_in(x.aval.shape)
    return set()


def errors_line(error) -> str:
    """The line of the user's code in which an error was raised."""
    line, trace = "?", error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if not name.startswith(errors.PACKAGE) and "site-packages" not in name:
            line = f"{name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return line


def specialized(asked: list[Open], why: str, line: str) -> str:
    """PyTorch's text for sizes that were asked to be open and cannot be."""
    shown = [o.name if o.kind == "named" else o.shown for o in asked]
    lines = [f"Constraints violated ({', '.join(shown)})!"]
    for o, name in zip(asked, shown, strict=True):
        lines.append(
            f"  - You marked {name} as dynamic but your code specialized it to be a constant "
            f"({o.example}): {why} at {line}. If you're using Dim.DYNAMIC, replace it with either "
            "Dim.STATIC or Dim.AUTO."
        )
    fixes = [f"  {o.name} = {o.example}" for o in asked if o.kind == "named"]
    if fixes:
        lines += ["Suggested fixes:", *fixes]
    return "\n".join(lines)


@contextlib.contextmanager
def installed(symbols: Symbols):
    """A block in which the engine asks these symbols."""
    before, tracing.scope = tracing.scope, symbols
    segment = local.segment
    try:
        yield
    finally:
        tracing.scope = before
        local.segment.rollback()
        if local.segment is not segment and not local.segment.node.depth:
            local.segment.arrays.clear()
