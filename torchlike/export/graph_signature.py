"""What goes into an exported program and what comes out of it, as PyTorch describes it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from enum import Enum, auto

__all__ = [
    "ConstantArgument",
    "CustomObjArgument",
    "ExportBackwardSignature",
    "ExportGraphSignature",
    "InputKind",
    "InputSpec",
    "OutputKind",
    "OutputSpec",
    "SymBoolArgument",
    "SymFloatArgument",
    "SymIntArgument",
    "TensorArgument",
]


@dataclasses.dataclass
class TensorArgument:
    """A tensor, by its name in the program."""

    name: str


@dataclasses.dataclass
class SymIntArgument:
    """An open size, by its name."""

    name: str


@dataclasses.dataclass
class SymFloatArgument:
    """A number computed from open sizes, by its name."""

    name: str


@dataclasses.dataclass
class SymBoolArgument:
    """A bool that depends on open sizes, by its name."""

    name: str


@dataclasses.dataclass
class CustomObjArgument:
    """An object of a class from C++: there are none."""

    name: str
    class_fqn: str
    fake_val: object = None


@dataclasses.dataclass
class ConstantArgument:
    """A number, text or None that is part of the program."""

    name: str
    value: int | float | bool | str | None


class InputKind(Enum):
    """What an input of the program is."""

    USER_INPUT = auto()
    PARAMETER = auto()
    BUFFER = auto()
    CONSTANT_TENSOR = auto()
    CUSTOM_OBJ = auto()
    TOKEN = auto()


@dataclasses.dataclass
class InputSpec:
    """One input: its kind, its name in the program, and the name it has in the module."""

    kind: InputKind
    arg: object
    target: str | None
    persistent: bool | None = None

    def __str__(self):
        target = "" if self.target is None else f" target='{self.target}'"
        kept = "" if self.persistent is None else f" persistent={self.persistent}"
        return f"{self.arg.name}: {self.kind.name}{target}{kept}"


class OutputKind(Enum):
    """What an output of the program is."""

    USER_OUTPUT = auto()
    LOSS_OUTPUT = auto()
    BUFFER_MUTATION = auto()
    PARAMETER_MUTATION = auto()
    GRADIENT_TO_PARAMETER = auto()
    GRADIENT_TO_USER_INPUT = auto()
    USER_INPUT_MUTATION = auto()
    TOKEN = auto()


@dataclasses.dataclass
class OutputSpec:
    """One output: its kind, its name in the program, and what it is written to."""

    kind: OutputKind
    arg: object
    target: str | None

    def __str__(self):
        target = "" if self.target is None else f" target='{self.target}'"
        return f"{self.arg.name}: {self.kind.name}{target}"


@dataclasses.dataclass
class ExportBackwardSignature:
    """Which outputs are gradients: of programs that PyTorch makes of a loss, not made here."""

    gradients_to_parameters: dict[str, str]
    gradients_to_user_inputs: dict[str, str]
    loss_output: str


@dataclasses.dataclass
class ExportGraphSignature:
    """All inputs and outputs of a program (https://pytorch.org/docs/stable/export.html)."""

    input_specs: list[InputSpec]
    output_specs: list[OutputSpec]

    def _targets(self, kind) -> tuple[str, ...]:
        return tuple(s.target for s in self.input_specs if s.kind is kind)

    def _by_name(self, *kinds) -> Mapping[str, str]:
        return {s.arg.name: s.target for s in self.input_specs if s.kind in kinds}

    @property
    def parameters(self):
        """Names of the parameters in the module."""
        return self._targets(InputKind.PARAMETER)

    @property
    def buffers(self):
        """Names of the buffers in the module."""
        return self._targets(InputKind.BUFFER)

    @property
    def non_persistent_buffers(self):
        """Names of the buffers that are not in the ``state_dict``."""
        return tuple(
            s.target for s in self.input_specs if s.kind is InputKind.BUFFER and not s.persistent
        )

    @property
    def lifted_tensor_constants(self):
        """Names of the tensors that are attributes of the module."""
        return self._targets(InputKind.CONSTANT_TENSOR)

    @property
    def lifted_custom_objs(self):
        """Nothing: there are no such objects."""
        return ()

    @property
    def user_inputs(self):
        """Names of the user's inputs in the program; constants as they are."""
        return tuple(
            s.arg.value if isinstance(s.arg, ConstantArgument) else s.arg.name
            for s in self.input_specs if s.kind is InputKind.USER_INPUT
        )  # fmt: skip

    @property
    def user_outputs(self):
        """Names of the outputs that the user gets; constants as they are."""
        return tuple(
            s.arg.value if isinstance(s.arg, ConstantArgument) else s.arg.name
            for s in self.output_specs
            if s.kind in (OutputKind.USER_OUTPUT, OutputKind.LOSS_OUTPUT)
        )

    @property
    def inputs_to_parameters(self):
        """{name in the program: name in the module} of the parameters."""
        return self._by_name(InputKind.PARAMETER)

    @property
    def inputs_to_buffers(self):
        """{name in the program: name in the module} of the buffers."""
        return self._by_name(InputKind.BUFFER)

    @property
    def inputs_to_lifted_tensor_constants(self):
        """{name in the program: name in the module} of the tensors that are attributes."""
        return self._by_name(InputKind.CONSTANT_TENSOR)

    @property
    def inputs_to_lifted_custom_objs(self):
        """Nothing: there are no such objects."""
        return {}

    def _written(self, kind) -> Mapping[str, str]:
        return {s.arg.name: s.target for s in self.output_specs if s.kind is kind}

    @property
    def buffers_to_mutate(self):
        """{name in the program: buffer that it is written to}."""
        return self._written(OutputKind.BUFFER_MUTATION)

    @property
    def parameters_to_mutate(self):
        """{name in the program: parameter that it is written to}."""
        return self._written(OutputKind.PARAMETER_MUTATION)

    @property
    def user_inputs_to_mutate(self):
        """{name in the program: input that it is written to}."""
        return self._written(OutputKind.USER_INPUT_MUTATION)

    @property
    def backward_signature(self):
        """None: gradients are no outputs of these programs."""
        return None

    @property
    def assertion_dep_token(self):
        """None: there are no tokens."""
        return None

    @property
    def input_tokens(self):
        """Nothing: there are no tokens."""
        return ()

    @property
    def output_tokens(self):
        """Nothing: there are no tokens."""
        return ()

    def __str__(self):
        lines = ["", "# inputs", *map(str, self.input_specs), "", "# outputs",
                 *map(str, self.output_specs), ""]  # fmt: skip
        return "\n".join(lines)
