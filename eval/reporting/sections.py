"""What the report's page shows, section by section."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from eval.alignment import alignment_by
from eval.benchmarks import open_benchmark
from eval.reporting import figures
from eval.reporting.benchmarks import PAIRS, ROLES
from eval.reporting.break_even import BreakEven, break_even, measured_rates
from eval.reporting.curves import mean_gaps, region_gaps, training_curve
from eval.reporting.gathered import Results
from eval.reporting.mistakes import find_mistakes, mistake_strips
from eval.reporting.pictures import identity_rows, mined_pairs, region_rows
from eval.reporting.style import data_uri, lossless
from eval.reporting.summary import RunLog
from eval.scoring.scored import read_scores
from manifests.core import layout
from manifests.core.errors import InputError
from manifests.core.files import read_json
from manifests.core.layout import PROBE
from manifests.records.boundaries import Boundaries
from manifests.records.gaps import GapTable
from manifests.settings.params import Params
from manifests.stores.rounds import RoundFiles

BOUNDARY = "boundary"  # the origin of identities' latents


def training_section(results: Results) -> dict[str, str]:
    """The figure of losses and gaps."""
    ends = {run.name: int(run.student["faces_seen"]) for run in results.chain}
    points = training_curve(results.chain)
    figure = figures.training_figure(points, ends, results.summary["gap"])
    return {"image": data_uri(figure)}


def curve_section(results: Results, benchmarks: Collection[str]) -> dict[str, dict[str, str]]:
    """{benchmark: {roc: image, det: image}}."""
    found = {}
    for name in benchmarks:
        curves = [curve for curve in results.curves if curve.benchmark == name]
        drawn = {"roc": figures.roc_figure(curves), "det": figures.det_figure(curves)}
        found[name] = {kind: data_uri(figure) for kind, figure in drawn.items()}
    return found


def fold_section(benchmarks: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """{benchmark: image} of the accuracies fold by fold."""
    found = {}
    for name, roles in benchmarks.items():
        accuracies = {role: own["accuracy_by_fold"] for role, own in roles.items()}
        found[name] = data_uri(figures.fold_figure(accuracies))
    return found


def mistake_section(results: Results, params: Params) -> dict[str, Any]:
    """The worst mistakes on the user's own photographs as `found`, or `why_not`; neither where no
    folder is named."""
    folder = params.verify.pairs
    if PAIRS not in results.summary or folder is None:
        return {"found": None, "why_not": folder and "its pairs were not measured"}
    alignment = alignment_by(params.aligner)
    try:
        protocol = open_benchmark(f"{PAIRS}:{folder}", alignment)
    except InputError:
        return {"found": None, "why_not": "it cannot be opened"}
    measured = results.summary[PAIRS]["student"]["protocol_sha256"]
    if protocol.benchmark.protocol_sha256 != measured:
        return {"found": None, "why_not": "it, or aligner, was changed since it was measured"}
    student, teacher = (
        read_scores(layout.verification(PAIRS, role) / "scores.parquet")[0] for role in ROLES
    )
    found = find_mistakes(student, teacher)
    shown = {
        kind: list(zip(pairs, mistake_strips(protocol, pairs), strict=True))
        for kind, pairs in (("match", found.false_matches), ("non", found.false_non_matches))
    }
    return {"why_not": None, "found": found, **shown}


def region_section(results: Results) -> dict[str, Any] | None:
    """Gaps by the regions of the first mined round that is not empty, of the run that it was mined
    for and of the last one, and faces of the hardest; None where nothing was mined."""
    first = results.first_mined
    if first is None:
        return None
    last, probe = results.chain[-1].name, results.rounds[PROBE]
    earlier = results.chain[results.added_by(first.name) - 1]
    root = probe.teacher.root
    before = GapTable.read(layout.regions(first.name), expect_teacher=root)
    path = layout.gap_table(last, PROBE)
    after = GapTable.read(path, expect_teacher=root)
    if after.student_digest != results.summary["student"]["sha256"]:
        raise InputError(f"{path}: not of the student at hand; run the gap stage again")
    regions = region_gaps(before, after, regions_mined(first))
    if not regions:
        return None
    mined, others = (
        mean_gaps(region for region in regions if region.mined == own) for own in (True, False)
    )
    return {
        "round": first.name,
        "before": earlier.name,
        "after": last,
        "seen": results.summary["student"]["faces_seen"] - int(earlier.student["faces_seen"]),
        "empty": results.empty,
        "image": data_uri(figures.region_figure(regions, earlier.name, last)),
        "mined": mined,
        "others": others,
        "more": fall(mined) - fall(others) if mined and others else 0.0,
        "mostly_steps": fall(others) > fall(mined) / 2 if mined and others else False,
        "faces": region_rows(regions, before, probe),
    }


def fall(gaps: tuple[float, float]) -> float:
    """From before to after."""
    return gaps[0] - gaps[1]


def regions_mined(files: RoundFiles) -> set[int]:
    """The regions that a mined round's parents came from."""
    if files.manifest is None:
        return set()
    return set(files.manifest.table["region_id"].drop_null().unique().to_pylist())


def identity_section(results: Results) -> dict[str, Any] | None:
    """Faces of a few boundaries, and what the gate found; None where no round was sampled from
    boundaries, or there is neither."""
    for files in results.rounds.values():
        manifest = files.manifest
        if manifest is not None and BOUNDARY in manifest.table["origin"].unique().to_pylist():
            boundaries = Boundaries.read(layout.boundaries(results.pool.name))
            rows, quality = identity_rows(files, results.pool, boundaries), quality_of(files)
            if not rows and quality is None:
                return None
            return {
                "rows": rows,
                "kept": int(boundaries.kept.sum()),
                "tried": len(boundaries.face_id),
                "quality": quality,
            }
    return None


def quality_of(files: RoundFiles) -> dict[str, Any] | None:
    """What the gate found of a round of identities, and its figure; None where it did not look
    at these very faces."""
    path = layout.quality_report()
    if not path.exists():
        return None
    report = read_json(path)
    if (report["faces_root"], report["teacher_root"]) != (files.faces.root, files.teacher.root):
        return None
    image = data_uri(lossless(layout.quality_figure().read_bytes()))
    return {**report, "image": image}


def mined_section(results: Results) -> dict[str, Any] | None:
    """Parents and children of the first mined round that has usable faces."""
    for files in results.mined:
        run, before, after = mined_gaps(results, files)
        if pairs := mined_pairs(files, results.pool, before, after):
            return {"round": files.name, "run": run.name, "pairs": pairs}
    return None


def mined_gaps(results: Results, files: RoundFiles) -> tuple[RunLog, GapTable, GapTable]:
    """The run that a round was mined for, and its gaps on the pool and on that round."""
    run = results.chain[results.added_by(files.name) - 1]
    paths = layout.gap_table(run.name, results.pool.name), layout.children_gaps(files.name)
    roots = results.pool.teacher.root, files.teacher.root
    tables = [GapTable.read(p, expect_teacher=r) for p, r in zip(paths, roots, strict=True)]
    for path, table in zip(paths, tables, strict=True):
        if table.student_digest != run.student["sha256"]:
            raise InputError(f"{path}: not of the student of {run.name}; run the gap stage again")
    return run, tables[0], tables[1]


def cost_table(seconds: Mapping[str, float], items: Sequence[str]) -> dict[str, Any]:
    """Stages by what they worked on (stage@item); the dearest stage first."""
    cells: dict[str, dict[str, float]] = {}
    for name, spent in seconds.items():
        if name != "total":
            stage, _, item = name.partition("@")
            cells.setdefault(stage, {})[item] = spent
    found = {item for row in cells.values() for item in row}
    columns = [item for item in items if item in found]
    columns += sorted(found - {*columns, ""})
    rows = sorted(cells.items(), key=lambda row: -sum(row[1].values()))
    return {"columns": columns, "rows": rows}


def break_even_section(results: Results) -> BreakEven | None:
    """None where nothing was measured on this machine."""
    summary = results.summary
    trained = [own for name, own in summary["num_faces"].items() if name != PROBE]
    rows, usable = (sum(own[key] for own in trained) for key in ("rows", "usable"))
    rates = measured_rates(usable / rows if rows else 0.0)
    faces_seen = summary["student"]["faces_seen"]
    if rates is None or not usable or not faces_seen:
        return None
    return break_even(
        rates,
        summary["seconds"],
        num_faces=usable,
        faces_seen=faces_seen,
        train_seconds=summary["student"]["train_seconds"],
    )


def licences(rounds: Iterable[RoundFiles]) -> dict[str, str]:
    """{generator or teacher: terms}, from every passport."""
    return {
        name: terms
        for files in rounds
        for store in (files.faces, files.teacher)
        for name, terms in store.passport.licences.items()
    }


def fars_of(benchmarks: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The false accept rates, falling, that some benchmark has enough impostors for."""
    tables = (own["tar_at_far"] for roles in benchmarks.values() for own in roles.values())
    found = {far for table in tables for far, tar in table.items() if tar is not None}
    return sorted(found, key=float, reverse=True)


def law_of(files: RoundFiles) -> str:
    """Where a round's latents come from, in a word or two."""
    if files.manifest is None:
        return "imported"
    columns = (files.manifest.table[name].unique().to_pylist() for name in ("origin", "law"))
    return ", ".join(str(value) for values in columns for value in values if value is not None)
