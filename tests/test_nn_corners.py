"""Corners of modules, hooks, state dicts and layers: state, errors and modes against PyTorch's.

Each case is a function of the library; what it returns must be PyTorch's. ``told`` gives the type
and the text of what a call raises.
"""

import gc
import inspect
import math
import sys
import warnings

import pytest

import torchlike

from .test_nn_utils import outcome, same

torch = pytest.importorskip("torch", reason="PyTorch 2.13 is the oracle")


def told(call, *args, **kwargs):
    """The type of what a call raises, and its text up to PyTorch's long lists of signatures."""
    try:
        call(*args, **kwargs)
    except Exception as error:
        text = str(error).replace("torchlike.", "torch.").split(", but expected one of")[0]
        return type(error).__name__, text.split("\n")[0]
    return "nothing"


def ramp(lib, *shape):
    return lib.arange(1.0, 1 + math.prod(shape)).view(shape)


# ---- modules -----------------------------------------------------------------------------------


def case_counts_of_what_hooks_return(lib):
    x, m = lib.ones(2, requires_grad=True), lib.nn.Sigmoid()
    out = []
    for hook in (lambda m, i, o: i[:-1], lambda m, i, o: (*i, lib.ones(2))):
        hook.__name__ = "shortened"
        with m.register_backward_hook(hook):
            out.append(told(lambda: m(x).sum().backward()))
    m = lib.nn.Sigmoid()
    for hook in (lambda m, i, o: (), lambda m, i, o: lib.ones(5), lambda m, i, o: (None,)):
        with m.register_full_backward_hook(hook):
            out.append(told(lambda: m(x).sum().backward()))
    return out


def case_full_hook_sees_inputs_without_gradients(lib):
    m, seen = lib.nn.L1Loss(), []
    m.register_full_backward_hook(lambda m, i, o: seen.append((i, o)))
    x = lib.rand(1, requires_grad=True)
    m(x.detach(), x).backward()
    return seen


def case_gradient_of_a_sampler_at_the_identity(lib):
    """There it stands between two cells: the last digit of its places says of which."""
    f, found = lib.nn.functional, []
    for n in (7, 10, 11, 17, 28, 50):
        x = lib.sin(ramp(lib, 1, 1, n, n + 1) ** 2)
        for mode, corners in (("bilinear", False), ("bilinear", True), ("bicubic", False)):
            theta = lib.eye(2, 3)[None].requires_grad_()
            grid = f.affine_grid(theta, x.shape, align_corners=corners)
            (f.grid_sample(x, grid, mode=mode, align_corners=corners) * x).sum().backward()
            found.append(theta.grad / n**2)
    return found


def case_parameter_of_a_users_class(lib):
    class Mine(lib.Tensor):
        pass

    m = lib.nn.Module()
    m.p = lib.nn.Parameter(ramp(lib, 3).as_subclass(Mine))
    m.q = lib.nn.Parameter(m.p)
    (m.p * 2).sum().backward()
    lib.optim.SGD(m.parameters(), lr=0.5).step()
    kinds = [isinstance(t, lib.nn.Parameter) for t in (m.p, m.q, lib.ones(1), Mine([1.0]))]
    named = [(n, type(p).__name__) for n, p in m.named_parameters()]

    class Own(lib.nn.Parameter):
        pass

    shown = [repr(t) for t in (m.p, m.q.data, Own(ramp(lib, 2)), Own(ramp(lib, 2)).data)]
    return named, kinds, m.p.is_leaf, m.p.tolist(), shown


def case_arguments_of_to(lib):
    m, cpu = lib.nn.Linear(1, 1), lib.device("cpu")
    calls = [
        (cpu, True), (None, True), (cpu, lib.float32, True, True), (cpu, lib.ones(1)), ([],),
        (cpu, None, True), (lib.float64, True), (lib.ones(1), True), ("cpu", lib.float32),
        (lib.float32, "cpu"), (cpu, 3),
    ]  # fmt: skip
    return [told(m.to, *args) for args in calls], told(m.to, "cpu", copy=True)


def case_buffer_like_a_tensor(lib):
    class Like:
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            raise NotImplementedError

    m, first, second = lib.nn.Module(), Like(), Like()
    m.register_buffer("b", first)
    kept = m.get_buffer("b") is first
    m.b = second
    return kept, m.get_buffer("b") is second, told(setattr, m, "b", 3)


def case_conversion_overwrites(lib):
    future = lib.__future__
    future.set_overwrite_module_params_on_conversion(True)
    try:
        m = lib.nn.Linear(2, 2)
        before, m.weight.grad = m.weight, lib.ones(2, 2)
        m.double()
        first = m.weight is before, before.dtype, m.weight.grad.dtype, m.weight.requires_grad
        return first, future.get_overwrite_module_params_on_conversion()
    finally:
        future.set_overwrite_module_params_on_conversion(False)


def case_conversion_swaps(lib):
    future, nn = lib.__future__, lib.nn
    future.set_swap_module_params_on_conversion(True)
    try:
        m = nn.Linear(2, 3)
        before = m.weight
        m.half()
        other = nn.Linear(2, 3)
        m.load_state_dict(other.state_dict())
        out = [m.weight is before, m.weight.dtype, m.weight]
        with lib.device("meta"):
            empty = nn.Linear(2, 3)
        before = empty.weight
        empty.load_state_dict(other.state_dict(), assign=True)
        return out, empty.weight is before, empty.weight, empty.weight.requires_grad
    finally:
        future.set_swap_module_params_on_conversion(False)


def case_swapped_tensors(lib):
    a, b = lib.nn.Parameter(lib.ones(2)), lib.zeros(3)
    a.note = "a"
    lib.utils.swap_tensors(a, b)
    return a, b, b.note, hasattr(a, "note"), type(a).__name__, type(b).__name__


def case_functional_call_of_a_module_name(lib):
    m = lib.nn.Sequential(lib.nn.Linear(1, 1))
    return told(lib.func.functional_call, m, {"0": lib.ones(1)}, lib.ones(2, 1))


# ---- lazy --------------------------------------------------------------------------------------


def case_uninitialized_in_use(lib):
    """Whatever asks for its values or its shape raises; the function is named by PyTorch only."""
    p = lib.nn.parameter.UninitializedParameter()
    calls = [
        lambda: lib.empty_like(p), lambda: p + p, lambda: len(p), p.numel, p.dim, p.clone, p.tolist,
        p.stride, lambda: bool(p), p.data_ptr, lambda: lib.optim.Adagrad([p]),
    ]  # fmt: skip
    kinds = [told(call)[0] for call in calls]
    whole = told(lambda: p.shape)
    return kinds, whole, p.dtype, p.size(), p.is_floating_point(), p.half().dtype, repr(p)


def case_uninitialized_becomes(lib):
    nn = lib.nn
    p = nn.parameter.UninitializedParameter(requires_grad=False, dtype=lib.float64)
    p.materialize(3)
    lazy = nn.LazyLinear(2).half()
    lazy.weight.materialize((2, 4))
    moved = nn.LazyLinear(2).to("meta")
    return type(p).__name__, p.dtype, p.shape, p.requires_grad, lazy.weight.dtype, moved.weight


def case_uninitialized_loads(lib):
    nn = lib.nn
    one, other, full = nn.LazyLinear(2), nn.LazyLinear(2), nn.Linear(3, 2)
    kept = str(one.load_state_dict(other.state_dict())), one.has_uninitialized_params()
    wrong = told(full.load_state_dict, other.state_dict())[0]
    return kept, wrong, str(one.load_state_dict(full.state_dict())), one.weight.shape


def case_uninitialized_in_optimizers(lib):
    out = []
    for name in ("SGD", "Adam", "RMSprop", "Rprop"):
        p = lib.nn.parameter.UninitializedParameter()
        optimizer = getattr(lib.optim, name)([p])
        p.materialize(3)
        p.data.fill_(1)
        p.grad = lib.ones(3)
        optimizer.step()
        out.append(p)
    return out


def case_parametrized_parametrizations(lib):
    class Skew(lib.nn.Module):
        def forward(self, x):
            return x.tril(-1) - x.tril(-1).T

    parametrize, m = lib.nn.utils.parametrize, lib.nn.Linear(2, 2)
    with lib.no_grad():
        m.weight.copy_(ramp(lib, 2, 2))
    parametrize.register_parametrization(m, "weight", Skew())
    parametrize.register_parametrization(m.parametrizations.weight, "original", Skew())
    return m.weight.detach(), m.parametrizations.weight.original.detach()


def case_scripts_of_lazy_modules(lib):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return told(lib.jit.script, lib.nn.LazyLinear(2))[0]


def case_hints_of_causality(lib):
    """Without weights and paddings the hint replaces the mask, also over keys that are added."""
    q, mask = ramp(lib, 3, 2, 4) / 10, lib.ones(3, 3, dtype=lib.bool).triu(1)
    out = []
    for extra in ("add_bias_kv", "add_zero_attn"):
        m = lib.nn.MultiheadAttention(4, 2, **{extra: True})
        with lib.no_grad():
            for p in m.parameters():
                p.copy_(ramp(lib, *p.shape).cos())
        for kw in ({"need_weights": False}, {}):
            out.append(m(q, q, q, attn_mask=mask, is_causal=True, **kw)[0].detach())
    return out


def case_heads_shared_apart(lib):
    attend = lib.nn.functional.scaled_dot_product_attention
    q, k, v = ramp(lib, 1, 4, 2, 3).cos(), ramp(lib, 1, 1, 2, 3).sin(), ramp(lib, 1, 2, 2, 3)
    k.requires_grad_()
    y = attend(q, k, v, enable_gqa=True)
    wrong = told(attend, q, k, v[:, :1].repeat(1, 3, 1, 1), enable_gqa=True)
    return y.detach(), lib.autograd.grad(y.pow(2).sum(), k), wrong[0]


def case_parameters_that_a_module_does_not_have(lib):
    """For the length of the call they are among its parameters."""

    class Names(lib.nn.Linear):
        def forward(self, x):
            return [name for name, _ in self.named_parameters()]

    m, call = Names(1, 1), lib.func.functional_call
    extra = {"extra": lib.nn.Parameter(lib.ones(1))}
    names = call(m, extra, lib.ones(1)), call(m, {"extra": lib.ones(1)}, lib.ones(1))
    empty = [told(call, m, {"": lib.ones(1)}, lib.ones(1), strict=s)[0] for s in (True, False)]
    return names, list(m.state_dict()), empty


# ---- embeddings --------------------------------------------------------------------------------


def case_bags_that_are_wrong(lib):
    bag, w, i = lib.nn.functional.embedding_bag, lib.ones(6, 3), lib.tensor([1, 2, 4, 5])
    o = lib.tensor([0, 2])
    empty = lib.tensor([], dtype=lib.long)
    return [
        told(bag, i, w, lib.tensor([1, 2])),
        told(bag, i, w, lib.tensor([0, 9])),
        told(bag, i, w, lib.tensor([0, 2, 5]), include_last_offset=True),
        told(bag, i, w, empty, include_last_offset=True),
        told(bag, i, w, o, padding_idx=6),
        told(bag, i, w, o, padding_idx=-7),
        told(bag, i.float(), w, o),
        told(bag, i, w, o.float())[0],
        told(bag, i, w, o, mode="sum", per_sample_weights=lib.ones(4, dtype=lib.float64)),
        told(bag, i, w, o, mode="max", scale_grad_by_freq=True),
        bag(w, i, o),
    ]


def case_bags_scaled_by_frequency(lib):
    """Each number once: there PyTorch's kernel, which reads counts at other places, is right."""
    w = ramp(lib, 6, 2).requires_grad_()
    i, o = lib.tensor([1, 4, 2, 5]), lib.tensor([0, 3])
    y = lib.nn.functional.embedding_bag(i, w, o, mode="sum", scale_grad_by_freq=True)
    (y * lib.tensor([1.0, 2.0])).sum().backward()
    return y, w.grad


def case_last_offsets_before_the_end(lib):
    """Kernels of paddings, maxima and doubles read to the end of the input, the others do not."""
    bag, i = lib.nn.functional.embedding_bag, lib.tensor([0, 1, 2, 3])
    return [
        bag(i, ramp(lib, 4, 2).to(kind), lib.tensor(ends), mode=mode, padding_idx=padding,
            include_last_offset=True)
        for ends in ([0, 2, 3], [0, 3, 3], [0, 2, 4])
        for mode, padding, kind in (
            ("sum", None, lib.float32), ("sum", None, lib.float64), ("sum", 1, lib.float32),
            ("mean", 3, lib.float32), ("max", None, lib.float32),
        )
    ]  # fmt: skip


def case_sparse_gradients_keep_their_indices(lib):
    """The buffer of indices may be written to behind the backward pass, but not before it."""
    f, w, i = lib.nn.functional, lib.ones(5, 2, requires_grad=True), lib.tensor([1, 3])
    f.embedding(i, w, sparse=True).sum().backward()
    i[0] = 4
    found = [w.grad.to_dense()]
    for late in (
        f.embedding(i, w, sparse=True),
        f.embedding_bag(i[None], w, mode="sum", sparse=True),
        lib.gather(w, 0, i[:, None], sparse_grad=True),
    ):
        i[0] = 2
        found.append(told(late.sum().backward)[0])
    return found


def case_dtypes_without_a_pool(lib):
    f, out = lib.nn.functional, []
    for kind in (lib.bool, lib.uint8, lib.int64, lib.complex64):
        one = lambda *shape: lib.ones(shape).to(kind)  # noqa: B023, E731
        for rank in (1, 2, 3):
            x, at = one(1, *[4] * rank), lib.zeros((1, *[4] * rank), dtype=lib.int64)
            for name, given in (
                ("max_pool", (2,)), ("avg_pool", (2,)), ("adaptive_max_pool", (2,)),
                ("max_unpool", (at, 2)),
            ):  # fmt: skip
                out.append(told(getattr(f, f"{name}{rank}d"), x, *given)[0])
            for name in ("conv", "conv_transpose"):
                conv = getattr(f, f"{name}{rank}d")
                out.append(told(conv, one(1, *[4] * rank), one(1, 1, *[2] * rank)))
        out.append(told(f.conv2d, one(1, 4, 4), one(1, 1, 2, 2), dilation=2))
    return out


def case_pools_of_odd_sizes(lib):
    f, x = lib.nn.functional, lib.ones(1, 2, 4, 4)
    samples = lib.zeros(1, 2, 2)
    return [
        f.fractional_max_pool2d(x, 2, output_size=(0, 1), _random_samples=samples),
        told(f.avg_pool2d, x, 2, -1),
        told(f.max_pool2d, x, 2, (1, -1))[0],
        told(f.max_unpool3d, lib.ones(1, 3, 1, 1), lib.zeros(1, 3, 1, 1, dtype=lib.int64), [1, 1]),
        told(f.conv_transpose2d, lib.ones(2, 3, 0, 5), lib.ones(3, 1, 2, 2)),
        told(f.embedding_bag, lib.tensor([0]), lib.ones(2, 2, 2), lib.tensor([0])),
        told(f.embedding_bag, lib.tensor([0]), lib.ones(2, 2).long(), lib.tensor([0])),
        told(f.embedding_bag, lib.tensor([0, -1]), lib.ones(2, 2), lib.tensor([0]), mode="max"),
    ]


def case_sparse_gradients_of_embeddings(lib):
    m = lib.nn.Embedding(5, 0, sparse=True)
    m(lib.tensor([[1, 2]])).sum().backward()
    scaled = lib.nn.Embedding(5, 2, sparse=True, scale_grad_by_freq=True)
    y = scaled(lib.tensor([1, 1]))
    return m.weight.grad.shape, m.weight.grad.is_sparse, y, told(y.sum().backward)


# ---- linear, norms and cells -------------------------------------------------------------------


def case_biases_of_linear(lib):
    """Of any shape that the output is not broadcast by; each gets the gradient of its shape."""
    out = []
    for lead in ((), (2,), (5, 2), (1, 2, 2)):
        for shape in ((4,), (1,), (), (1, 4), (2, 4), (5, 2, 4), (5, 1, 4), (3, 2, 4)):
            x, w = ramp(lib, *lead, 3).requires_grad_(), ramp(lib, 4, 3).requires_grad_()
            b = ramp(lib, *shape).requires_grad_()
            try:
                y = lib.nn.functional.linear(x, w, b)
            except RuntimeError as error:
                out.append(type(error).__name__)
                continue
            out.append((y, lib.autograd.grad((y * ramp(lib, *y.shape)).sum(), (x, w, b))))
    return out


def case_norms_of_half_a_statistic(lib):
    f, x, one = lib.nn.functional.batch_norm, ramp(lib, 2, 3), lib.ones(3)
    return [
        told(f, x, one, None, training=True),
        told(f, x, None, one, training=True),
        f(x, None, None, training=True),
    ]


def case_cells_of_other_ranks(lib):
    """A state with a batch does not go with an input without."""
    nn, x, h = lib.nn, lib.ones(4), lib.ones(3, 5)
    lstm = nn.LSTMCell(4, 5)
    return [
        told(nn.RNNCell(4, 5), x, h), told(nn.GRUCell(4, 5), x, h), told(lstm, x, (h, h)),
        told(lstm, x, (lib.ones(5), h)), told(nn.RNNCell(4, 5), lib.ones(3, 4), lib.ones(5)),
    ]  # fmt: skip


def case_calls_with_what_is_no_tensor(lib):
    class Scaled(lib.nn.Module):
        def __init__(self):
            super().__init__()
            self.w, self.by = lib.nn.Parameter(lib.ones(1)), 2.0

        def forward(self, x, drop=False):
            if drop:
                del self.w
            return x * self.by

    m, call = Scaled(), lib.func.functional_call
    dropped = call(m, {"w": lib.zeros(1)}, (lib.ones(1), True)), m.w
    return told(call, m, {"by": lib.ones(1)}, lib.ones(1)), m.by, dropped


# ---- losses ------------------------------------------------------------------------------------


def case_losses_of_other_shapes(lib):
    f, out = lib.nn.functional, []
    for a, b in (((3, 1), (3,)), ((3,), (3, 1)), ((2, 1), (2, 4)), ((), (3,)), ((2, 4), (4,))):
        x, y = ramp(lib, *a), lib.ones(b)
        for loss in (f.soft_margin_loss, f.multilabel_soft_margin_loss):
            try:
                out.append(loss(x, y))
            except (RuntimeError, IndexError) as error:
                out.append((type(error).__name__, str(error)))
    x, far = ramp(lib, 3, 5), ramp(lib, 5)
    out.append(told(f.triplet_margin_with_distance_loss, x, far, x))
    out.append(told(f.multilabel_margin_loss, lib.ones(2, 0), lib.ones(2, 0, dtype=lib.long)))
    half, whole = lib.ones(2, 3, dtype=lib.half), lib.ones(2, 3, dtype=lib.long)
    out.append(f.cosine_embedding_loss(half, whole, lib.ones(2)))
    return out


def case_what_may_be_written_before_the_backward_pass(lib):
    """Losses made of other ops save what these made; a batch norm does not save its bias; nor a
    solver its right side."""
    f, out = lib.nn.functional, []
    calls = {
        "hinge": (f.hinge_embedding_loss, (3,), (3,)),
        "ranking": (f.margin_ranking_loss, (3,), (3,), (3,)),
        "gaussian": (f.gaussian_nll_loss, (3,), (3,), (3,)),
        "triplet": (f.triplet_margin_loss, (2, 3), (2, 3), (2, 3)),
        "distance": (f.pairwise_distance, (2, 3), (2, 3)),
        "kron": (lib.kron, (2,), (3,)),
        "tanhshrink": (f.tanhshrink, (3,)),
        "norm": (lambda x, w, b: f.batch_norm(x, None, None, w, b, True), (4, 3), (3,), (3,)),
        "mse": (f.mse_loss, (3,), (3,)),
        "solve": (lib.linalg.solve, (2, 2), (2, 3)),
        "triangular": (lambda a, b: lib.linalg.solve_triangular(a, b, upper=True), (2, 2), (2, 3)),
        "qr": (lambda a: lib.linalg.qr(a)[0].abs() + lib.linalg.qr(a)[1].sum(), (2, 3)),
    }
    for name, (call, *shapes) in calls.items():
        for written in range(len(shapes)):
            given = [(ramp(lib, *s).cos().abs() + 0.1).requires_grad_() * 1 for s in shapes]
            y = call(*given).sum()
            with lib.no_grad():
                given[written].add_(1)
            out.append((name, told(y.backward)[0]))
    return out


# ---- attention ---------------------------------------------------------------------------------


def case_attention_that_is_wrong(lib):
    f, q = lib.nn.functional.scaled_dot_product_attention, lib.ones(2, 2, 3, 4)
    k, v = lib.ones(2, 2, 5, 4), lib.ones(2, 2, 5, 6)
    mask = lib.zeros(3, 5)
    return [
        told(f, q, k[:, :, :4], v),
        told(f, q, k[..., :3], v),
        told(f, q, k, v, mask.double()),
        told(f, q, k, v, mask.long()),
        told(f, q, k, v, lib.zeros(1, 1, 1, 3, 5)),
        told(f, q, k, v, lib.zeros(4, 5))[0],
        told(f, q[:, :1].expand(2, 3, 3, 4), k, v)[0],
        f(q.bfloat16(), k.bfloat16(), v.bfloat16(), mask).dtype,
        f(q[..., :0], k[..., :0], v),
    ]


def case_corner_masks_that_are_causal_already(lib):
    name = "torch.nn.attention.bias" if lib is torch else "torchlike.nn.attention.bias"
    __import__(name)
    q, mask = lib.ones(1, 1, 3, 4), lib.nn.attention.bias.causal_upper_left(3, 3)
    return told(lib.nn.functional.scaled_dot_product_attention, q, q, q, mask, is_causal=True)


def case_heads_that_are_wrong(lib):
    torch.manual_seed(0)
    m, x = lib.nn.MultiheadAttention(8, 2), lib.ones(3, 2, 8)
    given = (m.in_proj_weight, m.in_proj_bias)

    def call(bias_k=None, bias_v=None, **kwargs):
        out = m.out_proj
        lib.nn.functional.multi_head_attention_forward(
            x, x, x, 8, 2, *given, bias_k, bias_v, False, 0.0, out.weight, out.bias, **kwargs
        )

    one, fixed = lib.ones(1, 1, 8), lib.ones(4, 3, 4)
    lone = lib.ones(3, 8)
    return [
        told(call, static_k=fixed[:2]),
        told(call, static_v=fixed[..., :2]),
        told(call, one, one, static_k=fixed),
        told(call, one, one, static_v=fixed),
        told(call, one),
        told(call, None, one),
        told(call, use_separate_proj_weight=True),
        told(m, lone, lone, lone, attn_mask=lib.zeros(5, 3, 3)),
    ]


# ---- pixels and pools --------------------------------------------------------------------------


def case_negative_padding(lib):
    pad, x = lib.nn.functional.pad, ramp(lib, 1, 1, 4)
    out = [pad(x, p, "reflect") for p in ((-1, 2), (2, -1), (-1, -1), (-2, 2), (-1, 3))]
    square = ramp(lib, 1, 1, 3, 3).requires_grad_()
    y = pad(square, (-1, 2, 2, -1), "reflect")
    (y * ramp(lib, 1, 1, 4, 4)).sum().backward()
    return out, y, square.grad, [told(pad, x, (-2, -3), m) for m in ("reflect", "replicate")]


def case_padding_nothing(lib):
    nn = lib.nn
    return [
        told(nn.ReflectionPad1d(1), lib.ones(1, 0, 3)),
        told(nn.ReplicationPad2d(1), lib.ones(1, 0, 3, 3)),
        told(nn.ReplicationPad2d(1), lib.ones(0, 1, 3, 3)),
        told(nn.functional.pad, lib.ones(1, 1, 3), (-2, -2), "circular"),
    ]


def case_unpooling_that_is_wrong(lib):
    f, x = lib.nn.functional.max_unpool2d, lib.ones(1, 1, 2, 2)
    at = lib.tensor([[[[0, 1], [2, 3]]]])
    return [
        told(f, x, lib.tensor([[[[99, 1], [2, 3]]]]), 2),
        told(f, x, lib.tensor([[[[0, 1], [-1, 3]]]]), 2),
        told(f, x, at.int(), 2),
        told(f, x, at[:, :, :1], 2), told(f, x, at, 2, output_size=(5,)),
        told(f, x, at, 2, output_size=(9, 9)), f(x, at, 2, output_size=(1, 1, 5, 5)),
    ]  # fmt: skip


def case_blocks_that_are_wrong(lib):
    f, x = lib.nn.functional.unfold, lib.ones(1, 1, 4, 4)
    given = ((0,), (2, 0), (2, 1, -1), (2, 1, 0, 0))
    fold, y = lib.nn.functional.fold, lib.ones(1, 4, 9)
    back = (4, 0), (4, 2, 1, 0, 0), (4, 2, 8), (4, 2, 1, -1), ((4, 2), 2, 3)
    empty = told(f, lib.ones(3, 0, 4, 4), 2), told(fold, lib.ones(1, 0, 9), 4, 2)
    return [told(f, x, *args) for args in given], [told(fold, y, *args) for args in back], empty


def case_pools_of_nothing(lib):
    """A batch may be empty, channels and pixels may not."""
    f, out = lib.nn.functional, []
    for shape in ((0, 2, 4), (2, 0, 4)):
        x, at = lib.ones(shape), lib.zeros(shape, dtype=lib.long)
        for pool, args in ((f.adaptive_max_pool1d, (2,)), (f.max_unpool1d, (at, 2))):
            out.append(told(pool, x, *args)[0] if 0 in shape[1:] else pool(x, *args))
    return out, told(f.max_unpool3d, lib.ones(1, 1, 1, 1, 1), lib.zeros(1, 1, 1, 1, 1).long(), 1, 0)


def case_largest_norm_of_windows(lib):
    x, out = ramp(lib, 1, 1, 4, 4).sub(8).requires_grad_(), []
    for norm in (math.inf, -math.inf):
        y = lib.nn.functional.lp_pool2d(x, norm, 2)
        out += [y, lib.autograd.grad(y.sum(), x)[0]]
    return out, lib.nn.LPPool1d(math.inf, 2)(ramp(lib, 1, 4)), lib.nn.LPPool3d(math.inf, 1)(x)


def case_convolutions_of_no_channels(lib):
    out = []
    for x, w, options in (
        (lib.ones(2, 0, 5, 5), lib.ones(3, 0, 3, 3), {"padding": 1, "stride": 2}),
        (lib.ones(0, 0, 5, 5), lib.ones(6, 0, 3, 3), {"groups": 3}),
        (lib.ones(0, 4), lib.ones(2, 0, 2), {}),
    ):
        b = lib.ones(len(w), requires_grad=True)
        conv = lib.nn.functional.conv2d if w.ndim == 4 else lib.nn.functional.conv1d
        y = conv(x.requires_grad_(), w.requires_grad_(), b, **options)
        y.sum().backward()
        out += [y.shape, x.grad.shape, w.grad.shape, b.grad]
    return out


def case_convolutions_that_are_wrong(lib):
    """Where PyTorch speaks of a kernel's height and width, only the error's type is its."""
    f, x, w = lib.nn.functional, lib.ones(1, 2, 4, 4), lib.ones(2, 3, 2, 2)
    nothing = lib.ones(2, 2, 0, 2)
    return [
        told(f.conv_transpose2d, x, w, padding="same"),
        told(f.conv_transpose2d, x, nothing)[0], told(f.conv2d, x, nothing)[0],
        told(f.conv2d, lib.ones(1, 2, 0, 4), lib.ones(2, 2, 3, 3), padding=2),
        told(f.interpolate, x, (2.0, 2.0)),
    ]  # fmt: skip


def case_grids_that_are_wrong(lib):
    f, x, g = lib.nn.functional.grid_sample, lib.ones(1, 1, 3, 3), lib.zeros(1, 2, 2, 2)
    affine, theta = lib.nn.functional.affine_grid, lib.ones(1, 2, 3)
    return [
        told(f, x, g.double(), align_corners=False), told(f, x, lib.zeros(2, 2, 2, 2)),
        told(f, x, lib.zeros(1, 2, 2, 3)), told(f, lib.ones(1, 1, 0, 3), g),
        told(affine, theta, (1, 1, 0, 2)), told(affine, theta, (1, 1, 2)),
        told(affine, lib.ones(1, 2, 4), (1, 1, 2, 2)),
    ]  # fmt: skip


def case_bytes_resized(lib):
    """In fixed point, as PyTorch does on CPU: not as the rounded floats would be."""
    resize, out = lib.nn.functional.interpolate, []
    x = (lib.arange(3 * 20 * 31) * 7919 % 256).to(lib.uint8).view(1, 3, 20, 31)
    wide = x[:, :1].expand(1, 1, 20, 31).repeat(1, 1, 1, 12)
    for mode, antialias in (
        ("bilinear", False), ("bilinear", True), ("bicubic", False), ("bicubic", True),
        ("lanczos", True),
    ):  # fmt: skip
        given = {"mode": mode, "antialias": antialias}
        for size in ((7, 9), (33, 40), (20, 5)):
            out.append(resize(x, size, **given))
        out.append(resize(wide, (20, 300), **given))
        out.append(resize(x, scale_factor=(0.4, 1.7), **given))
        if mode != "lanczos":
            out.append(resize(x, (13, 14), **given, align_corners=True))
    wrong = [({"mode": "lanczos"}, x)]
    wrong.append(({"mode": "lanczos", "antialias": True, "align_corners": True}, x))
    wrong.append(({"mode": "bilinear", "antialias": True}, x[0]))
    return out, [told(resize, y, 4, **given) for given, y in wrong]


def case_lanczos(lib):
    x = lib.sin(lib.arange(2 * 3 * 7 * 9.0)).view(2, 3, 7, 9).requires_grad_()
    y = [lib.nn.functional.interpolate(x, s, mode="lanczos", antialias=True) for s in (3, (9, 20))]
    return y, lib.autograd.grad(sum((z * z).sum() for z in y), x)[0]


def case_dropout_of_other_kinds(lib):
    f = lib.nn.functional
    calls = (f.dropout2d, (1, 2)), (f.dropout2d, (1, 2, 2)), (f.dropout3d, (1, 2, 2))
    for drop, shape in calls:  # they warn
        drop(lib.ones(shape), 0.5)
    return told(f.dropout, lib.ones(2, dtype=lib.long)), told(f.normalize, lib.ones(2, 2), dim=5)


def case_curvature_at_the_edge_of_huber(lib):
    x = lib.tensor([0.0, 0.5, 1, 2, 3]).requires_grad_()
    loss = lib.nn.functional.huber_loss(x, lib.ones(5), reduction="sum")
    slope = lib.autograd.grad(loss, x, create_graph=True)[0]
    return slope.detach(), lib.autograd.grad(slope.sum(), x)[0]


def case_distances_of_ties(lib):
    """|0| has the slope 0, and each of the largest gets the gradient."""
    rows, out = lib.tensor([[1.0, 2], [1, 2], [3, 4]]), []
    others = lib.tensor([[3.0, 4], [0, 2]])
    for p in (1.0, math.inf):
        x, y = rows.clone().requires_grad_(), others.clone().requires_grad_()
        (lib.cdist(x, y, p).sum() + lib.nn.functional.pdist(x, p).sum()).backward()
        out.append((x.grad, y.grad))
    x = lib.ones(2, requires_grad=True)
    lib.nn.functional.smooth_l1_loss(x, lib.tensor([1.0, 3]), beta=0.0).backward()
    return out, x.grad, lib.cdist(lib.tensor([[math.inf, 1]]), others, math.inf)


# ---- utils -------------------------------------------------------------------------------------


def case_module_tracker(lib):
    name = "torch.utils.module_tracker" if lib is torch else "torchlike.utils.module_tracker"
    __import__(name)
    seen, tracker = [], sys.modules[name].ModuleTracker()

    class Leaf(lib.nn.Module):
        def forward(self, x):
            seen.append((sorted(tracker.parents), tracker.is_bw))
            y = x * 2
            y.register_hook(lambda g: seen.append((sorted(tracker.parents), tracker.is_bw)))
            return y.relu()

    class Tree(lib.nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.c = Leaf(), lib.nn.ModuleList([Leaf()])

        def forward(self, x):
            return self.a(self.c[0](x))

    with tracker:
        Tree()(lib.ones(2, requires_grad=True)).sum().backward()
        seen.append(sorted(tracker.parents))
    return seen


def case_flops_of_named_operators(lib):
    __import__("torch.utils.flop_counter" if lib is torch else "torchlike.utils.flop_counter")
    mode = lib.utils.flop_counter.FlopCounterMode
    with mode(display=False, custom_mapping={lib.ops.aten.add: lambda *a, **k: 7}) as counter:
        lib.ones(3) + lib.ones(3)
    return counter.get_total_flops()


# ---- losses, resizing and gradients of another dtype -------------------------------------------


def case_gradient_put_in_of_another_dtype(lib):
    found = []
    for kind in (lib.float16, lib.bfloat16, lib.float64):
        x = ramp(lib, 1, 1, 2, 2).to(kind).requires_grad_()
        weight = lib.ones(1, 1, 2, 2, dtype=kind, requires_grad=True)
        lib.nn.functional.conv2d(x, weight).backward(lib.ones(1, 1, 1, 1))
        given = lib.full((2, 2), 2, dtype=lib.float64)
        found += [x.grad, *lib.autograd.grad((x[0, 0] @ x[0, 0]), x, given)]
    return found


def case_sampler_without_corners_told(lib):
    f, theta = lib.nn.functional, lib.eye(2, 3)[None]
    grid = f.affine_grid(theta, (1, 1, 2, 3))
    return grid, f.grid_sample(ramp(lib, 1, 1, 2, 3), grid)


def case_attention_of_an_empty_batch(lib):
    m, e = lib.nn.MultiheadAttention(4, 2), lib.nn.TransformerEncoderLayer(4, 2, 8)
    x = lib.ones(3, 0, 4, requires_grad=True)
    m(x, x, x)[0].sum().backward()
    return m(x, x, x), e(x), x.grad, m.in_proj_weight.grad


def case_nearest_by_a_scale_that_rounds_to_the_size(lib):
    """Images of up to 128 rows and columns are copied or doubled; others go by the scale."""
    f, found = lib.nn.functional, []
    for shape, scale in (((3, 20), 1.2), ((3, 3), 2.3), ((20, 20), 1.00001), ((3, 120), 1.2)):
        for mode in ("nearest", "nearest-exact"):
            x = ramp(lib, 1, 1, *shape)
            found += [f.interpolate(y, scale_factor=scale, mode=mode) for y in (x, x.byte())]
    return found


def case_smoothing_below_zero_and_nothing_to_average(lib):
    f, x, t = lib.nn.functional, ramp(lib, 2, 3), lib.tensor([2, 0])
    losses = [f.cross_entropy(x, t, label_smoothing=s) for s in (-0.5, math.nan)]
    for shape in ((0, 3), (5, 0), (2, 3, 0)):
        for reduction in ("mean", "sum"):
            losses.append(f.cross_entropy(lib.ones(shape), lib.ones(shape), reduction=reduction))
    return losses, told(f.cross_entropy, x, t, label_smoothing=1.5)


def case_targets_of_margins(lib):
    f, x = lib.nn.functional, ramp(lib, 2, 3)
    return [
        told(f.multi_margin_loss, x, lib.tensor([0.0, 1.0])),
        told(f.multi_margin_loss, x, lib.tensor([0, 1], dtype=lib.int32)),
        told(f.multilabel_margin_loss, x, lib.zeros(2, 3, dtype=lib.int32)),
        told(f.multilabel_margin_loss, x, lib.tensor([[0, 1, 3], [0, 1, 2]])),
    ]


def case_samples_at_nan_and_infinity(lib):
    x = ramp(lib, 1, 2, 3, 3)
    grid = lib.tensor([[math.nan, 0], [0.2, math.nan], [math.inf, -math.inf], [1e9, 0]])
    return [
        lib.nn.functional.grid_sample(x, grid.view(1, 4, 1, 2), *modes, align_corners=True)
        for modes in (("bilinear", "border"), ("nearest", "border"), ("bicubic", "zeros"))
    ]


def case_rows_renormed_by_other_norms(lib):
    f, found = lib.nn.functional, []
    for p in (math.inf, -math.inf, 0.0, -1.0, 3.0):
        table = lib.tensor([[1.0, -4.0], [3.0, 4.0], [0.5, 0.0]])
        found += [f.embedding(lib.tensor([0, 2]), table, max_norm=1.5, norm_type=p), table]
    return found


def case_lazy_norms_converted_before_their_first_call(lib):
    found = []
    for m in (lib.nn.LazyBatchNorm1d().to("cpu"), lib.nn.LazyBatchNorm1d().double()):
        kind = m.running_mean.dtype
        found += [m(ramp(lib, 2, 3).to(kind)), m.running_var, list(m.state_dict())]
    return found


def case_weight_norm_along_no_dimension(lib):
    old, new = lib.nn.utils.weight_norm, lib.nn.utils.parametrizations.weight_norm
    return [told(f, lib.nn.Linear(2, 2), dim=3) for f in (old, new)]


def case_normalized_by_norms_of_matrices(lib):
    x, f = lib.arange(6.0).view(2, 3), lib.nn.functional.normalize
    by = [f(x, p=p, dim=d) for p, d in (("fro", 1), ("fro", (0, 1)), ("nuc", (0, 1)), ("fro", 0))]
    return by, told(f, x, p="nuc"), told(f, x, p="2")[0]


def case_attention_to_values_of_another_length(lib):
    apart = lib.nn.MultiheadAttention(4, 2, kdim=3, vdim=5)
    q, k, v = lib.ones(3, 2, 4), lib.ones(3, 2, 3), lib.ones(2, 3, 5)
    return told(apart, q, k, v), told(lib.nn.MultiheadAttention(4, 2), q, q, q[:2])


def case_dropout_of_channels_of_few_dimensions(lib):
    nn, out = lib.nn, []
    for kind in (nn.Dropout2d, nn.Dropout3d, nn.FeatureAlphaDropout):
        for shape in ((), (40,), (40, 5), (40, 5, 3)):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                out += [told(kind(0.5), lib.ones(shape)), kind(1.0)(lib.ones(shape))]
                if len(shape) > 1:  # which dimensions are dropped as one
                    y = kind(0.5)(lib.ones(shape))
                    same = [bool((y == y.select(d, 0).unsqueeze(d)).all()) for d in range(y.dim())]
                    out += [same]
    return out


def case_windows_of_truth_values(lib):
    F, out = lib.nn.functional, []
    x = lib.ones(1, 3, 4, 4) > 0
    for name in ("avg_pool", "max_pool", "adaptive_max_pool"):
        for rank in (1, 2, 3):
            pool = getattr(F, f"{name}{rank}d")
            out += [told(pool, x[0] if rank == 1 else x if rank == 2 else x[None], 2)[0]]
    out += [told(F.local_response_norm, x, 2)[0], told(F.local_response_norm, x.float(), 0)[0]]
    columns = lib.tensor([[[True, False, True, True]], [[False, False, False, True]]])
    return out, F.fold(columns.expand(2, 4, 4), (3, 3), 2)


def case_losses_of_two_dtypes(lib):
    F, out = lib.nn.functional, []
    x = lib.tensor([0.5, -1.0, 2.0])
    of_logits = F.binary_cross_entropy_with_logits
    for a, b in ((x, x.half()), (x.half(), x), (x, x.double()), (x.double(), x.bfloat16())):
        for how in ("none", "mean", "sum"):
            out += [F.hinge_embedding_loss(a, b.sign(), reduction=how).float()]
            losses = [F.huber_loss(a, b, reduction=how), of_logits(a, b, reduction=how)]
            losses += [of_logits(a, a * 0, b, pos_weight=b, reduction=how)]
            losses += [lib.binary_cross_entropy_with_logits(a, b)]
            losses += [F.huber_loss(a, a * 0, weight=b, reduction=how), out[-1]]
            out += [str(y.dtype).split(".")[-1] for y in losses]
    a = x.half().requires_grad_()
    of_logits(a, x).backward()
    return out, F.hinge_embedding_loss(x.half(), x).dtype == lib.float16, a.grad.dtype == a.dtype


def case_called_with_tensors_where_modules_hold_each_other(lib):
    m = lib.nn.Sequential(lib.nn.Linear(1, 1, bias=False))
    m[0].above, x = m, lib.ones(1, 1)
    other = {"0.above.0.weight": lib.full((1, 1), 3.0)}
    call = lib.func.functional_call
    return call(m, other, x, tie_weights=False), told(call, m, other, x)[0]


def case_ctc_of_nothing(lib):
    none = lib.zeros(0, dtype=lib.int64)
    return told(lib.nn.functional.ctc_loss, lib.ones(0, 0, 4), none, none, none)


CASES = {k: f for k, f in list(globals().items()) if k.startswith("case_")}


@pytest.mark.parametrize("name", CASES)
def test_case(name):
    ours, theirs = outcome(CASES[name], torchlike), outcome(CASES[name], torch)
    same(ours, theirs, 1e-5, inspect.getdoc(CASES[name]) or name)


def test_loading_leaves_no_cycle():
    m = torchlike.nn.Sequential(torchlike.nn.Linear(2, 2))
    state = m.state_dict()
    gc.collect()
    m.load_state_dict(state)
    assert gc.collect() == 0


def test_bags_scaled_by_frequency_count_rows():
    """As the documentation has it: by how often a row is in the batch."""
    w = torchlike.ones(6, 1).requires_grad_()
    i, o = torchlike.tensor([1, 1, 4, 1, 4, 5]), torchlike.tensor([0, 2])
    for mode, wanted in (("sum", [0, 1, 0, 0, 1, 1]), ("mean", [0, 5 / 12, 0, 0, 0.25, 0.25])):
        w.grad = None
        bag = torchlike.nn.functional.embedding_bag
        bag(i, w, o, mode=mode, scale_grad_by_freq=True).sum().backward()
        assert w.grad.flatten().tolist() == pytest.approx(wanted)


def test_targets_outside_of_binary_cross_entropy_are_nan():
    """PyTorch raises; a device cannot, and must not give a number."""
    x, y = torchlike.sigmoid(torchlike.zeros(2)), torchlike.tensor([0.5, 2.0])
    loss = torchlike.nn.functional.binary_cross_entropy(x, y, reduction="none")
    assert loss.isnan().tolist() == [False, True]


def test_labels_on_the_device_are_checked():
    labels = torchlike.tensor([[0, 1, 2]]) + 1
    loss = torchlike.nn.functional.multilabel_margin_loss(torchlike.ones(1, 3), labels)
    with pytest.raises(IndexError, match="index 3 is out of bounds"):
        loss.item()


def test_bags_on_the_device_are_checked():
    """Offsets that only a program knows raise where a value is looked at."""
    bag, w, i = (
        torchlike.nn.functional.embedding_bag,
        torchlike.ones(6, 3),
        torchlike.tensor([1, 2]),
    )
    for offsets in (torchlike.tensor([0, 1]) + 1, torchlike.tensor([0, 1]) * 9):
        with pytest.raises((IndexError, RuntimeError)):
            bag(i, w, offsets).tolist()
