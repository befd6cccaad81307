"""Figures and tables of a finished run, from plain arrays and dicts."""

from nnmed.report.confusion import confusion_figure
from nnmed.report.curves import roc_and_pr
from nnmed.report.figure import save
from nnmed.report.heatmaps import heat_map_page
from nnmed.report.reliability import reliability_diagram
from nnmed.report.summary import summary_table
from nnmed.report.training import training_curves
from nnmed.report.worst import worst_errors

__all__ = [
    "confusion_figure",
    "heat_map_page",
    "reliability_diagram",
    "roc_and_pr",
    "save",
    "summary_table",
    "training_curves",
    "worst_errors",
]
