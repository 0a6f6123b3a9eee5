"""The one error a user meets, and how a command ends, on it or well."""

from __future__ import annotations

import argparse
import errno
import os
import select
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, TypeVar

from manifests.core.pulse import pulse

T = TypeVar("T")


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are InputErrors: one line, as everywhere. A command
    describes itself by its file's docstring, whose lines stay as they are."""

    def __init__(self, description: str | None = None, prog: str | None = None) -> None:
        raw = argparse.RawDescriptionHelpFormatter
        super().__init__(prog, description=description, formatter_class=raw)
        self.add_argument("--quiet", action=_Quiet, nargs=0, help="show no progress")

    def add_force(self) -> None:
        """For a command whose result may take the place of another one."""
        self.add_argument("--force", action="store_true", help="replace what lies there")

    def add_json(self) -> None:
        """For a command whose answer a script may want."""
        self.add_argument("--json", type=Path, metavar="FILE", help="write the findings there, too")
        self.add_force()

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see --help")


class _Quiet(argparse.Action):
    def __call__(self, *_: object, **__: object) -> None:
        from manifests.core.progress import be_silent  # the overview of commands needs no bars

        be_silent()


def plain(text: str) -> str:
    """One line without signs that a terminal would obey: what it says may be a stranger's."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


class InputError(Exception):
    """Bad input or usage: one line saying what was found, expected, where, and what to do."""


MOST_NAMED = 20  # faults of one input that are told one by one


class SeveralFaults(InputError):
    """Faults of one input: how many on the first line, then the first of them, a line each."""


@dataclass
class Faults:
    """What is wrong with one input, found in one pass: `with faults:` notes an InputError out of
    the block and goes on behind it."""

    where: str  # the input
    count: int = 0
    first: list[str] = field(default_factory=list)

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if isinstance(error, InputError):
            self.note(str(error))
        return isinstance(error, InputError)

    def note(self, fault: str) -> None:
        self.count += 1
        if len(self.first) < MOST_NAMED:
            self.first.append(plain(fault))

    def raise_any(self) -> None:
        """Raises the only fault as it is, or SeveralFaults."""
        if self.count == 1:
            raise InputError(self.first[0])
        if self.count:
            more = self.count - len(self.first)
            rest = [f"... and {more:,} more"] if more else []
            raise SeveralFaults(
                "\n".join([f"{self.where}: {self.count:,} faults", *self.first, *rest])
            )


ROOM, PERMISSION = "make room", "change its permissions, or remove it"
# What a machine may refuse however right the program is; any other OSError is a fault of ours.
REFUSALS = {
    errno.ENOSPC: ROOM,
    errno.EDQUOT: ROOM,
    errno.EFBIG: "allow larger files (ulimit -f)",
    errno.EACCES: PERMISSION,
    errno.EPERM: PERMISSION,
    errno.EROFS: "mount it for writing",
    errno.ENAMETOOLONG: "give it a shorter name",
    errno.EIO: "look after the disk",
    errno.EMFILE: "allow more open files (ulimit -n)",
    errno.ENFILE: "close other programs",
}


def run_command(main: Callable[[], int | None]) -> None:
    """Runs a stage's `main` and exits: 0 good, 1 the check failed, 2 usage, bad input, or a
    machine that refused (a full disk); 130 where the user stops it; 141 where nobody reads on, as
    in `… | head -1`."""
    try:
        with pulse(name_of_command()):
            status = main()
        sys.stdout.flush()
    except KeyboardInterrupt:
        _stop()
    except SeveralFaults as error:
        status = _complain(*str(error).splitlines())
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


def name_of_command() -> str:
    """`facestill VERB`, or the file that python was asked to run."""
    name = Path(sys.argv[0]).stem
    return " ".join([name, *sys.argv[1:2]]) if name == "facestill" else name


def _stop() -> NoReturn:
    """One line, and no more of this process: threads that wait for others would speak of it."""
    print("stopped; what is finished is kept, run it again to go on", file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(128 + signal.SIGINT)


def _nobody_reads() -> bool:
    """Whether it is standard output that broke; if so, what it still holds goes nowhere: python's
    own flush, at the end, must not meet the pipe again."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)  # 0: nothing but that it broke
    broken = bool(poll.poll(0))
    if broken:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return broken


def _complain(text: str, *more: str) -> int:
    lines = [plain(line) for line in (text, *more)]
    print("error: " + "\n  ".join(lines), file=sys.stderr)
    return 2


def conclude(where: object, found: str, following: str = "") -> None:
    """How a command ends: where what it made lies, what it found, and what comes next."""
    print(f"{where}: {found}")
    if following:
        print(f"next: {following}")


def to_open(page: Path) -> str:
    """What comes next where a page was written."""
    return f"open it in a browser: {page.resolve().as_uri()}"


def pick(kind: str, name: str, choices: Mapping[str, T], otherwise: str = "") -> T:
    """The choice called `name`; an unknown name is answered with the valid ones, and with what
    else can be done."""
    if name not in choices:
        names = ", ".join(sorted(choices)) + (f"; {otherwise}" if otherwise else "")
        raise InputError(f"unknown {kind} {name!r}; valid names: {names}")
    return choices[name]
