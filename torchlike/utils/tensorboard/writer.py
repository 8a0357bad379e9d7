"""SummaryWriter and FileWriter."""

from __future__ import annotations

import os
import socket
import threading
import time
import weakref
from typing import TYPE_CHECKING

import numpy as np

from torchlike._core.errors import NotSupported
from torchlike._tensor.tensor import Tensor
from torchlike.utils.tensorboard._arrays import array, number
from torchlike.utils.tensorboard._needs import tensorboardx

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FileWriter", "SummaryWriter"]

_files = iter(range(1 << 62))  # numbers the files of this process


def _summaries():
    tensorboardx()
    from torchlike.utils.tensorboard import _summaries

    return _summaries


class FileWriter:
    """Writes events to a new file in a directory, which TensorBoard shows.

    What is written is in the file after ``flush()`` and ``close()``, when ``max_queue`` events
    wait, and after ``flush_secs``.
    """

    def __init__(self, log_dir, max_queue=10, flush_secs=120, filename_suffix="") -> None:
        self._log_dir = str(log_dir)
        self._max_queue, self._flush_secs = max_queue, flush_secs
        self._suffix = filename_suffix
        self._lock = threading.RLock()
        self._records = self._timer = None
        self.reopen()

    def get_logdir(self) -> str:
        """The directory of the file."""
        return self._log_dir

    def reopen(self) -> None:
        """After ``close``: go on in a new file of the same directory."""
        if self._records is not None:
            return
        records = tensorboardx("record_writer")
        records.directory_check(self._log_dir)
        name = (
            f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}."
            f"{next(_files)}{self._suffix}"
        )
        self._waiting = 0
        self._records = records.RecordWriter(os.path.join(self._log_dir, name))
        self._at_end = weakref.finalize(self, self._records.close)
        self.add_event(tensorboardx("proto.event_pb2").Event(file_version="brain.Event:2"))
        self.flush()

    def add_event(self, event, step=None, walltime=None) -> None:
        """Write an ``Event`` message."""
        event.wall_time = time.time() if walltime is None else walltime
        if step is not None:
            event.step = int(step)
        data = event.SerializeToString()
        with self._lock:
            if self._records is None:
                return
            self._records.write(data)
            self._waiting += 1
            if self._waiting >= self._max_queue:
                self.flush()
            elif self._timer is None:
                self._timer = threading.Timer(self._flush_secs, _flush, (weakref.ref(self),))
                self._timer.daemon = True
                self._timer.start()

    def add_summary(self, summary, global_step=None, walltime=None) -> None:
        """Write a ``Summary`` message."""
        event = tensorboardx("proto.event_pb2").Event(summary=summary)
        self.add_event(event, global_step, walltime)

    def add_graph(self, graph_profile, walltime=None) -> None:
        """Write a ``GraphDef`` message, with the statistics of its steps."""
        graph, statistics = graph_profile
        events = tensorboardx("proto.event_pb2")
        self.add_event(events.Event(graph_def=graph.SerializeToString()), None, walltime)
        metadata = events.TaggedRunMetadata(
            tag="step1", run_metadata=statistics.SerializeToString()
        )
        self.add_event(events.Event(tagged_run_metadata=metadata), None, walltime)

    def add_onnx_graph(self, graph, walltime=None) -> None:
        """Write a ``GraphDef`` message."""
        events = tensorboardx("proto.event_pb2")
        self.add_event(events.Event(graph_def=graph.SerializeToString()), None, walltime)

    def flush(self) -> None:
        """Bring everything to the file."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if self._records is not None and self._waiting:
                self._records.flush()
            self._waiting = 0

    def close(self) -> None:
        """Bring everything to the file and close it."""
        with self._lock:
            self.flush()
            if self._records is not None:
                self._at_end.detach()
                self._records.close()
                self._records = None


def _flush(ref) -> None:
    writer = ref()
    if writer is not None:
        writer.flush()


def _default_bins() -> list[float]:
    """TensorBoard's bins: limits that grow by a tenth each, on both sides of zero."""
    limits, x = [], 1e-12
    while x < 1e20:
        limits.append(x)
        x *= 1.1
    return [-x for x in reversed(limits)] + [0] + limits


class SummaryWriter:
    """Writes numbers, pictures, histograms and more for TensorBoard
    (https://pytorch.org/docs/stable/tensorboard.html).

    log_dir          the directory; by default ``runs/`` and the time, the host and ``comment``
    purge_step       TensorBoard forgets what an earlier run has written from this step on
    max_queue        how many events wait at most before they are in the file
    flush_secs       for how many seconds
    filename_suffix  ends the names of files
    """

    def __init__(
        self, log_dir=None, comment="", purge_step=None, max_queue=10, flush_secs=120,
        filename_suffix="",
    ) -> None:  # fmt: skip
        if not log_dir:
            now = time.strftime("%b%d_%H-%M-%S")
            log_dir = os.path.join("runs", f"{now}_{socket.gethostname()}{comment}")
        self.log_dir = str(log_dir)
        self.purge_step = purge_step
        self.max_queue, self.flush_secs = max_queue, flush_secs
        self.filename_suffix = filename_suffix
        self.file_writer = self.all_writers = None
        self._get_file_writer()
        self.default_bins = _default_bins()

    def _open(self, log_dir) -> FileWriter:
        return FileWriter(log_dir, self.max_queue, self.flush_secs, self.filename_suffix)

    def _get_file_writer(self) -> FileWriter:
        """The writer of the main directory; a new one after ``close``."""
        if self.all_writers is None or self.file_writer is None:
            self.file_writer = self._open(self.log_dir)
            self.all_writers = {self.log_dir: self.file_writer}
            if self.purge_step is not None:
                events, step = tensorboardx("proto.event_pb2"), self.purge_step
                self.file_writer.add_event(events.Event(step=step, file_version="brain.Event:2"))
                start = events.SessionLog(status=events.SessionLog.START)
                self.file_writer.add_event(events.Event(step=step, session_log=start))
                self.purge_step = None
        return self.file_writer

    def get_logdir(self) -> str:
        """The main directory."""
        return self.log_dir

    def _add(self, summary, step, walltime) -> None:
        step = None if step is None else int(number(step))
        self._get_file_writer().add_summary(summary, step, walltime)

    # ---- numbers -------------------------------------------------------------------------------

    def add_hparams(
        self, hparam_dict, metric_dict, hparam_domain_discrete=None, run_name=None,
        global_step=None,
    ) -> None:  # fmt: skip
        """Hyperparameters and the metrics they led to, in a directory ``run_name`` of their own."""
        made = _summaries().hparams(hparam_dict, metric_dict, hparam_domain_discrete)
        run_name = run_name or str(time.time())
        with SummaryWriter(os.path.join(self._get_file_writer().get_logdir(), run_name)) as own:
            for summary in made:
                own._add(summary, global_step, None)
            for tag, x in metric_dict.items():
                own.add_scalar(tag, x, global_step)

    def add_scalar(
        self, tag, scalar_value, global_step=None, walltime=None, new_style=False,
        double_precision=False,
    ) -> None:  # fmt: skip
        """One number; ``AssertionError`` for a tensor of several."""
        made = _summaries().scalar(tag, scalar_value, new_style, double_precision)
        self._add(made, global_step, walltime)

    def add_scalars(self, main_tag, tag_scalar_dict, global_step=None, walltime=None) -> None:
        """Several numbers for one chart; each has a directory of its own."""
        walltime = time.time() if walltime is None else walltime
        main = self._get_file_writer().get_logdir()
        step = None if global_step is None else int(number(global_step))
        for tag, x in tag_scalar_dict.items():
            place = f"{main}/{main_tag.replace('/', '_')}_{tag}"
            if place not in self.all_writers:
                self.all_writers[place] = self._open(place)
            made = _summaries().scalar(main_tag, x, False, False)
            self.all_writers[place].add_summary(made, step, walltime)

    def add_tensor(self, tag, tensor, global_step=None, walltime=None) -> None:
        """A whole tensor."""
        if not isinstance(tensor, Tensor):
            raise TypeError(f"expected a Tensor, got {type(tensor).__name__}")
        self._add(_summaries().tensor(tag, tensor), global_step, walltime)

    def add_histogram(
        self, tag, values, global_step=None, bins="tensorflow", walltime=None, max_bins=None
    ) -> None:
        """How the values of a tensor are spread; ``bins`` as for ``numpy.histogram``."""
        if isinstance(bins, str) and bins == "tensorflow":
            bins = self.default_bins
        made = _summaries().histogram(tag, values, bins, max_bins)
        self._add(made, global_step, walltime)

    def add_histogram_raw(
        self, tag, min, max, num, sum, sum_squares, bucket_limits, bucket_counts,
        global_step=None, walltime=None,
    ) -> None:  # fmt: skip
        """A histogram that is counted already; ``ValueError`` unless there is a limit a count."""
        if len(bucket_limits) != len(bucket_counts):
            raise ValueError("len(bucket_limits) != len(bucket_counts), see the document.")
        made = _summaries().histogram_raw(
            tag, min, max, num, sum, sum_squares, bucket_limits, bucket_counts
        )
        self._add(made, global_step, walltime)

    # ---- pictures, films, sounds ---------------------------------------------------------------

    def add_image(
        self, tag, img_tensor, global_step=None, walltime=None, dataformats="CHW"
    ) -> None:
        """A picture: bytes, or floating from 0 to 1, dimensions in the order of ``dataformats``."""
        self._add(_summaries().image(tag, img_tensor, dataformats), global_step, walltime)

    def add_images(
        self, tag, img_tensor, global_step=None, walltime=None, dataformats="NCHW"
    ) -> None:
        """Several pictures of one size, or a list of them, in rows of eight."""
        if isinstance(img_tensor, list):
            img_tensor = array(img_tensor)
        self._add(_summaries().image(tag, img_tensor, dataformats), global_step, walltime)

    def add_image_with_boxes(
        self, tag, img_tensor, box_tensor, global_step=None, walltime=None, rescale=1,
        dataformats="CHW", labels=None,
    ) -> None:  # fmt: skip
        """A picture with boxes, (n, 4) of xmin, ymin, xmax, ymax, and their labels drawn in."""
        made = _summaries().image_boxes(tag, img_tensor, box_tensor, rescale, dataformats, labels)
        self._add(made, global_step, walltime)

    def add_figure(
        self, tag: str, figure: Figure | list[Figure], global_step: int | None = None,
        close: bool = True, walltime: float | None = None,
    ) -> None:  # fmt: skip
        """A figure of matplotlib, or several of one size, as a picture."""
        figures = figure if isinstance(figure, list) else [figure]
        pixels = array([_drawn(f, close) for f in figures])
        if isinstance(figure, list):
            self.add_images(tag, pixels, global_step, walltime, dataformats="NHWC")
        else:
            self.add_image(tag, pixels[0], global_step, walltime, dataformats="HWC")

    def add_video(self, tag, vid_tensor, global_step=None, fps=4, walltime=None) -> None:
        """Films, (n, time, colours, height, width) of bytes or of floats from 0 to 1, as a GIF."""
        self._add(_summaries().video(tag, vid_tensor, fps), global_step, walltime)

    def add_audio(
        self, tag, snd_tensor, global_step=None, sample_rate=44100, walltime=None
    ) -> None:
        """A sound of one channel, amplitudes from -1 to 1."""
        self._add(_summaries().audio(tag, snd_tensor, sample_rate), global_step, walltime)

    # ---- texts, graphs, points -----------------------------------------------------------------

    def add_text(self, tag, text_string, global_step=None, walltime=None) -> None:
        """A text, as Markdown."""
        self._add(_summaries().text(tag, text_string), global_step, walltime)

    def add_onnx_graph(self, prototxt) -> None:
        """Not supported: TensorBoard would get a graph that nothing here can read."""
        raise NotSupported(
            "SummaryWriter.add_onnx_graph", "use add_graph(model, inputs), or open the file in "
            "Netron"
        )  # fmt: skip

    def add_graph(self, model, input_to_model=None, verbose=False, use_strict_trace=True) -> None:
        """The ops that a module calls on such inputs (a tensor, or a tuple of them), by module.

        The module is called on tensors without data, as ``torchlike.summary`` does it.
        """
        from torchlike.utils.tensorboard._graph import graph

        tensorboardx()
        self._get_file_writer().add_graph(graph(model, input_to_model, verbose))

    @staticmethod
    def _encode(rawstr):
        """A tag as the name of a directory: what is no letter, digit or ``-_.`` as ``%xx``."""
        return "".join(
            c if c.isascii() and (c.isalnum() or c in "-_.") else
            "".join(f"%{byte:02x}" for byte in c.encode())
            for c in rawstr
        )  # fmt: skip

    def add_embedding(
        self, mat, metadata=None, label_img=None, global_step=None, tag="default",
        metadata_header=None,
    ) -> None:  # fmt: skip
        """Points, (n, dimensions), with labels and square pictures, for the projector.

        mat              n points
        metadata         n labels; with ``metadata_header``, n rows of them
        label_img        (n, colours, side, side) pictures
        metadata_header  names of the columns of ``metadata``
        """
        points = array(mat)
        step = 0 if global_step is None else int(number(global_step))
        folder = f"{step:05d}/{self._encode(tag)}"
        place = os.path.join(self._get_file_writer().get_logdir(), folder)
        os.makedirs(place, exist_ok=True)
        lines = [f'tensor_name: "{tag}:{step:05d}"']
        if metadata is not None:
            if len(metadata) != points.shape[0]:
                raise AssertionError("#labels should equal with #data points")
            _write_labels(os.path.join(place, "metadata.tsv"), metadata, metadata_header)
            lines.append(f'metadata_path: "{folder}/metadata.tsv"')
        if label_img is not None:
            pictures = array(label_img)
            if pictures.shape[0] != points.shape[0]:
                raise AssertionError("#images should equal with #data points")
            with open(os.path.join(place, "sprite.png"), "wb") as file:
                file.write(_summaries().sprite(pictures))
            lines += [
                "sprite {", f'  image_path: "{folder}/sprite.png"',
                f"  single_image_dim: {pictures.shape[3]}",
                f"  single_image_dim: {pictures.shape[2]}", "}",
            ]  # fmt: skip
        if points.ndim != 2:
            raise AssertionError("mat should be 2D, where mat.size(0) is the number of data points")
        with open(os.path.join(place, "tensors.tsv"), "w") as file:
            file.writelines("\t".join(map(str, row)) + "\n" for row in points.tolist())
        lines.append(f'tensor_path: "{folder}/tensors.tsv"')
        entry = "".join(f"  {line}\n" for line in lines)
        config = os.path.join(self._get_file_writer().get_logdir(), "projector_config.pbtxt")
        with open(config, "a") as file:
            file.write(f"embeddings {{\n{entry}}}\n")

    # ---- curves and charts ---------------------------------------------------------------------

    def add_pr_curve(
        self, tag, labels, predictions, global_step=None, num_thresholds=127, weights=None,
        walltime=None,
    ) -> None:  # fmt: skip
        """Precision and recall of predictions (probabilities of label 1), by the threshold."""
        made = _summaries().pr_curve(tag, labels, predictions, num_thresholds, weights)
        self._add(made, global_step, walltime)

    def add_pr_curve_raw(
        self, tag, true_positive_counts, false_positive_counts, true_negative_counts,
        false_negative_counts, precision, recall, global_step=None, num_thresholds=127,
        weights=None, walltime=None,
    ) -> None:  # fmt: skip
        """A curve that is computed already, a number for each threshold in each argument."""
        made = _summaries().pr_curve_raw(
            tag, true_positive_counts, false_positive_counts, true_negative_counts,
            false_negative_counts, precision, recall, num_thresholds=num_thresholds,
            weights=weights,
        )  # fmt: skip
        self._add(made, global_step, walltime)

    def add_custom_scalars_multilinechart(self, tags, category="default", title="untitled") -> None:
        """A chart of several numbers, by their tags."""
        self.add_custom_scalars({category: {title: ["Multiline", tags]}})

    def add_custom_scalars_marginchart(self, tags, category="default", title="untitled") -> None:
        """A chart of a number between a lower and an upper one; ``tags`` are the three."""
        if len(tags) != 3:
            raise AssertionError(f"Expected 3 tags, got {len(tags)}.")
        self.add_custom_scalars({category: {title: ["Margin", tags]}})

    def add_custom_scalars(self, layout) -> None:
        """Charts: {category: {title: ["Multiline" or "Margin", tags]}}."""
        self._add(_summaries().custom_scalars(layout), None, None)

    def add_mesh(
        self, tag, vertices, colors=None, faces=None, config_dict=None, global_step=None,
        walltime=None,
    ) -> None:  # fmt: skip
        """Points in space, (batch, n, 3), their colours from 0 to 255, and triangles, (batch, m, 3)
        of positions of points."""
        made = _summaries().mesh(tag, vertices, colors, faces, config_dict)
        self._add(made, global_step, walltime)

    # ---- the files -----------------------------------------------------------------------------

    def flush(self) -> None:
        """Bring everything to the files."""
        for writer in (self.all_writers or {}).values():
            writer.flush()

    def close(self) -> None:
        """Bring everything to the files and close them; what is added later opens new ones."""
        for writer in (self.all_writers or {}).values():
            writer.close()
        self.file_writer = self.all_writers = None

    def __enter__(self):
        return self

    def __exit__(self, exc_type, exc_val, exc_tb):
        self.close()


def _drawn(figure, close: bool):
    """The pixels of a figure, (height, width, 3)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[:, :, :3].copy()
    if close:
        import matplotlib.pyplot as plt

        plt.close(figure)
    return pixels


def _write_labels(path: str, metadata, header) -> None:
    rows = [str(x) for x in metadata]
    if header:
        if len(header) != len(metadata[0]):
            raise AssertionError("len of header must be equal to the number of columns in metadata")
        rows = ["\t".join(map(str, row)) for row in [header, *metadata]]
    with open(path, "w", encoding="utf8") as file:
        file.writelines(f"{row}\n" for row in rows)
