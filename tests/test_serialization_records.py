"""Files in PyTorch's format, exchanged with PyTorch in both directions."""

import argparse
import io
import pickle
import zipfile
from collections import Counter, OrderedDict

import numpy as np
import pytest

from tests.serialization_stand_in import (
    Device,
    DType,
    Size,
    Tensor,
    legacy_bytes,
    load,
    save,
    zip_bytes,
)
from torchlike import _serialization as fmt
from torchlike._serialization import archive

torch = pytest.importorskip("torch")
serialization_config = pytest.importorskip("torch.utils.serialization.config")


def torch_bytes(obj, **options):
    buffer = io.BytesIO()
    torch.save(obj, buffer, **options)
    return buffer.getvalue()


def raw_bytes(value):
    """What a tensor of torch or the stand-in holds, in row-major order."""
    if isinstance(value, torch.Tensor):
        value = value.detach().contiguous()
        if value.numel() == 0:
            return b""
        return value.reshape(-1).view(torch.uint8).numpy().tobytes()
    return np.ascontiguousarray(value.numpy()).tobytes()


def assert_same(theirs, ours):
    """An object of torch, and one of the stand-in's world, say the same."""
    if isinstance(theirs, torch.Tensor):
        assert isinstance(ours, Tensor)
        assert str(theirs.dtype) == f"torch.{ours.dtype_name}"
        assert tuple(theirs.shape) == ours.size
        assert theirs.stride() == ours.stride
        assert theirs.storage_offset() == ours.offset
        assert theirs.requires_grad == ours.requires_grad
        assert isinstance(theirs, torch.nn.Parameter) == ours.is_parameter
        assert raw_bytes(theirs) == raw_bytes(ours)
    elif isinstance(theirs, torch.Size):
        assert type(ours) is Size and tuple(theirs) == ours
    elif isinstance(theirs, torch.dtype):
        assert DType(str(theirs).removeprefix("torch.")) == ours
    elif isinstance(theirs, torch.device):
        assert Device(theirs.type, theirs.index) == ours
    elif isinstance(theirs, dict):
        assert type(theirs) is type(ours)
        assert list(theirs) == list(ours)
        for key, value in theirs.items():
            assert_same(value, ours[key])
        assert getattr(theirs, "__dict__", None) == getattr(ours, "__dict__", None)
    elif isinstance(theirs, (list, tuple)):
        assert type(theirs) is type(ours) and len(theirs) == len(ours)
        for one, other in zip(theirs, ours, strict=True):
            assert_same(one, other)
    else:
        assert type(theirs) is type(ours)
        assert theirs == ours or repr(theirs) == repr(ours)  # nan


# ---- what both sides can say -------------------------------------------------


def trained_model():
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2), torch.nn.Flatten(), torch.nn.Linear(8, 3)
    )
    optimizers = [
        torch.optim.Adam(model.parameters(), amsgrad=True, lr=torch.tensor(0.1)),
        torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
    ]
    scheduler = torch.optim.lr_scheduler.StepLR(optimizers[1], 2)
    model(torch.randn(4, 1, 4, 4)).sum().backward()
    for optimizer in optimizers:
        optimizer.step()
    scheduler.step()
    return {
        "model": model.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
        "scheduler": scheduler.state_dict(),
        "epoch": 3,
        "best": 0.25,
        "name": "run",
        "args": {"lr": 1e-3, "layers": (1, 2), "resume": None, "amp": False},
    }


def views():
    base = torch.arange(24.0).reshape(4, 6)
    return {
        "base": base,
        "row": base[1],
        "column": base[:, 2],
        "transposed": base.t(),
        "steps": base[::2, 1::3],
        "expanded": base[0, :1].expand(3, 4),
        "diagonal": base.diagonal(),
        "scalar": base[2, 3],
        "alone": torch.arange(10)[3:5],
    }


def recursive_list():
    items = [1]
    items.append(items)
    return items


def recursive_dict():
    table = {"name": "self"}
    table["self"] = table
    table["pair"] = (table, [table])
    return table


def tied():
    layer = torch.nn.Linear(3, 3, bias=False)
    model = torch.nn.Sequential(layer, torch.nn.Linear(3, 3, bias=False))
    model[1].weight = layer.weight
    return {"state": model.state_dict(), "again": [layer.weight, model[1].weight]}


EXCHANGED = {
    "trained model": trained_model,
    "views": views,
    "tied": tied,
    "0-d": lambda: torch.tensor(2.5),
    "empty": lambda: [torch.empty(0), torch.empty(0, 3), torch.empty(2, 0, 1)[:, :, 0]],
    "parameter": lambda: torch.nn.Parameter(torch.randn(2)),
    "frozen parameter": lambda: torch.nn.Parameter(torch.ones(2), requires_grad=False),
    "requires grad": lambda: torch.ones(2, requires_grad=True),
    "sizes": lambda: [torch.Size([]), torch.Size([2, 3])],
    "dtypes": lambda: [torch.float32, torch.bfloat16, torch.uint16, torch.bool],
    "devices": lambda: [torch.device("cpu"), torch.device("cuda", 1), torch.device("meta")],
    "numbers": lambda: [
        *(0, 1, 255, 256, 65535, 65536, -1, 2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**70),
        *(-(2**70), 1.5, -0.0, float("inf"), float("nan"), True, False, None, 1 - 2j),
    ],
    "text": lambda: ["", "a", "äöü 漢字 🙂", "line\nline", "\ud800", "x" * 300, b"", b"\x00\xff"],
    "containers": lambda: [
        *((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], [[]], {}, {1: {2: 3}}),
        *({1, 2}, set(), bytearray(b"ab"), bytearray(), Counter("abca")),
        OrderedDict([("b", 1), ("a", 2)]),
    ],
    "keys": lambda: {1: "a", "b": 2, (1, "x"): 3, None: 4, False: 5, 2.5: 6, b"k": 7},
    "many": lambda: [list(range(2500)), {i: str(i) for i in range(2500)}, tuple(range(2500))],
    "memo beyond 255": lambda: [[str(i), str(i)] for i in range(400)],
    "shared list": lambda: (lambda x: [x, x, {"x": x}])([1, 2]),
}
EXCHANGED_RECURSIVE = {"list": recursive_list, "dict": recursive_dict}
WRITERS = {
    "zip": torch_bytes,
    "legacy": lambda obj: torch_bytes(obj, _use_new_zipfile_serialization=False),
    "protocol 4": lambda obj: torch_bytes(obj, pickle_protocol=4),
}


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("name", EXCHANGED)
def test_exchange(name, writer):
    """torch writes, we read; we write what we read, torch reads it."""
    theirs = EXCHANGED[name]()
    data = WRITERS[writer](theirs)
    ours = load(io.BytesIO(data))
    assert_same(theirs, ours)
    assert_same(theirs, load(io.BytesIO(data), weights_only=False))
    for written in (zip_bytes(ours), legacy_bytes(ours)):
        assert_same(torch.load(io.BytesIO(written), weights_only=True), ours)
        assert_same(theirs, load(io.BytesIO(written)))


@pytest.mark.parametrize("name", EXCHANGED)
def test_mmap(name, tmp_path):
    theirs, path = EXCHANGED[name](), tmp_path / "x.pt"
    torch.save(theirs, path)
    ours = load(path, mmap=True)
    assert_same(theirs, ours)
    save(ours, tmp_path / "y.pt")
    assert_same(torch.load(tmp_path / "y.pt", mmap=True), ours)
    # PyTorch can also reckon where the storages are, if the file claims its writer's layout.
    with serialization_config.patch("load.calculate_storage_offsets", True):
        assert_same(torch.load(tmp_path / "y.pt", mmap=True), ours)


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("name", EXCHANGED_RECURSIVE)
def test_recursive_containers(name, writer):
    data = WRITERS[writer](EXCHANGED_RECURSIVE[name]())
    ours = load(io.BytesIO(data))
    for obj in (ours, torch.load(io.BytesIO(zip_bytes(ours)))):
        if name == "list":
            assert obj[1] is obj
        else:
            assert obj["self"] is obj
            assert obj["pair"][0] is obj and obj["pair"][1][0] is obj


class Member:
    of = None


def test_recursive_tuple_and_object():
    items = []
    pair = (items, 1, 2, 3)
    items.append(pair)
    items.append((items,))
    space = argparse.Namespace(pair=pair)
    space.self = space
    member = Member()
    member.of = frozenset([member])  # made by a call whose argument contains the result
    data = zip_bytes([pair, space, member.of])
    for read in (lambda: load(io.BytesIO(data), weights_only=False), lambda: pickled(data)):
        first, second, third = read()
        assert next(iter(third)).of is third
        assert first[0][0] is first and first[0][1][0] is first[0]
        assert second.pair is first and second.self is second


def pickled(data):
    return torch.load(io.BytesIO(data), weights_only=False)


@pytest.mark.parametrize("kind", [list, tuple, dict])
def test_deep_nesting(kind):
    def nested(depth):
        obj = kind()
        for _ in range(depth):
            obj = {"x": obj} if kind is dict else kind([obj])
        return obj

    def depth(obj):
        count = 0
        while obj:
            obj, count = obj["x"] if kind is dict else obj[0], count + 1
        return count

    data = zip_bytes(nested(50_000))
    assert depth(load(io.BytesIO(data))) == 50_000
    assert depth(torch.load(io.BytesIO(data))) == 50_000


# ---- dtypes ------------------------------------------------------------------


@pytest.mark.parametrize("name", fmt.DTYPE_NAMES)
@pytest.mark.parametrize("legacy", [False, True])
def test_every_dtype(name, legacy):
    dtype = getattr(torch, name)
    bits = torch.arange(48, dtype=torch.uint8)
    whole = bits.clamp(max=1).bool() if name == "bool" else bits.view(dtype)
    theirs = {"all": whole, "part": whole[1:2], "0-d": whole[0], "empty": whole[:0]}
    data = torch_bytes(theirs, _use_new_zipfile_serialization=not legacy)
    ours = load(io.BytesIO(data))
    assert_same(theirs, ours)
    assert ours["all"].base.dtype == fmt.numpy_dtype(name)
    assert ours["all"].storage is ours["part"].storage is ours["0-d"].storage
    assert_same(theirs, load(io.BytesIO(legacy_bytes(ours))))
    for written in (zip_bytes(ours), legacy_bytes(ours)):
        if written[:2] != b"PK" and name.startswith(("uint16", "uint32", "uint64", "float8")):
            continue  # PyTorch writes these in its old format, and cannot read them
        back = torch.load(io.BytesIO(written))
        assert_same(back, ours)
        assert back["part"].untyped_storage()._cdata == back["all"].untyped_storage()._cdata


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_unsupported_tensors_are_named():
    cases = {
        "sparse": torch.eye(2).to_sparse(),
        "complex32": torch.ones(2, dtype=torch.complex32),
        "QInt8Storage|quantized": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
    }
    for message, value in cases.items():
        with pytest.raises(pickle.UnpicklingError, match=message):
            load(io.BytesIO(torch_bytes(value)))


# ---- storages ----------------------------------------------------------------


@pytest.mark.parametrize("legacy", [False, True])
def test_shared_storages_stay_shared(legacy):
    obj = [tied(), views()]
    ours = load(io.BytesIO(torch_bytes(obj, _use_new_zipfile_serialization=not legacy)))
    state, again = ours[0]["state"], ours[0]["again"]
    assert state["0.weight"].storage is state["1.weight"].storage
    assert again[0] is again[1]
    assert {id(t.storage) for key, t in ours[1].items() if key != "alone"} == {
        id(ours[1]["base"].storage)
    }
    ours[1]["base"].base[0] = 99
    back = torch.load(io.BytesIO(zip_bytes(ours)))
    assert back[1]["row"].untyped_storage()._cdata == back[1]["base"].untyped_storage()._cdata
    assert back[1]["expanded"].tolist() == [[99.0] * 4] * 3
    assert back[0]["again"][0] is back[0]["again"][1]


def test_each_storage_is_written_and_read_once():
    base = np.arange(6, dtype=np.float32)
    reads = []
    source = fmt.StorageSource("one", "float32", 6, lambda: reads.append(1) or base)
    windows = [fmt.TensorRecord(source, k, (2,), (1,)) for k in range(3)]
    buffer = io.BytesIO()
    fmt.write_zip(buffer, windows, describe=lambda obj: None)
    assert len(reads) == 1
    assert buffer.getvalue().count(b"_rebuild_tensor_v2") == 1
    assert [n for n in zipfile.ZipFile(buffer).namelist() if "/data/" in n] == ["archive/data/0"]


def test_views_with_another_dtype_are_refused():
    base = np.zeros(4, np.int32)
    source = fmt.StorageSource(1, "int32", 4, lambda: base)
    windows = [
        fmt.TensorRecord(source, 0, (4,), (1,)),
        fmt.TensorRecord(source, 0, (4,), (1,), dtype_name="float32"),
    ]
    with pytest.raises(RuntimeError, match="view the same data as different types"):
        fmt.write_zip(io.BytesIO(), windows, describe=lambda obj: None)
    buffer = io.BytesIO()
    fmt.write_zip(buffer, windows[1], describe=lambda obj: None)
    buffer.seek(0)
    assert torch.equal(torch.load(buffer), torch.zeros(4))


@pytest.mark.parametrize("legacy", [False, True])
def test_map_location_hook(legacy):
    seen = []

    def hook(storage, location):
        seen.append((storage.numel, location))
        return "cuda:1" if storage.numel == 2 else None

    data = torch_bytes(
        [torch.ones(2), torch.ones(3), torch.ones(3)], _use_new_zipfile_serialization=not legacy
    )
    ours = load(io.BytesIO(data), map_location_hook=hook)
    assert [t.location for t in ours] == ["cuda:1", "cpu", "cpu"]
    assert sorted(seen) == [(2, "cpu"), (3, "cpu"), (3, "cpu")]


def test_read_arrays_are_writable_and_aligned(tmp_path):
    path = tmp_path / "x.pt"
    torch.save([torch.ones(n) for n in (1, 7, 100, 10_000)], path)
    before = path.read_bytes()
    for options in ({}, {"mmap": True}):
        for made in load(path, **options):
            assert made.base.ctypes.data % 64 == 0
            made.base[0] = 5
    assert path.read_bytes() == before


def test_big_endian_files_are_swapped():
    values = [torch.arange(4.0), torch.arange(3), torch.ones(2, dtype=torch.complex64) * (1 + 2j)]
    values += [torch.arange(4.0, dtype=torch.bfloat16), torch.tensor([True, False])]
    changed = io.BytesIO()
    writer = archive.ZipWriter(changed)
    with zipfile.ZipFile(io.BytesIO(torch_bytes(values))) as source:
        for name in source.namelist():
            data = source.read(name)
            if name.endswith("byteorder"):
                data = b"big"
            if "/data/" in name:
                value = values[int(name.rpartition("/")[2])]
                size = value.element_size() // (2 if value.is_complex() else 1)
                data = np.frombuffer(data, f"u{size}").byteswap().tobytes()
            writer.add(name, data)
    writer.close()
    changed.seek(0)
    assert_same(values, load(changed))
