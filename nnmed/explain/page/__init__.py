"""The explorer: a derivation as one page for a browser, with nothing from the network.

The page's parts lie beside this file; :mod:`~nnmed.explain.page.build` puts them together with
the data of a derivation.
"""

from nnmed.explain.page.build import build_page

__all__ = ["build_page"]
