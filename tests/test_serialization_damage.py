"""Damaged files and hostile archives: each gives a clean error."""

import io
import os
import pickle
import random
import struct
import zipfile
import zlib
from collections import OrderedDict

import numpy as np
import pytest

from tests.serialization_stand_in import (
    DType,
    Size,
    Tensor,
    legacy_bytes,
    load,
    load_bytes,
    pack,
    tensor,
    zip_bytes,
)

CLEAN = (RuntimeError, pickle.UnpicklingError, EOFError)


def sample():
    base = tensor(np.arange(12.0, dtype=np.float32).reshape(3, 4))
    state = OrderedDict(weight=base, tied=base)
    state._metadata = OrderedDict({"": {"version": 1}})
    view = Tensor(base.base, 2, (2,), (3,), "float32")
    parameter = tensor(np.arange(4), is_parameter=True)
    small = tensor(np.arange(4, dtype=np.uint16))
    mixed = [(1, 2.5, "text"), Size((2, 3)), DType("bool"), {1}, b"ab", 2**40, 1j, bytearray(b"x")]
    return {"state": state, "view": view, "p": parameter, "u": small, "mixed": mixed}


def say(obj):
    """Everything an object holds, as text."""
    if isinstance(obj, Tensor):
        return f"{obj.dtype_name}{obj.numpy().tolist()}{obj.requires_grad}{obj.is_parameter}"
    if isinstance(obj, dict):
        return f"{ {say(k): say(v) for k, v in obj.items()} }{getattr(obj, '__dict__', '')}"
    if isinstance(obj, (list, tuple)):
        return f"{type(obj)}{[say(item) for item in obj]}"
    return repr(obj)


def entries_of(data):
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        return {name: source.read(name) for name in source.namelist()}


def outcome(data):
    """What a file says, or the clean error that it gives; any other error is the test's."""
    try:
        return say(load_bytes(data))
    except CLEAN as error:
        assert str(error)
        return type(error)


# ---- accidents ---------------------------------------------------------------


@pytest.mark.parametrize("write", [zip_bytes, legacy_bytes])
def test_truncated_at_every_place(write):
    data = write(sample())
    assert outcome(data) == say(sample())
    for length in range(len(data)):
        assert outcome(data[:length]) in CLEAN, length


@pytest.mark.parametrize("change", [0x01, 0x80, 0xFF])
def test_every_byte_of_an_archive_flipped(change):
    """It fails, or the byte did not matter."""
    data, expected = zip_bytes(sample()), say(sample())
    failed = 0
    for i in range(len(data)):
        damaged = bytearray(data)
        damaged[i] ^= change
        found = outcome(bytes(damaged))
        assert found in CLEAN or found == expected, i
        failed += found != expected
    # Paddings and dates do not matter; all else is checked.
    content = sum(len(entry) for entry in entries_of(data).values())
    assert failed > content


@pytest.mark.parametrize("change", [0x01, 0x20, 0x80, 0xFF])
def test_every_byte_of_a_legacy_file_flipped(change):
    """There is no CRC here: the error is clean, or there is none."""
    data = legacy_bytes(sample())
    for i in range(len(data)):
        damaged = bytearray(data)
        damaged[i] ^= change
        outcome(bytes(damaged))


def test_pickle_damaged_under_a_correct_crc():
    entries = entries_of(zip_bytes(sample()))
    body = entries["archive/data.pkl"]
    rng = random.Random(0)
    for i in range(len(body)):
        for _ in range(4):
            damaged = bytearray(body)
            damaged[i] = rng.randrange(256)
            outcome(pack(entries | {"archive/data.pkl": bytes(damaged)}))
    for _ in range(500):
        damaged = bytearray(body)
        for _ in range(rng.randrange(2, 10)):
            i = rng.randrange(len(damaged))
            match rng.randrange(3):
                case 0:
                    damaged[i] = rng.randrange(256)
                case 1:
                    del damaged[i : i + rng.randrange(20)]
                case 2:
                    damaged[i:i] = damaged[i : i + rng.randrange(20)]
        outcome(pack(entries | {"archive/data.pkl": bytes(damaged)}))


def test_random_bytes():
    rng = random.Random(0)
    for start in (b"", b"PK\3\4", b"\x80\x02", b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."):
        for _ in range(100):
            assert outcome(start + rng.randbytes(rng.randrange(200))) in CLEAN


@pytest.mark.parametrize(
    "data", [b"", b"P", b"PK\3\4", b"{}", b"\x89PNG\r\n", b"ustar" * 100, pack({})]
)
def test_not_our_files(data):
    assert outcome(data) in CLEAN
    with pytest.raises(CLEAN):
        load_bytes(data, weights_only=False)


# ---- hostile archives --------------------------------------------------------


def entries(**changes):
    found = entries_of(zip_bytes(sample()))
    for name, content in changes.items():
        name = "archive/" + name.replace("__", "/").replace("_pkl", ".pkl")
        if content is None:
            del found[name]
        else:
            found[name] = content
    return found


def repacked(**options):
    """The sample, packed by zipfile."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **options) as target:
        for name, content in entries().items():
            target.writestr(name, content)
    return buffer.getvalue()


def overlapping():
    """Two entries of the directory that lie on the same bytes."""
    data = bytearray(zip_bytes(sample()))
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        first, second = (source.getinfo(f"archive/data/{i}") for i in (0, 1))
    at = data.index(b"PK\1\2", data.rindex(b"archive/data/0"))
    assert data[at + 46 : at + 60] == b"archive/data/1"
    data[at + 42 : at + 46] = struct.pack("<I", first.header_offset)
    assert first.header_offset < second.header_offset
    return bytes(data)


def directory_field(name, offset, value):
    """The sample, with bytes changed in an entry's line of the directory."""
    data = bytearray(zip_bytes(sample()))
    at = data.rindex(name.encode()) - 46
    assert data[at : at + 4] == b"PK\1\2"
    data[at + offset : at + offset + len(value)] = value
    return bytes(data)


HUGE = struct.pack("<II", 0xFFFFFFF0, 0xFFFFFFF0)
ARCHIVES = {
    "compressed": (lambda: repacked(compression=zipfile.ZIP_DEFLATED), "compressed"),
    "no data.pkl": (lambda: pack(entries(data_pkl=None)), "data.pkl"),
    "no version": (lambda: pack(entries(version=None)), "version"),
    "newer version": (lambda: pack(entries(version=b"11")), "at most 10"),
    "no number": (lambda: pack(entries(version=b"abc")), "version"),
    "storage missing": (lambda: pack(entries(data__0=None)), "data/0"),
    "storage short": (lambda: pack(entries(data__0=bytes(44))), "44 bytes, and 48"),
    "no folder": (lambda: pack({"data.pkl": b"x"}), "subdirectory"),
    "two folders": (lambda: pack(entries() | {"other/x": b""}), "folder of the others"),
    "leaves its folder": (lambda: pack(entries() | {"../x": b""}), "folder of the others"),
    "absolute": (lambda: pack(entries() | {"/etc/passwd": b""}), "folder of the others"),
    "twice": (
        lambda: pack([*entries().items(), ("archive/data.pkl", b"N.")]),
        "is there twice",
    ),
    "torchscript": (lambda: pack(entries() | {"archive/constants.pkl": b""}), "TorchScript"),
    "overlapping": (overlapping, "another name|larger than its place"),
    "larger than the file": (lambda: directory_field("archive/data/0", 20, HUGE), "its place"),
    "smaller than the storage": (
        lambda: directory_field("archive/data/0", 20, struct.pack("<II", 8, 8)),
        "8 bytes, and 48",
    ),
    "encrypted": (lambda: directory_field("archive/data/0", 8, b"\x01"), "encrypted"),
    "position beyond": (
        lambda: directory_field("archive/data/0", 42, b"\xff\xff\xff\x7f"),
        "archive",
    ),
    "damaged storage": (lambda: directory_field("archive/data/0", 16, b"\1\2\3\4"), "CRC-32"),
    "damaged pickle": (lambda: directory_field("archive/data.pkl", 16, b"\1\2\3\4"), "CRC-32"),
}


@pytest.mark.parametrize("name", ARCHIVES)
@pytest.mark.parametrize("mmap", [False, True])
def test_hostile_archives(name, mmap, tmp_path):
    make, message = ARCHIVES[name]
    path = tmp_path / "x.pt"
    path.write_bytes(make())
    if mmap and name == "damaged storage":
        return  # not read, so not checked
    with pytest.raises(RuntimeError, match=message):
        load(path, mmap=mmap)
    assert os.listdir(tmp_path) == ["x.pt"]


def test_repacked_archives_load():
    assert say(load_bytes(repacked())) == say(sample())
    assert say(load_bytes(pack({"archive/": b""} | entries()))) == say(sample())


def test_unknown_byte_order():
    with pytest.raises(ValueError, match="endianness"):
        load_bytes(pack(entries(byteorder=b"middle")))


def test_archive_without_crcs(monkeypatch):
    """PyTorch can be told to leave them out."""
    monkeypatch.setattr(zlib, "crc32", lambda data: 0)
    data = zip_bytes(sample())
    monkeypatch.undo()
    assert say(load_bytes(data)) == say(sample())


def test_legacy_storages_that_do_not_match():
    data = legacy_bytes(tensor(np.arange(4)))
    keys = pickle.dumps(["0"], protocol=2)
    assert data.count(keys) == 1
    for other in (["1"], [], ["0", "0"], [0], "0", None, {"0": 1}):
        assert outcome(data.replace(keys, pickle.dumps(other, protocol=2))) in CLEAN
    size = struct.pack("<q", 4)
    for other in (3, 5, -1, 2**62):
        assert outcome(data.replace(size, struct.pack("<q", other))) in CLEAN
