"""Formulas in LaTeX, read as mathematics and held against the code.

Read in this order: ``parser.py`` (from LaTeX to a tree), ``nodes.py`` (the tree, and what it is
worth), ``scope.py`` (what the symbols stand for), ``case.py`` (one op: formula against code),
then the cases, a file for each family of ops.
"""
