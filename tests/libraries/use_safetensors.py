"""safetensors: its torch module, shared weights, slices and every dtype."""

import tempfile
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load, load_file, load_model, save, save_file, save_model

file = Path(tempfile.mkdtemp()) / "a.safetensors"
tensors = {
    "a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(3, dtype=torch.bfloat16),
    "c": torch.tensor([1, 2]), "d": torch.tensor(True), "e": torch.zeros(0, 4),
}  # fmt: skip
save_file(tensors, file, metadata={"of": "tests"})
for name, t in sorted(load_file(file).items()):
    print(name, t.dtype, tuple(t.shape), t.tolist())
with safe_open(file, framework="pt", device="cpu") as f:
    part = f.get_slice("a")
    print(f.metadata(), sorted(f.keys()), f.get_tensor("b"))
    print(part.get_shape(), part.get_dtype(), part[:, 1:], part[1])
with safe_open(file, framework="np") as f:
    print(f.get_tensor("a").sum())
print(load(save(tensors))["a"])

for name in [
    "float64",
    "float32",
    "float16",
    "bfloat16",
    "int64",
    "int32",
    "int16",
    "int8",
    "uint8",
    "bool",
    "uint16",
    "uint32",
    "uint64",
    "complex64",
    "float8_e4m3fn",
    "float8_e5m2",
    "float8_e4m3fnuz",
    "float8_e5m2fnuz",
    "float8_e8m0fnu",
]:
    x = torch.arange(4).to(getattr(torch, name))
    save_file({"x": x}, file)
    y = load_file(file)["x"]
    print(name, y.dtype, torch.equal(x.view(torch.uint8), y.view(torch.uint8)))

torch.manual_seed(0)
model = torch.nn.ModuleDict({"a": torch.nn.Linear(3, 3), "b": torch.nn.Linear(3, 3, bias=False)})
model["b"].weight = model["a"].weight
save_model(model, file, metadata={"kind": "tied"})
with safe_open(file, framework="pt") as f:
    print(sorted(f.metadata().items()), sorted(f.keys()))
fresh = torch.nn.ModuleDict({"a": torch.nn.Linear(3, 3), "b": torch.nn.Linear(3, 3, bias=False)})
fresh["b"].weight = fresh["a"].weight
print(load_model(fresh, file), torch.equal(fresh["b"].weight, model["a"].weight))
print(fresh["b"].weight is fresh["a"].weight)

for bad in (
    lambda: save_file({"a": tensors["a"], "b": tensors["a"].view(3, 2)}, file),
    lambda: save_file({"a": tensors["a"].t()}, file),
    lambda: save_file({"a": 3}, file),
    lambda: load_model(torch.nn.Linear(3, 3), file),
    lambda: load(b"\xff" * 40),
    lambda: load_file(file.with_name("none")),
):
    try:
        bad()
    except Exception as error:
        print(type(error).__name__)
