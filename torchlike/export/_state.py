"""The tensors of a module that a program takes as inputs, by name, and modules that hold them."""

from __future__ import annotations

from torchlike._tensor.tensor import Tensor
from torchlike.export.graph_signature import InputKind
from torchlike.nn.modules.module import Module
from torchlike.nn.parameter import Parameter


class State:
    """Parameters, buffers and tensors among the attributes of a module.

    tensors   {name: tensor}, each tensor once
    targets   {name: (InputKind, whether it is in the state_dict, None for parameters)}
    aliases   {further name of a tensor: its first name}
    order     all these names, in the module's order
    """

    def __init__(self, module: Module):
        self.tensors: dict[str, Tensor] = {}
        self.targets: dict = {}
        self.aliases: dict[str, str] = {}
        self.order: list[str] = []
        seen: dict[int, str] = {}
        rows = []
        for path, part in module.named_modules(remove_duplicate=False):
            rows += [(path, k, t, InputKind.PARAMETER, None) for k, t in part._parameters.items()]
        for path, part in module.named_modules(remove_duplicate=False):
            kept = part._non_persistent_buffers_set
            rows += [
                (path, k, t, InputKind.BUFFER, k not in kept) for k, t in part._buffers.items()
            ]
        for path, part in module.named_modules(remove_duplicate=False):
            rows += [
                (path, k, t, InputKind.CONSTANT_TENSOR, None)
                for k, t in vars(part).items() if isinstance(t, Tensor)
            ]  # fmt: skip
        for path, key, t, kind, persistent in rows:
            if t is None:
                continue
            name = f"{path}.{key}" if path else key
            self.order.append(name)
            if id(t) in seen:
                self.aliases[name] = seen[id(t)]
                continue
            seen[id(t)] = name
            self.tensors[name] = t
            self.targets[name] = kind, persistent

    @classmethod
    def of(cls, tensors: dict, targets: dict, aliases: dict, order: list) -> State:
        """The state with these parts, as a file brings them."""
        self = object.__new__(cls)
        self.tensors, self.targets, self.aliases, self.order = tensors, targets, aliases, order
        return self

    def names(self, *kinds) -> list[str]:
        """The names of the tensors of these kinds."""
        return [n for n, (kind, _) in self.targets.items() if kind in kinds]

    def state_dict(self) -> dict:
        """Parameters and persistent buffers, tied ones under each of their names."""
        out = {}
        for name in self.order:
            source = self.aliases.get(name, name)
            t, (kind, persistent) = self.tensors[source], self.targets[source]
            if kind is InputKind.PARAMETER or (kind is InputKind.BUFFER and persistent):
                out[name] = t
        return out

    def put_into(self, root: Module) -> None:
        """Let a module hold these tensors under their names, in modules below it."""
        for name in self.order:
            source = self.aliases.get(name, name)
            t = self.tensors[source]
            kind, persistent = self.targets[source]
            *path, key = name.split(".")
            owner = root
            for part in path:
                if part not in owner._modules:
                    owner.add_module(part, Module())
                owner = owner._modules[part]
            if kind is InputKind.PARAMETER:
                owner.register_parameter(key, t)
            else:
                owner.register_buffer(key, t, persistent=bool(persistent))


class Held:
    """Where a module holds the tensors of a program: each call looks, for they may change."""

    def __init__(self, root: Module, names: list[str]):
        self.places = []
        for name in names:
            path, _, key = name.rpartition(".")
            owner = root.get_submodule(path)
            store = owner._parameters if key in owner._parameters else owner._buffers
            self.places.append((store, key))

    def tensors(self) -> list[Tensor]:
        """The tensors now."""
        return [store[key] for store, key in self.places]


_ = Parameter
