"""Autocast: which ops run in lower precision, which in float32, and the state of each thread.

The lists name our ops; what they hold is PyTorch's per device
(https://pytorch.org/docs/stable/amp.html#autocast-op-reference).
"""

from __future__ import annotations

import sys
import threading
import warnings
import weakref
from contextlib import contextmanager

from torchlike._core import devices
from torchlike._core import dtypes as dt
from torchlike._core.errors import PACKAGE
from torchlike._engine.prefix import local
from torchlike._ops.table import TABLE, Dtype
from torchlike._tensor import dispatch, watching
from torchlike._tensor.forms import function
from torchlike._tensor.modes import modes
from torchlike._tensor.views import version_of

# ---- the lists ---------------------------------------------------------------------------------

LOWER, FLOAT32, DTYPE, WIDEST, BANNED = "lower", "float32", "dtype", "widest", "banned"
BY_STATE = "by state"  # of a recurrent op, whose state is the fourth operand


def _rank(*ranks):
    """Float32 for these numbers of spatial dimensions, which are the op's last static."""
    return lambda operands, statics: FLOAT32 if statics[-1] in ranks else None


def _padding(operands, statics):
    pad, mode = statics
    most = {"reflect": 2, "replicate": 3}.get(mode, 0)
    return FLOAT32 if len(pad) <= 2 * most else None


def _recurrent(operands, statics):
    # PyTorch's GRU on a CPU mixes its state with products in lower precision.
    return BY_STATE if statics[0] == "GRU" else LOWER


def _vectors(otherwise):
    """For ``mv`` and ``dot``: ``matmul``, which calls them too, is in lower precision."""

    def policy(operands, statics):
        return LOWER if sys._getframe(3).f_code.co_name == "matmul" else otherwise

    return policy


def _einsum(operands, statics):
    """Lower precision where PyTorch multiplies matrices: a label of two operands is summed."""
    inputs, _, output = statics[0].replace(" ", "").partition("->")
    parts = [set(part) for part in inputs.split(",")]
    shared = {a for i, p in enumerate(parts) for q in parts[:i] for a in p & q}
    return LOWER if shared - set(output) - {"."} else None


def _tensordot(operands, statics):
    left = operands[0].ndim + operands[1].ndim - 2 * len(statics[0])
    return LOWER if left else None


def _inner(operands, statics):
    ranks = [x.ndim for x in operands]
    return LOWER if min(ranks) and max(ranks) > 1 else None


def _neighbours(operands, statics):
    """For ``local_response_norm``, which is a three-dimensional pool in PyTorch."""
    return FLOAT32 if operands[0].ndim > 3 else None


_LOWER = (
    "addbmm addmm baddbmm bmm conv_transpose convolution linalg_vecdot linear matmul mm prelu "
    "scaled_dot_product_attention"
)
_FLOAT32 = (
    "binary_cross_entropy_with_logits cdist_p cosine_embedding_loss cross_entropy "
    "cross_entropy_soft hinge_embedding_loss huber_loss kl_div l1_loss margin_ranking_loss "
    "mse_loss multi_margin_loss multilabel_margin_loss nll_loss poisson_nll_loss smooth_l1_loss "
    "soft_margin_loss triplet_margin_loss"
)


def _table(*rows) -> dict:
    return {name: policy for policy, names in rows for name in names.split()}


_CPU = _table(
    (LOWER, _LOWER + " corrcoef cov rnn_relu_cell rnn_tanh_cell"),
    (_recurrent, "rnn_layer"),
    (BY_STATE, "gru_cell lstm_cell"),
    (_einsum, "einsum"),
    (_tensordot, "tensordot"),
    (_inner, "inner"),
    (_vectors(None), "dot mv"),
    (FLOAT32, _FLOAT32),
    (FLOAT32, "binary_cross_entropy ctc_loss fractional_max_pool grid_sampler polar prod quantile"),
    (FLOAT32, "cholesky_inverse cholesky_solve fft_c2c fft_c2r fft_r2c geqrf linalg_cholesky_ex"),
    (FLOAT32, "linalg_eig linalg_eigh linalg_eigvals linalg_householder_product linalg_inv_ex"),
    (FLOAT32, "linalg_lu_factor_ex linalg_lu_solve linalg_matrix_rank linalg_pinv linalg_qr"),
    (FLOAT32, "linalg_solve_ex linalg_svd linalg_svdvals ormqr stft trace triangular_solve"),
    (FLOAT32, "view_as_complex"),
    (WIDEST, "cat index_copy_dim stack"),
    (_rank(3), "adaptive_avg_pool adaptive_max_pool avg_pool max_pool max_pool_with_indices"),
    (_rank(2, 3), "max_unpool"),
    (_padding, "pad_like_input"),
    (_neighbours, "local_response_norm"),
)  # fmt: skip

_CUDA = _table(
    (LOWER, _LOWER),
    (LOWER, "addmv addr einsum gru_cell lstm_cell mv rnn_layer rnn_relu_cell rnn_tanh_cell"),
    (FLOAT32, _FLOAT32),
    (FLOAT32, "acos asin cosh cosine_similarity erfinv exp expm1 gaussian_nll_loss"),
    (FLOAT32, "local_response_norm log log10 log1p log2 logsumexp native_group_norm"),
    (FLOAT32, "native_layer_norm norm normalize pairwise_distance pdist pow pow_constant"),
    (FLOAT32, "reciprocal renorm rsqrt sinh softplus tan"),
    (DTYPE, "cumprod cumsum log_softmax prod softmax sum"),
    (WIDEST, "addcdiv addcmul atan2 bilinear cross_dim grid_sampler index_put tensordot vdot"),
    (_vectors(WIDEST), "dot"),
    (BANNED, "binary_cross_entropy"),
    (lambda operands, statics: WIDEST if "sum" in statics else None, "scatter_reduced"),
)  # fmt: skip

POLICIES = {"cpu": _CPU, "cuda": _CUDA, "tpu": _CUDA}
_DTYPES = {
    "cpu": dt.bfloat16, "cuda": dt.float16, "tpu": dt.bfloat16, "xla": dt.bfloat16,
    "mps": dt.float16, "xpu": dt.float16,
}  # fmt: skip
_UNSAFE = (
    "torch.nn.functional.binary_cross_entropy and torch.nn.BCELoss are unsafe to autocast.\n"
    "Many models use a sigmoid layer right before the binary cross entropy layer.\n"
    "In this case, combine the two layers using torch.nn.functional.binary_cross_entropy_with_"
    "logits\nor torch.nn.BCEWithLogitsLoss.  binary_cross_entropy_with_logits and BCEWithLogits "
    "are\nsafe to autocast."
)


# ---- the state of a thread ---------------------------------------------------------------------


class State(threading.local):
    """What autocast is set to on this thread; ``active`` lists (policies, kind, dtype) in use."""

    def __init__(self):
        self.enabled: dict = {}
        self.dtypes = dict(_DTYPES)
        self.cache = True
        self.nesting = 0
        self.active = ()
        self.casts: dict = {}  # id of a weight -> (reference to it, dtype, version, cast)

    def update(self) -> None:
        """Let calls be watched if anything is enabled now."""
        before = self.active
        self.active = tuple([
            (POLICIES[kind], kind, self.dtypes[kind])
            for kind, on in self.enabled.items() if on and kind in POLICIES
        ])  # fmt: skip
        modes.cast = cast if self.active else None
        if self.active and not before:
            watching.begin()
        elif before and not self.active:
            watching.end()

    def settings(self) -> tuple:
        """All that may be set, to be given to ``restored``."""
        return dict(self.enabled), dict(self.dtypes), self.cache

    @contextmanager
    def restored(self, settings: tuple):
        """Within: what was set when ``settings`` was taken."""
        before = self.settings()
        self.enabled, self.dtypes, self.cache = settings
        self.nesting += 1
        self.update()
        try:
            yield
        finally:
            self.enabled, self.dtypes, self.cache = before
            self.nesting -= 1
            if not self.nesting:
                self.casts.clear()
            self.update()


state = State()


def key() -> tuple:
    """What a recorded call depends on: the devices for which autocast is on, and their dtypes."""
    return tuple([(kind, dtype) for _, kind, dtype in state.active])


# ---- the casts ---------------------------------------------------------------------------------


def cast(op, operands, statics):
    """The operands and statics that autocast lets an op have."""
    for policies, kind, dtype in state.active:
        policy = policies.get(op.name)
        if policy.__class__ is not str:
            policy = policy and policy(operands, statics)
            if policy is None:
                continue
        found = [_eligible(x, kind) for x in operands]
        if not any(found) or _explicit():
            continue
        if policy == BANNED:
            raise RuntimeError(_UNSAFE)
        if policy == DTYPE:
            if not found[0] or _names_dtype(op, statics):
                continue
            found[1:] = [False] * (len(found) - 1)
        if policy == LOWER:
            target = dtype
        elif policy == WIDEST:
            target = _widest([x.dtype for x, f in zip(operands, found, strict=True) if f], dtype)
        elif policy == BY_STATE:  # which is zeros like the input where none is given
            own = operands[0] if operands[3] is None else operands[3]
            target = dtype if own.dtype is dtype else dt.float32
        else:
            target = dt.float32
        operands = [
            _cast(x, target, dtype) if f else x for x, f in zip(operands, found, strict=True)
        ]
    return operands, statics


def _widest(dtypes, lower):
    """Float32 if it is among the dtypes, else the lower one; raises for another 16-bit one that
    PyTorch meets before it knows."""
    found = lower
    for d in dtypes:
        if dt.float32 in (d, found):
            found = dt.float32
        elif d is not lower:
            raise RuntimeError("Unexpected floating ScalarType in at::autocast::prioritize")
    return found


def _eligible(x, kind: str) -> bool:
    """Whether autocast may cast an operand: a tensor of the device, floating and not double."""
    if not isinstance(x, dispatch._Tensor):
        return False
    a = x._value.aval
    return a.dtype.category == dt.FLOATING and a.dtype is not dt.float64 and a.device.type == kind


def _names_dtype(op, statics) -> bool:
    """Whether the call names the result's dtype itself."""
    return any(
        p.annotation is Dtype and s is not None for p, s in zip(op.statics, statics, strict=True)
    )


_INPLACE = {"apply_inplace", "inplace"}


def _explicit() -> bool:
    """Whether the call is in place or has an ``out=``: PyTorch leaves those as they are."""
    frame = sys._getframe(3)
    while frame is not None and frame.f_code.co_filename.startswith(PACKAGE):
        code = frame.f_code
        if code.co_name in _INPLACE:
            return True
        if "out" in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]:
            return frame.f_locals.get("out") is not None
        if code.co_name == "__call__":  # a module: what called it has no say
            return False
        frame = frame.f_back
    return False


def _cast(x, target, lower):
    """A tensor in another dtype, on the tape; casts of weights are kept until autocast ends.

    A kept cast is made anew when the weight has changed, or when it was made with gradients off
    and is now wanted with gradients on.
    """
    if x.dtype is target:
        return x
    if not (
        state.cache and target is lower and x.dtype is dt.float32 and x._requires_grad
        and x._node is None and x._base is None
    ):  # fmt: skip
        return watching.plain(TABLE["to_dtype"], (x,), (target,))
    # A replay cannot see which casts stand there: a recorded call has its own.
    casts = state.casts if local.capture is None else local.capture.casts
    kept = casts.get(id(x))
    if kept is not None:
        source, before, version, result = kept
        fresh = source() is x and before is target and version == version_of(x)
        if fresh and (result._node is not None or not modes.grad):
            return result
    result = watching.plain(TABLE["to_dtype"], (x,), (target,))
    if state.nesting:
        casts[id(x)] = (weakref.ref(x), target, version_of(x), result)
    return result


# ---- public: the state, as functions -----------------------------------------------------------


def _kind(name: str, device_type: str) -> str:
    if not isinstance(device_type, str):
        raise TypeError(
            f"{name}(): argument 'device_type' (position 1) must be str, not "
            f"{type(device_type).__name__}"
        )
    return devices.device(device_type).type


@function()
def is_autocast_enabled(device_type: str = "cuda") -> bool:
    """Whether autocast is on for a kind of device on this thread."""
    return bool(state.enabled.get(_kind("is_autocast_enabled", device_type), False))


@function()
def set_autocast_enabled(*args) -> None:
    """Turn autocast on or off for (device_type, enabled), or for "cuda" if only told the latter."""
    if not 1 <= len(args) <= 2 or not isinstance(args[-1], bool):
        raise TypeError(
            "set_autocast_enabled(): expected (str device_type, bool enabled) or (bool enabled), "
            f"but got {args}"
        )
    kind = _kind("set_autocast_enabled", args[0]) if len(args) == 2 else "cuda"
    state.enabled[kind] = args[-1]
    state.update()


@function()
def get_autocast_dtype(device_type: str):
    """The dtype that autocast lets a kind of device compute in."""
    found = state.dtypes.get(_kind("get_autocast_dtype", device_type))
    if found is None:
        raise RuntimeError("unsupported scalarType")
    return found


@function()
def set_autocast_dtype(device_type: str, dtype) -> None:
    """Set the dtype that autocast lets a kind of device compute in."""
    if not isinstance(dtype, dt.dtype):
        raise TypeError(
            "set_autocast_dtype(): argument 'dtype' (position 2) must be torch.dtype, not "
            f"{type(dtype).__name__}"
        )
    state.dtypes[_kind("set_autocast_dtype", device_type)] = dtype
    state.update()


@function()
def is_autocast_cache_enabled() -> bool:
    """Whether casts of weights are kept until autocast ends."""
    return state.cache


@function()
def set_autocast_cache_enabled(enabled: bool) -> None:
    """Set whether casts of weights are kept until autocast ends."""
    state.cache = bool(enabled)


@function()
def clear_autocast_cache() -> None:
    """Forget the casts of weights."""
    state.casts.clear()


@function()
def autocast_increment_nesting() -> int:
    """Count one more open autocast; returns how many are open."""
    state.nesting += 1
    return state.nesting


@function()
def autocast_decrement_nesting() -> int:
    """Count one open autocast less; returns how many are open."""
    state.nesting -= 1
    return state.nesting


def _deprecated(name: str, kind: str, of: str, arguments: str = ""):
    """The spelling with the device's kind in the name."""
    new = globals()[of]
    given = f"{arguments}, " if arguments else ""
    takes = arguments.partition(" ")[0]

    def old(*args):
        warnings.warn(
            f"torch.{name}({takes}) is deprecated. Please use torch.{of}('{kind}'"
            f"{', ' + takes if takes else ''}) instead.",
            DeprecationWarning,
            stacklevel=2,
        )
        if len(args) != bool(takes):
            raise TypeError(f"{name}() takes {int(bool(takes))} arguments, but got {len(args)}")
        return new(kind, *args)

    old.__name__ = old.__qualname__ = name
    old.__doc__ = f"Deprecated spelling of ``{of}('{kind}'{', ' if given else ''}{takes})``."
    function(name)(old)


for _name, _kind_of in (("cpu", "cpu"), ("gpu", "cuda"), ("xla", "xla")):
    _deprecated(f"get_autocast_{_name}_dtype", _kind_of, "get_autocast_dtype")
    _deprecated(f"set_autocast_{_name}_dtype", _kind_of, "set_autocast_dtype", "dtype")
    if _name != "gpu":
        _deprecated(f"is_autocast_{_name}_enabled", _kind_of, "is_autocast_enabled")
        _deprecated(f"set_autocast_{_name}_enabled", _kind_of, "set_autocast_enabled", "enabled")
