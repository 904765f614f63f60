"""The one exception a user is meant to read, and how a command ends on it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


class UserError(Exception):
    """A mistake in what the user gave: one line saying what is wrong, where, and what to do."""


@contextmanager
def one_line_errors() -> Iterator[None]:
    """End the process with exit code 2 and one line, without a traceback, on a :class:`UserError`."""
    try:
        yield
    except UserError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
