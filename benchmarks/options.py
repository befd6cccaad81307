"""The options that the commands share, and what follows from them."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
from collections.abc import Iterable
from pathlib import Path

import nnmed
from nnmed.backend.files import write_whole
from nnmed.backend.threads import get_num_threads, set_num_threads

SCHEMA = 1


def add_arguments(parser: argparse.ArgumentParser, repeat: int | None) -> None:
    """Add the common flags; `repeat` is the default number of rounds, None for no rounds."""
    parser.add_argument(
        "--against", choices=("torch", "none"), default="torch",
        help="what to measure beside nnmed; PyTorch is left out where it is not installed "
        "(default: torch)",
    )  # fmt: skip
    parser.add_argument("--threads", type=positive, default=1, help="on both sides (default: 1)")
    if repeat is not None:
        help_text = f"rounds of measurement (default: {repeat}, quick: 2)"
        parser.add_argument("--repeat", type=positive, metavar="N", help=help_text)
        parser.set_defaults(rounds=repeat)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")


def settle(options: argparse.Namespace) -> None:
    """Settle the number of rounds, which --quick lowers."""
    if hasattr(options, "repeat"):
        options.rounds = options.repeat or (2 if options.quick else options.rounds)


def positive(text: str) -> int:
    """Parse a positive integer."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a positive integer, got {text!r}")
    return int(text)


def numbers(text: str) -> list[int]:
    """Parse positive integers with commas between them."""
    return [positive(part) for part in text.split(",")]


def names_of(known: Iterable[str]):
    """Return a parser of names with commas between them, each one of `known`."""

    def parse(text: str) -> list[str]:
        names = text.split(",")
        for name in names:
            if name not in known:
                message = f"unknown {name!r}: choose of {','.join(known)}"
                raise argparse.ArgumentTypeError(message)
        return list(dict.fromkeys(names))

    return parse


def add_tf32_argument(parser: argparse.ArgumentParser) -> None:
    """Add the flag for products in tfloat32."""
    parser.add_argument(
        "--tf32", action="store_true",
        help="let products on a GPU round their operands to tfloat32, on both sides",
    )  # fmt: skip


@contextlib.contextmanager
def equal_products(options: argparse.Namespace, torch):
    """Let both sides multiply on a GPU in tfloat32, or neither: PyTorch mixes by default."""
    if torch is not None:
        torch.backends.cuda.matmul.allow_tf32 = options.tf32
        torch.backends.cudnn.allow_tf32 = options.tf32
    nnmed.allow_tf32(options.tf32)
    try:
        yield
    finally:
        nnmed.allow_tf32(False)


@contextlib.contextmanager
def equal_threads(options: argparse.Namespace):
    """Hold nnmed, BLAS and PyTorch at the options' number of threads; give PyTorch or None."""
    from threadpoolctl import threadpool_limits

    torch, before = find_torch(options), get_num_threads()
    if torch is not None:
        torch.set_num_threads(options.threads)
    set_num_threads(options.threads)
    try:
        with threadpool_limits(options.threads, "blas"):
            yield torch
    finally:
        set_num_threads(before)


def find_torch(options: argparse.Namespace):
    """Return PyTorch, or None where it is not wanted or not installed."""
    if options.against == "none":
        return None
    try:
        return importlib.import_module("torch")
    except ImportError:
        return None


def without_torch(options: argparse.Namespace) -> str:
    """Return what tables show instead of PyTorch's figures."""
    return "left out" if options.against == "none" else "not installed"


def write_json(options: argparse.Namespace, **figures) -> None:
    """Write what was measured, whole or not at all, where --json says so."""
    if options.json is None:
        return
    arguments = {
        name: value
        for name, value in vars(options).items()
        if name != "run" and isinstance(value, (bool, int, str, list))
    }
    document = {"schema": SCHEMA, "arguments": arguments, **figures}
    write_whole(options.json, json.dumps(document, indent=1).encode() + b"\n")
