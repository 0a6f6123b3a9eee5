"""Presets and sizes: files whose keys are merged into params.yaml, or into those of a study. Values
change in their places; comments, order and whatever else the file has stay."""

from __future__ import annotations

from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.representer import RoundTripRepresenter

from manifests.core import layout
from manifests.core.errors import InputError
from manifests.core.files import write_text
from manifests.core.parsing import parse
from manifests.settings.params import PATH, Params, load_params, read_yaml

MERGED = "merged in"
EDITORS = "# yaml-language-server:"  # what must stay the first line
WIDEST = 1 << 16  # no line is wrapped


def merge_preset(name: str) -> None:
    """Rewrites params.yaml with a preset's keys; presets do not stack."""
    merge_file(PATH, preset_file(name), Params)


def preset_file(name: str) -> Path:
    """Raises InputError for an unknown one."""
    preset = Path("params") / f"{name}.yaml"
    if not preset.exists():
        names = ", ".join(sorted(path.stem for path in preset.parent.glob("*.yaml")))
        raise InputError(f"unknown preset {name!r}; valid names: {names}")
    return preset


def params_by(preset: str | None) -> Params:
    """The parameters of this checkout, with a preset's in their place; the file stays as it is."""
    if preset is None:
        return load_params()
    path = preset_file(preset)
    found: Params = parse(Params, merged(read_yaml(PATH), read_yaml(path)), str(path))
    return found


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
    text = path.read_text(encoding="utf-8-sig")
    before = next((line for line in text.splitlines()[:2] if line.endswith(MERGED)), None)
    if before is not None:
        if str(over) in before:
            return
        raise InputError(f"{path}: {before[2:]}; restore it (git checkout {path}) before another")
    values = merged(read_yaml(path), read_yaml(over))
    parse(kind, values, str(over))
    lines = _edited(text, over).splitlines(keepends=True)
    lines.insert(lines[0].startswith(EDITORS), f"# {path.name} with {over} {MERGED}\n")
    if yaml.safe_load("".join(lines)) != values:
        raise InputError(f"{path}: anchors (&, *) share values; write them out before a preset")
    write_text(path, "".join(lines))


class _Representer(RoundTripRepresenter):
    """Writes null where ruamel.yaml writes nothing."""


_Representer.add_representer(
    type(None), lambda own, _: own.represent_scalar("tag:yaml.org,2002:null", "null")
)


def _edited(text: str, over: Path) -> str:
    """`text` with the values of the file `over`, each as it is written there."""
    editor, edited = YAML(), StringIO()
    editor.Representer, editor.preserve_quotes, editor.width = _Representer, True, WIDEST
    editor.indent(mapping=2, sequence=4, offset=2)
    try:
        whole = editor.load(text)
        _set(whole, editor.load(over))
    except YAMLError as error:  # of what PyYAML passes over: a key that is there twice
        raise InputError(f"{over}: cannot be merged in ({error})") from None
    editor.dump(whole, edited)
    return edited.getvalue()


def _set(base: Any, over: Any) -> None:
    """Like `merged`, in place."""
    for key, item in over.items():
        if isinstance(base.get(key), Mapping) and isinstance(item, Mapping):
            _set(base[key], item)
        else:
            base[key] = item


def merged(base: Any, over: Any) -> Any:
    """`base` with the keys of `over` in their place, section by section."""
    if not (isinstance(base, Mapping) and isinstance(over, Mapping)):
        return over
    return {**base, **{key: merged(base.get(key), item) for key, item in over.items()}}
