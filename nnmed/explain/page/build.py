"""Put the page together."""

from __future__ import annotations

import json
from importlib import resources
from string import Template

from nnmed.explain.page.data import code_of, run_data

SCRIPTS = (
    "texts.js", "arrays.js", "heatmap.js", "follow.js", "figures.js", "panel.js", "graph.js",
    "main.js",
)  # fmt: skip


def build_page(derivation, graph: str, title: str, beside=None) -> str:
    """Return the explorer as HTML.

    Parameters
    ----------
    derivation : Derivation
    graph : str
        The graph of the computation as SVG, whose nodes have the class ``node`` and the op's
        number as ``data-order``.
    title : str
    beside : Derivation, optional
        Of another run of the same computation, to be compared with.
    """
    runs = [run_data(derivation)] + ([] if beside is None else [run_data(beside)])
    data = {
        "title": title,
        "summary": _summary(derivation),
        "runs": runs,
        "code": code_of(derivation),
    }
    # Inside of a script element nothing may look like its end.
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/")
    return Template(_part("explorer.html")).substitute(
        title=_escaped(title),
        style=_part("explorer.css"),
        graph=graph,
        data=text,
        script="\n".join(_part(name) for name in SCRIPTS),
    )


def _summary(derivation) -> dict[str, str]:
    loss = derivation.step(0).output_value
    value = "" if loss is None else f"{float(loss):.6g}"
    count = len(derivation)
    verdicts = [step.check.verdict for step in derivation if step.check is not None]
    passed = verdicts.count("passed")
    checked = f"; {passed} of {len(verdicts)} checks pass" if verdicts else ""
    checked_zh = f"；{len(verdicts)} 项检验中 {passed} 项通过" if verdicts else ""
    return {
        "en": f"L = {value}, {count} steps of backward{checked}",
        "zh": f"L = {value}，反向共 {count} 步{checked_zh}",
    }


def _part(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
