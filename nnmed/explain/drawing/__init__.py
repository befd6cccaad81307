"""Drawings of a graph: a layered layout and SVG, Graphviz's language, and text.

The layout follows Sugiyama, Tagawa and Toda, "Methods for visual understanding of hierarchical
system structures", IEEE Transactions on Systems, Man, and Cybernetics 11 (1981), in four steps:
layers (``layers.py``), the order within them (``ordering.py``), the places (``placement.py``)
and the lines (``layout.py``).
"""
