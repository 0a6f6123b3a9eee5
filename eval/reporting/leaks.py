"""A search for repeated people, as a table in words and as a page with the most alike pairs.

Photographs are on it only where they were asked for, of a folder that the user named. Faces of a
round are shown where a generator made them, here or as whoever imported them states.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eval.alignment import Alignment
from eval.photos.photo_sets import PhotographSet
from eval.reporting.page import render_page
from eval.reporting.pictures import read_faces, strip
from eval.reporting.style import COLOURS
from eval.scoring.leaks import FMR
from manifests.core.files import write_text
from manifests.photographs.images import ImageFolder
from manifests.stores.rounds import RoundFiles
from pipeline.arrays.align import crop_photograph
from pipeline.arrays.frames import Frame

TEMPLATE = "leakage.html.jinja"
MOST_SHOWN = 24  # pairs of a teacher
COLUMNS = ("mean", "p50", "p99", "p99.9", "max")
LIMITS = {
    "above_threshold": "above threshold",
    "above_genuine_median": "as alike as half of a person's own pairs",
}


def in_words(report: Mapping[str, Any]) -> str:
    """The table that the command prints."""
    real, teachers = report["real"], report["teachers"]
    people = "strangers" if real["people"] is None else f"of {real['people']:,} people"
    wide = max([14, *map(len, teachers)]) + 2
    head = "".join(f"{column:>9}" for column in COLUMNS)
    lines = [
        f"{report['synthetic_faces']:,} synthetic faces against {real['faces']:,} {people} "
        f"({report['photographs']}, {real['undetected']} without a face left out); higher is more "
        "alike",
        "",
        f"{'teacher':{wide}}{'best match of':20}{head}"
        + "".join(f"  {limit:24}" for limit in LIMITS.values()).rstrip(),
    ]
    for name, found in teachers.items():
        for what, cells, shares in rows_of(report, found):
            told = "".join(f"{cell:>9}" for cell in cells) + "".join(
                f"  {own:24}" for own in shares
            )
            lines.append(f"{name:{wide}}{what:20}{told}".rstrip())
    lines.append("")
    lines += [line for name, found in teachers.items() for line in _of_teacher(name, found)]
    return "\n".join([*lines, *_warnings(report), *_agreed(report)])


def rows_of(
    report: Mapping[str, Any], found: Mapping[str, Any]
) -> list[tuple[str, list[str], list[str]]]:
    """What best matches are of, their distribution, and how many are above each limit."""
    other = "real, next stranger" if report["real"]["people"] is None else "real, other person"
    return [
        (
            what,
            [f"{row[column]:.4f}" for column in COLUMNS],
            [percent(row[limit]) for limit in LIMITS],
        )
        for what, row in (
            ("synthetic face", found["best_match"]["synthetic"]),
            (other, found["best_match"]["real_other_person"]),
        )
    ]


def _of_teacher(name: str, found: Mapping[str, Any]) -> list[str]:
    point, top = found["operating_point"], found["top_pairs"]
    limit = "" if point["fmr"] == FMR else f"; {FMR:g} needs more people"
    lines = [
        f"{name}: threshold {point['threshold']:.4f}: FMR {point['fmr']:.2g} among "
        f"{point['impostor_pairs']:,} pairs of different people ({point['source']}){limit}",
        f"{name}: most alike pair: {top[0]['score']:.4f}, {len(top)}th: {top[-1]['score']:.4f}",
    ]
    return lines + [
        f"{name}: coverage within {row['score']:.4f} ({float(radius):.0%} of a person's own "
        f"pairs): {percent(row['synthetic'])}; by other real people "
        f"{percent(row['real_other_person'])}"
        for radius, row in found["coverage"].items()
    ]


def _warnings(report: Mapping[str, Any]) -> list[str]:
    real, lines = report["real"], []
    if real["repeated"]:
        several = f", {real['of_several_people']} pictures lie in folders of several people"
        lines.append(
            f"{real['repeated']} photographs are the very bytes of another"
            f"{several if real['people'] is not None else ''}: remove them, the figures of real "
            "people are off by them"
        )
    return lines


def _agreed(report: Mapping[str, Any]) -> list[str]:
    agreed = report["agreement"]
    if agreed is None:
        return []
    above, top = agreed["above_threshold"], agreed["top_pairs"]
    ranks = ", ".join(
        f"{pair} {own['rank_correlation']:.2f}" for pair, own in agreed["by_two"].items()
    )
    return [
        f"all {len(report['teachers'])} teachers agree on {above['all']:,} of the {above['any']:,} "
        f"faces that one finds above its threshold, on {top['all']} of {top['each']} most alike "
        f"pairs, and on the nearest photograph of {agreed['same_best_match']:.1%} of the faces; "
        f"rank correlation of best matches: {ranks}"
    ]


def percent(own: Mapping[str, Any]) -> str:
    low, high = own["ci95"]
    return f"{own['value']:.2%} [{low:.2%}, {high:.2%}]"


def write_page(
    path: Path,
    report: Mapping[str, Any],
    rounds: Mapping[str, RoundFiles],
    photographs: PhotographSet | None,
    alignment: Alignment,
) -> None:
    """`photographs`: None where they are not to be shown."""
    teachers = [
        {
            "name": name,
            "rows": rows_of(report, found),
            "facts": _of_teacher(name, found),
            "pairs": pairs_of(found["top_pairs"][:MOST_SHOWN], rounds, photographs, alignment),
        }
        for name, found in report["teachers"].items()
    ]
    content = {
        "report": report,
        "shown": photographs is not None,
        "limits": LIMITS,
        "columns": COLUMNS,
        "teachers": teachers,
        "notes": [*_warnings(report), *_agreed(report)],
        "colours": COLOURS,
    }
    write_text(path, render_page(content, TEMPLATE))


def pairs_of(
    pairs: Sequence[Mapping[str, Any]],
    rounds: Mapping[str, RoundFiles],
    photographs: PhotographSet | None,
    alignment: Alignment,
) -> list[dict[str, Any]]:
    """Each pair with a picture of what of it may be shown; None for nothing."""
    return [
        dict(own) | {"image": picture_of(own, rounds[own["round"]], photographs, alignment)}
        for own in pairs
    ]


def picture_of(
    pair: Mapping[str, Any],
    files: RoundFiles,
    photographs: PhotographSet | None,
    alignment: Alignment,
) -> str | None:
    """The synthetic face and, beside it, the photograph's, cut as the store's are."""
    if not of_a_generator(files):
        return None
    faces = read_faces(files.faces, np.array([pair["row"]]))
    if photographs is not None:
        picture = ImageFolder(photographs.folder).picture(pair["real"])
        (face,) = alignment.find([picture])
        crop = crop_photograph(picture, face, Frame(**files.faces.frame))
        faces = np.stack([faces[0], crop.permute(1, 2, 0).byte().numpy()])
    return strip(faces, 2)


def of_a_generator(files: RoundFiles) -> bool:
    """As far as is known: imported faces may be photographs, unless their source is stated."""
    return not files.num_imported or files.synthetic_source is not None
