"""Where everything lies, relative to the repository root. The only place that knows paths."""

from __future__ import annotations

import os
import re
from pathlib import Path

from manifests.core.errors import InputError

DATA = Path("data")
RUNS = Path("runs")
REPORTS = Path("reports")
WEIGHTS = DATA / "weights"
COSTS = RUNS / "costs"
PHOTOGRAPHS = DATA / "photographs"
WORK = Path(".work")  # scratch: whatever lies there can be made again
BENCHMARKS = Path("manifests/benchmarks")
SUITES = Path("manifests/suites")
STUDIES = "studies"
STUDY_PARAMS = Path("params") / STUDIES
STUDY_REPORTS = REPORTS / STUDIES

# Rounds with a part of their own: references and parents, measuring, boundaries' faces.
POOL, PROBE, IDENTITIES = "pool", "probe", "identities"
START = "start"  # the run that the others continue; it sees the pool
FACES = "faces.zarr"
SUMS = "SHA256SUMS"  # beside what is packed for others: of every other file
CHILDREN, REGIONS = "children", "regions"  # beside the runs' gaps
# Rounds and runs of the flow stand in paths and commands.
NAME = re.compile(r"[A-Za-z][\w.-]*")
TAKEN = {
    "weights", "gaps", "attributes", "photographs", "studies", "costs", "exports", "teachers",
    CHILDREN, REGIONS,
}  # fmt: skip
MANIFESTS = Path("manifests/rounds")
# pool, or teamA/pool: the round of another team, imported under that team's name
ROUND = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")

LONGEST = 120  # bytes of a name: with its endings it is a file's, which have 255

# runs/NAME, and runs/studies/STUDY/ARM
RUN = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)*")
INSIDE = (FACES, "teachers", "marks", "card")  # the folder of a round

TEACHER = re.compile(r"[A-Za-z0-9][\w.-]*")


def manifest(round: str) -> Path:
    return MANIFESTS / f"{_checked(round)}.parquet"


def manifest_summary(round: str) -> Path:
    return MANIFESTS / f"{_checked(round)}.summary.json"


def faces(round: str) -> Path:
    return DATA / _checked(round) / FACES


def teacher(round: str, name: str) -> Path:
    """Raises InputError for what is no name, such as onnx:PATH."""
    if not TEACHER.fullmatch(name):
        raise InputError(
            f"teacher {name[:80]!r}: a store is called by a name of letters, digits, dots, dashes "
            "and underscores; give a teacher in a file one under `teachers` in params.yaml"
        )
    _check_length("teacher", name)
    return DATA / _checked(round) / "teachers" / f"{name}.zarr"


# What makes what lies at a path, {} the round or run in it: the first that fits.
MAKERS = (
    (MANIFESTS, r"(mined-[^/]+)\.parquet", "mine {} --gaps RUN"),
    (MANIFESTS, r"([^/]+)\.parquet", "sample {}"),  # another team's is brought
    (DATA, r"gaps/regions/(.+)\.parquet", "mine {} --gaps RUN"),
    (DATA, r"gaps/children/(.+)\.parquet", "gap RUN --children {}"),
    (DATA, r"gaps/(.+)/[^/]+\.parquet", "gap {} --rounds probe pool"),
    (DATA, r"attributes/[^/]+/(.+)\.parquet", "annotate {}"),
    (DATA, r".+/boundaries\.parquet", "boundaries"),
    (DATA, r"(.+)/faces\.zarr", "render {}"),
    (DATA, r"(.+)/teachers/[^/]+\.zarr", "embed {}"),
    (DATA, r"(.+)/marks/.+\.parquet", "screen {}"),
    (REPORTS, r"gap/(.+)\.json", "gap {} --rounds probe"),
)


def maker_of(path: Path) -> str:
    """The command that makes what belongs at this path; of any other, no more than that there is
    one."""
    for folder, inside, command in MAKERS:
        found = re.fullmatch(inside, "/".join(_below(folder, path)))
        if found and all(RUN.fullmatch(name) for name in found.groups()):  # a shell may read it
            return f"`facestill {command.format(*found.groups())}`"
    return "the stage that makes it"


def round_of(store: Path) -> str:
    """The round whose store has this path; "" if it is no such place of this checkout."""
    parts = _below(DATA, store)
    last = -2 if parts[-2:-1] == ("teachers",) else -1
    return "/".join(parts[:last])


def rounds_with_faces() -> list[str]:
    """Names of the rounds whose faces are in this checkout, those of other teams too."""
    found = [*DATA.glob(f"*/{FACES}"), *DATA.glob(f"*/*/{FACES}")]
    return sorted(round_of(path) for path in found if path.parts[1] not in TAKEN)


def _below(folder: Path, path: Path | str) -> tuple[str, ...]:
    """The parts of a path from a folder of this checkout on; none if it lies elsewhere."""
    parts, own = Path(os.path.relpath(path or ".")).parts, folder.parts
    return parts[len(own) :] if parts[: len(own)] == own else ()


def round_name(text: str) -> str:
    """What a user calls a round: `mined-1`, or the path of its folder, of a store in it or of its
    manifest. What is none of these paths is the name itself."""
    parts = _below(DATA, text)
    inside = [at for at, part in enumerate(parts) if at and part in INSIDE]
    recipe = "/".join(_below(MANIFESTS, text))
    for ending in (".summary.json", ".parquet"):
        recipe = recipe.removesuffix(ending)
    return "/".join(parts[: inside[0]] if inside else parts) or recipe or text.rstrip("/")


def stores(text: str) -> list[Path]:
    """The store at a path, or all that are there of a round by any of its names."""
    name, given = round_name(text), Path(text)
    if given.suffix == ".zarr" or not ROUND.fullmatch(name) or name in TAKEN:
        return [given]
    teachers = sorted((DATA / name / "teachers").glob("*.zarr"))
    return [store for store in (faces(name), *teachers) if store.is_dir()] or [given]


def manifest_or_store(text: str) -> Path:
    """The manifest of a round by any of its names, or what lies at that path."""
    name, given = round_name(text), Path(text)
    if given.suffix == ".zarr" or not ROUND.fullmatch(name) or not manifest(name).exists():
        return given
    return manifest(name)


def run_name(text: str) -> str:
    """What a user calls a run: `mined-2`, or the path of its folder.

    Raises InputError for a folder that is not below runs/.
    """
    name = "/".join(_below(RUNS, text)) or text.rstrip("/")
    if not RUN.fullmatch(name):
        raise InputError(f"run {text[:80]!r}: expected a name such as mined-2, or runs/mined-2")
    return name


def run_folder(text: str) -> Path:
    """The folder of the run that `run_name` names, or else any folder."""
    inside = _below(RUNS, text)
    if inside:
        return RUNS.joinpath(*inside)
    named = RUNS / text
    is_name = RUN.fullmatch(text.rstrip("/")) and (named.is_dir() or not Path(text).is_dir())
    return named if is_name else Path(text)


def _checked(round: str) -> str:
    """A name cannot lead out of the folders of its kind."""
    if round.endswith(".h5") and Path(round).is_file():
        raise InputError(
            f"{round}: a file; `facestill unpack {round} TEAM/ROUND` makes a round of it"
        )
    if not ROUND.fullmatch(round):
        raise InputError(
            f"round {round[:80]!r}: a name has letters, digits, dots, dashes and underscores; "
            "one slash parts a team's name from it"
        )
    for part in round.split("/"):
        _check_length("round", part)
    return round


def _check_length(what: str, name: str) -> None:
    if len(os.fsencode(name)) > LONGEST:
        raise InputError(f"{what} {name[:80]!r}…: a name has at most {LONGEST} bytes; shorten it")


def marks(round: str, teacher: str) -> Path:
    """Of the faces, as that teacher sees them."""
    return DATA / _checked(round) / "marks" / f"{teacher}.parquet"


def card(round: str) -> Path:
    return DATA / _checked(round) / "card"


def browsed(round: str) -> Path:
    """Where `facestill browse` puts a round's page."""
    return REPORTS / "browse" / _checked(round)


def attributes(round: str, annotator: str) -> Path:
    return DATA / "attributes" / annotator / f"{_checked(round)}.parquet"


def photograph_attributes(name: str, annotator: str) -> Path:
    """Of a set of photographs: measured, and nowhere trained on."""
    return PHOTOGRAPHS / name / f"{annotator}.parquet"


def boundaries(round: str) -> Path:
    return DATA / round / "boundaries.parquet"


def gap_table(run: str, round: str) -> Path:
    return DATA / "gaps" / run / f"{round}.parquet"


def regions(round: str) -> Path:
    return DATA / "gaps" / REGIONS / f"{_checked(round)}.parquet"


def children_gaps(round: str) -> Path:
    """Of a mined round's faces, by the student that they were mined for."""
    return DATA / "gaps" / CHILDREN / f"{_checked(round)}.parquet"


def run(name: str) -> Path:
    return RUNS / name


def export(run: str) -> Path:
    """What `facestill export` makes of a run."""
    return RUNS / "exports" / run


def trained_teachers(run: str) -> Path:
    """What `facestill snapshots` makes of a run."""
    return RUNS / "teachers" / run


def gap_report(run: str) -> Path:
    return REPORTS / "gap" / f"{run}.json"


def retention_report(run: str) -> Path:
    return REPORTS / "retention" / f"{run}.json"


def quality_report() -> Path:
    return REPORTS / "quality.json"


def quality_figure() -> Path:
    return REPORTS / "quality.png"


def leakage(check: str) -> Path:
    """What a gate of params.yaml found."""
    return REPORTS / "leakage" / check


def verification(benchmark: str, role: str) -> Path:
    """`role`: student, student-int8 or teacher."""
    return REPORTS / "verify" / benchmark / role


def suite_report(suite: str) -> Path:
    """The folder of a suite's tables and page."""
    return REPORTS / "suites" / suite


def suite_result(protocol_sha256: str, model_sha256: str) -> Path:
    """What a suite measured of one model: the ordinary result, for every suite that asks."""
    return REPORTS / "suite-results" / protocol_sha256[:16] / model_sha256[:16]


def study_params(study: str) -> Path:
    return STUDY_PARAMS / f"{study}.yaml"


def study_size(study: str, size: str) -> Path:
    """What a larger or smaller run of a study changes of its parameters."""
    return STUDY_PARAMS / study / f"{size}.yaml"


def study_stages(study: str) -> Path:
    """A study's stages, which DVC does not see until they are laid out."""
    return STUDY_PARAMS / "stages" / f"{study}.yaml"


def study_dvc(study: str) -> Path:
    """Its stages laid out beside the flow."""
    return STUDY_PARAMS / "stages" / study / "dvc.yaml"


def study_data(study: str) -> Path:
    """Tables and stores of a study alone."""
    return DATA / STUDIES / study


def study_run(study: str, arm: str) -> Path:
    """The run directory of one of the students that a study trains."""
    return RUNS / STUDIES / study / arm


def study_results(study: str) -> Path:
    """What a study measured in full, such as verifications: BENCHMARK/ARM in it."""
    return STUDY_REPORTS / study


def study_report(study: str) -> Path:
    """The figures of a study, with the digests of all that they come from."""
    return STUDY_REPORTS / f"{study}.json"
