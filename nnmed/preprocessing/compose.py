"""Several transforms, one after the other; and many samples at a time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from nnmed.backend.arrays import as_channels_last
from nnmed.data.loader import Batch
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


class OnDevice:
    """Augment whole batches on the device of the model, with the draws of single samples.

    A loader's workers only draw: they call this in the place of `augment`, which writes the steps
    into the history of a sample and leaves its pixels. :func:`nnmed.training.feed.feed` has
    :meth:`finish` take the steps when the batch is on the device. Images are those that `augment`
    makes, up to rounding.

    Parameters
    ----------
    augment : Transform
        One that has ``apply_batch``, or a Compose of such.

    Raises
    ------
    UsageError
        If a transform has it not; when called, if the sample has a mask or boxes, which would
        not follow the image.
    """

    def __init__(self, augment: Transform):
        self._transforms = list(Compose([augment])._flat())
        for transform in self._transforms:
            if not _works_on_batches(type(transform)):
                raise UsageError(
                    f"{transform.name} does not work on whole batches: leave it to the loader"
                )

    def __call__(self, sample, rng=None):
        if sample.mask is not None or sample.boxes is not None:
            raise UsageError(
                "OnDevice moves images alone, and this sample has a mask or boxes: give the "
                "transform to the loader as it is"
            )
        steps = [(transform.name, transform.draw(sample, rng)) for transform in self._transforms]
        return replace(sample, history=(*sample.history, *steps))

    def finish(self, batch: Batch) -> Batch:
        """Return the batch with augmented images; its samples keep their pixels."""
        images, first = batch.image, -len(self._transforms)
        for position, transform in enumerate(self._transforms, first):
            parameters = [sample.history[position][1] for sample in batch.samples]
            images = transform.apply_batch(images, batch.samples, parameters)
        return replace(batch, image=as_channels_last(images))


def _works_on_batches(kind: type) -> bool:
    """Tell whether a class says how to change a batch, by the rule that it has for an image."""
    owner = next(base for base in kind.__mro__ if "apply_batch" in vars(base))
    rule = next((base for base in kind.__mro__ if "apply" in vars(base)), owner)
    return owner is not Transform and issubclass(owner, rule)
