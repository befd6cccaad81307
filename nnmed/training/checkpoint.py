"""A checkpoint: one safetensors file with all that training needs to go on.

The model's arrays have the names of its ``state_dict``; the optimizer's begin with
``optimizer/``. Everything else (schedule, position, best score, history, settings, random
state) is JSON in the file's metadata under ``nnmed``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnmed.errors import ModelError
from nnmed.nn import Module, load_arrays, save_arrays
from nnmed.optim import Optimizer, pack_state, unpack_state

_OPTIMIZER = "optimizer/"


@dataclass
class Checkpoint:
    """What a checkpoint file holds.

    Attributes
    ----------
    model : dict from str to array
        The model's ``state_dict``.
    optimizer : dict or None
        The optimizer's ``state_dict``; None in a file saved without one.
    state : dict
        Everything else, as it was given to :func:`save_checkpoint`.
    """

    model: dict[str, np.ndarray]
    optimizer: dict | None
    state: dict


def save_checkpoint(path, model: Module, state: dict, optimizer: Optimizer | None = None) -> None:
    """Write a checkpoint in one step, synced together with its folder.

    Parameters
    ----------
    path : str or Path
    model : Module
    state : dict
        Fit for JSON.
    optimizer : Optimizer, optional
        Without it the file holds exactly the model's weights, which PyTorch can load too.

    Raises
    ------
    ModelError
        If the file cannot be written; an older checkpoint at `path` is unchanged then.
    """
    arrays = dict(model.state_dict())
    content = {"state": state}
    if optimizer is not None:
        content["optimizer"], optimizer_arrays = pack_state(optimizer.state_dict())
        arrays.update({_OPTIMIZER + name: array for name, array in optimizer_arrays.items()})
    save_arrays(arrays, path, {"nnmed": json.dumps(content, allow_nan=False)})


def load_checkpoint(path) -> Checkpoint:
    """Read a checkpoint.

    Raises
    ------
    ModelError
        If the file cannot be read, is damaged, or is no checkpoint of nnmed.
    """
    arrays, metadata = load_arrays(path)
    try:
        content = json.loads(metadata["nnmed"])
        state, packed = content["state"], content.get("optimizer")
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ModelError(
            f"{path}: holds weights, but not the state of a training run by nnmed; "
            "nnmed.nn.load_weights reads such a file"
        ) from error
    model = {name: a for name, a in arrays.items() if not name.startswith(_OPTIMIZER)}
    rest = {name[len(_OPTIMIZER) :]: a for name, a in arrays.items() if name not in model}
    return Checkpoint(model, None if packed is None else unpack_state(packed, rest), state)


def exists(path) -> bool:
    """Tell whether a checkpoint lies at `path`."""
    return Path(path).is_file()
