"""nnmed's side of a workload."""

from __future__ import annotations

import numpy as np

import nnmed
from benchmarks.networks import Workload
from nnmed import functional as F
from nnmed import optim
from nnmed.backend.arrays import as_channels_last
from nnmed.data.loader import Batch
from nnmed.nn.utils import fold_batch_norms
from nnmed.training.cuda_graph import WARM_UP, CapturedStep
from nnmed.training.step import TrainingStep


class NnmedNetwork:
    """A network in training and in inference.

    Attributes
    ----------
    steps : dict from str to callable
        ``"training"``: gradients to zero, forward, loss, backward, AdamW's step;
        ``"inference"``: forward without a graph, with running statistics, which are folded
        into the convolutions beforehand.
    """

    name = "nnmed"

    def __init__(self, workload: Workload, dtype=np.float32, device: str = "cpu"):
        nnmed.seed(0)
        self.model = workload.build().to(dtype).to(device)
        images = as_channels_last(workload.images().astype(dtype))
        self.images = nnmed.from_numpy(images).to(device)
        self.labels = nnmed.from_numpy(workload.labels()).to(device)
        self.optimizer = optim.AdamW(self.model.parameters(), lr=1e-4)
        train = self.train if device == "cpu" else self._captured()
        self.steps = {"training": train, "inference": self.infer}
        self._folded = None

    def train(self) -> None:
        self.model.train()
        self.optimizer.zero_grad()
        F.cross_entropy(self.model(self.images), self.labels).backward()
        self.optimizer.step()

    def _captured(self):
        """Return the training step as the Trainer does it on a GPU, as a CUDA graph."""
        step = TrainingStep(self.model, self.optimizer, _loss)
        captured = CapturedStep(step, required=True)
        batch = Batch(self.images._array, self.labels._array, [None] * len(self.images))

        def train():
            self.model.train()
            captured(batch)

        for _ in range(WARM_UP + 2):  # the rehearsal and the capture
            train()
        return train

    def infer(self):
        if self._folded is None:
            self._folded = fold_batch_norms(self.model, self.images[:1])
        with nnmed.no_grad():
            return self._folded(self.images)

    def state(self) -> dict:
        """Return the weights and buffers as arrays."""
        return {name: t.numpy().copy() for name, t in self.model.state_dict().items()}

    def results(self) -> dict:
        """Return loss and gradients of a training step, and the scores of inference."""
        self.model.train()
        loss = F.cross_entropy(self.model(self.images), self.labels)
        parameters = dict(self.model.named_parameters())
        gradients = nnmed.grad(loss, list(parameters.values()))
        results = {"loss": loss.numpy()}
        for name, gradient in zip(parameters, gradients):
            results[f"gradient of {name}"] = gradient.numpy()
        return {**results, "scores": self.infer().numpy()}


def _loss(output, batch):
    return F.cross_entropy(output, nnmed.Tensor(batch.label))
