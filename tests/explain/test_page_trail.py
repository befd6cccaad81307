"""The page with a number's way to the loss, worked out; in a real browser."""

from __future__ import annotations

import numpy as np
import pytest

import nnmed
from nnmed import functional as F
from nnmed import models
from nnmed.explain import explain

pytestmark = pytest.mark.browser


def find(page, selector):
    return page.find_element("css selector", selector)


def text_of(page, selector):
    return find(page, selector).text


def test_how_much_passes_through_each_step(browser, tmp_path):
    nnmed.seed(0)
    model = models.SmallCNN(1, 2, (4, 6))
    model.eval()
    start = np.random.default_rng(0).standard_normal((1, 1, 20, 16)).astype(np.float32)
    x = nnmed.Tensor(start, requires_grad=True)
    own = explain(F.cross_entropy(model(x), nnmed.Tensor([1])), model)
    trail = own.follow("x", np.s_[0, :, 7, 5])
    path = tmp_path / "page.html"
    own.to_html(path, follow=("x", np.s_[0, :, 7, 5]))
    browser.get(path.as_uri())
    rows = browser.find_elements("css selector", "#trail tbody tr")
    assert len(rows) == len(trail.passages) == len(own)
    for row, passage in zip(rows, trail.passages):
        number, _, part, through = (cell.text for cell in row.find_elements("css selector", "td"))
        assert number.startswith(f"{passage.step.index}: {passage.step.op_name}")
        assert float(part.split(" ")[0].replace("–", "0")) == pytest.approx(passage.part, rel=1e-2)
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
