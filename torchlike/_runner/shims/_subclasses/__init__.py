"""torch._subclasses: tensors without data."""

from torchlike._runner.shims._subclasses import fake_tensor as fake_tensor
from torchlike._runner.shims._subclasses.fake_tensor import FakeTensor as FakeTensor
from torchlike._runner.shims._subclasses.fake_tensor import FakeTensorMode as FakeTensorMode
