"""Finding a generator, teacher or benchmark by name: a backend is a file of ours, or an entry
point of an installed package. Only the one that is asked for is imported."""

from __future__ import annotations

import importlib
import os
import pkgutil
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from manifests.core.errors import InputError, pick


def split_kind(text: str) -> tuple[str, str]:
    """(KIND, ARGUMENT) of KIND:ARGUMENT, ARGUMENT "" where there is none. A home directory, which
    no shell and no params.yaml writes out behind a colon, is: ~/photos."""
    kind, _, argument = text.partition(":")
    return kind, os.path.expanduser(argument)


def load_backend(
    package: ModuleType,
    kind: str,
    text: str,
    weights: Path,
    *,
    group: str | None = None,
    otherwise: str = "",
) -> Any:
    """What `text` stands for: NAME is `load(weights)` of the backend called so, NAME:PATH its
    `load_file(PATH)`.

    Raises InputError for an unknown name (`otherwise`: what else can be done about it), and for a
    path that is missing or not wanted.
    """
    name, path = split_kind(text)
    if "/" in name or os.path.isfile(name):
        otherwise = f"a file has its kind before it: KIND:{text}"
    backend = find_backend(package, kind, name, group=group, otherwise=otherwise)
    named = hasattr(backend, "load_file")
    if bool(path) != named or (":" in text and not path):
        raise InputError(
            f"{kind} {name} " + (f"needs a file: {name}:PATH" if named else "takes no file")
        )
    if path:
        require_there(f"{kind} {name}", path)
    make = backend.load_file if named else backend.load
    return make(Path(path) if path else weights)


def require_there(what: str, path: str) -> None:
    """Raises InputError, which says from where it was looked for, unless there is such a path."""
    if not os.path.exists(path):
        raise InputError(f"{path}: no such file, looked for from {os.getcwd()} ({what})")


def find_backend(
    package: ModuleType,
    kind: str,
    name: str,
    *,
    group: str | None = None,
    part: str = "",
    otherwise: str = "",
) -> Any:
    """The module of `package` that serves `name` (file dcgan_digiface.py for dcgan-digiface), or
    what an installed package names so among the entry points of `group`. With a `part`, a backend
    is a folder and its module of that name is meant.

    Raises InputError that lists the valid names; for a name that two claim; and for an entry
    point that cannot be imported.
    """
    files = (
        info.name for info in pkgutil.iter_modules(package.__path__) if info.ispkg == bool(part)
    )
    own = {file.replace("_", "-"): file for file in files if file != "base"}
    others = list(entry_points(group=group)) if group else []
    pick(kind, name, dict.fromkeys([*own, *(point.name for point in others)]), otherwise)
    claimed = [point for point in others if point.name == name]
    if len(claimed) + (name in own) > 1:
        places = ", ".join(["this project"] * (name in own) + [_origin(p) for p in claimed])
        raise InputError(f"{kind} {name}: named so by {places}; rename or remove one")
    if claimed:
        return _imported(claimed[0], kind)
    return importlib.import_module(".".join(filter(None, [package.__name__, own[name], part])))


# Points are Any: where the backport importlib_metadata is imported, the standard library's
# entry_points gives points of its class.
def _imported(point: Any, kind: str) -> Any:
    try:
        return point.load()
    except (ImportError, AttributeError) as error:
        raise InputError(f"{kind} {point.name} of {_origin(point)}: {error}") from None


def _origin(point: Any) -> str:
    return str(point.dist.name if point.dist else point.value)
