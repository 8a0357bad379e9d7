"""torch.profiler: profiles over the steps of a training loop."""

from torchlike.autograd.profiler import record_function as record_function
from torchlike.profiler.profiler import DeviceType as DeviceType
from torchlike.profiler.profiler import ExecutionTraceObserver as ExecutionTraceObserver
from torchlike.profiler.profiler import ProfilerAction as ProfilerAction
from torchlike.profiler.profiler import ProfilerActivity as ProfilerActivity
from torchlike.profiler.profiler import kineto_available as kineto_available
from torchlike.profiler.profiler import profile as profile
from torchlike.profiler.profiler import schedule as schedule
from torchlike.profiler.profiler import supported_activities as supported_activities
from torchlike.profiler.profiler import tensorboard_trace_handler as tensorboard_trace_handler

__all__ = [
    "DeviceType", "ExecutionTraceObserver", "ProfilerAction", "ProfilerActivity",
    "kineto_available", "profile", "record_function", "schedule", "supported_activities",
    "tensorboard_trace_handler",
]  # fmt: skip
