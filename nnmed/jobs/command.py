"""Run a job as a command: exit status and messages instead of tracebacks."""

from __future__ import annotations

import sys
from collections.abc import Callable

from nnmed.errors import DataError, ModelError, NnmedError

OK, FAILED, USAGE, DATA, MODEL, INTERRUPTED = 0, 1, 2, 3, 4, 130


def run_command(job: Callable[[], object]) -> int:
    """Call `job` and return the exit status.

    0 success, 2 wrong usage, 3 bad data, 4 bad model file, 130 interrupted, 1 any other
    error that nnmed foresees. What it does not foresee keeps its traceback.
    """
    try:
        job()
    except KeyboardInterrupt:
        print("interrupted; go on with --resume --out and the folder of this run", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        return OK  # whoever read the output has seen enough
    except DataError as error:
        return _fail(error, DATA)
    except ModelError as error:
        return _fail(error, MODEL)
    except ArithmeticError as error:
        return _fail(error, FAILED)
    except NnmedError as error:
        return _fail(error, USAGE)
    return OK


def _fail(error: Exception, status: int) -> int:
    print(f"error: {error}", file=sys.stderr)
    return status
