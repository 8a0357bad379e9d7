"""Replays: a recorded call done again without its Python, guarded by what it has read."""

from __future__ import annotations

from torchlike._core.errors import user_line
from torchlike._engine.flush import flush
from torchlike._engine.prefix import record
from torchlike._engine.stats import stats
from torchlike._engine.values import Epoch, Value, epoch_of
from torchlike._tensor.tensor import Tensor
from torchlike.compiler._values import Known, Moment, Result, ValueOf


class Replay:
    """What has to be done in place of a call.

    sources   per operand of the composite: a reference, or ("draw", n) for a noted draw
    actions   what Python does first: draws, numbers to read, schedules to step
    changes   (tensor, value or None, versions, silent ones) of tensors or their storages
    grads     (tensor, its new gradient or None)
    entries   (container, key, new tensor)
    opened    None, or what the new tape node is made of
    """

    def __init__(self, compiled, flat, composite, sources):
        self.compiled, self.composite, self.sources = compiled, composite, sources
        self.spec, self.alias = flat.spec, None
        self.states = flat.states()
        self.changes, self.grads, self.entries = [], [], []
        self.early: list = []
        self.actions: list = []
        self.opened = self.tree = self.guards = None
        self.modules, self.paths = [], {}
        self.surround = None
        self.runs = 0

    def settle(self) -> None:
        """Sort what was found into the lists that a run goes through."""
        self.direct, self.indirect, self.drawn = [], [], []
        for i, source in enumerate(self.sources):
            if source.__class__ is tuple:
                self.drawn.append((i, source[1]))
            elif (
                source.__class__ is ValueOf
                and source.tensor.__class__ is Known
                and source.tensor.place is None
                and source.tensor.tensor._storage is None
            ):
                self.direct.append((i, source.tensor.tensor))
            else:
                self.indirect.append((i, source))
        self.quick, self.slow = [], []
        for tensor, value, versions, silent in self.changes:
            if (
                tensor.__class__ is Known
                and tensor.place is None
                and value.__class__ is Result
                and tensor.tensor._storage is None
            ):
                self.quick.append((tensor.tensor, value.place, versions))
            else:
                self.slow.append((tensor, value, versions, silent))

    def hold(self) -> bool:
        """Whether all that the recording has read is as it was."""
        return self.guards.hold() and self._groups() is None

    def failed(self) -> str | None:
        """What is not as it was; None if only equal things took each other's place."""
        return self.guards.failed() or self._groups()

    def _groups(self) -> str | None:
        for action in self.actions:
            if action[0] == "group":
                _, optimizer, group, flags = action
                if optimizer.flags(group) != flags:
                    return f"an option of {type(optimizer).__name__} changed"
                if any(isinstance(x, Tensor) for x in optimizer.scalars(group)):
                    return f"a number of {type(optimizer).__name__} is a tensor now"
        return None

    def run(self, arguments):
        """The call's result; everything else that it does is done too."""
        moment = Moment(arguments)
        operands = [None] * len(self.sources)
        drawn: dict = {}
        numbers: list = []
        for n, action in enumerate(self.actions):
            kind = action[0]
            if kind == "draw":
                drawn[n] = Value(action[1].aval, action[2]())
            elif kind == "numbers":
                numbers += action[1]()
            elif kind == "call":
                action[1](action[2], *action[3], **action[4])
        for i, t in self.direct:
            operands[i] = t._value
        for i, source in self.indirect:
            operands[i] = source.get(moment)
        for i, n in self.drawn:
            operands[i] = drawn[n]
        early = moment.early
        for reference in self.early:
            early[reference] = reference.reference.get(moment)
        composite = self.composite
        results = ()
        if composite.outs or composite.op.checks:
            results = record(composite.op, (), [*operands, *numbers])[0]
        moment.results = results
        if self.opened is not None:
            self._open(moment, operands, numbers)
        operands = None
        self._write(moment, results)
        if moment.node is not None:
            moment.node.begin()
        out = self.tree(moment)
        self.runs += 1
        stats.replays += 1
        if self.opened is None and results:
            moment = results = early = None
            flush(None, "compiled call", self.compiled.place)
        return out

    def _open(self, moment, operands, numbers) -> None:
        opened = self.opened
        edges = []
        for target in self.targets:
            t = target.find(moment)
            edges.append(t if t._node is None else (t._node, t._index))
        moment.node = opened.make(edges, operands, numbers, moment.results)

    def _write(self, moment, results) -> None:
        if not (self.changes or self.grads or self.entries):
            return
        ended = Epoch()
        ended.line = user_line()
        slow = [(t.find(moment), v and v.get(moment), n, s) for t, v, n, s in self.slow]
        for t, place, versions in self.quick:
            old = t._value
            if old.epoch is None:
                old.epoch = ended
            else:
                old.epoch.line = ended.line
            t._value = results[place]
            t._version_count += versions
        for t, value, versions, silent in slow:
            storage = t._storage
            if storage is None:
                if value is not None:
                    epoch_of(t._value).line = ended.line
                    t._value = value
                t._version_count += versions
                continue
            if value is not None:
                if silent:
                    value.epoch = epoch_of(storage.value)
                else:
                    epoch_of(storage.value).line = ended.line
                storage.value = value
            storage.version += versions
            storage.silent += silent
            if not t._chain and value is not None:
                t._value, t._seen = value, storage.version
        for t, gradient in self.grads:
            t.find(moment)._grad = None if gradient is None else gradient.find(moment)
        for owner, key, new in self.entries:
            owner[key] = new.find(moment)
