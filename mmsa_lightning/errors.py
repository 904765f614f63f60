"""The one exception a user is meant to read, and how a command ends on it."""

from __future__ import annotations

import io
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class UserError(Exception):
    """A mistake in what the user gave: one line saying what is wrong, where, and what to do."""


@contextmanager
def one_line_errors() -> Iterator[None]:
    """End the process with one line and no traceback: exit code 2 on a mistake, see :func:`one_line`; 130 on Ctrl-C."""
    print_anything()
    try:
        yield
    except (UserError, OSError) as error:
        print(one_line(error), file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)


def print_anything() -> None:
    """Print a character that the output's encoding lacks (GBK, Latin-1, a log file on Windows) as ``\\u2022``."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # not a notebook's
            stream.reconfigure(errors="backslashreplace")


def one_line(error: Exception) -> str:
    """The line for a user: an :class:`OSError` (disk full, read-only, no such folder) names its file and reason."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"error: {error.filename}: {error.strerror}"
    text = " ".join(str(error).split())
    return "error: " + "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)  # a terminal obeys some
