"""torch.nn: modules, parameters, functions and initial values."""

from torchlike.nn import functional as functional
from torchlike.nn import init as init
from torchlike.nn import modules as modules
from torchlike.nn import parameter as parameter
from torchlike.nn import utils as utils
from torchlike.nn.modules import AdaptiveAvgPool1d as AdaptiveAvgPool1d
from torchlike.nn.modules import AdaptiveAvgPool2d as AdaptiveAvgPool2d
from torchlike.nn.modules import AdaptiveAvgPool3d as AdaptiveAvgPool3d
from torchlike.nn.modules import AdaptiveMaxPool1d as AdaptiveMaxPool1d
from torchlike.nn.modules import AdaptiveMaxPool2d as AdaptiveMaxPool2d
from torchlike.nn.modules import AdaptiveMaxPool3d as AdaptiveMaxPool3d
from torchlike.nn.modules import AlphaDropout as AlphaDropout
from torchlike.nn.modules import AvgPool1d as AvgPool1d
from torchlike.nn.modules import AvgPool2d as AvgPool2d
from torchlike.nn.modules import AvgPool3d as AvgPool3d
from torchlike.nn.modules import BCELoss as BCELoss
from torchlike.nn.modules import BCEWithLogitsLoss as BCEWithLogitsLoss
from torchlike.nn.modules import BatchNorm1d as BatchNorm1d
from torchlike.nn.modules import BatchNorm2d as BatchNorm2d
from torchlike.nn.modules import BatchNorm3d as BatchNorm3d
from torchlike.nn.modules import Bilinear as Bilinear
from torchlike.nn.modules import CELU as CELU
from torchlike.nn.modules import CTCLoss as CTCLoss
from torchlike.nn.modules import ChannelShuffle as ChannelShuffle
from torchlike.nn.modules import CircularPad1d as CircularPad1d
from torchlike.nn.modules import CircularPad2d as CircularPad2d
from torchlike.nn.modules import CircularPad3d as CircularPad3d
from torchlike.nn.modules import ConstantPad1d as ConstantPad1d
from torchlike.nn.modules import ConstantPad2d as ConstantPad2d
from torchlike.nn.modules import ConstantPad3d as ConstantPad3d
from torchlike.nn.modules import Container as Container
from torchlike.nn.modules import Conv1d as Conv1d
from torchlike.nn.modules import Conv2d as Conv2d
from torchlike.nn.modules import Conv3d as Conv3d
from torchlike.nn.modules import ConvTranspose1d as ConvTranspose1d
from torchlike.nn.modules import ConvTranspose2d as ConvTranspose2d
from torchlike.nn.modules import ConvTranspose3d as ConvTranspose3d
from torchlike.nn.modules import CosineEmbeddingLoss as CosineEmbeddingLoss
from torchlike.nn.modules import CosineSimilarity as CosineSimilarity
from torchlike.nn.modules import CrossEntropyLoss as CrossEntropyLoss
from torchlike.nn.modules import CrossMapLRN2d as CrossMapLRN2d
from torchlike.nn.modules import Dropout as Dropout
from torchlike.nn.modules import Dropout1d as Dropout1d
from torchlike.nn.modules import Dropout2d as Dropout2d
from torchlike.nn.modules import Dropout3d as Dropout3d
from torchlike.nn.modules import ELU as ELU
from torchlike.nn.modules import Embedding as Embedding
from torchlike.nn.modules import EmbeddingBag as EmbeddingBag
from torchlike.nn.modules import FeatureAlphaDropout as FeatureAlphaDropout
from torchlike.nn.modules import Flatten as Flatten
from torchlike.nn.modules import Fold as Fold
from torchlike.nn.modules import FractionalMaxPool2d as FractionalMaxPool2d
from torchlike.nn.modules import FractionalMaxPool3d as FractionalMaxPool3d
from torchlike.nn.modules import GELU as GELU
from torchlike.nn.modules import GLU as GLU
from torchlike.nn.modules import GaussianNLLLoss as GaussianNLLLoss
from torchlike.nn.modules import GroupNorm as GroupNorm
from torchlike.nn.modules import Hardshrink as Hardshrink
from torchlike.nn.modules import Hardsigmoid as Hardsigmoid
from torchlike.nn.modules import Hardswish as Hardswish
from torchlike.nn.modules import Hardtanh as Hardtanh
from torchlike.nn.modules import HingeEmbeddingLoss as HingeEmbeddingLoss
from torchlike.nn.modules import HuberLoss as HuberLoss
from torchlike.nn.modules import Identity as Identity
from torchlike.nn.modules import InstanceNorm1d as InstanceNorm1d
from torchlike.nn.modules import InstanceNorm2d as InstanceNorm2d
from torchlike.nn.modules import InstanceNorm3d as InstanceNorm3d
from torchlike.nn.modules import KLDivLoss as KLDivLoss
from torchlike.nn.modules import L1Loss as L1Loss
from torchlike.nn.modules import LPPool1d as LPPool1d
from torchlike.nn.modules import LPPool2d as LPPool2d
from torchlike.nn.modules import LPPool3d as LPPool3d
from torchlike.nn.modules import LayerNorm as LayerNorm
from torchlike.nn.modules import LazyBatchNorm1d as LazyBatchNorm1d
from torchlike.nn.modules import LazyBatchNorm2d as LazyBatchNorm2d
from torchlike.nn.modules import LazyBatchNorm3d as LazyBatchNorm3d
from torchlike.nn.modules import LazyConv1d as LazyConv1d
from torchlike.nn.modules import LazyConv2d as LazyConv2d
from torchlike.nn.modules import LazyConv3d as LazyConv3d
from torchlike.nn.modules import LazyConvTranspose1d as LazyConvTranspose1d
from torchlike.nn.modules import LazyConvTranspose2d as LazyConvTranspose2d
from torchlike.nn.modules import LazyConvTranspose3d as LazyConvTranspose3d
from torchlike.nn.modules import LazyInstanceNorm1d as LazyInstanceNorm1d
from torchlike.nn.modules import LazyInstanceNorm2d as LazyInstanceNorm2d
from torchlike.nn.modules import LazyInstanceNorm3d as LazyInstanceNorm3d
from torchlike.nn.modules import LazyLinear as LazyLinear
from torchlike.nn.modules import LeakyReLU as LeakyReLU
from torchlike.nn.modules import Linear as Linear
from torchlike.nn.modules import LocalResponseNorm as LocalResponseNorm
from torchlike.nn.modules import LogSigmoid as LogSigmoid
from torchlike.nn.modules import LogSoftmax as LogSoftmax
from torchlike.nn.modules import MSELoss as MSELoss
from torchlike.nn.modules import MarginRankingLoss as MarginRankingLoss
from torchlike.nn.modules import MaxPool1d as MaxPool1d
from torchlike.nn.modules import MaxPool2d as MaxPool2d
from torchlike.nn.modules import MaxPool3d as MaxPool3d
from torchlike.nn.modules import MaxUnpool1d as MaxUnpool1d
from torchlike.nn.modules import MaxUnpool2d as MaxUnpool2d
from torchlike.nn.modules import MaxUnpool3d as MaxUnpool3d
from torchlike.nn.modules import Mish as Mish
from torchlike.nn.modules import Module as Module
from torchlike.nn.modules import ModuleDict as ModuleDict
from torchlike.nn.modules import ModuleList as ModuleList
from torchlike.nn.modules import MultiLabelMarginLoss as MultiLabelMarginLoss
from torchlike.nn.modules import MultiLabelSoftMarginLoss as MultiLabelSoftMarginLoss
from torchlike.nn.modules import MultiMarginLoss as MultiMarginLoss
from torchlike.nn.modules import MultiheadAttention as MultiheadAttention
from torchlike.nn.modules import NLLLoss as NLLLoss
from torchlike.nn.modules import NLLLoss2d as NLLLoss2d
from torchlike.nn.modules import PReLU as PReLU
from torchlike.nn.modules import PairwiseDistance as PairwiseDistance
from torchlike.nn.modules import ParameterDict as ParameterDict
from torchlike.nn.modules import ParameterList as ParameterList
from torchlike.nn.modules import PixelShuffle as PixelShuffle
from torchlike.nn.modules import PixelUnshuffle as PixelUnshuffle
from torchlike.nn.modules import PoissonNLLLoss as PoissonNLLLoss
from torchlike.nn.modules import RMSNorm as RMSNorm
from torchlike.nn.modules import RReLU as RReLU
from torchlike.nn.modules import ReLU as ReLU
from torchlike.nn.modules import ReLU6 as ReLU6
from torchlike.nn.modules import ReflectionPad1d as ReflectionPad1d
from torchlike.nn.modules import ReflectionPad2d as ReflectionPad2d
from torchlike.nn.modules import ReflectionPad3d as ReflectionPad3d
from torchlike.nn.modules import ReplicationPad1d as ReplicationPad1d
from torchlike.nn.modules import ReplicationPad2d as ReplicationPad2d
from torchlike.nn.modules import ReplicationPad3d as ReplicationPad3d
from torchlike.nn.modules import SELU as SELU
from torchlike.nn.modules import Sequential as Sequential
from torchlike.nn.modules import SiLU as SiLU
from torchlike.nn.modules import Sigmoid as Sigmoid
from torchlike.nn.modules import SmoothL1Loss as SmoothL1Loss
from torchlike.nn.modules import SoftMarginLoss as SoftMarginLoss
from torchlike.nn.modules import Softmax as Softmax
from torchlike.nn.modules import Softmax2d as Softmax2d
from torchlike.nn.modules import Softmin as Softmin
from torchlike.nn.modules import Softplus as Softplus
from torchlike.nn.modules import Softshrink as Softshrink
from torchlike.nn.modules import Softsign as Softsign
from torchlike.nn.modules import SyncBatchNorm as SyncBatchNorm
from torchlike.nn.modules import Tanh as Tanh
from torchlike.nn.modules import Tanhshrink as Tanhshrink
from torchlike.nn.modules import Threshold as Threshold
from torchlike.nn.modules import Transformer as Transformer
from torchlike.nn.modules import TransformerDecoder as TransformerDecoder
from torchlike.nn.modules import TransformerDecoderLayer as TransformerDecoderLayer
from torchlike.nn.modules import TransformerEncoder as TransformerEncoder
from torchlike.nn.modules import TransformerEncoderLayer as TransformerEncoderLayer
from torchlike.nn.modules import TripletMarginLoss as TripletMarginLoss
from torchlike.nn.modules import TripletMarginWithDistanceLoss as TripletMarginWithDistanceLoss
from torchlike.nn.modules import Unflatten as Unflatten
from torchlike.nn.modules import Unfold as Unfold
from torchlike.nn.modules import Upsample as Upsample
from torchlike.nn.modules import UpsamplingBilinear2d as UpsamplingBilinear2d
from torchlike.nn.modules import UpsamplingNearest2d as UpsamplingNearest2d
from torchlike.nn.modules import ZeroPad1d as ZeroPad1d
from torchlike.nn.modules import ZeroPad2d as ZeroPad2d
from torchlike.nn.modules import ZeroPad3d as ZeroPad3d
from torchlike.nn.parameter import Buffer as Buffer
from torchlike.nn.parameter import Parameter as Parameter
from torchlike.nn.parameter import UninitializedBuffer as UninitializedBuffer
from torchlike.nn.parameter import UninitializedParameter as UninitializedParameter

__all__ = [
    "AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveAvgPool3d", "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d", "AdaptiveMaxPool3d", "AlphaDropout", "AvgPool1d", "AvgPool2d",
    "AvgPool3d", "BCELoss", "BCEWithLogitsLoss", "BatchNorm1d", "BatchNorm2d", "BatchNorm3d",
    "Bilinear", "Buffer", "CELU", "CTCLoss", "ChannelShuffle", "CircularPad1d", "CircularPad2d",
    "CircularPad3d", "ConstantPad1d", "ConstantPad2d", "ConstantPad3d", "Container", "Conv1d",
    "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d",
    "CosineEmbeddingLoss", "CosineSimilarity", "CrossEntropyLoss", "CrossMapLRN2d", "Dropout",
    "Dropout1d", "Dropout2d", "Dropout3d", "ELU", "Embedding", "EmbeddingBag",
    "FeatureAlphaDropout", "Flatten", "Fold", "FractionalMaxPool2d", "FractionalMaxPool3d",
    "GELU", "GLU", "GaussianNLLLoss", "GroupNorm", "Hardshrink", "Hardsigmoid", "Hardswish",
    "Hardtanh", "HingeEmbeddingLoss", "HuberLoss", "Identity", "InstanceNorm1d",
    "InstanceNorm2d", "InstanceNorm3d", "KLDivLoss", "L1Loss", "LPPool1d", "LPPool2d",
    "LPPool3d", "LayerNorm", "LazyBatchNorm1d", "LazyBatchNorm2d", "LazyBatchNorm3d",
    "LazyConv1d", "LazyConv2d", "LazyConv3d", "LazyConvTranspose1d", "LazyConvTranspose2d",
    "LazyConvTranspose3d", "LazyInstanceNorm1d", "LazyInstanceNorm2d", "LazyInstanceNorm3d",
    "LazyLinear", "LeakyReLU", "Linear", "LocalResponseNorm", "LogSigmoid", "LogSoftmax",
    "MSELoss", "MarginRankingLoss", "MaxPool1d", "MaxPool2d", "MaxPool3d", "MaxUnpool1d",
    "MaxUnpool2d", "MaxUnpool3d", "Mish", "Module", "ModuleDict", "ModuleList",
    "MultiLabelMarginLoss", "MultiLabelSoftMarginLoss", "MultiMarginLoss", "MultiheadAttention",
    "NLLLoss", "NLLLoss2d", "PReLU", "PairwiseDistance", "Parameter", "ParameterDict",
    "ParameterList", "PixelShuffle", "PixelUnshuffle", "PoissonNLLLoss", "RMSNorm", "RReLU",
    "ReLU", "ReLU6", "ReflectionPad1d", "ReflectionPad2d", "ReflectionPad3d",
    "ReplicationPad1d", "ReplicationPad2d", "ReplicationPad3d", "SELU", "Sequential", "SiLU",
    "Sigmoid", "SmoothL1Loss", "SoftMarginLoss", "Softmax", "Softmax2d", "Softmin", "Softplus",
    "Softshrink", "Softsign", "SyncBatchNorm", "Tanh", "Tanhshrink", "Threshold", "Transformer",
    "TransformerDecoder", "TransformerDecoderLayer", "TransformerEncoder",
    "TransformerEncoderLayer", "TripletMarginLoss", "TripletMarginWithDistanceLoss",
    "Unflatten", "Unfold", "UninitializedBuffer", "UninitializedParameter", "Upsample",
    "UpsamplingBilinear2d", "UpsamplingNearest2d", "ZeroPad1d", "ZeroPad2d", "ZeroPad3d",
    "functional", "init", "modules", "parameter", "utils",
]  # fmt: skip
