"""``python -m benchmarks COMMAND [options]``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from benchmarks import gradients, kernels, limits, options, scaling, training
from nnmed.errors import NnmedError

COMMANDS = {
    "kernels": kernels,
    "training": training,
    "scaling": scaling,
    "gradients": gradients,
    "limits": limits,
}
OK, WRONG, USAGE, FILE, INTERRUPTED = 0, 1, 2, 3, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit status.

    0 success, 1 where a result that was checked is wrong, 2 wrong usage, 3 a file cannot be
    written, 130 interrupted.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(title="commands", dest="command", required=True)
    for name, module in COMMANDS.items():
        text = module.__doc__.splitlines()[0]
        command = commands.add_parser(
            name, help=text, description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        module.add_arguments(command)
    parsed = parser.parse_args(arguments)
    options.settle(parsed)
    try:
        wrong = COMMANDS[parsed.command].run(parsed)
    except NnmedError as error:
        return _fail(error, USAGE)
    except OSError as error:
        return _fail(error, FILE)
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)
    for line in wrong:
        print(f"wrong: {line}", file=sys.stderr)
    return WRONG if wrong else OK


def _fail(error: object, status: int) -> int:
    print(f"error: {error}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
