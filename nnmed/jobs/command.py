"""Run a job as a command: exit status and messages instead of tracebacks."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from nnmed.errors import DataError, ModelError, NnmedError

OK, FAILED, USAGE, DATA, MODEL, INTERRUPTED = 0, 1, 2, 3, 4, 130


def run_command(job: Callable[[], object]) -> int:
    """Call `job` and return the exit status.

    0 success, 2 wrong usage, 3 bad data, 4 bad model file, 130 interrupted, 1 any other error
    that nnmed foresees; 3 or 4 also where a result or a model file cannot be written. What
    it does not foresee keeps its traceback.
    """
    _print_any_name()
    try:
        job()
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _fail(
            "interrupted; where training has begun, --resume --out FOLDER goes on", INTERRUPTED
        )
    except BrokenPipeError:
        # Nothing more can be printed, not even what Python would flush at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _fail("stopped: nobody reads the output; --resume --out FOLDER goes on", FAILED)
    except (DataError, OSError) as error:
        return _fail(error, DATA)
    except ModelError as error:
        return _fail(error, MODEL)
    except ArithmeticError as error:
        return _fail(error, FAILED)
    except MemoryError as error:
        return _fail(f"not enough memory ({error}): lower --batch-size or --size", FAILED)
    except NnmedError as error:
        return _fail(error, USAGE)
    return OK


def _print_any_name() -> None:
    """Let files have names that the terminal's encoding lacks: they are printed escaped."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _fail(error: object, status: int) -> int:
    print(f"error: {error}" if status != INTERRUPTED else error, file=sys.stderr)
    return status
