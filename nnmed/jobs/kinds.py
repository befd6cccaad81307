"""The kinds of images that a detector learns to tell apart: often more than two.

"Malignant or not" lumps benign tumours together with healthy tissue, which look nothing alike.
A network that is told which is which learns features that serve the question, too; its answer
is then the sum of the probabilities of the positive kinds. (Caruana, "Multitask learning",
Machine Learning 28, 1997: training signals of related tasks make for better generalisation.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from nnmed.data.datasets import Dataset
from nnmed.data.sample import Sample

FEWEST = 10
"""A kind of fewer training images is not learnt by itself."""


@dataclass(frozen=True)
class Kinds:
    """What the network's outputs stand for.

    Attributes
    ----------
    names : list of str
        A name for each output. Those of a side that are too rare share an output.
    sides : list of int
        For each output whether it is negative (0) or positive (1).
    numbers : list of int
        For each image of the data set the output that should answer to it.
    """

    names: list[str]
    sides: list[int]
    numbers: list[int]

    def label(self, samples: Sequence[Sample], indices: Sequence[int]) -> list[Sample]:
        """Return the samples, images number `indices`, with their kinds as labels."""
        return [replace(s, label=self.numbers[i]) for s, i in zip(samples, indices)]


def find_kinds(dataset: Dataset, train: Sequence[int]) -> Kinds:
    """Return the kinds that the images number `train` are enough to learn."""
    counts = Counter((int(dataset.labels[i]), dataset.kinds[i]) for i in train)
    frequent = sorted(key for key, count in counts.items() if count >= FEWEST)
    keys = []
    for side in (0, 1):
        own = [key for key in frequent if key[0] == side]
        total = sum(count for (of, _), count in counts.items() if of == side)
        if sum(counts[key] for key in own) < total or not own:
            own.append((side, _rest_name(dataset, side, own)))
        keys += own
    place = {key: number for number, key in enumerate(keys)}
    rest = [max(n for n, (of, _) in enumerate(keys) if of == side) for side in (0, 1)]
    numbers = [
        place.get((label, kind), rest[label])
        for label, kind in zip(map(int, dataset.labels), dataset.kinds)
    ]
    return Kinds([name for _, name in keys], [side for side, _ in keys], numbers)


def _rest_name(dataset: Dataset, side: int, own) -> str:
    return f"other {dataset.classes[side]}" if own else dataset.classes[side]
