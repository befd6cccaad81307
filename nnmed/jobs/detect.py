"""Detection: does an image show a tumour? From image files to an honest evaluation."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace

import numpy as np

from nnmed.backend import random
from nnmed.backend.threads import set_num_threads
from nnmed.data.datasets import Dataset, open_dataset
from nnmed.data.leakage import check_leakage
from nnmed.data.loader import DataLoader
from nnmed.data.splits import complete_split
from nnmed.jobs import baselines, detect_report
from nnmed.jobs.environment import describe_environment
from nnmed.jobs.kinds import find_kinds
from nnmed.jobs.options import DetectOptions
from nnmed.jobs.preparation import Prepared, augmentation, fingerprint, prepare
from nnmed.jobs.recipe import default_epochs, train
from nnmed.jobs.run_folder import CONFIG, RunFolder
from nnmed.metrics import Score, Threshold, bagged_threshold, evaluate_binary
from nnmed.training import check_settings, predict_probabilities

THRESHOLD = "f1"


@dataclass
class Evaluation:
    """What the network says of one side of the split.

    Attributes
    ----------
    indices : numbers of the images in the data set.
    labels, probabilities : (n,) arrays.
    groups : the patient, or whatever must stay together, of each image.
    scores : dict from name to Score.
    """

    indices: list[int]
    labels: np.ndarray
    probabilities: np.ndarray
    groups: list[str]
    scores: dict[str, Score]


@dataclass
class Detection:
    """The result of a run; everything in it is also in the folder."""

    folder: RunFolder
    val: Evaluation
    test: Evaluation
    threshold: Threshold
    baselines: dict[str, dict[str, Score]]


def detect(options: DetectOptions) -> Detection:
    """Train and evaluate a tumour detector, and write the results to a folder.

    Raises
    ------
    UsageError, DataError, ModelError
        If options, data or a checkpoint are bad.
    """
    if options.threads is not None:
        set_num_threads(options.threads)
    random.seed(options.seed)
    sources = [("--data", options.data), ("--labels", options.labels)]
    sources = [(flag, path) for flag, path in sources if path is not None]
    folder = RunFolder(options.out, "detect", options.overwrite, options.resume, sources)
    try:
        return _detect(options, folder)
    finally:
        folder.close()


def _detect(options: DetectOptions, folder: RunFolder) -> Detection:
    start = time.perf_counter()
    synthetic = options.data is None
    dataset = _phantoms(folder, options) if synthetic else _users_data(options)
    splits = complete_split(
        dataset.labels, dataset.groups, dataset.splits, seed=options.seed, classes=dataset.classes
    )
    _introduce(dataset, splits, synthetic)
    prepared = prepare(dataset, splits, options.size)
    leaks = check_leakage(dataset, splits)
    print(leaks.summary(), flush=True)

    if options.epochs is None:
        options = replace(options, epochs=default_epochs(len(prepared.samples["train"])))
    kinds = find_kinds(dataset, prepared.indices["train"])
    if len(kinds.names) > 2:
        print(f"the network learns to tell apart: {', '.join(kinds.names)}")
    settings = {**options.settings(), "images": fingerprint(dataset, prepared)}
    if options.resume:
        _check_same(folder, settings)
    description = {
        "options": asdict(options),
        "settings": settings,
        "classes": list(dataset.classes),
        "kinds": {"names": kinds.names, "sides": kinds.sides},
        "synthetic": synthetic,
        "data": {"source": dataset.source, "notes": dataset.notes},
        "preprocessing": prepared.steps,
        "augmentation": augmentation().state(),
        "device": options.chosen_device(),
        "environment": describe_environment(),
    }
    if not synthetic:
        folder.open(description)
    folder.write_json(CONFIG, description)
    print(f"results go to {folder.path}", flush=True)
    model, rows, best_epoch = train(options, settings, prepared, kinds, folder.path)

    val = _predict(model, dataset, prepared, "val", options)
    threshold = bagged_threshold(val.labels, val.probabilities, THRESHOLD, val.groups, options.seed)
    test = _predict(model, dataset, prepared, "test", options)
    for side in (val, test):
        side.scores = evaluate_binary(
            side.labels, side.probabilities, threshold.value, side.groups, options.seed
        )
    beside = _baselines(dataset, prepared, val, test, options.seed)
    result = Detection(folder, val, test, threshold, beside)
    facts = {
        **description,
        "leakage": leaks.to_dict(),
        "best_epoch": best_epoch,
        "parameters": sum(p.numel() for p in model.parameters()),
        "wall_time_seconds": round(time.perf_counter() - start, 1),
    }
    model.to("cpu")  # the figures take a few images
    detect_report.write(result, dataset, prepared, model, rows, facts)
    detect_report.show(result, dataset, leaks, synthetic)
    return result


def _phantoms(folder: RunFolder, options: DetectOptions) -> Dataset:
    from tqdm import tqdm

    from nnmed.data.phantoms import COUNT, write_phantoms

    folder.open({"options": asdict(options), "settings": options.settings()})
    _check_same(folder, options.settings())
    path = folder / "phantoms"
    print(f"no --data given: making {COUNT} synthetic chest X-rays in {path}", flush=True)
    if not (path / "labels.csv").is_file():  # the table is written last
        with tqdm(total=COUNT, desc="phantoms", leave=False, disable=None) as bar:
            write_phantoms(path, COUNT, options.seed, lambda done, count: bar.update())
    return open_dataset(path, positive="nodule", group_column="patient")


def _check_same(folder: RunFolder, settings: dict) -> None:
    """Refuse to go on with a run of other settings, before anything of it is changed."""
    saved = folder.config().get("settings", {})
    both = saved.keys() & settings.keys()
    check_settings({name: saved[name] for name in both}, {name: settings[name] for name in both})


def _users_data(options: DetectOptions) -> Dataset:
    return open_dataset(
        options.data,
        labels=options.labels,
        label_column=options.label_column,
        positive=options.positive,
        group_column=options.group_column,
        split_column=options.split_column,
    )


def _introduce(dataset: Dataset, splits: list[str], synthetic: bool) -> None:
    print(dataset.source)
    for note in dataset.notes:
        print(f"  note: {note}")
    if synthetic:
        print("  SYNTHETIC data: scores say nothing about real patients")
    for side in ("train", "val", "test"):
        chosen = [i for i, name in enumerate(splits) if name == side]
        positive = int(dataset.labels[chosen].sum())
        groups = len({dataset.groups[i] for i in chosen})
        print(
            f"  {side:5} {len(chosen):5} images of {groups} groups: {positive} {dataset.classes[1]}"
        )


def _predict(model, dataset: Dataset, prepared: Prepared, side: str, options) -> Evaluation:
    loader = DataLoader(prepared.samples[side], options.batch_size)
    probabilities = predict_probabilities(model, loader, mirror=True, progress=side)[:, 1]
    indices = prepared.indices[side]
    groups = [dataset.groups[i] for i in indices]
    return Evaluation(indices, dataset.labels[indices], probabilities, groups, {})


def _baselines(dataset: Dataset, prepared: Prepared, val: Evaluation, test: Evaluation, seed: int):
    """Return the test scores of the baselines, fitted on train, chosen on validation."""
    sides = prepared.samples
    train_values = np.concatenate([s.image.ravel() for s in sides["train"]])
    low, high = float(train_values.min()), float(train_values.max())
    features = {
        "logistic regression, 28 x 28 pixels": baselines.pixel_features,
        "logistic regression, 32-bin histogram": lambda s: baselines.histogram_features(
            s, low, high
        ),
    }
    train_labels = dataset.labels[prepared.indices["train"]]
    result = {}
    for name, extract in features.items():
        x = {side: extract(samples) for side, samples in sides.items()}
        model = baselines.fit_best(x["train"], train_labels, x["val"], val.labels)
        threshold = bagged_threshold(
            val.labels, model.probabilities(x["val"]), THRESHOLD, val.groups, seed
        )
        result[name] = evaluate_binary(
            test.labels, model.probabilities(x["test"]), threshold.value, test.groups, seed
        )
    return result
