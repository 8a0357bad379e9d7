"""torchlike.utils.safetensors: files are read by the package's torch module, and the reverse."""

import numpy as np
import pytest

import torchlike as tl
from torchlike.utils import safetensors as ours

torch = pytest.importorskip("torch")
theirs = pytest.importorskip("safetensors.torch")

DTYPES = (
    "float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8 bool uint64 uint32 uint16 "
    "complex64 float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz float8_e8m0fnu"
)


def raw(t):
    return t.contiguous().reshape(-1).view(tl.uint8 if isinstance(t, tl.Tensor) else torch.uint8)


def same(mine, other):
    assert mine.keys() == other.keys()
    for name, t in mine.items():
        o = other[name]
        assert str(t.dtype) == str(o.dtype) and tuple(t.shape) == tuple(o.shape)
        assert np.array_equal(raw(t).numpy(), raw(o).numpy()) if t.numel() else True


def tensors(m):
    made = {
        name: m.arange(12).reshape(3, 4).to(getattr(m, name))
        for name in DTYPES.split()
        if name != "float8_e8m0fnu"
    }
    return made | {"scalar": m.tensor(1.5), "empty": m.zeros(0, 3), "one": m.ones(1, 1, 1)}


def test_files_go_both_ways(tmp_path):
    path = tmp_path / "a.safetensors"
    ours.save_file(tensors(tl), path, metadata={"of": "us"})
    same(tensors(tl), theirs.load_file(path))
    with theirs.safe_open(path, framework="pt") as f:
        assert f.metadata() == {"of": "us"}
    theirs.save_file(tensors(torch), path, metadata={"of": "them"})
    same(ours.load_file(path), tensors(torch))
    assert ours.save(tensors(tl)) == theirs.save(tensors(torch))
    same(ours.load(theirs.save(tensors(torch))), tensors(torch))


def test_one_by_one(tmp_path):
    path = tmp_path / "a.safetensors"
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    theirs.save_file({"x": torch.from_numpy(x), "b": torch.ones(2)}, path, {"k": "v"})
    with ours.safe_open(path, framework="pt", device="cpu") as f, theirs.safe_open(path, "pt") as g:
        assert (f.metadata(), sorted(f.keys())) == (g.metadata(), sorted(g.keys()))
        assert f.offset_keys() == g.offset_keys()
        for index in (0, slice(None), (slice(None), 1), (..., slice(1, 3)), (1, slice(0, 2), 3)):
            found, wanted = f.get_slice("x")[index], g.get_slice("x")[index]
            assert np.array_equal(found.numpy(), wanted.numpy())
        assert f.get_slice("x").get_shape() == [2, 3, 4] and f.get_slice("x").get_dtype() == "F32"
        with pytest.raises(Exception, match="does not contain tensor"):
            f.get_tensor("none")
    with pytest.raises(Exception, match="closed"):
        f.get_tensor("x")


def test_a_loaded_tensor_is_written_to_but_not_the_file(tmp_path):
    path = tmp_path / "a.safetensors"
    ours.save_file({"x": tl.zeros(4)}, path)
    x = ours.load_file(path)["x"]
    x += 1
    assert x.tolist() == [1] * 4 and ours.load_file(path)["x"].tolist() == [0] * 4


def test_places(tmp_path):
    path = tmp_path / "a.safetensors"
    ours.save_file({"x": tl.zeros(4)}, path)
    assert ours.load_file(path, device="meta")["x"].device.type == "meta"
    if not tl.cuda.is_available():
        with pytest.raises(AssertionError, match="CUDA"):
            ours.load_file(path, device=0)


def tied(m):
    m.manual_seed(0)
    net = m.nn.ModuleDict({"a": m.nn.Linear(3, 3), "b": m.nn.Linear(3, 3, bias=False)})
    net["b"].weight = net["a"].weight
    return net


@pytest.mark.parametrize("writer", [(tl, ours), (torch, theirs)], ids=["ours", "theirs"])
def test_modules_with_shared_weights(writer, tmp_path):
    m, library = writer
    path = tmp_path / "a.safetensors"
    library.save_model(tied(m), path)
    for other, reader in ((tl, ours), (torch, theirs)):
        other.manual_seed(1)
        fresh = other.nn.ModuleDict(
            {"a": other.nn.Linear(3, 3), "b": other.nn.Linear(3, 3, bias=False)}
        )
        fresh["b"].weight = fresh["a"].weight
        assert reader.load_model(fresh, path) == (set(), [])
        wanted = tied(m)["a"].weight.detach().numpy()
        assert np.array_equal(fresh["b"].weight.detach().numpy(), wanted)
    with ours.safe_open(path) as f:
        assert f.metadata() == {"b.weight": "a.weight"} and len(f.keys()) == 2


BAD = {
    "shared": lambda m, s, p: s.save_file({"a": (t := m.ones(4)), "b": t.view(2, 2)}, p),
    "same": lambda m, s, p: s.save_file({"a": (t := m.ones(4)), "b": t}, p),
    "overlap": lambda m, s, p: s.save_file({"a": (t := m.ones(4))[:3], "b": t[1:]}, p),
    "strided": lambda m, s, p: s.save_file({"a": m.ones(2, 3).t()}, p),
    "no tensor": lambda m, s, p: s.save_file({"a": 3}, p),
    "no dict": lambda m, s, p: s.save_file([m.ones(2)], p),
    "sparse": lambda m, s, p: s.save_file({"a": m.eye(2).to_sparse()}, p),
    "missing": lambda m, s, p: s.load_model(m.nn.Linear(3, 3), _file(m, s, p)),
    "garbage": lambda m, s, p: s.load(b"\xff" * 40),
    "short": lambda m, s, p: s.load(s.save({"a": m.ones(9)})[:-4]),
    "no file": lambda m, s, p: s.load_file(p.with_name("none")),
    "no model": lambda m, s, p: s.save_model(_halves(m), p),
}


def _file(m, s, path):
    s.save_file({"weight": m.ones(3, 3), "other": m.ones(1)}, path)
    return path


def _halves(m):
    net, whole = m.nn.Module(), m.ones(4)
    net.register_buffer("a", whole[:3])
    net.register_buffer("b", whole[1:])
    return net


@pytest.mark.parametrize("name", BAD)
def test_errors(name, tmp_path):
    raised = []
    for m, library in ((torch, theirs), (tl, ours)):
        with pytest.raises(Exception) as caught:
            BAD[name](m, library, tmp_path / "a.safetensors")
        raised.append(caught.type)
    assert raised[0] is raised[1]


def test_parts_that_do_not_overlap(tmp_path):
    for m, library in ((torch, theirs), (tl, ours)):
        whole = m.arange(6.0)
        library.save_file({"a": whole[:3], "b": whole[3:]}, tmp_path / "a.safetensors")
        assert ours.load_file(tmp_path / "a.safetensors")["b"].tolist() == [3, 4, 5]
