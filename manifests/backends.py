"""Finding a generator, teacher or benchmark by name: a backend is a file."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType
from typing import Any

from manifests.errors import pick


def find_backend(package: ModuleType, kind: str, name: str) -> Any:
    """The module of `package` that serves `name` (file dcgan_digiface.py for dcgan-digiface).

    Raises InputError that lists the valid names.
    """
    files = (info.name for info in pkgutil.iter_modules(package.__path__))
    choices = {file.replace("_", "-"): file for file in files if file != "base"}
    return importlib.import_module(f"{package.__name__}.{pick(kind, name, choices)}")
