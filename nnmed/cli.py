"""The console script ``nnmed``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import nnmed
from nnmed.jobs import detect, doctor, explain, options
from nnmed.jobs.command import run_command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``nnmed JOB [options]`` and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="nnmed", description="Neural networks for medical images."
    )
    parser.add_argument("--version", action="version", version=f"nnmed {nnmed.__version__}")
    jobs = parser.add_subparsers(title="jobs", dest="job", required=True)
    help_text = "train and evaluate a detector: does an image show a tumour?"
    options.add_arguments(jobs.add_parser("detect", help=help_text, description=help_text))
    help_text = "show how a trained detector's loss for one image depends on every number"
    explain.add_arguments(jobs.add_parser("explain", help=help_text, description=help_text))
    help_text = "what this machine has for nnmed, and how to mend what is missing"
    doctor.add_arguments(jobs.add_parser("doctor", help=help_text, description=help_text))
    parsed = parser.parse_args(arguments)
    if parsed.job == "doctor":
        return doctor.examine(parsed.device, parsed.json)
    if parsed.job == "explain":
        return run_command(lambda: explain.run(parsed))
    return run_command(lambda: detect.detect(options.from_arguments(parsed)))


if __name__ == "__main__":
    sys.exit(main())
