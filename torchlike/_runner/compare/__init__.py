"""Running a script on PyTorch and on torchlike, and finding where the two part."""

from torchlike._runner.compare.command import main as main
