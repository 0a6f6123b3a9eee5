"""Verification of models on a benchmark: its pairs scored, and the figures that follow.

Photographs become embeddings (eval.photos.embedding), these what is compared, that scored pairs
(eval.scoring.similarity), and every figure follows from pairs (eval.scoring.metrics). The table of
scores is made last, where it is written.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from eval.alignment import meant, usual_aligner
from eval.benchmarks.base import Protocol
from eval.photos.embedding import Embedded, Kept, embed_protocol, frame_coverage
from eval.photos.models import BOTH, Model, Views
from eval.scoring.allpairs import figures_among
from eval.scoring.fairness import by_group
from eval.scoring.folders import LEAST
from eval.scoring.metrics import figures_in_short, figures_of_pairs, people_known
from eval.scoring.pooling import pool_templates, undetected
from eval.scoring.ranking import identification_figures, over_galleries
from eval.scoring.scored import ScoredPairs
from eval.scoring.similarity import faces_of, score_pairs
from manifests.core.errors import InputError
from manifests.core.files import read_json, write_json
from manifests.photographs.images import DECODER
from pipeline.aligners.base import misplaced
from pipeline.arrays.align import Face

METRICS = "metrics.json"
FOLDER = "folder"  # the benchmark whose people are folders
FACTS = ("model", "model_sha256", "metric", "views", "benchmark", "protocol_sha256", "subject_rule")


@dataclass(frozen=True)
class Verification:
    """Scored pairs, and the figures that follow from them."""

    pairs: ScoredPairs
    metrics: dict[str, Any]

    def write(self, out: Path) -> None:
        """metrics.json and scores.parquet, and a line to read."""
        metrics = self.metrics
        facts = {name: str(metrics[name]) for name in FACTS}
        self.pairs.write(out / "scores.parquet", facts)
        write_json(out / METRICS, metrics)
        print(in_words(metrics))


def in_words(metrics: Mapping[str, Any]) -> str:
    """Accuracy with its interval over people, or, where nobody knows who is who or they are too
    few for one, over pairs; and the images whose face is not certain."""
    known = people_known(metrics)
    low, high = metrics["accuracy_ci95_identity" if known else "accuracy_ci95"]
    over = f"over {metrics['num_subjects']} people" if known else "over pairs as if independent"
    line = (
        f"{metrics['model']} on {metrics['benchmark']}: accuracy {metrics['accuracy']:.4f} "
        f"[{low:.4f}, {high:.4f}] (95 %, {over}), {metrics['num_pairs']} pairs"
    )
    images = f"of {metrics['num_images']} images"
    for count, what in (
        (metrics["num_failed"], "without a face that was found: their central boxes were compared"),
        (
            metrics["num_several_faces"],
            f"with several faces: the {meant(metrics['alignment'])} was compared",
        ),
    ):
        line += f"\n{count} {images} {what}" if count else ""
    return line + groups_in_words(metrics.get("by_group"))


SPREAD = {"accuracy_mean": "mean", "accuracy_std": "STD", "accuracy_ser": "SER"}


def groups_in_words(found: Mapping[str, Any] | None) -> str:
    """A line of each group's accuracy and how far they are apart; nothing without groups."""
    if found is None:
        return ""
    each = [
        f"{name} {own['accuracy']['value']:.4f}" if own["accuracy"] else f"{name} –"
        for name, own in found["groups"].items()
    ]
    apart = [
        f"{name} {found[key]['value']:{'.2f' if name == 'SER' else '.4f'}}"
        for key, name in SPREAD.items()
        if found[key] is not None
    ]
    return f"\nby group: {'; '.join([*each, ', '.join(apart)] if apart else each)}"


def identity_of(model: Model, protocol: Protocol, views: str | None = None) -> dict[str, str]:
    """What metrics.json says of a result of this model on this protocol, and of no other."""
    return {
        "model_sha256": model.sha256,
        "protocol_sha256": protocol.benchmark.protocol_sha256,
        "views": views or model.views,
    }


def check_replaced(
    out: Path, model: Model, protocol: Protocol, views: str | None, *, force: bool
) -> None:
    """Raises InputError where a result of another model, protocol or view lies, which would be
    lost, unless `force` says that it may be."""
    if force or not (out / METRICS).exists():
        return
    found, asked = read_json(out / METRICS), identity_of(model, protocol, views)
    if {name: found.get(name) for name in asked} != asked:
        raise InputError(
            f"{out}: has the result of {found.get('model')} on {found.get('benchmark')} "
            f"({found.get('views')}), now it would be {model.name} on {protocol.benchmark.name} "
            f"({asked['views']}); name another folder, or replace it with --force"
        )


def verify_models(
    models: Sequence[Model],
    protocol: Protocol,
    views: str | None = None,
    kept: Kept | None = None,
) -> list[Verification]:
    """Every model on the same found faces, by its own views unless others are named; `kept`: of
    images that other benchmarks have too."""
    used = [views or model.views for model in models]
    warn_of_frames(protocol, models)
    embedded, faces = embed_protocol(protocol, models, used, kept)
    done = [verify(protocol, each, faces, use) for each, use in zip(embedded, used, strict=True)]
    doubt = doubt_of_people(protocol.benchmark.name, [own.metrics["auc"] for own in done])
    if doubt is not None:
        print(f"warning: {doubt}", file=sys.stderr)
    return done


def doubt_of_people(benchmark: str, aucs: Sequence[float]) -> str | None:
    """Where folders are taken for people and no model finds the faces of one more alike than those
    of two: an album or a thousand numbered files names nobody."""
    if benchmark != FOLDER or max(aucs) >= LEAST:
        return None
    return (
        f"benchmark {benchmark}: photographs of one folder are hardly more alike than those of two "
        f"(AUC {max(aucs):.2f}, expected at least {LEAST:g} of people); are its folders people?"
    )


def warn_of_frames(protocol: Protocol, models: Sequence[Model]) -> None:
    """On stderr: crops that are not in the frame that is said, or do not hold a model's."""
    _warn_of_frame(protocol)
    for model in models:
        _warn_of_edges(model, protocol)


def _warn_of_frame(protocol: Protocol) -> None:
    """Where the aligner's weights lie there; a network in a file needs no others."""
    if protocol.frame is None:
        return
    try:
        aligner = usual_aligner()
    except InputError:
        return
    reason = misplaced(aligner, protocol.frame, protocol.benchmark.images, protocol.images.picture)
    if reason is not None:
        print(f"warning: benchmark {protocol.benchmark.name}: {reason}", file=sys.stderr)


def _warn_of_edges(model: Model, protocol: Protocol) -> None:
    if protocol.frame is None:
        return
    covered = frame_coverage(protocol.frame, model.frame)
    if covered < 1.0:
        print(
            f"warning: {model.name} looks at the frame {model.frame.name}, of which the images "
            f"(crops in {protocol.frame.name}) hold {covered:.1%}; their edges are repeated for "
            "the rest (frame_coverage in metrics.json)",
            file=sys.stderr,
        )


def verify(
    protocol: Protocol, embedded: Embedded, faces: Sequence[Face], views: str
) -> Verification:
    """One model, by these views of it, on the embedded images of a protocol and their faces."""
    model, benchmark = embedded.model, protocol.benchmark
    detected = np.array([face.detected for face in faces])
    compared, failed = _compared(protocol, embedded, faces), _failed(protocol, detected)
    pairs = {
        name: score_pairs(benchmark, benchmark.compared, rows, failed, model.metric)
        for name, rows in compared.items()
    }
    own, rows = pairs[views], compared[views]
    metrics = {
        **_facts(protocol, model, views),
        **_face_figures(faces),
        **_template_figures(protocol),
        **protocol.repeats,
        **figures_of_pairs(own, model.metric, protocol.subject_rule),
        **_all_pairs(protocol, rows, model.metric),
        **_identification(protocol, rows, model.metric),
        **_groups(protocol, own, model.metric),
        "by_views": {name: figures_in_short(each, model.metric) for name, each in pairs.items()},
    }
    return Verification(own, metrics)


def _facts(protocol: Protocol, model: Model, views: str) -> dict[str, Any]:
    source = protocol.frame
    return {
        "model": model.name,
        "model_sha256": model.sha256,
        "metric": model.metric,
        "views": views,
        "mirrored_view_added": views == BOTH,
        "benchmark": protocol.benchmark.name,
        "protocol_sha256": protocol.benchmark.protocol_sha256,
        "alignment": protocol.benchmark.alignment,
        "frame": model.frame.name,
        "frame_coverage": 1.0 if source is None else frame_coverage(source, model.frame),
        "decoder": DECODER,
        "subject_rule": protocol.subject_rule,
    }


def _face_figures(faces: Sequence[Face]) -> dict[str, Any]:
    """How many, and how large: between the eyes, in pixels of the images."""
    found = [face for face in faces if face.detected]
    distances = [face.eye_distance for face in found]
    least, median, most = np.quantile(distances, (0.0, 0.5, 1.0)).tolist()
    return {
        "num_images": len(faces),
        "num_failed": len(faces) - len(found),
        "num_several_faces": sum(face.others > 0 for face in found),
        "eye_distance": {"least": least, "median": median, "most": most},
    }


def _template_figures(protocol: Protocol) -> dict[str, Any]:
    templates = protocol.benchmark.templates
    return {"num_templates": len(templates.known)} if templates else {}


def _compared(protocol: Protocol, embedded: Embedded, faces: Sequence[Face]) -> Views:
    """What pairs are made of, by views: the images, or templates pooled from them."""
    templates, images = protocol.benchmark.templates, protocol.benchmark.images
    if templates is None:
        return embedded.views
    metric, weights = embedded.model.metric, None
    if protocol.weights is not None:
        weights = np.array([protocol.weights[name] for name in images])
    elif protocol.points is not None and protocol.points.weigh:
        weights = np.array([face.score for face in faces])
    return {
        name: pool_templates(templates, images, rows, metric, weights)
        for name, rows in embedded.views.items()
    }


def _failed(protocol: Protocol, detected: Bool[np.ndarray, " image"]) -> np.ndarray:
    templates = protocol.benchmark.templates
    return undetected(templates, protocol.benchmark.images, detected) if templates else ~detected


def _all_pairs(protocol: Protocol, rows: np.ndarray, metric: str) -> dict[str, Any]:
    """Over all pairs of images, where the benchmark allows it."""
    if not protocol.all_pairs:
        return {}
    benchmark = protocol.benchmark
    faces = faces_of(benchmark, benchmark.compared, rows, metric, protocol.subject_rule)
    return figures_among(faces, metric)


def _identification(protocol: Protocol, rows: np.ndarray, metric: str) -> dict[str, Any]:
    """1:N: every probe template against the gallery."""
    templates = protocol.benchmark.templates
    if templates is None or not templates.gallery:
        return {}
    probes, gallery = (
        faces_of(protocol.benchmark, names, rows, metric, protocol.subject_rule)
        for names in (templates.probes, templates.gallery)
    )
    figures = identification_figures(probes, gallery, metric)
    if templates.galleries:
        figures |= over_galleries(probes, gallery, templates.galleries, metric)
    return {"identification": figures}


def _groups(protocol: Protocol, pairs: ScoredPairs, metric: str) -> dict[str, Any]:
    """Figures by group of people; says which group is too small for one."""
    if pairs.group is None:
        return {}
    found = by_group(pairs, metric, pairs.subjects(protocol.subject_rule))
    if found["reasons"]:
        print(
            f"warning: benchmark {protocol.benchmark.name}: null in by_group: "
            f"{'; '.join(found['reasons'])}",
            file=sys.stderr,
        )
    return {"by_group": {"basis": protocol.basis, **found}}
