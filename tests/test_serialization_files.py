"""Files in PyTorch's format: which objects they hold, and where they are written and read."""

import argparse
import collections
import datetime
import enum
import io
import os
import pathlib
import pickle
import stat
import zipfile

import ml_dtypes
import numpy as np
import pytest

from tests.serialization_stand_in import (
    MAKERS,
    describe,
    legacy_bytes,
    load,
    save,
    tensor,
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


def pickled(data):
    return torch.load(io.BytesIO(data), weights_only=False)


# ---- objects, and names ------------------------------------------------------


class Color(enum.Enum):
    RED = 1


class Point(collections.namedtuple("Point", "x y")):
    pass


class Slotted:
    __slots__ = ("a", "b")

    def __init__(self):
        self.a, self.b = 1, [2]

    def __eq__(self, other):
        return (self.a, self.b) == (other.a, other.b)


class WithKeywords:
    def __new__(cls, *, a):
        made = super().__new__(cls)
        made.a = a
        return made

    def __getnewargs_ex__(self):
        return (), {"a": self.a}

    def __eq__(self, other):
        return self.a == other.a

    class Inner:
        pass


class Subdict(dict):
    def __init__(self, *args):
        super().__init__(*args)
        self.note = "kept"


OBJECTS = {
    "enum": Color.RED,
    "namedtuple": Point(1, [2]),
    "slots": Slotted(),
    "keywords": WithKeywords(a=3),
    "subclass of dict": Subdict([("a", 1)]),
    "defaultdict": collections.defaultdict(list, a=[1]),
    "deque": collections.deque([1, 2], maxlen=3),
    "frozenset": frozenset([1, 2]),
    "date": datetime.datetime(2020, 1, 2, tzinfo=datetime.UTC),
    "path": pathlib.PurePosixPath("a/b"),
    "namespace": argparse.Namespace(lr=0.1),
    "function": os.path.join,
    "builtin": len,
    "class": Point,
    "nested class": WithKeywords.Inner,
    "bound method of class": datetime.date.fromisoformat,
    "range": range(3),
    "slice": slice(1, 2),
    "none type": type(None),
    "ellipsis": ...,
    "numpy array": np.arange(6).reshape(2, 3),
    "numpy scalar": np.float32(2.5),
    "numpy dtype": np.dtype("int16"),
    "exception": KeyError("a"),
}


@pytest.mark.parametrize("name", OBJECTS)
def test_python_objects(name):
    obj = OBJECTS[name]
    data = zip_bytes([obj, obj])
    assert zipfile.ZipFile(io.BytesIO(data)).read("archive/data.pkl")[:2] == b"\x80\x02"
    for first, second in (load(io.BytesIO(data), weights_only=False), pickled(data)):
        assert type(first) is type(obj)
        assert repr(first) == repr(obj) or first == obj
        if not isinstance(obj, type) and name != "bound method of class":
            assert first is second


@pytest.mark.parametrize(
    ("obj", "error"),
    [
        (lambda: 0, pickle.PicklingError),
        (io, TypeError),
        ((i for i in range(3)), TypeError),
    ],
)
def test_what_cannot_be_saved(obj, error, tmp_path):
    path = tmp_path / "x.pt"
    path.write_bytes(b"before")
    with pytest.raises(error):
        save({"a": obj}, path)
    assert path.read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["x.pt"]


def test_describe_names_classes():
    """A caller can write its own classes under torch's names, and read them back as its own."""

    def with_names(obj):
        if obj is Point:
            return fmt.GlobalName("torch.nn.modules.point", "Point")
        return describe(obj)

    buffer = io.BytesIO()
    fmt.write_zip(buffer, {"p": Point(1, 2)}, describe=with_names)
    assert b"ctorch.nn.modules.point\nPoint\n" in buffer.getvalue()
    names = {"torch.nn.modules.point.Point": Point}
    for weights_only in (True, False):
        buffer.seek(0)
        found = load(buffer, weights_only=weights_only, extra_globals=names)
        assert found == {"p": Point(1, 2)} and type(found["p"]) is Point
    buffer.seek(0)
    with pytest.raises(pickle.UnpicklingError, match=r"torch\.nn\.modules\.point\.Point"):
        load(buffer, weights_only=False)


def test_numpy_with_extra_globals():
    obj = {"a": np.arange(3.0), "s": np.float64(1.5)}
    names = ["_reconstruct", "scalar"]
    allowed = {f"numpy._core.multiarray.{n}": getattr(np._core.multiarray, n) for n in names}
    allowed |= {"numpy.ndarray": np.ndarray, "numpy.dtype": np.dtype}
    allowed |= {"numpy.dtypes.Float64DType": type(np.dtype("f8"))}
    for data in (torch_bytes(obj), zip_bytes(obj)):
        with pytest.raises(pickle.UnpicklingError, match="add_safe_globals"):
            load(io.BytesIO(data))
        found = load(io.BytesIO(data), extra_globals=allowed)
        assert found["a"].tolist() == [0, 1, 2] and found["s"] == 1.5


def test_tensor_with_attributes():
    theirs = torch.ones(2)
    theirs.note = "kept"
    parameter = torch.nn.Parameter(torch.ones(2))
    parameter.note = {"a": 1}
    ours = load(io.BytesIO(torch_bytes([theirs, parameter])))
    assert [ours[0].note, ours[1].note] == ["kept", {"a": 1}]


def test_old_pickles():
    """Strings of Python 2 as text or bytes, and the first form of tensors."""
    body = (
        b"\x80\x02}q\x00(U\x01aq\x01ctorch._utils\n_rebuild_tensor\nq\x02((U\x07storageq\x03"
        b"ctorch\nFloatStorage\nq\x04U\x010U\x03cpuK\x03NtQK\x01K\x02\x85K\x01\x85tRq\x05u."
    )
    parts = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
    data = b"".join(pickle.dumps(part, protocol=2) for part in parts) + body
    data += pickle.dumps(["0"], protocol=2) + np.int64(3).tobytes()
    data += np.arange(3, dtype=np.float32).tobytes()
    assert load(io.BytesIO(data))["a"].numpy().tolist() == [1, 2]
    assert list(load(io.BytesIO(data), encoding="bytes")) == [b"a"]


# ---- files -------------------------------------------------------------------


def test_several_legacy_files_in_one_stream():
    stream = io.BytesIO()
    for value in (1, 2):
        torch.save(torch.full((3,), value), stream, _use_new_zipfile_serialization=False)
    stream.seek(0)
    assert [load(stream).base.tolist() for _ in range(2)] == [[1] * 3, [2] * 3]


def test_zip_behind_other_bytes():
    data = torch_bytes(torch.ones(3))
    stream = io.BytesIO(b"header" + data)
    stream.seek(6)
    assert load(stream).base.tolist() == [1] * 3
    stream = io.BytesIO(data + torch_bytes(torch.zeros(3)))
    with pytest.raises(RuntimeError, match="another archive"):
        load(stream)


def test_same_objects_make_same_file():
    obj = {"a": tensor(np.arange(3.0)), "b": [1, 2]}
    assert zip_bytes(obj) == zip_bytes(obj)


def test_storages_start_on_64_bytes(tmp_path):
    save([tensor(np.arange(n)) for n in range(1, 40)], tmp_path / "x.pt")
    reader = torch._C.PyTorchFileReader(str(tmp_path / "x.pt"))
    for name in reader.get_all_records():
        assert reader.get_record_offset(name) % 64 == 0


def test_zip64_records(monkeypatch, tmp_path):
    """The records for files beyond 4 GiB, at a size that a test can write."""
    monkeypatch.setattr(archive, "_LIMIT32", 300)
    monkeypatch.setattr(archive, "_LIMIT16", 2)
    save([tensor(np.arange(100.0)), tensor(np.arange(3.0))], tmp_path / "x.pt")
    data = (tmp_path / "x.pt").read_bytes()
    monkeypatch.undo()
    # The marks that say "look into the 64-bit fields" are the true limits.
    patched = data.replace((300).to_bytes(4, "little"), b"\xff" * 4)
    assert patched.count(b"PK\x06\x06") == 1
    ours = load(io.BytesIO(patched))
    assert ours[0].base.tolist() == list(range(100))
    theirs = torch.load(io.BytesIO(patched))
    assert theirs[0].tolist() == list(range(100)) and theirs[1].tolist() == [0, 1, 2]


class OnlyWrite:
    """A stream that can do no more than PyTorch asks of one."""

    def __init__(self):
        self.data = b""

    def write(self, data):
        self.data += bytes(data)

    def flush(self):
        self.flushed = len(self.data)


class OnlyRead:
    """A stream without readinto."""

    def __init__(self, data):
        stream = io.BytesIO(data)
        self.read, self.readline = stream.read, stream.readline
        self.seek, self.tell = stream.seek, stream.tell


def test_plain_streams():
    stream = OnlyWrite()
    save(tensor(np.arange(3.0)), stream)
    assert stream.flushed == len(stream.data)
    assert load(OnlyRead(stream.data)).base.tolist() == [0, 1, 2]
    legacy = torch_bytes(torch.arange(3.0), _use_new_zipfile_serialization=False)
    assert load(OnlyRead(legacy)).base.tolist() == [0, 1, 2]
    with pytest.raises(AttributeError, match="write"):
        save(1, object())
    with pytest.raises(AttributeError, match="seekable"):
        load(object())


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.pt"
    save(1, path)
    before = path.read_bytes()

    def fail():
        raise OSError("device lost")

    source = fmt.StorageSource(1, "float32", 2, fail)
    for write in (fmt.write_zip, fmt.write_legacy):
        with pytest.raises(OSError, match="device lost"):
            write(path, fmt.TensorRecord(source, 0, (2,), (1,)), describe=describe)
        assert path.read_bytes() == before
        assert os.listdir(tmp_path) == ["x.pt"]


def test_modes_and_links(tmp_path):
    path, link = tmp_path / "x.pt", tmp_path / "link.pt"
    save(1, path)
    plain = tmp_path / "plain"
    plain.write_bytes(b"")
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)
    path.chmod(0o600)
    link.symlink_to(path)
    save(2, link)
    assert link.is_symlink() and load(path) == 2
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    save(3, os.devnull)
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


def test_paths_that_cannot_be(tmp_path):
    with pytest.raises(RuntimeError, match="Parent directory"):
        save(1, tmp_path / "no" / "x.pt")
    with pytest.raises(IsADirectoryError):
        save(1, tmp_path)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "x.pt")
    with pytest.raises(ValueError, match="file path"):
        load(io.BytesIO(zip_bytes(1)), mmap=True)
    path = tmp_path / "old.pt"
    path.write_bytes(legacy_bytes(tensor(np.ones(2))))
    with pytest.raises(RuntimeError, match="mmap can only be used"):
        load(path, mmap=True)


def test_storage_that_gives_too_little():
    source = fmt.StorageSource(1, "float32", 4, lambda: np.zeros(3, np.float32))
    with pytest.raises(RuntimeError, match="16 bytes gave 12"):
        fmt.write_zip(
            io.BytesIO(), fmt.TensorRecord(source, 0, (4,), (1,)), describe=lambda obj: None
        )
    with pytest.raises(RuntimeError, match="only 16 bytes"):
        fmt.write_zip(
            io.BytesIO(), fmt.TensorRecord(source, 1, (4,), (1,)), describe=lambda obj: None
        )


def test_bfloat16_bytes_without_ml_dtypes_array():
    """A storage may hand over any array that has its bytes."""
    bits = np.array([1.5, -2], ml_dtypes.bfloat16).view(np.uint16)
    source = fmt.StorageSource(1, "bfloat16", 2, lambda: bits)
    buffer = io.BytesIO()
    fmt.write_zip(buffer, fmt.TensorRecord(source, 0, (2,), (1,)), describe=lambda obj: None)
    buffer.seek(0)
    assert torch.load(buffer).tolist() == [1.5, -2]


def test_makers_are_all_needed():
    with pytest.raises(TypeError):
        fmt.read(io.BytesIO(), **{k: v for k, v in MAKERS.items() if k != "make_size"})
