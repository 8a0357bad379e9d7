"""Replays: a recorded call done again without its Python, guarded by what it has read."""

from __future__ import annotations

from operator import is_

from torchlike._core.errors import user_line
from torchlike._engine.flush import flush
from torchlike._engine.prefix import record
from torchlike._engine.programs import replaced_inputs
from torchlike._engine.prompt import Prompt
from torchlike._engine.stats import stats
from torchlike._engine.values import Epoch, Value, epoch_of
from torchlike._tensor.creation import on_device
from torchlike._tensor.dispatch import value_of
from torchlike._tensor.tensor import Tensor
from torchlike.compiler._direct import Direct
from torchlike.compiler._opening import hang
from torchlike.compiler._values import Argument, Known, Moment, Passed, Result, ValueOf


def _objects(group: dict) -> list:
    """What a group holds, to be compared by identity; nothing if that would not tell all."""
    if any(x.__class__ is list and name != "params" for name, x in group.items()):
        return []
    return [*group.values()]


class Replay:
    """What has to be done in place of a call.

    sources   per operand of the composite: a reference, or ("draw", n) for a noted draw
    actions   what Python does first: draws, numbers to read, schedules to step
    changes   (tensor, value or None, versions, silent ones) of tensors or their storages
    grads     (tensor, its new gradient or None)
    entries   (container, key, new tensor)
    homes     (n, key, new tensor) of the n-th tensor in lists and dicts among the arguments
    filled    (n, function of a moment): what the n-th list, dict or set among the arguments holds
    moved     (argument, place) of those that are results of the new tape node from then on
    fragile   references that lead elsewhere once the call has written
    opened    None, or what the new tape node is made of
    targets   where that leads
    usual     None, or what tells the arguments of most calls in one look
    used      the identities that the gradients had which are read or added to
    """

    def __init__(self, compiled, flat, states, composite, sources):
        self.compiled, self.composite, self.sources = compiled, composite, sources
        self.spec, self.alias, self.states = flat.spec, None, states
        self.changes, self.grads, self.entries = [], [], []
        self.moved: list = []
        self.homes: list = []
        self.filled: list = []
        self.early: list = []
        self.fragile: list = []
        self.repeated: set[int] = set()
        self.actions: list = []
        self.opened = self.tree = self.guards = None
        self.targets: list = []
        self.used: list = []
        self.paths: dict = {}
        self.surround = self.no_grad = self.usual = None
        self.runs = 0

    def settle(self) -> None:
        """Sort what was found into the lists that a run goes through."""
        # Whether the numbers are all of optimizers' groups, and the same while those are.
        kinds = [action[0] for action in self.actions]
        self.steady = not {"draw", "call"} & {*kinds} and (
            kinds.count("group") == kinds.count("numbers")
        )
        self.numbers = None
        self.groups = [(a[2], _objects(a[2])) for a in self.actions if a[0] == "group"]
        self.direct, self.given, self.fast, self.careful = [], [], None, True
        for i, source in enumerate(self.sources):
            if source.__class__ is tuple:
                self.given.append((i, source[1], None))
            elif (
                source.__class__ is ValueOf
                and source.tensor.__class__ is Known
                and source.tensor.place is None
                and not source.tensor.tensor._chain
            ):
                self.direct.append((i, source.tensor.tensor))
            elif source.__class__ is ValueOf and source.tensor.__class__ is Argument:
                self.given.append((i, None, Passed(source.tensor.place)))
            else:
                self.given.append((i, None, source))
        self.quick, self.slow = [], []
        for tensor, value, versions, silent in self.changes:
            if (
                tensor.__class__ is Known
                and tensor.place is None
                and value.__class__ is Result
                and not tensor.tensor._chain
                and not silent
            ):
                self.quick.append((tensor.tensor, value.place, versions))
            else:
                self.slow.append((tensor, value, versions, silent))

    def remember(self) -> None:
        """Number the tensors, memories and containers that last: an argument may be one of them."""
        guards = self.guards
        lasting = self.lasting = {id(t): n for n, t in enumerate(guards.tensors)}
        for n, t in enumerate(guards.tensors):
            if t._storage is not None:
                lasting[id(t._storage)] = ~n
        known = [*(part.owner for part in guards.parts), *guards.instances]
        lasting.update({id(x): (n,) for n, x in enumerate(known)})

    def refresh(self) -> None:
        """Compare with the present state from here on: it is as good as the old one."""
        self.guards.refresh()
        self.settle()
        self.remember()

    def hold(self) -> bool:
        """Whether all that the recording has read is as it was."""
        if not self.guards.hold():
            return False
        # Most often the optimizers' groups hold the very objects that they held last time.
        for group, values in self.groups:
            if len(group) != len(values) or not all(map(is_, group.values(), values)):
                break
        else:
            return True
        self.numbers = None
        if self._groups() is not None:
            return False
        self.groups = [(group, _objects(group)) for group, _ in self.groups]
        return True

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

    def run(self, flat):
        """The call's result; everything else that it does is done too."""
        moment = Moment(flat)
        drawn = moment.drawn
        numbers = self.numbers
        if numbers is None:
            numbers = self._act(drawn)
        given = [(i, drawn[n] if n is not None else source.get(moment))
                 for i, n, source in self.given]  # fmt: skip
        early = moment.early
        for reference in self.early:
            early[reference] = reference.reference.get(moment)
        for reference in self.fragile:
            moment.made[reference] = reference.find(moment)
        self.runs += 1
        stats.replays += 1
        if self.fast is not None:
            results = self.fast.run(moment, given, numbers)
            if results is not None:
                if self.careful:
                    self._write(moment, results, (), self.fast.other_grads)
                return self.tree(moment)
        operands = [None] * len(self.sources)
        for i, t in self.direct:
            operands[i] = value_of(t)
        for i, value in given:
            operands[i] = value
        composite, results, call = self.composite, (), None
        if composite.outs or composite.op.checks:
            if not operands:
                on_device(composite.node.device)
            results, call = record(composite.op, (), [*operands, *numbers])
        moment.results = results
        if self.opened is not None:
            self._open(moment, operands, numbers)
        operands = given = None
        self._write(moment, results, self.quick, self.grads)
        if moment.node is not None:
            moment.node.begin()
        out = self.tree(moment)
        if self.opened is None and results:
            moment = results = early = None
            flush(None, "compiled call", self.compiled.place)
            self.shorten(call)
        return out

    def _act(self, drawn: dict) -> list:
        """Do what Python has to do first; the numbers that it reads."""
        numbers: list = []
        for n, action in enumerate(self.actions):
            kind = action[0]
            if kind == "draw":
                drawn[n] = Value(action[1].aval, action[2]())
            elif kind == "numbers":
                numbers += action[1]()
            elif kind == "call":
                action[1](action[2], *action[3], **action[4])
        if self.steady:
            self.numbers = numbers
        return numbers

    def shorten(self, call) -> None:
        """Let the next runs call the program that this one has found, without recording."""
        programs = call.programs
        if self.fast is None and programs and call.depth == 1:
            program = next(reversed(programs.values()))
            known = len(program.live) == len(self.composite.outs)
            if known and not program.forwarded and not isinstance(program, Prompt):
                self.fast = Direct(self, program)
                self.careful = bool(
                    self.slow or self.fast.other_grads or self.entries or self.homes or self.filled
                )

    def _open(self, moment, operands, numbers) -> None:
        opened = self.opened
        edges = []
        for target in self.targets:
            t = target.find(moment)
            edges.append(t if t._node is None else (t._node, t._index))
        moment.node = opened.make(edges, operands, numbers, moment.results)

    def _write(self, moment, results, quick, grads) -> None:
        if not (
            quick or self.slow or grads or self.entries or self.homes or self.filled or self.moved
        ):
            return
        ended = Epoch()
        ended.line = user_line()
        slow = [(t.find(moment), v and v.get(moment), n, s) for t, v, n, s in self.slow]
        for t, place, versions in quick:
            storage = t._storage
            old = t._value if storage is None else storage.value
            if old.epoch is None:
                old.epoch = ended
            else:
                old.epoch.line = ended.line
            t._value = results[place]
            if storage is None:
                t._version_count += versions
            else:
                storage.value = t._value
                storage.version += versions
                t._seen = storage.version
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
        for reference, place in self.moved:
            t = reference.find(moment)
            hang(t, moment.node, place)
            t._requires_grad = False
        for t, gradient in grads:
            t.find(moment)._grad = None if gradient is None else gradient.find(moment)
        for owner, key, new in self.entries:
            owner[key] = new.find(moment)
        for n, key, new in self.homes:
            moment.homes[n][1][key] = new.find(moment)
        for n, make in self.filled:
            refill(moment.owners[n], make(moment))


def _container(owner):
    """What an argument keeps its parts in; None if that runs code of the user's."""
    if owner.__class__ in (list, dict, set):
        return owner
    return None if isinstance(owner, list | tuple | dict | frozenset) else vars(owner)


def contents(owner):
    """A copy of what a list, dict, set or object among the arguments holds; None of another."""
    container = _container(owner)
    return None if container is None else container.copy()


def refill(owner, held) -> None:
    """Let it hold what another one does."""
    container = _container(owner)
    if container.__class__ is list:
        container[:] = held
    elif container is not None:
        container.clear()
        container.update(held)


def owners_of(scheduler, owners: list) -> None:
    """Add the dicts that a schedule's step reads and changes."""
    own = vars(scheduler)
    owners.append(own)
    for inner in own.get("_schedulers", ()):
        owners_of(inner, owners)
    optimizer = own.get("optimizer")
    for group in () if optimizer is None else optimizer.param_groups:
        owners.append(group)


def donations(segment, outs, is_open: bool):
    """(places of operands that results replace, the slots with those results last)."""
    if is_open:
        return (), outs
    replaced = sorted(replaced_inputs(segment.node.path()).items())
    wanted = set(outs)
    replaced = {d: slot for d, slot in replaced if slot in wanted}
    last = list(replaced.values())
    return tuple(replaced), [*(s for s in outs if s not in set(last)), *last]
