"""The one error a user meets, and how a command ends on it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from typing import NoReturn, TypeVar

T = TypeVar("T")


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are InputErrors: one line, as everywhere."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see --help")


class InputError(Exception):
    """Bad input or usage: one line saying what was found, expected, where, and what to do."""


def run_command(main: Callable[[], int | None]) -> None:
    """Runs a stage's `main` and exits: 0 good, 1 the check failed, 2 usage or bad input."""
    try:
        status = main()
    except InputError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        status = 2
    sys.exit(status or 0)


def pick(kind: str, name: str, choices: Mapping[str, T]) -> T:
    """The choice called `name`; an unknown name is answered with the valid ones."""
    if name not in choices:
        raise InputError(f"unknown {kind} {name!r}; valid names: {', '.join(sorted(choices))}")
    return choices[name]
