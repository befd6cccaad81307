"""Normalisations, spelt out number by number: mean, variance, what is normalised, gradients.

They differ in which entries have mean and variance in common, and which have weight and bias.
"""

from __future__ import annotations

import numpy as np

from nnmed.backend.arrays import to_device
from nnmed.explain.numerals import each, nested, number, number_text, total
from nnmed.ops.group_normalization import GroupNorm
from nnmed.ops.layer_normalization import LayerNorm, RMSNorm
from nnmed.ops.normalization import (
    BatchNorm,
    BatchNormInference,
    BatchNormRelu,
    BatchNormReluInference,
)


def _by_channel(op, n, c):
    return c, c


def _by_group(op, n, c):
    channels = c.max() + 1
    return n * op.groups + c * op.groups // channels, c


def _by_row(op, n, c):
    return n, c


# For each op, by image n and channel c of all entries: the number of the group whose mean and
# variance an entry is normalised by, and the number of its weight and bias.
OPS = {
    BatchNorm: _by_channel,
    BatchNormRelu: _by_channel,
    BatchNormInference: _by_channel,
    BatchNormReluInference: _by_channel,
    GroupNorm: _by_group,
    LayerNorm: _by_row,
    RMSNorm: _by_row,
}


def definitions(step) -> list:
    """Return (name, numbers, result) of the statistics and of what is normalised."""
    return _Normalization(step).definitions()


def output(step, values) -> str:
    """Return the normalised entries, scaled and moved, in numbers."""
    return _Normalization(step).output()


def gradient(step, values, position: int) -> str:
    """Return the gradient by an input in numbers."""
    norm = _Normalization(step)
    return [norm.by_x, norm.by_weight, norm.by_bias][position]()


class _Normalization:
    """A normalisation of a small array, in float64.

    Attributes
    ----------
    group, channel : array of int
        Of each entry of x, as in :data:`OPS`.
    mean, var : array
        Of each group; of root-mean-square normalisation the mean is 0.
    normal : array
        What is normalised.
    """

    def __init__(self, step):
        self.step, self.op, self.shape = step, step.op, step.shape
        x, weight, bias = (*step.input_values, None, None)[:3]
        self.x, self.dy = x.astype(np.float64), step.gradient
        self.group, self.channel = OPS[type(step.op)](step.op, *np.indices(x.shape)[:2])
        channels = self.channel.max() + 1
        self.weight = np.ones(channels) if weight is None else weight
        self.bias = np.zeros(channels) if bias is None else bias
        self.is_centred = getattr(step.op, "centred", True)
        self.are_given = isinstance(step.op, BatchNormInference)
        self.mean, self.var = self.moments()
        self.scale = np.sqrt(self.var + step.op.eps)
        self.normal = (self.x - self.mean[self.group]) / self.scale[self.group]
        if getattr(step.op, "relu", False):
            self.dy = self.dy * (step.output_value > 0)

    def moments(self):
        """Return mean and variance of each group."""
        if self.are_given:
            return [to_device(moment, "cpu") for moment in self.op.moments]
        groups = [self.x[self.group == g] for g in range(self.group.max() + 1)]
        mean = np.array([x.mean() if self.is_centred else 0.0 for x in groups])
        return mean, np.array([np.square(x - m).mean() for x, m in zip(groups, mean)])

    def definitions(self) -> list:
        """Return (name, numbers, result) of mean, variance and what is normalised."""
        normal = "xhat", each(self.shape, self.normalised), number_text(self.normal)
        if self.are_given:
            return [normal]
        squares = self.means(lambda x, g: f"{self.from_mean(x, g)}^2")
        if not self.is_centred:
            roots = [f"sqrt({mean} + {number(self.op.eps)})" for mean in squares]
            return [("s", nested(roots, self.scale.shape), number_text(self.scale)), normal]
        means = self.means(lambda x, g: number(x))
        return [
            ("mu", nested(means, self.mean.shape), number_text(self.mean)),
            ("sigma^2", nested(squares, self.var.shape), number_text(self.var)),
            normal,
        ]

    def means(self, spell) -> list[str]:
        """Return the mean of what is spelt for the entries of each group."""
        groups = [self.x[self.group == g] for g in range(len(self.mean))]
        return [
            f"1/{len(entries)} * ({total(spell(x, g) for x in entries)})"
            for g, entries in enumerate(groups)
        ]

    def from_mean(self, x, g) -> str:
        """Return the distance of an entry from the mean of its group."""
        return f"({number(x)} - {number(self.mean[g])})" if self.is_centred else number(x)

    def root(self, place) -> str:
        """Return what an entry is divided by."""
        g = self.group[place]
        if self.is_centred:
            return f"sqrt({number(self.var[g])} + {number(self.op.eps)})"
        return number(self.scale[g])

    def normalised(self, place) -> str:
        """Return an entry of what is normalised."""
        return f"{self.from_mean(self.x[place], self.group[place])}/{self.root(place)}"

    def output(self) -> str:
        """Return the entries scaled by the weight and moved by the bias."""
        return each(self.shape, self.moved)

    def moved(self, place) -> str:
        """Return an entry of the output."""
        c = self.channel[place]
        text = f"{number(self.weight[c])} * {number(self.normal[place])}"
        text += f" + {number(self.bias[c])}" if self.is_centred else ""
        return f"max({text}, 0)" if getattr(self.op, "relu", False) else text

    def by_x(self) -> str:
        """Return the gradient by x: one term, less what goes through mean and variance."""
        return each(self.shape, self.one_by_x)

    def one_by_x(self, place) -> str:
        """Return an entry of the gradient by x."""
        g = self.weight[self.channel] * self.dy
        if self.are_given:
            return f"{number(g[place])}/{self.root(place)}"
        mine = self.group == self.group[place]
        m, pairs = mine.sum(), zip(g[mine], self.normal[mine])
        by_mean = f" - 1/{m} * ({total(map(number, g[mine]))})" if self.is_centred else ""
        by_var = total(f"{number(a)} * {number(b)}" for a, b in pairs)
        by_var = f" - {number(self.normal[place])}/{m} * ({by_var})"
        return f"1/{self.root(place)} * ({number(g[place])}{by_mean}{by_var})"

    def by_weight(self) -> str:
        """Return the gradient by the weight."""
        return self.of_channels(lambda at: f"{number(self.normal[at])} * {number(self.dy[at])}")

    def by_bias(self) -> str:
        """Return the gradient by the bias."""
        return self.of_channels(lambda at: number(self.dy[at]))

    def of_channels(self, spell) -> str:
        """Return the sum of what is spelt for all entries of each channel."""
        channels = range(len(self.weight))
        places = ([tuple(at) for at in np.argwhere(self.channel == c)] for c in channels)
        return nested((total(map(spell, at)) for at in places), (len(channels),))
