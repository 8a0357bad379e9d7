"""Autocast's dtypes, numbers, cache and cost, and GradScaler, against real torch on the CPU."""

import math
import pickle
import threading
import warnings

import numpy as np
import pytest

import torchlike as T
from torchlike._tensor import autocast as casts
from torchlike._tensor import dispatch, watching

torch = pytest.importorskip("torch")

# Calls in which ``x`` is a float32 matrix, ``b`` the same in bfloat16, ``d`` in float64.
CALLS = [
    "x @ x",
    "x @ x[0]",
    "x[0] @ x[0]",
    "x @ b",
    "t.mm(x, x)",
    "t.mv(x, x[0])",
    "t.bmm(x[None], x[None])",
    "t.addmm(x, x, x)",
    "t.baddbmm(x[None], x[None], x[None])",
    "F.linear(x, x, x[0])",
    "t.einsum('ij,jk->ik', x, x)",
    "t.einsum('ij->ji', x)",
    "t.einsum('ij,ij->ij', x, x)",
    "t.tensordot(x, x, 1)",
    "t.tensordot(x, x, 2)",
    "t.inner(x, x)",
    "t.dot(x[0], x[0])",
    "F.conv1d(x[None], x[None])",
    "F.conv_transpose1d(x[None], x[:, :, None])",
    "F.prelu(x, x[0])",
    "F.scaled_dot_product_attention(x[None], x[None], x[None])",
    "t.linalg.vecdot(x, x)",
    "t.linalg.multi_dot([x, x, x])",
    "d @ d",
    "F.softmax(b, 0)",
    "F.layer_norm(b, (4,))",
    "b.exp()",
    "b.sum()",
    "b.prod()",
    "F.mse_loss(b, b)",
    "F.l1_loss(b, x)",
    "F.cross_entropy(b, t.arange(4))",
    "F.nll_loss(b, t.arange(4))",
    "F.binary_cross_entropy(b * 0.5, b * 0.5)",
    "F.kl_div(b, b, reduction='batchmean')",
    "F.binary_cross_entropy_with_logits(b, b)",
    "F.smooth_l1_loss(b, b)",
    "F.huber_loss(b, b)",
    "t.cat([x, b])",
    "t.stack([b, b])",
    "t.stack([x, b])",
    "t.cdist(x, x)",
    "F.grid_sample(b[None, None], t.zeros(1, 2, 2, 2), align_corners=False)",
    "b.trace()",
    "F.max_pool2d(b[None], 2)",
    "F.max_pool3d(b[None, None, None], (1, 2, 2))",
    "b.mean()",
    "F.avg_pool3d(b[None, None, None], (1, 2, 2))",
    "F.pad(b[None], (1, 1), mode='reflect')",
    "t.fft.fft(b).real",
    "t.linalg.inv(b + 4 * t.eye(4, dtype=t.bfloat16))",
    "b + x",
    "b * b",
    "t.nn.LSTM(4, 4)(x)[0]",
    "t.nn.GRU(4, 4)(x)[0]",
    "t.nn.RNN(4, 4)(x)[0]",
    "t.nn.RNNCell(4, 4)(x)",
    "t.quantile(b.float(), 0.5)",
    "t.outer(x[0], x[0])",
    "t.addmv(x[0], x, x[0])",
    "t.nn.MultiheadAttention(4, 2)(x, x, x)[0]",
    "x.clone().addmm_(x, x)",
    "t.mm(x, x, out=x.clone())",
    "F.soft_margin_loss(b, t.ones(4, 4))",
    "F.local_response_norm(b[None], 2)",
    "F.local_response_norm(b[None, None], 2)",
]


def call(t, text, array, dtype=None):
    x = t.tensor(array)
    names = {"t": t, "F": t.nn.functional, "x": x, "b": x.bfloat16(), "d": x.double()}
    t.manual_seed(0)
    with t.autocast("cpu", dtype):
        return eval(text, names)


@pytest.mark.parametrize("text", CALLS)
def test_dtypes_and_numbers_are_pytorchs(text):
    array = np.random.RandomState(0).rand(4, 4).astype(np.float32)
    ours, theirs = call(T, text, array), call(torch, text, array)
    assert str(ours.dtype) == str(theirs.dtype)
    np.testing.assert_allclose(
        ours.detach().float().numpy(), theirs.detach().float().numpy(), rtol=2e-2, atol=2e-2
    )


@pytest.mark.parametrize("name", ["LSTM", "GRU", "RNN", "LSTMCell", "GRUCell", "RNNCell"])
@pytest.mark.parametrize("state", [None, "float32", "bfloat16"])
def test_recurrent_layers_take_what_a_layer_under_autocast_gave(name, state):
    found = []
    for m in (T, torch):
        m.manual_seed(0)
        layer = getattr(m.nn, name)(4, 3)
        x = m.ones(2, 1, 4, dtype=m.bfloat16)
        h = None if state is None else m.zeros(1, 1, 3, dtype=getattr(m, state))
        if name.endswith("Cell"):
            x, h = x[:, 0], None if h is None else h[0].expand(2, 3)
        if name.startswith("LSTM") and h is not None:
            h = (h, h)
        with m.autocast("cpu"):
            out = layer(x, h)
        out = out[0] if isinstance(out, tuple) else out
        out.float().sum().backward()
        found.append((str(out.dtype).split(".")[1], out.detach().float().numpy()))
    assert found[0][0] == found[1][0]
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=2e-2, atol=2e-2)


def test_float16_on_the_cpu():
    array = np.ones((2, 2), np.float32)
    assert call(T, "x @ x", array, T.float16).dtype is T.float16
    for library in (T, torch):
        assert str(call(library, "t.cat([x, x.half()])", array).dtype).endswith("float32")
        for joined in ("t.cat([x.half(), x])", "t.stack([x.half()])"):
            with pytest.raises(RuntimeError, match="Unexpected floating ScalarType"):
                call(library, joined, array)


@pytest.mark.parametrize(
    ("op", "policy"),
    [
        ("mm", "lower"),
        ("mv", "lower"),
        ("exp", "float32"),
        ("softmax", "dtype"),
        ("sum", "dtype"),
        ("native_layer_norm", "float32"),
        ("addcmul", "widest"),
        ("binary_cross_entropy", "banned"),
        ("relu", None),
        ("cat", None),
    ],
)
def test_lists_of_cuda(op, policy):
    assert casts.POLICIES["cuda"].get(op) == policy


def test_every_listed_op_exists():
    from torchlike._ops.table import TABLE

    for policies in casts.POLICIES.values():
        assert not set(policies) - set(TABLE)


@pytest.fixture
def as_cuda(monkeypatch):
    """The lists of CUDA for the tensors of this machine."""
    monkeypatch.setitem(casts.POLICIES, "cpu", casts.POLICIES["cuda"])


def test_policies_of_cuda(as_cuda):
    x = T.ones(2, 2)
    h = x.half()
    with T.autocast("cpu", T.float16):
        assert (x @ x).dtype is T.float16
        assert h.exp().dtype is T.float32
        assert h.sum().dtype is T.float32
        assert h.sum(dtype=T.float16).dtype is T.float16
        assert T.addcmul(h, h, x).dtype is T.float32
        assert T.addcmul(h, h, h).dtype is T.float16
        assert x.double().exp().dtype is T.float64
        with pytest.raises(RuntimeError, match="unsafe to autocast"):
            T.nn.functional.binary_cross_entropy(h * 0.5, h * 0.5)


def test_training_equals_pytorchs():
    losses = []
    for t in (T, torch):
        t.manual_seed(0)
        model = t.nn.Sequential(t.nn.Linear(8, 16), t.nn.ReLU(), t.nn.Linear(16, 4))
        optimizer = t.optim.SGD(model.parameters(), lr=0.1)
        x, y, rows = t.randn(32, 8), t.arange(32) % 4, []
        for _ in range(5):
            optimizer.zero_grad()
            with t.autocast("cpu"):
                loss = t.nn.functional.cross_entropy(model(x), y)
            loss.backward()
            assert model[0].weight.grad.dtype == t.float32
            optimizer.step()
            rows.append(loss.item())
        losses.append(rows)
    np.testing.assert_allclose(*losses, rtol=5e-3)


def test_a_product_is_rounded_before_it_is_converted():
    """XLA leaves that out where it can: what autocast's float32 ops got was another number."""

    def program(a):
        z = a @ a
        return z, z.float()

    a = T.rand(64, 64).bfloat16()
    for run in (program, T.compile(program)):
        for _ in range(3):
            product, converted = run(a)
            assert T.equal(product.float(), converted)


def test_nesting_and_state():
    assert not T.is_autocast_enabled("cpu")
    with T.autocast("cpu") as outer:
        assert isinstance(outer, T.autocast)
        with T.autocast("cpu", enabled=False):
            assert not T.is_autocast_enabled("cpu")
            assert (T.ones(2, 2) @ T.ones(2, 2)).dtype is T.float32
        with T.autocast("cpu", T.float16):
            assert T.get_autocast_dtype("cpu") is T.float16
        assert T.get_autocast_dtype("cpu") is T.bfloat16
        assert T.is_autocast_enabled("cpu") and not T.is_autocast_enabled()
    assert not T.is_autocast_enabled("cpu")

    @T.autocast("cpu")
    def product(x):
        return x @ x

    assert product(T.ones(2, 2)).dtype is T.bfloat16
    T.set_autocast_enabled("cpu", True)
    assert (T.ones(2, 2) @ T.ones(2, 2)).dtype is T.bfloat16
    T.set_autocast_enabled("cpu", False)


def test_weights_are_cast_once_and_never_stale():
    w = T.nn.Parameter(T.ones(2, 2))
    x = T.ones(2, 2)
    with T.autocast("cpu"):
        with T.no_grad():
            x @ w
        y = x @ w  # cast again: the first cast has no history
        kept = casts.state.casts[id(w)][3]
        z = x @ w
        assert casts.state.casts[id(w)][3] is kept
        with T.no_grad():
            w.mul_(3)
        assert (x @ w)[0, 0].item() == 6  # PyTorch would still use the old cast
    assert not casts.state.casts
    (y.sum() + z.sum()).backward()
    assert w.grad[0, 0].item() == 4


def test_off_means_the_plain_code():
    plain = dispatch.apply.__code__
    assert plain is watching.plain.__code__
    with T.autocast("cpu"):
        assert dispatch.apply.__code__ is not plain
        seen = []
        thread = threading.Thread(target=lambda: seen.append((T.ones(2, 2) @ T.ones(2, 2)).dtype))
        thread.start()
        thread.join(10)
    assert dispatch.apply.__code__ is plain
    assert seen == [T.float32]  # autocast is each thread's own


def test_custom_function():
    seen = []

    class Square(T.autograd.Function):
        @staticmethod
        @T.amp.custom_fwd(device_type="cpu", cast_inputs=T.float32)
        def forward(ctx, x):
            ctx.save_for_backward(x)
            seen.append((x.dtype, T.is_autocast_enabled("cpu")))
            return x @ x

        @staticmethod
        @T.amp.custom_bwd(device_type="cpu")
        def backward(ctx, grad):
            (x,) = ctx.saved_tensors
            seen.append((x.dtype, T.is_autocast_enabled("cpu")))
            return grad @ x.t() + x.t() @ grad

    x = T.ones(2, 2, dtype=T.bfloat16, requires_grad=True)
    with T.autocast("cpu"):
        y = Square.apply(x)
    assert y.dtype is T.float32
    y.sum().backward()
    assert seen == [(T.float32, False)] * 2 and x.grad.dtype is T.bfloat16


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda t: t.autocast(3), ValueError),
        (lambda t: t.autocast("foo"), RuntimeError),
        (lambda t: t.autocast("meta"), RuntimeError),
        (lambda t: t.get_autocast_dtype("meta"), RuntimeError),
        (lambda t: t.amp.GradScaler("cpu", growth_factor=1.0), AssertionError),
        (lambda t: t.amp.GradScaler("cpu", backoff_factor=1.0), AssertionError),
        (lambda t: t.amp.GradScaler("cpu").update(), AssertionError),
        (lambda t: t.set_autocast_enabled(3, True), TypeError),
        (lambda t: t.is_autocast_enabled(0), TypeError),
        (lambda t: t.amp.GradScaler("cpu").load_state_dict({}), RuntimeError),
    ],
)
def test_errors(make, error):
    for t in (torch, T):
        with pytest.raises(error):
            make(t)


@pytest.mark.parametrize(
    ("make", "category"),
    [
        (lambda t: t.cuda.amp.autocast(enabled=False), FutureWarning),
        (lambda t: t.cpu.amp.autocast(), FutureWarning),
        (lambda t: t.cpu.amp.GradScaler(), FutureWarning),
        (lambda t: t.cuda.amp.custom_bwd(lambda ctx, g: g), FutureWarning),
        (lambda t: t.get_autocast_gpu_dtype(), DeprecationWarning),
        (lambda t: t.autocast("cpu", t.float32), UserWarning),
    ],
)
def test_warnings(make, category):
    texts = []
    for t in (torch, T):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            make(t)
        texts.append([(w.category, str(w.message).split(" (Trig")[0]) for w in caught])
    assert texts[0] == texts[1] and texts[0][0][0] is category


def scaled_run(t):
    """States, factors and weights over steps of which some have an inf."""
    p = t.nn.Parameter(t.ones(3))
    q = t.nn.Parameter(t.ones(2))
    optimizer = t.optim.SGD([p, q], lr=0.1)
    scaler = t.amp.GradScaler("cpu", init_scale=8.0, growth_interval=2)
    rows = []
    for step, factor in enumerate([1.0, 1.0, math.inf, 1.0, math.nan, 2.0, 1.0]):
        optimizer.zero_grad()
        scaler.scale((p * factor).sum() + q.sum()).backward()
        if step % 2:
            scaler.unscale_(optimizer)
            with pytest.raises(RuntimeError, match="already been called on this optimizer"):
                scaler.unscale_(optimizer)
        scaler.step(optimizer)
        with pytest.raises(RuntimeError, match=r"step\(\) has already been called"):
            scaler.step(optimizer)
        scaler.update()
        rows.append((scaler.state_dict(), p.tolist(), q.tolist()))
    return rows, scaler


def test_grad_scaler():
    ours, scaler = scaled_run(T)
    assert ours == scaled_run(torch)[0]
    again = pickle.loads(pickle.dumps(scaler))
    assert again.state_dict() == scaler.state_dict()
    fresh = T.amp.GradScaler("cpu")
    fresh.load_state_dict(scaler.state_dict())
    assert fresh.state_dict() == scaler.state_dict()
    scaler.update(4.0)
    assert scaler.get_scale() == 4.0


def test_grad_scaler_refuses_half_gradients_and_passes_through_when_off():
    p = T.nn.Parameter(T.ones(3, dtype=T.half))
    optimizer = T.optim.SGD([p], lr=1.0)
    scaler = T.amp.GradScaler("cpu")
    scaler.scale(p.float().sum()).backward()
    with pytest.raises(ValueError, match="unscale FP16"):
        scaler.unscale_(optimizer)
    off = T.amp.GradScaler("cpu", enabled=False)
    assert off.scale(p) is p and off.state_dict() == {} and off.get_scale() == 1.0
