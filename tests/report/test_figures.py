"""Every figure draws, without a warning and without overlapping text, whatever it is given."""

from __future__ import annotations

import itertools
import logging
import subprocess
import sys

import numpy as np
import pytest

from nnmed import metrics, report
from nnmed.errors import DataError, ShapeError
from nnmed.report.figure import SYNTHETIC
from nnmed.report.thumbnails import displayable

NAMES = {
    "plain": "case {}.png",
    "long": "a/very/long/folder/" * 6 + "image_{}_left_upper_lobe.dcm",
    "Chinese": "恶性结节_患者{}_左肺上叶_横断面.dcm",
    "odd": "$x_{}$ \\alpha^{{\t\n 🩻 \udcff",
    "empty": "",
}


def result(labels, probabilities):
    scores = metrics.evaluate_binary(labels, probabilities, 0.4, resamples=50)
    return metrics.binary_curves(labels, probabilities, 0.4, resamples=20), scores


@pytest.fixture(scope="module")
def binary():
    rng = np.random.default_rng(0)
    labels = (rng.random(80) < 0.4).astype(int)
    return labels, np.clip(0.3 * labels + rng.random(80) * 0.7, 0, 1)


@pytest.fixture
def checked(tmp_path, caplog):
    """Save a figure; fail if anything was logged, or text overlaps or leaves the figure."""

    def check(figure):
        with caplog.at_level(logging.WARNING):
            path = report.save(figure, tmp_path / "figure.png")
        assert not caplog.records
        assert path.read_bytes().startswith(b"\x89PNG")
        boxes = {text: text.get_window_extent() for text in texts(figure)}
        for text, box in boxes.items():
            assert box.x0 >= -1, text
            assert box.y0 >= -1, text
            assert box.x1 <= figure.bbox.x1 + 1, text
            assert box.y1 <= figure.bbox.y1 + 1, text
        for one, two in itertools.combinations(boxes, 2):
            overlap = box_overlap(boxes[one], boxes[two])
            assert overlap < 2, f"{one.get_text()!r} runs into {two.get_text()!r}"
        return "\n".join(text.get_text() for text in boxes)

    return check


def texts(figure):
    """All texts that are drawn but the ticks', which matplotlib sees to itself."""
    from matplotlib.text import Text

    ticks = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            ticks.update(map(id, axis.findobj(Text)))
            ticks.discard(id(axis.label))
    visible = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text()]
    return [t for t in visible if id(t) not in ticks and (t.axes is None or t.axes.axison)]


def box_overlap(a, b) -> float:
    return min(min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0))


@pytest.mark.parametrize("name", NAMES)
def test_names_of_any_kind(checked, binary, name):
    labels, probabilities = binary
    synthetic = name not in ("plain", "odd")
    cases = [NAMES[name].format(i) for i in range(80)]
    images = [np.random.default_rng(i).random((1, 9 + i % 3 * 5, 12)) for i in range(80)]
    common = {"dataset": NAMES[name].format(""), "synthetic": synthetic}
    classes = [NAMES[name].format(1), NAMES[name].format(2)]
    curves, _ = result(labels, probabilities)
    maps = [np.eye(3)] * 5
    for figure in [
        report.worst_errors(cases, labels, probabilities, 0.4, images, classes=classes, **common),
        report.heat_map_page(images[:5], maps, [(c, "p = 0.5") for c in cases[:5]], **common),
        report.confusion_figure(curves["confusion_matrix"], classes, threshold=0.4, **common),
    ]:
        shown = checked(figure)
        assert (SYNTHETIC in shown) == synthetic


@pytest.mark.parametrize(
    ("labels", "probabilities"),
    [
        ([1] * 9, np.linspace(0, 1, 9)),
        ([0] * 9, np.linspace(0, 1, 9)),
        ([0, 1], [0.5, 0.5]),
        ([1], [1.0]),
        ([], []),
    ],
    ids=["positives", "negatives", "tied", "one", "none"],
)
def test_undefined_scores_are_said(checked, labels, probabilities):
    curves, scores = result(labels, probabilities)
    shown = checked(report.roc_and_pr(curves, scores))
    if len(set(labels)) < 2:
        assert "undefined: no" in shown
    if len(labels) in (1, 2):
        return  # drawn like any other
    checked(report.reliability_diagram(curves["reliability"], scores))
    checked(report.confusion_figure(curves["confusion_matrix"], ["no", "yes"]))
    images = np.zeros((9, 4, 4))
    shown = checked(report.worst_errors("abcdefghi", labels, probabilities, 0.4, images))
    assert "Missed" in shown
    assert "False alarms" in shown


def test_the_figures_of_a_plain_run(checked, binary):
    curves, scores = result(*binary)
    checked(report.roc_and_pr(curves))
    shown = checked(report.roc_and_pr(curves, scores, dataset="验证集" * 40, synthetic=True))
    assert str(scores["roc_auc"]) in shown
    assert "threshold 0.400" in shown
    shown = checked(report.reliability_diagram(curves["reliability"], scores))
    assert str(scores["brier"]) in shown


@pytest.mark.parametrize("epochs", [0, 1, 2, 60])
def test_training_curves(checked, epochs):
    rows = [
        {"epoch": i + 1, "train_loss": 1 / (i + 1), "val_loss": "", "val_roc_auc": "0.8", "lr": 0.1}
        for i in range(epochs)
    ]
    if rows:
        rows[-1]["val_loss"] = "nan"
        rows[0]["val_loss"] = "0.7"
    shown = checked(report.training_curves(rows, best_epoch=1 if rows else None))
    assert ("val roc auc" in shown) == bool(rows)
    assert ("no epoch finished" in shown) == (not rows)


def test_confusion_matrix_of_many_classes(checked):
    matrix = np.arange(81).reshape(9, 9)
    shown = checked(report.confusion_figure(matrix, [f"class {i}" for i in range(9)]))
    assert "80\n" in shown
    with pytest.raises(ShapeError, match="for 2 classes"):
        report.confusion_figure(matrix, ["a", "b"])


def test_worst_errors_come_first_and_only_they_are_loaded(checked):
    labels = np.array([1, 1, 1, 0, 0, 0])
    probabilities = np.array([0.3, 0.1, 0.9, 0.6, 0.8, 0.2])
    asked = []

    def load(case):
        asked.append(case)
        return np.full((1, 5, 7), case)

    figure = report.worst_errors("abcdef", labels, probabilities, 0.5, load)
    assert asked == [1, 0, 4, 3]
    shown = checked(figure)
    assert "b\npositive, p = 0.100" in shown
    assert "Missed: 2 of 3 positive called negative" in shown


def test_heat_maps(checked):
    images = [np.zeros((1, 8, 8)), np.ones((3, 8, 16)), np.full((8, 8), np.nan), np.eye(8)]
    maps = [np.zeros((2, 2)), np.eye(3), np.full((2, 2), np.nan), -np.eye(4)]
    mask = np.zeros((8, 8), np.uint8)
    mask[2:4, 2:5] = 1
    checked(
        report.heat_map_page(
            images,
            maps,
            ["a", ("b", "c"), "d", "e"],
            masks=[mask, None, mask * 0, None],
            boxes=[None, np.array([[1, 2, 3, 4]]), np.zeros((0, 4)), None],
        )
    )
    assert "no case to show" in checked(report.heat_map_page([], [], []))
    with pytest.raises(ShapeError, match="4 images, 1 maps"):
        report.heat_map_page(images, maps[:1], ["a"] * 4)
    with pytest.raises(ShapeError, match="heat map must be"):
        report.heat_map_page(images[:1], [np.zeros(3)], ["a"])


def test_displayable():
    ramp = displayable(np.arange(4000, 14000, dtype=np.uint16).reshape(100, 100))
    assert ramp.min() == 0
    assert ramp.max() == 1
    assert displayable(np.full((1, 4, 4), 7)).tolist() == [[0.5] * 4] * 4
    assert displayable(np.zeros((3, 4, 5))).shape == (4, 5, 3)
    assert displayable(np.array([[np.nan, 1.0], [3.0, np.inf]])).tolist() == [[0, 0], [1, 0]]
    one_bright_pixel = np.zeros((20, 20))
    one_bright_pixel[3, 3] = 5
    assert displayable(one_bright_pixel)[3, 3] == 1
    with pytest.raises(ShapeError):
        displayable(np.zeros(4))


def test_a_figure_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    figure = report.training_curves([{"epoch": 1, "loss": 1.0}])
    path = report.save(figure, tmp_path / "training.png")
    before = path.read_bytes()
    assert report.save(figure, path).read_bytes() == before

    def fail(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(DataError, match=r"training\.png: .*No space left"):
        report.save(report.training_curves([]), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["training.png"]
    with pytest.raises(DataError, match="No such file"):
        report.save(figure, tmp_path / "absent" / "training.png")


def test_neither_pyplot_nor_matplotlib_is_loaded_by_the_import():
    code = (
        "import sys, nnmed.report as r; assert 'matplotlib' not in sys.modules;"
        "r.training_curves([]); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
