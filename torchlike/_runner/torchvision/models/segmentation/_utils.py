"""torchvision.models.segmentation._utils: what the segmentation networks share."""

from __future__ import annotations

from collections import OrderedDict

from torchlike import nn
from torchlike._runner.torchvision.models._api import overwrite
from torchlike._runner.torchvision.models._utils import IntermediateLayerGetter
from torchlike._runner.torchvision.models.mobilenetv3 import mobilenet_v3_large
from torchlike._runner.torchvision.models.resnet import resnet50, resnet101
from torchlike.nn import functional as F

_RESNETS = {"resnet50": resnet50, "resnet101": resnet101}


class _SimpleSegmentationModel(nn.Module):
    """A backbone and a head: (N, 3, H, W) to {"out": (N, classes, H, W), "aux": the same}."""

    def __init__(self, backbone, classifier, aux_classifier=None):
        super().__init__()
        self.backbone, self.classifier = backbone, classifier
        self.aux_classifier = aux_classifier

    def forward(self, x):
        size, features, result = x.shape[-2:], self.backbone(x), OrderedDict()
        heads = {"out": self.classifier, "aux": self.aux_classifier}
        for name, head in heads.items():
            if head is not None:
                found = head(features[name])
                result[name] = F.interpolate(found, size=size, mode="bilinear", align_corners=False)
        return result


def resnet_backbone(name: str, weights_backbone, aux: bool):
    """The stages of a dilated residual network, and the channels of its last and third."""
    net = _RESNETS[name](weights=weights_backbone, replace_stride_with_dilation=[False, True, True])
    layers = {"layer4": "out", "layer3": "aux"} if aux else {"layer4": "out"}
    return IntermediateLayerGetter(net, layers), 2048, 1024


def mobilenet_backbone(weights_backbone, names: tuple[str, str | None]):
    """The features of a dilated MobileNet V3, and the channels of the last and of the fourth stage
    before it; ``names`` are those under which both are given, None for one that is not."""
    net = mobilenet_v3_large(weights=weights_backbone, dilated=True).features
    stages = [0, *(i for i, b in enumerate(net) if getattr(b, "_is_cn", False)), len(net) - 1]
    last, early = stages[-1], stages[-4]
    layers = {str(last): names[0]}
    if names[1] is not None:
        layers[str(early)] = names[1]
    return IntermediateLayerGetter(net, layers), net[last].out_channels, net[early].out_channels


def load(make, weights, progress, kwargs):
    """A network with these weights, or with those of the backbone."""
    if weights is not None:
        if "aux_loss" in kwargs and kwargs["aux_loss"] is None:
            del kwargs["aux_loss"]
        if kwargs.get("num_classes", 0) is None:
            del kwargs["num_classes"]
        overwrite(kwargs, "num_classes", len(weights.meta["categories"]))
        if make.aux:
            overwrite(kwargs, "aux_loss", True)
    if kwargs.get("num_classes") is None:
        kwargs["num_classes"] = 21
    model = make(**kwargs)
    if weights is not None:
        model.load_state_dict(weights.get_state_dict(progress=progress, check_hash=True))
    return model
