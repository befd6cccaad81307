"""What losses of segmentation take: logits and a map of integer labels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from nnmed.autograd import Tensor
from nnmed.backend.arrays import array_module, empty_like
from nnmed.errors import DTypeError, ShapeError, UsageError
from nnmed.ops.activation import sigmoid
from nnmed.ops.arguments import as_tensor, check_same_dtype, is_checked
from nnmed.ops.shape import concatenate
from nnmed.ops.softmax import softmax


class Segmentation(NamedTuple):
    """Checked arguments of a loss.

    ``input`` (N, C, ...) holds logits; ``labels`` (N, ...) integers, 0 where ignored;
    ``kept`` (N, ...) tells which pixels count, or is None if all do.
    """

    input: Tensor
    labels: np.ndarray
    kept: np.ndarray | None

    @property
    def probabilities(self) -> Tensor:
        """The sigmoid of a single logit, else the softmax over the classes, (N, C, ...)."""
        return sigmoid(self.input) if self.input.shape[1] == 1 else softmax(self.input, 1)

    def with_background(self) -> Segmentation:
        """Return a single logit x as two, 0 and x, whose softmax is its sigmoid."""
        x = self.input
        if x.shape[1] > 1:
            return self
        zero = Tensor._wrap(array_module(x._array).zeros_like(x._array))
        return self._replace(input=concatenate([zero, x], 1))

    def marked(self) -> Tensor:
        """Return the labels with -1 where ignored."""
        if self.kept is None:
            return Tensor._wrap(self.labels)
        return Tensor._wrap(
            array_module(self.labels).where(self.kept, self.labels.astype(np.int32), -1)
        )

    def one_hot(self):
        """Return 1 where a class is, (N, C, ...) in the input's dtype and layout.

        A single channel is that of class 1. Ignored pixels belong to no class.
        """
        result = empty_like(self.input._array)
        first = 1 if result.shape[1] == 1 else 0
        for channel in range(result.shape[1]):
            here = self.labels == channel + first
            result[:, channel] = here if self.kept is None else here & self.kept
        return result

    def volumes(self):
        """Return how many pixels each class has in each image, (N, C) in the input's dtype."""
        images, classes = self.input.shape[:2]
        labels = self.labels.reshape(images, -1)
        kept = None if self.kept is None else self.kept.reshape(images, -1)
        result = array_module(labels).empty((images, max(classes, 2)), self.input.dtype)
        if is_checked(labels):
            for n, row in enumerate(labels):
                row = row if kept is None else row[kept[n]]
                result[n] = np.bincount(row, minlength=result.shape[1])
        else:  # bincount asks the host how many labels there are
            for label in range(result.shape[1]):
                here = labels == label
                result[:, label] = (here if kept is None else here & kept).sum(axis=1)
        return result[:, 1:] if classes == 1 else result

    def count(self):
        """Return how many pixels are not ignored, as a number or, on a GPU, a 0-d array."""
        return self.labels.size if self.kept is None else self.kept.sum()


def segmentation(name: str, input, target, ignore_index: int) -> Segmentation:
    """Check the arguments of the loss `name`.

    Raises
    ------
    ShapeError
        Unless input is (N, C, ...) and target (N, ...) or (N, 1, ...).
    DTypeError
        Unless the input is float and the target integer or bool.
    UsageError
        If the target holds a label that is no class and not ignored. On a GPU, where looking
        for it would wait for the card, the input returned is NaN instead.
    """
    x, target = as_tensor(input), as_tensor(target)
    check_same_dtype(name, input=x)
    if x.ndim < 3 or x.shape[1] == 0:
        raise ShapeError(
            f"{name}: input must be logits (N, C, H, W) or (N, C, D, H, W), C > 0; got {x.shape}"
        )
    labels = target._array
    if labels.dtype.kind not in "biu":
        raise DTypeError(f"{name}: target must hold integer labels, got {labels.dtype}")
    shape = (x.shape[0], *x.shape[2:])
    if labels.shape == (x.shape[0], 1, *x.shape[2:]):
        labels = labels.reshape(shape)
    if labels.shape != shape:
        raise ShapeError(
            f"{name}: target {target.shape} must be {shape} or {(shape[0], 1, *shape[1:])} for "
            f"input {x.shape}"
        )
    if labels.dtype == bool:
        labels = labels.view(np.uint8)
    classes = max(x.shape[1], 2)
    if is_checked(labels):
        kept = _kept(name, labels, classes, ignore_index)
    else:
        kept, wrong = _unchecked(labels, classes, ignore_index)
        x = x * Tensor._wrap(np.where(wrong, x.dtype.type(np.nan), x.dtype.type(1)))
    if kept is not None:
        labels = array_module(labels).where(kept, labels, 0)
    # A copy, which no later change of the target can reach; small numbers compare faster.
    return Segmentation(x, labels.astype(np.uint8 if x.shape[1] <= 256 else np.int32), kept)


def _kept(name, labels, classes, ignore_index):
    """Return where labels are not ignored, or None if none is."""
    if not labels.size or (labels.min() >= 0 and labels.max() < classes):
        inside = None
        if not 0 <= ignore_index < classes:
            return None
    else:
        inside = (labels >= 0) & (labels < classes)
    kept = labels != ignore_index
    if inside is not None and (kept & ~inside).any():
        place = tuple(int(i[0]) for i in np.nonzero(kept & ~inside))
        raise UsageError(
            f"{name}: target holds the label {int(labels[place])} at {place}, but there are "
            f"{classes} classes: 0 to {classes - 1}; turn a mask of 0 and 255 into mask > 0, or "
            f"name the label to ignore as ignore_index"
        )
    return None if kept.all() else kept


def _unchecked(labels, classes, ignore_index):
    """Return where labels are not ignored, or None if none can be, and whether any is wrong."""
    numbers = labels.astype(np.int64)  # a number beyond the range of uint8 is not compared with it
    wrong = (numbers < 0) | (numbers >= classes)
    if labels.dtype.kind == "u" and ignore_index < 0:
        return None, wrong.any()
    kept = numbers != ignore_index
    return kept, (kept & wrong).any()
