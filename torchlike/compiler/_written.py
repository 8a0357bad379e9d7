"""Guards written out as a function of their own: one look at each, without a loop around it.

The look in ``Guards.hold`` maps functions in C over lists. Where a recording is replayed often, a
function that names each object and what it has to be takes a third less time: a step of a small
network is guarded in 6 us instead of 9. To write and compile it takes some 5 us for each look.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import chain
from keyword import iskeyword
from operator import is_

from torchlike._tensor.views import turned
from torchlike.compiler._parts import Slots

# A function of more looks than this takes Python longer to compile than some hundred calls gain.
MOST = 4000


class _Writer:
    """Conditions in Python, and the objects that they name."""

    def __init__(self):
        self.names: dict = {}
        self.conditions: list[str] = []
        self._known: dict[int, str] = {}

    def name(self, x) -> str:
        """How the function calls an object."""
        if x is None or x is True or x is False:
            return repr(x)
        name = self._known.get(id(x))
        if name is None:
            name = self._known[id(x)] = f"x{len(self._known)}"
            self.names[name] = x
        return name

    def entry(self, part, key) -> str:
        """How it reads an entry or attribute of a part's owner."""
        if isinstance(part, Slots):
            owner = self.name(part.owner)
            return f"{owner}.{key}" if _is_name(key) else f"getattr({owner}, {key!r})"
        return self.item(part.owner, key)

    def item(self, owner, key) -> str:
        """How it reads an entry of a container."""
        return f"{self.name(owner)}[{repr(key) if key.__class__ is str else self.name(key)}]"


def _is_name(key: str) -> bool:
    return key.isidentifier() and not iskeyword(key)


def _write_whole(writer: _Writer, guards) -> bool:
    """Write the look at dicts that are read whole; False where a user's class may run code."""
    if not all(type(owner) in (dict, OrderedDict) for owner in guards.wholes):
        return False
    name, add = writer.name, writer.conditions.append
    for owners, keys in ((guards.by_text, guards.texts), (guards.by_object, guards.keys)):
        if owners:  # their order, too
            found, wanted = f"{name(chain.from_iterable)}({name(owners)})", name(keys)
            same = f"all(map({name(is_)}, {found}, {wanted}))"
            add(f"[*{found}] == {wanted}" if owners is guards.by_text else same)
    values = iter(guards.whole_values)
    for owner in guards.wholes:
        for key, value in zip(owner, values):
            add(f"{writer.item(owner, key)} is {name(value)}")
    return True


def written(guards):
    """A function without arguments that says what ``guards.hold`` does; None if it would be long.

    Like that one it may raise KeyError, AttributeError or ValueError where something is gone.
    """
    if len(guards.picked) + len(guards.sized) > MOST:
        return None
    writer = _Writer()
    name, add = writer.name, writer.conditions.append
    add(f"{name(turned)}.count == {guards.turned}")
    # Short looks at many objects are still quickest in C.
    sized = {id(x): (x, n) for x, n in zip(guards.sized, guards.sizes, strict=True)}
    owners, sizes = map(list, zip(*sized.values())) if sized else ([], [])
    add(f"[*map(len, {name(owners)})] == {name(sizes)}")
    add(f"[*map(type, {name(guards.instances)})] == {name(guards.kinds)}")
    for instance, own in zip(guards.instances, guards.attributes, strict=True):
        add(f"{name(instance)}.__dict__ is {name(own)}")
    values = iter(guards.picked)
    for part in guards.partly:
        for key, value in zip(part.keys, values):
            add(f"{writer.entry(part, key)} is {name(value)}")
        if len(part.keys) == 1:  # its getter gives it twice, to give a tuple
            next(values)
    for tensor, empty in zip(guards.grads, guards.no_grad, strict=True):
        add(f"{name(tensor)}._grad is {'' if empty else 'not '}None")
    for look in guards.looks:
        if look != guards.is_whole or not _write_whole(writer, guards):
            add(f"{name(look)}()")
    looks = "\n        and ".join(dict.fromkeys(writer.conditions))
    exec(compile(f"def hold():\n    return ({looks})\n", "<guards>", "exec"), writer.names)
    return writer.names["hold"]
