"""Detection: does an image show a tumour? From image files to an honest evaluation."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass

import numpy as np

from nnmed import functional as F
from nnmed import models
from nnmed.autograd import Tensor
from nnmed.backend import random
from nnmed.backend.threads import set_num_threads
from nnmed.data.datasets import Dataset, open_dataset
from nnmed.data.leakage import check_leakage
from nnmed.data.loader import Batch, DataLoader
from nnmed.data.splits import complete_split
from nnmed.jobs import baselines, detect_report
from nnmed.jobs.environment import describe_environment
from nnmed.jobs.options import DetectOptions
from nnmed.jobs.preparation import Prepared, augmentation, fingerprint, prepare
from nnmed.jobs.run_folder import CONFIG, RunFolder
from nnmed.metrics import Score, Threshold, choose_threshold, evaluate_binary, roc_auc
from nnmed.optim import AdamW
from nnmed.optim.lr_scheduler import OneCycleLR
from nnmed.training import Trainer, check_settings, predict_probabilities

LABEL_SMOOTHING = 0.05
WEIGHT_DECAY = 0.05
DROPOUT = 0.2


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

    settings = {**options.settings(), "images": fingerprint(dataset, prepared)}
    if options.resume:
        _check_same(folder, settings)
    description = {
        "options": asdict(options),
        "settings": settings,
        "classes": list(dataset.classes),
        "synthetic": synthetic,
        "data": {"source": dataset.source, "notes": dataset.notes},
        "preprocessing": prepared.steps,
        "augmentation": augmentation().state(),
        "environment": describe_environment(),
    }
    if not synthetic:
        folder.open(description)
    folder.write_json(CONFIG, description)
    print(f"results go to {folder.path}", flush=True)
    model, rows, best_epoch = _train(options, settings, prepared, folder)

    val = _predict(model, dataset, prepared, "val", options)
    threshold = choose_threshold(val.labels, val.probabilities, "youden")
    test = _predict(model, dataset, prepared, "test", options)
    for side in (val, test):
        side.scores = evaluate_binary(
            side.labels, side.probabilities, threshold.value, side.groups, options.seed
        )
    beside = _baselines(dataset, prepared, test, options.seed)
    result = Detection(folder, val, test, threshold, beside)
    facts = {
        **description,
        "leakage": leaks.to_dict(),
        "best_epoch": best_epoch,
        "parameters": sum(p.numel() for p in model.parameters()),
        "wall_time_seconds": round(time.perf_counter() - start, 1),
    }
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


def _train(options: DetectOptions, settings: dict, prepared: Prepared, folder: RunFolder):
    train, val = prepared.samples["train"], prepared.samples["val"]
    channels = train[0].image.shape[0]
    model = models.build(options.model, channels, 2, dropout=DROPOUT)
    batch_size = min(options.batch_size, len(train))
    loader = DataLoader(
        train,
        batch_size,
        shuffle=True,
        seed=options.seed,
        workers=options.workers,
        transform=augmentation(),
        drop_last=True,
    )
    optimizer = AdamW(_decay_groups(model), lr=options.lr)
    schedule = OneCycleLR(
        optimizer, options.lr, total_steps=options.epochs * len(loader), pct_start=0.2
    )
    val_loader = DataLoader(val, options.batch_size)
    val_labels = np.array([sample.label for sample in val])

    def validate(model) -> dict[str, float]:
        probability = predict_probabilities(model, val_loader).astype(np.float64)
        chosen = probability[np.arange(len(val)), val_labels]
        loss = float(-np.log(np.maximum(chosen, 1e-12)).mean())
        return {"val_loss": loss, "val_roc_auc": float(roc_auc(val_labels, probability[:, 1]))}

    trainer = Trainer(
        model,
        optimizer,
        _loss,
        epochs=options.epochs,
        folder=folder.path,
        validate=validate,
        schedule=schedule,
        monitor="val_loss",
        settings=settings,
        report=lambda row: _report_epoch(row, options.epochs),
    )
    rows = trainer.fit(loader, resume=options.resume)
    return model, rows, trainer.load_best()


def _decay_groups(model) -> list[dict]:
    """Decay the weights, but not biases or the scales of batch norm."""
    parameters = list(model.parameters())
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": WEIGHT_DECAY},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _loss(output: Tensor, batch: Batch) -> Tensor:
    return F.cross_entropy(output, Tensor(batch.label), label_smoothing=LABEL_SMOOTHING)


def _report_epoch(row: dict, epochs: int) -> None:
    print(
        f"epoch {row['epoch']:3}/{epochs}  loss {row['train_loss']:.4f}  "
        f"val loss {row['val_loss']:.4f}  val ROC-AUC {row['val_roc_auc']:.3f}  "
        f"{row['seconds']:.1f} s",
        flush=True,
    )


def _predict(model, dataset: Dataset, prepared: Prepared, side: str, options) -> Evaluation:
    loader = DataLoader(prepared.samples[side], options.batch_size)
    probabilities = predict_probabilities(model, loader, mirror=True, progress=side)[:, 1]
    indices = prepared.indices[side]
    groups = [dataset.groups[i] for i in indices]
    return Evaluation(indices, dataset.labels[indices], probabilities, groups, {})


def _baselines(dataset: Dataset, prepared: Prepared, test: Evaluation, seed: int):
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
    labels = {side: dataset.labels[prepared.indices[side]] for side in sides}
    result = {}
    for name, extract in features.items():
        x = {side: extract(samples) for side, samples in sides.items()}
        model = baselines.fit_best(x["train"], labels["train"], x["val"], labels["val"])
        threshold = choose_threshold(labels["val"], model.probabilities(x["val"]), "youden")
        result[name] = evaluate_binary(
            labels["test"], model.probabilities(x["test"]), threshold.value, test.groups, seed
        )
    return result
