"""Put the page together."""

from __future__ import annotations

import json
from html import escape
from importlib import resources
from string import Template

from nnmed.errors import UsageError
from nnmed.explain.drawing import svg
from nnmed.explain.page.data import code_of, run_data
from nnmed.explain.page.trail import pictures_on
from nnmed.explain.step import Leaf

SCRIPTS = (
    "texts.js", "element.js", "arrays.js", "heatmap.js", "follow.js", "figures.js", "panel.js",
    "trail.js", "graph.js", "main.js",
)  # fmt: skip


def build_page(derivation, title: str, beside=None, follow=None) -> str:
    """Return the explorer as HTML; see :meth:`nnmed.explain.Derivation.to_html`."""
    if not len(derivation):
        raise UsageError("to_html: the loss is a leaf, and there are no steps to show")
    if follow is not None and not (isinstance(follow, tuple) and len(follow) == 2):
        raise UsageError(f"to_html: follow= takes a tensor's name and an index, got {follow!r}")
    if beside is not None and _outline(beside) != _outline(derivation):
        raise UsageError(
            "to_html: beside= is to be a derivation of the same computation, with the same steps: "
            f"this one has {len(derivation)}, the other {len(beside)}"
        )
    # A file name that cannot be decoded has no place in a page.
    title = title.encode("utf-8", "backslashreplace").decode()
    shown = [each for each in (derivation, beside) if each is not None]
    trails = [None if follow is None else _followed(each, derivation, *follow) for each in shown]
    # Both runs show the same pictures, so that they can be compared.
    first = {} if follow is None else pictures_on(trails[0], derivation)
    runs = [run_data(each, trail, first) for each, trail in zip(shown, trails)]
    data = {
        "title": title,
        "summaries": [_summary(each) for each in shown],
        "runs": runs,
        "code": code_of(derivation),
    }
    # Inside of a script element nothing may look like its end, or like a comment.
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return Template(_part("explorer.html")).substitute(
        title=escape(title),
        style=_part("explorer.css") + _graph_themes(),
        graph=derivation.graph.to_svg(),
        data=text,
        script="\n".join(_part(name) for name in SCRIPTS),
    )


def _followed(derivation, named, name: str, index):
    """Return the trail in a derivation of what has a name in another one, of the same graph."""
    item = named.tensor(name)
    if derivation is not named and isinstance(item, Leaf):
        name = derivation.leaves[named.leaves.index(item)].name
    elif derivation is not named:
        name = derivation.step(item.index).name
    return derivation.follow(name, index)


def _outline(derivation) -> list:
    return [(step.op_name, step.shape) for step in derivation]


def _summary(derivation) -> dict[str, str]:
    loss = derivation.step(0).output_value
    value = "?" if loss is None else f"{loss.item():.6g}"
    count = len(derivation)
    verdicts = [step.check.verdict for step in derivation if step.check is not None]
    passed = verdicts.count("passed")
    checked = f"; {passed} of {len(verdicts)} checks pass" if verdicts else ""
    checked_zh = f"；{len(verdicts)} 项检验中 {passed} 项通过" if verdicts else ""
    return {
        "en": f"L = {value}, {count} steps of backward{checked}",
        "zh": f"L = {value}，反向共 {count} 步{checked_zh}",
    }


def _graph_themes() -> str:
    """Return the colours of the graph for the theme that the reader chooses on the page."""
    themes = ("light", svg.LIGHT), ("dark", svg.DARK)
    return "".join(
        f':root[data-theme="{name}"] .nnmed-graph {{ {colours} }}\n' for name, colours in themes
    )


def _part(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
