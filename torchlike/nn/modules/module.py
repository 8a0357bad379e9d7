"""Module: the base class of all neural network modules; it stands on the tensors and the tape."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections import OrderedDict
from collections.abc import Iterator
from types import FunctionType

from torchlike._core import devices
from torchlike._core import dtypes as dt
from torchlike._engine.flush import end_setup
from torchlike._tensor.creation import zeros
from torchlike._tensor.methods import _parse_to
from torchlike._tensor.modes import no_grad
from torchlike._tensor.tensor import Tensor
from torchlike.nn.modules import _conversion, _hooks
from torchlike.nn.modules._arguments import check_to, typename
from torchlike.nn.modules._hooks import (
    Called,
    filtered,
    register_module_backward_hook,
    register_module_buffer_registration_hook,
    register_module_forward_hook,
    register_module_forward_pre_hook,
    register_module_full_backward_hook,
    register_module_full_backward_pre_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)
from torchlike.nn.modules._state_dict import IncompatibleKeys, Stateful
from torchlike.nn.parameter import Buffer, Parameter

__all__ = [
    "Module",
    "register_module_backward_hook",
    "register_module_buffer_registration_hook",
    "register_module_forward_hook",
    "register_module_forward_pre_hook",
    "register_module_full_backward_hook",
    "register_module_full_backward_pre_hook",
    "register_module_module_registration_hook",
    "register_module_parameter_registration_hook",
]
_IncompatibleKeys = IncompatibleKeys
_HOOK_DICTS = (
    "_backward_pre_hooks", "_backward_hooks", "_is_full_backward_hook", "_forward_hooks",
    "_forward_hooks_with_kwargs", "_forward_hooks_always_called", "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs", "_state_dict_hooks", "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks",
)  # fmt: skip


def _addindent(text: str, spaces: int) -> str:
    """The text with all lines but the first moved right, and blank ones left blank."""
    first, *rest = text.split("\n")
    return "\n".join([first, *(" " * spaces + line if line.strip() else "" for line in rest)])


def _renamed(function, name: str):
    """A copy of a function under another qualified name."""
    f = function
    copy = FunctionType(f.__code__, f.__globals__, f.__name__, f.__defaults__, f.__closure__)
    functools.update_wrapper(copy, f)
    del copy.__wrapped__
    copy.__kwdefaults__, copy.__qualname__ = f.__kwdefaults__, name
    return copy


class Module(Called, Stateful):
    """Base class of modules: holds parameters, buffers and submodules by attribute
    (https://pytorch.org/docs/stable/generated/torch.nn.Module.html)."""

    dump_patches = False
    call_super_init = False
    _version = 1  # saved in state_dict()._metadata; classes raise it when their state changes
    _compiled_call_impl = None
    training: bool

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        ours = cls.__module__.startswith("torchlike.nn.")
        if ours and "__init__" not in cls.__dict__ and cls.__init__.__qualname__.startswith("_"):
            # One of several layers with a private base: errors about arguments name the layer.
            cls.__init__ = _renamed(cls.__init__, f"{cls.__qualname__}.__init__")

    def __init__(self, *args, **kwargs):
        if not self.call_super_init:
            name = type(self).__name__
            if kwargs:
                raise TypeError(
                    f"{name}.__init__() got an unexpected keyword argument '{next(iter(kwargs))}'"
                )
            if args:
                raise TypeError(
                    f"{name}.__init__() takes 1 positional argument but {len(args) + 1} were given"
                )
        state = self.__dict__
        state["training"] = True
        state["_parameters"] = {}
        state["_buffers"] = {}
        state["_non_persistent_buffers_set"] = set()
        for key in _HOOK_DICTS:
            state[key] = OrderedDict()
        state["_is_full_backward_hook"] = None
        state["_modules"] = {}
        if self.call_super_init:
            super().__init__(*args, **kwargs)

    def forward(self, *input):
        """The computation of a call; every subclass defines it."""
        raise NotImplementedError(
            f'Module [{type(self).__name__}] is missing the required "forward" function'
        )

    # ---- registration --------------------------------------------------------------------------

    def register_buffer(self, name: str, tensor, persistent: bool = True) -> None:
        """Add a buffer: a tensor that is no parameter, and in the state dict if ``persistent``."""
        self._check_name(name, "buffer", "_buffers")
        if not _may_be_buffer(tensor):
            raise TypeError(
                f"cannot assign '{typename(tensor)}' object to buffer '{name}' "
                "(torch Tensor or None required)"
            )
        self._buffers[name] = filtered(_hooks.GLOBAL_BUFFER, self, name, tensor)
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def register_parameter(self, name: str, param) -> None:
        """Add a parameter, or None in its place."""
        self._check_name(name, "parameter", "_parameters")
        if param is not None:
            if not isinstance(param, Parameter):
                raise TypeError(
                    f"cannot assign '{typename(param)}' object to parameter '{name}' "
                    "(torch.nn.Parameter or None required)"
                )
            if param.grad_fn is not None:
                raise ValueError(
                    f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must "
                    f"be created explicitly. To express '{name}' as a function of another Tensor, "
                    "compute the value in the forward() method."
                )
            param = filtered(_hooks.GLOBAL_PARAMETER, self, name, param)
        self._parameters[name] = param

    def _check_name(self, name, what, store):
        if store not in self.__dict__:
            raise AttributeError(f"cannot assign {what} before Module.__init__() call")
        if not isinstance(name, str):
            raise TypeError(f"{what} name should be a string. Got {typename(name)}")
        if "." in name:
            raise KeyError(f'{what} name can\'t contain "."')
        if name == "":
            raise KeyError(f'{what} name can\'t be empty string ""')
        if hasattr(self, name) and name not in self.__dict__[store]:
            raise KeyError(f"attribute '{name}' already exists")

    def add_module(self, name: str, module) -> None:
        """Add a child module, or None in its place."""
        if not isinstance(module, Module) and module is not None:
            raise TypeError(f"{typename(module)} is not a Module subclass")
        if not isinstance(name, str):
            raise TypeError(f"module name should be a string. Got {typename(name)}")
        if hasattr(self, name) and name not in self._modules:
            raise KeyError(f"attribute '{name}' already exists")
        if "." in name:
            raise KeyError(f'module name can\'t contain ".", got: {name}')
        if name == "":
            raise KeyError('module name can\'t be empty string ""')
        self._modules[name] = filtered(_hooks.GLOBAL_MODULE, self, name, module)

    def register_module(self, name: str, module) -> None:
        """The same as ``add_module``."""
        self.add_module(name, module)

    # ---- attributes ----------------------------------------------------------------------------

    def __getattr__(self, name: str):
        state = self.__dict__
        if "_modules" in state:  # unrolled: every look at a weight or a layer comes through here
            found = state["_parameters"]
            if name in found:
                return found[name]
            found = state["_modules"]
            if name in found:
                return found[name]
            found = state["_buffers"]
            if name in found:
                return found[name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def _weight_and_bias(self):
        """``(self.weight, self.bias)``, without a failing look-up while both are parameters."""
        own = self._parameters
        if "weight" in own and "bias" in own:
            return own["weight"], own["bias"]
        return self.weight, self.bias

    def __setattr__(self, name: str, value) -> None:
        state = self.__dict__
        params = state.get("_parameters")
        if isinstance(value, Parameter):
            if params is None:
                raise AttributeError("cannot assign parameters before Module.__init__() call")
            self._forget(name, "_buffers", "_modules")
            self.register_parameter(name, value)
        elif params is not None and name in params:
            if value is not None:
                raise TypeError(
                    f"cannot assign '{typename(value)}' as parameter '{name}' "
                    "(torch.nn.Parameter or None expected)"
                )
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            if state.get("_modules") is None:
                raise AttributeError("cannot assign module before Module.__init__() call")
            self._forget(name, "_parameters", "_buffers")
            state["_modules"][name] = filtered(_hooks.GLOBAL_MODULE, self, name, value)
        elif params is None and not isinstance(value, Buffer):
            super().__setattr__(name, value)
        elif params is not None and name in state["_modules"]:
            if value is not None:
                raise TypeError(
                    f"cannot assign '{typename(value)}' as child module '{name}' "
                    "(torch.nn.Module or None expected)"
                )
            state["_modules"][name] = filtered(_hooks.GLOBAL_MODULE, self, name, value)
        elif isinstance(value, Buffer) or name in state["_buffers"]:
            self._assign_buffer(name, value)
        else:
            super().__setattr__(name, value)

    def _forget(self, name, *stores):
        """Drop a name from wherever it stands, before it is registered elsewhere."""
        state = self.__dict__
        state.pop(name, None)
        for store in stores:
            state[store].pop(name, None)
        state["_non_persistent_buffers_set"].discard(name)

    def _assign_buffer(self, name, value):
        if not _may_be_buffer(value):
            raise TypeError(
                f"cannot assign '{typename(value)}' as buffer '{name}' "
                "(torch.nn.Buffer, torch.Tensor or None expected)"
            )
        if isinstance(value, Buffer):
            persistent = value.persistent
        else:
            persistent = name not in self._non_persistent_buffers_set
        if "persistent" in inspect.signature(self.register_buffer).parameters:
            self.register_buffer(name, value, persistent)
        elif persistent:
            self.register_buffer(name, value)
        else:
            raise RuntimeError(
                "Registering a non-persistent buffer on a Module subclass that implements "
                "register_buffer() without the persistent argument is not allowed."
            )

    def __delattr__(self, name: str) -> None:
        for store in (self._parameters, self._buffers, self._modules):
            if name in store:
                del store[name]
                if store is self._buffers:
                    self._non_persistent_buffers_set.discard(name)
                return
        super().__delattr__(name)

    def __dir__(self):
        names = [*dir(type(self)), *self.__dict__, *self._parameters, *self._modules]
        return sorted(name for name in (*names, *self._buffers) if not name[0].isdigit())

    def __getstate__(self):
        state = self.__dict__.copy()
        state.pop("_compiled_call_impl", None)
        return state

    def __setstate__(self, state):
        own = self.__dict__
        own.update(state)
        for key in _HOOK_DICTS:
            if key not in own:  # a pickle of an older version
                own[key] = None if key == "_is_full_backward_hook" else OrderedDict()
        own.setdefault("_non_persistent_buffers_set", set())
        if any(own[key] for key in _HOOK_DICTS[:8]):
            own["_hooked"] = True

    # ---- looking things up ---------------------------------------------------------------------

    def get_submodule(self, target: str) -> Module:
        """The module under a dotted name; raises ``AttributeError`` if there is none."""
        module = self
        for name in target.split(".") if target else ():
            if not hasattr(module, name):
                raise AttributeError(f"{module._get_name()} has no attribute `{name}`")
            module = getattr(module, name)
            if not isinstance(module, Module):
                raise AttributeError(f"`{name}` is not an nn.Module")
        return module

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Replace (or, unless ``strict``, add) the module under a dotted name."""
        if target == "":
            raise ValueError("Cannot set the submodule without a target name!")
        if not isinstance(module, Module):
            raise ValueError(f"`module` is not an nn.Module, found {type(module)}")
        path, _, name = target.rpartition(".")
        parent = self.get_submodule(path)
        if hasattr(parent, name):
            if not isinstance(getattr(parent, name), Module):
                raise AttributeError(f"`{name}` is not an nn.Module")
        elif strict:
            raise AttributeError(f"{parent._get_name()} has no attribute `{name}`")
        setattr(parent, name, module)

    def get_parameter(self, target: str) -> Parameter:
        """The parameter under a dotted name."""
        module, name = self._owner(target)
        if not isinstance(getattr(module, name), Parameter):
            raise AttributeError(f"`{name}` is not an nn.Parameter")
        return getattr(module, name)

    def get_buffer(self, target: str) -> Tensor:
        """The buffer under a dotted name."""
        module, name = self._owner(target)
        if name not in module._buffers:
            raise AttributeError(f"`{name}` is not a buffer")
        return module._buffers[name]

    def _owner(self, target):
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if not hasattr(module, name):
            raise AttributeError(f"{module._get_name()} has no attribute `{name}`")
        return module, name

    def _named_members(self, get_members_fn, prefix="", recurse=True, remove_duplicate=True):
        seen = set()
        owners = [(prefix, self)]
        if recurse:
            owners = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
        for path, module in owners:
            for name, member in get_members_fn(module):
                if member is None or member in seen:
                    continue
                if remove_duplicate:
                    seen.add(member)
                yield f"{path}.{name}" if path else name, member

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """The parameters, of submodules too if ``recurse``."""
        for _, param in self.named_parameters(recurse=recurse):
            yield param

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """(name, parameter) of all parameters, each object once unless told otherwise."""
        yield from self._named_members(
            lambda module: module._parameters.items(), prefix, recurse, remove_duplicate
        )

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """The buffers, of submodules too if ``recurse``."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """(name, buffer) of all buffers, each object once unless told otherwise."""
        yield from self._named_members(
            lambda module: module._buffers.items(), prefix, recurse, remove_duplicate
        )

    def children(self) -> Iterator[Module]:
        """The immediate submodules, each object once."""
        for _, module in self.named_children():
            yield module

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """(name, module) of the immediate submodules, each object once."""
        seen = set()
        for name, module in self._modules.items():
            if module is not None and module not in seen:
                seen.add(module)
                yield name, module

    def modules(self, remove_duplicate: bool = True) -> Iterator[Module]:
        """The module itself and all below it."""
        for _, module in self.named_modules(remove_duplicate=remove_duplicate):
            yield module

    def named_modules(self, memo=None, prefix: str = "", remove_duplicate: bool = True):
        """(dotted name, module) of the module itself and all below it."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                path = f"{prefix}.{name}" if prefix else name
                yield from module.named_modules(memo, path, remove_duplicate)

    # ---- changing everything -------------------------------------------------------------------

    def apply(self, fn):
        """Call ``fn`` on every submodule and then on the module itself."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def _apply(self, fn, recurse=True):
        """Convert all tensors by ``fn``; parameters stay the same objects, but to and from meta."""
        if recurse:
            for module in self.children():
                module._apply(fn)
        for name, param in self._parameters.items():
            if param is None:
                continue
            grad = param.grad
            with no_grad():
                converted = fn(param)
                grad = None if grad is None else fn(grad)
            anew = _conversion.overwrite or _is_meta(converted) is not _is_meta(param)
            if anew and not _conversion.swap and converted is not param:  # its own, as in PyTorch
                converted = self._parameters[name] = Parameter(converted, param.requires_grad)
                converted.grad = grad
                continue
            _replace(param, converted)
            if grad is not None:
                _replace(param.grad, grad)
        for name, buffer in self._buffers.items():
            if buffer is not None:
                self._buffers[name] = fn(buffer)
        return self

    def to(self, *args, **kwargs):
        """Move to a device, or cast floating parameters and buffers to a dtype."""
        tensor = kwargs.pop("tensor", None)
        if kwargs.pop("copy", False):
            raise RuntimeError(".to() does not accept copy argument")
        unknown = kwargs.keys() - {"device", "dtype", "non_blocking", "memory_format"}
        if unknown:
            raise TypeError(f"to() got an unexpected keyword argument '{min(unknown)}'")
        given = args if tensor is None else (tensor, *args)
        check_to(given)
        device, dtype = _parse_to(given, kwargs.get("device"), kwargs.get("dtype"))
        if dtype is not None and dtype.category < dt.FLOATING:
            raise TypeError(
                "nn.Module.to only accepts floating point or complex dtypes, but got desired "
                f"dtype={dtype}"
            )
        if dtype is not None and dtype.is_complex:
            warnings.warn(
                "Complex modules are a new feature under active development whose design may "
                "change, and some modules might not work as expected when using complex tensors as "
                "parameters or buffers.",
                stacklevel=2,
            )

        def convert(t):
            try:
                return t.to(device=device, dtype=dtype if t.dtype.category >= dt.FLOATING else None)
            except NotImplementedError as error:
                if "Cannot copy out of meta tensor" not in str(error):
                    raise
                raise NotImplementedError(
                    f"{error} Please use torch.nn.Module.to_empty() instead of "
                    "torch.nn.Module.to() when moving module from meta to a different device."
                ) from None

        return self._apply(convert)

    def to_empty(self, *, device, recurse: bool = True):
        """Move to a device without the data."""
        device = devices.canonical(device) if device is not None else None
        return self._apply(
            lambda t: zeros(tuple(t.shape), dtype=t.dtype, device=device or t.device), recurse
        )

    def _cast(self, dtype):
        return self._apply(lambda t: t.to(dtype) if t.is_floating_point() else t)

    def cuda(self, device=None):
        """Move to a GPU."""
        return self._apply(lambda t: t.cuda(device))

    def cpu(self):
        """Move to the CPU."""
        return self._apply(lambda t: t.cpu())

    def type(self, dst_type):
        """Cast all parameters and buffers, integer ones too."""
        return self._apply(lambda t: t.type(dst_type))

    def float(self):
        """Cast floating parameters and buffers to float32."""
        return self._cast(dt.float32)

    def double(self):
        """Cast floating parameters and buffers to float64."""
        return self._cast(dt.float64)

    def half(self):
        """Cast floating parameters and buffers to float16."""
        return self._cast(dt.float16)

    def bfloat16(self):
        """Cast floating parameters and buffers to bfloat16."""
        return self._cast(dt.bfloat16)

    def share_memory(self):
        """Move all parameters and buffers to shared memory: see ``Tensor.share_memory_``."""
        return self._apply(lambda t: t.share_memory_())

    def train(self, mode: bool = True):
        """Set training mode here and in all submodules."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        end_setup()
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self):
        """Set evaluation mode here and in all submodules."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True):
        """Freeze or unfreeze all parameters."""
        for param in self.parameters():
            param.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or set them to zero."""
        for param in self.parameters():
            grad = param.grad
            if grad is None:
                continue
            if set_to_none:
                param.grad = None
                continue
            if grad.grad_fn is not None:
                grad.detach_()
            else:
                grad.requires_grad_(False)
            grad.zero_()

    # ---- text ----------------------------------------------------------------------------------

    def _get_name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """What stands between the brackets of the repr; subclasses override it."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = extra.split("\n") if extra else []
        one_line = len(lines) == 1 and not self._modules
        for name, module in self._modules.items():
            lines.append(f"({name}): {_addindent(repr(module), 2)}")
        if not lines:
            return f"{self._get_name()}()"
        body = lines[0] if one_line else "\n  " + "\n  ".join(lines) + "\n"
        return f"{self._get_name()}({body})"


def _may_be_buffer(x) -> bool:
    """Whether an object is a tensor, None, or takes over PyTorch's functions as a tensor may."""
    return x is None or isinstance(x, Tensor) or hasattr(type(x), "__torch_function__")


def _is_meta(tensor) -> bool:
    return tensor.device is devices.META


def _replace(tensor, converted):
    """Let a tensor show what it was converted to; it keeps its storage if nothing changed."""
    if converted is not tensor:
        tensor.data = converted


for _name in (*__all__[1:], "_IncompatibleKeys"):
    globals()[_name].__module__ = __name__
