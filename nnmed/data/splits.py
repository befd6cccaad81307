"""Dividing data into train, validation and test, each patient (group) wholly on one side.

A split depends on the labels, the group names, the fractions and the seed; not on the
order of the files, nor on anything else in the process.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from nnmed.errors import DataError, UsageError

SIDES = ("train", "val", "test")


def split_by_group(
    labels: Sequence[int],
    groups: Sequence[str],
    fractions: Sequence[float] = (0.7, 0.15, 0.15),
    seed: int = 0,
    classes: Sequence[str] | None = None,
) -> list[str]:
    """Return "train", "val" or "test" for each sample, stratified by class.

    Parameters
    ----------
    labels : N class indices
    groups : N names
        Samples of one name (patient, film, set of near-duplicates) stay together.
    fractions : three shares of train, val and test, adding up to 1
        A side of share 0 stays empty.
    seed : int
    classes : names of the classes, for messages

    Raises
    ------
    DataError
        If a class has fewer groups than there are sides.
    UsageError
        If the fractions make no sense.

    Notes
    -----
    Groups are placed one after the other, large ones first (sizes within a factor of two
    count as equal), in an order given by a hash of seed and name. Each goes where
    ``sum over sides s and classes c of (placed[s, c] - wanted[s, c])**2 / wanted[s, c]``
    grows least; with equal groups that is Webster's rule of apportionment. A class that
    is about to run out of groups goes to a side that has none of it yet.
    """
    fractions = _checked_fractions(fractions)
    sides = [side for side, fraction in zip(SIDES, fractions) if fraction > 0]
    shares = [fraction for fraction in fractions if fraction > 0]
    placed = _place(labels, groups, shares, seed, sides, classes)
    return [sides[number] for number in placed]


def complete_split(
    labels: Sequence[int],
    groups: Sequence[str],
    splits: Sequence[str | None],
    fractions: Sequence[float] = (0.7, 0.15, 0.15),
    seed: int = 0,
    classes: Sequence[str] | None = None,
) -> list[str]:
    """Return `splits` with the sides that it lacks carved out of train, by group.

    A side that the data bring stays as it is. Where they bring no split at all this is
    :func:`split_by_group`.

    Raises
    ------
    DataError
        If only some samples have a split, a name is unknown, there is no train to carve
        from, or train has nothing or too few groups of a class.
    """
    fractions = _checked_fractions(fractions)
    given = {side for side in splits if side is not None}
    if not given:
        return split_by_group(labels, groups, fractions, seed, classes)
    _check_given(splits, given)
    _check_train(labels, splits, classes)
    shares = {side: f for side, f in zip(SIDES, fractions) if side not in given and f > 0}
    if not shares:
        return list(splits)
    shares = {"train": max(fractions[0], 1e-9), **shares}
    rows = [row for row, side in enumerate(splits) if side == "train"]
    total, names = sum(shares.values()), list(shares)
    placed = _place(
        [labels[row] for row in rows],
        [groups[row] for row in rows],
        [share / total for share in shares.values()],
        seed,
        names,
        classes,
    )
    result = list(splits)
    for row, number in zip(rows, placed):
        result[row] = names[number]
    return result


def grouped_k_fold(
    labels: Sequence[int],
    groups: Sequence[str],
    k: int = 5,
    seed: int = 0,
    classes: Sequence[str] | None = None,
) -> np.ndarray:
    """Return the fold, 0 to k - 1, of each of N samples: int64, stratified, by group.

    Round ``i`` of a cross-validation tests on ``folds == i`` and trains on the rest.

    Raises
    ------
    DataError
        If a class has fewer than `k` groups.
    UsageError
        If `k` is below 2.
    """
    if k < 2:
        raise UsageError(f"grouped_k_fold: k must be at least 2, got {k}")
    return _place(labels, groups, [1 / k] * k, seed, [f"fold {i}" for i in range(k)], classes)


def _place(labels, groups, shares, seed, sides, classes):
    """Return the number of the side of each sample."""
    if len(labels) != len(groups):
        raise UsageError(f"there are {len(labels)} labels but {len(groups)} groups")
    if any(label is None for label in labels):
        row = next(row for row, label in enumerate(labels) if label is None)
        raise DataError(f"sample {row} has no label: a stratified split needs one for each")
    names, member = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    values, kind = np.unique(np.asarray(labels, np.int64), return_inverse=True)
    counts = np.zeros((len(names), len(values)), np.int64)
    np.add.at(counts, (member, kind), 1)
    _check_enough_groups(counts, values, sides, classes)
    chosen = _place_groups(counts, _order(names, counts.sum(1), seed), np.array(shares))
    _check_all_present(counts, chosen, values, sides, classes)
    return chosen[member]


def _order(names, sizes, seed):
    """Return the order in which groups are placed."""

    def key(index):
        # A group may be called after a file, whose name need not be text.
        name = f"{seed}\x1f{names[index]}".encode(errors="surrogateescape")
        digest = hashlib.blake2b(name, digest_size=16)
        return -int(sizes[index]).bit_length(), digest.digest()

    return sorted(range(len(names)), key=key)


def _place_groups(counts, order, shares):
    wanted = shares[:, None] * counts.sum(0)
    placed = np.zeros_like(wanted)
    groups_left = (counts > 0).sum(0)
    chosen = np.zeros(len(counts), np.int64)
    for group in order:
        count = counts[group]
        growth = ((2 * (placed - wanted) + count) * count / wanted).sum(1)
        missing = (placed == 0) & (count > 0)
        urgent = missing & (groups_left <= (placed == 0).sum(0))
        side = int(np.argmin(np.where(_candidates(urgent), growth, np.inf)))
        chosen[group] = side
        placed[side] += count
        groups_left -= count > 0
    return chosen


def _candidates(urgent):
    """Return which sides may take a group: those that lack most of its urgent classes."""
    lacking = urgent.sum(1)
    return lacking == lacking.max()


def _check_enough_groups(counts, values, sides, classes):
    for number, groups in zip(values, (counts > 0).sum(0)):
        if groups < len(sides):
            raise DataError(
                f"class {_class_name(number, classes)} has only {groups} group(s) or patient(s), "
                f"but {', '.join(sides)} need at least one each: add patients, merge the class "
                "with another, leave it out, or ask for fewer sides"
            )


def _check_all_present(counts, chosen, values, sides, classes):
    for number, side in enumerate(sides):
        absent = np.flatnonzero(counts[chosen == number].sum(0) == 0)
        if absent.size:
            raise DataError(
                f"found no split by group with class {_class_name(values[absent[0]], classes)} "
                f"in {side}: its groups hold other classes too; try another seed, or give "
                "a split column"
            )


def _check_given(splits, given):
    unknown = sorted(given - set(SIDES))
    if unknown:
        raise DataError(f"unknown split {unknown[0]!r}: the names are {', '.join(SIDES)}")
    without = [row for row, side in enumerate(splits) if side is None]
    if without:
        raise DataError(
            f"{len(without)} of {len(splits)} samples have no split, the first is sample "
            f"{without[0]}: give one to all or to none"
        )
    if "train" not in given:
        raise DataError(f"the split has no train, only {', '.join(sorted(given))}")


def _check_train(labels, splits, classes):
    present = {label for label, side in zip(labels, splits) if side == "train"}
    absent = sorted(set(labels) - present)
    if absent:
        raise DataError(
            f"no image of class {_class_name(absent[0], classes)} is in train: there is nothing "
            "to learn it from; correct the split"
        )


def _checked_fractions(fractions):
    fractions = [float(fraction) for fraction in fractions]
    if (
        len(fractions) != 3
        or not all(0 <= fraction <= 1 for fraction in fractions)
        or abs(sum(fractions) - 1) > 1e-6
    ):
        raise UsageError(f"fractions must be three shares that add up to 1, got {fractions}")
    return fractions


def _class_name(number, classes):
    return repr(classes[number]) if classes is not None else str(number)
