"""How far long work is: a bar on a terminal, and in a log whole lines, ever fewer."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

from manifests.core.pulse import BARS, FIRST, LONGEST, SILENT

LINE = "{desc}: {n_fmt} of {total_fmt}, {rate_fmt}, {elapsed} gone, {remaining} to go{postfix}"


class Bar(tqdm):
    """tqdm, but that nothing draws over a line of a log."""

    def __init__(self, iterable: Iterable[Any] | None = None, **settings: Any) -> None:
        file: Any = settings.setdefault("file", sys.stderr)
        silent = file is None or os.environ.get(SILENT)  # None: standard error is closed
        settings["disable"] = bool(settings.get("disable") or silent)
        self.in_lines = file is not None and not file.isatty()
        if self.in_lines:
            log = {"file": _Lines(file), "mininterval": FIRST, "delay": FIRST, "bar_format": LINE}
            settings |= log | {"maxinterval": LONGEST}
        super().__init__(iterable, **settings)
        if not self.disable:
            BARS.add(self)

    def close(self) -> None:
        BARS.discard(self)
        super().close()

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        if self.in_lines:
            self.mininterval: float = min(LONGEST, 2 * self.mininterval)
        shown: bool = super().display(msg, pos)
        return shown


class _Lines:
    """Writes what tqdm draws as lines; what only moves a cursor is nothing here."""

    encoding = "utf-8"

    def __init__(self, file: Any) -> None:
        self.file = file

    def write(self, text: str) -> None:
        if line := text.replace("\r", "").replace("\x1b[A", "").strip():
            self.file.write(line + "\n")

    def flush(self) -> None:
        self.file.flush()

    def isatty(self) -> bool:
        return False


def be_silent() -> None:
    """No bar of this process and of those that it begins is shown from now on."""
    os.environ[SILENT] = "1"
