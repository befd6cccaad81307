"""What a detection run leaves behind: scores, predictions, figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nnmed.data.datasets import Dataset
from nnmed.data.leakage import LeakageReport
from nnmed.explain import grad_cam
from nnmed.jobs.preparation import Prepared
from nnmed.metrics import binary_curves, describe_cases
from nnmed.report import (
    confusion_figure,
    heat_map_page,
    reliability_diagram,
    roc_and_pr,
    save,
    summary_table,
    training_curves,
    worst_errors,
)

if TYPE_CHECKING:
    from nnmed.jobs.detect import Detection, Evaluation

HEAT_MAPS = 9


def write(result: Detection, dataset: Dataset, prepared: Prepared, model, rows, facts) -> None:
    """Write metrics.json, predictions.csv and the figures."""
    _write_metrics(result, facts)
    _write_predictions(result, dataset)
    _draw(result, dataset, prepared, model, rows, facts)


def show(result: Detection, dataset: Dataset, leaks: LeakageReport, synthetic: bool) -> None:
    """Print the test scores, the baselines beside them, and where everything lies."""
    test = result.test
    title = f"test: {len(test.labels)} images, {int(test.labels.sum())} {dataset.classes[1]}"
    print()
    print(summary_table(test.scores, title + (" (SYNTHETIC)" if synthetic else "")))
    threshold = result.threshold
    origin = ": ".join(filter(None, (threshold.description, threshold.reason)))
    print(f"threshold {threshold.value:.3f} from validation: {origin}")
    if leaks:
        print(
            f"WARNING: the leak check found {len(leaks.leaks)} ties between the sides of the "
            "split (see above, and leakage in metrics.json): the scores may be too good"
        )
    print("\nROC-AUC beside baselines on the same test images")
    width = max(map(len, result.baselines))
    for name, scores in {**result.baselines, "this network": test.scores}.items():
        print(f"  {name:<{width}}  {scores['roc_auc']}")
    print(f"\nresults are in {result.folder.path}", flush=True)


def _write_metrics(result: Detection, facts: dict) -> None:
    def side(evaluation: Evaluation) -> dict:
        return {
            **describe_cases(evaluation.labels, evaluation.groups),
            "scores": evaluation.scores,
        }

    result.folder.write_json(
        "metrics.json",
        {
            "val": side(result.val),
            "test": side(result.test),
            "threshold": result.threshold,
            "baselines_test": result.baselines,
            "seed": facts["options"]["seed"],
            "synthetic": facts["synthetic"],
            **{k: facts[k] for k in ("best_epoch", "parameters", "leakage", "environment")},
            "wall_time_seconds": facts["wall_time_seconds"],
        },
    )


def _write_predictions(result: Detection, dataset: Dataset) -> None:
    rows = []
    for side, evaluation in (("val", result.val), ("test", result.test)):
        for i, label, p in zip(evaluation.indices, evaluation.labels, evaluation.probabilities):
            decision = int(p >= result.threshold.value)
            patient = dataset.patients[i] or ""
            rows.append((dataset.names[i], patient, side, int(label), float(p), decision))
    columns = ("case", "patient", "split", "label", "probability", "decision")
    result.folder.write_csv("predictions.csv", columns, rows)


def _draw(result, dataset, prepared, model, rows, facts) -> None:
    test, threshold, folder = result.test, result.threshold.value, result.folder
    images = prepared.samples["test"]
    name = "phantoms" if facts["synthetic"] else facts["options"]["data"]
    about = {"dataset": f"{name}, test", "synthetic": facts["synthetic"]}
    curves = binary_curves(test.labels, test.probabilities, threshold, test.groups)
    cases = [dataset.names[i] for i in test.indices]
    save(
        training_curves(rows, best_epoch=facts["best_epoch"], **{**about, "dataset": name}),
        folder / "training.png",
    )
    save(roc_and_pr(curves, test.scores, **about), folder / "roc_pr.png")
    save(
        confusion_figure(curves["confusion_matrix"], dataset.classes, threshold=threshold, **about),
        folder / "confusion.png",
    )
    save(
        reliability_diagram(curves["reliability"], test.scores, **about), folder / "reliability.png"
    )
    save(
        worst_errors(
            cases, test.labels, test.probabilities, threshold,
            lambda i: images[i].image, classes=dataset.classes, **about,
        ),
        folder / "worst_errors.png",
    )  # fmt: skip
    save(_heat_maps(test, images, model, cases, about), folder / "grad_cam.png")


def _heat_maps(test: Evaluation, samples, model, cases, about):
    """Draw Grad-CAM for positives from the surest to the least sure."""
    positives = np.flatnonzero(test.labels == 1)
    if len(positives) == 0:
        return heat_map_page([], [], [], **about)
    ranked = positives[np.argsort(-test.probabilities[positives], kind="stable")]
    chosen = ranked[np.unique(np.linspace(0, len(ranked) - 1, HEAT_MAPS).astype(int))]
    model.eval()
    images = np.stack([samples[i].image for i in chosen])
    maps = grad_cam(model, images, target=1)
    return heat_map_page(
        images,
        maps,
        [(cases[i], f"p = {test.probabilities[i]:.3f}") for i in chosen],
        masks=[samples[i].mask for i in chosen],
        boxes=[samples[i].boxes for i in chosen],
        **about,
    )
