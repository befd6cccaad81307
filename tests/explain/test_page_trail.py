"""The page with a number's way to the loss, worked out; in a real browser."""

from __future__ import annotations

import numpy as np
import pytest

import nnmed
from nnmed import functional as F
from nnmed import models
from nnmed.errors import UsageError
from nnmed.explain import explain
from nnmed.explain.page.data import run_data
from nnmed.explain.page.trail import pictures_on, trail_data

pytestmark = pytest.mark.browser


def find(page, selector):
    return page.find_element("css selector", selector)


def text_of(page, selector):
    return find(page, selector).text


def test_how_much_passes_through_each_step(browser, tmp_path):
    nnmed.seed(0)
    model = models.SmallCNN(2, 2, (4, 6))
    model.eval()
    start = np.random.default_rng(0).standard_normal((1, 2, 20, 16)).astype(np.float32)
    x = nnmed.Tensor(start, requires_grad=True)
    own = explain(F.cross_entropy(model(x), nnmed.Tensor([1])), model)
    trail = own.follow("x", np.s_[0, :, 7, 5])
    path = tmp_path / "page.html"
    own.to_html(path, follow=("x", np.s_[0, :, 7, 5]))
    browser.get(path.as_uri())
    rows = browser.find_elements("css selector", "#trail tbody tr")
    assert len(rows) == len(trail.passages) == len(own)
    for row, passage in zip(rows, trail.passages):
        number, _, part, sources, through = (
            cell.text for cell in row.find_elements("css selector", "td")
        )
        assert number.startswith(f"{passage.step.index}: {passage.step.op_name}")
        assert float(part.split(" ")[0].replace("–", "0")) == pytest.approx(passage.part, rel=1e-2)
        said = [word.split(" ")[0] for word in sources.split(", ")]
        assert said == ["x" if source is None else str(source) for source in passage.sources]
        assert through.startswith(f"y[{','.join(map(str, passage.entries[0].place))}]: ")
    assert "x [0,:,7,5]" in text_of(browser, "#trail h3")
    assert "raised together" in text_of(browser, "#trail p")
    carrying = [p for p in trail.passages if abs(p.part) >= 0.1 * abs(trail.gradient)]
    assert len(browser.find_elements("css selector", ".node.followed")) == len(carrying)
    browser.execute_script("go(3)")
    assert text_of(browser, "#trail tr.here").startswith("3: ")
    boxes = [find(browser, name).rect for name in ("#trail", "#trail tr.here")]
    assert boxes[0]["y"] < boxes[1]["y"] < boxes[0]["y"] + boxes[0]["height"]
    browser.execute_script(f"follow('{_key(own, 'x')}', [0, 0, 1, 1])")
    assert "--pixel" in text_of(browser, "#trail")
    assert len(find(browser, "#trail thead tr").find_elements("css selector", "th")) == 2
    find(browser, "#stop").click()
    find(browser, "#follow").click()
    assert "x [0,:,7,5]" in text_of(browser, "#trail h3")
    assert browser.get_log("browser") == []


def _key(derivation, name):
    return next(f"l{i}" for i, leaf in enumerate(derivation.leaves) if leaf.name == name)


def test_where_paths_meet_it_is_said_from_where(browser, tmp_path):
    x = nnmed.Tensor([1.0, 2.0], requires_grad=True)
    y = nnmed.exp(x)
    explain((y * y).sum()).to_html(tmp_path / "page.html")
    browser.get((tmp_path / "page.html").as_uri())
    browser.execute_script("go(2)")
    panel = text_of(browser, "#step")
    assert "gradients of 2 paths are added up:" in panel
    browser.execute_script("go(1)")
    assert text_of(browser, "#step").count("(by one of 2 paths)") == 2


def square_of(values, weight):
    x = nnmed.Tensor(np.float32(values).reshape(1, 1, 2, 2), requires_grad=True)
    w = nnmed.Tensor(np.full((2, 1, 1, 1), weight, np.float32), requires_grad=True)
    return explain((F.conv2d(x, w) ** 2).sum())


def test_the_difference_of_two_trails(browser, tmp_path):
    own, other = square_of([1, 2, 3, 4], 1.0), square_of([1, 2, 3, 4], 2.0)
    path = tmp_path / "page.html"
    own.to_html(path, beside=other, follow=("x", (0, 0, -1, -1)))
    browser.get(path.as_uri())
    told = text_of(browser, "#trail p")
    assert "value is 4. Its gradient is 16" in told
    browser.execute_script("controls.run.value = 1; state.run = 1; show()")
    assert "Its gradient is 64" in text_of(browser, "#trail p")
    browser.execute_script("state.run = 2; show()")
    assert "value is 0. gradient 48" in text_of(browser, "#trail p")
    parts = [cell.text for cell in browser.find_elements("css selector", "#trail td.number")]
    assert parts == ["48"] * len(own)
    assert browser.get_log("browser") == []


def test_the_keyboard_stays_in_the_trail(browser, tmp_path):
    path = tmp_path / "page.html"
    square_of([1, 2, 3, 4], 1.0).to_html(path, follow=("x", (0, 0, 0, 0)))
    browser.get(path.as_uri())
    browser.find_elements("css selector", "#trail tbody button")[-1].click()
    assert browser.execute_script("return state.number") == 0
    assert browser.execute_script("return document.activeElement.textContent").startswith("0: ")


def test_figures_of_a_weight_show_the_same_pictures():
    x = nnmed.Tensor(np.ones((1, 2, 3, 3), np.float32))
    w = nnmed.Tensor(np.ones((2, 2, 2, 2), np.float32), requires_grad=True)
    data = run_data(explain(F.conv2d(x, w * 0.5).sum() + (w * w).sum()))
    for tensor in data["tensors"].values():
        arrays = [data["arrays"].get(tensor[what]) for what in ("array", "gradient")]
        labels = [array["labels"] for array in arrays if array is not None]
        assert labels[:1] * len(labels) == labels


def test_what_is_followed_must_have_a_place_on_the_page():
    derivation = square_of([1, 2, 3, 4], 1.0)
    assert trail_data(derivation.follow("x", (0, 0, -1, -1)), derivation)["index"] == [0, 0, 1, 1]
    assert trail_data(derivation.follow("x", (..., 1)), derivation)["index"] == [0, 0, ":", 1]
    mask = np.zeros((1, 1, 2, 2), bool)
    mask[0, 0, 1, 0] = True
    assert trail_data(derivation.follow("x", mask), derivation)["index"] == [0, 0, 1, 0]
    with pytest.raises(UsageError, match="one number, or all along some dimensions"):
        derivation.to_html(follow=("x", np.eye(2, dtype=bool)[None, None]))
    with pytest.raises(UsageError, match="takes a tensor's name and an index, got 'x'"):
        derivation.to_html(follow="x")


def test_the_other_run_may_call_it_otherwise():
    own = square_of([1, 2, 3, 4], 1.0)
    v = nnmed.Tensor(np.ones((1, 1, 2, 2), np.float32), requires_grad=True)
    w = nnmed.Tensor(np.ones((2, 1, 1, 1), np.float32), requires_grad=True)
    other = explain((F.conv2d(v, w) ** 2).sum())
    assert "Followed" in own.to_html(beside=other, follow=("x", (0, 0, 0, 0)))


def test_what_is_no_number_is_unknown(browser, tmp_path):
    x = nnmed.Tensor(np.float32([np.nan, 1.0]), requires_grad=True)
    path = tmp_path / "page.html"
    explain((x * x).sum()).to_html(path, follow=("x", 0))
    browser.get(path.as_uri())
    row = browser.find_elements("css selector", "#trail tbody tr")[0].text
    assert "–" in row
    assert "%" not in row


@pytest.mark.parametrize("channels", [(3, 5), (6, 2)])
def test_filters_of_a_transposed_convolution(channels):
    x = nnmed.Tensor(np.ones((2, channels[0], 2, 2), np.float32), requires_grad=True)
    w = nnmed.Tensor(np.ones((*channels, 2, 2), np.float32), requires_grad=True)
    derivation = explain((F.conv_transpose2d(x, w) ** 2).sum())
    pictures = pictures_on(derivation.follow("x", (1, 0, 0, 0)), derivation)
    key = next(f"l{i}" for i, leaf in enumerate(derivation.leaves) if leaf.name == "w")
    wanted = [c for _, c in pictures["s1"]]
    assert {place[0] for place in pictures["s1"]} == {1}  # the sample that is followed
    assert pictures[key] == [(i, c) for c in wanted for i in range(channels[0])]
    derivation.to_html(follow=("x", (1, 0, 0, 0)))


def test_a_scalar_is_followed():
    s = nnmed.Tensor(2.0, requires_grad=True)
    derivation = explain(s * s)
    assert trail_data(derivation.follow("s", ()), derivation)["index"] == []
    derivation.to_html(follow=("s", ()))
