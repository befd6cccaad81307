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
    targets : list of int
        For each training image, in order, the output that should answer to it.
    """

    names: list[str]
    sides: list[int]
    targets: list[int]

    def label(self, samples: Sequence[Sample]) -> list[Sample]:
        """Return the training samples with their targets as labels."""
        return [replace(sample, label=target) for sample, target in zip(samples, self.targets)]


def find_kinds(dataset: Dataset, train: Sequence[int]) -> Kinds:
    """Return the kinds that the images number `train` are enough to learn."""
    found = [(int(dataset.labels[i]), dataset.kinds[i]) for i in train]
    counts, outputs = Counter(found), []
    for side in (0, 1):
        own = sorted(key for key in counts if key[0] == side)
        frequent = [key for key in own if counts[key] >= FEWEST]
        if len(frequent) < max(1, len(own)):
            frequent.append((side, _rest_name(dataset, side, frequent)))
        outputs += frequent
    sides = [side for side, _ in outputs]
    last = {side: number for number, side in enumerate(sides)}  # the rest, where there is one
    place = {key: number for number, key in enumerate(outputs)}
    targets = [place.get(key, last[key[0]]) for key in found]
    return Kinds([name for _, name in outputs], sides, targets)


def _rest_name(dataset: Dataset, side: int, own) -> str:
    return f"other {dataset.classes[side]}" if own else dataset.classes[side]
