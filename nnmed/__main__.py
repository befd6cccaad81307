"""``python -m nnmed``: the console script, where that is not on the path."""

from __future__ import annotations

import sys

from nnmed.cli import main

if __name__ == "__main__":
    sys.exit(main())
