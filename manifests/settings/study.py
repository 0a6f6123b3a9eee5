"""A study: its parameters, and the report that it leaves.

A study is a file manifests/studies/NAME.py with a frozen dataclass `Study`, its parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar

from manifests.core import layout
from manifests.core.errors import InputError
from manifests.core.files import read_json, write_json
from manifests.core.parsing import parse
from manifests.settings.params import read_yaml

T = TypeVar("T")


@dataclass(frozen=True)
class StudyReport:
    """reports/studies/NAME.json."""

    study: str
    params: Mapping[str, Any]  # params/studies/NAME.yaml
    made_from: Mapping[str, str]  # {run, store, table, protocol: digest}: where each figure is from
    found: Mapping[str, Any]  # the study's own figures
    not_measured: Mapping[str, str]  # {what the study asks for: why it could not be had}

    def write(self) -> None:
        write_json(layout.study_report(self.study), asdict(self))


def load_study(name: str, kind: type[T]) -> T:
    """The parameters of a study.

    Raises InputError naming the key that is unknown, missing or of another type.
    """
    path = layout.study_params(name)
    found: T = parse(kind, read_yaml(path), str(path))
    return found


def read_report(name: str) -> StudyReport:
    """Raises InputError for a file that is not there or holds no report."""
    path = layout.study_report(name)
    said = read_json(path)
    names = {field.name for field in fields(StudyReport)}
    if not isinstance(said, dict) or set(said) != names:
        raise InputError(f"{path}: no report of a study; run `make study NAME={name}` again")
    return StudyReport(**said)
