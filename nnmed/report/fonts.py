"""Any text on a figure without a warning: names of files and classes in any script.

matplotlib's own font has Latin, Greek and Cyrillic letters, but no Chinese ones. Where text
needs more, an installed font that has the characters is added as a fallback; what no font
has is drawn as an empty box.
"""

from __future__ import annotations

import contextlib
import functools
import unicodedata

BASE = "DejaVu Sans"  # comes with matplotlib
# Common fonts of Windows, macOS and Linux with Chinese, Japanese or Korean characters.
CANDIDATES = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans SC",
    "Source Han Sans SC",
    "Source Han Sans CN",
    "Microsoft YaHei",
    "PingFang SC",
    "Hiragino Sans GB",
    "Heiti SC",
    "STHeiti",
    "Songti SC",
    "SimHei",
    "SimSun",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "Droid Sans Fallback",
    "Arial Unicode MS",
    "Malgun Gothic",
    "Apple SD Gothic Neo",
    "Yu Gothic",
    "Noto Sans Devanagari",
    "Noto Sans Thai",
    "Noto Sans Arabic",
    "Noto Sans",
)
BOX = "\u25a1"


def write(method, *lines, **options):
    """Call the matplotlib text method `method` with `lines`, whatever characters they hold."""
    text = "\n".join(plain(line) for line in lines)
    return method(text, fontfamily=families("".join(map(one_line, lines))), **options)


def plain(text) -> str:
    """Return `text` as one line that matplotlib draws as it stands.

    Control characters become spaces, characters of no installed font a box, and dollar
    signs do not start a formula.
    """
    line = one_line(text)
    covered = frozenset().union(*(_characters(name) for name in families(line)))
    return "".join(c if ord(c) in covered else BOX for c in line).replace("$", r"\$")


def one_line(text) -> str:
    """Return `text` without control characters, its accents joined to their letters."""
    # NFC: macOS stores the accents of a file's name as characters of their own.
    text = unicodedata.normalize("NFC", str(text))
    return "".join(" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in text)


def width(text: str) -> int:
    """Return the width of `text` in columns; a Chinese character takes two."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def shorten(text, columns: int) -> str:
    """Return `text` cut in its middle, where names differ least, to at most `columns` wide."""
    text = one_line(text)
    if width(text) <= columns:
        return text
    left = (columns - 1) // 2
    head = text[: _fitting(text, left)]
    tail = text[::-1][: _fitting(text[::-1], columns - 1 - width(head))][::-1]
    return f"{head}…{tail}"


def _fitting(text: str, columns: int) -> int:
    """Return how many characters of `text` fit into `columns`."""
    used = 0
    for count, character in enumerate(text):
        used += width(character)
        if used > columns:
            return count
    return len(text)


def two_lines(text, columns: int) -> list[str]:
    """Return `text` as one line, or two where it needs them, of at most `columns` each."""
    text = shorten(text, 2 * columns - 1)
    if width(text) <= columns:
        return [text]
    end = _fitting(text, columns)
    # Break after a separator near the end of the line, if the rest then still fits.
    for start in range(end, end // 2, -1):
        if text[start - 1] in " _-/" and width(text[start:]) <= columns:
            return [text[:start], text[start:]]
    return [text[:end], text[end:]]


def families(text: str) -> list[str]:
    """Return the font families that `text` needs, matplotlib's own first."""
    chosen = [BASE]
    missing = {ord(c) for c in text} - _characters(BASE)
    for name in _installed() if missing else ():
        found = missing & _characters(name)
        if found:
            chosen.append(name)
            missing -= found
    return chosen


@functools.lru_cache(maxsize=1)
def _installed() -> tuple[str, ...]:
    from matplotlib import font_manager

    known = {font.fname for font in font_manager.fontManager.ttflist}
    for path in font_manager.findSystemFonts():
        if path not in known:  # installed since matplotlib last listed the fonts
            with contextlib.suppress(RuntimeError, OSError):
                font_manager.fontManager.addfont(path)
    names = {font.name for font in font_manager.fontManager.ttflist}
    return tuple(name for name in CANDIDATES if name in names)


@functools.cache
def _characters(name: str) -> frozenset[int]:
    from matplotlib import font_manager

    font = font_manager.get_font(font_manager.findfont(name))
    return frozenset(font.get_charmap())
