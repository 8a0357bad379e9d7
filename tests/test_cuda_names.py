"""torch.cuda and its kin on a machine without a GPU: what they answer, and what they raise."""

import warnings

import jax
import numpy as np
import pytest
import torch

import torchlike

NO_GPU = torchlike.cuda.device_count() == 0
on_cpu_only = pytest.mark.skipif(not NO_GPU, reason="says what a machine without a GPU says")
with_gpu = pytest.mark.skipif(NO_GPU, reason="needs a GPU")

SAME = [
    "cuda.current_stream()", "cuda.default_stream()", "cuda.Stream()", "cuda.Event()",
    "cuda.memory_allocated()", "cuda.max_memory_allocated()", "cuda.memory_reserved()",
    "cuda.max_memory_reserved()", "cuda.memory_cached()", "cuda.memory_stats()",
    "cuda.mem_get_info()", "cuda.get_device_properties()", "cuda.get_device_properties(0)",
    "cuda.get_device_capability()", "cuda.get_device_name()", "cuda.get_rng_state()",
    "cuda.get_rng_state_all()", "cuda.set_rng_state_all([])", "cuda.is_bf16_supported()",
    "cuda.ipc_collect()", "cuda.seed()", "cuda.seed_all()", "cuda.initial_seed()",
    "cuda.manual_seed(1)", "cuda.manual_seed_all(1)", "cuda.device_count()", "cuda.init()",
    "cuda.is_available()", "cuda.is_initialized()", "cuda.synchronize()", "cuda.current_device()",
    "cuda.set_device(-1)", "cuda.empty_cache()", "cuda.device(0).__enter__()",
    "cuda.device(-1).__enter__()", "cuda.stream(None).__enter__()",
    "cuda.can_device_access_peer(0,1)", "cuda.get_arch_list()",
    "cuda.device_of(torch.zeros(2)).__enter__()", "cuda.is_tf32_supported()",
    "cpu.device_count()", "cpu.current_device()", "cpu.set_device(0)", "cpu.is_available()",
    "cpu.synchronize()", "cpu.is_initialized()", "cpu.Event().query()", "mps.is_available()",
    "mps.device_count()", "mps.synchronize()", "mps.empty_cache()", "mps.manual_seed(0)",
    "mps.seed()", "mps.current_allocated_memory()", "mps.get_rng_state()", "xpu.is_available()",
    "xpu.device_count()", "xpu.synchronize()", "xpu.current_device()", "xpu.memory_allocated()",
    "xpu.empty_cache()", "xpu.manual_seed(0)", "xpu.get_device_name()", "xpu.memory_stats()",
    "xpu.init()", "xpu.is_initialized()", "xpu.set_device(0)", "xpu.seed()", "xpu.initial_seed()",
    "xpu.mem_get_info()", "accelerator.is_available()", "accelerator.device_count()",
    "accelerator.current_accelerator()", "accelerator.current_device_index()",
    "accelerator.synchronize()", "accelerator.set_device_index(0)",
    "accelerator.current_stream()", "accelerator.memory_allocated()", "accelerator.empty_cache()",
    "accelerator.memory_stats()", "accelerator.get_memory_info()",
    "accelerator.device_index(0).__enter__()", "accelerator.device_index(None).__enter__()",
    "accelerator.get_device_capability()", "Stream()", "Event()", "Event(enable_timing=True)",
    "Stream('cpu')", "random.thread_safe_generator()", "OutOfMemoryError('x')",
    "AcceleratorError('x')", "types.Number", "types.FileLike", "jit.is_scripting()",
    "jit.is_tracing()", "jit.annotate(int,3)", "chalf", "chalf.itemsize", "chalf.is_complex",
    "chalf.to_real()", "quint8", "quint8.itemsize", "qint32", "per_tensor_affine",
]  # fmt: skip


@on_cpu_only
@pytest.mark.cpu_oracle
@pytest.mark.parametrize("call", SAME)
def test_answers_as_pytorch_without_a_gpu(call):
    found = []
    for lib in (torchlike, torch):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                result = eval(f"lib.{call}", {"lib": lib, "torch": lib})
        except Exception as error:
            found.append(type(error))
            if lib is torchlike:
                assert str(error)
        else:
            found.append(repr(result))
    assert found[0] == found[1]


@on_cpu_only
def test_the_errors_name_what_is_missing():
    with pytest.raises(AssertionError, match="Torch not compiled with CUDA enabled"):
        torchlike.cuda.current_stream()
    with pytest.raises(RuntimeError, match=r"no accelerator|none is available"):
        torchlike.accelerator.current_device_index()
    with pytest.raises(AssertionError, match="XPU"):
        torchlike.xpu.current_device()
    assert torchlike.get_device_module() is torchlike.cpu
    assert torchlike.get_device_module("cuda") is torchlike.cuda
    with pytest.raises(RuntimeError):
        torchlike.get_device_module("meta")


def test_streams_and_events_are_in_order():
    """Waiting is nothing, timing is real: record() waits for the work before it."""
    s = torchlike.Stream("cpu")
    start, end = (torchlike.Event(enable_timing=True) for _ in range(2))
    x = torchlike.ones(300, 300)
    start.record()
    y = x @ x
    s.wait_event(start)
    s.wait_stream(torchlike.Stream())
    end.record()
    assert y._value.array is not None  # nothing is left pending
    assert start.elapsed_time(end) > 0
    assert end.query() and s.query() and s.record_event().query()
    with s as inside:
        assert inside is s
    with pytest.raises(ValueError, match="enable_timing"):
        torchlike.Event().elapsed_time(end)
    with pytest.raises(ValueError, match="recorded"):
        start.elapsed_time(torchlike.Event(enable_timing=True))


def test_absent_dtypes_are_names_only():
    assert torchlike.chalf is torchlike.complex32
    for d in (torchlike.complex32, torchlike.quint8):
        with pytest.raises(torchlike.NotSupported, match=d.name):
            torchlike.zeros(2, dtype=d)
        with pytest.raises(torchlike.NotSupported, match=d.name):
            torchlike.ones(2).to(d)
    with pytest.raises(torchlike.NotSupported, match="cfloat"):
        torchlike.ones(2).chalf()
    with pytest.raises(torchlike.NotSupported, match="fake_quantize"):
        torchlike.quantize_per_tensor(torchlike.ones(2), 0.1, 0, torchlike.quint8)
    with pytest.raises(NotImplementedError, match="q_scale"):
        torchlike.ones(2).q_scale()
    import pickle

    for d in (torchlike.complex32, torchlike.per_tensor_affine):
        assert pickle.loads(pickle.dumps(d)) is d
    assert not isinstance(3, torchlike.SymInt)


def test_backends_keep_their_switches():
    b = torchlike.backends
    before = torchlike.get_float32_matmul_precision()
    b.cuda.matmul.allow_tf32 = True
    assert torchlike.get_float32_matmul_precision() == "high" and b.cuda.matmul.allow_tf32
    torchlike.set_float32_matmul_precision(before)
    with b.cudnn.flags(enabled=False, benchmark=True):
        assert (b.cudnn.enabled, b.cudnn.benchmark) == (False, True)
    assert (b.cudnn.enabled, b.cudnn.benchmark) == (True, False)
    b.cuda.enable_flash_sdp(False)
    assert not b.cuda.flash_sdp_enabled()
    b.cuda.enable_flash_sdp(True)
    q = torchlike.ones(1, 2, 3, 4)
    asked = b.cuda.SDPAParams(q, q, q, None, 0.0, True, False)
    assert asked.is_causal and asked.key is q and not b.cuda.can_use_flash_attention(asked)
    assert not b.cuda.can_use_efficient_attention(asked, True)
    with b.cuda.sdp_kernel(enable_math=False):
        assert not b.cuda.math_sdp_enabled()
    assert b.cuda.math_sdp_enabled() and b.mps.is_available() is False
    assert b.cpu.get_cpu_capability() in ("AVX512", "AVX2", "NEON", "DEFAULT")
    with pytest.raises(RuntimeError, match="Choose from"):
        b.cuda.preferred_linalg_library("x")


def test_einsum_takes_the_order_that_is_asked_for():
    switches = torchlike.backends.opt_einsum
    assert switches.is_available() and switches.enabled and switches.strategy == "auto"
    a, b, c = (np.random.default_rng(i).normal(size=(5, 5)) for i in range(3))
    xs = [torchlike.tensor(x) for x in (a, b, c)]
    try:
        for enabled, strategy in ((False, "auto"), (True, "greedy"), (True, "optimal")):
            switches.enabled, switches.strategy = enabled, strategy
            found = torchlike.einsum("ij,jk,kl->il", *xs)
            np.testing.assert_allclose(found.numpy(), a @ b @ c, rtol=1e-12)
    finally:
        switches.enabled, switches.strategy = True, "auto"
    with pytest.raises(RuntimeError, match="strategy"):
        switches.strategy = "lucky"
    with pytest.raises(AttributeError):
        torchlike.backends.nothing  # noqa: B018


@with_gpu
def test_a_gpu_answers():
    cuda = torchlike.cuda
    before = cuda.memory_allocated()
    x = torchlike.ones(1 << 20, device="cuda")
    cuda.synchronize()
    assert cuda.memory_allocated() >= before + (1 << 22)
    assert cuda.max_memory_allocated() >= cuda.memory_allocated() > 0
    with pytest.warns(UserWarning, match="one peak"):
        cuda.reset_peak_memory_stats()
    assert cuda.max_memory_allocated() >= cuda.memory_allocated()
    free, total = cuda.mem_get_info()
    assert 0 < free < total == cuda.get_device_properties().total_memory
    major, minor = cuda.get_device_capability()
    assert f"sm_{major}{minor}" in cuda.get_arch_list()
    assert cuda.get_device_properties().name == jax.devices("gpu")[0].device_kind
    start, end = (cuda.Event(enable_timing=True) for _ in range(2))
    m = torchlike.rand(4096, 4096, device="cuda")
    (m @ m).sum().item()
    start.record()
    for _ in range(10):
        m = m @ m * 1e-3
    end.record()
    # Ten products of 4096: over 1.3e12 operations, which no GPU does in a tenth of a millisecond.
    assert start.elapsed_time(end) > 0.1
    cuda.manual_seed(5)
    state = cuda.get_rng_state()
    a = torchlike.rand(4, device="cuda")
    cuda.set_rng_state(state)
    assert torchlike.equal(a, torchlike.rand(4, device="cuda"))
    with cuda.device(0), cuda.stream(cuda.current_stream()):
        assert torchlike.zeros(2, device="cuda").device == torchlike.device("cuda", 0)
    assert torchlike.accelerator.current_accelerator() == torchlike.device("cuda")
    assert np.isfinite(x.sum().item())


def test_synchronize_waits_for_the_cpu():
    x = torchlike.ones(1500, 1500)
    y = torchlike.compile(lambda x: (x @ x) @ x)(x)  # runs at once, on another thread
    torchlike.cpu.synchronize()
    assert y._value.array.is_ready()
