"""torch.export.export: trace a module and keep the program with its state."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from torchlike._core.errors import NotSupported, UserError
from torchlike._engine.prefix import local
from torchlike._tensor.autocast import state as autocast
from torchlike._tensor.tensor import Tensor
from torchlike.export import _file
from torchlike.export._arguments import input_paths
from torchlike.export._call import Leaf, Runner
from torchlike.export._sizes import Sizes
from torchlike.export._state import State
from torchlike.export._trace import _PLAIN, Tracer
from torchlike.export.dynamic_shapes import AdditionalInputs
from torchlike.export.exported_program import ExportedProgram
from torchlike.export.graph_signature import InputKind
from torchlike.func import trees
from torchlike.nn.modules.module import Module


def export(
    mod: Module, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None = None, *,
    dynamic_shapes=None, strict: bool = False, preserve_module_call_signature: tuple[str, ...] = (),
    prefer_deferred_runtime_asserts_over_guards: bool = False,
) -> ExportedProgram:  # fmt: skip
    """The program of ``mod(*args, **kwargs)``, with sizes open as ``dynamic_shapes`` says
    (https://pytorch.org/docs/stable/export.html#torch.export.export).

    ``strict`` changes nothing: the module is run once on abstract values either way. Raises
    ``UserError`` where an open size cannot stay open, ``ValueError`` for what is no module.
    """
    if not isinstance(mod, Module):
        raise ValueError(f"Expected `mod` to be an instance of `torch.nn.Module`, got {type(mod)}.")
    if not isinstance(args, tuple):
        raise UserError(
            f"Expecting `args` to be a tuple of example positional inputs, got {type(args)}"
        )
    if preserve_module_call_signature:
        raise NotSupported(
            "export(preserve_module_call_signature=)", "export the submodule by itself"
        )
    kwargs = dict(kwargs or {})
    runner, state = traced(mod, args, kwargs, dynamic_shapes)
    program = ExportedProgram._of(runner, state, (args, kwargs), training=mod.training)
    if isinstance(dynamic_shapes, AdditionalInputs):
        dynamic_shapes.verify(program)
    return program


def draft_export(
    mod: Module, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None = None, *,
    dynamic_shapes=None, preserve_module_call_signature: tuple[str, ...] = (), strict: bool = False,
    prefer_deferred_runtime_asserts_over_guards: bool = False,
) -> ExportedProgram:  # fmt: skip
    """``export`` in which every request gives way where the code needs a number: a size that
    cannot stay open becomes that of the example (a warning tells), instead of an error."""
    kwargs = dict(kwargs or {})
    try:
        return export(mod, args, kwargs, dynamic_shapes=dynamic_shapes)
    except UserError as error:
        if "Constraints violated" not in str(error):
            raise
        warnings.warn(f"draft_export leaves less open than asked: {error}", stacklevel=2)
    runner, state = traced(mod, args, kwargs, dynamic_shapes, lenient=True)
    return ExportedProgram._of(runner, state, (args, kwargs), training=mod.training)


def export_for_training(mod: Module, args: tuple[Any, ...], kwargs=None, **options):
    """``export`` under its older name."""
    return export(mod, args, kwargs, **options)


def save(
    ep: ExportedProgram, f, *, extra_files: dict[str, Any] | None = None,
    opset_version: dict[str, int] | None = None, pickle_protocol: int = 2,
) -> None:  # fmt: skip
    """Write a program with its weights to a path or a file open for writing
    (https://pytorch.org/docs/stable/export.html#torch.export.save).

    It is lowered for CPU, CUDA and TPU where it can be. Nothing is pickled.
    """
    if not isinstance(ep, ExportedProgram):
        raise TypeError(f"The 'ep' parameter must be an instance of 'ExportedProgram', got "
                        f"'{type(ep).__name__}' instead.")  # fmt: skip
    examples, described = [], None
    if ep._examples is not None:
        leaves, _ = trees.flatten(ep._examples)
        examples = [x for x in leaves if isinstance(x, Tensor)]
        described = True
    more = {"dialect": ep._dialect, "training": ep._training, "examples": described}
    _file.write(f, "export", [("forward", None, ep._runner)], ep._state, more, examples,
                extra_files)  # fmt: skip


def load(
    f, *, extra_files: dict[str, Any] | None = None,
    expected_opset_version: dict[str, int] | None = None,
) -> ExportedProgram:  # fmt: skip
    """Read a program that ``save`` wrote; the module's source is not needed
    (https://pytorch.org/docs/stable/export.html#torch.export.load).

    Raises ``RuntimeError`` for a broken file or one that this JAX cannot read, ``NotSupported``
    for PyTorch's own.
    """
    found = _file.read(f, extra_files)
    if found.kind != "export":
        raise RuntimeError(f"{f} is a program of torch.jit: read it with torch.jit.load")
    runner, examples = found.runners[0][2], None
    if found.meta["examples"]:
        tensors = iter(found.examples)
        leaves = [next(tensors) if x.shape is not None else x.constant for x in runner.leaves]
        examples = tuple(trees.unflatten(leaves, runner.in_spec))
    return ExportedProgram._of(
        runner, found.state, examples, found.meta["dialect"], found.meta["training"]
    )


def traced(mod, args, kwargs, dynamic_shapes=None, everything=None, lenient=False):
    """(Runner, State) of one call of a module."""
    if local.capture is not None:
        local.capture.refuse("torch.export.export is called")
    leaves, spec = trees.flatten((args, kwargs))
    for x in leaves:
        if not isinstance(x, (Tensor, *_PLAIN)):
            raise ValueError(
                f"Unsupported input type {type(x)}. Export only supports pytree containers of "
                "basic types (Tensor, int, float, ...) as input. To register a custom dataclass, "
                "use register_dataclass. To register a custom container type, use "
                "register_pytree_node."
            )
        if isinstance(x, Tensor) and x._sparse:
            raise NotSupported("exporting with sparse inputs", "use x.to_dense()")
    state = State(mod)
    sizes = Sizes(mod, args, kwargs, dynamic_shapes, everything, lenient)
    constants = frozenset(state.names(InputKind.CONSTANT_TENSOR))
    settings = {}, *autocast.settings()[1:]
    with autocast.restored(settings):  # a program has only what the module itself asks for
        program = Tracer(mod, state.tensors, leaves, spec, sizes, constants).trace()
    shapes = iter(program.shapes)
    described = []
    for x, path in zip(leaves, input_paths(mod, args, kwargs), strict=True):
        if isinstance(x, Tensor):
            described.append(Leaf(path, next(shapes), x.dtype))
        else:
            described.append(Leaf(path, None, None, x))
    name = f"exported_{type(mod).__name__}"
    return Runner(program, list(state.tensors), described, spec, program.spec, name), state
