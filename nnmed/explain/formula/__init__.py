"""Formulas in LaTeX, read as mathematics: computed, and written out number by number.

Read in this order: ``parser.py`` (from LaTeX to a tree), ``nodes.py`` (the tree), ``terms.py``
(numbers that remember how they came about), ``scope.py`` (what the symbols stand for),
``reading.py`` (the formulas of one op, with its arrays), ``spelling.py`` (formulas as text, in
symbols).
"""
