"""The training steps that the benchmarks time: four models, in PyTorch's API and in plain JAX.

``torch_step(torch, name)`` takes the module to use, PyTorch itself or one with its API.
``jax_step(name)`` is the same step as an experienced JAX user writes it: one jitted function,
donated parameters and moments, optax for the optimizer, straightforward formulations.
Both return a function without arguments that takes one step and returns the loss.
Sizes, data and hyperparameters are the same on both sides; the initial values are not.
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import numpy as np

NAMES = ("mlp_small", "mlp_784", "digits_cnn", "encoder")

MLP_SIZES = {"mlp_small": (4, 16, 16, 3), "mlp_784": (784, 256, 256, 10)}
MLP_BATCH = {"mlp_small": 32, "mlp_784": 128}

CNN_BATCH, CNN_CLASSES = 64, 10

VOCAB, WIDTH, HEADS, FFN, LAYERS = 1000, 128, 4, 512, 4
TOKENS = (8, 64)

# Small, so that the loss stays away from zero in a long run: denormals would slow PyTorch down.
LEARNING_RATE = 1e-5
WEIGHT_DECAY = 1e-2


def batch(name: str) -> tuple[np.ndarray, np.ndarray]:
    """The inputs and targets of one step, as NumPy arrays (targets int64)."""
    rng = np.random.default_rng(0)
    if name in MLP_SIZES:
        sizes, rows = MLP_SIZES[name], MLP_BATCH[name]
        inputs = rng.standard_normal((rows, sizes[0]), dtype=np.float32)
        return inputs, rng.integers(0, sizes[-1], rows)
    if name == "digits_cnn":
        inputs = rng.standard_normal((CNN_BATCH, 1, 8, 8), dtype=np.float32)
        return inputs, rng.integers(0, CNN_CLASSES, CNN_BATCH)
    if name == "encoder":
        return rng.integers(0, VOCAB, TOKENS), rng.integers(0, VOCAB, TOKENS)
    raise ValueError(f"{name=} is not one of {NAMES}")


# ---- PyTorch's API ---------------------------------------------------------------------------


def torch_model(torch, name: str):
    """The model called ``name``, built from ``torch``."""
    nn = torch.nn
    if name in MLP_SIZES:
        a, b, c, d = MLP_SIZES[name]
        return nn.Sequential(
            nn.Linear(a, b), nn.ReLU(), nn.Linear(b, c), nn.ReLU(), nn.Linear(c, d)
        )
    if name == "digits_cnn":
        return nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(128, 64),
            nn.ReLU(),
            nn.Linear(64, CNN_CLASSES),
            nn.LogSoftmax(dim=1),
        )
    if name == "encoder":
        layer = nn.TransformerEncoderLayer(WIDTH, HEADS, FFN, dropout=0.0, batch_first=True)
        return nn.Sequential(
            nn.Embedding(VOCAB, WIDTH),
            nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False),
            nn.Linear(WIDTH, VOCAB),
        )
    raise ValueError(f"{name=} is not one of {NAMES}")


def torch_step(torch, name: str) -> Callable[[], object]:
    """One training step of ``name`` in PyTorch's API, as a function without arguments."""
    functional = torch.nn.functional
    torch.manual_seed(0)
    model = torch_model(torch, name)
    inputs, targets = (torch.from_numpy(array) for array in batch(name))
    if name in MLP_SIZES:
        optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    else:
        optimizer = torch.optim.AdamW(
            model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY
        )
    loss_function = functional.nll_loss if name == "digits_cnn" else functional.cross_entropy

    def step():
        optimizer.zero_grad()
        output = model(inputs)
        if name == "encoder":
            output = output.flatten(0, 1)  # (B, T, V) -> (B*T, V)
        loss = loss_function(output, targets.flatten())
        loss.backward()
        optimizer.step()
        return loss

    return step


# ---- plain JAX -------------------------------------------------------------------------------


def _dense_init(rng, inputs, outputs):
    bound = inputs**-0.5
    return {
        "w": rng.uniform(-bound, bound, (inputs, outputs)).astype(np.float32),
        "b": rng.uniform(-bound, bound, outputs).astype(np.float32),
    }


def _conv_init(rng, inputs, outputs):
    bound = (inputs * 9) ** -0.5
    return {
        "w": rng.uniform(-bound, bound, (3, 3, inputs, outputs)).astype(np.float32),
        "b": rng.uniform(-bound, bound, outputs).astype(np.float32),
    }


def _norm_init():
    return {"scale": np.ones(WIDTH, np.float32), "bias": np.zeros(WIDTH, np.float32)}


def jax_parameters(name: str):
    """The initial parameters of ``name`` as a pytree of NumPy arrays."""
    rng = np.random.default_rng(0)
    if name in MLP_SIZES:
        sizes = MLP_SIZES[name]
        return [_dense_init(rng, a, b) for a, b in pairwise(sizes)]
    if name == "digits_cnn":
        return {
            "conv1": _conv_init(rng, 1, 16),
            "conv2": _conv_init(rng, 16, 32),
            "dense1": _dense_init(rng, 128, 64),
            "dense2": _dense_init(rng, 64, CNN_CLASSES),
        }
    if name == "encoder":
        return {
            "embedding": rng.standard_normal((VOCAB, WIDTH), dtype=np.float32),
            "layers": [
                {
                    "qkv": _dense_init(rng, WIDTH, 3 * WIDTH),
                    "out": _dense_init(rng, WIDTH, WIDTH),
                    "up": _dense_init(rng, WIDTH, FFN),
                    "down": _dense_init(rng, FFN, WIDTH),
                    "norm1": _norm_init(),
                    "norm2": _norm_init(),
                }
                for _ in range(LAYERS)
            ],
            "head": _dense_init(rng, WIDTH, VOCAB),
        }
    raise ValueError(f"{name=} is not one of {NAMES}")


def _dense(p, x):
    return x @ p["w"] + p["b"]


def _mlp(params, x):
    import jax

    *hidden, last = params
    for p in hidden:
        x = jax.nn.relu(_dense(p, x))
    return _dense(last, x)


def _cnn(params, x):
    import jax

    x = x.transpose(0, 2, 3, 1)  # (B, H, W, C)
    for p in (params["conv1"], params["conv2"]):
        x = jax.lax.conv_general_dilated(
            x, p["w"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        x = jax.nn.relu(x + p["b"])
        x = jax.lax.reduce_window(x, -np.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    x = x.reshape(x.shape[0], -1)
    x = jax.nn.relu(_dense(params["dense1"], x))
    return _dense(params["dense2"], x)


def _layer_norm(p, x):
    import jax

    mean = x.mean(-1, keepdims=True)
    variance = x.var(-1, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(variance + 1e-5) * p["scale"] + p["bias"]


def _attention(p, x):
    import jax
    import jax.numpy as jnp

    rows, length, width = x.shape
    qkv = _dense(p["qkv"], x).reshape(rows, length, 3, HEADS, width // HEADS)
    q, k, v = qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2]  # (B, T, H, D) each
    scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) * (width // HEADS) ** -0.5
    mixed = jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores), v)
    return _dense(p["out"], mixed.reshape(rows, length, width))


def _encoder(params, tokens):
    import jax

    x = params["embedding"][tokens]  # (B, T, C)
    for p in params["layers"]:
        x = _layer_norm(p["norm1"], x + _attention(p, x))
        x = _layer_norm(p["norm2"], x + _dense(p["down"], jax.nn.relu(_dense(p["up"], x))))
    return _dense(params["head"], x)  # (B, T, V)


def jax_step(name: str, compiler_options: dict | None = None) -> Callable[[], object]:
    """One training step of ``name`` in plain JAX and optax, as a function without arguments."""
    import jax
    import optax

    if name in MLP_SIZES:
        model, optimizer = _mlp, optax.adam(LEARNING_RATE)
    else:
        model = _cnn if name == "digits_cnn" else _encoder
        optimizer = optax.adamw(LEARNING_RATE, weight_decay=WEIGHT_DECAY)

    def loss_function(params, inputs, targets):
        logits = model(params, inputs)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
        return losses.mean()

    @partial(jax.jit, donate_argnums=(0, 1), compiler_options=compiler_options)
    def update(params, state, inputs, targets):
        loss, gradients = jax.value_and_grad(loss_function)(params, inputs, targets)
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state, loss

    params = jax.tree.map(jax.numpy.asarray, jax_parameters(name))
    state = optimizer.init(params)
    inputs, targets = (jax.numpy.asarray(array) for array in batch(name))

    def step():
        nonlocal params, state
        params, state, loss = update(params, state, inputs, targets)
        return loss

    return step
