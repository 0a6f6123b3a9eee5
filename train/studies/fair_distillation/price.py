"""Price the grid of data × student × loss before it is trained.

    facestill fair-distillation-price [SIZE] [--rate STUDENT=FACES_A_SECOND …] [--json FILE]

SIZE: as in `make study SIZE=…`; nothing is merged into the parameters. Rates are stated, or those
of runs of the same student that are here, or measured now on a few faces of noise. Places that wait
for a folder of real faces are priced too. Faces themselves are priced by `facestill plan`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn

from manifests.core import layout
from manifests.core.errors import InputError, Parser, pick, run_command
from manifests.core.files import read_json, require_file_place, require_new, write_json
from manifests.core.parsing import parse
from manifests.settings.params import load_params, read_yaml
from manifests.settings.presets import merged
from manifests.settings.training import Student
from manifests.studies.fair_distillation import (
    NAME,
    NO_FOLDER,
    WHERE,
    Cell,
    Study,
    check_study,
    expand,
)
from pipeline.arrays.numerics import computing_in, device_of, precision_of
from train.checkpoint import LOG
from train.students import build_student
from train.students.base import num_params

FLOAT_BYTES = 4
STATES = 4  # weights, gradients and two moments are what a resumable state holds at most
SAMPLED = 16  # faces of a measured step
STEPS = 3


@dataclass(frozen=True)
class Price:
    """Of all students of one architecture."""

    student: str
    num_params: int
    num_models: int
    waiting: int  # of them, for a folder of real faces
    faces_seen: int  # by all of them
    faces_a_second: float
    source: str  # of that rate, in words

    @property
    def hours(self) -> float:
        return self.faces_seen / self.faces_a_second / 3600

    @property
    def hours_now(self) -> float:
        """Of those that wait for nothing."""
        return self.hours * (1 - self.waiting / self.num_models)

    @property
    def num_bytes(self) -> int:
        """Of the run directories, and of one unfinished run's state beside them."""
        return FLOAT_BYTES * self.num_params * (self.num_models + STATES)


def load_size(size: str | None) -> Study:
    """The study's parameters, with a size's in their place; the file stays as it is."""
    values = read_yaml(WHERE)
    if size is not None:
        folder = layout.study_size(NAME, size).parent
        sizes = {path.stem: path for path in sorted(folder.glob("*.yaml"))}
        values = merged(values, read_yaml(pick(f"size of {NAME}", size, sizes)))
    study: Study = parse(Study, values, str(WHERE))
    check_study(study)
    return study


def prices(
    study: Study, stated: Mapping[str, float], device: str, *, real_faces: bool
) -> list[Price]:
    """By student, in the order of the grid; `real_faces`: as in `expand`. Raises InputError for a
    rate of no student of it."""
    grid = expand(study, real_faces=real_faces)
    cells = [cell for cell in grid if cell.why_not in (None, NO_FOLDER)]
    students = list(dict.fromkeys(cell.student for cell in cells))
    for name in stated:
        pick("student of the grid", name, dict.fromkeys(students))
    return [price(name, cells, study, stated.get(name), device) for name in students]


def price(
    name: str, cells: Sequence[Cell], study: Study, stated: float | None, device: str
) -> Price:
    own, seeds = [cell for cell in cells if cell.student == name], len(study.seeds)
    student = study.students[name]
    network = build(student, study.recipe.embedding_width)
    rate, source = stated or 0.0, "stated"
    if stated is None:
        rate, source = recorded_rate(student) or measured_rate(network, student, device)
    return Price(
        student=name,
        num_params=num_params(network),
        num_models=seeds * len(own),
        waiting=seeds * sum(cell.why_not == NO_FOLDER for cell in own),
        faces_seen=seeds * len(own) * study.recipe.faces_seen,
        faces_a_second=rate,
        source=source,
    )


def build(student: Student, width: int) -> nn.Module:
    return build_student(
        student.name, input_size=student.input_size, width=student.width, embedding_width=width
    )


def recorded_rate(student: Student) -> tuple[float, str] | None:
    """The median over the finished runs of exactly this student that are here."""
    rates = [
        log["student"]["faces_seen"] / log["train_seconds"]
        for log in _logs()
        if log["after"] is None
        and log["train_seconds"] > 0
        and {**log["params"]["student"]} == asdict(student)
    ]
    return (median(rates), f"median of {len(rates)} runs here") if rates else None


def _logs() -> Iterator[Any]:
    for path in sorted(layout.RUNS.rglob(LOG)):
        log = read_json(path)
        if isinstance(log, dict) and {"student", "params", "after", "train_seconds"} <= {*log}:
            yield log


def measured_rate(network: nn.Module, student: Student, device: str) -> tuple[float, str]:
    """Of forward and backward passes alone, the first one left out; by the default precision."""
    place, precision = device_of(device), precision_of("auto", device, network)
    network = network.to(place).train()
    faces = torch.zeros(SAMPLED, 3, student.input_size, student.input_size, device=place)
    starts = []
    for _ in range(STEPS + 1):
        with computing_in(precision, place):
            embeddings = network(faces)
        embeddings.float().square().sum().backward()
        if place.type == "cuda":
            torch.cuda.synchronize(place)
        starts.append(time.perf_counter())
    threads = f", {torch.get_num_threads()} threads" if place.type == "cpu" else ""
    rate = STEPS * SAMPLED / (starts[-1] - starts[0])
    where = f"on {place.type} in {precision}{threads}"
    return rate, f"measured now, {STEPS} steps of {SAMPLED} faces {where}"


def table(found: Sequence[Price], study: Study) -> Iterator[str]:
    yield (
        f"{'student':<16}{'parameters':>12}{'models':>8}{'waiting':>9}{'faces seen':>16}"
        f"{'faces/s':>9}{'hours':>10}{'disk':>10}"
    )
    for own in found:
        yield (
            f"{own.student:<16}{own.num_params:>12,}{own.num_models:>8}{own.waiting:>9}"
            f"{own.faces_seen:>16,}{own.faces_a_second:>9,.0f}{own.hours:>10,.1f}"
            f"{own.num_bytes / 1e6:>7,.0f} MB"
        )
    seeds, models = len(study.seeds), sum(own.num_models for own in found)
    hours, disk = sum(own.hours for own in found), sum(own.num_bytes for own in found)
    yield (
        f"{models} models: {models // seeds} of the grid x {seeds} seeds; {hours:,.1f} hours one "
        f"after the other, {hours / 24:,.1f} days; {disk / 1e9:,.2f} GB"
    )
    for own in found:
        yield f"rate of {own.student}: {own.source}"
    yield "a margin head beside a student has 4 bytes x identities x embedding width more"
    waiting = sum(own.waiting for own in found)
    if waiting:
        yield (
            f"{waiting} of them wait for a folder of real faces (real_faces in params.yaml); the "
            f"others take {sum(own.hours_now for own in found):,.1f} hours"
        )


def parse_rates(texts: Sequence[str]) -> dict[str, float]:
    """{student: faces a second}. Raises InputError for what is no STUDENT=NUMBER."""
    rates = {}
    for text in texts:
        name, _, number = text.partition("=")
        try:
            rates[name] = float(number)
            good = 0 < rates[name] < float("inf")
        except ValueError:
            good = False
        if not good:
            raise InputError(f"--rate {text[:80]!r}: expected STUDENT=FACES_A_SECOND, above 0")
    return rates


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("size", nargs="?", help="of the study; default: as its parameters are")
    parser.add_argument("--rate", action="append", default=[], metavar="STUDENT=FACES_A_SECOND")
    parser.add_argument("--json", type=Path, metavar="FILE", help="writes the numbers there")
    parser.add_force()
    args = parser.parse_args()
    if args.json:
        require_file_place(args.json)
        require_new(args.json, force=args.force)
    study, rates = load_size(args.size), parse_rates(args.rate)
    params = load_params()
    found = prices(study, rates, params.device, real_faces=params.real_faces.allow)
    print("\n".join(table(found, study)))
    if args.json:
        write_json(args.json, [asdict(own) | {"hours": own.hours} for own in found])


if __name__ == "__main__":
    run_command(main)
