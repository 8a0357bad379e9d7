"""Parametrizations: tensors of a module that are computed from other ones at every look."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import contextmanager

from torchlike._tensor.modes import no_grad
from torchlike._tensor.tensor import Tensor
from torchlike.nn.modules.container import ModuleDict, ModuleList
from torchlike.nn.modules.module import Module
from torchlike.nn.parameter import Parameter

__all__ = [
    "ParametrizationList",
    "cached",
    "is_parametrized",
    "register_parametrization",
    "remove_parametrizations",
    "transfer_parametrizations_and_params",
    "type_before_parametrizations",
]

_depth = 0  # how many ``cached()`` are open
_cache: dict[tuple[int, str], Tensor | None] = {}


@contextmanager
def cached():
    """Compute every parametrized tensor at most once while the context is open
    (https://pytorch.org/docs/stable/generated/torch.nn.utils.parametrize.cached.html)."""
    global _depth
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
        if not _depth:
            _cache.clear()


def _hold(module: Module, name: str, tensor: Tensor) -> None:
    """Register a tensor as the parameter or the buffer that it is."""
    if isinstance(tensor, Parameter):
        module.register_parameter(name, tensor)
    else:
        module.register_buffer(name, tensor)


def _inverted(modules, value, required: bool):
    """What the parametrizations, last to first, make of a value assigned to the tensor."""
    for module in reversed(modules):
        if hasattr(module, "right_inverse"):
            try:
                value = module.right_inverse(value)
            except NotImplementedError:
                if required:
                    raise
        elif required:
            raise RuntimeError(
                f"parametrization {type(module).__name__} does not implement right_inverse."
            )
    return value


class ParametrizationList(ModuleList):
    """The parametrizations of one tensor, in the order they apply, and its unparametrized value
    in ``original`` (or ``original0``, ``original1``, ... if there are several)
    (https://pytorch.org/docs/stable/generated/torch.nn.utils.parametrize.ParametrizationList.html).
    """

    original: Tensor
    unsafe: bool

    def __init__(
        self, modules: Sequence[Module], original: Tensor | Parameter, unsafe: bool = False
    ):
        if len(modules) == 0:
            raise ValueError("ParametrizationList requires one or more modules.")
        super().__init__(modules)
        self.unsafe = unsafe
        shape, dtype = original.shape, original.dtype
        with no_grad():
            new = _inverted(self, original, required=False)
        if not isinstance(new, (Tensor, Sequence)):
            raise ValueError(
                "'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). "
                f"Got {type(new).__name__}"
            )
        self.is_tensor = isinstance(new, Tensor)
        self.ntensors = 1 if self.is_tensor else len(new)
        if self.is_tensor:
            for what in ("dtype", "device"):
                before, after = getattr(original, what), getattr(new, what)
                if before != after:
                    raise ValueError(
                        f"When `right_inverse` outputs one tensor, it may not change the {what}.\n"
                        f"original.{what}: {before}\n"
                        f"right_inverse(original).{what}: {after}"
                    )
            with no_grad():
                _show(original, new)  # the object stays: optimizers may know it
            _hold(self, "original", original)
        else:
            for i, part in enumerate(new):
                if not isinstance(part, Tensor):
                    raise ValueError(
                        "'right_inverse' must return a Tensor or a Sequence of tensors "
                        f"(list, tuple...). Got element {i} of the sequence with type "
                        f"{type(part).__name__}."
                    )
                if isinstance(original, Parameter):
                    part = Parameter(part, original.requires_grad)
                _hold(self, f"original{i}", part.requires_grad_(original.requires_grad))
        if not self.unsafe:
            self._check_first_result(shape, dtype)

    def _check_first_result(self, shape, dtype):
        out = self()
        if not isinstance(out, Tensor):
            raise ValueError(f"A parametrization must return a tensor. Got {type(out).__name__}.")
        if out.dtype != dtype:
            raise ValueError(
                "Registering a parametrization may not change the dtype of the tensor, unless "
                "`unsafe` flag is enabled.\n"
                f"unparametrized dtype: {dtype}\n"
                f"parametrized dtype: {out.dtype}"
            )
        if out.shape != shape:
            raise ValueError(
                "Registering a parametrization may not change the shape of the tensor, unless "
                "`unsafe` flag is enabled.\n"
                f"unparametrized shape: {shape}\n"
                f"parametrized shape: {out.shape}"
            )

    def right_inverse(self, value: Tensor) -> None:
        """Set the originals so that the parametrized tensor becomes ``value``, as far as the
        parametrizations' own ``right_inverse`` allow; assigning to the tensor calls it."""
        with no_grad():
            value = _inverted(self, value, required=True)
            if self.is_tensor:
                if not isinstance(value, Tensor):
                    raise ValueError(
                        f"`right_inverse` should return a tensor. Got {type(value).__name__}"
                    )
                if value.dtype != self.original.dtype:
                    raise ValueError(
                        "The tensor returned by `right_inverse` has dtype "
                        f"{value.dtype} while `original` has dtype {self.original.dtype}"
                    )
                _show(self.original, value)
                return
            if not isinstance(value, Sequence):
                raise ValueError(
                    "'right_inverse' must return a sequence of tensors. "
                    f"Got {type(value).__name__}."
                )
            if len(value) != self.ntensors:
                raise ValueError(
                    "'right_inverse' must return a sequence of tensors of length "
                    f"{self.ntensors}. Got a sequence of length {len(value)}."
                )
            for i, part in enumerate(value):
                own = getattr(self, f"original{i}")
                if not isinstance(part, Tensor):
                    raise ValueError(
                        f"`right_inverse` must return a sequence of tensors. Got element {i} of "
                        f"type {type(part).__name__}"
                    )
                if own.dtype != part.dtype:
                    raise ValueError(
                        f"Tensor {i} returned by `right_inverse` has dtype {part.dtype} while "
                        f"`original{i}` has dtype {own.dtype}"
                    )
                _show(own, part)

    def forward(self) -> Tensor:
        """The parametrized tensor."""
        if self.is_tensor:
            out = self[0](self.original)
        else:
            out = self[0](*(getattr(self, f"original{i}") for i in range(self.ntensors)))
        at = 1
        while str(at) in self._modules:  # not `len`: a list may itself be parametrized
            out = self[at](out)
            at += 1
        return out


def _show(tensor: Tensor, value: Tensor) -> None:
    """Let a tensor show a value, whatever its shape was."""
    if tensor is not value:
        tensor.set_(value.detach())


# ---- the class of a parametrized module --------------------------------------------------------


def _copied(self, memo):
    """A deep copy made entry by entry: the plain way would go through the state, which raises."""
    if id(self) not in memo:
        replica = self.__new__(type(self))
        memo[id(self)] = replica
        replica.__dict__ = copy.deepcopy(self.__dict__, memo)
    return memo[id(self)]


def _no_state(self):
    raise RuntimeError(
        "Serialization of parametrized modules is only supported through state_dict(). See:\n"
        "https://pytorch.org/tutorials/beginner/saving_loading_models.html"
        "#saving-loading-a-general-checkpoint-for-inference-and-or-resuming-training"
    )


def _give_class(module: Module) -> None:
    """Let a module be of a class of its own, a child of its former one, to hold properties."""
    former = type(module)
    body = {"__getstate__": _no_state}
    if not hasattr(former, "__deepcopy__"):
        body["__deepcopy__"] = _copied
    module.__class__ = type(f"Parametrized{former.__name__}", (former,), body)


def _give_property(module: Module, name: str) -> None:
    def get(self):
        if not _depth:
            return self.parametrizations[name]()
        key = (id(module), name)
        found = _cache.get(key)
        if found is None:
            found = _cache[key] = self.parametrizations[name]()
        return found

    def set(self, value):
        self.parametrizations[name].right_inverse(value)

    setattr(type(module), name, property(get, set))


# ---- registering and removing ------------------------------------------------------------------


def _check_next(module, name, parametrization):
    """Raise unless a further parametrization keeps dtype and shape, both ways."""
    before = getattr(module, name)
    after = parametrization(before)
    if not isinstance(after, Tensor):
        raise ValueError(f"A parametrization must return a tensor. Got {type(after).__name__}.")
    for what in ("dtype", "shape"):
        if getattr(after, what) != getattr(before, what):
            raise ValueError(
                f"Registering a parametrization may not change the {what} of the tensor, unless "
                "the `unsafe` flag is enabled.\n"
                f"module.{name}.{what}: {getattr(before, what)}\n"
                f"parametrization(module.{name}).{what}: {getattr(after, what)}"
            )
    if not hasattr(parametrization, "right_inverse"):
        return
    try:
        returned = parametrization.right_inverse(after)
    except NotImplementedError:
        return
    if not isinstance(returned, Tensor):
        raise ValueError(
            f"parametrization.right_inverse must return a tensor. Got: {type(returned).__name__}"
        )
    for what, text in (("dtype", "have the same dtype as"), ("shape", "have the same shape as")):
        if getattr(returned, what) != getattr(before, what):
            raise ValueError(
                f"The tensor returned by parametrization.right_inverse must {text} "
                f"module.{name}, unless the `unsafe` flag is enabled.\n"
                f"module.{name}.{what}: {getattr(before, what)}\n"
                f"returned {what}: {getattr(returned, what)}"
            )


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """Let ``parametrization`` compute ``module.<tensor_name>`` from what it was; returns the module
    (https://pytorch.org/docs/stable/generated/torch.nn.utils.parametrize.register_parametrization.html).

    Further ones apply after those there are. Unless ``unsafe``, ``ValueError`` if it changes dtype
    or shape.
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        if not unsafe:
            _check_next(module, tensor_name, parametrization)
        known = module.parametrizations[tensor_name]
        known.append(parametrization)
        known.unsafe |= unsafe
        return module
    if tensor_name not in module._buffers and tensor_name not in module._parameters:
        raise ValueError(
            f"Module '{module}' does not have a parameter, a buffer, or a parametrized element "
            f"with name '{tensor_name}'"
        )
    # Made first: if that fails, the module is as it was.
    known = ParametrizationList([parametrization], getattr(module, tensor_name), unsafe=unsafe)
    delattr(module, tensor_name)
    if not is_parametrized(module):
        _give_class(module)
        module.parametrizations = ModuleDict()
    _give_property(module, tensor_name)
    module.parametrizations[tensor_name] = known
    return module


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether a module has a parametrization, of the tensor named if one is named
    (https://pytorch.org/docs/stable/generated/torch.nn.utils.parametrize.is_parametrized.html)."""
    known = getattr(module, "parametrizations", None)
    if not isinstance(known, ModuleDict):
        return False
    return len(known) > 0 if tensor_name is None else tensor_name in known


def remove_parametrizations(
    module: Module, tensor_name: str, leave_parametrized: bool = True
) -> Module:
    """Take all parametrizations off a tensor, which keeps its value, or gets its original back
    (https://pytorch.org/docs/stable/generated/torch.nn.utils.parametrize.remove_parametrizations.html)."""
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"Module {module} does not have a parametrization on {tensor_name}")
    known = module.parametrizations[tensor_name]
    if known.is_tensor:
        tensor = known.original
        if leave_parametrized:
            with no_grad():
                _show(tensor, getattr(module, tensor_name))
    elif leave_parametrized:
        value = getattr(module, tensor_name)
        tensor = Parameter(value) if value.requires_grad else value
    else:
        raise ValueError(
            "Cannot leave unparametrized (`leave_parametrized=False`) a tensor that is "
            "parametrized in terms of a sequence of tensors."
        )
    delattr(type(module), tensor_name)
    del module.parametrizations[tensor_name]
    _hold(module, tensor_name, tensor)
    if not is_parametrized(module):
        delattr(module, "parametrizations")
        module.__class__ = type(module).__bases__[0]
    return module


def type_before_parametrizations(module: Module) -> type:
    """The class of a module without what parametrizations made of it
    (https://pytorch.org/docs/stable/generated/torch.nn.utils.parametrize.type_before_parametrizations.html)."""
    return type(module).__bases__[0] if is_parametrized(module) else type(module)


def transfer_parametrizations_and_params(
    from_module: Module, to_module: Module, tensor_name: str | None = None
) -> Module:
    """Register a module's parametrizations (of one tensor, or all) on another one, with the values
    (https://pytorch.org/docs/stable/generated/torch.nn.utils.parametrize.transfer_parametrizations_and_params.html)."""
    if is_parametrized(from_module):
        known = from_module.parametrizations
        for name in list(known) if tensor_name is None else [tensor_name]:
            if not hasattr(to_module, name):
                setattr(to_module, name, Parameter(getattr(from_module, name)))
            for parametrization in known[name]:
                register_parametrization(to_module, name, parametrization)
            target = to_module.parametrizations[name]
            if hasattr(target, "original"):
                target.original = known[name].original
            else:
                for i in range(target.ntensors):
                    setattr(target, f"original{i}", getattr(known[name], f"original{i}"))
    return to_module
