"""Predictions of a trained model over a data set."""

from __future__ import annotations

import numpy as np

from nnmed import functional as F
from nnmed.autograd import Tensor, no_grad
from nnmed.data.loader import DataLoader
from nnmed.nn import Module
from nnmed.nn.utils import fold_batch_norms
from nnmed.training.feed import device_of_model, feed
from nnmed.training.out_of_memory import explaining_out_of_memory


@no_grad()
def predict_probabilities(
    model: Module, loader: DataLoader, mirror: bool = False, progress: str | None = None
) -> np.ndarray:
    """Return the class probabilities of all samples, in order, as an array (N, K).

    A copy of the model in evaluation, on the same device, does it; its batch norms are folded
    into its convolutions.

    Parameters
    ----------
    model : Module
        Gives class scores (logits), which softmax makes probabilities.
    loader : DataLoader
        Not shuffled.
    mirror : bool
        Average over each image and its mirror image, left to right.
    progress : str, optional
        Title of a bar on the terminal; no bar without it.

    Raises
    ------
    DeviceError
        If the GPU's memory is too small for a batch.
    """
    from tqdm import tqdm

    results, device = [], device_of_model(model)
    batches = feed(loader, device)
    bar = tqdm(batches, progress, len(loader), leave=False, disable=None if progress else True)
    with explaining_out_of_memory(device, f"in prediction by batches of {loader.batch_size}"):
        for batch in bar:
            image = Tensor._wrap(batch.image)
            if not results:
                model = fold_batch_norms(model, image[:1])
            probability = F.softmax(model(image), dim=-1)
            if mirror:
                mirrored = F.softmax(model(image[:, :, :, ::-1]), dim=-1)
                probability = (probability + mirrored) * 0.5
            results.append(probability.numpy())
    return np.concatenate(results) if results else np.zeros((0, 0), np.float32)
