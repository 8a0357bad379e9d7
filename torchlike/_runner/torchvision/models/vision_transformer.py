"""torchvision.models.vision_transformer: ViT (https://arxiv.org/abs/2010.11929)."""

from __future__ import annotations

import math
from collections import OrderedDict, namedtuple
from functools import partial

import torchlike as torch
from torchlike import nn
from torchlike._runner.torchvision.models._api import _load, overwrite, register
from torchlike._runner.torchvision.ops.misc import MLP, Conv2dNormActivation
from torchlike.nn import functional as F

__all__ = ["VisionTransformer"]

ConvStemConfig = namedtuple(
    "ConvStemConfig",
    ["out_channels", "kernel_size", "stride", "norm_layer", "activation_layer"],
    defaults=(nn.BatchNorm2d, nn.ReLU),
)
_norm = partial(nn.LayerNorm, eps=1e-6)


def _check(condition: bool, text: str) -> None:
    if not condition:
        raise AssertionError(text)


def init_mlp(mlp) -> None:
    """Xavier's uniform weights, and a bias near 0."""
    for m in mlp.modules():
        if isinstance(m, nn.Linear):
            nn.init.xavier_uniform_(m.weight)
            nn.init.normal_(m.bias, std=1e-6)


class MLPBlock(MLP):
    """Two linear layers with GELU."""

    _version = 2

    def __init__(self, in_dim: int, mlp_dim: int, dropout: float):
        super().__init__(
            in_dim, [mlp_dim, in_dim], activation_layer=nn.GELU, inplace=None, dropout=dropout
        )
        init_mlp(self)

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, *args):
        if (local_metadata.get("version") or 1) < 2:  # from before these were a Sequential
            for old, new in (("linear_1", "0"), ("linear_2", "3")):
                for kind in ("weight", "bias"):
                    if f"{prefix}{old}.{kind}" in state_dict:
                        state_dict[f"{prefix}{new}.{kind}"] = state_dict.pop(
                            f"{prefix}{old}.{kind}"
                        )
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *args)


class EncoderBlock(nn.Module):
    """Attention and an MLP, each after its norm and with its input added: (N, S, E)."""

    def __init__(
        self, num_heads, hidden_dim, mlp_dim, dropout: float, attention_dropout: float,
        norm_layer=_norm,
    ):  # fmt: skip
        super().__init__()
        self.num_heads = num_heads
        self.ln_1 = norm_layer(hidden_dim)
        self.self_attention = nn.MultiheadAttention(
            hidden_dim, num_heads, dropout=attention_dropout, batch_first=True
        )
        self.dropout = nn.Dropout(dropout)
        self.ln_2 = norm_layer(hidden_dim)
        self.mlp = MLPBlock(hidden_dim, mlp_dim, dropout)

    def forward(self, input):
        torch._assert(
            input.dim() == 3,
            f"Expected (batch_size, seq_length, hidden_dim) got {input.shape}",
        )
        x = self.ln_1(input)
        x, _ = self.self_attention(x, x, x, need_weights=False)
        x = self.dropout(x) + input
        y = self.ln_2(x)
        return x + self.mlp(y)


class Encoder(nn.Module):
    """Places added, blocks, a norm: (N, S, E)."""

    def __init__(
        self, seq_length, num_layers, num_heads, hidden_dim, mlp_dim, dropout, attention_dropout,
        norm_layer=_norm,
    ):  # fmt: skip
        super().__init__()
        self.pos_embedding = nn.Parameter(torch.empty(1, seq_length, hidden_dim).normal_(std=0.02))
        self.dropout = nn.Dropout(dropout)
        layers = OrderedDict()
        for i in range(num_layers):
            layers[f"encoder_layer_{i}"] = EncoderBlock(
                num_heads, hidden_dim, mlp_dim, dropout, attention_dropout, norm_layer
            )
        self.layers = nn.Sequential(layers)
        self.ln = norm_layer(hidden_dim)

    def forward(self, input):
        torch._assert(
            input.dim() == 3,
            f"Expected (batch_size, seq_length, hidden_dim) got {input.shape}",
        )
        return self.ln(self.layers(self.dropout(input + self.pos_embedding)))


class VisionTransformer(nn.Module):
    """Patches of an image as words: (N, 3, image_size, image_size) to (N, classes)."""

    def __init__(
        self, image_size, patch_size, num_layers, num_heads, hidden_dim, mlp_dim, dropout=0.0,
        attention_dropout=0.0, num_classes=1000, representation_size=None, norm_layer=_norm,
        conv_stem_configs=None,
    ):  # fmt: skip
        super().__init__()
        _check(image_size % patch_size == 0, "Input shape indivisible by patch size!")
        self.image_size, self.patch_size, self.hidden_dim = image_size, patch_size, hidden_dim
        self.mlp_dim, self.dropout, self.attention_dropout = mlp_dim, dropout, attention_dropout
        self.num_classes, self.representation_size = num_classes, representation_size
        self.norm_layer = norm_layer
        if conv_stem_configs is not None:
            stem, width = nn.Sequential(), 3
            for i, c in enumerate(conv_stem_configs):
                layer = Conv2dNormActivation(
                    width, c.out_channels, c.kernel_size, c.stride, norm_layer=c.norm_layer,
                    activation_layer=c.activation_layer,
                )  # fmt: skip
                stem.add_module(f"conv_bn_relu_{i}", layer)
                width = c.out_channels
            stem.add_module("conv_last", nn.Conv2d(width, hidden_dim, 1))
            self.conv_proj, last = stem, stem.conv_last
        else:
            self.conv_proj = last = nn.Conv2d(3, hidden_dim, patch_size, patch_size)
        self.seq_length = (image_size // patch_size) ** 2 + 1
        self.class_token = nn.Parameter(torch.zeros(1, 1, hidden_dim))
        self.encoder = Encoder(
            self.seq_length, num_layers, num_heads, hidden_dim, mlp_dim, dropout,
            attention_dropout, norm_layer,
        )  # fmt: skip
        heads = OrderedDict()
        if representation_size is not None:
            heads["pre_logits"] = nn.Linear(hidden_dim, representation_size)
            heads["act"] = nn.Tanh()
        heads["head"] = nn.Linear(representation_size or hidden_dim, num_classes)
        self.heads = nn.Sequential(heads)
        if conv_stem_configs is None:
            fan_in = last.in_channels * last.kernel_size[0] * last.kernel_size[1]
            nn.init.trunc_normal_(last.weight, std=math.sqrt(1 / fan_in))
        else:
            nn.init.normal_(last.weight, mean=0.0, std=math.sqrt(2.0 / last.out_channels))
        nn.init.zeros_(last.bias)
        if representation_size is not None:
            inner = self.heads.pre_logits
            nn.init.trunc_normal_(inner.weight, std=math.sqrt(1 / inner.in_features))
            nn.init.zeros_(inner.bias)
        nn.init.zeros_(self.heads.head.weight)
        nn.init.zeros_(self.heads.head.bias)

    def _process_input(self, x):
        n, _, h, w = x.shape
        size, p = self.image_size, self.patch_size
        torch._assert(h == size, f"Wrong image height! Expected {size} but got {h}!")
        torch._assert(w == size, f"Wrong image width! Expected {size} but got {w}!")
        high, wide = h // p, w // p
        x = self.conv_proj(x).reshape(n, self.hidden_dim, high * wide)
        return x.permute(0, 2, 1)

    def forward(self, x):
        x = self._process_input(x)
        x = torch.cat([self.class_token.expand(x.shape[0], -1, -1), x], dim=1)
        return self.heads(self.encoder(x)[:, 0])


def interpolate_embeddings(
    image_size: int, patch_size: int, model_state, interpolation_mode="bicubic", reset_heads=False
):
    """A state whose places are for images of another size."""
    places = model_state["encoder.pos_embedding"]
    n, length, width = places.shape
    if n != 1:
        raise ValueError(f"Unexpected position embedding shape: {places.shape}")
    new = (image_size // patch_size) ** 2 + 1
    if new == length:
        return model_state
    side = math.isqrt(length - 1)
    if side * side != length - 1:
        raise ValueError(
            f"seq_length is not a perfect square! Instead got seq_length_1d * seq_length_1d = "
            f"{side * side} and seq_length = {length - 1}"
        )
    grid = places[:, 1:, :].permute(0, 2, 1).reshape(1, width, side, side)
    grid = F.interpolate(
        grid, size=image_size // patch_size, mode=interpolation_mode, align_corners=True
    )
    grid = grid.reshape(1, width, new - 1).permute(0, 2, 1)
    model_state["encoder.pos_embedding"] = torch.cat([places[:, :1, :], grid], dim=1)
    if reset_heads:
        kept = {k: v for k, v in model_state.items() if not k.startswith("heads")}
        return OrderedDict(kept)
    return model_state


def _made(*shape: int):
    def make(image_size: int = 224, **kwargs):
        return VisionTransformer(image_size, *shape, **kwargs)

    return make


def _loaded(make, weights, progress, kwargs):
    if weights is not None:
        overwrite(kwargs, "image_size", weights.meta["min_size"][0])
    return _load(make, weights, progress, kwargs)


# Size of a patch, layers, heads, width, width inside the MLP.
for _name, *_shape in (
    ("vit_b_16", 16, 12, 12, 768, 3072), ("vit_b_32", 32, 12, 12, 768, 3072),
    ("vit_l_16", 16, 24, 16, 1024, 4096), ("vit_l_32", 32, 24, 16, 1024, 4096),
    ("vit_h_14", 14, 32, 16, 1280, 5120),
):  # fmt: skip
    register(globals(), _name, _made(*_shape), load=_loaded)
