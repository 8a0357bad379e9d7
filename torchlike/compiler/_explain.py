"""explain(): what compile() made of a function, in words and numbers."""

from __future__ import annotations

import jax

from torchlike._engine.compat import in_program_scope
from torchlike._engine.inference import abstract
from torchlike.compiler._compile import Compiled
from torchlike.compiler._values import Argument, Known, Through, ValueOf

_CALLS = 4  # at most: the first is watched, the second recorded, and state may be new in them


class Explanation:
    """What ``explain`` found (all of it also in ``str()``).

    programs    how many recordings can be replayed
    breaks      (reason, user's line) of what keeps the Python running, with how often
    reasons     what had changed each time that a new recording was made
    guards      the paths of what is compared before a replay
    state       the names of the tensors that the function reads besides its arguments
    changes     the names of those that it changes
    donated     bytes of arrays whose memory the program takes over
    flops       floating point operations of one run, by XLA's count
    memory      bytes that one run needs at its peak, by XLA's analysis
    """

    def __init__(self, compiled: Compiled):
        self.name = compiled.name
        self.programs = self.graph_count = len(compiled.replays)
        self.breaks = [(*why, count) for why, count in compiled.breaks.items()]
        for why in (compiled.plain, compiled.full):
            if why is not None and not any(b[:2] == why for b in self.breaks):
                self.breaks.append((*why, 1))
        self.break_reasons = [b[0] for b in self.breaks]
        self.graph_break_count = len(self.breaks)
        self.reasons = list(compiled.reasons)
        self.guards: list[str] = []
        self.state: list[str] = []
        self.changes: list[str] = []
        self.donated = 0
        self.ops = self.op_count = 0
        self.flops = self.memory = None
        if compiled.replays:
            self._look(compiled.replays[0])

    def _look(self, replay) -> None:
        guards = replay.guards
        self.guards = [part.name(key) for part in guards.parts for key in part.keys]
        names = replay.paths
        self.state = [_name(s.tensor, names) for s in replay.sources if s.__class__ is ValueOf
                      and s.tensor.__class__ is not Argument]  # fmt: skip
        self.changes = [_name(t, names) for t, *_ in replay.changes]
        self.changes += [f"{_name(t, names)}.grad" for t, _ in replay.grads]
        composite = replay.composite
        self.ops = self.op_count = composite.node.depth
        places = () if composite.op.donates is None else composite.op.donates(())
        inputs = [None] * composite.node.externals
        for call in composite.node.path():
            for ref, a in zip(call.refs, call.in_avals, strict=True):
                if ref.__class__ is int and ref < 0:
                    inputs[~ref] = a
        self.donated = sum(inputs[p].nbytes for p in places)
        numbers = [jax.ShapeDtypeStruct((), "float64" if k is float else "int64")
                   for k, _ in composite.noted]  # fmt: skip

        def program(*given):
            return composite.op.fn(list(given))

        lowered = in_program_scope(
            lambda: jax.jit(program, donate_argnums=places).lower(
                *[abstract(a) for a in inputs], *numbers
            )
        )
        executable = lowered.compile()
        costs = executable.cost_analysis() or {}
        costs = costs[0] if isinstance(costs, list) else costs
        self.flops = costs.get("flops")
        memory = executable.memory_analysis()
        if memory is not None:
            self.memory = (
                memory.argument_size_in_bytes + memory.output_size_in_bytes
                + memory.temp_size_in_bytes - memory.alias_size_in_bytes
            )  # fmt: skip

    def __str__(self):
        lines = [f"{self.name}: {self.programs} program{'s' * (self.programs != 1)}"]
        for why, line, count in self.breaks:
            where = f" at {line}" if line else ""
            lines.append(f"  runs its Python: {why}{where} ({count}x)")
        lines += [f"  recorded again: {why}" for why in self.reasons]
        if self.programs:
            lines += [
                f"  {self.ops} ops, {_count(self.flops)}FLOP, peak memory {_count(self.memory)}B, "
                f"{_count(self.donated)}B donated",
                f"  reads {len(self.state)} tensors: {_some(self.state)}",
                f"  changes {len(self.changes)}: {_some(self.changes)}",
                f"  guards on {len(self.guards)} entries: {_some(self.guards)}",
            ]
        return "\n".join(lines)

    __repr__ = __str__


def _name(tensor, names) -> str:
    if tensor.__class__ is Known:
        return names.get(id(tensor.tensor), "a tensor")
    if tensor.__class__ is Through:
        return f"{_name(tensor.owner, names)}.{tensor.name.strip('_')}"
    return f"argument tensor {tensor.place}"


def _some(names: list[str], most: int = 6) -> str:
    shown = ", ".join(names[:most])
    return f"{shown}, ..." if len(names) > most else shown


def _count(x) -> str:
    if x is None:
        return "? "
    for unit in ("", "k", "M", "G", "T"):
        if abs(x) < 1000:
            return f"{x:.3g} {unit}"
        x /= 1000
    return f"{x:.3g} P"


def explain(function, *args, **kwargs):
    """Call a function as compiled code until it is replayed, and tell what became of it.

    It runs up to four times, with all that it does: give it a copy of what must not change. Without
    arguments it returns a function that takes them, as ``torch._dynamo.explain`` does.
    """
    compiled = getattr(function, "compiled", None) or getattr(function, "_call", None)
    if not isinstance(compiled, Compiled):
        compiled = Compiled(function)

    def run(*args, **kwargs):
        for _ in range(_CALLS):
            compiled(*args, **kwargs)
            if compiled.plain is not None or (compiled.replays and compiled.replays[0].runs):
                break
        return Explanation(compiled)

    if not args and not kwargs:
        code = getattr(function, "__code__", None)
        if code is None or code.co_argcount:
            return run
    return run(*args, **kwargs)
