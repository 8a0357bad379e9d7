"""torchmetrics: metrics that are updated, computed and reset, and their functions."""

import torch
import torchmetrics
import torchmetrics.functional as F
from torchmetrics import MetricCollection

generator = torch.Generator().manual_seed(1)
preds = torch.rand(4, 32, 5, generator=generator)
target = torch.randint(0, 5, (4, 32), generator=generator)
scores = torch.rand(4, 32, generator=generator)
labels = torch.randint(0, 2, (4, 32), generator=generator)
values = torch.randn(4, 32, generator=generator)
images = torch.rand(4, 2, 3, 24, 24, generator=generator)


def show(name, value):
    if isinstance(value, (tuple, list)):
        for i, part in enumerate(value):
            show(f"{name}[{i}]", part)
    elif isinstance(value, dict):
        for key, part in value.items():
            show(f"{name}.{key}", part)
    else:
        numbers = torch.as_tensor(value).double().reshape(-1).tolist()
        print(name, " ".join(f"{x:.5f}" for x in numbers[:8]))


def run(name, metric, *batches):
    for batch in zip(*batches):
        metric.update(*batch)
    show(name, metric.compute())
    metric.reset()
    show(f"{name} of a batch", metric(*(b[0] for b in batches)))


many = {"task": "multiclass", "num_classes": 5}
for kind in ("Accuracy", "F1Score", "Precision", "Recall", "Specificity", "JaccardIndex"):
    run(kind, getattr(torchmetrics, kind)(**many, average="macro"), preds, target)
for kind in ("AUROC", "AveragePrecision", "ConfusionMatrix", "CohenKappa", "MatthewsCorrCoef"):
    run(kind, getattr(torchmetrics, kind)(**many), preds, target)
for kind in ("Accuracy", "F1Score", "AUROC", "ROC", "PrecisionRecallCurve", "CalibrationError"):
    run(f"binary {kind}", getattr(torchmetrics, kind)(task="binary"), scores, labels)
run("binned", torchmetrics.AUROC(task="binary", thresholds=20), scores, labels)
run("top 2", torchmetrics.Accuracy(**many, top_k=2), preds, target)
for kind in (
    "MeanSquaredError", "MeanAbsoluteError", "R2Score", "PearsonCorrCoef", "SpearmanCorrCoef",
    "ExplainedVariance", "KendallRankCorrCoef", "ConcordanceCorrCoef",
):  # fmt: skip
    run(kind, getattr(torchmetrics, kind)(), values, scores)
run("CosineSimilarity", torchmetrics.CosineSimilarity(), preds, preds.flip(0))
for kind in ("PeakSignalNoiseRatio", "StructuralSimilarityIndexMeasure"):
    run(kind, getattr(torchmetrics.image, kind)(data_range=1.0), images, images.flip(0))
run("TotalVariation", torchmetrics.image.TotalVariation(), images)
run("MeanMetric", torchmetrics.MeanMetric(), values)
run("Max", torchmetrics.MaxMetric(), values)
run("Cat", torchmetrics.CatMetric(), values)

both = MetricCollection(
    {"acc": torchmetrics.Accuracy(**many), "f1": torchmetrics.F1Score(**many, average=None)}
)
run("collection", both, preds, target)
tracker = torchmetrics.MetricTracker(torchmetrics.Accuracy(**many))
for p, t in zip(preds, target):
    tracker.increment()
    tracker.update(p, t)
show("best", tracker.best_metric())
show("functional", F.accuracy(preds[0], target[0], **many))
show("ssim", F.structural_similarity_index_measure(images[0], images[1], data_range=1.0))
metric = torchmetrics.MeanSquaredError()
metric.update(values[0].requires_grad_(), scores[0])
metric.persistent(True)
print({k: round(float(v), 5) for k, v in metric.state_dict().items()}, metric)
