"""The networks that ``compile.py`` times: six models, each in PyTorch's API and in plain JAX.

``torch_step(torch, name, weights)`` takes the library to use, PyTorch itself or one with its API;
``jax_step(name, weights)`` is the same step as an experienced JAX user writes it: one jitted pure
function, donated state, images as NHWC, matrices as (inputs, outputs), optax for the optimizer.
Both start from ``weights``, a dictionary of NumPy arrays under PyTorch's names, and return a
function without arguments that takes one step and returns the loss.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import models
import numpy as np

VOCAB = 1000
LSTM_BATCH, LSTM_LENGTH, LSTM_WIDTH, LSTM_LAYERS = 16, 64, 128, 2
GPT_BATCH, GPT_LENGTH, GPT_WIDTH, GPT_LAYERS, GPT_HEADS = 2, 256, 384, 6, 6
VIT_BATCH, VIT_PATCH, VIT_WIDTH, VIT_LAYERS, VIT_HEADS = 16, 4, 192, 6, 3
IMAGE, IMAGE_BATCH, CLASSES = 32, 32, 10
STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))  # channels, stride: ResNet-18, two blocks each
DEEP = 75  # layers of two parameters

Weights = dict[str, np.ndarray]


# ---- PyTorch's API ---------------------------------------------------------------------------


def deep(torch):
    """150 parameters and next to no arithmetic: what a call costs by itself."""
    nn = torch.nn
    return nn.Sequential(*[nn.Linear(4, 4) for _ in range(DEEP)])


def resnet(torch):
    """ResNet-18 for images of 32x32: a 3x3 stem without pooling."""
    nn, relu = torch.nn, torch.nn.functional.relu

    class Block(nn.Module):
        def __init__(self, inputs, outputs, stride):
            super().__init__()
            self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
            self.bn1 = nn.BatchNorm2d(outputs)
            self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
            self.bn2 = nn.BatchNorm2d(outputs)
            self.down = None
            if stride != 1 or inputs != outputs:
                conv = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
                self.down = nn.Sequential(conv, nn.BatchNorm2d(outputs))

        def forward(self, x):
            y = relu(self.bn1(self.conv1(x)))
            y = self.bn2(self.conv2(y))
            return relu(y + (x if self.down is None else self.down(x)))

    class ResNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 64, 3, padding=1, bias=False)
            self.bn = nn.BatchNorm2d(64)
            blocks, inputs = [], 64
            for outputs, stride in STAGES:
                blocks += [Block(inputs, outputs, stride), Block(outputs, outputs, 1)]
                inputs = outputs
            self.blocks = nn.Sequential(*blocks)
            self.head = nn.Linear(512, CLASSES)

        def forward(self, x):
            x = self.blocks(relu(self.bn(self.conv(x))))
            return self.head(x.mean((2, 3)))

    return ResNet()


def lstm(torch):
    """A language model of two LSTM layers."""
    nn = torch.nn

    class LanguageModel(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(VOCAB, LSTM_WIDTH)
            self.lstm = nn.LSTM(LSTM_WIDTH, LSTM_WIDTH, LSTM_LAYERS, batch_first=True)
            self.head = nn.Linear(LSTM_WIDTH, VOCAB)

        def forward(self, tokens):
            output, _ = self.lstm(self.embedding(tokens))
            return self.head(output)

    return LanguageModel()


def _transformer_block(torch, width, heads, causal):
    """A pre-norm block as GPT-2's and ViT's: attention and an MLP of four times the width."""
    nn, functional = torch.nn, torch.nn.functional

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1 = nn.LayerNorm(width)
            self.qkv = nn.Linear(width, 3 * width)
            self.out = nn.Linear(width, width)
            self.norm2 = nn.LayerNorm(width)
            self.up = nn.Linear(width, 4 * width)
            self.down = nn.Linear(4 * width, width)

        def forward(self, x):
            rows, length, _ = x.shape
            q, k, v = self.qkv(self.norm1(x)).split(width, dim=2)
            q, k, v = (t.view(rows, length, heads, -1).transpose(1, 2) for t in (q, k, v))
            y = functional.scaled_dot_product_attention(q, k, v, is_causal=causal)
            x = x + self.out(y.transpose(1, 2).reshape(rows, length, width))
            return x + self.down(functional.gelu(self.up(self.norm2(x))))

    return Block()


def gpt(torch):
    """A decoder as GPT-2's, with its own head."""
    nn = torch.nn

    class GPT(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens = nn.Embedding(VOCAB, GPT_WIDTH)
            self.positions = nn.Embedding(GPT_LENGTH, GPT_WIDTH)
            blocks = [_transformer_block(torch, GPT_WIDTH, GPT_HEADS, True)
                      for _ in range(GPT_LAYERS)]  # fmt: skip
            self.blocks = nn.Sequential(*blocks)
            self.norm = nn.LayerNorm(GPT_WIDTH)
            self.head = nn.Linear(GPT_WIDTH, VOCAB, bias=False)

        def forward(self, tokens):
            positions = torch.arange(tokens.shape[1], device=tokens.device)
            x = self.tokens(tokens) + self.positions(positions)
            return self.head(self.norm(self.blocks(x)))

    return GPT()


def vit(torch):
    """A vision transformer on patches of 4x4, with a class token."""
    nn = torch.nn

    class ViT(nn.Module):
        def __init__(self):
            super().__init__()
            self.patches = nn.Conv2d(3, VIT_WIDTH, VIT_PATCH, VIT_PATCH)
            self.first = nn.Parameter(torch.randn(1, 1, VIT_WIDTH) * 0.02)
            count = (IMAGE // VIT_PATCH) ** 2 + 1
            self.positions = nn.Parameter(torch.randn(1, count, VIT_WIDTH) * 0.02)
            blocks = [_transformer_block(torch, VIT_WIDTH, VIT_HEADS, False)
                      for _ in range(VIT_LAYERS)]  # fmt: skip
            self.blocks = nn.Sequential(*blocks)
            self.norm = nn.LayerNorm(VIT_WIDTH)
            self.head = nn.Linear(VIT_WIDTH, CLASSES)

        def forward(self, x):
            x = self.patches(x).flatten(2).transpose(1, 2)  # (B, T, C)
            x = torch.cat([self.first.expand(x.shape[0], -1, -1), x], dim=1) + self.positions
            return self.head(self.norm(self.blocks(x))[:, 0])

    return ViT()


# ---- plain JAX -------------------------------------------------------------------------------
# ``*_tree`` lays the weights out as JAX likes them: (trained, statistics); ``apply_*`` takes both
# and the inputs, and returns the logits and the new statistics.


def _dense_tree(weights: Weights, name: str):
    tree = {"w": weights[f"{name}.weight"].T}
    if f"{name}.bias" in weights:
        tree["b"] = weights[f"{name}.bias"]
    return tree


def _dense(p, x):
    y = x @ p["w"]
    return y + p["b"] if "b" in p else y


def _chain_tree(weights: Weights):
    count = 1 + max(int(name.split(".")[0]) for name in weights)
    return [_dense_tree(weights, str(i)) for i in range(count) if f"{i}.weight" in weights], {}


def _apply_mlp(p, stats, x):
    import jax

    for layer in p[:-1]:
        x = jax.nn.relu(_dense(layer, x))
    return _dense(p[-1], x), stats


def _apply_deep(p, stats, x):
    for layer in p:
        x = _dense(layer, x)
    return x, stats


def _conv(w, x, stride=1, padding="SAME"):
    from jax import lax

    if padding == "SAME":  # PyTorch's: the same rows on both sides, also with a stride
        padding = [(size // 2, size // 2) for size in w.shape[:2]]
    dims = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, w, (stride, stride), padding, dimension_numbers=dims)


def _batch_norm(p, stats, x, momentum=0.1):
    from jax import lax

    mean = x.mean((0, 1, 2))
    x = x - mean  # centred once: 6% of the step against x.var()
    variance = (x * x).mean((0, 1, 2))
    count = x.size // x.shape[-1]
    new = {
        "mean": stats["mean"] + momentum * (mean - stats["mean"]),
        "var": stats["var"] + momentum * (variance * (count / (count - 1)) - stats["var"]),
    }
    return x * (lax.rsqrt(variance + 1e-5) * p["scale"]) + p["bias"], new


def _resnet_tree(weights: Weights):
    params, stats = {}, {}
    for name, array in weights.items():
        module, kind = name.rsplit(".", 1)
        if kind == "weight" and array.ndim == 4:
            params[module] = array.transpose(2, 3, 1, 0)  # OIHW -> HWIO
        elif kind == "running_mean":
            stats[module] = {"mean": array, "var": weights[f"{module}.running_var"]}
            params[module] = {"scale": weights[f"{module}.weight"],
                              "bias": weights[f"{module}.bias"]}  # fmt: skip
    params["head"] = _dense_tree(weights, "head")
    return params, stats


def _apply_resnet(p, stats, x):
    import jax

    new = {}

    def norm(name, x):
        x, new[name] = _batch_norm(p[name], stats[name], x)
        return x

    relu = jax.nn.relu
    x = x.transpose(0, 2, 3, 1)  # (B, H, W, C)
    x = relu(norm("bn", _conv(p["conv"], x)))
    strides = [s for _, stride in STAGES for s in (stride, 1)]
    for i, stride in enumerate(strides):
        y = relu(norm(f"blocks.{i}.bn1", _conv(p[f"blocks.{i}.conv1"], x, stride)))
        y = norm(f"blocks.{i}.bn2", _conv(p[f"blocks.{i}.conv2"], y))
        if f"blocks.{i}.down.0" in p:
            x = norm(f"blocks.{i}.down.1", _conv(p[f"blocks.{i}.down.0"], x, stride))
        x = relu(x + y)
    return _dense(p["head"], x.mean((1, 2))), new


def _lstm_tree(weights: Weights):
    layers = [
        {
            "x": weights[f"lstm.weight_ih_l{i}"].T,
            "h": weights[f"lstm.weight_hh_l{i}"].T,
            "bx": weights[f"lstm.bias_ih_l{i}"],  # two biases, as PyTorch trains them
            "bh": weights[f"lstm.bias_hh_l{i}"],
        }
        for i in range(LSTM_LAYERS)
    ]
    head = _dense_tree(weights, "head")
    return {"embedding": weights["embedding.weight"], "layers": layers, "head": head}, {}


def _apply_lstm(p, stats, tokens):
    import jax
    import jax.numpy as jnp

    x = p["embedding"][tokens].swapaxes(0, 1)  # (T, B, C)
    zeros = jnp.zeros((x.shape[1], LSTM_WIDTH), x.dtype)
    for layer in p["layers"]:
        # The inputs' products for all times at once: only the state's are left to the loop.
        projected = x @ layer["x"] + (layer["bx"] + layer["bh"])

        def cell(carry, row, layer=layer):
            h, c = carry
            i, f, g, o = jnp.split(row + h @ layer["h"], 4, axis=-1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h

        _, x = jax.lax.scan(cell, (zeros, zeros), projected)
    return _dense(p["head"], x.swapaxes(0, 1)), stats


def _norm_tree(weights: Weights, name: str):
    return {"scale": weights[f"{name}.weight"], "bias": weights[f"{name}.bias"]}


def _layer_norm(p, x):
    from jax import lax

    x = x - x.mean(-1, keepdims=True)  # centred once: 14% of a ViT's step against x.var()
    return x * lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-5) * p["scale"] + p["bias"]


def _blocks_tree(weights: Weights, count: int):
    return [
        {name: _dense_tree(weights, f"blocks.{i}.{name}") for name in ("qkv", "out", "up", "down")}
        | {name: _norm_tree(weights, f"blocks.{i}.{name}") for name in ("norm1", "norm2")}
        for i in range(count)
    ]


def _block(p, x, heads, causal):
    import jax
    import jax.numpy as jnp

    rows, length, width = x.shape
    qkv = _dense(p["qkv"], _layer_norm(p["norm1"], x))
    q, k, v = (t.reshape(rows, length, heads, -1) for t in jnp.split(qkv, 3, axis=-1))
    y = jax.nn.dot_product_attention(q, k, v, is_causal=causal)
    x = x + _dense(p["out"], y.reshape(rows, length, width))
    y = jax.nn.gelu(_dense(p["up"], _layer_norm(p["norm2"], x)), approximate=False)
    return x + _dense(p["down"], y)


def _gpt_tree(weights: Weights):
    return {
        "tokens": weights["tokens.weight"],
        "positions": weights["positions.weight"],
        "blocks": _blocks_tree(weights, GPT_LAYERS),
        "norm": _norm_tree(weights, "norm"),
        "head": _dense_tree(weights, "head"),
    }, {}


def _apply_gpt(p, stats, tokens):
    x = p["tokens"][tokens] + p["positions"][: tokens.shape[1]]
    for block in p["blocks"]:
        x = _block(block, x, GPT_HEADS, causal=True)
    return _dense(p["head"], _layer_norm(p["norm"], x)), stats


def _vit_tree(weights: Weights):
    return {
        "patches": {
            "w": weights["patches.weight"].transpose(2, 3, 1, 0),  # HWIO
            "b": weights["patches.bias"],
        },
        "first": weights["first"],
        "positions": weights["positions"],
        "blocks": _blocks_tree(weights, VIT_LAYERS),
        "norm": _norm_tree(weights, "norm"),
        "head": _dense_tree(weights, "head"),
    }, {}


def _apply_vit(p, stats, x):
    import jax.numpy as jnp

    x = x.transpose(0, 2, 3, 1)  # (B, H, W, C)
    x = _conv(p["patches"]["w"], x, VIT_PATCH, "VALID") + p["patches"]["b"]
    x = x.reshape(x.shape[0], -1, VIT_WIDTH)
    first = jnp.broadcast_to(p["first"], (x.shape[0], 1, VIT_WIDTH))
    x = jnp.concatenate([first, x], axis=1) + p["positions"]
    for block in p["blocks"]:
        x = _block(block, x, VIT_HEADS, causal=False)
    return _dense(p["head"], _layer_norm(p["norm"], x)[:, 0]), stats


# ---- the table ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Network:
    """One model: both spellings, its batch, its optimizer."""

    title: str
    module: Callable
    tree: Callable[[Weights], tuple]
    apply: Callable
    batch: Callable[[], tuple[np.ndarray, np.ndarray]]
    optimizer: str
    lr: float = models.LEARNING_RATE


def _images(rows: int):
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((rows, 3, IMAGE, IMAGE), dtype=np.float32)
    return inputs, rng.integers(0, CLASSES, rows)


def _tokens(rows: int, length: int):
    rng = np.random.default_rng(0)
    text = rng.integers(0, VOCAB, (rows, length + 1))
    return text[:, :-1].copy(), text[:, 1:].copy()


def _rows_of_four():
    rng = np.random.default_rng(0)
    return rng.standard_normal((8, 4), dtype=np.float32), rng.integers(0, 4, 8)


def _mlp(name: str, title: str) -> Network:
    return Network(
        title, partial(models.torch_model, name=name), _chain_tree, _apply_mlp,
        partial(models.batch, name), "adam",
    )  # fmt: skip


NETWORKS = {
    "mlp_small": _mlp("mlp_small", "MLP 4-16-16-3, batch 32"),
    "mlp_784": _mlp("mlp_784", "MLP 784-256-256-10, batch 128"),
    "resnet": Network(
        f"ResNet-18 on 32x32, batch {IMAGE_BATCH}", resnet, _resnet_tree, _apply_resnet,
        partial(_images, IMAGE_BATCH), "sgd", 1e-3,
    ),
    "lstm": Network(
        f"LSTM, {LSTM_LAYERS} layers of {LSTM_WIDTH}, {LSTM_BATCH} x {LSTM_LENGTH} tokens", lstm,
        _lstm_tree, _apply_lstm, partial(_tokens, LSTM_BATCH, LSTM_LENGTH), "adam",
    ),
    "gpt": Network(
        f"GPT, {GPT_LAYERS} layers of {GPT_WIDTH}, {GPT_BATCH} x {GPT_LENGTH} tokens", gpt,
        _gpt_tree, _apply_gpt, partial(_tokens, GPT_BATCH, GPT_LENGTH), "adamw",
    ),
    "vit": Network(
        f"ViT, {VIT_LAYERS} layers of {VIT_WIDTH}, batch {VIT_BATCH}", vit, _vit_tree, _apply_vit,
        partial(_images, VIT_BATCH), "adamw",
    ),
}  # fmt: skip
DISPATCH = {
    "deep": Network(f"{2 * DEEP} parameters", deep, _chain_tree, _apply_deep, _rows_of_four, "adam")
}
ALL = NETWORKS | DISPATCH


def initial(torch, name: str) -> Weights:
    """The weights from which every side starts."""
    torch.manual_seed(0)
    return {key: value.numpy() for key, value in ALL[name].module(torch).state_dict().items()}


# ---- one step ----------------------------------------------------------------------------------


def torch_step(torch, name: str, weights: Weights, mode: str = "", device: str = "cpu") -> Callable:
    """One training step in PyTorch's API.

    ``mode`` "step" compiles all of it as one function, "parts" the loss and the update, each by
    itself, as PyTorch's own tutorials do (its compiler leaves a step at ``backward``); "" neither.
    """
    network = ALL[name]
    model = network.module(torch)
    model.load_state_dict({key: torch.tensor(array) for key, array in weights.items()})
    model.to(device)
    inputs, targets = (torch.from_numpy(array).to(device) for array in network.batch())
    optim = torch.optim
    if network.optimizer == "adam":
        optimizer = optim.Adam(model.parameters(), lr=network.lr)
    elif network.optimizer == "adamw":
        optimizer = optim.AdamW(model.parameters(), network.lr, weight_decay=models.WEIGHT_DECAY)
    else:
        optimizer = optim.SGD(model.parameters(), network.lr, 0.9, weight_decay=models.WEIGHT_DECAY)

    def loss_of(inputs, targets):
        logits = model(inputs)
        return torch.nn.functional.cross_entropy(logits.flatten(0, -2), targets.flatten())

    update = optimizer.step
    if mode == "parts":
        loss_of, update = torch.compile(loss_of), torch.compile(optimizer.step)

    def step(inputs, targets):
        optimizer.zero_grad()
        loss = loss_of(inputs, targets)
        loss.backward()
        update()
        return loss

    if mode == "step":
        step = torch.compile(step)
    return lambda: step(inputs, targets)


def jax_step(name: str, weights: Weights) -> Callable:
    """One training step in plain JAX and optax."""
    import jax
    import optax

    network = ALL[name]
    if network.optimizer == "adam":
        optimizer = optax.adam(network.lr)
    elif network.optimizer == "adamw":
        optimizer = optax.adamw(network.lr, weight_decay=models.WEIGHT_DECAY)
    else:
        decay = optax.add_decayed_weights(models.WEIGHT_DECAY)
        optimizer = optax.chain(decay, optax.sgd(network.lr, momentum=0.9))

    def loss_of(params, stats, inputs, targets):
        logits, stats = network.apply(params, stats, inputs)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
        return losses.mean(), stats

    @partial(jax.jit, donate_argnums=(0, 1, 2))
    def update(params, stats, state, inputs, targets):
        grad = jax.value_and_grad(loss_of, has_aux=True)
        (loss, stats), gradients = grad(params, stats, inputs, targets)
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), stats, state, loss

    # A copy: a NumPy array that starts at the right address would be shared, and then donated.
    params, stats = jax.tree.map(lambda a: jax.numpy.array(a, copy=True), network.tree(weights))
    state = optimizer.init(params)
    inputs, targets = (jax.numpy.asarray(array) for array in network.batch())

    def step():
        nonlocal params, stats, state
        params, stats, state, loss = update(params, stats, state, inputs, targets)
        return loss

    return step
