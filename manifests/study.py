"""Studies: their parameters, and the report that each leaves.

    python -m manifests.study NAME          checks params/studies/NAME.yaml
    python -m manifests.study NAME SIZE     merges params/studies/NAME/SIZE.yaml into it

A study is a file manifests/studies/NAME.py with a frozen dataclass `Study`, its parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar

from manifests import layout, studies
from manifests.backends import find_backend
from manifests.errors import InputError, Parser, run_command
from manifests.files import read_json, write_json
from manifests.params import merge_file, read_yaml
from manifests.parsing import parse

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


def merge_size(name: str, size: str, kind: type) -> None:
    """Rewrites a study's parameters with those of a size; sizes do not stack."""
    over = layout.study_size(name, size)
    if not over.exists():
        names = ", ".join(sorted(path.stem for path in over.parent.glob("*.yaml"))) or "none"
        raise InputError(f"unknown size {size!r} of {name}; valid names: {names}")
    merge_file(layout.study_params(name), over, kind)


def main() -> None:
    parser = Parser(description="Check a study's parameters, or merge a size into them.")
    parser.add_argument("study", help="the NAME of a params/studies/NAME.yaml")
    parser.add_argument("size", nargs="?", help="the SIZE of a params/studies/NAME/SIZE.yaml")
    args = parser.parse_args()
    kind = find_backend(studies, "study", args.study).Study
    load_study(args.study, kind)
    if args.size:
        merge_size(args.study, args.size, kind)


if __name__ == "__main__":
    run_command(main)
