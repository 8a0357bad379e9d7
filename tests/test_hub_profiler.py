"""torch.hub with local directories and files, and the profiler."""

import hashlib
import json

import pytest

import torchlike as T

HUBCONF = """
dependencies = ["json"]
from beside import VALUE

def model(a, b=2):
    "Doc of model."
    return a, b, VALUE

def _private():
    pass
"""


@pytest.fixture
def directory(tmp_path, monkeypatch):
    (tmp_path / "hubconf.py").write_text(HUBCONF)
    (tmp_path / "beside.py").write_text("VALUE = 7\n")
    monkeypatch.setattr(T.hub, "_chosen", str(tmp_path / "hub"))
    return tmp_path


def test_local_entries(directory):
    assert T.hub.load(directory, "model", 1, b=3, source="local") == (1, 3, 7)
    assert T.hub.list(directory) == ["model"]
    assert T.hub.help(directory, "model") == "Doc of model."


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda d: T.hub.load(d, "nope", source="local"), RuntimeError),
        (lambda d: T.hub.load(d, 3, source="local"), ValueError),
        (lambda d: T.hub.load(d, "model", source="foo"), ValueError),
        (lambda d: T.hub.load(d / "none", "model", source="local"), FileNotFoundError),
        (lambda d: T.hub.load("a/b/c", "model"), ValueError),
        (lambda d: T.hub.load("a/b", "model", trust_repo="x"), ValueError),
        (lambda d: T.hub.load("nobody/nothing", "model"), RuntimeError),  # not trusted
    ],
)
def test_errors(directory, call, error):
    with pytest.raises(error):
        call(directory)


def test_missing_dependencies(directory):
    with open(directory / "hubconf.py", "a") as file:
        file.write('dependencies = ["nosuchpackage"]\n')
    with pytest.raises(RuntimeError, match="Missing dependencies: nosuchpackage"):
        T.hub.load(directory, "model", 1, source="local")


def test_a_cached_repository_is_used(directory):
    cached = directory / "hub" / "pytorch_thing_main"
    cached.mkdir(parents=True)
    for name in ("hubconf.py", "beside.py"):
        (cached / name).write_text((directory / name).read_text())
    assert T.hub.load("pytorch/thing", "model", 1, verbose=False) == (1, 2, 7)


def test_files_by_url(directory):
    path = directory / "weights.pt"
    T.save({"w": T.ones(2)}, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    copy = directory / "copy.pt"
    T.hub.download_url_to_file(path.as_uri(), str(copy), digest[:8], progress=False)
    assert copy.read_bytes() == path.read_bytes()
    with pytest.raises(RuntimeError, match="invalid hash value"):
        T.hub.download_url_to_file(path.as_uri(), str(copy), "00", progress=False)
    loaded = T.hub.load_state_dict_from_url(path.as_uri(), progress=False)
    assert loaded["w"].tolist() == [1, 1]
    assert (directory / "hub" / "checkpoints" / "weights.pt").exists()


# ---- profiler ----------------------------------------------------------------------------------


def test_a_profile_counts_calls(tmp_path):
    P = T.profiler
    x = T.ones(3, 4)
    with P.profile(record_shapes=True, profile_memory=True, with_stack=True) as prof:
        with P.record_function("block"):
            x.sin().sum()
        x.sin()
    averages = {e.key: e for e in prof.key_averages()}
    assert averages["aten::sin"].count == 2 and averages["aten::sum"].count == 1
    assert averages["aten::sin"].cpu_memory_usage == 2 * 3 * 4 * 4
    block = averages["block"]
    assert block.is_user_annotation and block.cpu_time_total > block.self_cpu_time_total > 0
    table = prof.key_averages(group_by_input_shape=True).table("cpu_time_total", row_limit=3)
    assert "Self CPU time total" in table and "Programs run: " in table and "[[3, 4]]" in table
    prof.export_chrome_trace(str(tmp_path / "trace.json"))
    names = {e["name"] for e in json.loads((tmp_path / "trace.json").read_text())["traceEvents"]}
    assert {"block", "aten::sin"} <= names
    prof.export_stacks(str(tmp_path / "stacks.txt"))
    assert "test_hub_profiler.py" in (tmp_path / "stacks.txt").read_text()


def test_a_schedule_is_pytorchs():
    torch = pytest.importorskip("torch")
    options = {"wait": 1, "warmup": 1, "active": 2, "repeat": 2, "skip_first": 1}
    ours, theirs = T.profiler.schedule(**options), torch.profiler.schedule(**options)
    assert [ours(i).name for i in range(12)] == [theirs(i).name for i in range(12)]


def test_traces_of_a_schedule(tmp_path):
    P, seen = T.profiler, []
    with P.profile(
        schedule=P.schedule(wait=1, warmup=0, active=1, repeat=2),
        on_trace_ready=lambda p: seen.append({e.key for e in p.key_averages()}),
    ) as prof:
        for op in (T.sin, T.cos, T.exp, T.sqrt):
            op(T.ones(2))
            prof.step()
    assert ["aten::cos" in seen[0], "aten::sqrt" in seen[1]] == [True, True]
    assert not any("aten::sin" in s or "aten::exp" in s for s in seen)
    with P.profile(on_trace_ready=P.tensorboard_trace_handler(str(tmp_path))):
        T.ones(2).sin()
    assert len(list(tmp_path.glob("*.pt.trace.json"))) == 1


def test_what_the_profiler_does_not_know_it_refuses():
    with pytest.raises(T.NotSupported):
        T.profiler.profile(with_flops=True)
    with pytest.raises(T.NotSupported, match="jax"):
        T.autograd.profiler.emit_nvtx()
