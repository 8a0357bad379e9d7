"""save and load: tensors that share, modules and optimizers, to and from real PyTorch."""

import collections
import datetime
import importlib
import io
import os
import pickle

import numpy as np
import pytest

import torchlike
import torchlike.nn as our_nn
import torchlike.serialization as serialization

torch = pytest.importorskip("torch")

DTYPES = [
    "bool", "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64", "float16",
    "bfloat16", "float32", "float64", "complex64", "complex128", "float8_e4m3fn", "float8_e5m2",
    "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu",
]  # fmt: skip
UNTYPED = [d for d in DTYPES if d in ("uint16", "uint32", "uint64") or d.startswith("float8")]
FORMATS = pytest.mark.parametrize("zip_format", [True, False], ids=["zip", "legacy"])


def passed(obj, source, target, zip_format=True, **options):
    """An object as ``target`` reads it from what ``source`` wrote."""
    buffer = io.BytesIO()
    source.save(obj, buffer, _use_new_zipfile_serialization=zip_format)
    buffer.seek(0)
    return target.load(buffer, **options)


@FORMATS
def test_an_open_file_holds_all_that_was_saved(zip_format, tmp_path):
    for m in (torchlike, torch):
        with open(tmp_path / "open.pt", "wb") as file:
            m.save(m.ones(3), file, _use_new_zipfile_serialization=zip_format)
            assert m.load(file.name).tolist() == [1, 1, 1]


def to_torch(obj, zip_format=True, **options):
    return passed(obj, torchlike, torch, zip_format, **options)


def from_torch(obj, zip_format=True, **options):
    return passed(obj, torch, torchlike, zip_format, **options)


def through(obj, zip_format=True, **options):
    return passed(obj, torchlike, torchlike, zip_format, **options)


def facts(t):
    """What must survive: numbers as bytes, type, geometry, kind."""
    data = t.detach()
    if isinstance(data, torch.Tensor):
        host = data.contiguous().reshape(-1).view(torch.uint8).numpy() if t.numel() else np.empty(0)
    else:
        host = np.ascontiguousarray(np.array(data._host())).reshape(-1).view(np.uint8)
    return (
        str(t.dtype), tuple(t.shape), tuple(t.stride()), t.storage_offset(), t.requires_grad,
        type(t).__name__, t.is_leaf, host.tobytes(),
    )  # fmt: skip


# ---- tensors -----------------------------------------------------------------------------------


def filled(m, dtype):
    d = getattr(m, dtype)
    if dtype.startswith("complex"):
        return m.tensor([[1 + 2j, -3j], [0.5, 4]], dtype=d)
    if dtype == "bool":
        return m.tensor([[True, False], [False, True]])
    return m.tensor([[0.5, 1.0], [2.0, 4.0]]).to(d)


TENSORS = {
    **{dtype: lambda m, dtype=dtype: filled(m, dtype) for dtype in DTYPES},
    "0-d": lambda m: m.tensor(3.5),
    "empty": lambda m: m.zeros(0, 3),
    "leaf": lambda m: m.ones(2, requires_grad=True),
    "row": lambda m: m.arange(12).reshape(3, 4)[1],
    "column": lambda m: m.arange(12).reshape(3, 4)[:, 2],
    "transposed": lambda m: m.arange(12.0).reshape(3, 4).t(),
    "every other": lambda m: m.arange(12.0)[1::3],
    "expanded": lambda m: m.arange(3.0).expand(4, 3),
    "diagonal": lambda m: m.arange(9.0).reshape(3, 3).diagonal(),
    "view of a sum": lambda m: (m.arange(6.0) + 1).view(2, 3)[:, 1:],
    "real part": lambda m: m.tensor([1 + 2j, 3 - 4j]).real,
    "parameter": lambda m: m.nn.Parameter(m.ones(2, 2)),
    "frozen parameter": lambda m: m.nn.Parameter(m.ones(2, 2), requires_grad=False),
    "parameter of a view": lambda m: m.nn.Parameter(m.arange(6.0).reshape(2, 3)[1]),
    "float8_e5m2 view": lambda m: m.arange(6.0).to(m.float8_e5m2)[1::2],
}


@FORMATS
@pytest.mark.parametrize("name", TENSORS)
def test_a_tensor_goes_both_ways(name, zip_format):
    ours, theirs = TENSORS[name](torchlike), TENSORS[name](torch)
    if name.split()[0] in UNTYPED and not zip_format:  # PyTorch itself fails to write or read these
        assert facts(through(ours, zip_format)) == facts(through(ours))
        return
    expected = facts(passed(theirs, torch, torch, zip_format))
    assert facts(to_torch(ours, zip_format)) == expected
    assert facts(from_torch(theirs, zip_format)) == expected
    assert facts(through(ours, zip_format)) == expected


def test_a_result_is_saved_as_a_leaf():
    x = torchlike.ones(2, requires_grad=True)
    for loaded in (to_torch(x * 2), through(x * 2)):
        assert loaded.requires_grad and loaded.is_leaf and loaded.tolist() == [2, 2]


def test_tensors_without_data():
    for source, target in ((torchlike, torch), (torch, torchlike), (torchlike, torchlike)):
        x = source.ones(2, 3, dtype=source.float16, device="meta")
        given = [x, x.t(), source.nn.Parameter(x), x.clone().requires_grad_()]
        for t in passed(given, source, target):
            assert t.is_meta and t.dtype is target.float16
            assert t.shape in ((2, 3), (3, 2))
        found = passed(given, source, target)
        assert [t.requires_grad for t in found] == [False, False, True, True]
        assert type(found[2]) is target.nn.Parameter and found[1].shape == (3, 2)


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
@pytest.mark.parametrize("way", [(torchlike, torch), (torch, torchlike), (torchlike, torchlike)])
def test_storages(way):
    source, target = way
    x = source.arange(4.0)
    given = {"x": x[1:3], "s": (x.storage(), source.LongStorage([1, 2]))}
    found = passed(given, *way)
    found["s"][0][1] = 9
    assert found["x"].tolist() == [9, 2] and found["s"][1].tolist() == [1, 2]
    assert all(type(s) is target.TypedStorage for s in found["s"])
    bytes_ = source.UntypedStorage([1, 2])
    found = passed([bytes_, bytes_], *way, weights_only=False)
    assert type(found[0]) is target.TypedStorage and found[1].tolist() == [1, 2]
    found[0][0] = 7
    assert found[1].tolist() == [7, 2]


def test_what_pytorch_wrote_as_pending():
    x = torch.tensor([1 + 2j, 3.0])
    for t in (x.conj(), x.conj().imag, x.conj().clone().requires_grad_()):
        found = from_torch(t)
        assert found.tolist() == t.tolist() and found.requires_grad == t.requires_grad
        assert found.is_conj() == t.is_conj()


def test_a_lazy_conjugate_is_saved_as_its_numbers():
    z = torchlike.tensor([1 + 2j, 3 - 4j])
    for loaded in (to_torch(z.conj()), through(z.conj())):
        assert loaded.tolist() == [1 - 2j, 3 + 4j]


SHARED = {
    "base, row, transposed": lambda x: {"x": x, "row": x[1], "t": x.t()},
    "views only": lambda x: [x[:, 1:], x[0]],
    "flat and shaped": lambda x: [x.view(-1), x],
    "twice": lambda x: [x, x],
    "handles": lambda x: [x, x.detach()],
}


@pytest.mark.parametrize("name", SHARED)
@pytest.mark.parametrize("way", [to_torch, from_torch, through])
def test_shared_storage_stays_shared(name, way):
    m = torch if way is from_torch else torchlike
    whole = SHARED[name](m.arange(12.0).reshape(3, 4))
    loaded = way(whole)
    items = list(loaded.values() if isinstance(loaded, dict) else loaded)
    before = list(whole.values() if isinstance(whole, dict) else whole)
    for step, (changed, source) in enumerate(zip(items, before, strict=True)):
        changed.mul_(step + 2)
        source.mul_(step + 2)
        assert [t.tolist() for t in items] == [t.tolist() for t in before]
    assert (items[0] is items[1]) == (before[0] is before[1])


def test_a_loaded_tensor_that_covers_its_storage_has_no_storage_object():
    loaded = from_torch({"w": torch.nn.Parameter(torch.ones(2)), "x": torch.ones(3)})
    assert all(t._storage is None for t in loaded.values())


def test_tied_parameters_stay_tied():
    p = torchlike.nn.Parameter(torchlike.ones(2))
    for loaded in (to_torch([p, p]), through([p, p])):
        assert loaded[0] is loaded[1]
    # Two objects on one storage, as a state_dict has them: each sees what the other is given.
    tied = from_torch([torch.nn.Parameter(x) for x in [torch.ones(2)] * 2])
    with torchlike.no_grad():
        tied[0].add_(1)
    assert tied[1].tolist() == [2, 2]
    optimizer = torchlike.optim.SGD([tied[1]], lr=1.0)
    tied[1].sum().backward()
    optimizer.step()
    assert tied[0].tolist() == [1, 1]


def test_the_optimizer_writes_into_a_loaded_view():
    row, whole = from_torch((lambda x: [x[1].requires_grad_(), x])(torch.ones(3, 2)))
    row.sum().backward()
    torchlike.optim.SGD([row], lr=1.0).step()
    assert whole.tolist() == [[1, 1], [0, 0], [1, 1]]


def test_attributes_of_tensors():
    for make in (
        lambda m: m.ones(2), lambda m: m.nn.Parameter(m.ones(2)),
        lambda m: m.ones(2).to(m.float8_e5m2), lambda m: m.ones(2).view(m.int32),
        lambda m: m.nn.Buffer(m.ones(2)),
    ):  # fmt: skip
        x = make(torchlike)
        x.note, x._hidden = "a", {"b": 1}
        for loaded in (to_torch(x), through(x)):
            assert (loaded.note, loaded._hidden) == ("a", {"b": 1})
            assert str(loaded.dtype) == str(x.dtype) and loaded.shape == x.shape
            assert hasattr(loaded, "persistent") is hasattr(x, "persistent")
        y = make(torch)
        y.note, y._mine = "a", [1]
        loaded = from_torch(y)
        assert (loaded.note, loaded._mine) == ("a", [1])


class Marked(torchlike.Tensor):
    note = None


class Restored(torchlike.Tensor):
    def __getstate__(self):
        return "state", self.__dict__

    def __setstate__(self, state):
        _, self.__dict__ = state
        self.restored = True


class OwnParameter(torchlike.nn.Parameter):
    pass


@pytest.mark.parametrize("kind", [Marked, Restored, OwnParameter])
def test_tensors_of_a_users_class(kind):
    x = kind(torchlike.ones(3))
    x.note = "a"
    expected = torchlike.nn.Parameter if kind is OwnParameter else kind  # as in PyTorch
    with serialization.safe_globals([kind]):
        found = [
            through(x),
            through([x, x[:2]])[0],
            through(x, False),
            pickle.loads(pickle.dumps(x)),
        ]
    for loaded in (*found, through(x, weights_only=False)):
        assert type(loaded) is expected and loaded.tolist() == [1, 1, 1]
        assert (loaded.note, hasattr(loaded, "restored")) == ("a", kind is Restored)
    if kind is not OwnParameter:
        with pytest.raises(pickle.UnpicklingError, match=kind.__name__):
            through(x)


PLAIN = [
    None, True, 3, 2**80, -1.5, "text", b"bytes", [1, [2]], (1, (2, 3)), {"a": {1: 2}}, {1, 2},
    collections.OrderedDict(a=1), 1 + 2j,
]  # fmt: skip


@pytest.mark.parametrize("value", PLAIN, ids=repr)
def test_plain_values(value):
    for loaded in (to_torch(value), from_torch(value), through(value)):
        assert loaded == value and type(loaded) is type(value)


def test_sizes_dtypes_and_devices():
    def values(m):
        dtypes, layouts = [m.float32, m.bfloat16, m.bool], [m.strided, m.sparse_coo, m.jagged]
        return [m.Size([2, 3]), *dtypes, m.device("cpu"), m.device("cuda", 1), *layouts]

    assert to_torch(values(torchlike)) == values(torch)
    loaded = from_torch(values(torch))
    assert loaded == values(torchlike) and type(loaded[0]) is torchlike.Size


# ---- modules and optimizers --------------------------------------------------------------------


def network(m):
    torchlike.manual_seed(0), torch.manual_seed(0)
    nn = m.nn
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def test_state_dicts_go_both_ways():
    ours, theirs = network(torchlike), network(torch)
    state = to_torch(ours.state_dict())
    assert list(state) == list(theirs.state_dict())
    assert state._metadata == theirs.state_dict()._metadata
    fresh = network(torch)
    fresh.load_state_dict(state)
    x = np.random.RandomState(0).randn(5, 4).astype(np.float32)
    np.testing.assert_allclose(
        fresh(torch.tensor(x)).detach().numpy(), ours(torchlike.tensor(x)).detach().numpy(),
        rtol=1e-5, atol=1e-6,
    )  # fmt: skip
    again = network(torchlike)
    again.load_state_dict(from_torch(theirs.state_dict()))
    assert again.state_dict()["1.num_batches_tracked"].dtype is torchlike.int64


@FORMATS
def test_whole_modules(zip_format):
    ours = network(torchlike).eval()
    x = torchlike.ones(2, 4)
    with pytest.raises(pickle.UnpicklingError, match=r"torch\.nn\.modules\.container\.Sequential"):
        through(ours, zip_format)
    loaded = through(ours, zip_format, weights_only=False)
    assert type(loaded) is our_nn.Sequential and not loaded.training
    assert loaded(x).tolist() == ours(x).tolist()
    theirs = to_torch(ours, zip_format, weights_only=False)
    assert type(theirs) is torch.nn.Sequential
    np.testing.assert_allclose(
        theirs(torch.ones(2, 4)).detach().numpy(), ours(x).detach().numpy(), rtol=1e-5, atol=1e-6
    )
    back = from_torch(theirs, zip_format, weights_only=False)
    assert type(back) is our_nn.Sequential
    assert back(x).tolist() == ours(x).tolist()


def test_checkpoints():
    """What training scripts save: model, optimizer, scheduler, epoch and losses in one dict."""

    def checkpoint(m):
        model = network(m)
        optimizer = m.optim.AdamW(model.parameters(), lr=0.01)
        scheduler = m.optim.lr_scheduler.StepLR(optimizer, 2)
        for _ in range(3):
            optimizer.zero_grad()
            model(m.ones(5, 4)).sum().backward()
            optimizer.step()
            scheduler.step()
        parts = {"model": model, "optimizer": optimizer, "scheduler": scheduler}
        saved = {name: part.state_dict() for name, part in parts.items()}
        return parts, {**saved, "epoch": 3, "losses": [1.0, 0.5]}

    for way, source, target in (
        (to_torch, torchlike, torch),
        (from_torch, torch, torchlike),
        (through, torchlike, torchlike),
    ):  # fmt: skip
        _, saved = checkpoint(source)
        loaded = way(saved)
        parts, _ = checkpoint(target)
        for name, part in parts.items():
            part.load_state_dict(loaded[name])
        assert loaded["epoch"] == 3
        assert parts["scheduler"].get_last_lr() == saved["scheduler"]["_last_lr"]
        for a, b in zip(parts["model"].state_dict().values(), saved["model"].values(), strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())
        steps = [s["step"] for s in parts["optimizer"].state_dict()["state"].values()]
        assert [float(s) for s in steps] == [3] * 6
        parts["optimizer"].step()
        steps = [s["step"] for s in parts["optimizer"].state_dict()["state"].values()]
        assert [float(s) for s in steps] == [4] * 6


class Own:
    """A class of the user's, in a trusted file."""

    def __init__(self, x):
        self.x = x

    def __eq__(self, other):
        return self.x.tolist() == other.x.tolist()


def test_safe_globals():
    value = Own(torchlike.ones(2))
    with pytest.raises(pickle.UnpicklingError, match="was not an allowed global by default"):
        through(value)
    with serialization.safe_globals([Own]):
        assert serialization.get_safe_globals() == [Own]
        assert through(value) == value
        serialization.clear_safe_globals()
        with pytest.raises(pickle.UnpicklingError):
            through(value)
    serialization.add_safe_globals([(Own, f"{Own.__module__}.Own")])
    assert through(value) == value
    serialization.clear_safe_globals()
    for wrong, error in (((Own,), ValueError), ((Own, 3), TypeError)):
        with serialization.safe_globals([wrong]), pytest.raises(error, match="Expected"):
            through(1)
    assert through(value, weights_only=False) == value


def test_safe_globals_of_ours():
    classes = [our_nn.Linear, our_nn.Sequential, our_nn.ReLU, our_nn.BatchNorm1d]
    with serialization.safe_globals(classes):
        model = network(torchlike)
        assert through(model)(torchlike.ones(2, 4)).shape == (2, 3)


# ---- where to ----------------------------------------------------------------------------------


def on_gpu():
    """A file whose tensors were on a GPU: the CPU's, with the location written over."""
    buffer = io.BytesIO()
    real, serialization._storage_window = serialization._storage_window, None
    try:

        def window(t):
            storage, offset, stride = real(t)
            return serialization.fmt.StorageSource(
                storage.key, storage.dtype_name, storage.numel, storage.read, "cuda:3"
            ), offset, stride  # fmt: skip

        serialization._storage_window = window
        torchlike.save(torchlike.ones(2), buffer)
    finally:
        serialization._storage_window = real
    return buffer.getvalue()


@pytest.mark.parametrize(
    "place",
    ["cpu", b"cpu", torchlike.device("cpu"), {"cuda:3": "cpu"}, lambda storage, location: storage,
     lambda storage, location: storage.cpu()],
    ids=["str", "bytes", "device", "dict", "function", "method"],
)  # fmt: skip
def test_map_location(place):
    loaded = torchlike.load(io.BytesIO(on_gpu()), map_location=place)
    assert loaded.device == torchlike.device("cpu") and loaded.tolist() == [1, 1]


def test_map_location_to_meta():
    x = torchlike.arange(6.0).reshape(2, 3)
    loaded = through([x, x.t()], map_location="meta")
    assert [t.device.type for t in loaded] == ["meta"] * 2
    assert [tuple(t.shape) for t in loaded] == [(2, 3), (3, 2)]


@pytest.mark.cpu_oracle
@pytest.mark.parametrize(
    "place", [None, {"cpu": "cpu"}, lambda s, at: None, lambda s, at: s.cuda()]
)
def test_no_such_device(place):
    data = on_gpu()
    with pytest.raises(RuntimeError) as theirs:
        torch.load(io.BytesIO(data))
    with pytest.raises(RuntimeError) as ours:
        torchlike.load(io.BytesIO(data), map_location=place)
    assert str(ours.value) == str(theirs.value)


def test_unknown_location():
    with pytest.raises(RuntimeError, match=r"restore data location .*tagged with nowhere"):
        through(torchlike.ones(2), map_location="nowhere")


# ---- files -------------------------------------------------------------------------------------


@FORMATS
def test_files(tmp_path, zip_format):
    path = tmp_path / "x.pt"
    for where in (path, str(path)):
        torchlike.save({"x": torchlike.ones(2)}, where, _use_new_zipfile_serialization=zip_format)
        assert torchlike.load(where)["x"].tolist() == [1, 1]
    assert os.listdir(tmp_path) == ["x.pt"]


def test_mmap(tmp_path):
    path = tmp_path / "x.pt"
    torch.save(torch.arange(5), path)
    loaded = torchlike.load(path, mmap=True)
    loaded.add_(1)
    assert loaded.tolist() == [1, 2, 3, 4, 5]
    assert torchlike.load(path).tolist() == [0, 1, 2, 3, 4]


def test_a_failed_save_leaves_the_file(tmp_path):
    path = tmp_path / "x.pt"
    torchlike.save(torchlike.ones(2), path)
    before = path.read_bytes()
    for bad in ([torchlike.zeros(2), (i for i in ())], [torchlike.zeros(2), lambda: 0]):
        with pytest.raises((TypeError, pickle.PicklingError, AttributeError)):
            torchlike.save(bad, path)
        assert path.read_bytes() == before and os.listdir(tmp_path) == ["x.pt"]


def test_damaged_files_are_refused(tmp_path):
    path = tmp_path / "x.pt"
    torchlike.save(network(torchlike).state_dict(), path)
    data = path.read_bytes()
    model = network(torchlike)
    before = {k: v.tolist() for k, v in model.state_dict().items()}
    for part in (data[:-100], data[: len(data) // 2], data[:3], b""):
        path.write_bytes(part)
        with pytest.raises((RuntimeError, EOFError, pickle.UnpicklingError)):
            model.load_state_dict(torchlike.load(path))
    assert {k: v.tolist() for k, v in model.state_dict().items()} == before


def test_a_forbidden_name_runs_nothing(tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "boom"),)

    data = io.BytesIO()
    torch.save({"x": Bomb()}, data)
    with pytest.raises(pickle.UnpicklingError, match="whose module posix is blocked"):
        torchlike.load(io.BytesIO(data.getvalue()))
    assert os.listdir(tmp_path) == []


def test_options():
    data = io.BytesIO()
    torchlike.save(torchlike.ones(1), data)

    def load(**options):
        return torchlike.load(io.BytesIO(data.getvalue()), **options)

    with pytest.raises(
        RuntimeError, match="Can not safely load weights when explicit pickle_module"
    ):
        load(weights_only=True, pickle_module=pickle)
    assert load(pickle_module=pickle).tolist() == [1]
    assert load(weights_only=False, encoding="latin1").tolist() == [1]
    with pytest.warns(UserWarning, match="pickle_load_args only works"):
        load(encoding="latin1")
    with pytest.raises(TypeError, match="unexpected keyword argument 'speed'"):
        load(weights_only=False, speed=3)
    with pytest.warns(UserWarning), pytest.raises(TypeError, match="keyword argument 'speed'"):
        load(speed=3)
    with pytest.raises(NotImplementedError, match="pickle_module=json"):
        torchlike.save(1, io.BytesIO(), pickle_module=__import__("json"))
    with pytest.raises(AttributeError, match="'write' attribute"):
        torchlike.save(1, 3)
    with pytest.raises(FileNotFoundError):
        torchlike.load("/no/such/file.pt")


def test_the_environment_decides_the_default(monkeypatch):
    value = Own(torchlike.ones(2))
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    with pytest.warns(UserWarning, match="forcing weights_only=False"):
        assert through(value) == value
    monkeypatch.setenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "1")
    with pytest.raises(RuntimeError, match="Only one of"):
        through(value)
    monkeypatch.delenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD")
    with pytest.raises(pickle.UnpicklingError):
        through(value, weights_only=False)


# ---- how files are written and read ------------------------------------------------------------


def test_skipped_data():
    data = io.BytesIO()
    with torchlike.serialization.skip_data():
        torchlike.save({"a": torchlike.ones(2, 3)}, data)
    data.seek(0)
    assert torch.load(data)["a"].shape == (2, 3)


def test_names_that_a_safe_load_refuses():
    data = io.BytesIO()
    torchlike.save({"a": torchlike.ones(1), "b": Plain(), "c": datetime.date(2020, 1, 2)}, data)
    for m in (torchlike, torch):
        data.seek(0)
        found = m.serialization.get_unsafe_globals_in_checkpoint(data)
        assert sorted(found) == sorted([f"{__name__}.Plain", "datetime.date"])
        with m.serialization.safe_globals([Plain]):
            data.seek(0)
            assert m.serialization.get_unsafe_globals_in_checkpoint(data) == ["datetime.date"]
        with pytest.raises(ValueError, match="Expected input to be a checkpoint"):
            m.serialization.get_unsafe_globals_in_checkpoint(io.BytesIO(b"nothing of it"))


class Plain:
    """A class that nobody has allowed."""


def settings(m):
    s = m.serialization
    s.set_default_load_endianness(s.LoadEndianness.LITTLE)
    found = [s.get_default_load_endianness().name, s.get_crc32_options()]
    s.set_default_load_endianness(None)
    for wrong in (lambda: s.set_default_load_endianness(3), lambda: s.set_default_mmap_options(5)):
        with pytest.raises((TypeError, ValueError)) as error:
            wrong()
        found.append((error.type, str(error.value)))
    return [*found, s.get_default_load_endianness(), s.get_default_mmap_options()]


def test_settings():
    assert settings(torchlike) == settings(torch)


def configured(m, path):
    config = importlib.import_module(f"{m.__name__}.utils.serialization.config")
    found = [dict(config.get_config_copy())]
    found[0].pop("_TYPE_CHECKING", None)
    with config.patch({"save.storage_alignment": 4096, "load.mmap": True}):
        m.save([m.ones(3), m.zeros(2)], path)
        found += [config.load.mmap, [t.tolist() for t in m.load(path)]]
        with pytest.raises(ValueError, match="must be a file path"):
            m.load(io.BytesIO(path.read_bytes()))
    found += [config.load.mmap, config.save.storage_alignment]
    found.append(path.read_bytes().index(b"\0\0\x80?") % 4096)
    m.serialization.set_crc32_options(False)
    found.append(config.save.compute_crc32)
    config.save.compute_crc32 = True
    for change in (lambda: setattr(config.load, "foo", 1), lambda: setattr(config, "foo", 1)):
        with pytest.raises(AttributeError, match="does not exist"):
            change()
    return [*found, m.serialization.get_crc32_options()]


def test_config(tmp_path):
    assert configured(torchlike, tmp_path / "ours") == configured(torch, tmp_path / "theirs")


def test_what_pickle_takes():
    for m in (torchlike, torch):
        meta = pickle.loads(pickle.dumps(m.empty(2, 3, device="meta", requires_grad=True)))
        assert meta.is_meta and meta.shape == (2, 3) and meta.requires_grad
    storage = pickle.loads(pickle.dumps(torchlike.arange(3.0).untyped_storage()))
    assert list(storage)[2:8] == [0, 0, 0, 0, 128, 63]
