"""torchvision.ops.misc: the layers that its networks are built from."""

from __future__ import annotations

from collections.abc import Callable

import torchlike as torch
from torchlike import nn
from torchlike.nn import Conv2d as Conv2d
from torchlike.nn import ConvTranspose2d as ConvTranspose2d
from torchlike.nn.functional import interpolate as interpolate


class FrozenBatchNorm2d(nn.Module):
    """Batch normalization of (N, C, H, W) whose statistics and weights are buffers."""

    def __init__(self, num_features: int, eps: float = 1e-5):
        super().__init__()
        self.eps = eps
        self.register_buffer("weight", torch.ones(num_features))
        self.register_buffer("bias", torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))

    def _load_from_state_dict(self, state_dict, prefix, *args):
        state_dict.pop(f"{prefix}num_batches_tracked", None)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def forward(self, x):
        shape = (1, -1, 1, 1)
        scale = self.weight.reshape(shape) * (self.running_var.reshape(shape) + self.eps).rsqrt()
        return x * scale + (self.bias.reshape(shape) - self.running_mean.reshape(shape) * scale)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.weight.shape[0]}, eps={self.eps})"


class ConvNormActivation(nn.Sequential):
    """A convolution, a normalization and an activation, each of the latter two if not None."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size=3, stride=1, padding=None,
        groups: int = 1, norm_layer: Callable | None = nn.BatchNorm2d,
        activation_layer: Callable | None = nn.ReLU, dilation=1, inplace: bool | None = True,
        bias: bool | None = None, conv_layer: Callable = nn.Conv2d,
    ):  # fmt: skip
        if padding is None:
            if isinstance(kernel_size, int) and isinstance(dilation, int):
                padding = (kernel_size - 1) // 2 * dilation
            else:
                rank = len(kernel_size) if not isinstance(kernel_size, int) else len(dilation)
                sizes = (kernel_size,) * rank if isinstance(kernel_size, int) else kernel_size
                steps = (dilation,) * rank if isinstance(dilation, int) else dilation
                padding = tuple((k - 1) // 2 * d for k, d in zip(sizes, steps, strict=True))
        layers = [
            conv_layer(
                in_channels, out_channels, kernel_size, stride, padding, dilation=dilation,
                groups=groups, bias=norm_layer is None if bias is None else bias,
            )
        ]  # fmt: skip
        if norm_layer is not None:
            layers.append(norm_layer(out_channels))
        if activation_layer is not None:
            layers.append(activation_layer(**{} if inplace is None else {"inplace": inplace}))
        super().__init__(*layers)
        self.out_channels = out_channels


class Conv2dNormActivation(ConvNormActivation):
    """The same with a 2-D convolution."""

    def __init__(
        self, in_channels, out_channels, kernel_size=3, stride=1, padding=None, groups=1,
        norm_layer=nn.BatchNorm2d, activation_layer=nn.ReLU, dilation=1, inplace=True, bias=None,
    ):  # fmt: skip
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, groups, norm_layer,
            activation_layer, dilation, inplace, bias, nn.Conv2d,
        )  # fmt: skip


class Conv3dNormActivation(ConvNormActivation):
    """The same with a 3-D convolution."""

    def __init__(
        self, in_channels, out_channels, kernel_size=3, stride=1, padding=None, groups=1,
        norm_layer=nn.BatchNorm3d, activation_layer=nn.ReLU, dilation=1, inplace=True, bias=None,
    ):  # fmt: skip
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, groups, norm_layer,
            activation_layer, dilation, inplace, bias, nn.Conv3d,
        )  # fmt: skip


class SqueezeExcitation(nn.Module):
    """Channels of (N, C, H, W) scaled by what their means say (https://arxiv.org/abs/1709.01507)."""

    def __init__(
        self, input_channels: int, squeeze_channels: int, activation=nn.ReLU,
        scale_activation=nn.Sigmoid,
    ):  # fmt: skip
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(input_channels, squeeze_channels, 1)
        self.fc2 = nn.Conv2d(squeeze_channels, input_channels, 1)
        self.activation = activation()
        self.scale_activation = scale_activation()

    def forward(self, input):
        scale = self.activation(self.fc1(self.avgpool(input)))
        return self.scale_activation(self.fc2(scale)) * input


class MLP(nn.Sequential):
    """Linear layers with normalization, activation and dropout between them."""

    def __init__(
        self, in_channels: int, hidden_channels: list[int], norm_layer=None,
        activation_layer=nn.ReLU, inplace: bool | None = None, bias: bool = True,
        dropout: float = 0.0,
    ):  # fmt: skip
        named = {} if inplace is None else {"inplace": inplace}
        layers, width = [], in_channels
        for hidden in hidden_channels[:-1]:
            layers.append(nn.Linear(width, hidden, bias=bias))
            if norm_layer is not None:
                layers.append(norm_layer(hidden))
            layers += [activation_layer(**named), nn.Dropout(dropout, **named)]
            width = hidden
        layers += [
            nn.Linear(width, hidden_channels[-1], bias=bias),
            nn.Dropout(dropout, **named),
        ]
        super().__init__(*layers)


class Permute(nn.Module):
    """Dimensions in another order."""

    def __init__(self, dims: list[int]):
        super().__init__()
        self.dims = dims

    def forward(self, x):
        return torch.permute(x, self.dims)
