"""Formulas as MathML, which browsers draw by themselves: no script, no network.

nnmed converts them, as for its own pages. Their font, STIX Two Math, comes from the package
ziamath: without a font made for mathematics browsers cannot stretch brackets.
"""

from __future__ import annotations

import shutil
from importlib import resources
from pathlib import Path

from docutils import nodes
from sphinx.util import logging

from nnmed.explain.page.mathml import to_mathml
from pages import SAFE

logger = logging.getLogger(__name__)

FONT = "STIXTwoMath-Regular.ttf"


def _render(writer, node, display: str) -> None:
    try:
        writer.body.append(to_mathml(node.astext(), display))
    except ValueError as error:
        logger.warning("%s", error, location=node)
    raise nodes.SkipNode


def visit_inline(writer, node):
    _render(writer, node, "inline")


def visit_block(writer, node):
    _render(writer, node, "block")


def copy_font(app, exception) -> None:
    if exception is None and app.builder.format == "html":
        with resources.as_file(resources.files("ziamath.fonts") / FONT) as font:
            shutil.copy(font, Path(app.outdir) / "_static" / FONT)


def setup(app):
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    app.connect("build-finished", copy_font)
    return SAFE
