"""The embedded data set: synthetic chest radiographs, with and without a nodule.

SYNTHETIC: no patient is in these images, and no score on them says anything about real
ones. They exist so that the whole pipeline can run, and be checked, on a fresh machine.

A patient is drawn as a set of measures (:mod:`.anatomy`), vessels (:mod:`.vessels`) and a
nodule (:mod:`.nodules`); :mod:`.render` adds up the line integrals of attenuation for a
pose; :mod:`.physics` turns them into photons, noise and 12-bit values; :mod:`.dicom` writes
the file; :mod:`.collection` deals out patients, visits, labels and splits.

What makes the task not trivial: nodules of 12 to 36 mm and graded contrast hide among ribs,
vessels, vessels seen end on, calcified specks, nipples and anatomical noise, all of which
normal phantoms have as well; brightness, dose, pose and photometric interpretation vary
from image to image and have nothing to do with the label.
"""

from __future__ import annotations

from .collection import CLASSES, COUNT, Phantom, make_phantom, write_phantoms

__all__ = ["CLASSES", "COUNT", "Phantom", "make_phantom", "write_phantoms"]
