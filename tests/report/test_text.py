"""The table for the terminal, and text that fits whatever its script."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from nnmed.metrics import Score
from nnmed.report import fonts, summary_table


def test_summary_table():
    scores = {
        "roc_auc": Score(0.9182, 0.871, 0.957, 157),
        "f1": Score(0.7, math.nan, math.nan, 157, "one patient gives no interval"),
        "my_score": Score(math.nan, math.nan, math.nan, 157, "no positive case"),
    }
    assert summary_table(scores, "Test set").splitlines() == [
        "Test set",
        "score     value  95% interval      n",
        "ROC-AUC   0.918  [0.871, 0.957]  157",
        "F1        0.700  -               157  one patient gives no interval",
        "my score      -  -               157  no positive case",
    ]


@given(text=st.text("ab 中_\n/é🩻", max_size=80))
def test_shortened_text_fits_and_is_one_line(text):
    short = fonts.shorten(text, 20)
    assert fonts.width(short) <= 20
    assert "\n" not in short
    assert all(fonts.width(line) <= 20 for line in fonts.two_lines(text, 20))
    assert fonts.width(fonts.one_line(text)) > 20 or short == fonts.one_line(text)


def test_the_middle_is_cut_and_lines_break_after_separators():
    assert fonts.shorten("abcdefghij", 7) == "abc…hij"
    assert fonts.two_lines("busi/images/malignant (13).png", 25) == [
        "busi/images/malignant ",
        "(13).png",
    ]


def test_what_no_font_has_becomes_a_box():
    assert fonts.plain("a\U000e0fffb\udcff") == "a□b□"
    assert fonts.plain("5 $ or 6 $\n") == r"5 \$ or 6 \$ "
    assert fonts.families("plain") == [fonts.BASE]
