"""torch.utils.tensorboard: files that TensorBoard shows, written with tensorboardX."""

from torchlike.utils.tensorboard._records import RecordWriter as RecordWriter
from torchlike.utils.tensorboard.writer import FileWriter as FileWriter
from torchlike.utils.tensorboard.writer import SummaryWriter as SummaryWriter

__all__ = ["FileWriter", "RecordWriter", "SummaryWriter"]

RecordWriter.__module__ = __name__
