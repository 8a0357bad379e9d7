"""ExportedProgram: a module as a program that needs none of its source."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator

from torchlike._core.errors import NotSupported
from torchlike.export._descriptions import CallSpec, ValueRanges, int_oo
from torchlike.export._module import Graph, GraphModule
from torchlike.export._signature import signature_of
from torchlike.export._state import State
from torchlike.export.decomp_utils import CustomDecompTable
from torchlike.export.graph_signature import InputKind
from torchlike.func import trees

__all__ = [
    "ExportedProgram",
    "ModuleCallEntry",
    "ModuleCallSignature",
    "default_decompositions",
]


@dataclasses.dataclass
class ModuleCallSignature:
    """How a module was called: its inputs, outputs and their structures."""

    inputs: list
    outputs: list
    in_spec: trees.Spec
    out_spec: trees.Spec
    forward_arg_names: list[str] | None = None


@dataclasses.dataclass
class ModuleCallEntry:
    """One module of the exported one, and its signature."""

    fqn: str
    signature: ModuleCallSignature | None = None


def default_decompositions() -> CustomDecompTable:
    """An empty table: programs are StableHLO, which needs no decomposition."""
    return CustomDecompTable()


class ExportedProgram:
    """A module as one program of StableHLO with its weights
    (https://pytorch.org/docs/stable/export.html#torch.export.ExportedProgram).

    ``torch.export.export`` and ``torch.export.load`` make it; ``module()`` is what can be called.
    """

    def __init__(
        self, root, graph, graph_signature, state_dict, range_constraints, module_call_graph,
        example_inputs=None, constants=None, *, verifiers=None,
    ):  # fmt: skip
        raise NotSupported(
            "making an ExportedProgram of a torch.fx graph", "use torch.export.export(module, args)"
        )

    @classmethod
    def _of(cls, runner, state: State, examples=None, dialect="TRAINING", training=True):
        self = object.__new__(cls)
        self._runner, self._state, self._examples = runner, state, examples
        self._dialect, self._training = dialect, training
        return self

    # ---- what it is made of --------------------------------------------------------------------

    @property
    def graph_module(self) -> GraphModule:
        """The module that holds the program; its ``graph`` prints as StableHLO."""
        return GraphModule(self._runner, self._state, self._training)

    @property
    def graph(self) -> Graph:
        """The program as StableHLO, to be printed."""
        return Graph(self._runner.program)

    @property
    def graph_signature(self):
        """What goes in and comes out; what it changes is listed after ``run_decompositions``."""
        return signature_of(self._runner, self._state.targets, self._dialect != "TRAINING")

    @property
    def state_dict(self) -> dict:
        """Parameters and buffers, the exported module's own tensors."""
        return self._state.state_dict()

    def parameters(self) -> Iterator:
        """The parameters."""
        for _, t in self.named_parameters():
            yield t

    def named_parameters(self) -> Iterator:
        """(name, parameter) in the order of the program's inputs."""
        for name in self._state.names(InputKind.PARAMETER):
            yield name, self._state.tensors[name]

    def buffers(self) -> Iterator:
        """The buffers."""
        for _, t in self.named_buffers():
            yield t

    def named_buffers(self) -> Iterator:
        """(name, buffer) in the order of the program's inputs."""
        for name in self._state.names(InputKind.BUFFER):
            yield name, self._state.tensors[name]

    @property
    def constants(self) -> dict:
        """Tensors among the module's attributes, and buffers that are not in the ``state_dict``."""
        tensors = self._state.tensors
        return {
            n: tensors[n] for n, (kind, kept) in self._state.targets.items()
            if kind is InputKind.CONSTANT_TENSOR or (kind is InputKind.BUFFER and not kept)
        }  # fmt: skip

    tensor_constants = constants

    @property
    def range_constraints(self) -> dict:
        """{name of an open size: its bounds}."""
        out = {}
        for o in self._runner.program.opened:
            low, high = max(o.low or 1, 1), o.high
            for c in self._runner.program.conditions:
                low, high = _narrowed(c, o.name, low, high)
            out[o.name] = ValueRanges(low, int_oo if high is None else high)
        return out

    @property
    def example_inputs(self):
        """(args, kwargs) of the export."""
        return self._examples

    @property
    def call_spec(self) -> CallSpec:
        """The structures of inputs and outputs."""
        return CallSpec(self._runner.in_spec, self._runner.out_spec)

    @property
    def module_call_graph(self) -> list[ModuleCallEntry]:
        """The one entry of the whole module: calls within it leave no trace."""
        spec = self.graph_signature
        signature = ModuleCallSignature(
            [s.arg for s in spec.input_specs if s.kind is InputKind.USER_INPUT],
            [s.arg for s in spec.output_specs], self._runner.in_spec, self._runner.out_spec,
        )  # fmt: skip
        return [ModuleCallEntry("", signature)]

    @property
    def dialect(self) -> str:
        """PyTorch's name for how far the program was taken apart; it is StableHLO all along."""
        return self._dialect

    @property
    def verifier(self):
        """Raises ``NotSupported``: XLA verifies programs."""
        raise NotSupported("ExportedProgram.verifier", "XLA verifies the program")

    @property
    def verifiers(self):
        """Nothing: XLA verifies programs."""
        return []

    def validate(self) -> None:
        """Nothing: a program that was made is valid."""

    # ---- what it does --------------------------------------------------------------------------

    def __call__(self, *args, **kwargs):
        raise RuntimeError(
            "Unable to call ExportedProgram directly. You should use `exported_program.module()` "
            "instead."
        )

    def module(self, check_guards: bool = True) -> GraphModule:
        """A module that runs the program on this state (the same tensors).

        Inputs are always checked; ``check_guards=False`` raises ``NotSupported``.
        """
        if not check_guards:
            raise NotSupported(
                "ExportedProgram.module(check_guards=False)", "a program runs for its sizes only"
            )
        return GraphModule(self._runner, self._state, self._training)

    def run_decompositions(self, decomp_table=None, decompose_custom_triton_ops: bool = False):
        """The same program, whose signature lists what it changes; a table of one's own raises
        ``NotSupported``."""
        if decomp_table:
            raise NotSupported(
                "decompositions of one's own", "programs are StableHLO and have no ATen operators"
            )
        return ExportedProgram._of(
            self._runner, self._state, self._examples, "ATEN", self._training
        )

    def __deepcopy__(self, memo):
        state = copy.deepcopy(self._state, memo)
        return ExportedProgram._of(
            self._runner, state, self._examples, self._dialect, self._training
        )

    def __str__(self):
        inputs = ", ".join(
            f"{x.path}: {x.dtype.name}{list(x.shape)}".replace("'", "")
            for x in self._runner.tensors
        )
        return (
            f"ExportedProgram:\n    forward({inputs})\n\nGraph signature: {self.graph_signature}\n"
            f"Range constraints: {self.range_constraints}\n"
        )

    __repr__ = __str__


def _narrowed(c, name: str, low: int, high: int | None):
    """Bounds of one size after a condition that says ``size >= n`` or ``n >= size``."""
    if c.relation != ">=" or c.soft:
        return low, high
    if c.left == name and c.right.lstrip("-").isdigit():
        return max(low, int(c.right)), high
    if c.right == name and c.left.isdigit():
        return low, int(c.left) if high is None else min(high, int(c.left))
    return low, high
