"""Search synthetic faces for given real people that they might repeat.

    facestill leakage ROUND … --real orl|pairs:DIR|folder:DIR --out FILE.json
        [--teacher NAME …] [--pairs 100] [--aligner NAME] [--frame arcface112]
        [--no-identities] [--threshold-from orl|pairs:DIR|folder:DIR|RESULT …]
        [--page FILE.html [--show-photographs]]
    facestill leakage --gate NAME      a gate of params.yaml: exits 1 above its limits

Every synthetic face is compared with every photograph, as Shahreza & Marcel 2024 (arXiv
2410.24015) do for the photographs that a generator was trained on: the most alike pairs of all,
and each face's best match. Beside it stands the same for different real people, and the score
above which the teacher lets one of 100,000 pairs of different people pass. Where folders name
nobody, as FFHQ's, --no-identities takes every photograph for somebody else, and the threshold
comes from --threshold-from. A result is of these photographs alone: a clean one is no proof that
a generator repeats nobody. Photographs are shown on the page only where that is asked for.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.alignment import Alignment, Asked, add_options, alignment_by, asked
from eval.photos.photo_sets import PhotographSet, may_show, open_photographs
from eval.photos.real_faces import RealFaces, embed_people, embed_real, people_of
from eval.photos.scales import Source, open_source
from eval.photos.stored_faces import group_numbers, listed, stored_frame, synthetic_blocks
from eval.reporting.leaks import in_words, write_page
from eval.scoring.folders import Folders
from eval.scoring.leaks import Scale, Search, agreement, figures, impostor_pairs, scale_among
from eval.scoring.search import closest
from manifests.core import layout
from manifests.core.costs import timed
from manifests.core.errors import InputError, Parser, conclude, run_command, to_open
from manifests.core.files import require_file_place, require_new, write_json
from manifests.settings.leakage import Leakage
from manifests.settings.params import Params, load_params
from manifests.stores.rounds import RoundFiles, open_round
from pipeline.arrays.frames import Frame
from pipeline.teachers import load_teacher
from pipeline.teachers.base import Teacher

STRANGERS = (
    "give --no-identities, so that every photograph counts as somebody else, with --threshold-from"
)
Rounds = Sequence[RoundFiles]


@dataclass(frozen=True)
class Asking:
    """What is searched, by whom, and among which photographs: opened and checked."""

    rounds: Mapping[str, Rounds]  # by teacher: the same rounds
    teachers: Sequence[Teacher]
    stored: Frame
    photographs: PhotographSet
    alignment: Alignment
    source: Source | None  # of the thresholds, where it is not the photographs themselves


def opened(check: Leakage, options: Asked, params: Params) -> Asking:
    """Raises InputError for whatever can be told before a face is embedded."""
    check.check("--no-identities", "--threshold-from")
    if check.show_photographs and not may_show(check.real):
        raise InputError(f"show_photographs: those of {check.real} are not the user's own")
    names = check.teachers or (params.teacher,)
    if len(set(names)) < len(names):
        raise InputError(f"--teacher {' '.join(names)}: one is named twice")
    rounds = {name: [open_round(own, name) for own in check.rounds] for name in names}
    teachers = [load_teacher(params.teacher_text(name), layout.WEIGHTS) for name in names]
    pairs = zip(rounds.values(), teachers, strict=True)
    stored, *_ = [stored_frame(own, teacher) for own, teacher in pairs]
    alignment = options.alignment or alignment_by()
    square = alignment.frame is not None
    photographs = open_photographs(check.real, square=square, strangers=not check.identities)
    source = None
    if check.threshold_from:
        source = open_source(check.threshold_from, teachers, alignment)
    else:  # before they are embedded, of which some may show no face
        impostor_pairs(people_of(photographs), "photographs")
    return Asking(rounds, teachers, stored, photographs, alignment, source)


def _real(asking: Asking) -> tuple[RealFaces, list[Folders]]:
    """The photographs' faces; of people, how well each teacher tells them apart."""
    words = (asking.photographs, asking.teachers, asking.stored, asking.alignment)
    if asking.photographs.strangers:
        return embed_real(*words), []
    return embed_people(*words, STRANGERS)


def _scales(asking: Asking, real: RealFaces, text: str) -> list[Scale]:
    if asking.source is not None:
        return asking.source.scales(asking.teachers, asking.stored, asking.alignment)
    return [
        scale_among(real.by(teacher, at), teacher.metric, text)
        for at, teacher in enumerate(asking.teachers)
    ]


def measure(check: Leakage, asking: Asking) -> dict[str, Any]:
    """The whole report."""
    real, folders = _real(asking)
    scales = _scales(asking, real, check.real)
    searches, found = {}, {}
    for at, (name, rounds) in enumerate(asking.rounds.items()):
        teacher, scale = asking.teachers[at], scales[at]
        faces = real.by(teacher, at)
        blocks = synthetic_blocks(rounds, teacher.metric)
        search = closest(blocks, faces.embeddings, teacher.metric, check.pairs)
        searches[name] = Search(search, scale.threshold)
        found[name] = {
            "teacher": teacher.identity(),
            "rounds": {files.name: files.teacher.root for files in rounds},
            **figures(search, group_numbers(rounds), faces, teacher.metric, scale),
            "folders": folders[at].facts if folders else None,
            "top_pairs": listed(search.top, rounds, real.names),
        }
    photographs, first = asking.photographs, next(iter(asking.rounds.values()))
    return {
        "rounds": {files.name: files.faces.root for files in first},
        "synthetic_faces": len(next(iter(searches.values())).found.best),
        "photographs": check.real,
        "photographs_digest": photographs.digest,
        "identities": check.identities,
        "alignment": asking.alignment.rule,
        "real": {
            "faces": len(real.names),
            "people": None if photographs.strangers else len(set(real.subject.tolist())),
            "undetected": real.num_undetected,
            **photographs.repeats,
        },
        "teachers": found,
        "agreement": agreement(searches) if len(searches) > 1 else None,
        "broken": [],
    }


def broken(report: Mapping[str, Any], check: Leakage) -> list[str]:
    """The limits that are not met, each in a few words."""
    limits = {
        ("above the threshold", "above_threshold", "most_above"): check.most_above,
        ("as alike as half of a person's own pairs", "above_genuine_median", "most_alike"):
            check.most_alike,
    }  # fmt: skip
    return [
        f"{value:.2%} of the faces are {what}, above {limit_name} {limit:g} ({name})"
        for (what, figure, limit_name), limit in limits.items()
        for name, found in report["teachers"].items()
        if limit is not None
        and (value := found["best_match"]["synthetic"][figure]["value"]) > limit
    ]


def gate(name: str, params: Params) -> int:
    """A gate of params.yaml. Returns the exit status."""
    check = params.gate(name)
    asking = opened(check, Asked(frame=check.frame), params)
    report = measure(check, asking)
    report["broken"] = broken(report, check)
    write_json(layout.leakage(name) / "leakage.json", report)
    page = layout.leakage(name) / "index.html"
    draw(page, report, asking, show=check.show_photographs)
    conclude(page, in_words(report), to_open(page))
    if report["broken"]:
        print(f"leakage {name}: {'; '.join(report['broken'])}; look at {page}", file=sys.stderr)
    return int(bool(report["broken"]))


def draw(page: Path, report: Mapping[str, Any], asking: Asking, *, show: bool) -> None:
    rounds = {files.name: files for files in next(iter(asking.rounds.values()))}
    photographs = asking.photographs if show else None
    write_page(page, report, rounds, photographs, asking.alignment)


def _measure(args: argparse.Namespace) -> None:
    """Everything that can be refused is refused before the measuring."""
    for out in filter(None, (args.out, args.page)):
        require_file_place(out)
        require_new(out, force=args.force)
    if args.show_photographs and args.page is None:
        raise InputError("--show-photographs: on no page; name one with --page FILE.html")
    check = Leakage(
        args.real, tuple(args.rounds), tuple(args.teacher), not args.no_identities,
        tuple(args.threshold_from), args.frame, args.pairs, args.show_photographs,
    )  # fmt: skip
    asking = opened(check, asked(args), load_params())
    report = measure(check, asking)
    write_json(args.out, report)
    if args.page is not None:
        draw(args.page, report, asking, show=args.show_photographs)
    following = to_open(args.page) if args.page else "--page FILE.html, to see the closest pairs"
    conclude(args.out, in_words(report), following)


def main() -> int:
    parser = Parser(__doc__)
    parser.add_argument("rounds", type=layout.round_name, nargs="*", metavar="ROUND")
    parser.add_argument("--real", metavar="SET", help="orl, pairs:DIR, folder:DIR")
    parser.add_argument(
        "--teacher", nargs="+", default=[], metavar="NAME", help="default: the one in params.yaml"
    )
    parser.add_argument("--pairs", type=int, default=100, help="most alike pairs to list (100)")
    parser.add_argument(
        "--no-identities", action="store_true", help="every photograph is of somebody else"
    )
    parser.add_argument(
        "--threshold-from", nargs="+", default=[], metavar="SET",
        help="labelled photographs, or a result of facestill verify for each teacher",
    )  # fmt: skip
    parser.add_argument("--page", type=Path, metavar="FILE.html", help="the most alike pairs")
    parser.add_argument(
        "--show-photographs", action="store_true", help="on the page, beside the synthetic faces"
    )
    add_options(parser)
    parser.add_argument("--out", type=Path, help="a JSON file")
    parser.add_argument("--gate", metavar="NAME", help="one of params.yaml")
    parser.add_force()
    args = parser.parse_args()
    if args.gate:
        with timed("leakage"):
            return gate(args.gate, load_params())
    if not (args.rounds and args.real and args.out):
        raise InputError("give rounds, --real and --out")
    if args.pairs < 1:
        raise InputError(f"--pairs {args.pairs}: expected at least 1")
    _measure(args)
    return 0


if __name__ == "__main__":
    run_command(main)
