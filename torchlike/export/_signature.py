"""The signature of a program, made of what its trace has found."""

from __future__ import annotations

from torchlike.export.graph_signature import (
    ConstantArgument,
    ExportGraphSignature,
    InputKind,
    InputSpec,
    OutputKind,
    OutputSpec,
    SymIntArgument,
    TensorArgument,
)


def signature_of(runner, targets: dict, mutations: bool) -> ExportGraphSignature:
    """The signature of a program; ``targets`` are {name in the module: (InputKind, persistent)}."""
    prefix = {InputKind.PARAMETER: "p_", InputKind.BUFFER: "b_", InputKind.CONSTANT_TENSOR: "c_"}
    inputs, names = [], {}
    for name in runner.state:
        kind, persistent = targets[name]
        names[name] = prefix[kind] + name.replace(".", "_")
        inputs.append(InputSpec(kind, TensorArgument(names[name]), name, persistent))
    given = []
    for leaf in runner.leaves:
        shown = "".join(c if c.isalnum() else "_" for c in leaf.path).strip("_")
        if leaf.shape is None:
            inputs.append(
                InputSpec(InputKind.USER_INPUT, ConstantArgument(shown, leaf.constant), None)
            )
        else:
            given.append(shown)
            inputs.append(InputSpec(InputKind.USER_INPUT, TensorArgument(shown), None))
    outputs = []
    if mutations:
        for kind, where in runner.program.changed:
            if kind == "state":
                is_buffer = targets[where][0] is not InputKind.PARAMETER
                what = OutputKind.BUFFER_MUTATION if is_buffer else OutputKind.PARAMETER_MUTATION
                outputs.append(OutputSpec(what, TensorArgument(f"new_{names[where]}"), where))
            else:
                arg = TensorArgument(f"new_{given[where]}")
                outputs.append(OutputSpec(OutputKind.USER_INPUT_MUTATION, arg, given[where]))
    for n, (kind, what) in enumerate(runner.program.outputs):
        if kind == "constant":
            arg = ConstantArgument(f"output_{n}", what)
        elif kind == "size":
            arg = SymIntArgument(what)
        else:
            arg = TensorArgument(
                given[what] if kind == "input" else names[what] if kind == "state"
                else f"output_{n}"
            )  # fmt: skip
        outputs.append(OutputSpec(OutputKind.USER_OUTPUT, arg, None))
    return ExportGraphSignature(inputs, outputs)
