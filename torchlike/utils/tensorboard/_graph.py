"""The ops that a module calls, by module, as the graph that TensorBoard draws."""

from __future__ import annotations

from tensorboardX.proto.attr_value_pb2 import AttrValue
from tensorboardX.proto.graph_pb2 import GraphDef
from tensorboardX.proto.node_def_pb2 import NodeDef
from tensorboardX.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboardX.proto.versions_pb2 import VersionDef

from torchlike._tensor.tensor import Tensor
from torchlike.func import trees
from torchlike.utils._summary import WithoutData, call_without_data, without_data_of


class _Recorder(WithoutData):
    """A node for each call, in the scope of the module that called it."""

    def __init__(self, model):
        super().__init__()
        self.nodes: list[NodeDef] = []
        self.scopes: list[str] = []
        self._makers: dict = {}  # id of a value: (it, the node that it is from)
        self._taken: dict[str, int] = {}
        self._attributes = {id(m): name.rpartition(".")[2] for name, m in model.named_modules()}
        self._parameters = {}
        self._model = model

    def entered(self, module, args) -> None:
        name = type(module).__name__
        if self.scopes:
            name = f"{self.scopes[-1]}/{name}[{self._attributes.get(id(module), '')}]"
            if not self._attributes.get(id(module)):
                name = name.removesuffix("[]")
        self.scopes.append(name)
        for key, t in (*module._parameters.items(), *module._buffers.items()):
            if t is not None:
                self._parameters.setdefault(id(t._value), (t, f"{name}/{key}"))

    def left(self, module, output) -> None:
        self.scopes.pop()

    def called(self, op, operands, statics, results) -> None:
        inputs = [self.maker(x) for x in operands if isinstance(x, Tensor)]
        scope = self.scopes[-1] if self.scopes else type(self._model).__name__
        settings = ", ".join(f"{p.name}: {x!r}" for p, x in zip(op.statics, statics))
        node = self.add(f"{scope}/{op.name}", f"aten::{op.name}", inputs, results, settings)
        for r in results:
            self._makers[id(r._value)] = r._value, node

    def maker(self, x) -> str:
        """The node that a tensor comes from."""
        value = x._value
        if id(value) in self._makers:
            return self._makers[id(value)][1]
        known, name = self._parameters.get(id(value), (x, "constant"))
        kind = "Parameter" if id(value) in self._parameters else "Constant"
        node = self.add(name, kind, [], [known], "")
        self._makers[id(value)] = value, node
        return node

    def add(self, name, op, inputs, results, settings) -> str:
        """A node; its name, which is the given one with a number if that is taken."""
        count = self._taken[name] = self._taken.get(name, 0) + 1
        if count > 1:
            name = f"{name}_{count}"
        node = NodeDef(name=name, op=op, input=inputs)
        node.attr["attr"].CopyFrom(AttrValue(s=f"{{{settings}}}".encode()))
        shapes = [
            TensorShapeProto(dim=[TensorShapeProto.Dim(size=n) for n in r._value.aval.shape])
            for r in results
        ]
        node.attr["_output_shapes"].CopyFrom(AttrValue(list=AttrValue.ListValue(shape=shapes)))
        self.nodes.append(node)
        return name

    def hold(self, x, name: str) -> None:
        """A node for what the model is called with."""
        node = self.add(f"input/{name}", "IO Node", [], [x], "")
        self._makers[id(x._value)] = x._value, node


class _Untimed:
    """Stands for TensorFlow's ``RunMetadata`` with one device and no times."""

    def SerializeToString(self) -> bytes:
        """The message's bytes: field 1 in field 1 in field 1."""
        data = b"/device:CPU:0"
        for _ in range(3):
            data = bytes([1 << 3 | 2, len(data)]) + data
        return data


def graph(model, inputs, verbose: bool = False) -> tuple:
    """(GraphDef, RunMetadata) of a module called on such inputs."""
    args = inputs if isinstance(inputs, tuple) else (inputs,)
    if isinstance(inputs, dict):
        args, kwargs = (), inputs
    else:
        kwargs = {}
    args, kwargs = trees.map_tree(
        lambda x: without_data_of(x) if isinstance(x, Tensor) else x, (args, kwargs)
    )
    recorder = _Recorder(model)
    given = [x for x in trees.flatten((args, kwargs))[0] if isinstance(x, Tensor)]
    for i, x in enumerate(given):
        recorder.hold(x, f"input.{i + 1}")
    out = call_without_data(model, args, kwargs, recorder, "add_graph()")
    for i, x in enumerate(t for t in trees.flatten(out)[0] if isinstance(t, Tensor)):
        recorder.add(f"output/output.{i + 1}", "IO Node", [recorder.maker(x)], [x], "")
    made = GraphDef(node=recorder.nodes, versions=VersionDef(producer=22))
    if verbose:
        print(made)  # noqa: T201  (what it is asked for)
    return made, _Untimed()
