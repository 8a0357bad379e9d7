"""torch.export: a module as a program that runs without its source, on any platform of JAX."""

from torchlike.export import dynamic_shapes as dynamic_shapes
from torchlike.export import exported_program as exported_program
from torchlike.export import graph_signature as graph_signature
from torchlike.export import passes as passes
from torchlike.export._export import draft_export as draft_export
from torchlike.export._export import export as export
from torchlike.export._export import export_for_training as export_for_training
from torchlike.export._export import load as load
from torchlike.export._export import save as save
from torchlike.export._specs import register_dataclass as register_dataclass
from torchlike.export.decomp_utils import CustomDecompTable as CustomDecompTable
from torchlike.export.dynamic_shapes import AdditionalInputs as AdditionalInputs
from torchlike.export.dynamic_shapes import Constraint as Constraint
from torchlike.export.dynamic_shapes import Dim as Dim
from torchlike.export.dynamic_shapes import ShapesCollection as ShapesCollection
from torchlike.export.dynamic_shapes import dims as dims
from torchlike.export.exported_program import ExportedProgram as ExportedProgram
from torchlike.export.exported_program import ModuleCallEntry as ModuleCallEntry
from torchlike.export.exported_program import ModuleCallSignature as ModuleCallSignature
from torchlike.export.exported_program import default_decompositions as default_decompositions
from torchlike.export.graph_signature import ExportBackwardSignature as ExportBackwardSignature
from torchlike.export.graph_signature import ExportGraphSignature as ExportGraphSignature
from torchlike.export.unflatten import FlatArgsAdapter as FlatArgsAdapter
from torchlike.export.unflatten import UnflattenedModule as UnflattenedModule
from torchlike.export.unflatten import unflatten as unflatten

__all__ = [
    "AdditionalInputs", "Constraint", "CustomDecompTable", "Dim", "ExportBackwardSignature",
    "ExportGraphSignature", "ExportedProgram", "FlatArgsAdapter", "ModuleCallEntry",
    "ModuleCallSignature", "ShapesCollection", "UnflattenedModule", "default_decompositions",
    "dims", "draft_export", "export", "export_for_training", "load", "register_dataclass", "save",
    "unflatten",
]  # fmt: skip
