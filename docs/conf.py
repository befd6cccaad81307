"""Sphinx's settings: ``python -m sphinx -W --keep-going docs build/site`` from the checkout."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # the extensions in pages/
sys.path.insert(0, str(Path(__file__).parents[1]))  # nnmed itself, if it is not installed

import nnmed

project = "nnmed"
version = release = nnmed.__version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "pages",  # first: it clears the place that the others write to
    "pages.mathml",
    "pages.api",
    "pages.lessons",
    "pages.rules",
    "pages.repository",  # last: it reads the links of all other pages
]
exclude_patterns = ["pages"]

myst_enable_extensions = ["amsmath", "dollarmath"]
myst_heading_anchors = 3

default_role = "code"  # docstrings name arguments as `argument`
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_member_order = "bysource"
autosummary_generate = False  # its tables, not its pages
napoleon_google_docstring = False
napoleon_custom_sections = ["Shape"]
# Types are told in words, "array, shape (n,)", and not each word in them is the name of a class.
suppress_warnings = ["ref.python"]

html_theme = "furo"
html_title = f"nnmed {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_copy_source = False
html_show_copyright = False
