"""Summaries: the messages that an event file is made of, one function for each kind."""

from __future__ import annotations

import io
import json
import logging
import wave

import numpy as np
from tensorboardX import summary as x_summary
from tensorboardX.proto import api_pb2 as api
from tensorboardX.proto.plugin_hparams_pb2 import (
    HParamsPluginData,
    SessionEndInfo,
    SessionStartInfo,
)
from tensorboardX.proto.plugin_mesh_pb2 import MeshPluginData
from tensorboardX.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboardX.proto.tensor_pb2 import TensorProto
from tensorboardX.proto.tensor_shape_pb2 import TensorShapeProto

from torchlike._core import dtypes as dt
from torchlike._tensor.tensor import Tensor
from torchlike.utils.tensorboard._arrays import (
    array,
    bytes_of,
    film,
    gif,
    grid,
    number,
    png,
    to_hwc,
)

_log = logging.getLogger(__name__)
custom_scalars = x_summary.custom_scalars


def _for(plugin: str, content: bytes = b"") -> SummaryMetadata:
    data = SummaryMetadata.PluginData(plugin_name=plugin, content=content)
    return SummaryMetadata(plugin_data=data)


def _value(tag, **what) -> Summary:
    return Summary(value=[Summary.Value(tag=tag, **what)])


def _shape(shape) -> TensorShapeProto:
    return TensorShapeProto(dim=[TensorShapeProto.Dim(size=n) for n in shape])


def scalar(tag, x, new_style: bool, double_precision: bool) -> Summary:
    """One number."""
    x = float(number(x))
    if not new_style:
        return _value(tag, simple_value=x)
    kind = {"dtype": "DT_DOUBLE", "double_val": [x]} if double_precision else {
        "dtype": "DT_FLOAT", "float_val": [x]}  # fmt: skip
    return _value(tag, tensor=TensorProto(**kind), metadata=_for("scalars"))


_DTYPES = {
    "float16": ("DT_HALF", "half_val"), "float32": ("DT_FLOAT", "float_val"),
    "float64": ("DT_DOUBLE", "double_val"), "int8": ("DT_INT8", "int_val"),
    "uint8": ("DT_UINT8", "int_val"), "int16": ("DT_INT16", "int_val"),
    "int32": ("DT_INT32", "int_val"), "int64": ("DT_INT64", "int64_val"),
    "bool": ("DT_BOOL", "bool_val"), "complex64": ("DT_COMPLEX64", "scomplex_val"),
    "complex128": ("DT_COMPLEX128", "dcomplex_val"), "bfloat16": ("DT_BFLOAT16", "half_val"),
}  # fmt: skip


def tensor(tag, x) -> Summary:
    """A whole tensor."""
    name = x.dtype.name
    if name not in _DTYPES:
        raise ValueError(f"{x.dtype} has no corresponding dtype in TensorBoard")
    kind, field = _DTYPES[name]
    shape, x = tuple(x.shape), x.detach().cpu()
    if name == "bfloat16":  # half_val holds the bits
        x = x.view(dt.uint16).numpy()
    else:
        x = x.numpy()
        x = x.view(np.uint16) if name == "float16" else x
    if np.iscomplexobj(x):
        x = np.stack([x.real, x.imag], -1)
    made = TensorProto(dtype=kind, tensor_shape=_shape(shape), **{field: x.reshape(-1).tolist()})
    return _value(tag, tensor=made, metadata=_for("tensor"))


def histogram(tag, values, bins, max_bins) -> Summary:
    """How many values lie where."""
    return x_summary.histogram(tag, array(values).astype(float), bins, max_bins)


def histogram_raw(tag, min, max, num, sum, sum_squares, bucket_limits, bucket_counts) -> Summary:
    """A histogram that is counted already."""
    numbers = (number(x) for x in (min, max, num, sum, sum_squares))
    limits, counts = (array(x).reshape(-1).tolist() for x in (bucket_limits, bucket_counts))
    return x_summary.histogram_raw(tag, *numbers, limits, counts)


# ---- pictures, films, sounds -------------------------------------------------------------------


def _picture(pixels: np.ndarray, encoded: bytes) -> Summary.Image:
    height, width, colours = pixels.shape
    return Summary.Image(
        height=height, width=width, colorspace=colours, encoded_image_string=encoded
    )


def image(tag, pixels, order: str) -> Summary:
    """A picture, or several as one."""
    pixels = bytes_of(to_hwc(array(pixels), order))
    return _value(tag, image=_picture(pixels, png(pixels)))


def image_boxes(tag, pixels, boxes, rescale, order: str, labels) -> Summary:
    """A picture with boxes (xmin, ymin, xmax, ymax) drawn in."""
    pixels = bytes_of(to_hwc(array(pixels), order))
    labels = [labels] if isinstance(labels, str) else labels
    boxes = array(boxes)
    if labels is not None and len(labels) != boxes.shape[0]:
        labels = None
    drawn = x_summary.make_image(pixels, rescale=rescale, rois=boxes, labels=labels)
    return _value(tag, image=drawn)


def video(tag, frames, fps) -> Summary:
    """Films (n, time, colours, height, width), beside each other, as a GIF."""
    frames = film(bytes_of(array(frames)))
    return _value(tag, image=_picture(frames[0], gif(frames, fps)))


def audio(tag, sound, sample_rate: int) -> Summary:
    """A sound of one channel with amplitudes from -1 to 1."""
    sound = array(sound).squeeze()
    if abs(sound).max() > 1:
        _log.warning("warning: audio amplitude out of range, auto clipped.")
        sound = sound.clip(-1, 1)
    if sound.ndim != 1:
        raise AssertionError("input tensor should be 1 dimensional.")
    file = io.BytesIO()
    with wave.open(file, "wb") as written:
        written.setnchannels(1)
        written.setsampwidth(2)
        written.setframerate(sample_rate)
        written.writeframes((sound * np.iinfo(np.int16).max).astype("<i2").tobytes())
    return _value(tag, audio=Summary.Audio(
        sample_rate=sample_rate, num_channels=1, length_frames=len(sound),
        encoded_audio_string=file.getvalue(), content_type="audio/wav",
    ))  # fmt: skip


# ---- texts, curves, meshes ---------------------------------------------------------------------


def text(tag, words: str) -> Summary:
    """A text, as Markdown."""
    made = TensorProto(dtype="DT_STRING", string_val=[words.encode()], tensor_shape=_shape((1,)))
    return _value(f"{tag}/text_summary", tensor=made, metadata=_for("text"))


def pr_curve(tag, labels, predictions, num_thresholds: int, weights) -> Summary:
    """Precision and recall by the threshold, from labels and probabilities."""
    weights = None if weights is None else array(weights)
    num_thresholds = min(num_thresholds, 127)  # TensorBoard's limit
    return x_summary.pr_curve(tag, array(labels), array(predictions), num_thresholds, weights)


def pr_curve_raw(tag, *columns, num_thresholds: int, weights) -> Summary:
    """A curve whose six rows are computed already."""
    num_thresholds = min(num_thresholds, 127)
    return x_summary.pr_curve_raw(tag, *map(array, columns), num_thresholds, weights)


def mesh(tag, vertices, colors, faces, config) -> Summary:
    """Points in space, with colours and triangles."""
    given = {"VERTEX": vertices, "FACE": faces, "COLOR": colors}
    parts = {name: array(x) for name, x in given.items() if x is not None}
    kind = MeshPluginData.ContentType.Value
    every = sum(1 << kind(name) for name in parts)  # which parts there are, in bits
    values = []
    for name, x in parts.items():
        content = MeshPluginData(
            version=0, name=tag, content_type=kind(name), shape=x.shape,
            json_config=json.dumps(config or {}, sort_keys=True),
        ).SerializeToString()  # fmt: skip
        content += bytes([7 << 3, every])  # the field ``components``, which tensorboardX has not
        made = TensorProto(
            dtype="DT_FLOAT", float_val=x.reshape(-1).tolist(), tensor_shape=_shape(x.shape)
        )
        values.append(
            Summary.Value(tag=f"{tag}_{name}", tensor=made, metadata=_for("mesh", content))
        )
    return Summary(value=values)


# ---- hyperparameters ---------------------------------------------------------------------------


def hparams(values: dict, metrics: dict, domains: dict | None) -> tuple:
    """(experiment, start, end): hyperparameters and the names of metrics."""
    for name, given in (("hparam_dict", values), ("metric_dict", metrics)):
        if not isinstance(given, dict):
            raise TypeError(f"parameter: {name} should be a dictionary, nothing logged.")
    domains = domains or {}
    if not isinstance(domains, dict):
        raise TypeError("parameter: hparam_domain_discrete should be a dictionary, nothing logged.")
    for name, domain in domains.items():
        if (
            name not in values
            or not isinstance(domain, list)
            or not all(isinstance(d, type(values[name])) for d in domain)
        ):
            raise TypeError(
                f"parameter: hparam_domain_discrete[{name}] should be a list of same type as "
                f"hparam_dict[{name}]."
            )
    start, described = SessionStartInfo(), []
    for name, x in values.items():
        if x is None:
            continue
        if isinstance(x, str):
            kind, field = "STRING", "string_value"
        elif isinstance(x, (int, float, Tensor, np.ndarray, np.generic)):
            kind, field = "FLOAT64", "number_value"
            x = float(number(x))
        else:
            raise ValueError("value should be one of int, float, str, bool, or torch.Tensor")
        setattr(start.hparams[name], field, x)
        info = api.HParamInfo(name=name, type=api.DataType.Value(f"DATA_TYPE_{kind}"))
        for d in domains.get(name, ()):
            setattr(info.domain_discrete.values.add(), field, d)
        described.append(info)
    tags = [api.MetricInfo(name=api.MetricName(tag=tag)) for tag in metrics]
    parts = {
        "experiment": {"experiment": api.Experiment(hparam_infos=described, metric_infos=tags)},
        "session_start_info": {"session_start_info": start},
        "session_end_info": {
            "session_end_info": SessionEndInfo(status=api.Status.Value("STATUS_SUCCESS"))
        },
    }
    return tuple(
        _value(
            f"_hparams_/{name}",
            metadata=_for("hparams", HParamsPluginData(**part, version=0).SerializeToString()),
        )
        for name, part in parts.items()
    )


# ---- embeddings --------------------------------------------------------------------------------


def sprite(pictures) -> bytes:
    """The pictures of points, (n, colours, side, side), as one square PNG."""
    pictures = array(pictures)
    n, _, height, width = pictures.shape
    if height != width:
        raise AssertionError("Image should be square, see tensorflow/tensorboard#670")
    columns = int(np.ceil((n * height * width) ** 0.5 / width))
    pixels = grid(pictures.transpose(0, 2, 3, 1), columns)
    if pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, 2)
    side = pixels.shape[1]
    square = np.zeros((side, side, pixels.shape[2]), np.float32)
    square[: pixels.shape[0]] = pixels
    return png((square * 255).clip(0, 255).astype(np.uint8))
