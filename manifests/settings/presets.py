"""Presets and sizes: files whose keys are merged into params.yaml, or into those of a study."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from manifests.core import layout
from manifests.core.errors import InputError
from manifests.core.files import write_text
from manifests.core.parsing import parse
from manifests.settings.params import PATH, Params, read_yaml

MERGED = "merged in"


def merge_preset(name: str) -> None:
    """Rewrites params.yaml with a preset's keys; presets do not stack."""
    preset = Path("params") / f"{name}.yaml"
    if not preset.exists():
        names = ", ".join(sorted(path.stem for path in preset.parent.glob("*.yaml")))
        raise InputError(f"unknown preset {name!r}; valid names: {names}")
    merge_file(PATH, preset, Params)


def merge_size(name: str, size: str, kind: type) -> None:
    """Rewrites a study's parameters with those of a size; sizes do not stack."""
    over = layout.study_size(name, size)
    if not over.exists():
        names = ", ".join(sorted(path.stem for path in over.parent.glob("*.yaml"))) or "none"
        raise InputError(f"unknown size {size!r} of {name}; valid names: {names}")
    merge_file(layout.study_params(name), over, kind)


def merge_file(path: Path, over: Path, kind: type) -> None:
    """Rewrites `path`, a file of `kind`, with the keys of `over`; a second time it does nothing.

    Raises InputError where another file was merged in before, or the two together are no `kind`.
    """
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    if MERGED in first:
        if str(over) in first:
            return
        raise InputError(f"{path}: {first[2:]}; restore it (git checkout {path}) before another")
    values = merged(read_yaml(path), read_yaml(over))
    parse(kind, values, str(over))
    write_text(path, f"# {path.name} with {over} {MERGED}\n{yaml.safe_dump(values)}")


def merged(base: Any, over: Any) -> Any:
    """`base` with the keys of `over` in their place, section by section."""
    if not (isinstance(base, Mapping) and isinstance(over, Mapping)):
        return over
    return {**base, **{key: merged(base.get(key), item) for key, item in over.items()}}
