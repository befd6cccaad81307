"""Several transforms, one after the other."""

from __future__ import annotations

from collections.abc import Iterable

from nnmed.errors import UsageError
from nnmed.preprocessing.transform import Transform, from_state


class Compose(Transform):
    """Apply `transforms` in order; each writes its own step into the history.

    Parameters
    ----------
    transforms : iterable of Transform
    """

    def __init__(self, transforms: Iterable[Transform]):
        self.transforms = list(transforms)

    def __call__(self, sample, rng=None):
        for transform in self.transforms:
            sample = transform(sample, rng)
        return sample

    def replay(self, sample, parameters):
        """Apply recorded steps: the last ``len(transforms)`` entries of a history.

        Raises
        ------
        UsageError
            If the steps are not those of these transforms, in their order. (Steps of a
            Compose inside a Compose stand in one row.)
        """
        transforms, steps = list(self._flat()), list(parameters)
        expected, found = [t.name for t in transforms], [name for name, _ in steps]
        if expected != found:
            raise UsageError(
                f"cannot replay: the steps must be {expected}, the history has {found}"
            )
        for transform, (_, drawn) in zip(transforms, steps):
            sample = transform.replay(sample, drawn)
        return sample

    def state(self):
        return {"name": self.name, "transforms": [t.state() for t in self.transforms]}

    @classmethod
    def from_state(cls, state):
        return cls(from_state(inner) for inner in state["transforms"])

    def __repr__(self):
        return f"Compose({self.transforms!r})"

    def _flat(self):
        for transform in self.transforms:
            if isinstance(transform, Compose):
                yield from transform._flat()
            else:
                yield transform
