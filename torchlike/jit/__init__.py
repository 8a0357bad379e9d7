"""torch.jit: functions and modules under TorchScript's names; they run as the Python they are.

TorchScript is a compiler for a part of Python, and its results are those of the Python. Here
``script`` and ``trace`` keep the function, so the numbers are the same; ``torch.compile`` is what
makes it fast. A file holds the program of a call (``torch.export``), and needs no source.
"""

from torchlike.futures import Future as Future
from torchlike.jit._marks import annotate as annotate
from torchlike.jit._marks import enable_onednn_fusion as enable_onednn_fusion
from torchlike.jit._marks import export as export
from torchlike.jit._marks import fork as fork
from torchlike.jit._marks import ignore as ignore
from torchlike.jit._marks import interface as interface
from torchlike.jit._marks import isinstance as isinstance
from torchlike.jit._marks import onednn_fusion_enabled as onednn_fusion_enabled
from torchlike.jit._marks import optimized_execution as optimized_execution
from torchlike.jit._marks import script_if_tracing as script_if_tracing
from torchlike.jit._marks import script_method as script_method
from torchlike.jit._marks import set_fusion_strategy as set_fusion_strategy
from torchlike.jit._marks import strict_fusion as strict_fusion
from torchlike.jit._marks import unused as unused
from torchlike.jit._marks import wait as wait
from torchlike.jit._script import Attribute as Attribute
from torchlike.jit._script import CompilationUnit as CompilationUnit
from torchlike.jit._script import Error as Error
from torchlike.jit._script import ScriptFunction as ScriptFunction
from torchlike.jit._script import ScriptModule as ScriptModule
from torchlike.jit._script import TracerWarning as TracerWarning
from torchlike.jit._script import export_opnames as export_opnames
from torchlike.jit._script import freeze as freeze
from torchlike.jit._script import is_scripting as is_scripting
from torchlike.jit._script import is_tracing as is_tracing
from torchlike.jit._script import jit_module_from_flatbuffer as jit_module_from_flatbuffer
from torchlike.jit._script import load as load
from torchlike.jit._script import optimize_for_inference as optimize_for_inference
from torchlike.jit._script import save as save
from torchlike.jit._script import script as script
from torchlike.jit._script import trace as trace
from torchlike.jit._script import trace_module as trace_module

__all__ = [
    "Attribute", "CompilationUnit", "Error", "Future", "ScriptFunction", "ScriptModule",
    "TracerWarning", "annotate", "enable_onednn_fusion", "export", "export_opnames", "fork",
    "freeze", "ignore", "interface", "is_scripting", "is_tracing", "isinstance",
    "jit_module_from_flatbuffer", "load", "onednn_fusion_enabled", "optimize_for_inference",
    "optimized_execution", "save", "script", "script_if_tracing", "script_method",
    "set_fusion_strategy", "strict_fusion", "trace", "trace_module", "unused", "wait",
]  # fmt: skip

for _class in (Attribute, CompilationUnit, Error, ScriptFunction, ScriptModule, TracerWarning,
               strict_fusion):  # fmt: skip
    _class.__module__ = "torchlike.jit"
del _class
