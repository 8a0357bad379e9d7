"""Hostile pickles: each is a clean error, runs nothing, and takes little memory."""

import io
import os
import pickle
import struct
import time
import tracemalloc

import numpy as np
import pytest

from tests.serialization_stand_in import (
    MAKERS,
    Tensor,
    load_bytes,
    pack,
    tensor,
    zip_bytes,
)
from torchlike import _serialization as fmt


def with_pickle(body, storages=()):
    """A correct archive around a pickle."""
    entries = {"archive/data.pkl": body, "archive/version": b"3\n", "archive/byteorder": b"little"}
    return pack(entries | {f"archive/data/{i}": data for i, data in enumerate(storages)})


# ---- hostile pickles ---------------------------------------------------------

P = b"\x80\x02"
TEXT = lambda s: b"X" + struct.pack("<I", len(s)) + s  # noqa: E731
STORAGE = (
    b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ"
)
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
HOOKS = b"ccollections\nOrderedDict\n)R"


def text(data):
    return b"X" + struct.pack("<I", len(data)) + data


def storage(kind=b"ctorch\nFloatStorage\n", key=b"X\1\0\0\x000", numel=b"K\4", name=b"storage"):
    return b"(" + text(name) + kind + key + text(b"cpu") + numel + b"tQ"


STORAGE = storage()


def rebuilt(storage=STORAGE, offset=b"K\0", size=b"K\2\x85", stride=b"K\1\x85", grad=b"\x89"):
    return P + REBUILD + b"(" + storage + offset + size + stride + grad + HOOKS + b"tR."


def nested_key(depth):
    return P + b"}K\x01" + b"\x85" * depth + b"K\x02s."


FORBIDDEN = {
    "os.system": P + b"cos\nsystem\n" + text(b"touch pwned") + b"\x85R.",
    "posix.system": P + b"cposix\nsystem\n" + text(b"touch pwned") + b"\x85R.",
    "nt.system": P + b"cnt\nsystem\n.",
    "sys.exit": P + b"csys\nexit\n)R.",
    "eval": P + b"c__builtin__\neval\n" + text(b"open('pwned','w').close()") + b"\x85R.",
    "exec": P + b"cbuiltins\nexec\n" + text(b"open('pwned','w').close()") + b"\x85R.",
    "getattr": P + b"cbuiltins\ngetattr\n.",
    "open": P + b"cio\nopen\n" + text(b"pwned") + text(b"w") + b"\x86R.",
    "__import__": P + b"cbuiltins\n__import__\n" + text(b"this") + b"\x85R.",
    "Popen": P + b"csubprocess\nPopen\n" + text(b"ls") + b"\x85R.",
    "import of a module": P + b"cantigravity\nx\n.",
    "torch.load": P + b"ctorch.serialization\nload\n" + text(b"x") + b"\x85R.",
    "torch.hub.load": P + b"ctorch.hub\nload\n" + text(b"x") + b"\x85R.",
    "_load_from_bytes": P + b"ctorch.storage\n_load_from_bytes\n.",
    "dotted name": P + b"ccollections\nOrderedDict.__init__.__globals__\n.",
    "dotted module": P + b"ctorch._utils._rebuild_tensor_v2\n__globals__\n.",
    "codecs other": P + b"c_codecs\ndecode\n.",
    "partial": P + b"cfunctools\npartial\n.",
    "reconstructor": P + b"ccopy_reg\n_reconstructor\n.",
    "numpy": P + b"cnumpy.core.multiarray\n_reconstruct\n.",
    "stack global": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.",
    "stack global of numbers": b"\x80\x04K\x01K\x02\x93.",
    "inst": P + b"(" + text(b"true") + b"ios\nsystem\n.",
    "obj": P + b"(cos\nsystem\n" + text(b"true") + b"o.",
    "extension": P + b"\x82\x01.",
    "new object of dict": P + b"c__builtin__\ndict\n)\x81.",
    "new object of text": P + text(b"a") + b")\x81.",
    "new OrderedDict with arguments": P + b"ccollections\nOrderedDict\nK\x01\x85\x81.",
    "call of text": P + text(b"a") + b")R.",
    "call of a dtype": P + b"ctorch\nfloat32\n)R.",
    "call of a storage class": P + b"ctorch\nFloatStorage\nK\x0a\x85R.",
    "call of a tensor class": P + b"ctorch\nTensor\nK\x0a\x85R.",
    "call with a list": P + b"ccollections\nOrderedDict\n]R.",
    "state of a dict": P + b"}}b.",
    "state of a tensor": rebuilt()[:-1] + b"}b.",
    "state hides a method": P + b"ccollections\nOrderedDict\n)R}" + text(b"items") + b"K\x01sb.",
    "state sets class": P + b"ccollections\nOrderedDict\n)R}" + text(b"__class__") + b"K\x01sb.",
    "append to a dict": P + b"}K\x01a.",
    "item of a list": P + b"]K\x01K\x02s.",
    "items of a tensor": rebuilt()[:-1] + b"(K\x01K\x02u.",
    "storage of another kind": P + storage(name=b"module") + b".",
    "storage of text": P + text(b"storage") + b"Q.",
    "storage class as text": P + storage(kind=text(b"FloatStorage")) + b".",
    "encode with a codec": P + b"c_codecs\nencode\n" + text(b"a") + text(b"idna") + b"\x86R.",
    "encode not latin": P
    + b"c_codecs\nencode\n"
    + text("ā".encode())
    + text(b"latin1")
    + b"\x86R.",
    "set of text": P + b"c__builtin__\nset\n" + text(b"abc") + b"\x85R.",
    "set of lists": P + b"c__builtin__\nset\n]]a\x85R.",
    "key is a list": P + b"}]K\x01s.",
    "complex of text": P + b"c__builtin__\ncomplex\n" + text(b"1") + b"\x85R.",
    "size of text": P + b"ctorch\nSize\n(" + text(b"1") + b"t\x85R.",
    "size negative": P + b"ctorch\nSize\nJ\xff\xff\xff\xff\x85\x85R.",
    "device of a number": P + b"ctorch\ndevice\nK\x01\x85R.",
    "too few arguments": P + REBUILD + b")R.",
    "parameter of a tuple": P + b"ctorch._utils\n_rebuild_parameter\n()\x88}tR.",
    "from another type": P + b"ctorch._tensor\n_rebuild_from_type_v2\n(cos\nsystem\nNNNtR.",
    "protocol 9": b"\x80\x09N.",
    "text protocol": b"S'a'\n.",
}


@pytest.mark.parametrize("name", FORBIDDEN)
@pytest.mark.parametrize("old", [False, True])
def test_forbidden(name, old, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = with_pickle(FORBIDDEN[name], [bytes(16)])
    if old:
        parts = [pickle.dumps(p, 2) for p in (0x1950A86A20F9469CFC6C, 1001, {})]
        keys = ["0"] if b"Q" in FORBIDDEN[name] and b"FloatStorage" in FORBIDDEN[name] else []
        tail = pickle.dumps(keys, 2) + (struct.pack("<q", 4) + bytes(16)) * len(keys)
        data = b"".join(parts) + FORBIDDEN[name] + tail
    with pytest.raises(pickle.UnpicklingError, match=r"^Weights only load failed\."):
        load_bytes(data)
    assert os.listdir() == []


def test_the_error_names_the_global_and_the_way_out():
    with pytest.raises(pickle.UnpicklingError) as caught:
        load_bytes(with_pickle(P + b"cmypackage.models\nNet\n)R."))
    text = str(caught.value)
    assert "GLOBAL mypackage.models.Net was not an allowed global by default" in text
    assert "torch.serialization.add_safe_globals([mypackage.models.Net])" in text
    assert "`weights_only` set to `False`" in text
    with pytest.raises(pickle.UnpicklingError, match="whose module os is blocked"):
        load_bytes(with_pickle(FORBIDDEN["os.system"]), extra_globals={"os.system": print})


def test_without_weights_only_the_file_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    load_bytes(with_pickle(FORBIDDEN["eval"]), weights_only=False)
    assert os.listdir() == ["pwned"]
    with pytest.raises(pickle.UnpicklingError, match=r"torch\.hub\.load, which is not provided"):
        load_bytes(with_pickle(FORBIDDEN["torch.hub.load"]), weights_only=False)


def test_errors_of_the_makers_are_not_dressed_up():
    def make_tensor(*args):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        fmt.read(io.BytesIO(zip_bytes(tensor([1.0]))), **MAKERS | {"make_tensor": make_tensor})


WINDOWS = {
    "fits": (rebuilt(), None),
    "fits to the end": (rebuilt(offset=b"K\x02"), None),
    "empty may start anywhere": (rebuilt(offset=b"K\x63", size=b"K\x00\x85"), None),
    "beyond the end": (rebuilt(offset=b"K\x03"), RuntimeError),
    "stride beyond": (rebuilt(stride=b"K\x04\x85"), RuntimeError),
    "size beyond": (rebuilt(size=b"K\x05\x85"), RuntimeError),
    "stride of 2**62": (rebuilt(stride=b"\x8a\x08" + b"\0" * 7 + b"\x40\x85"), RuntimeError),
    "size of 2**80": (rebuilt(size=b"\x8a\x0b" + b"\0" * 10 + b"\x01\x85"), pickle.UnpicklingError),
    "2**96 elements": (
        rebuilt(size=(b"\x8a\x05" + b"\0" * 4 + b"\x01") * 3 + b"\x87", stride=b"K\0K\0K\0\x87"),
        RuntimeError,
    ),
    "negative offset": (rebuilt(offset=b"J\xff\xff\xff\xff"), pickle.UnpicklingError),
    "negative stride": (rebuilt(stride=b"J\xff\xff\xff\xff\x85"), pickle.UnpicklingError),
    "negative size": (rebuilt(size=b"J\xff\xff\xff\xff\x85"), pickle.UnpicklingError),
    "size of a bool": (rebuilt(size=b"\x88\x85"), pickle.UnpicklingError),
    "size of a float": (rebuilt(size=b"G" + bytes(8) + b"\x85"), pickle.UnpicklingError),
    "no tuple": (rebuilt(size=b"K\x02"), pickle.UnpicklingError),
    "sizes and strides": (rebuilt(size=b"K\x01K\x01\x86"), pickle.UnpicklingError),
    "requires_grad of 1": (rebuilt(grad=b"K\x01"), pickle.UnpicklingError),
    "no storage": (rebuilt(storage=b"N"), pickle.UnpicklingError),
    "numel beyond": (rebuilt(storage=storage(numel=b"K\x05")), RuntimeError),
    "numel of 2**50": (
        rebuilt(storage=storage(numel=b"\x8a\x07" + b"\0" * 6 + b"\x04")),
        RuntimeError,
    ),
    "numel of 2**80": (
        rebuilt(storage=storage(numel=b"\x8a\x0b" + b"\0" * 10 + b"\x01")),
        pickle.UnpicklingError,
    ),
    "negative numel": (
        rebuilt(storage=storage(numel=b"J\xff\xff\xff\xff")),
        pickle.UnpicklingError,
    ),
    "storage not there": (rebuilt(storage=storage(key=text(b"7"))), RuntimeError),
    "storage with a path": (rebuilt(storage=storage(key=text(b"../data.pkl"))), RuntimeError),
    "absolute path": (rebuilt(storage=storage(key=text(b"/etc/passwd"))), RuntimeError),
    "storage with a number": (rebuilt(storage=storage(key=b"K\x00")), pickle.UnpicklingError),
    "unknown class": (
        rebuilt(storage=storage(kind=b"ctorch\nQUInt2x4Storage\n")),
        pickle.UnpicklingError,
    ),
    "two types": (
        rebuilt(storage=storage(kind=b"ctorch\nIntStorage\n") + b"0" + STORAGE),
        RuntimeError,
    ),
}


@pytest.mark.parametrize("name", WINDOWS)
def test_windows(name):
    body, error = WINDOWS[name]
    data = with_pickle(body, [np.arange(4, dtype=np.float32).tobytes()])
    if error is None:
        assert isinstance(load_bytes(data), Tensor)
        return
    with pytest.raises(error):
        load_bytes(data)


BOMBS = {
    "text of 4 GiB": P + b"X\xff\xff\xff\xffabc.",
    "bytes of 2**60": b"\x80\x04\x8e" + struct.pack("<Q", 2**60) + b"abc.",
    "bytearray of 2**60": b"\x80\x05\x96" + struct.pack("<Q", 2**60) + b"abc.",
    "number of 2 GiB": P + b"\x8b\xff\xff\xff\x7fabc.",
    "negative length": P + b"\x8b\xff\xff\xff\xffabc.",
    "memo of 2**32": P + b"Nr\xff\xff\xff\xff.",
    "bytearray of a number": P + b"c__builtin__\nbytearray\n\x8a\x06\0\0\0\0\0\x01\x85R.",
    "bytes of a number": P + b"c__builtin__\nbytes\n\x8a\x06\0\0\0\0\0\x01\x85R.",
    "key nested deep": nested_key(200_000),
    "key that never ends": P + b"}K\x01" + b"2\x86" * 100 + b"K\x02s.",
    "set of such a key": P + b"c__builtin__\nset\n](K\x01" + b"2\x86" * 100 + b"e\x85R.",
    "many copies of a list": P
    + b"c__builtin__\nset\nq\x00](" + b"K\x01" * 1000 + b"eq\x010"
    + b"h\x00h\x01\x85R0" * 10_000 + b"N.",
    "many copies of a text": P
    + b"c_codecs\nencode\nq\x00" + text(b"x" * 100_000) + b"q\x01" + text(b"latin1") + b"q\x0200"
    + b"h\x00h\x01h\x02\x86R0" * 100_000 + b"N.",
    "marks": P + b"(" * 1_000_000 + b".",
    "argument that never ends": P + b"ctorch\nSize\nK\x01" + b"2\x86" * 100 + b"R.",
    "id that never ends": P + b"K\x01" + b"2\x86" * 100 + b"Q.",
    "function that never ends": P + b"K\x01" + b"2\x86" * 100 + b")R.",
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_bombs(name):
    data = with_pickle(BOMBS[name])
    tracemalloc.start()
    begin = time.process_time()
    try:
        if name == "memo of 2**32":
            load_bytes(data)
        else:
            with pytest.raises((EOFError, pickle.UnpicklingError)):
                load_bytes(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20e6 + 250 * len(data)
    assert time.process_time() - begin < 30


def test_legacy_storage_larger_than_the_file():
    numel = 2**50
    body = rebuilt(storage=storage(numel=b"\x8a\7" + bytes(6) + b"\4"))
    parts = [pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {})]
    tail = pickle.dumps(["0"], 2) + struct.pack("<q", numel) + bytes(100)
    with pytest.raises(RuntimeError, match="unexpected EOF"):
        load_bytes(b"".join(parts) + body + tail)


def test_bools_that_are_neither():
    body = rebuilt(storage=storage(kind=b"ctorch\nBoolStorage\n"), size=b"K\x04\x85")
    found = load_bytes(with_pickle(body, [b"\x00\x01\x02\xff"]))
    assert found.base.view(np.uint8).tolist() == [0, 1, 1, 1]
