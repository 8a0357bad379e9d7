"""The public names: each public module lists all of its own in `__all__`, and nobody else's."""

import __future__

import ast
import importlib
import inspect
import pkgutil
from types import ModuleType

import pytest

import torchlike


def public_modules() -> list[str]:
    """Return the namespaces: public packages, and the files that list names of their own.

    The other files are where a namespace's parts live; their package re-exports them.
    """
    found = pkgutil.walk_packages(torchlike.__path__, "torchlike.")
    return [
        "torchlike",
        *(
            info.name
            for info in found
            if not is_private(info.name)
            and (info.ispkg or hasattr(importlib.import_module(info.name), "__all__"))
        ),
    ]


def is_private(dotted: str) -> bool:
    return any(part.startswith("_") for part in dotted.split("."))


def own_names(module: ModuleType) -> set[str]:
    """Return the public names that are a module's own.

    A package only re-exports, so all that it holds counts but its submodules; in a file, what it
    imports for its own use does not count.
    """
    if hasattr(module, "__path__"):
        names = {name for name, value in vars(module).items() if not is_plumbing(name, value)}
    else:
        body = ast.parse(inspect.getsource(module)).body
        names = {node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    return {name for name in names if not name.startswith("_")}


def is_plumbing(name: str, value: object) -> bool:
    if isinstance(value, __future__._Feature):
        return True
    return inspect.ismodule(value) and value.__name__.split(".")[0] == "torchlike"


@pytest.mark.parametrize("name", public_modules())
def test_all_is_complete(name):
    module = importlib.import_module(name)
    missing = own_names(module) - set(module.__all__)
    assert not missing, "export them in __all__, or give them a private name"


@pytest.mark.parametrize("name", public_modules())
def test_all_can_be_imported(name):
    module = importlib.import_module(name)
    listed = list(module.__all__)
    assert len(listed) == len(set(listed)), "a name is listed twice"
    assert [entry for entry in listed if not hasattr(module, entry)] == []


@pytest.mark.parametrize("name", public_modules())
def test_nothing_foreign_or_private_is_exported(name):
    """Reprs and pickles say where a class lives: that must be a public place of ours."""
    module = importlib.import_module(name)
    homes = {
        entry: home
        for entry in module.__all__
        if inspect.isclass(value := getattr(module, entry)) or inspect.isroutine(value)
        if (home := value.__module__) is not None
    }
    foreign = {entry: home for entry, home in homes.items() if home.split(".")[0] != "torchlike"}
    private = {
        entry: home
        for entry, home in homes.items()
        if inspect.isclass(getattr(module, entry)) and is_private(home)
    }
    assert not foreign, "these come from another package"
    assert not private, "set their __module__ to the module that exports them"
