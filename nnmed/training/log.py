"""Lines for whoever waits in front of the terminal."""

from __future__ import annotations

import sys


def log(line: str) -> None:
    """Print a line to stderr, above the progress bar if there is one."""
    from tqdm import tqdm

    tqdm.write(line, file=sys.stderr)
