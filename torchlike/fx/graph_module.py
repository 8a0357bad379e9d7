"""torch.fx.graph_module: GraphModule, a module whose forward is made of a Graph."""

from __future__ import annotations

import copy
import itertools
import linecache
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torchlike import nn
from torchlike._core.errors import PACKAGE, NotSupported
from torchlike._tensor.tensor import Tensor
from torchlike.fx import _names
from torchlike.fx._codegen import CUSTOM_BUILTINS
from torchlike.fx.graph import CodeGen, Graph, PythonCode, _PyTreeCodeGen
from torchlike.nn.parameter import Parameter
from torchlike.serialization import save

__all__ = ["GraphModule", "reduce_graph_module", "reduce_package_graph_module"]

_count = itertools.count()
_KEPT = (
    "_state_dict_hooks", "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks",
    "_replace_hooks", "_create_node_hooks", "_erase_node_hooks", "_deepcopy_hooks",
)  # fmt: skip


# ---- generated code ------------------------------------------------------------------------------


def _exec_with_source(src: str, names: dict[str, Any]) -> None:
    """Run source that tracebacks can show."""
    key = f"<eval_with_key>.{next(_count)}"
    linecache.cache[key] = (len(src), None, src.splitlines(keepends=True), key)
    exec(compile(src, key, "exec", dont_inherit=True), names)  # its annotations are no texts


def _method_from_src(name: str, src: str, names: dict[str, Any]) -> Callable:
    own = dict(names)
    _exec_with_source(src, own)
    return own[name]


def _forward_from_src(src: str, names: dict[str, Any]) -> Callable:
    return _method_from_src("forward", src, names)


def _import_line(name: str, obj: Any) -> str:
    """How a file gets a name of generated code."""
    if name in CUSTOM_BUILTINS and CUSTOM_BUILTINS[name].obj is obj:
        return CUSTOM_BUILTINS[name].import_str
    if _names.is_from_torch(obj):
        return f"{name} = {_names.qualified_name(obj)}"
    module = getattr(obj, "__module__", None)
    attribute = getattr(obj, "__qualname__", name)
    if module in (None, "_operator") or attribute.isidentifier():
        module = {"_operator": "operator"}.get(module, module) or "builtins"
        return f"from {module} import {attribute} as {name}"
    first, rest = attribute.split(".", 1)
    return f"from {module} import {first}; {name} = {first}.{rest}"


def _ours(line: str) -> str:
    """An import of PyTorch's as one of this package's."""
    for theirs, ours in (
        ("import torch.utils._pytree", "import torchlike.fx._pytree"),
        ("import torch.", "import torchlike."),
        ("from torch", "from torchlike"),
    ):
        if line.startswith(theirs):
            return line.replace(theirs, ours, 1)
    return line


def _import_block(names: dict[str, Any]) -> str:
    return "\n".join(sorted({_import_line(name, obj) for name, obj in names.items()}))


def _imported(block: str) -> dict[str, Any]:
    """The names of a block of imports; ``torch`` is this package, whatever is installed."""
    names = {name: obj for name, (_, obj) in CUSTOM_BUILTINS.items()}
    known = {text for text, _ in CUSTOM_BUILTINS.values()}
    for line in block.splitlines():
        if not line.strip() or line in known:
            continue
        found = re.match(r"from (torch[\w.]*) import (\w+) as (\w+)$", line)
        if found:
            names[found[3]] = _names.meant(f"{found[1]}.{found[2]}")
        else:
            exec(line, names)
    return names


def reduce_graph_module(body: dict[str, Any], import_block: str) -> nn.Module:
    """The module that was pickled: its code is traced again."""
    src = body.get("_code") or body["code"]
    return _deserialize_graph_module(_forward_from_src(src, _imported(import_block)), body)


def reduce_package_graph_module(importer, body, generated_module_name):
    """Raises ``NotSupported``: there is no torch.package."""
    raise NotSupported("torch.package", "pickle the module, or use to_folder")


class _CodeOnlyModule(nn.Module):
    def __init__(self, body: dict[str, Any]):
        super().__init__()
        self.__dict__ = body


def _deserialize_graph_module(forward: Callable, body: dict, graph_module_cls=None) -> nn.Module:
    tracing = sys.modules["torchlike.fx._symbolic_trace"]  # which stands above
    _CodeOnlyModule.forward = forward
    tracer_cls = body.get("_tracer_cls") or tracing.Tracer
    name = body.get("_graphmodule_cls_name", "GraphModule")
    module = _CodeOnlyModule(dict(body))

    class KeepModules(tracer_cls):
        def is_leaf_module(self, m, module_qualified_name):
            return True

    graph = KeepModules().trace(module, **body.get("_tracer_extras", {}))
    graph._tracer_cls = tracer_cls
    if "_codegen" in body:
        graph._codegen = body["_codegen"]
    made = (graph_module_cls or GraphModule)(module, graph, class_name=name)
    for key, value in body.items():
        if not hasattr(made, key):
            setattr(made, key, value)
    return made


# ---- attributes by their dotted names ------------------------------------------------------------


def _get_attr(module: nn.Module, target: str) -> Any:
    for part in target.split("."):
        module = getattr(module, part)
    return module


def _has_attr(module: nn.Module, target: str) -> bool:
    try:
        _get_attr(module, target)
    except AttributeError:
        return False
    return True


def _del_attr(module: nn.Module, target: str) -> None:
    path, _, name = target.rpartition(".")
    delattr(_get_attr(module, path) if path else module, name)


def _copy_attr(source: nn.Module, to: nn.Module, target: str) -> None:
    """Let a module have another's attribute, the modules on the way to it made where missing."""
    *path, name = target.split(".")
    for part in path:
        there, here = getattr(source, part), getattr(to, part, None)
        if there is here:
            return  # the whole of it has been copied
        if here is None:
            here = nn.Module()
            setattr(to, part, here)
        source, to = there, here
    _set(to, name, getattr(source, name))


def _assign_attr(value: object, to: nn.Module, target: str) -> None:
    """Set an attribute by its dotted name."""
    *path, name = target.split(".")
    for part in path:
        here = getattr(to, part, None)
        if here is None:
            here = nn.Module()
            setattr(to, part, here)
        to = here
    _set(to, name, value)


def _set(to: nn.Module, name: str, value: object) -> None:
    if isinstance(value, Tensor) and not isinstance(value, Parameter):
        to.register_buffer(name, value)
    else:
        setattr(to, name, value)


# ---- the module ----------------------------------------------------------------------------------


def _say_where(error: Exception) -> None:
    """Print the line of generated code that an error comes from."""
    found = [
        f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(PACKAGE)
    ]
    if not found or not found[-1].filename.startswith("<eval_with_key>"):
        return
    lines = linecache.getlines(found[-1].filename)
    at = found[-1].lineno
    before = "".join(lines[max(at - 3, 0) : at])
    after = "\n".join(lines[at : at + 2])
    print(  # noqa: T201
        "Call using an FX-traced Module, "
        f"line {at} of the traced Module's generated forward function:\n"
        f"{before}\n~~~~~~~~~~~~~~~~~~~~~~~~~~~ <--- HERE\n{after}",
        file=sys.stderr,
    )


class GraphModule(nn.Module):
    """A module that computes what its ``graph`` says; ``recompile()`` after a change of it
    (https://pytorch.org/docs/stable/fx.html#torch.fx.GraphModule)."""

    def __new__(cls, *args, **kwargs):
        # A class for each, as each has a forward of its own.
        plain = next(c for c in cls.__mro__ if c.__qualname__.split(".")[-1] != "GraphModuleImpl")

        class GraphModuleImpl(plain):
            pass

        return super().__new__(GraphModuleImpl)

    def __init__(
        self, root: nn.Module | dict[str, Any], graph: Graph, class_name: str = "GraphModule"
    ):
        super().__init__()
        self.__class__.__name__ = class_name
        targets = [n.target for n in graph.nodes if n.op in ("get_attr", "call_module")]
        if isinstance(root, nn.Module):
            if hasattr(root, "training"):
                self.training = root.training
            for target in targets:
                _copy_attr(root, self, target)
        elif isinstance(root, dict):
            for node in graph.nodes:
                if node.op in ("get_attr", "call_module") and node.target not in root:
                    raise RuntimeError(
                        f"Node {node} referenced target {node.target} but that target was not "
                        "provided in ``root``!"
                    )
            for target in sorted(dict.fromkeys(targets), key=lambda t: t.count(".")):
                _assign_attr(root[target], self, target)
        else:
            raise RuntimeError(f"Unsupported type {root} passed for root!")
        self._begin(graph)
        self.graph = graph

    def _begin(self, graph: Graph) -> None:
        """Set what a module with this graph has beside it."""
        tracer = graph._tracer_cls  # one that a function defines cannot be pickled
        self._tracer_cls = tracer if tracer and "<locals>" not in tracer.__qualname__ else None
        self._tracer_extras = graph._tracer_extras or {}
        self.meta: dict[str, Any] = {}
        self._replace_hooks: list = []
        self._create_node_hooks: list = []
        self._erase_node_hooks: list = []
        self._deepcopy_hooks: list = []

    @property
    def graph(self) -> Graph:
        """The graph; assigning another compiles it."""
        return self._graph

    @graph.setter
    def graph(self, g: Graph) -> None:
        if not isinstance(g, Graph):
            raise AssertionError(f"Expected a Graph instance, but got {type(g)}")
        self._graph = g
        g.owning_module = self
        self.recompile()

    @property
    def code(self) -> str:
        """The Python of the graph."""
        if not hasattr(self, "_code"):
            raise RuntimeError("Code has not been generated! Please report a bug to PyTorch")
        return self._code

    def recompile(self) -> PythonCode:
        """Make ``forward`` of the graph again; returns the code."""
        codegen = self._graph._codegen
        if isinstance(codegen, _PyTreeCodeGen):
            self._in_spec = codegen.pytree_info.in_spec
            self._out_spec = codegen.pytree_info.out_spec
        made = self._graph.python_code(root_module="self")
        self._code = made.src
        cls = type(self)
        cls.forward = _method_from_src(codegen._func_name, made.src, made.globals)
        if "__call__" not in vars(cls):
            call = cls.__call__

            def __call__(self, *args, **kwargs):
                try:
                    return call(self, *args, **kwargs)
                except Exception as error:
                    _say_where(error)
                    raise

            cls.__call__ = __call__
        return made

    def _recompile_submodules(self) -> list[tuple[str, PythonCode]]:
        return [
            (name, mod.recompile())
            for name, mod in self.named_modules()
            if isinstance(mod, GraphModule)
        ]

    # ---- modules ----

    def add_submodule(self, target: str, m: nn.Module) -> bool:
        """Add a module by its dotted name; False if something else is in its way."""
        *path, name = target.split(".")
        place = self
        for part in path:
            below = getattr(place, part, None)
            if below is None:
                below = nn.Module()
                setattr(place, part, below)
            if not isinstance(below, nn.Module):
                return False
            place = below
        place.add_module(name, m)
        return True

    def delete_submodule(self, target: str) -> bool:
        """Take a module out by its dotted name; False if there is none."""
        *path, name = target.split(".")
        place = self
        for part in path:
            place = getattr(place, part, None)
            if not isinstance(place, nn.Module):
                return False
        if not isinstance(getattr(place, name, None), nn.Module):
            return False
        delattr(place, name)
        return True

    def delete_all_unused_submodules(self) -> None:
        """Take out the modules that the graph neither calls nor reads from."""
        used: set[str] = set()
        for node in self.graph.nodes:
            if node.op not in ("call_module", "get_attr"):
                continue
            parts = node.target.split(".")
            used.update(".".join(parts[: i + 1]) for i in range(len(parts)))
            if node.op == "call_module":
                try:
                    called = self.get_submodule(node.target)
                except AttributeError:
                    continue  # no such module: somebody is in the midst of a change
                used.update(f"{node.target}.{n}" for n, _ in called.named_modules() if n)
        for name in [n for n, _ in self.named_modules() if n and n not in used]:
            self.delete_submodule(name)

    # ---- copies and files ----

    def __reduce__(self):
        body = self.__dict__.copy()
        made = self.recompile()
        del body["_graph"]
        if isinstance(self._graph._codegen, _PyTreeCodeGen):
            body["_codegen"] = self._graph._codegen
            codegen = self._graph._codegen
            self._graph._codegen = CodeGen()  # the pickled code has a parameter for each leaf
            try:
                made = self._graph.python_code("self")
            finally:
                self._graph._codegen = codegen
            body["_code"] = made.src
        return reduce_graph_module, (body, _import_block(made.globals))

    def _deepcopy_init(self) -> Callable:
        return GraphModule.__init__

    def __deepcopy__(self, memo: dict) -> GraphModule:
        made = type(self).__new__(type(self))
        memo[id(self)] = made
        source = _CodeOnlyModule(copy.deepcopy(self.__dict__, memo))
        self._deepcopy_init()(made, source, source.__dict__["_graph"])
        for key in _KEPT:
            if key in self.__dict__:
                setattr(made, key, copy.deepcopy(self.__dict__[key], memo))
        made.meta = copy.copy(self.meta)
        for hook in self._deepcopy_hooks:
            hook(made)
        return made

    def __copy__(self) -> GraphModule:
        made = GraphModule(self, self.graph)
        made.meta = getattr(self, "meta", {})
        return made

    def to_folder(self, folder: str | os.PathLike, module_name: str = "FxModule") -> None:
        """Write the module as Python, with its weights, to a folder that can be imported."""
        folder = Path(folder)
        folder.mkdir(exist_ok=True)
        save(self.state_dict(), folder / "state_dict.pt")
        runs = "torchlike._runner.finder" in sys.modules
        torch = "import torch" if runs else "from torchlike.fx._names import torch"
        lines = [torch, f"from {'torch' if runs else 'torchlike'}.nn import *"]
        names = self.recompile().globals
        more = [_import_line(k, v) for k, v in names.items() if k != "torch"]
        lines += more if runs else [_ours(line) for line in more]
        lines.append("")
        lines += [f"class {module_name}(torch.nn.Module):", "    def __init__(self):",
                  "        super().__init__()"]  # fmt: skip
        pickled = []
        for name, module in self.named_children():
            text = repr(module).replace("\r", "").replace("\n", "")
            if not _can_be_written(module):
                pickled.append(name)
                file = folder / f"{name}.pt"
                save(module, file)
                text = f"torch.load(r'{file}', weights_only=False)"
            lines.append(f"        setattr(self, {name!r}, {text})")
        for name, buffer in self._buffers.items():
            if buffer is not None:
                made = f"torch.empty({list(buffer.shape)}, dtype={buffer.dtype})"
                lines.append(f"        self.register_buffer('{name}', {made})")
        for name, parameter in self._parameters.items():
            if parameter is not None:
                made = f"torch.nn.Parameter(torch.empty({list(parameter.shape)}, "
                lines.append(f"        setattr(self, {name!r}, {made}dtype={parameter.dtype})))")
        file = folder / "state_dict.pt"
        lines.append(f"        self.load_state_dict(torch.load(r'{file}'))")
        code = "\n".join("    " + line if line.strip() else "" for line in self.code.split("\n"))
        (folder / "module.py").write_text("\n".join(lines) + f"\n\n{code.rstrip()}\n")
        (folder / "__init__.py").write_text("from .module import *\n")
        if pickled:
            warnings.warn(
                "Was not able to save the following children modules as reprs -saved as pickled "
                f"files instead: {pickled}",
                stacklevel=2,
            )

    # ---- text ----

    def print_readable(
        self, print_output: bool = True, include_stride: bool = False, include_device: bool = False,
        colored: bool = False, *, fast_sympy_print: bool = False, expanded_def: bool = False,
        additional_meta: list[str] | None = None,
    ) -> str:  # fmt: skip
        """The code as a class, with the lines that it comes from; printed, too, if asked."""
        text = _readable(self, self._get_name(), expanded_def)
        if print_output:
            print(text)  # noqa: T201  (what it is asked for)
        return text

    def __str__(self) -> str:
        text = super().__str__()
        note = "# To see more debug info, please use `graph_module.print_readable()`"
        return f"{text}\n{self._code}\n{note}"

    # ---- hooks ----

    @contextmanager
    def _set_replace_hook(self, f: Callable) -> Iterator[None]:
        self._register_replace_node_hook(f)
        try:
            yield
        finally:
            self._unregister_replace_node_hook(f)

    def _register_replace_node_hook(self, f: Callable) -> None:
        self._replace_hooks.append(f)

    def _unregister_replace_node_hook(self, f: Callable) -> None:
        self._replace_hooks.remove(f)

    def _register_create_node_hook(self, f: Callable) -> None:
        self._create_node_hooks.append(f)

    def _unregister_create_node_hook(self, f: Callable) -> None:
        self._create_node_hooks.remove(f)

    def _register_erase_node_hook(self, f: Callable) -> None:
        self._erase_node_hooks.append(f)

    def _unregister_erase_node_hook(self, f: Callable) -> None:
        self._erase_node_hooks.remove(f)


def _can_be_written(module: nn.Module) -> bool:
    """Whether a module's repr makes it again."""
    return type(module) in (
        nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d
    )  # fmt: skip


def _readable(module: nn.Module, name: str, expanded_def: bool = False) -> str:
    code = module.graph.python_code("self", verbose=True, expanded_def=expanded_def).src
    text = f"class {name}(torch.nn.Module):\n" + code.lstrip("\n")
    first, *rest = text.split("\n")
    text = "\n".join([first, *("    " + line if line.strip() else "" for line in rest)]) + "\n"
    below = "".join(
        "\n" + "\n".join("    " + line if line else "" for line in part.split("\n"))
        for child, mod in module.named_children()
        if isinstance(mod, GraphModule)
        for part in [_readable(mod, child, expanded_def).rstrip("\n")]
    )
    return text.rstrip("\n") + "\n" + (below + "\n" if below else "")
