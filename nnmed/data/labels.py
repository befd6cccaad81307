"""From class names to two classes: what is positive and what is the rest."""

from __future__ import annotations

import difflib
import math
import operator
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from nnmed.errors import DataError

MAX_CLASSES_SHOWN = 20
MAX_CLASSES_JOINED = 4
COUNT_LIKE = 10
"""From more different numbers than this on, a label column is a measurement, not classes."""

_POSITIVE = frozenset(
    ("true", "yes", "positive", "pos", "malignant", "malign", "cancer",
     "carcinoma", "tumor", "tumour", "tumors", "tumours", "abnormal", "abnormality", "lesion",
     "nodule", "mass", "disease", "diseased", "sick", "pathological", "metastasis",
     "metastases", "melanoma", "pneumonia", "covid", "hemorrhage", "haemorrhage")
)  # fmt: skip
_NEGATIVE = frozenset(
    ("false", "no", "negative", "neg", "benign", "normal", "norm",
     "healthy", "control", "controls", "none", "clear", "background", "absent")
)  # fmt: skip
# Codes say something only as a pair: (negative, positive).
_PAIRS = frozenset((("0", "1"), ("-1", "1"), ("f", "t"), ("n", "y"), ("n", "p"), ("b", "m")))
_NEGATION = re.compile(r"(?:no|non|not|without)(?P<gap>[ _-]*)(?P<what>\w.*)")
_THRESHOLD = re.compile(r"\s*(>=|<=|>|<)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*")
_OPPOSITE = {">": "<=", ">=": "<", "<": ">=", "<=": ">"}
_COMPARE = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}


@dataclass(frozen=True)
class Classes:
    """Two classes and how they came about.

    Attributes
    ----------
    names : (str, str)
        Of the negative and the positive class, such as ``("benign+normal", "malignant")``.
    labels : list of int
        0 or 1 for each of the labels given.
    kinds : list of str
        The class of each as the labels name it, in its most frequent spelling; with a
        threshold the name of its side.
    source : str
        What decides, for the log.
    """

    names: tuple[str, str]
    labels: list[int]
    kinds: list[str]
    source: str


def two_classes(labels: Sequence[str], positive: str | Sequence[str] | None, what: str) -> Classes:
    """Divide labels into a negative and a positive class.

    Parameters
    ----------
    labels : class names, or numbers as text
        Case and blanks around a name do not matter.
    positive : names of classes, as a list or with commas between them, or a threshold
        ``">0"``, ``">= 3"`` for numbers. None: of two classes the one whose name says so
        (malignant, tumour, positive, 1, ..., or whatever stands against normal, benign, 0,
        ...); of many different numbers from 0 upwards, those above 0.
    what : where the labels come from, for messages, such as ``"the class folders"``

    Raises
    ------
    DataError
        If a class named is unknown, one side would be empty, or it is not clear what is
        positive. Lists the classes.
    """
    canonical = [_canonical(label) for label in labels]
    names = _display_names(labels)
    counts = Counter(canonical)
    threshold = _threshold(positive, counts)
    if threshold is not None:
        result = _by_threshold(canonical, threshold, what)
    else:
        if positive is None:
            chosen = _default_positive(counts, names, what)
        else:
            chosen = _chosen(positive, counts, names, what)
        _check_misspelt(counts, names, chosen, what)
        rest = [name for name in counts if name not in chosen]
        shown = _joined(rest, names), _joined(chosen, names)
        values = [int(name in chosen) for name in canonical]
        parts = [Counter({name: counts[name] for name in side}) for side in (chosen, rest)]
        text = "positive: {}; negative: {}".format(*(_listed(part, names) for part in parts))
        result = Classes(shown, values, [names[name] for name in canonical], text)
    for value, name in enumerate(result.names):
        if value not in result.labels:
            raise DataError(
                f"{what}: no image is {'positive' if value else 'negative'} ({name}); "
                f"the classes are {_listed(counts, names)}"
            )
    return result


def _canonical(label: str) -> str:
    text = " ".join(str(label).split()).casefold()
    number = _number(text)
    return f"{number:g}" if number is not None and abs(number) < 1e6 else text


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _display_names(labels: Sequence[str]) -> dict[str, str]:
    """Return the most frequent spelling of each class."""
    spellings = Counter(" ".join(str(label).split()) for label in labels)
    names: dict[str, str] = {}
    for spelling, _ in spellings.most_common():
        names.setdefault(_canonical(spelling), spelling)
    return names


def _threshold(positive, counts: Counter) -> tuple[str, float] | None:
    if isinstance(positive, str):
        match = _THRESHOLD.fullmatch(positive)
        return (match[1], float(match[2])) if match else None
    if positive is None and len(counts) > COUNT_LIKE:
        numbers = [_number(name) for name in counts]
        if None not in numbers and min(numbers) == 0:
            return ">", 0.0
    return None


def _by_threshold(canonical: list[str], threshold: tuple[str, float], what: str) -> Classes:
    sign, limit = threshold
    numbers = [_number(label) for label in canonical]
    if None in numbers:
        wrong = canonical[numbers.index(None)]
        raise DataError(
            f"{what}: {wrong!r} is not a number, so it cannot be compared with {sign}{limit:g}; "
            "name classes with --positive, or correct the table"
        )
    names = (f"{_OPPOSITE[sign]}{limit:g}", f"{sign}{limit:g}")
    values = [int(_COMPARE[sign](number, limit)) for number in numbers]
    kinds = [names[value] for value in values]
    return Classes(names, values, kinds, f"positive: {names[1]}; negative: {names[0]}")


def _chosen(positive, counts: Counter, names: dict[str, str], what: str) -> list[str]:
    if isinstance(positive, str):
        # A class may have a comma in its name.
        whole = _canonical(positive) in counts
        positive = [positive] if whole else positive.split(",")
    wanted = [_canonical(str(name)) for name in positive if str(name).strip()]
    unknown = [str(name) for name in wanted if name not in counts]
    if unknown or not wanted:
        missing = ", ".join(repr(name) for name in unknown) or "nothing"
        close = difflib.get_close_matches(unknown[0], list(counts), 1) if unknown else []
        hint = f" (did you mean {names[close[0]]!r}?)" if close else ""
        raise DataError(
            f"{what}: --positive names {missing}{hint}, which is no class here; "
            f"the classes are {_listed(counts, names)}"
        )
    return list(dict.fromkeys(wanted))


def _default_positive(counts: Counter, names: dict[str, str], what: str) -> list[str]:
    if len(counts) == 1:
        raise DataError(
            f"{what}: there is only one class, {_listed(counts, names)}; "
            "a detector needs images with and without the finding"
        )
    if len(counts) == 2:
        first, second = counts
        for one, other in ((first, second), (second, first)):
            if (other, one) in _PAIRS:
                return [one]
            if _is_positive(one) and not _is_positive(other):
                return [one]
            if _is_negative(other) and not _is_negative(one):
                return [one]
    raise DataError(
        f"{what}: it is not clear which classes are positive; choose with "
        f"--positive NAME[,NAME]{' or --positive >NUMBER' if len(counts) > COUNT_LIKE else ''}; "
        f"the classes are {_listed(counts, names)}"
    )


def _is_negative(name: str) -> bool:
    negation = _NEGATION.fullmatch(name)
    # "no tumour" and "notumour", but not "nodule".
    negated = negation and (negation["gap"] or negation["what"] in _POSITIVE)
    return name in _NEGATIVE or bool(negated)


def _is_positive(name: str) -> bool:
    return name in _POSITIVE and not _is_negative(name)


def _check_misspelt(counts: Counter, names: dict[str, str], chosen, what: str) -> None:
    """Refuse a rare class that is spelt nearly as a frequent one: it would change sides."""
    total = sum(counts.values())
    for name, count in counts.items():
        if count * 100 > total or any(sign.isdigit() for sign in name):
            continue
        others = [other for other in counts if counts[other] > 10 * count]
        for close in difflib.get_close_matches(name, others, 1, cutoff=0.85):
            if (name in chosen) != (close in chosen):
                raise DataError(
                    f"{what}: the class {names[name]!r} ({count} of {total} images) looks like "
                    f"a misspelling of {names[close]!r}; correct it"
                )


def _joined(classes: Sequence[str], names: dict[str, str]) -> str:
    shown = [names[name] for name in classes]
    if len(shown) > MAX_CLASSES_JOINED:
        shown[MAX_CLASSES_JOINED - 1 :] = [f"{len(shown) - MAX_CLASSES_JOINED + 1} more"]
    return "+".join(shown)


def _listed(counts: Counter, names: dict[str, str]) -> str:
    shown = [f"{names[name]} ({count})" for name, count in counts.most_common(MAX_CLASSES_SHOWN)]
    more = [f"and {len(counts) - len(shown)} more"] if len(counts) > len(shown) else []
    return ", ".join(shown + more)
