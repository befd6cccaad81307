"""Train a tumour detector and evaluate it honestly.

    python examples/detect_tumor.py                        synthetic chest X-rays
    python examples/detect_tumor.py --data my/images       a folder per class, or with a table
    python examples/detect_tumor.py --help                 all options

What happens is in nnmed/jobs/detect.py: read and check the images, split them by patient,
train, choose the threshold on validation, score the test images with intervals, and draw.
"""

import argparse
import sys

from nnmed.jobs.command import run_command
from nnmed.jobs.detect import detect
from nnmed.jobs.options import add_arguments, from_arguments


def main() -> int:
    parser = argparse.ArgumentParser(description="Train and evaluate a tumour detector.")
    add_arguments(parser)
    arguments = parser.parse_args()
    return run_command(lambda: detect(from_arguments(arguments)))


if __name__ == "__main__":
    sys.exit(main())
