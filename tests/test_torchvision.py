"""The runner's torchvision against facts of version 0.28.0, which ``torchvision_facts.json`` has.

``python tests/test_torchvision.py`` writes that file anew, with torchvision itself.
"""

import gzip
import hashlib
import importlib
import json
import pickle
import struct
import sys
import warnings
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest

FACTS = Path(__file__).with_name("torchvision_facts.json")

# Whole models, of which only the names and shapes are made.
WHOLE = (
    "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_b5",
    "efficientnet_v2_s", "fcn_resnet50", "googlenet", "inception_v3", "lraspp_mobilenet_v3_large",
    "mnasnet1_0", "mobilenet_v2", "mobilenet_v3_large", "regnet_x_1_6gf", "regnet_y_400mf",
    "resnet18", "resnet152", "resnext50_32x4d", "shufflenet_v2_x1_5", "squeezenet1_0", "swin_t",
    "swin_v2_s", "vgg11_bn", "vit_l_32", "wide_resnet50_2", "deeplabv3_mobilenet_v3_large",
)  # fmt: skip
# Small ones: their seeded weights, an output, and for some a gradient.
SMALL = {
    "squeezenet": ("squeezenet.SqueezeNet('1_1', 3)", 64, False),
    "shufflenet": ("shufflenetv2.ShuffleNetV2([1, 1, 1], [8, 16, 16, 16, 16], 3)", 32, False),
    "mnasnet": ("mnasnet.MNASNet(0.1, 3)", 32, False),
    "mobilenet_v2": ("mobilenetv2.MobileNetV2(3, 0.1)", 32, True),
    "mobilenet_v3": ("mobilenetv3.mobilenet_v3_small(num_classes=3, width_mult=0.2)", 32, False),
    "regnet": (
        "regnet.RegNet(regnet.BlockParams.from_init_params(4, 8, 8, 2.1, 4, se_ratio=0.25), 3, 8)",
        32, False,
    ),
    "resnet": ("resnet.ResNet(resnet.Bottleneck, [1, 1, 1, 1], 3, width_per_group=4)", 32, True),
    "densenet": ("densenet.DenseNet(4, (1, 2), 8, num_classes=3)", 32, False),
    "convnext": (
        "convnext.ConvNeXt([convnext.CNBlockConfig(8, 16, 1), convnext.CNBlockConfig(16, None, 1)],"
        " num_classes=3, layer_scale=1.0)",
        32, False,
    ),
    "vit": ("vision_transformer.VisionTransformer(32, 16, 1, 2, 16, 32, num_classes=3)", 32, False),
    "swin": (
        "swin_transformer.SwinTransformer([4, 4], 8, [2, 1], [2, 2], [3, 3], num_classes=3)",
        32, True,
    ),
    "swin_v2": (
        "swin_transformer.SwinTransformer([4, 4], 8, [2, 1], [2, 2], [3, 3], num_classes=3, "
        "block=swin_transformer.SwinTransformerBlockV2, "
        "downsample_layer=swin_transformer.PatchMergingV2)",
        32, False,
    ),
}  # fmt: skip
TRANSFORMS = (
    "v1.RandomRotation(30)", "v1.RandomRotation(30, v1.InterpolationMode.BILINEAR, True, fill=9)",
    "v1.RandomAffine(20, (0.1, 0.2), (0.8, 1.2), (5, 10))", "v1.RandomPerspective(p=1.0)",
    "v1.RandAugment(3)", "v1.TrivialAugmentWide()", "v1.AutoAugment()", "v1.RandomEqualize(1.0)",
    "v1.RandomAdjustSharpness(2, 1.0)", "v1.RandomPosterize(3, 1.0)", "v1.RandomSolarize(90, 1.0)",
    "v2.Resize((16, 24))", "v2.RandomCrop(16, padding=4)", "v2.RandomResizedCrop(16)",
    "v2.RandomHorizontalFlip(0.9)", "v2.ColorJitter(0.4, 0.4, 0.4, 0.1)", "v2.GaussianBlur(5)",
    "v2.RandomErasing(1.0)", "v2.ToDtype(torch.float32, scale=True)", "v2.RandomRotation(30)",
    "v2.RandAugment()", "v2.TrivialAugmentWide()", "v2.AutoAugment()", "v2.Pad([1, 2], 3)",
    "v2.RandomGrayscale(1.0)", "v2.RandomChoice([v2.CenterCrop(8), v2.Resize(9)])",
    "v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, True), v2.Normalize([0.5], [0.2])])",
)  # fmt: skip


class Side:
    """torchvision and its torch: the runner's or the real ones."""

    def __init__(self, torch, package: str):
        self.torch, self.package = torch, package
        self.models, self.v1 = self.part("models"), self.part("transforms")
        self.v2 = self.part("transforms.v2")

    def part(self, name: str):
        return importlib.import_module(f"{self.package}.{name}")

    def names(self, name: str) -> list:
        """The count of parameters, and a checksum of the state's names and shapes."""
        options = {"weights_backbone": None} if name.startswith(("fcn", "deep", "lraspp")) else {}
        with self.torch.device("cpu" if name.startswith("regnet") else "meta"):
            model = self.models.get_model(name, **options)
        told = "".join(f"{k}{tuple(v.shape)}" for k, v in model.state_dict().items())
        count = sum(p.numel() for p in model.parameters())
        return [count, hashlib.md5(told.encode()).hexdigest()]

    def small(self, name: str) -> list[float]:
        """Numbers of a model's weights, an output, a gradient."""
        code, size, gradient = SMALL[name]
        torch, family = self.torch, code.partition(".")[0]
        names = {"regnet", "resnet", "convnext", "swin_transformer", family}
        space = {n: self.part(f"models.{n}") for n in names}
        torch.manual_seed(7)
        model = eval(code, space).eval()
        found = [sum(float(v.double().abs().sum()) for v in model.state_dict().values())]
        if name == "vit":
            torch.nn.init.normal_(model.heads.head.weight)
        x = torch.linspace(-9, 9, 2 * 3 * size * size).reshape(2, 3, size, size).sin()
        y = model(x)
        found += y.detach().flatten().tolist()
        if gradient:
            y.square().sum().backward()
            first = next(model.parameters()).grad
            found += [float(first.double().abs().sum())]
        return found

    def transformed(self, code: str) -> list:
        """The shape, mean and deviation of images of bytes, transformed."""
        torch = self.torch
        y, x = np.mgrid[0:40, 0:60]
        array = np.stack([(y * 3 + x * 2) % 256, (y * y // 8 + x) % 256, x * 4], -1)
        images = torch.from_numpy(array.astype(np.uint8).transpose(2, 0, 1).copy())
        transform = eval(code, {"v1": self.v1, "v2": self.v2, "torch": torch})
        found: list = []
        for seed, image in enumerate((images, self.v1.functional.to_pil_image(images))):
            torch.manual_seed(seed)
            out = transform(image)
            if not isinstance(out, torch.Tensor):
                out = self.v1.functional.pil_to_tensor(out)
            out = out.double()
            found += [*out.shape, float(out.mean()), float(out.std())]
        return found


@pytest.fixture(scope="module")
def side():
    import torchlike

    return Side(torchlike, "torchlike._runner.torchvision")


@pytest.fixture(scope="module")
def facts():
    return json.loads(FACTS.read_text())


@pytest.mark.parametrize("name", WHOLE)
def test_names_and_shapes(side, facts, name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of googlenet's and inception's weights
        assert side.names(name) == facts["names"][name]


@pytest.mark.parametrize("name", SMALL)
def test_numbers(side, facts, name):
    assert side.small(name) == pytest.approx(facts["small"][name], rel=2e-4, abs=2e-5)


@pytest.mark.parametrize("code", TRANSFORMS)
def test_transforms(side, facts, code):
    # A byte may be rounded the other way.
    assert side.transformed(code) == pytest.approx(facts["transforms"][code], rel=3e-4, abs=5e-3)


def test_weights(side, tmp_path, monkeypatch):
    models, torch = side.models, side.torch
    monkeypatch.setattr(torch.hub, "_chosen", str(tmp_path))
    weights = models.SqueezeNet1_1_Weights
    assert weights.DEFAULT is weights.IMAGENET1K_V1 is models.get_weight(str(weights.DEFAULT))
    assert weights.DEFAULT.meta["categories"][:2] == ["tench", "goldfish"]
    assert len(weights.DEFAULT.meta["categories"]) == 1000
    assert pickle.loads(pickle.dumps(weights.DEFAULT)) is weights.DEFAULT
    image = torch.zeros(3, 300, 400, dtype=torch.uint8)
    assert weights.DEFAULT.transforms()(image).shape == (3, 224, 224)

    def fail(*args, **kwargs):
        raise URLError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    with pytest.raises(URLError, match=r"squeezenet1_1-b8a52dc0.pth in .*checkpoints"):
        models.squeezenet1_1(weights="DEFAULT")
    (tmp_path / "checkpoints").mkdir(exist_ok=True)
    state = models.squeezenet1_1().state_dict()
    torch.save(state, tmp_path / "checkpoints" / "squeezenet1_1-b8a52dc0.pth")
    with pytest.warns(UserWarning, match="'pretrained' is deprecated|other than a weight enum"):
        loaded = models.squeezenet1_1(pretrained=True).state_dict()
    assert all(bool((loaded[k] == v).all()) for k, v in state.items())
    with pytest.raises(ValueError, match="expected value 1000 but got 10 instead"):
        models.squeezenet1_1(weights=weights.DEFAULT, num_classes=10)
    with pytest.raises(TypeError, match="expected SqueezeNet1_1_Weights but received ResNet18"):
        models.squeezenet1_1(weights=models.ResNet18_Weights.DEFAULT)
    with pytest.raises(ValueError, match="Unknown model squeeze"):
        models.get_model("squeeze")
    assert models.list_models(include="vgg1*", exclude="*_bn") == [
        "vgg11",
        "vgg13",
        "vgg16",
        "vgg19",
    ]


def test_feature_extractor(side):
    torch, part = side.torch, side.part("models.feature_extraction")
    resnet, create = side.part("models.resnet"), part.create_feature_extractor
    model = resnet.ResNet(resnet.BasicBlock, [1, 1, 1, 1], 3).eval()
    names = part.get_graph_node_names(model)
    assert names[0] == names[1] and names[1][4:13] == [
        "maxpool", "layer1.0.conv1", "layer1.0.bn1", "layer1.0.relu", "layer1.0.conv2",
        "layer1.0.bn2", "layer1.0.add", "layer1.0.relu_1", "layer2.0.conv1",
    ]  # fmt: skip
    assert names[1][-3:] == ["avgpool", "flatten", "fc"] and names[1][0] == "x"
    nodes = {"layer1.0.relu": "first", "layer1.0.add": "sum", "layer1": "whole", "flatten": "flat"}
    features, x = create(model, nodes), torch.ones(1, 3, 32, 32)
    found = features(x)
    assert list(found) == ["first", "sum", "whole", "flat"] and "fc.weight" not in dict(
        features.named_parameters()
    )
    assert torch.equal(found["sum"].relu(), found["whole"])
    assert torch.equal(model.fc(found["flat"]), model(x))
    whole = create(model, ["fc"])
    assert sorted(whole.state_dict()) == sorted(model.state_dict()) and not whole.training
    train = {f"layer{i}": str(i) for i in (1, 2)}
    two = create(model, train_return_nodes=train, eval_return_nodes=["fc"]).train()
    assert list(two(x.expand(2, -1, -1, -1))) == ["1", "2"] and list(two.eval()(x)) == ["fc"]
    with pytest.raises(ValueError, match="is not present in model"):
        create(model, ["layer7.conv1"])
    vit = side.part("models.vision_transformer").VisionTransformer(32, 16, 1, 2, 8, 16)
    vit_names = part.get_graph_node_names(vit)[1]
    assert vit_names[:8] == [
        "x", "getattr", "getitem", "getitem_1", "getitem_2", "getitem_3", "eq", "_assert",
    ]  # fmt: skip
    assert "encoder.layers.encoder_layer_0.self_attention" in vit_names


def write_idx(path: Path, array, pack=False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    data = head + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(data) if pack else data)


def test_mnist(side, tmp_path):
    datasets, torch = side.part("datasets"), side.torch
    with pytest.raises(RuntimeError, match=r"Dataset not found.* download=True"):
        datasets.FashionMNIST(tmp_path)
    raw = tmp_path / "FashionMNIST" / "raw"
    images = np.arange(5 * 28 * 28).reshape(5, 28, 28) % 251
    for part, pack in (("train", False), ("t10k", True)):
        end = ".gz" if pack else ""
        write_idx(raw / f"{part}-images-idx3-ubyte{end}", images, pack)
        write_idx(raw / f"{part}-labels-idx1-ubyte{end}", np.arange(5), pack)
    for train in (True, False):
        data = datasets.FashionMNIST(str(tmp_path), train, side.v1.ToTensor())
        image, target = data[3]
        assert (len(data), target, image.shape) == (5, 3, (1, 28, 28))
        assert (image * 255).round().numpy().astype(int).tolist() == [images[3].tolist()]
        assert data.classes[9] == "Ankle boot" and data.targets.dtype == torch.int64
        assert f"Split: {'Train' if train else 'Test'}" in repr(data)
    loader = torch.utils.data.DataLoader(data, batch_size=4)
    assert [tuple(x.shape) for x, _ in loader] == [(4, 1, 28, 28), (1, 1, 28, 28)]
    (raw / "train-images-idx3-ubyte").write_bytes(
        (raw / "train-images-idx3-ubyte").read_bytes()[:99]
    )
    with pytest.raises(RuntimeError, match="should hold 3920 values"):
        datasets.FashionMNIST(tmp_path)


def test_cifar(side, tmp_path):
    datasets = side.part("datasets")
    folder = tmp_path / datasets.CIFAR10.base_folder
    folder.mkdir()

    def write(name: str, content) -> list[str]:
        data = pickle.dumps(content, 2)
        (folder / name).write_bytes(data)
        return [name, hashlib.md5(data).hexdigest()]

    rows = (np.arange(2 * 3072) % 253).astype(np.uint8).reshape(2, 3072)
    meta = write("batches.meta", {"label_names": ["cat", "dog"]})

    class CIFAR10(datasets.CIFAR10):
        train_list = [write("data_batch_1", {"data": rows, "labels": [1, 0]})]  # noqa: RUF012
        test_list = [write("test_batch", {"data": rows[:1], "labels": [1]})]  # noqa: RUF012
        meta = {**datasets.CIFAR10.meta, "md5": None}  # noqa: RUF012

    assert meta[0] == CIFAR10.meta["filename"]
    data = CIFAR10(tmp_path)
    image, target = data[1]
    assert (len(data), target, data.class_to_idx) == (2, 0, {"cat": 0, "dog": 1})
    assert np.asarray(image).tolist() == rows[1].reshape(3, 32, 32).transpose(1, 2, 0).tolist()
    with pytest.raises(RuntimeError, match="Dataset not found or corrupted"):
        datasets.CIFAR10(tmp_path)  # the published files have other sums
    CIFAR10.test_list = [write("test_batch", {"data": print, "labels": []})]
    with pytest.raises(pickle.UnpicklingError, match="holds no"):
        CIFAR10(tmp_path, train=False)


def test_samples_with_masks_and_boxes(side):
    torch, v2, tv = side.torch, side.v2, side.part("tv_tensors")
    image, mask = tv.Image(torch.zeros(3, 40, 60)), tv.Mask(torch.ones(40, 60, dtype=torch.uint8))
    boxes = tv.BoundingBoxes([[1, 2, 30, 35]], format="XYXY", canvas_size=(40, 60))
    sample = {"image": image, "target": (mask, boxes, 3)}
    out = v2.Compose([v2.RandomHorizontalFlip(1.0), v2.Pad(2), v2.Resize((22, 32))])(sample)
    moved, (mask, boxes, label) = out["image"], out["target"]
    assert (type(moved), tuple(moved.shape), label) == (tv.Image, (3, 22, 32), 3)
    assert (type(mask), tuple(mask.shape), int(mask.sum())) == (tv.Mask, (22, 32), 20 * 30)
    assert (boxes.tolist(), boxes.canvas_size) == ([[16, 2, 30, 18]], (22, 32))
    assert type(image + 1) is torch.Tensor and type(image.clone()) is tv.Image
    torch.manual_seed(0)
    images, labels = v2.CutMix(num_classes=3)(torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 2, 1]))
    assert images.shape == (4, 3, 8, 8) and labels.sum(1).tolist() == pytest.approx([1] * 4)


def test_images_in_files(side, tmp_path):
    io, torch = side.part("io"), side.torch
    image = torch.arange(3 * 5 * 7, dtype=torch.uint8).reshape(3, 5, 7)
    io.write_png(image, tmp_path / "a.png")
    assert io.read_image(str(tmp_path / "a.png")).tolist() == image.tolist()
    assert io.read_image(str(tmp_path / "a.png"), io.ImageReadMode.GRAY).shape == (1, 5, 7)
    decoded = io.decode_image(io.encode_jpeg(image, 95), "RGB")
    assert (decoded.float() - image.float()).abs().mean() < 12
    with pytest.raises(RuntimeError, match="No such file"):
        io.read_image(str(tmp_path / "b.png"))
    with pytest.raises(RuntimeError, match="Unsupported image file"):
        io.decode_image(torch.zeros(9, dtype=torch.uint8))


def write_facts() -> None:
    import torch

    real = Side(torch, "torchvision")
    warnings.simplefilter("ignore")
    found = {
        "names": {name: real.names(name) for name in WHOLE},
        "small": {name: [round(x, 6) for x in real.small(name)] for name in SMALL},
        "transforms": {c: [round(x, 4) for x in real.transformed(c)] for c in TRANSFORMS},
    }
    lines = [
        f'"{part}": {{\n' + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in all_.items())
        for part, all_ in found.items()
    ]
    FACTS.write_text("{" + "},\n".join(lines) + "}}\n")


if __name__ == "__main__":
    sys.exit(write_facts())
