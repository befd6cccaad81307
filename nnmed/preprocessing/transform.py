"""The base of all transforms: draw parameters, apply them, write them down."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from nnmed.backend.arrays import device_of, to_device
from nnmed.data.sample import Sample
from nnmed.errors import DTypeError, ShapeError, UsageError


class Transform:
    """One step on a sample.

    A subclass is a dataclass whose fields are its settings. It overrides :meth:`apply`
    and, where its parameters depend on chance or on the sample, :meth:`draw`. Neither may
    change its input; arrays that a step leaves as they are may be shared with the input.
    """

    _classes: ClassVar[dict[str, type[Transform]]] = {}

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if not cls.__name__.startswith("_"):
            Transform._classes[cls.__name__] = cls

    def __call__(self, sample: Sample, rng: np.random.Generator | None = None) -> Sample:
        """Return the transformed sample; deterministic transforms ignore `rng`.

        Raises
        ------
        ShapeError, DTypeError
            If the image is not a float32 array of shape (C, H, W) without empty sides.
        UsageError
            If a random transform gets no generator, or a fitted one was not fitted.
        """
        _check_image(sample)
        return self.replay(sample, self.draw(sample, rng))

    def replay(self, sample: Sample, parameters: dict) -> Sample:
        """Return `sample` transformed with recorded `parameters`: the same bytes again."""
        result = self.apply(sample, **parameters)
        return dataclasses.replace(result, history=(*sample.history, (self.name, parameters)))

    def draw(self, sample: Sample, rng: np.random.Generator | None) -> dict:
        """Return the parameters of :meth:`apply` by name, ready for JSON."""
        return {}

    def apply(self, sample: Sample, **parameters) -> Sample:
        """Return the transformed sample; :meth:`replay` writes the history."""
        raise TypeError(f"{self.name} does not say what it does: override apply()")

    def apply_batch(self, images, samples: Sequence[Sample], parameters: Sequence[dict]):
        """Return images as :meth:`apply` would, many at a time, on the device where they are.

        Parameters
        ----------
        images : float32 array (N, C, H, W) of NumPy or CuPy
        samples : sequence of Sample
            What else is known of each.
        parameters : sequence of dict
            What :meth:`draw` has returned for each.
        """
        raise TypeError(f"{self.name} works on single samples: it has no apply_batch()")

    @property
    def name(self) -> str:
        return type(self).__name__

    def state(self) -> dict:
        """Return name and settings, ready for JSON."""
        return {"name": self.name, **dataclasses.asdict(self)}

    @classmethod
    def from_state(cls, state: dict) -> Transform:
        """Make the transform that :meth:`state` described."""
        settings = {key: value for key, value in state.items() if key != "name"}
        names = {field.name for field in dataclasses.fields(cls) if field.init}
        if state.get("name") != cls.__name__ or not settings.keys() <= names:
            raise UsageError(
                f"this is not the state of a {cls.__name__}: {state}; "
                f"expected its name and no settings but {', '.join(sorted(names)) or 'none'}"
            )
        return cls(**settings)


def from_state(state: dict) -> Transform:
    """Make the transform, of whatever class, that ``transform.state()`` described.

    Raises
    ------
    UsageError
        If no transform has that name, or its settings do not fit.
    """
    name = state.get("name") if isinstance(state, dict) else None
    if name not in Transform._classes:
        known = ", ".join(sorted(Transform._classes))
        raise UsageError(f"no transform is called {name!r}; there are {known}")
    return Transform._classes[name].from_state(state)


def with_image(sample: Sample, image: np.ndarray) -> Sample:
    """Return `sample` with other pixels and everything else as it was."""
    return dataclasses.replace(sample, image=image)


def for_each_image(images, parameters: Sequence[dict], name: str):
    """Return one of the parameters for each of the images, (N, 1, 1, 1), on their device."""
    values = np.array([drawn[name] for drawn in parameters], np.float32)
    return to_device(values.reshape(-1, 1, 1, 1), device_of(images))


def require_rng(rng: np.random.Generator | None, transform: Transform) -> np.random.Generator:
    """Return `rng`, or raise UsageError where there is none."""
    if rng is None:
        raise UsageError(f"{transform.name} draws at random: call it as transform(sample, rng)")
    return rng


def check_number(transform: Transform, name: str, value: float, least: float, most: float) -> None:
    """Raise UsageError unless ``least <= value <= most``."""
    if not least <= value <= most:
        raise UsageError(
            f"{transform.name}: {name} must lie between {least} and {most}, got {value}"
        )


def check_pair(
    transform: Transform, name: str, pair: Sequence[float], least: float, most: float
) -> tuple[float, float]:
    """Return `pair` as floats, or raise UsageError unless ``least <= first <= second <= most``."""
    if len(pair) != 2 or not least <= pair[0] <= pair[1] <= most:
        raise UsageError(
            f"{transform.name}: {name} must be two numbers in order between {least} and {most}, "
            f"got {tuple(pair)}"
        )
    return float(pair[0]), float(pair[1])


def _check_image(sample):
    image = sample.image
    if image.dtype != np.float32:
        raise DTypeError(f"{sample.path or 'sample'}: the image must be float32, is {image.dtype}")
    if image.ndim != 3 or 0 in image.shape:
        raise ShapeError(
            f"{sample.path or 'sample'}: the image must be (C, H, W), no side empty, "
            f"is {image.shape}"
        )
