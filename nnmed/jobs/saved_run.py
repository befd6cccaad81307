"""A finished detection run, to be used on further images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnmed import models
from nnmed.data.readers import read_image
from nnmed.errors import DataError, UsageError
from nnmed.jobs.run_folder import CONFIG, RunFolder
from nnmed.nn import Module
from nnmed.preprocessing import Compose
from nnmed.training import load_checkpoint


@dataclass
class SavedRun:
    """What a detection run left behind.

    Attributes
    ----------
    folder : Path
    config : dict
        Its ``config.json``.
    prepare : Compose
        The preprocessing that new images need.
    model : Module
        The trained network in evaluation mode: images to scores of the two classes.
    """

    folder: Path
    config: dict
    prepare: Compose
    model: Module

    @property
    def classes(self) -> list[str]:
        """Names of the negative and the positive class."""
        return self.config["classes"]

    def read(self, path, frame: int = 0) -> np.ndarray:
        """Return an image file as the network takes it, (1, C, H, W).

        Raises
        ------
        DataError
            If it cannot be read, or has other channels than the network.
        UsageError
            If it has no such frame.
        """
        samples = read_image(path)
        if not 0 <= frame < len(samples):
            raise UsageError(f"--frame {frame}: {path} has {len(samples)} of them, counted from 0")
        sample, channels = samples[frame], channels_of(self.config)
        if len(sample.image) == 1 < channels:
            sample.image = np.repeat(sample.image, channels, axis=0)
        if len(sample.image) != channels:
            raise DataError(
                f"{path}: the image has {len(sample.image)} channels, the network was trained on "
                f"{channels}: convert the image"
            )
        return self.prepare(sample).image[None]


def open_run(folder) -> SavedRun:
    """Open the folder that a detection run wrote.

    Raises
    ------
    DataError
        If it is no such folder, or its configuration is damaged.
    ModelError
        If the weights are missing or damaged.
    """
    folder = Path(folder)
    if not (folder / CONFIG).is_file():
        raise DataError(f"{folder}: holds no {CONFIG}: name the folder of a finished nnmed detect")
    config = RunFolder(folder, "detect", resume=True).config()
    try:
        options, kinds = config["options"], config["kinds"]
        network = models.build(
            options["model"], channels_of(config), len(kinds["names"]), options["networks"]
        )
        sides, steps = kinds["sides"], config["preprocessing"]
    except (KeyError, TypeError) as error:
        raise DataError(
            f"{folder / CONFIG}: lacks {error}: it is a run of an earlier nnmed, make it again"
        ) from error
    network.load_state_dict(load_checkpoint(folder / "best.safetensors").model)
    model = models.MergedClasses(network, sides)
    model.eval()
    return SavedRun(folder, config, Compose.from_state(steps), model)


def channels_of(config: dict) -> int:
    """Return how many channels the images of a run have: as many as are standardised."""
    steps = {step["name"]: step for step in config["preprocessing"]["transforms"]}
    return len(steps["ZScore"]["offset"])
