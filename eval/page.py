"""The report's page: what it shows, section by section, and its HTML."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from eval import figures
from eval.curves import Roc, mean_gaps, region_gaps, training_curve
from eval.pictures import identity_rows, mined_pairs, region_rows
from eval.summary import ORL, PAIRS, RunLog
from manifests import layout
from manifests.boundaries import Boundaries
from manifests.errors import InputError
from manifests.gaps import GapTable
from manifests.layout import PROBE
from manifests.params import Params
from manifests.rounds import RoundFiles

TEMPLATE = "page.html.jinja"
BOUNDARY = "boundary"  # the origin of identities' latents


@dataclass(frozen=True)
class Results:
    """All that the report is written from."""

    chain: Sequence[RunLog]
    rounds: Mapping[str, RoundFiles]  # those of the last run, in order, and the probe
    curves: Sequence[Roc]
    summary: Mapping[str, Any]

    @property
    def mined(self) -> list[RoundFiles]:
        return [self.rounds[name] for name in self.summary["gap_by_round"]]

    @property
    def pool(self) -> RoundFiles:
        return self.rounds[self.chain[0].rounds[0]]


def training_section(results: Results) -> dict[str, str]:
    """The figure of losses and gaps."""
    ends = {run.name: int(run.student["faces_seen"]) for run in results.chain}
    points = training_curve(results.chain)
    figure = figures.training_figure(points, ends, results.summary["gap"])
    return {"image": figures.data_uri(figures.png(figure))}


def roc_section(results: Results, benchmarks: Collection[str]) -> dict[str, str]:
    """{benchmark: image}: one across the page, or two beside each other."""
    width = 9.6 if len(benchmarks) == 1 else 5.0
    return {
        name: figures.data_uri(figures.png(figures.roc_figure(curves, width=width)))
        for name in benchmarks
        if (curves := [curve for curve in results.curves if curve.benchmark == name])
    }


def region_section(results: Results) -> dict[str, Any] | None:
    """Gaps by the first mined round's regions before it and after the last run, and faces of
    the hardest; None where nothing was mined."""
    if not results.mined:
        return None
    first, last, probe = results.mined[0], results.chain[-1].name, results.rounds[PROBE]
    root = probe.teacher.root
    before = GapTable.read(layout.regions(first.name), expect_teacher=root)
    path = layout.gap_table(last, PROBE)
    after = GapTable.read(path, expect_teacher=root)
    if after.student_digest != results.summary["student"]["sha256"]:
        raise InputError(f"{path}: not of the student at hand; run the gap stage again")
    regions = region_gaps(before, after, regions_mined(first))
    if not regions:
        return None
    return {
        "round": first.name,
        "image": figures.data_uri(figures.png(figures.region_figure(regions))),
        "mined": mean_gaps(region for region in regions if region.mined),
        "others": mean_gaps(region for region in regions if not region.mined),
        "faces": region_rows(regions, before, probe),
    }


def regions_mined(files: RoundFiles) -> set[int]:
    """The regions that a mined round's parents came from."""
    if files.manifest is None:
        return set()
    return set(files.manifest.table["region_id"].drop_null().unique().to_pylist())


def identity_section(results: Results) -> dict[str, Any] | None:
    """Faces of a few boundaries; None where no round was sampled from boundaries."""
    for files in results.rounds.values():
        manifest = files.manifest
        if manifest is not None and BOUNDARY in manifest.table["origin"].unique().to_pylist():
            boundaries = Boundaries.read(layout.boundaries(results.pool.name))
            rows = identity_rows(files, results.pool, boundaries)
            return {
                "rows": rows,
                "kept": int(boundaries.kept.sum()),
                "tried": len(boundaries.face_id),
            }
    return None


def mined_section(results: Results) -> dict[str, Any] | None:
    """Parents and children of the first mined round that has usable faces."""
    for files in results.mined:
        if pairs := mined_pairs(files, results.pool):
            return {"round": files.name, "pairs": pairs}
    return None


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


def licences(rounds: Iterable[RoundFiles]) -> dict[str, str]:
    """{generator or teacher: terms}, from every passport."""
    return {
        name: terms
        for files in rounds
        for store in (files.faces, files.teacher)
        for name, terms in store.passport.licences.items()
    }


def page_content(results: Results, params: Params) -> dict[str, Any]:
    """What the template shows."""
    summary = results.summary
    measured = {name: summary[name] for name in (ORL, PAIRS) if name in summary}
    recipe = {name: value for name, value in asdict(params).items() if name != "verify"}
    runs = [run.name for run in results.chain]
    items = [*(name for name in results.rounds if name not in runs), *runs]
    return {
        "summary": summary,
        "benchmarks": measured,
        "fars": fars_of(measured),
        "colours": {**figures.COLOURS, "before": figures.BEFORE},
        "roc": roc_section(results, measured),
        "training": training_section(results),
        "regions": region_section(results),
        "identities": identity_section(results),
        "mined": mined_section(results),
        "laws": {name: law_of(files) for name, files in results.rounds.items()},
        "costs": cost_table(summary["seconds"], items),
        "licences": licences(results.rounds.values()),
        "params": yaml.safe_dump(recipe, sort_keys=False),
        "probe": PROBE,
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


def percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f}"


def duration(seconds: float) -> str:
    """In the two largest units that fit."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def render_page(content: Mapping[str, Any]) -> str:
    """HTML without a reference to anything outside itself."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, duration=duration)
    return environment.get_template(TEMPLATE).render(content)
