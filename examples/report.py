"""What the examples share around their training loops: arguments, tables, pictures, the result.

Nothing here touches a tensor: the numbers come in as Python floats, lists and numpy arrays.
"""

import argparse
import json
from pathlib import Path


def arguments(description, epochs):
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=epochs, help="passes over the training set")
    parser.add_argument("--seed", type=int, default=0, help="for weights, shuffles and dropout")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or tpu")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the pictures")
    args = parser.parse_args()
    if args.epochs < 1:
        parser.error(f"--epochs must be at least 1, got {args.epochs}")
    args.out.mkdir(parents=True, exist_ok=True)
    return args


# ---- tables ----------------------------------------------------------


def print_table(header, rows):
    """Print rows under a header, numbers on the right, names in the first column on the left."""
    cells = [
        [f"{cell:.4f}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(header, *cells, strict=True)]
    for line in [header, *cells]:
        first, *rest = (cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        if isinstance(rows[0][0], str):
            first = line[0].ljust(widths[0])
        print("  ".join([first, *rest]))


def print_class_scores(target, prediction, names):
    """Print precision, recall and F1 of each class; return the accuracy and their means."""
    from sklearn.metrics import accuracy_score, precision_recall_fscore_support

    labels = range(len(names))
    scores = precision_recall_fscore_support(target, prediction, labels=labels, zero_division=0)
    precision, recall, f1, samples = (score.tolist() for score in scores)
    rows = list(zip(map(str, names), precision, recall, f1, samples, strict=True))
    print_table(["class", "precision", "recall", "F1", "samples"], rows)
    metrics = {
        "accuracy": float(accuracy_score(target, prediction)),
        "precision": sum(precision) / len(names),
        "recall": sum(recall) / len(names),
        "f1": sum(f1) / len(names),
    }
    print(", ".join(f"{name} {value:.4f}" for name, value in metrics.items()))
    return metrics


# ---- pictures --------------------------------------------------------


def new_axes(title, xlabel, ylabel):
    # A Figure of its own draws with Agg, and spares the import of pyplot.
    from matplotlib.figure import Figure

    axes = Figure(figsize=(6, 4.5), layout="constrained").add_subplot()
    axes.set(title=title, xlabel=xlabel, ylabel=ylabel)
    return axes


def save(axes, path):
    axes.figure.savefig(path, dpi=100)
    return path


def plot_losses(path, curves, best_epoch=None):
    """Draw one line for each of `curves`, a dict from label to the losses by epoch."""
    axes = new_axes(path.stem, "epoch", "loss")
    for label, losses in curves.items():
        axes.plot(range(1, len(losses) + 1), losses, label=label)
    if best_epoch is not None:
        axes.axvline(best_epoch, color="grey", linestyle="--", label=f"best epoch, {best_epoch}")
    axes.legend()
    return save(axes, path)


def plot_confusion(path, target, prediction, names):
    import numpy
    from sklearn.metrics import confusion_matrix

    matrix = confusion_matrix(target, prediction, labels=range(len(names)))
    axes = new_axes(path.stem, "predicted", "true")
    axes.imshow(matrix, cmap="Blues")
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names)
    for (row, column), count in numpy.ndenumerate(matrix):
        color = "white" if count > matrix.max() / 2 else "black"
        axes.text(column, row, count, ha="center", va="center", color=color)
    return save(axes, path)


def plot_predictions(path, target, prediction, unit):
    axes = new_axes(path.stem, f"true {unit}", f"predicted {unit}")
    axes.scatter(target, prediction, s=16)
    ends = [min(target), max(target)]
    axes.plot(ends, ends, color="grey", linestyle="--", label="perfect")
    axes.legend()
    return save(axes, path)


def plot_roc(path, target, probability):
    from sklearn.metrics import roc_curve

    false_positive, true_positive, _ = roc_curve(target, probability)
    axes = new_axes(path.stem, "false positive rate", "true positive rate")
    axes.plot(false_positive, true_positive)
    axes.plot([0, 1], [0, 1], color="grey", linestyle="--")
    return save(axes, path)


def plot_images(path, images, target, prediction, columns=8):
    """Draw images in a grid, each titled with its predicted class, in red where that is wrong."""
    from matplotlib.figure import Figure

    rows = -(-len(images) // columns)
    figure = Figure(figsize=(columns, 1.3 * rows), layout="constrained")
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in grid:
        axes.set_axis_off()
    for axes, image, true, predicted in zip(grid, images, target, prediction, strict=False):
        axes.imshow(image, cmap="gray_r")
        axes.set_title(str(predicted), fontsize=9, color="black" if predicted == true else "red")
    figure.savefig(path, dpi=100)
    return path


# ---- the result line -------------------------------------------------


def finish(epoch_losses, step_losses, metrics, pictures):
    """Print where the pictures are and, for a program that compares runs, one line of JSON."""
    for picture in pictures:
        print(f"picture {picture}")
    result = {
        "epoch_losses": epoch_losses,
        "step_losses": step_losses[:100],
        "metrics": metrics,
        "pictures": [str(picture) for picture in pictures],
    }
    print("RESULT " + json.dumps(result))
