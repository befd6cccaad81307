"""How arrays are packed for the page, and drawn there."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest

import nnmed
from nnmed import functional as F
from nnmed.explain import explain
from nnmed.explain.page.arrays import pack


@pytest.mark.parametrize(
    "shape",
    [
        (), (3,), (2, 3), (2, 3, 4, 5), (1, 1, 200, 100), (40, 30, 3, 3), (0,), (2, 0, 3, 3),
        (0, 2, 3, 3),
    ],
)  # fmt: skip
def test_packed_arrays(shape):
    array = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    packed = pack(array)
    json.dumps(packed, allow_nan=False)
    assert packed["shape"] == list(shape)
    assert packed["rows"] <= 64
    assert packed["columns"] <= 64
    assert len(packed["places"]) == len(packed["labels"])


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1.0, 1e30])
def test_three_digits_of_each_number_are_packed(scale):
    array = np.array([1.0, -2.5e-4, 3.0, 0.0, np.nan, np.inf, -np.inf], np.float32) * scale
    packed = pack(array.astype(np.float32))
    json.dumps(packed, allow_nan=False)
    halves = np.frombuffer(base64.b64decode(packed["numbers"]), "<f2").astype(np.float64)
    np.testing.assert_allclose(np.ldexp(halves, -packed["exponent"]), array, rtol=1e-3)


def numbers_of(packed):
    halves = np.frombuffer(base64.b64decode(packed["numbers"]), "<f2").astype(np.float64)
    return np.ldexp(halves, -packed["exponent"])


@pytest.mark.parametrize(
    ("shape", "rows", "columns", "ones"),
    [
        ((2, 3, 1, 1), 2, 3, 2),
        ((1, 3, 1, 1, 1), 1, 3, 3),
        ((4, 3, 1), 3, 1, 0),
        ((4, 1), 4, 1, 0),
        ((1, 1, 1, 1), 1, 1, 2),
        ((2, 3, 4, 1), 4, 1, 0),
    ],
)
def test_single_numbers_of_channels_make_one_picture(shape, rows, columns, ones):
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    packed = pack(array)
    assert packed["shape"] == list(shape)
    assert (packed["rows"], packed["columns"], packed["ones"]) == (rows, columns, ones)
    if ones:
        assert numbers_of(packed).tolist() == array.ravel().tolist()


@pytest.fixture
def explorer(browser, tmp_path):
    """Open the page of a loss."""

    def opened(loss):
        path = tmp_path / "page.html"
        explain(loss).to_html(path)
        browser.get(path.as_uri())
        return browser

    yield opened
    assert browser.get_log("browser") == []


@pytest.mark.browser
def test_a_channel_of_what_was_pooled_is_followed(explorer):
    x = nnmed.Tensor(np.arange(12, dtype=np.float32).reshape(1, 3, 2, 2), requires_grad=True)
    page = explorer((F.adaptive_avg_pool2d(x, 1) ** 2).sum())
    page.execute_script("go(1); follow('s2', [0, 1, 0, 0])")
    trail = page.find_element("css selector", "#trail").text
    assert "[0,1,0,0]" in trail
    assert "value is 5.5" in trail
    assert "gradient is 11" in trail
    index = page.execute_script("return indexAt(page.runs[0].arrays['s2'], 0, 0, 2)")
    assert index == [0, 2, 0, 0]


@pytest.mark.browser
def test_one_number_has_no_scale(explorer):
    x = nnmed.Tensor([1.0, 2.0], requires_grad=True)
    page = explorer((x * 3.0).sum())
    shown = [
        [part.is_displayed() for part in figure.find_elements("css selector", ".scale")]
        for figure in page.find_elements("css selector", "figure")
    ]
    assert [True] in shown
    assert [False] in shown


@pytest.mark.browser
def test_infinity_has_a_colour_of_its_own(explorer):
    page = explorer(nnmed.Tensor(2.0, requires_grad=True) * 1.0)
    colours = page.execute_script(
        "return [1, Infinity, -1, -Infinity, NaN, 0].map((x) => String(colour(x, 1)))"
    )
    assert len(set(colours)) == 6
