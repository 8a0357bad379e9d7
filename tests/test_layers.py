"""The layers of the package, read from its source: imports go down, and never in a circle."""

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "torchlike"

# What the folders and files right under torchlike/ may know of: themselves, those of their own
# row, and the rows above. A new one gets its place here.
LAYERS = [
    "_core",
    "_ops",
    "_engine",
    "_tensor",
    "_higher_order_ops accelerator amp autograd backends compiler cpu cuda fft func "
    "linalg overrides random nested signal sparse special testing types mps xpu "
    "return_types storage version",
    "_aten _custom_ops _custom_results _device_modules _dynamo _functional functional futures "
    "multiprocessing nn",
    "__config__ __future__ ao distributed distributions export fx hub jit library ops masked onnx "
    "optim profiler quantization quasirandom _serialization serialization utils",
    "torchlike _runner",  # the top-level package only re-exports what stands above
    "audio text vision",
    "__main__",
]
RANK = {unit: rank for rank, units in enumerate(LAYERS) for unit in units.split()}


def dotted_name(path: Path) -> str:
    """Return torchlike.nn for torchlike/nn/__init__.py, torchlike.nn.init for its init.py."""
    parts = ("torchlike", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(source: str, module: str, is_package: bool = False) -> Iterator[tuple[int, str]]:
    """Yield line and full name of everything that a module imports, at its top or in a function."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=aliases):
                yield from ((node.lineno, alias.name) for alias in aliases)
            case ast.ImportFrom(module=name, names=aliases, level=level):
                # One dot is the package itself, each further dot its parent.
                ups = level - 1 if is_package else level
                parents = module.split(".")[: -ups or None] if level else []
                base = ".".join([*parents, *([name] if name else [])])
                yield from ((node.lineno, f"{base}.{alias.name}") for alias in aliases)
            case ast.Call(
                func=ast.Name(id="__import__" | "import_module")
                | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield node.lineno, name


def unit(name: str) -> str:
    """Return the folder or file right under torchlike/ that a full name belongs to."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in RANK else "torchlike"


def upward_imports(source: str, module: str, is_package: bool = False) -> list[str]:
    return [
        f"{module}:{line} imports {name}"
        for line, name in imports(source, module, is_package)
        if name.partition(".")[0] == "torchlike" and RANK[unit(name)] > RANK[unit(module)]
    ]


def foreign_torch(source: str, module: str) -> list[str]:
    return [
        f"{module}:{line} imports {name}"
        for line, name in imports(source, module)
        if name.partition(".")[0] in {"torch", "torchvision", "torchaudio", "functorch"}
    ]


# ---- the package -----------------------------------------------------

FILES = sorted(PACKAGE.rglob("*.py"))
SUBMODULES = [path for path in FILES if path != PACKAGE / "__init__.py"]


def test_every_module_has_a_layer():
    strangers = {dotted_name(path).split(".")[1] for path in SUBMODULES} - set(RANK)
    assert not strangers, "give them their place in LAYERS"


def test_imports_go_down():
    found = [
        line
        for path in SUBMODULES
        for line in upward_imports(
            path.read_text(), dotted_name(path), is_package=path.name == "__init__.py"
        )
    ]
    assert not found, "\n".join(found)


def test_imports_make_no_circle():
    modules = {dotted_name(path): path for path in SUBMODULES}
    graph = {}
    for module, path in modules.items():
        names = imports(path.read_text(), module, is_package=path.name == "__init__.py")
        # `from ._x import f` names ._x.f, which is a module or else something inside of ._x.
        candidates = {name if name in modules else name.rpartition(".")[0] for _, name in names}
        graph[module] = (candidates & set(modules)) - {module}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail("circular imports: " + " <- ".join(error.args[1]))


def test_nothing_imports_torch():
    found = [line for path in FILES for line in foreign_torch(path.read_text(), dotted_name(path))]
    assert not found, "\n".join(found)


# ---- the checks themselves -------------------------------------------


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("torchlike._core.dtypes", "import torchlike._engine"),
        ("torchlike._core.dtypes", "from torchlike import nn"),
        ("torchlike._core.dtypes", "import torchlike as torch"),
        ("torchlike._ops.table", "def f():\n    from .._tensor.views import View"),
        ("torchlike._tensor.tape", "from torchlike import Tensor"),
        ("torchlike.autograd.function", "from .. import nn"),
        ("torchlike.nn.modules.linear", "from ...optim import Adam"),
        ("torchlike.nn.modules.linear", "importlib.import_module('torchlike.optim')"),
    ],
)
def test_an_upward_import_is_found(module, source):
    assert len(upward_imports(source, module)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("torchlike.nn.modules.linear", "from ... import _core\nfrom . import module"),
        ("torchlike.nn.modules.linear", "from ..functional import linear\nimport jax"),
        ("torchlike.__main__", "import torchlike as torch\nfrom . import vision"),
    ],
)
def test_a_downward_import_passes(module, source):
    assert upward_imports(source, module) == []


def test_an_import_in_a_package_is_relative_to_it():
    assert list(imports("from . import x", "torchlike.nn", is_package=True)) == [
        (1, "torchlike.nn.x")
    ]
    assert list(imports("from ..nn import x", "torchlike.optim", is_package=True)) == [
        (1, "torchlike.nn.x")
    ]


@pytest.mark.parametrize("source", ["import torch", "def f():\n    from torch.nn import Linear"])
def test_an_import_of_torch_is_found(source):
    assert len(foreign_torch(source, "torchlike.x")) == 1
