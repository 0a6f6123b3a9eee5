"""Annotate the faces and photographs that the study compares.

    facestill attribute-drift-tables        -> data/studies/attribute-drift

What params/studies/attribute-drift.yaml names is annotated: photographs by every annotator, rounds
by all but `measured`, whose tables the default flow makes. With `labels`, heads are trained first.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from eval.annotators import annotate, load_annotator
from eval.annotators.base import Annotator
from eval.attributes.head_files import SUFFIX, save_heads
from eval.attributes.head_training import make_heads
from eval.photos.photo_sets import is_photographs, open_photographs
from manifests.core import layout
from manifests.core.backends import split_kind
from manifests.core.costs import timed
from manifests.core.errors import InputError, Parser, conclude, run_command
from manifests.records.attributes import MEASURED
from manifests.settings.params import load_params
from manifests.settings.study import load_study
from manifests.studies.attribute_drift import NamedSet, Study

NAME = "attribute-drift"
FOLDER = layout.study_data(NAME)
HEADS = FOLDER / f"labelled{SUFFIX}"


def title_of(text: str) -> str:
    """What to call photographs: orl, or their folder's own name."""
    kind, folder = split_kind(text)
    return Path(folder).resolve().name if folder else kind


def is_table(text: str) -> bool:
    """Does `text` name a table of facestill annotate, of which the faces may be elsewhere?"""
    return text.endswith(".parquet")


def sets_of(study: Study) -> Mapping[str, NamedSet]:
    """The sets of the matrix: those that are named, else every round and all photographs by
    themselves."""
    return study.sets or {
        **{title_of(text): NamedSet("real", (text,)) for text in study.real},
        **{name: NamedSet("synthetic", (name,)) for name in study.rounds},
    }


def members(study: Study) -> list[str]:
    """Rounds and photographs, as the study names them, each once."""
    named = [text for own in sets_of(study).values() for text in own.faces if not is_table(text)]
    return list(dict.fromkeys([*study.rounds, *study.real, *named]))


def table_path(annotator: str, text: str) -> Path:
    """Of photographs or a round, by an annotator's own name."""
    if is_photographs(text):
        return FOLDER / annotator / "photographs" / f"{title_of(text)}.parquet"
    if annotator == MEASURED:
        return layout.attributes(text, MEASURED)
    return FOLDER / annotator / "rounds" / f"{text.replace('/', '.')}.parquet"


def check_study(study: Study) -> None:
    """Raises InputError for sets that cannot be told apart or are of the wrong kind, and for
    settings that no heads could be trained with: before any work."""
    for text in study.real:
        if not is_photographs(text):
            raise InputError(f"real: {text!r} is not orl, pairs:DIR or folder:DIR")
    for text in study.rounds:
        if is_photographs(text):
            raise InputError(f"rounds: {text!r} names photographs, expected a round")
    titles = [*study.rounds, *map(title_of, study.real)]
    if len(set(titles)) < len(titles) or not study.rounds or not study.real:
        raise InputError(
            f"rounds and real: {', '.join(titles) or 'nothing'}; name at least one of each, and "
            "none twice (a folder is called by its last part)"
        )
    if not study.annotators and study.labels is None:
        raise InputError("annotators: none, and no labels to train heads on; nothing to measure")
    _check_sets(study)


def _check_sets(study: Study) -> None:
    for name, own in study.sets.items():
        if not own.faces:
            raise InputError(f"sets: {name}: no faces; name rounds, photographs or tables")
    if len(study.sets) == 1:
        raise InputError("sets: one; a matrix is of at least two")
    named = [text for own in study.sets.values() for text in own.faces]
    for text in named:
        if named.count(text) > 1:
            raise InputError(f"sets: {text} is in two of them; name each once")
    titles = [title_of(text) if is_photographs(text) else text for text in members(study)]
    if len(set(titles)) < len(titles):
        raise InputError(
            f"sets: {', '.join(titles)}; two are called alike (a folder is by its last part)"
        )


def check_names(study: Study, known: Sequence[str]) -> None:
    """Raises InputError for an attribute that no annotator measures."""
    for name in study.attributes:
        if name not in known:
            raise InputError(
                f"attributes: unknown attribute {name[:80]!r}; there are {', '.join(known)}"
            )


def train(study: Study) -> list[str]:
    """Trains heads where there are labels; returns the annotators that this adds."""
    if study.labels is None:
        return []
    params = load_params()
    heads, passport = make_heads(
        Path(study.labels.table),
        study.labels.faces,
        params.teacher_text(params.teacher),
        study.heads,
        list(study.labels.attributes),
    )
    save_heads(HEADS, heads, passport)
    return [f"heads:{HEADS}"] if passport.used else []


def write_tables(annotator: Annotator, sources: Sequence[str]) -> None:
    """A table of each source, but for those that the default flow makes."""
    for text in sources:
        path = table_path(annotator.name, text)
        if FOLDER in path.parents:
            annotate(text, annotator).write(path)


def main() -> None:
    Parser(__doc__).parse_args()
    study = load_study(NAME, Study)
    check_study(study)
    for text in filter(is_photographs, members(study)):
        _ = open_photographs(text).digest  # refused before the work, and before tables go
    annotators = [load_annotator(text) for text in study.annotators]
    with timed(f"{NAME}-tables"):
        shutil.rmtree(FOLDER, ignore_errors=True)  # of sets that are not named any more
        FOLDER.mkdir(parents=True)
        annotators += [load_annotator(text) for text in train(study)]
        check_names(study, [own.name for each in annotators for own in each.attributes])
        for annotator in annotators:
            write_tables(annotator, members(study))
    conclude(FOLDER, f"tables of {len(annotators)} annotators", f"facestill {NAME}-report")


if __name__ == "__main__":
    run_command(main)
