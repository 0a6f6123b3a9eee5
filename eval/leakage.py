"""Search synthetic faces for given real people that they might repeat.

    facestill leakage ROUND … --real orl|pairs:DIR|folder:DIR --out FILE.json
        [--teacher NAME] [--pairs 100] [--aligner NAME] [--frame arcface112]

Every synthetic face is compared with every photograph, as Shahreza & Marcel 2024 (arXiv
2410.24015) do for the photographs that a generator was trained on: the most alike pairs of all,
and each face's best match. Beside it stands the same for different real people, and the score
above which the teacher lets one of 100,000 pairs of different people pass. A result is of these
photographs alone: a clean one is no proof that a generator repeats nobody. No picture is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from eval.alignment import Asked, add_options, alignment_by, asked
from eval.photos.photo_sets import open_photographs
from eval.photos.real_faces import RealFaces, embed_real, people_of
from eval.photos.stored_faces import group_numbers, listed, stored_frame, synthetic_blocks
from eval.scoring.allpairs import all_pairs_figures
from eval.scoring.metrics import MIN_FALSE_ACCEPTS
from eval.scoring.ranking import identify
from eval.scoring.search import Closest, closest, distribution, genuine_scores, share
from eval.scoring.similarity import Faces, prepared
from manifests.core import layout
from manifests.core.errors import InputError, Parser, run_command
from manifests.core.files import require_file_place, require_new, write_json
from manifests.settings.params import load_params
from manifests.stores.rounds import open_round
from pipeline.teachers import load_teacher

FMR = 1e-5
RADII = (0.5, 0.95)  # share of a person's pairs of photographs that lie within


def leakage(
    found: Closest, group: np.ndarray, real: RealFaces, rows: np.ndarray, metric: str
) -> dict[str, Any]:
    """Everything in the report that follows from the search. `rows`: the prepared embeddings of
    the real faces."""
    faces = Faces(rows.astype(np.float64), real.subject)
    among = identify(faces, faces, metric, itself=True)
    people = len(np.unique(real.subject))
    point = operating_point(faces, metric)
    threshold = point["threshold"]
    return {
        "operating_point": point,
        "best_match": {
            "synthetic": distribution(found.best)
            | {"above_threshold": asdict(share(found.best > threshold, group))},
            "real_other_person": distribution(among.other)
            | {"above_threshold": asdict(share(among.other > threshold, real.subject))},
        },
        "coverage": coverage(found.covered, among.other, rows, real.subject, metric),
        "real": {"faces": len(rows), "people": people, "undetected": real.num_undetected},
    }


def operating_point(faces: Faces, metric: str) -> dict[str, Any]:
    """The teacher's threshold at an FMR of 1e-5 between different real people, or at the lowest
    that 10 of their pairs stand behind."""
    impostors = impostor_pairs(faces.subject)
    fmr = max(FMR, MIN_FALSE_ACCEPTS / impostors)
    (point,) = all_pairs_figures(faces, metric, [fmr])["tar_at_far"].values()
    threshold = point["threshold"]
    return {"fmr": fmr, "wanted_fmr": FMR, "impostor_pairs": impostors, "threshold": threshold}


def impostor_pairs(subject: np.ndarray) -> int:
    """How many pairs are of different people. Raises InputError for too few to find a threshold,
    and where nobody is there twice."""
    sizes = np.unique(subject, return_counts=True)[1].astype(float)
    impostors = int((len(subject) ** 2 - (sizes**2).sum()) / 2)
    if impostors <= MIN_FALSE_ACCEPTS or sizes.max() < 2:
        raise InputError(
            f"photographs: {impostors} pairs of different people and at most {sizes.max():.0f} of "
            f"one person, expected more than {MIN_FALSE_ACCEPTS} and at least 2; bring more"
        )
    return impostors


def coverage(
    covered: np.ndarray, other: np.ndarray, rows: np.ndarray, subject: np.ndarray, metric: str
) -> dict[str, Any]:
    """Share of real faces with a synthetic one within the distance that a share of the pairs of
    one person's photographs lies within; and with a face of another real person."""
    genuine = genuine_scores(rows, subject, metric)
    return {
        f"{radius:g}": {
            "score": (score := float(np.quantile(genuine, 1.0 - radius))),
            "synthetic": asdict(share(covered >= score, subject)),
            "real_other_person": asdict(share(other >= score, subject)),
        }
        for radius in RADII
    }


def in_words(report: dict[str, Any]) -> str:
    """The table that the command prints."""
    point, best = report["operating_point"], report["best_match"]
    real = report["real"]
    lines = [
        f"{report['synthetic_faces']:,} synthetic faces against {real['faces']:,} of "
        f"{real['people']:,} people ({report['photographs']}, {real['undetected']} without a face "
        f"left out), by {report['teacher']['name']} ({report['teacher']['metric']}; higher is "
        "more alike)",
        "",
        f"{'best match':22}{'mean':>9}{'p50':>9}{'p99':>9}{'p99.9':>9}{'max':>9}  above threshold",
    ]
    for key, name in (("synthetic", "synthetic face"), ("real_other_person", "real, other person")):
        row = best[key]
        cells = "".join(f"{row[own]:9.4f}" for own in ("mean", "p50", "p99", "p99.9", "max"))
        lines.append(f"{name:22}{cells}  {_percent(row['above_threshold'])}")
    limit = "" if point["fmr"] == FMR else f"; {FMR:g} needs more people"
    lines += [
        "",
        f"threshold {point['threshold']:.4f}: FMR {point['fmr']:.2g} among "
        f"{point['impostor_pairs']:,} pairs of different people{limit}",
        f"most alike pair: {report['top_pairs'][0]['score']:.4f}, "
        f"{len(report['top_pairs'])}th: {report['top_pairs'][-1]['score']:.4f}",
    ]
    if real["repeated"]:
        lines.append(
            f"{real['repeated']} photographs are the very bytes of another, "
            f"{real['of_several_people']} pictures lie in folders of several people: remove "
            "them, threshold and coverage are off by them"
        )
    for radius, row in report["coverage"].items():
        lines.append(
            f"coverage within {row['score']:.4f} ({float(radius):.0%} of a person's own pairs): "
            f"{_percent(row['synthetic'])}; by other real people "
            f"{_percent(row['real_other_person'])}"
        )
    return "\n".join(lines)


def _percent(own: dict[str, Any]) -> str:
    low, high = own["ci95"]
    return f"{own['value']:.2%} [{low:.2%}, {high:.2%}]"


def measure(
    names: Sequence[str], photographs: str, teacher_name: str, num_pairs: int, options: Asked
) -> dict[str, Any]:
    """The whole report."""
    params = load_params()
    rounds = [open_round(name, teacher_name) for name in names]
    teacher = load_teacher(params.teacher_text(teacher_name), layout.WEIGHTS)
    stored = stored_frame(rounds, teacher)
    group = group_numbers(rounds)
    alignment = options.alignment or alignment_by()
    opened = open_photographs(photographs, square=alignment.frame is not None)
    impostor_pairs(people_of(opened))  # before they are embedded, of which some may show no face
    real = embed_real(opened, teacher, stored, alignment)
    rows = prepared(real.embeddings, teacher.metric)
    blocks = synthetic_blocks(rounds, teacher.metric)
    found = closest(blocks, rows, teacher.metric, num_pairs)
    figures = leakage(found, group, real, rows, teacher.metric)
    figures["real"] |= opened.repeats
    return {
        "rounds": {files.name: files.teacher.root for files in rounds},
        "synthetic_faces": len(found.best),
        "photographs": photographs,
        "photographs_digest": opened.digest,
        "alignment": alignment.rule,
        "teacher": teacher.identity(),
        **figures,
        "top_pairs": listed(found.top, rounds, real.names),
    }


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("rounds", type=layout.round_name, nargs="+", metavar="ROUND")
    parser.add_argument("--real", required=True, metavar="SET", help="orl, pairs:DIR, folder:DIR")
    parser.add_argument("--teacher", help="default: the one in params.yaml")
    parser.add_argument("--pairs", type=int, default=100, help="most alike pairs to list (100)")
    add_options(parser)
    parser.add_argument("--out", type=Path, required=True, help="a JSON file")
    parser.add_force()
    args = parser.parse_args()
    if args.pairs < 1:
        raise InputError(f"--pairs {args.pairs}: expected at least 1")
    require_file_place(args.out)
    require_new(args.out, force=args.force)
    teacher = args.teacher or load_params().teacher
    report = measure(args.rounds, args.real, teacher, args.pairs, asked(args))
    write_json(args.out, report)
    print(in_words(report))


if __name__ == "__main__":
    run_command(main)
