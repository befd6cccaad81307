"""Several networks as one."""

from __future__ import annotations

from collections.abc import Sequence

from nnmed import nn
from nnmed.errors import UsageError
from nnmed.ops.shape import concatenate, split, stack


class Ensemble(nn.Module):
    """The mean of the scores of several networks.

    What each has learnt by chance differs, and averages out (Lakshminarayanan et al., "Simple
    and scalable predictive uncertainty estimation using deep ensembles", NeurIPS 2017; the
    mean of scores instead of probabilities keeps Grad-CAM's gradient from fading where all
    are sure).

    Parameters
    ----------
    members : sequence of Module with ``features`` and ``classify``
        Of one architecture, with initial weights of their own.

    Shape
    -----
    ``(N, C, H, W)`` to ``(N, K)``; in training to ``(M, N, K)``, the scores of each of the M
    members, since each is to learn by itself.

    Raises
    ------
    UsageError
        If there is no member, or they have parameters of different shapes.
    """

    def __init__(self, members: Sequence[nn.Module]):
        super().__init__()
        members = list(members)
        shapes = [[p.shape for p in member.parameters()] for member in members]
        if not shapes or any(each != shapes[0] for each in shapes):
            raise UsageError("Ensemble: needs at least one member, all of one architecture")
        self.members = nn.ModuleList(members)

    def features(self, x):
        """Return the members' last feature maps, one after the other along the channels."""
        return concatenate([member.features(x) for member in self.members], dim=1)

    def classify(self, features):
        """Return the scores of what :meth:`features` returned."""
        parts = split(features, features.shape[1] // len(self.members), dim=1)
        scores = stack([m.classify(part) for m, part in zip(self.members, parts)])
        return scores if self.training else scores.mean(0)

    def forward(self, x):
        return self.classify(self.features(x))
