"""What a teacher's scores are held against where photographs do not say who is who: other,
labelled ones, or what `facestill verify` scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from eval.alignment import Alignment
from eval.photos.models import PLAIN
from eval.photos.photo_sets import PhotographSet, is_photographs, open_photographs
from eval.photos.real_faces import embed_people, people_of
from eval.scoring.leaks import Scale, impostor_pairs, scale_among, scale_of
from eval.scoring.scored import ScoredPairs, read_scores
from manifests.core.errors import InputError
from pipeline.arrays.frames import Frame
from pipeline.teachers.base import Teacher

SCORES = "scores.parquet"
ADVICE = "take the threshold from photographs of people that are told apart"
Result = tuple[str, ScoredPairs, Mapping[str, str]]  # a folder, its pairs, what they are of


@dataclass(frozen=True)
class Source:
    """Labelled photographs, or a result of `facestill verify` for each teacher in turn."""

    text: str
    photographs: PhotographSet | None
    results: tuple[Result, ...]

    def scales(
        self, teachers: Sequence[Teacher], stored: Frame, alignment: Alignment
    ) -> list[Scale]:
        """Raises InputError for folders that are no people and pairs that are too few."""
        if self.photographs is None:
            return [scale_of(pairs, folder) for folder, pairs, _ in self.results]
        real, _ = embed_people(self.photographs, teachers, stored, alignment, ADVICE)
        return [
            scale_among(real.by(teacher, at), teacher.metric, self.text)
            for at, teacher in enumerate(teachers)
        ]


def open_source(texts: Sequence[str], teachers: Sequence[Teacher], alignment: Alignment) -> Source:
    """Of --threshold-from. Raises InputError, before any work, for what no threshold can come
    from: strangers, and results that are not of these teachers."""
    if not any(map(is_photographs, texts)):
        results = [_read(text) for text in texts]
        return Source(" ".join(texts), None, tuple(_of(own, results) for own in teachers))
    if len(texts) > 1:
        raise InputError(
            f"--threshold-from {' '.join(texts)}: one set of photographs serves all teachers; name "
            "it alone, or a result of facestill verify for each teacher"
        )
    opened = open_photographs(texts[0], square=alignment.frame is not None)
    impostor_pairs(people_of(opened), texts[0])
    _ = opened.digest
    return Source(texts[0], opened, ())


def _read(text: str) -> Result:
    path = Path(text) / SCORES
    if not path.is_file():
        raise InputError(
            f"--threshold-from {text}: {path} is not there; expected a result of facestill verify, "
            "orl, pairs:DIR or folder:DIR"
        )
    return text, *read_scores(path)


def _of(teacher: Teacher, results: Sequence[Result]) -> Result:
    wanted = {"model_sha256": teacher.weights_sha256, "metric": teacher.metric, "views": PLAIN}
    for own in results:
        if {name: own[2].get(name) for name in wanted} == wanted:
            return own
    found = "; ".join(
        f"{text} of {facts.get('model')} ({facts.get('metric')}, {facts.get('views')})"
        for text, _, facts in results
    )
    raise InputError(
        f"--threshold-from: no result of {teacher.name} ({teacher.metric}, {PLAIN}) among {found}; "
        "run facestill verify with it and --views plain, and name that one too"
    )
