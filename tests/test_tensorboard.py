"""SummaryWriter: events read back, against what PyTorch writes (its numbers stand here) and
against NumPy; the files are TensorBoard's."""

import glob
import io
import os
import struct
import subprocess
import sys
import wave

import numpy as np
import pytest

tensorboardx = pytest.importorskip("tensorboardX")

from PIL import Image  # noqa: E402
from tensorboardX.proto import api_pb2, graph_pb2, layout_pb2, plugin_hparams_pb2  # noqa: E402
from tensorboardX.proto.event_pb2 import Event, SessionLog  # noqa: E402
from tensorboardX.record_writer import masked_crc32c  # noqa: E402

import torchlike as torch  # noqa: E402
from torchlike import nn  # noqa: E402
from torchlike.utils.tensorboard import FileWriter, RecordWriter, SummaryWriter  # noqa: E402

RNG = np.random.default_rng(0)


def records(data: bytes):
    at = 0
    while at < len(data):
        header = data[at : at + 8]
        (size,) = struct.unpack("<Q", header)
        assert struct.unpack("<I", data[at + 8 : at + 12]) == (masked_crc32c(header),)
        body = data[at + 12 : at + 12 + size]
        check = data[at + 12 + size : at + 16 + size]
        assert struct.unpack("<I", check) == (masked_crc32c(body),)
        yield body
        at += size + 16


def events(folder) -> list:
    found = []
    for path in sorted(glob.glob(f"{folder}/events.out.tfevents.*")):
        with open(path, "rb") as file:
            found += [Event.FromString(body) for body in records(file.read())]
    return found


def written(folder, call, **options) -> list:
    """The summary values of one call, with the events around them."""
    with SummaryWriter(folder, **options) as writer:
        call(writer)
    first, *rest = events(folder)
    assert first.file_version == "brain.Event:2"
    return rest


def value(folder, call):
    (event,) = written(folder, call)
    (found,) = event.summary.value
    return event, found


def pixels(picture) -> np.ndarray:
    image = np.asarray(Image.open(io.BytesIO(picture.encoded_image_string)))
    assert (picture.height, picture.width, picture.colorspace) == image.shape
    return image


# ---- numbers -----------------------------------------------------------------------------------

NUMBERS = {
    "float": lambda: 2.5,
    "numpy": lambda: np.float64(2.5),
    "0-d": lambda: torch.tensor(2.5),
    "one element": lambda: torch.tensor([[2.5]]),
    "bfloat16": lambda: torch.tensor(2.5, dtype=torch.bfloat16),
    "pending": lambda: torch.ones(5).sum() / 2,
    "requires grad": lambda: torch.tensor(2.5, requires_grad=True) * 1,
}


@pytest.mark.parametrize("kind", NUMBERS)
def test_scalars(tmp_path, kind):
    x = NUMBERS[kind]()
    event, found = value(tmp_path, lambda w: w.add_scalar("a/b c", x, torch.tensor(3), 1.5))
    assert (event.step, event.wall_time, found.tag) == (3, 1.5, "a/b c")
    assert found.simple_value == 2.5


def test_scalars_of_the_new_style(tmp_path):
    _, found = value(tmp_path / "a", lambda w: w.add_scalar("x", 2.25, 1, new_style=True))
    assert found.metadata.plugin_data.plugin_name == "scalars"
    assert (found.tensor.dtype, list(found.tensor.float_val)) == (1, [2.25])
    call = lambda w: w.add_scalar("x", 0.1, 1, new_style=True, double_precision=True)  # noqa: E731
    _, found = value(tmp_path / "b", call)
    assert (found.tensor.dtype, list(found.tensor.double_val)) == (2, [0.1])
    with pytest.raises(AssertionError, match="scalar should be 0D"):
        written(tmp_path / "c", lambda w: w.add_scalar("x", torch.ones(2)))


def test_several_scalars_in_a_chart(tmp_path):
    with SummaryWriter(tmp_path) as writer:
        for step in range(2):
            writer.add_scalars("main/x", {"u": step, "v": torch.tensor(2.0)}, step)
    assert len(events(tmp_path)) == 1
    found = events(tmp_path / "main_x_u")[1:]
    assert [e.summary.value[0].simple_value for e in found] == [0, 1]
    assert {e.summary.value[0].tag for e in found} == {"main/x"}
    assert len(events(tmp_path / "main_x_v")) == 3


def test_tensors(tmp_path):
    for i, (x, field, kind) in enumerate([
        (torch.arange(6.0).view(2, 3), "float_val", 1), (torch.tensor([[1, -2]]), "int64_val", 9),
        (torch.tensor([True, False]), "bool_val", 10),
        (torch.tensor([1.0, 2.0], dtype=torch.bfloat16), "half_val", 14),
    ]):  # fmt: skip
        _, found = value(tmp_path / str(i), lambda w, x=x: w.add_tensor("x", x, 1))
        made = found.tensor
        assert (made.dtype, [d.size for d in made.tensor_shape.dim]) == (kind, list(x.shape))
        expected = x.view(torch.int16) if field == "half_val" else x
        assert list(getattr(made, field)) == expected.flatten().tolist()


@pytest.mark.parametrize("bins", ["tensorflow", "auto"])
def test_histograms(tmp_path, bins):
    x = torch.tensor(RNG.standard_normal(200), requires_grad=True)
    _, found = value(tmp_path, lambda w: w.add_histogram("h", x, 1, bins=bins))
    histogram, numbers = found.histo, x.detach().numpy()
    assert (histogram.min, histogram.max, histogram.num) == (numbers.min(), numbers.max(), 200)
    assert histogram.sum == pytest.approx(numbers.sum())
    assert histogram.sum_squares == pytest.approx((numbers**2).sum())
    limits = np.array(histogram.bucket_limit)
    counts, _ = np.histogram(numbers, limits)
    assert list(histogram.bucket)[1:] == list(counts) and histogram.bucket[0] == 0


def test_a_histogram_counted_already(tmp_path):
    call = lambda w, limits: w.add_histogram_raw("h", 0.0, 4.0, 5, 6.0, 11.0, limits, [1, 2, 2])  # noqa: E731
    _, found = value(tmp_path, lambda w: call(w, torch.tensor([1.0, 2.0, 3.0])))
    assert list(found.histo.bucket_limit) == [1, 2, 3] and list(found.histo.bucket) == [1, 2, 2]
    with pytest.raises(ValueError, match="see the document"):
        written(tmp_path / "b", lambda w: call(w, [1.0]))


# ---- pictures, films, sounds -------------------------------------------------------------------

IMAGE = RNG.random((3, 5, 6)).astype(np.float32)
BYTES = (IMAGE * 255).astype(np.uint8).transpose(1, 2, 0)
GREY = np.repeat(BYTES[:, :, :1], 3, 2)


@pytest.mark.parametrize(("x", "order", "expected"), [
    (IMAGE, "CHW", BYTES), (BYTES, "HWC", BYTES), (IMAGE[0], "HW", GREY), (IMAGE[:1], "CHW", GREY),
    (IMAGE * 3 - 1, "CHW", ((IMAGE * 3 - 1).transpose(1, 2, 0) * 255).clip(0, 255).astype("u1")),
])  # fmt: skip
def test_images(tmp_path, x, order, expected):
    x = torch.from_numpy(np.ascontiguousarray(x))
    _, found = value(tmp_path, lambda w: w.add_image("i", x, 1, dataformats=order))
    assert np.array_equal(pixels(found.image), expected)
    with pytest.raises(AssertionError, match="input format are different"):
        written(tmp_path / "b", lambda w: w.add_image("i", x, 1, dataformats=f"N{order}"[:4]))


def test_images_in_rows_of_eight(tmp_path):
    x = RNG.integers(0, 255, (10, 3, 4, 6), dtype=np.uint8)
    _, found = value(tmp_path, lambda w: w.add_images("i", torch.from_numpy(x), 1))
    picture = pixels(found.image)
    assert picture.shape == (8, 48, 3)
    assert np.array_equal(picture[4:, 6:12], x[9].transpose(1, 2, 0))
    assert not picture[4:, 12:].any()


def test_boxes(tmp_path):
    boxes = torch.tensor([[4.0, 4, 20, 30]])
    call = lambda w: w.add_image_with_boxes("i", torch.ones(3, 40, 60), boxes, 1, labels=["cat"])  # noqa: E731
    _, found = value(tmp_path, call)
    picture = pixels(found.image)
    assert picture[10, 4].tolist() == [255, 0, 0] and picture[35, 50].tolist() == [255] * 3


def test_figures(tmp_path):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("Agg")
    make = lambda: pyplot.figure(figsize=(1, 1), facecolor="blue")  # noqa: E731
    first = make()
    _, found = value(tmp_path / "a", lambda w: w.add_figure("f", first, 1))
    assert pixels(found.image)[50, 50].tolist() == [0, 0, 255]
    assert not pyplot.fignum_exists(first.number)
    _, found = value(tmp_path / "b", lambda w: w.add_figure("f", [make(), make()], 1))
    assert pixels(found.image).shape == (100, 200, 3)


def test_videos(tmp_path):
    frames = torch.zeros(3, 4, 3, 8, 8)
    for t in range(4):
        frames[:, t, t % 3] = 1.0
    _, found = value(tmp_path, lambda w: w.add_video("v", frames, 1, fps=5))
    assert (found.image.height, found.image.width, found.image.colorspace) == (8, 32, 3)
    film = Image.open(io.BytesIO(found.image.encoded_image_string))
    assert (film.n_frames, film.info["duration"]) == (4, 200)
    film.seek(1)
    frame = np.asarray(film.convert("RGB"))
    assert frame[0, 0].tolist() == [0, 255, 0] and not frame[:, 24:].any()


def test_audio(tmp_path):
    sound = torch.linspace(-1.0, 1.0, 100)[None]
    _, found = value(tmp_path, lambda w: w.add_audio("s", sound, 1, sample_rate=8000))
    audio = found.audio
    assert (audio.sample_rate, audio.num_channels, audio.length_frames) == (8000, 1, 100)
    with wave.open(io.BytesIO(audio.encoded_audio_string)) as file:
        data = np.frombuffer(file.readframes(100), "<i2")
    assert np.array_equal(data, (sound[0].numpy() * 32767).astype("<i2"))
    with pytest.raises(AssertionError, match="1 dimensional"):
        written(tmp_path / "b", lambda w: w.add_audio("s", torch.zeros(2, 3)))


# ---- texts, graphs, points, curves -------------------------------------------------------------


def test_texts(tmp_path):
    _, found = value(tmp_path, lambda w: w.add_text("t", "**ü**", 1))
    assert (found.tag, found.metadata.plugin_data.plugin_name) == ("t/text_summary", "text")
    assert found.tensor.string_val[0].decode() == "**ü**"


def test_graphs(tmp_path):
    model = nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.ReLU(), nn.Linear(4, 4)))
    model[1][1].weight = model[1][1].weight  # read twice, drawn once
    graph, run = written(tmp_path, lambda w: w.add_graph(model, torch.randn(2, 3)))
    nodes = {n.name: n for n in graph_pb2.GraphDef.FromString(graph.graph_def).node}
    assert list(nodes) == [
        "input/input.1", "Sequential/Linear[0]/weight", "Sequential/Linear[0]/bias",
        "Sequential/Linear[0]/linear", "Sequential/Sequential[1]/ReLU[0]/relu",
        "Sequential/Sequential[1]/Linear[1]/weight", "Sequential/Sequential[1]/Linear[1]/bias",
        "Sequential/Sequential[1]/Linear[1]/linear", "output/output.1",
    ]  # fmt: skip
    linear = nodes["Sequential/Linear[0]/linear"]
    assert linear.op == "aten::linear"
    assert list(linear.input) == [
        "input/input.1", "Sequential/Linear[0]/weight", "Sequential/Linear[0]/bias"
    ]  # fmt: skip
    shape = linear.attr["_output_shapes"].list.shape[0]
    assert [d.size for d in shape.dim] == [2, 4]
    assert list(nodes["output/output.1"].input) == ["Sequential/Sequential[1]/Linear[1]/linear"]
    assert run.tagged_run_metadata.run_metadata == b"\n\x11\n\x0f\n\r/device:CPU:0"
    with pytest.raises(torch.NotSupported, match="use add_graph"):
        written(tmp_path / "b", lambda w: w.add_onnx_graph("file"))


def test_embeddings(tmp_path):
    points = torch.tensor([[1.0, 2], [3, 4], [5, 6]], dtype=torch.bfloat16)
    pictures = torch.rand(3, 3, 4, 4)

    def call(writer):
        writer.add_embedding(points, ["a", "b", "c"], pictures, 3, tag="e/mb")
        rows = [["a", 1], ["b", 2], ["c", 3]]
        writer.add_embedding(points, rows, metadata_header=["name", "n"])
        with pytest.raises(AssertionError, match="#labels"):
            writer.add_embedding(points, ["a"], tag="bad")

    assert written(tmp_path, call) == []
    place = tmp_path / "00003" / "e%2fmb"
    assert (place / "tensors.tsv").read_text() == "1.0\t2.0\n3.0\t4.0\n5.0\t6.0\n"
    assert (place / "metadata.tsv").read_text() == "a\nb\nc\n"
    with Image.open(place / "sprite.png") as sprite:
        assert sprite.size == (8, 8)
    other = tmp_path / "00000" / "default" / "metadata.tsv"
    assert other.read_text().splitlines()[:2] == ["name\tn", "a\t1"]
    assert (tmp_path / "projector_config.pbtxt").read_text().splitlines()[:8] == [
        "embeddings {", '  tensor_name: "e/mb:00003"',
        '  metadata_path: "00003/e%2fmb/metadata.tsv"', "  sprite {",
        '    image_path: "00003/e%2fmb/sprite.png"', "    single_image_dim: 4",
        "    single_image_dim: 4", "  }",
    ]  # fmt: skip


def test_precision_and_recall(tmp_path):
    labels = torch.tensor([0, 0, 1, 1])
    scores = torch.tensor([0.1, 0.6, 0.4, 0.9], requires_grad=True)
    _, found = value(tmp_path / "a", lambda w: w.add_pr_curve("p", labels, scores, 1, 5))
    rows = np.array(found.tensor.float_val).reshape(6, 5)
    # true and false positives at thresholds 0, 1/4, 1/2, 3/4, 1
    assert rows[0].tolist() == [2, 2, 1, 1, 0] and rows[1].tolist() == [2, 1, 1, 0, 0]
    assert rows[4].tolist()[:4] == pytest.approx([1 / 2, 2 / 3, 1 / 2, 1])
    assert found.metadata.plugin_data.plugin_name == "pr_curves"
    row = torch.tensor([1.0, 2.0])
    call = lambda w: w.add_pr_curve_raw("p", *[row] * 6, 1, num_thresholds=2)  # noqa: E731
    _, found = value(tmp_path / "b", call)
    assert list(found.tensor.float_val) == [1, 2] * 6


def test_custom_charts(tmp_path):
    def call(writer):
        writer.add_custom_scalars_multilinechart(["a", "b"], "c", "t")
        writer.add_custom_scalars_marginchart(["a", "b", "c"])
        writer.add_custom_scalars({"C": {"t": ["Multiline", ["a"]], "u": ["Margin", list("abc")]}})
        with pytest.raises(AssertionError, match="Expected 3 tags"):
            writer.add_custom_scalars_marginchart(["a"])

    layouts = [
        layout_pb2.Layout.FromString(e.summary.value[0].tensor.string_val[0])
        for e in written(tmp_path, call)
    ]
    assert [layout.category[0].title for layout in layouts] == ["c", "default", "C"]
    assert list(layouts[0].category[0].chart[0].multiline.tag) == ["a", "b"]
    assert layouts[1].category[0].chart[0].margin.series[0].upper == "c"
    assert [chart.title for chart in layouts[2].category[0].chart] == ["t", "u"]


def test_meshes(tmp_path):
    points, faces = torch.rand(1, 4, 3), torch.tensor([[[0, 1, 2], [1, 2, 3]]])
    colors = torch.full((1, 4, 3), 7, dtype=torch.uint8)
    (event,) = written(tmp_path, lambda w: w.add_mesh("m", points, colors, faces, {"a": 1}, 1))
    found = {v.tag: v for v in event.summary.value}
    assert list(found) == ["m_VERTEX", "m_FACE", "m_COLOR"]
    assert [d.size for d in found["m_FACE"].tensor.tensor_shape.dim] == [1, 2, 3]
    # as PyTorch writes it: name, kind, settings, shape, and which kinds there are
    content = found["m_FACE"].metadata.plugin_data.content
    assert content == b'\x12\x01m\x18\x02*\x08{"a": 1}2\x03\x01\x02\x038\x0e'


def test_hyperparameters(tmp_path):
    given = {"lr": 0.1, "deep": True, "kind": "x", "n": torch.tensor(3.0), "none": None}
    domains = {"lr": [0.1, 0.2], "kind": ["x", "y"]}
    with SummaryWriter(tmp_path) as writer:
        writer.add_hparams(given, {"acc": torch.tensor(0.5)}, domains, "run", 2)
        with pytest.raises(TypeError, match="same type"):
            writer.add_hparams(given, {}, {"lr": ["x"]})
        with pytest.raises(TypeError, match="should be a dictionary"):
            writer.add_hparams([], {})
    _, experiment, start, end, metric = events(tmp_path / "run")
    read = [
        plugin_hparams_pb2.HParamsPluginData.FromString(
            e.summary.value[0].metadata.plugin_data.content
        )
        for e in (experiment, start, end)
    ]
    infos = {i.name: i for i in read[0].experiment.hparam_infos}
    assert list(infos) == ["lr", "deep", "kind", "n"]
    assert [v.number_value for v in infos["lr"].domain_discrete.values] == [0.1, 0.2]
    assert infos["kind"].type == api_pb2.DATA_TYPE_STRING
    assert read[0].experiment.metric_infos[0].name.tag == "acc"
    values = read[1].session_start_info.hparams
    assert (values["lr"].number_value, values["deep"].number_value) == (0.1, 1)
    assert (values["kind"].string_value, values["n"].number_value) == ("x", 3)
    assert read[2].session_end_info.status == api_pb2.STATUS_SUCCESS
    assert (metric.step, metric.summary.value[0].simple_value) == (2, 0.5)


# ---- files -------------------------------------------------------------------------------------


def test_files_and_their_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    writer = SummaryWriter(comment="_note")
    assert writer.get_logdir().startswith("runs/") and writer.get_logdir().endswith("_note")
    writer.close()
    writer.add_scalar("x", 1.0)  # opens a new file
    writer.close()
    assert len(glob.glob(f"{writer.log_dir}/events*")) == 2
    (start, _) = written("purged", lambda w: None, purge_step=7, filename_suffix=".end")
    (name,) = os.listdir("purged")
    assert start.step == 7 and name.endswith(".end")
    assert _.session_log.status == SessionLog.START


def test_what_is_flushed_is_there(tmp_path):
    writer = SummaryWriter(tmp_path, max_queue=3, flush_secs=1000)
    writer.add_scalar("x", 1.0)
    assert len(events(tmp_path)) == 1
    writer.flush()
    assert len(events(tmp_path)) == 2
    for _ in range(3):
        writer.add_scalar("x", 1.0)
    assert len(events(tmp_path)) == 5, "the queue is full"
    writer.close()


def test_the_lower_writers(tmp_path):
    writer = FileWriter(tmp_path)
    writer.add_event(Event(file_version="v"), step=torch.tensor(4), walltime=2.0)
    writer.close()
    writer.add_event(Event())  # is dropped, as it is by PyTorch
    writer.reopen()
    writer.close()
    found = events(tmp_path)
    assert writer.get_logdir() == str(tmp_path)
    assert (found[1].step, found[1].wall_time, len(found)) == (4, 2.0, 3)
    file = io.BytesIO()
    own = RecordWriter(file)
    own.write(b"abc")
    own.flush()
    assert list(records(file.getvalue())) == [b"abc"] and not own.closed
    own.close()
    assert own.closed


def test_without_tensorboardx(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    for name in [n for n in sys.modules if n.startswith("tensorboardX.")]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"pip install 'torchlike\[tensorboard\]'"):
        SummaryWriter(tmp_path)


@pytest.mark.slow
def test_a_program_finds_it(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import torch.utils.tensorboard\n"
        "from torch.utils.tensorboard import SummaryWriter\n"
        f"with SummaryWriter({str(tmp_path / 'log')!r}) as w: w.add_scalar('x', torch.ones(1), 1)\n"
    )
    run = [sys.executable, "-m", "torchlike", str(program)]
    subprocess.run(run, check=True, timeout=120)
    assert events(tmp_path / "log")[1].summary.value[0].simple_value == 1
