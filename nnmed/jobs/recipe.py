"""How a detector is trained: network, loss, optimizer, schedule, and their constants.

Chosen by grouped cross-validation on ultrasound images, never on test images.
"""

from __future__ import annotations

import numpy as np

from nnmed import functional as F
from nnmed import models
from nnmed.autograd import Tensor
from nnmed.backend.arrays import array_module
from nnmed.data.loader import Batch, DataLoader
from nnmed.jobs.kinds import Kinds
from nnmed.jobs.options import DetectOptions
from nnmed.jobs.preparation import Prepared, augmentation
from nnmed.metrics import roc_auc
from nnmed.optim import AdamW
from nnmed.optim.lr_scheduler import OneCycleLR
from nnmed.preprocessing import OnDevice
from nnmed.training import Trainer, predict_probabilities

WEIGHT_DECAY = 0.05
DROPOUT = 0.2
WINDOW = 5  # epochs over whose validation loss the mean is taken to choose the best
WARM_UP = 0.2  # share of the steps in which the learning rate rises
IMAGES_SEEN = 22_000
FEWEST_EPOCHS, MOST_EPOCHS = 8, 40


def default_epochs(count: int) -> int:
    """Return how many epochs show about 22,000 images, of `count` in the training set."""
    return int(np.clip(round(IMAGES_SEEN / count), FEWEST_EPOCHS, MOST_EPOCHS))


def train(options: DetectOptions, settings: dict, prepared: Prepared, kinds: Kinds, folder):
    """Train, and return the model with its best weights, the history, and the best epoch.

    The networks tell the kinds apart, the model that is returned the two classes.
    """
    samples = kinds.label(prepared.samples["train"])
    val, channels = prepared.samples["val"], samples[0].image.shape[0]
    network = models.build(
        options.model, channels, len(kinds.names), options.networks, dropout=DROPOUT
    )
    device = options.chosen_device()
    model = models.MergedClasses(network, kinds.sides).to(device)
    batch_size = min(options.batch_size, len(samples))
    loader = DataLoader(
        samples,
        batch_size,
        shuffle=True,
        seed=options.seed,
        workers=options.workers,
        transform=augmentation() if device == "cpu" else OnDevice(augmentation()),
        drop_last=True,
    )
    optimizer = AdamW(_decay_groups(network), lr=options.lr)
    schedule = OneCycleLR(
        optimizer, options.lr, total_steps=options.epochs * len(loader), pct_start=WARM_UP
    )
    val_loader = DataLoader(val, options.batch_size)
    val_labels = np.array([sample.label for sample in val])

    def validate(_) -> dict[str, float]:
        probability = predict_probabilities(model, val_loader).astype(np.float64)
        chosen = probability[np.arange(len(val)), val_labels]
        loss = float(-np.log(np.maximum(chosen, 1e-12)).mean())
        return {"val_loss": loss, "val_roc_auc": float(roc_auc(val_labels, probability[:, 1]))}

    trainer = Trainer(
        network,
        optimizer,
        _loss,
        epochs=options.epochs,
        folder=folder,
        validate=validate,
        schedule=schedule,
        monitor="val_loss",
        window=WINDOW,
        cuda_graph={"auto": "auto", "on": True, "off": False}[options.cuda_graph],
        autocast=None if options.autocast == "off" else options.autocast,
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
    # The mean over the members of an ensemble, too: their number scales each one's gradient,
    # which AdamW does not see.
    scores = output.reshape(-1, output.shape[-1])
    labels = array_module(batch.label).tile(batch.label, len(scores) // len(batch.label))
    return F.cross_entropy(scores, Tensor(labels))


def _report_epoch(row: dict, epochs: int) -> None:
    print(
        f"epoch {row['epoch']:3}/{epochs}  loss {row['train_loss']:.4f}  "
        f"val loss {row['val_loss']:.4f}  val ROC-AUC {row['val_roc_auc']:.3f}  "
        f"{row['seconds']:.1f} s",
        flush=True,
    )
