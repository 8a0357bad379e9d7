"""The port doctor: which names of PyTorch a source tree uses, and what becomes of each here."""

from torchlike._runner.doctor.command import main as main
