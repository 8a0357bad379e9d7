"""What libraries take from under PyTorch's surface: its private helpers, torchvision, metadata."""

import re
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")

NUMBER = re.compile(r"[-+]?\d+\.?\d*(?:e[-+]?\d+)?")
PRIVATE = """
import collections, copy, torch
import torch.utils._pytree as pytree

tree = {"a": [1, (2, torch.tensor(3))], "b": collections.OrderedDict(c=4)}
leaves, spec = pytree.tree_flatten(tree)
print(leaves, spec, spec.num_leaves, pytree.tree_unflatten(leaves, spec))
print(pytree.tree_map(lambda x, y: x + y, tree, tree))
print(pytree.tree_map_only(int, lambda x: -x, tree), pytree.tree_all(lambda x: x > 0, tree))
print([(pytree.keystr(path), leaf) for path, leaf in pytree.tree_leaves_with_path(tree)])
Pair = collections.namedtuple("Pair", "x y")
print(pytree.tree_map(lambda x: x * 2, Pair(1, [2])))

class Box:
    def __init__(self, x): self.x = x

pytree.register_pytree_node(Box, lambda b: ([b.x], None), lambda parts, _: Box(*parts))
print(pytree.tree_map(lambda x: x + 1, Box(3)).x)
try:
    pytree.tree_unflatten([1], spec)
except ValueError as error:
    print("ValueError")

xs = [torch.tensor([1.0, 4.0]), torch.tensor([9.0])]
print(torch._foreach_sqrt(xs), torch._foreach_add(xs, 1), torch._foreach_mul(xs, [2.0, 3.0]))
print(torch._foreach_add(xs, xs, alpha=2), torch._foreach_norm(xs))
torch._foreach_addcdiv_(xs, xs, xs, 0.5)
torch._foreach_lerp_(xs, [torch.zeros_like(x) for x in xs], 0.25)
torch._foreach_mul_(xs, scalar=2.0)
print(xs, torch._foreach_maximum(xs, 1.5), torch._shape_as_tensor(torch.ones(2, 3)))
for wrong in (
    lambda: torch._foreach_add([], 1), lambda: torch._foreach_add(xs[0], 1),
    lambda: torch._foreach_sqrt([1]), lambda: torch._foreach_copy_(xs, xs[:1]),
):
    try:
        wrong()
    except Exception as error:
        print(type(error).__name__)
print(torch._foreach_pow(2, xs), torch._foreach_zero_(xs), torch._foreach_powsum(xs, 2))
sized, spec = pytree.tree_flatten({"s": torch.Size([2, 3]), "d": collections.deque([1], 3)})
text = pytree.treespec_dumps(spec)
print(sized, text, pytree.treespec_loads(text) == spec, pytree.treespec_pprint(spec))
print(pytree.tree_structure(Pair(1, 2)), len({spec, pytree.treespec_loads(text)}))
future = torch.futures.Future()
later = future.then(lambda f: 1 / 0)
future.add_done_callback(lambda f: print("done", f.wait()))
future.set_result(3)
try:
    later.wait()
except RuntimeError as error:
    print("ZeroDivisionError: division by zero" in str(error))
for check in (torch._check, torch._check_index, torch._check_value, torch._check_type):
    try:
        check(False, lambda: "no")
    except Exception as error:
        print(type(error).__name__, error)
g, x = torch.tensor([[1.0, -2.0, 0.5]]), torch.tensor([[0.25, 1.0, -3.0]])
print(torch._softmax_backward_data(g, x.softmax(1), 1, torch.float32))
print(torch._log_softmax_backward_data(g, x.log_softmax(-1), -1, torch.float32))
print(torch._weight_norm(x, torch.ones(1, 3), 1), torch._weight_norm(x, torch.tensor(2.0), -1))
print(torch._dim_arange(x, 1), torch._euclidean_dist(x, g), torch.cuda._initialized)
print(torch._unique2(torch.tensor([3, 1, 3])), torch._unique2(torch.tensor([3, 1]), True, True))
from torch.nn.attention.flex_attention import (
    _DEFAULT_SPARSE_BLOCK_SIZE, _mask_mod_signature, _score_mod_signature,
)
print(_DEFAULT_SPARSE_BLOCK_SIZE, _mask_mod_signature.__args__ == (torch.Tensor,) * 5)
print(torch._VF.tanh(x), torch._VF.lstm is torch.lstm, torch.__file__.endswith("__init__.py"))
print(torch._utils._flatten_dense_tensors(xs).shape, torch.jit.Final[int], torch.torch is torch)

class Labelled(torch.Tensor):
    pass

a, b = torch.ones(2).as_subclass(Labelled), torch.ones(3).as_subclass(Labelled)
a._label, b.other = {"x": 1}, 5
b.__dict__ = copy.deepcopy(a.__dict__)  # exchanges what the program has set, never the data
print(b.tolist(), b._label, b._label is a._label, hasattr(b, "other"))
from torch.utils.data import dataloader

class Doubled(dataloader.DataLoader):
    def _get_iterator(self):
        return (x * 2 for x in super(Doubled, self)._get_iterator())

loader = Doubled(torch.arange(4), 3)
print(list(loader), loader._dataset_kind == dataloader._DatasetKind.Map)
passes = [iter(dataloader.DataLoader([1, 2], num_workers=n)) for n in (0, 1)]
for kind in ("_BaseDataLoader", "_SingleProcessDataLoader", "_MultiProcessingDataLoader"):
    print([isinstance(x, getattr(dataloader, kind + "Iter")) for x in passes])
passes[1]._shutdown_workers()
loader._DataLoader__initialized = False
loader.batch_sampler = [[0, 3]]
loader._DataLoader__initialized = True
print(list(loader))
norm = torch.nn.Sequential(torch.nn.BatchNorm1d(2))
replica = norm[0]._replicate_for_data_parallel()
print(replica._parameters, list(replica._buffers), replica._is_replica, list(norm.parameters()))
print(torch.unbind is torch.Tensor.unbind, torch.flatten is torch.Tensor.flatten)
"""

VISION = """
import numpy as np, torch, torchvision
from torchvision import ops, transforms as T
from torchvision.transforms import functional as F
from torchvision.utils import make_grid

def show(name, t):
    print(name, t.dtype, tuple(t.shape), f"{t.double().mean():.4f} {t.double().std():.4f}")

rng = np.random.default_rng(0)
image = F.to_pil_image(rng.integers(0, 255, (40, 60, 3)).astype(np.uint8))
tensor = F.to_tensor(image)
for kind, x in (("pillow", image), ("tensor", tensor), ("bytes", F.pil_to_tensor(image))):
    torch.manual_seed(0)
    to = (lambda y: y) if kind != "pillow" else F.pil_to_tensor
    for t in (
        T.Resize(20), T.Resize((16, 24)), T.CenterCrop(24), T.CenterCrop(50),
        T.RandomCrop(16, padding=4), T.RandomResizedCrop(16), T.RandomHorizontalFlip(),
        T.RandomVerticalFlip(1.0), T.Pad(3, 1), T.Grayscale(3),
        T.ColorJitter(0.4, 0.4, 0.4, 0.1), T.GaussianBlur(5),
    ):
        show(f"{kind} {type(t).__name__}", to(t(x)))
chain = T.Compose([T.ToTensor(), T.Normalize((0.5,) * 3, (0.2,) * 3), T.RandomErasing(1.0)])
show("chain", chain(image))
print(T.Compose([T.Resize(8), T.ToTensor(), T.Normalize((0.5,), (0.5,))]))
show("grid", make_grid(torch.stack([tensor] * 5), nrow=3, normalize=True))

boxes = torch.tensor([[0.0, 0, 10, 10], [1, 1, 11, 11], [20, 20, 30, 35], [0, 0, 9, 10]])
scores = torch.tensor([0.5, 0.9, 0.4, 0.6])
print(ops.nms(boxes, scores, 0.5).tolist() if "like" in torch.__version__ else [1, 2])
for f in (ops.box_iou, ops.generalized_box_iou, ops.distance_box_iou, ops.complete_box_iou):
    show(f.__name__, f(boxes, boxes))
show("convert", ops.box_convert(boxes, "xyxy", "cxcywh"))
show("focal", ops.sigmoid_focal_loss(boxes / 40, (boxes > 9).float(), reduction="mean"))
torch.manual_seed(0)
layers = torch.nn.Sequential(
    ops.misc.Conv2dNormActivation(3, 8), ops.misc.SqueezeExcitation(8, 4),
    ops.FrozenBatchNorm2d(8), ops.StochasticDepth(0.5, "row"),
)
print(layers)
show("layers", layers(tensor[None].repeat(4, 1, 1, 1)).detach())
"""

METADATA = """
import importlib.metadata, torch, torchvision
print(importlib.metadata.version("torch"), importlib.metadata.version("torchvision"))
print(importlib.metadata.distribution("torch").metadata["Name"])
print(torchvision.__version__.startswith("0.28.0+torchlike."))
from torchvision.models.video import r3d_18
from torchvision.datasets import CelebA, ImageFolder
from torchvision import datasets, transforms
for use in (r3d_18, lambda: datasets.CelebA("x"), transforms.ElasticTransform):
    try:
        use()
    except NotImplementedError as error:
        print(error)
"""


def run(code, *arguments):
    found = subprocess.run(
        [sys.executable, "-W", "ignore", *arguments, "-c", code],
        capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    return found.stdout.splitlines()


@pytest.mark.slow
def test_private_helpers():
    assert run(PRIVATE, "-m", "torchlike") == run(PRIVATE)


@pytest.mark.slow
def test_torchvision():
    pytest.importorskip("torchvision")
    ours, theirs = run(VISION, "-m", "torchlike"), run(VISION)
    assert [NUMBER.sub("#", x) for x in ours] == [NUMBER.sub("#", x) for x in theirs]
    for mine, other in zip(ours, theirs):
        wanted = [float(x) for x in NUMBER.findall(other)]
        # A byte of an image may be rounded the other way.
        assert [float(x) for x in NUMBER.findall(mine)] == pytest.approx(wanted, 1e-3, 1e-3), mine


def test_packages_and_stand_ins():
    assert run(METADATA, "-m", "torchlike") == [
        "2.13.0 0.28.0",
        "torch",
        "True",
        "torchlike does not support torchvision.models.video.r3d_18",
        "torchlike does not support torchvision.datasets.CelebA",
        "torchlike does not support torchvision.transforms.ElasticTransform",
    ]
