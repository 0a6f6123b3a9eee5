"""The one error a user meets, and how a command ends on it."""

from __future__ import annotations

import argparse
import errno
import os
import select
import signal
import sys
from collections.abc import Callable, Mapping
from typing import NoReturn, TypeVar

T = TypeVar("T")


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are InputErrors: one line, as everywhere. A command
    describes itself by its file's docstring, whose lines stay as they are."""

    def __init__(self, description: str | None = None, prog: str | None = None) -> None:
        raw = argparse.RawDescriptionHelpFormatter
        super().__init__(prog, description=description, formatter_class=raw)

    def add_force(self) -> None:
        """For a command whose result may take the place of another one."""
        self.add_argument("--force", action="store_true", help="replace what lies there")

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see --help")


class InputError(Exception):
    """Bad input or usage: one line saying what was found, expected, where, and what to do."""


ROOM, PERMISSION = "make room", "change its permissions, or remove it"
# What a machine may refuse however right the program is; any other OSError is a fault of ours.
REFUSALS = {
    errno.ENOSPC: ROOM,
    errno.EDQUOT: ROOM,
    errno.EFBIG: "allow larger files (ulimit -f)",
    errno.EACCES: PERMISSION,
    errno.EPERM: PERMISSION,
    errno.EROFS: "mount it for writing",
    errno.EIO: "look after the disk",
    errno.EMFILE: "allow more open files (ulimit -n)",
    errno.ENFILE: "close other programs",
}


def run_command(main: Callable[[], int | None]) -> None:
    """Runs a stage's `main` and exits: 0 good, 1 the check failed, 2 usage, bad input, or a
    machine that refused (a full disk); 141 where nobody reads on, as in `… | head -1`."""
    try:
        status = main()
        sys.stdout.flush()
    except InputError as error:
        status = _complain(str(error))
    except OSError as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            sys.exit(128 + signal.SIGPIPE)
        if error.errno not in REFUSALS:
            raise
        where = f"{error.filename}: " if error.filename else ""
        status = _complain(
            f"{where}{error.strerror}; {REFUSALS[error.errno]} and run it again, what is finished "
            "is kept"
        )
    sys.exit(status or 0)


def _nobody_reads() -> bool:
    """Whether it is standard output that broke; if so, what it still holds goes nowhere: python's
    own flush, at the end, must not meet the pipe again."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)  # 0: nothing but that it broke
    broken = bool(poll.poll(0))
    if broken:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return broken


def _complain(text: str) -> int:
    print(f"error: {' '.join(text.split())}", file=sys.stderr)
    return 2


def pick(kind: str, name: str, choices: Mapping[str, T]) -> T:
    """The choice called `name`; an unknown name is answered with the valid ones."""
    if name not in choices:
        raise InputError(f"unknown {kind} {name!r}; valid names: {', '.join(sorted(choices))}")
    return choices[name]
