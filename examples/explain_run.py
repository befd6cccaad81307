"""Draw what a trained detector looks at, from the folder that a detection run wrote.

    python examples/explain_run.py runs/detect-1 picture.png

Three positive test images, from a sure to an unsure one; below each the gradient of the
score by every pixel, and Grad-CAM; beside them the ROC curve of the whole test. It also
shows how to load a trained network and apply it to images.
"""

import argparse
import csv
import json
import sys
from pathlib import Path

import numpy as np

import nnmed
from nnmed.data import open_dataset
from nnmed.errors import DataError
from nnmed.explain import grad_cam
from nnmed.jobs.command import run_command
from nnmed.jobs.saved_run import open_run
from nnmed.metrics import roc_curve
from nnmed.report import save
from nnmed.report.figure import BLUE, GREY, SYNTHETIC, frame, new_figure
from nnmed.report.summary import figure_text
from nnmed.report.thumbnails import show

SHARES = (0.1, 0.5, 0.9)  # of the positive test images, how many are surer than the one shown


def load_run(folder):
    """Return the data set and the trained network of a run."""
    saved = open_run(folder)
    options = saved.config["options"]
    dataset = open_dataset(
        options["data"] or folder / "phantoms",
        labels=options["labels"],
        label_column=options["label_column"],
        positive=options["positive"] or saved.classes[1],
        group_column=options["group_column"],
        split_column=options["split_column"],
    )
    return dataset, saved


def read_test(folder):
    """Return names, labels and probabilities of the test images."""
    with (folder / "predictions.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
    labels = np.array([int(row["label"]) for row in rows])
    return [row["case"] for row in rows], labels, np.array([float(r["probability"]) for r in rows])


def saliency(model, image):
    """Return how much the positive score changes with each pixel, (H, W)."""
    x = nnmed.Tensor(image, requires_grad=True)
    model(x)[0, 1].backward()
    return np.abs(x.grad.numpy()[0]).max(0)


def draw(folder):
    """Return the figure."""
    dataset, saved = load_run(folder)
    model = saved.model
    names, labels, probabilities = read_test(folder)
    ranked = sorted(np.flatnonzero(labels == 1), key=lambda i: -probabilities[i])
    if not ranked or len(ranked) == len(labels):
        raise DataError(
            f"{folder}: the test images are all of one class; there is no curve to draw"
        )
    figure = new_figure(9.0, 4.8)
    left, right = figure.subfigures(1, 2, width_ratios=[1.25, 1])
    left.suptitle("test images, the surest on the left", fontsize=10)
    axes = left.subplots(3, len(SHARES))
    for column, share in zip(axes.T, SHARES):
        case = ranked[int(share * (len(ranked) - 1))]
        sample = saved.prepare(dataset[dataset.names.index(names[case])])
        image = sample.image[None]
        for each, heat in zip(column, (None, saliency(model, image), grad_cam(model, image, 1)[0])):
            show(each, sample.image)
            if heat is not None:
                brightest = np.percentile(heat, 99.5) or 1
                each.imshow(heat, cmap="inferno", vmax=brightest, interpolation="nearest")
            if sample.mask is not None and sample.mask.any():
                each.contour(sample.mask, [0.5], colors="cyan", linewidths=0.8)
        column[0].set_title(f"p = {probabilities[case]:.2f}", fontsize=9)
    for each, text in zip(axes[:, 0], ("image", "|gradient| of\nthe score", "Grad-CAM")):
        each.set_ylabel(text, fontsize=9)
    draw_roc(right.subplots(), labels, probabilities, folder)
    if saved.config["synthetic"]:
        figure.supxlabel(SYNTHETIC, fontsize=10)
    return figure


def draw_roc(axes, labels, probabilities, folder):
    """Draw the ROC curve, with the areas that metrics.json gives."""
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    fpr, tpr, _ = roc_curve(labels, probabilities)
    own = area(metrics["test"]["scores"])
    axes.plot(fpr, tpr, color=BLUE, label="this network: {} [{}, {}]".format(*own))
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1)
    for name, scores in metrics["baselines_test"].items():
        axes.plot([], [], " ", label=f"{name}: {area(scores)[0]}")
    axes.set_title(f"ROC-AUC of {len(labels)} test images", fontsize=10)
    axes.set(xlabel="1 - specificity", ylabel="sensitivity", aspect="equal")
    axes.legend(loc="lower right", fontsize=7)
    frame(axes)


def area(scores):
    """Return the ROC-AUC and its interval as text; ``-`` where it is undefined."""
    numbers = (scores["roc_auc"][key] for key in ("value", "low", "high"))
    return [figure_text(np.nan if number is None else number) for number in numbers]


def main() -> int:
    parser = argparse.ArgumentParser(description="Draw what a trained detector looks at.")
    parser.add_argument("run", type=Path, help="a folder that detect_tumor.py wrote")
    parser.add_argument("picture", type=Path, help="the PNG to write")
    arguments = parser.parse_args()
    return run_command(lambda: save(draw(arguments.run), arguments.picture))


if __name__ == "__main__":
    sys.exit(main())
