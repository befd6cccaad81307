"""The explorer in a real browser: every control, no error on the console, both languages."""

from __future__ import annotations

import numpy as np
import pytest

import nnmed
from nnmed import functional as F
from nnmed import models
from nnmed.explain import explain

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def derivations():
    """Two runs of a small network; the second has other weights."""
    made = []
    image = np.random.default_rng(0).standard_normal((1, 1, 20, 16)).astype(np.float32)
    for seed in (0, 1):
        nnmed.seed(seed)
        model = models.SmallCNN(1, 2, (4, 6))
        model.eval()
        x = nnmed.Tensor(image, requires_grad=True)
        loss = F.cross_entropy(model(x), nnmed.Tensor([1]))
        made.append(explain(loss, model).verify())
    return made


@pytest.fixture(scope="module")
def page(derivations, browser, tmp_path_factory):
    """The page of both, opened; when the tests are done nothing may stand on the console."""
    path = tmp_path_factory.mktemp("page") / "page.html"
    own, other = derivations
    own.to_html(path, title="A <small> network", beside=other)
    browser.get(path.as_uri())
    yield browser
    assert browser.get_log("browser") == []


@pytest.fixture
def at_start(page):
    page.execute_script("language = 'en'; showTexts(); stopFollowing(); state.run = 0; go(0);")
    return page


def find(page, selector):
    return page.find_element("css selector", selector)


def text_of(page, selector):
    return find(page, selector).text


def press(page, key, selector="body"):
    find(page, selector).send_keys(key)


def choose(page, selector, value):
    from selenium.webdriver.support.ui import Select

    Select(find(page, selector)).select_by_value(value)


def test_it_says_what_it_is(at_start, derivations):
    assert at_start.title == "A <small> network"
    assert text_of(at_start, "h1") == "A <small> network"
    loss = derivations[0].step(0).output_value
    summary = text_of(at_start, "#summary")
    assert f"{float(loss):.6g}" in summary
    assert f"{len(derivations[0])} of {len(derivations[0])} checks pass" in summary


def test_arrow_keys_and_buttons_go_from_step_to_step(at_start, derivations):
    from selenium.webdriver.common.keys import Keys

    press(at_start, Keys.ARROW_RIGHT)
    assert text_of(at_start, "#heading").startswith(derivations[0].step(1).op_name)
    find(at_start, "#next").click()
    assert text_of(at_start, "#heading").startswith(derivations[0].step(2).op_name)
    find(at_start, "#previous").click()
    press(at_start, Keys.ARROW_LEFT)
    assert text_of(at_start, "#heading").startswith(derivations[0].step(0).op_name)
    assert not find(at_start, "#previous").is_enabled()
    assert derivations[0].step(0).op_name in find(at_start, "#status").get_attribute("textContent")


def test_each_step_shows_formulas_arrays_and_its_check(at_start, derivations):
    for step in derivations[0]:
        choose(at_start, "#find", str(step.index))
        panel = find(at_start, "#step")
        assert step.op_name in panel.text
        assert "passes" in panel.text
        assert step.source in panel.text
        formulas = 1 + sum(i.gradient is not None for i in step.inputs)
        assert len(panel.find_elements("css selector", "math")) == formulas
        maps = panel.find_elements("css selector", "canvas.map")
        gradients = 1 + sum(i.gradient is not None for i in step.inputs)
        known = sum(value is not None for value in [*step.input_values, step.output_value])
        assert len(maps) == known + gradients


def test_the_panel_shows_the_very_numbers(at_start, derivations):
    step = derivations[0].step(0)
    shown = at_start.execute_script(
        "return Array.from(numbersOf(page.runs[0].arrays[page.runs[0].steps[0].inputs[0].tensor]))"
    )
    scores = step.input_values[0].ravel()
    np.testing.assert_allclose(shown, scores, rtol=1e-3)


def test_a_node_is_chosen_by_pointer_and_by_keyboard(at_start, derivations):
    from selenium.webdriver.common.keys import Keys

    last = derivations[0].step(len(derivations[0]) - 1)
    node = find(at_start, f'.node[data-order="{last.op.order}"]')
    at_start.execute_script("arguments[0].dispatchEvent(new Event('click'))", node)
    assert text_of(at_start, "#heading").startswith(last.op_name)
    assert "chosen" in node.get_attribute("class")
    other = find(at_start, f'.node[data-order="{derivations[0].step(1).op.order}"]')
    assert other.get_attribute("aria-label").startswith("1: ")
    other.send_keys(Keys.ENTER)
    assert text_of(at_start, "#heading").startswith(derivations[0].step(1).op_name)


def test_zoom(at_start):
    drawing = find(at_start, "#graph svg")
    width = float(drawing.get_attribute("width"))
    find(at_start, "#zoom-in").click()
    assert float(drawing.get_attribute("width")) == pytest.approx(1.25 * width)
    find(at_start, "#zoom-out").click()
    assert float(drawing.get_attribute("width")) == pytest.approx(width)
    find(at_start, "#zoom-all").click()
    assert drawing.size["height"] <= find(at_start, "#graph").size["height"]
    assert drawing.size["width"] <= find(at_start, "#graph").size["width"]


def test_a_pixel_is_followed_to_the_loss(at_start, derivations):
    own = derivations[0]
    number, image = next((i, leaf) for i, leaf in enumerate(own.leaves) if leaf.name == "x")
    at_start.execute_script(f"follow('l{number}', [0, 0, 7, 5])")
    trail = text_of(at_start, "#trail")
    assert "[0,0,7,5]" in trail
    assert "[6…8, 4…6]" in trail  # the first 3x3 convolution
    assert "[5…9, 3…7]" in trail  # the second
    assert "[2…4, 1…3]" in trail  # max pooling by 2
    shown = at_start.execute_script(
        "const r = page.runs[0], f = state.followed;"
        "return numberAt(r.arrays[r.tensors[f.tensor].gradient], f.index)"
    )
    assert shown == pytest.approx(image.gradient[0, 0, 7, 5], rel=1e-3)
    assert len(at_start.find_elements("css selector", ".node.followed")) == len(own)
    find(at_start, "#stop").click()
    assert not find(at_start, "#trail").is_displayed()


def test_what_is_followed_reaches_as_far_as_the_page_says(at_start, derivations):
    """Changed, a pixel changes the outputs of each step nowhere else."""
    nnmed.seed(0)
    model = models.SmallCNN(1, 2, (4, 6))
    model.eval()
    start = np.random.default_rng(0).standard_normal((1, 1, 20, 16)).astype(np.float32)
    outputs = []
    for step in (0.0, 1.0):
        image = start.copy()
        image[0, 0, 7, 5] += step
        x = nnmed.Tensor(image, requires_grad=True)
        steps = explain(F.cross_entropy(model(x), nnmed.Tensor([1])), model)
        outputs.append([s.output_value for s in steps])
    number = next(i for i, leaf in enumerate(derivations[0].leaves) if leaf.name == "x")
    regions = at_start.execute_script(
        f"return [...trailOf(page.runs[0], 'l{number}', [0, 0, 7, 5])]"
    )
    regions = dict(map(tuple, regions))
    for index, (before, after) in enumerate(zip(*outputs)):
        region = regions[f"s{index}"]
        if region is not None and before.ndim == 4:
            y0, y1, x0, x1 = region
            _, _, rows, columns = np.nonzero(before != after)
            assert y0 <= rows.min() <= rows.max() <= y1
            assert x0 <= columns.min() <= columns.max() <= x1


def test_a_click_and_the_keyboard_on_a_map_follow(at_start, derivations):
    from selenium.webdriver.common.keys import Keys

    choose(at_start, "#find", str(len(derivations[0]) - 1))
    canvas = find(at_start, "canvas.map")
    canvas.click()
    assert "[0,0," in text_of(at_start, "#trail")
    press(at_start, Keys.ARROW_LEFT)  # still goes from step to step
    assert at_start.execute_script("return state.number") == len(derivations[0]) - 2
    press(at_start, Keys.ARROW_RIGHT)
    canvas = find(at_start, "canvas.map")
    press(at_start, Keys.ESCAPE)
    canvas = find(at_start, "canvas.map")
    canvas.send_keys(Keys.ARROW_DOWN, Keys.ARROW_RIGHT)
    assert "[0,0,1,1] = " in text_of(at_start, ".reading")
    canvas.send_keys(Keys.ENTER)
    assert "[0,0,1,1]" in text_of(at_start, "#trail")


def test_pictures_of_an_array(at_start, derivations):
    choose(at_start, "#find", str(len(derivations[0]) - 2))
    picture = find(at_start, "figure select")
    assert picture.text.splitlines()[0] == "norm over channels"
    choose(at_start, "figure select", "2")
    before = find(at_start, "canvas.map")
    assert before.get_attribute("aria-label").startswith("x = ")


def test_the_figures_of_a_tensor_show_the_same_picture_and_say_which(at_start, derivations):
    from selenium.webdriver.common.action_chains import ActionChains

    number = next(s.index for s in derivations[0] if s.op_name == "MaxPool2d")
    at_start.execute_script(f"go({number})")
    value, gradient = (
        next(f for f in at_start.find_elements("css selector", "figure") if f.text.startswith(name))
        for name in ("y", "∂L/∂y")
    )
    for picture, label in ((2, "[0,1,"), (0, "norm[:, ")):
        choose_in(value, picture)
        chosen = gradient.find_element("css selector", "select").get_attribute("value")
        assert chosen == str(picture)
        at_start.execute_script("arguments[0].scrollIntoView({block: 'center'})", gradient)
        ActionChains(at_start).move_to_element(
            gradient.find_element("css selector", "canvas.map")
        ).perform()
        assert gradient.find_element("css selector", ".reading").text.startswith(label)


def choose_in(figure, value):
    from selenium.webdriver.support.ui import Select

    Select(figure.find_element("css selector", "select")).select_by_value(str(value))


def test_a_leaf_leads_to_the_step_that_uses_it_first(at_start, derivations):
    own = derivations[0]
    at_start.execute_script("showAll()")
    (node,) = [
        node
        for node in at_start.find_elements("css selector", "#graph .node:not([data-order])")
        if node.get_attribute("aria-label").startswith("x,")
    ]
    node.click()
    first = max(s.index for s in own if any(i.leaf and i.leaf.name == "x" for i in s.inputs))
    assert at_start.execute_script("return state.number") == first


def test_themes(at_start):
    def paper():
        return at_start.execute_script("return getComputedStyle(document.body).backgroundColor")

    choose(at_start, "#theme", "dark")
    dark = paper()
    choose(at_start, "#theme", "light")
    assert paper() != dark
    choose(at_start, "#theme", "auto")


def test_both_languages(at_start):
    english = text_of(at_start, "#step")
    choose(at_start, "#language", "zh")
    assert find(at_start, "html").get_attribute("lang") == "zh"
    assert "前向" in text_of(at_start, "#step")
    assert "检验" in text_of(at_start, "#summary")
    keys = at_start.execute_script(
        "return ['en', 'zh'].map((name) => Object.keys(TEXTS[name]).sort().join())"
    )
    assert keys[0] == keys[1]
    choose(at_start, "#language", "en")
    assert text_of(at_start, "#step") == english


def test_two_runs_and_their_difference(at_start, derivations):
    key = "page.runs[0].steps[0].inputs[0].tensor"

    def scores():
        return at_start.execute_script(
            f"return Array.from(numbersOf(shownRun().arrays[{key}]))"
        )  # fmt: skip

    own = scores()
    choose(at_start, "#run", "1")
    other = scores()
    choose(at_start, "#run", "2")
    np.testing.assert_allclose(scores(), np.subtract(other, own), atol=1e-12)
    assert own != other
    choose(at_start, "#run", "0")


def test_code_is_there(at_start):
    find(at_start, "#step details summary").click()
    assert "def forward" in text_of(at_start, "#step details pre")


def test_everything_with_a_role_has_a_name(at_start):
    nameless = at_start.execute_script("""
      return [...document.querySelectorAll("button, select, [role=img], [role=button], svg")]
        .filter((e) => !(e.textContent.trim() || e.getAttribute("aria-label") || e.labels?.length))
        .map((e) => e.outerHTML.slice(0, 80))""")
    assert nameless == []


def test_nothing_comes_from_the_network(derivations, tmp_path):
    path = tmp_path / "page.html"
    derivations[0].to_html(path)
    text = path.read_text(encoding="utf-8")
    own = ("http://www.w3.org/", "https://www.w3.org/")  # names of namespaces
    for name in own:
        text = text.replace(name, "")
    assert "src=" not in text
    for line in text.splitlines():
        assert "http" not in line or '<script id="data"' in line


def test_the_page_of_a_resnet18_stays_under_10_megabytes(browser, tmp_path):
    nnmed.seed(0)
    model = models.ResNet(3, 2, (2, 2, 2, 2), 64, large_stem=True)
    x = nnmed.Tensor(np.random.default_rng(0).standard_normal((1, 3, 64, 64)).astype(np.float32))
    x.requires_grad_()
    derivation = explain(F.cross_entropy(model(x), nnmed.Tensor([0])), model)
    path = tmp_path / "resnet.html"
    derivation.to_html(path)
    assert path.stat().st_size < 10e6
    browser.get(path.as_uri())
    assert browser.execute_script("return page.runs[0].steps.length") == len(derivation)
    assert browser.get_log("browser") == []


def test_names_cannot_break_the_page(browser, tmp_path):
    a = nnmed.Tensor(np.zeros((0, 3), np.float32), requires_grad=True)
    loss = (a * 2).sum() + nnmed.sin(a).sum()  # "<!-- <script>" </script> <b>
    path = tmp_path / "page.html"
    title = 'x<script>alert(1)<!--<script></script> \udcff "&'
    explain(loss).to_html(path, title=title)
    browser.get(path.as_uri())
    assert browser.execute_script("return document.scripts.length") == 2
    assert "alert(1)<!--<script>" in browser.title
    for number in range(browser.execute_script("return page.runs[0].steps.length")):
        browser.execute_script(f"go({number})")
    assert "<!-- <script>" in browser.find_element("css selector", "#step").text
    assert browser.get_log("browser") == []


@pytest.mark.parametrize(
    "function",
    [
        lambda x: nnmed.transpose(x, 2, 3),
        lambda x: x[:, :, ::-1],
        lambda x: F.pad(x, (1, -1, 2, -2)),
        lambda x: F.max_pool2d(x, 3, 2, 1),
        lambda x: F.avg_pool2d(x, 2),
        lambda x: F.conv2d(x, nnmed.Tensor(np.ones((2, 3, 3, 3), np.float32)), stride=2, padding=1),
        lambda x: F.conv2d(x, nnmed.Tensor(np.ones((2, 3, 3, 3), np.float32)), dilation=2),
        lambda x: F.conv_transpose2d(
            x, nnmed.Tensor(np.ones((3, 2, 3, 3), np.float32)), stride=2, padding=1
        ),
        lambda x: nnmed.concatenate([x, x * 2], 1),
        lambda x: F.softmax(x, 1) + x,
        lambda x: F.interpolate(x, scale_factor=2),
        lambda x: nnmed.einsum("bchw->bcwh", x),
    ],
)
def test_no_op_reaches_further_than_it_is_said_to(function, browser, tmp_path):
    start = np.random.default_rng(0).standard_normal((1, 3, 8, 8)).astype(np.float32)
    outputs = []
    for change in (0.0, 50.0):
        array = start.copy()
        array[0, :, 3, 5] += change
        x = nnmed.Tensor(array, requires_grad=True)
        derivation = explain(function(x).sum())
        outputs.append([step.output_value for step in derivation])
    path = tmp_path / "page.html"
    derivation.to_html(path)
    browser.get(path.as_uri())
    regions = browser.execute_script("return [...trailOf(page.runs[0], 'l0', [0, 0, 3, 5])]")
    for name, region in regions:
        if name.startswith("s") and region is not None:
            before, after = (each[int(name[1:])] for each in outputs)
            *_, rows, columns = np.nonzero(before != after)
            y0, y1, x0, x1 = region
            assert y0 <= rows.min() <= rows.max() <= y1
            assert x0 <= columns.min() <= columns.max() <= x1
