"""A classifier of many classes, asked for fewer."""

from __future__ import annotations

from collections.abc import Sequence

from nnmed import nn
from nnmed.errors import ShapeError, UsageError
from nnmed.ops.shape import stack
from nnmed.ops.softmax import logsumexp


class MergedClasses(nn.Module):
    """Scores of classes, some of which another network tells apart.

    The score of a merged class is the logarithm of the sum of exponentials of its parts'
    scores, s = ln sum_k exp(s_k). Softmax of such scores then gives the sum of the parts'
    probabilities.

    Parameters
    ----------
    network : Module with ``features`` and ``classify``
        Of K classes.
    groups : sequence of int
        For each of the K classes the number of the merged class, from 0 without gaps.

    Shape
    -----
    ``(N, C, H, W)`` to ``(N, number of merged classes)``, or whatever leading dimensions the
    network's scores have.

    Raises
    ------
    UsageError
        If the numbers of the merged classes have gaps.
    ShapeError
        When called, if the network has another number of classes.
    """

    def __init__(self, network: nn.Module, groups: Sequence[int]):
        super().__init__()
        groups = list(groups)
        if not groups or set(groups) != set(range(max(groups) + 1)):
            raise UsageError(f"MergedClasses: groups must be 0, 1, ... without gaps, got {groups}")
        self.network, self.classes = network, len(groups)
        self.parts = [
            [k for k, group in enumerate(groups) if group == wanted]
            for wanted in range(max(groups) + 1)
        ]

    def features(self, x):
        """Return the network's last feature map."""
        return self.network.features(x)

    def classify(self, features):
        """Return the merged scores of a feature map."""
        scores = self.network.classify(features)
        if scores.shape[-1] != self.classes:
            raise ShapeError(
                f"MergedClasses: the network has {scores.shape[-1]} classes, groups {self.classes}"
            )
        columns = [scores[..., k] for k in range(self.classes)]
        merged = [stack([columns[k] for k in part], dim=-1) for part in self.parts]
        return stack([logsumexp(part, -1) for part in merged], dim=-1)

    def forward(self, x):
        return self.classify(self.features(x))
