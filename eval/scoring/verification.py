"""Scores of a protocol's pairs, and the figures that follow from them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int

from eval.benchmarks.base import Protocol
from eval.photos.embedding import Embedded, Views, frame_coverage
from eval.photos.models import Model
from eval.scoring.allpairs import all_pairs_figures
from eval.scoring.fairness import by_group
from eval.scoring.metrics import figures_of_pairs, fold_results
from eval.scoring.pooling import pool_templates, prepared, undetected
from eval.scoring.ranking import Faces, identify, rank_figures, tpir_at_fpir
from eval.scoring.roc import roc
from eval.scoring.scored import ScoredPairs, parse_scores
from manifests.photographs.images import DECODER
from manifests.photographs.scores import SCHEMA, subject_of

PAIRS = 1 << 16  # scored at a time
RANKS, FPIRS = (1, 5, 10), (0.1, 0.01)


@dataclass(frozen=True)
class Verification:
    """Scores of every pair, and the figures that follow from them."""

    scores: pa.Table
    metrics: dict[str, Any]


def verify(
    protocol: Protocol, embedded: Embedded, detected: Bool[np.ndarray, " image"], views: str
) -> Verification:
    """One model, by these views of it, on the embedded images of a protocol."""
    model = embedded.model
    compared = _compared(protocol, model, embedded.views)
    rows = compared[views]
    table = score_table(protocol, _scores(protocol, model, rows), _failed(protocol, detected))
    pairs = parse_scores(table)
    metrics = {
        **_facts(protocol, model, views),
        "num_images": len(detected),
        "num_failed": int((~detected).sum()),
        **figures_of_pairs(pairs, model.metric, protocol.subject_rule),
        **_all_pairs(protocol, model, rows),
        **_identification(protocol, model, rows),
        **_groups(protocol, model, pairs),
        "by_views": {
            name: _in_short(replace(pairs, score=_scores(protocol, model, other)), model.metric)
            for name, other in compared.items()
        },
    }
    return Verification(table, metrics)


def _facts(protocol: Protocol, model: Model, views: str) -> dict[str, Any]:
    source = protocol.frame
    return {
        "model": model.name,
        "model_sha256": model.sha256,
        "metric": model.metric,
        "views": views,
        "mirrored_view_added": views == "plain+flip",
        "benchmark": protocol.benchmark.name,
        "protocol_sha256": protocol.benchmark.protocol_sha256,
        "alignment": protocol.benchmark.alignment,
        "frame": model.frame.name,
        "frame_coverage": 1.0 if source is None else frame_coverage(source, model.frame),
        "decoder": DECODER,
        "subject_rule": protocol.subject_rule,
    }


def _compared(protocol: Protocol, model: Model, views: Views) -> Views:
    """What pairs are made of, by views: the images, or templates pooled from them."""
    templates = protocol.benchmark.templates
    if templates is None:
        return views
    images = protocol.benchmark.images
    return {
        name: pool_templates(templates, images, rows, model.metric) for name, rows in views.items()
    }


def _failed(protocol: Protocol, detected: Bool[np.ndarray, " image"]) -> np.ndarray:
    templates = protocol.benchmark.templates
    return undetected(templates, protocol.benchmark.images, detected) if templates else ~detected


def score_table(
    protocol: Protocol, scores: Float[np.ndarray, " pair"], failed: Bool[np.ndarray, " compared"]
) -> pa.Table:
    """scores.parquet; `failed` is in the order of `protocol.benchmark.compared`."""
    benchmark = protocol.benchmark
    left, right = _sides(protocol)
    columns = [
        np.arange(len(scores)), benchmark.fold, benchmark.left, benchmark.right, benchmark.same,
        scores, failed[left] | failed[right],
    ]  # fmt: skip
    arrays = [pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def _sides(protocol: Protocol) -> tuple[Int[np.ndarray, " pair"], Int[np.ndarray, " pair"]]:
    """The rows that each pair is made of."""
    row_of = {name: row for row, name in enumerate(protocol.benchmark.compared)}
    left, right = protocol.benchmark.left, protocol.benchmark.right
    return np.array([row_of[name] for name in left]), np.array([row_of[name] for name in right])


def _scores(
    protocol: Protocol, model: Model, rows: Float[np.ndarray, "compared width"]
) -> Float[np.ndarray, " pair"]:
    """PAIRS at a time: embeddings are gathered in double precision."""
    sides = _sides(protocol)
    blocks = [slice(at, at + PAIRS) for at in range(0, len(sides[0]), PAIRS)]
    return np.concatenate(
        [
            model.similarity(*(prepared(rows[side[part]], model.metric) for side in sides))
            for part in blocks
        ]
    )


def _faces(protocol: Protocol, model: Model, rows: np.ndarray, names: list[str]) -> Faces:
    """The named ones of what is compared; subjects are numbered alike in every call."""
    compared = protocol.benchmark.compared
    subjects = [subject_of(name, protocol.subject_rule) for name in compared]
    number = np.unique(subjects, return_inverse=True)[1]
    place = {name: row for row, name in enumerate(compared)}
    chosen = np.array([place[name] for name in names])
    return Faces(prepared(rows[chosen], model.metric), number[chosen])


def _all_pairs(protocol: Protocol, model: Model, rows: np.ndarray) -> dict[str, Any]:
    """TAR@FAR and rank-1 over all pairs of images where the benchmark allows it."""
    if not protocol.all_pairs:
        return {}
    faces = _faces(protocol, model, rows, protocol.benchmark.compared)
    found = identify(faces, faces, model.metric, itself=True)
    return {**all_pairs_figures(faces, model.metric), **rank_figures(found, faces.subject, (1,))}


def _identification(protocol: Protocol, model: Model, rows: np.ndarray) -> dict[str, Any]:
    """1:N: every probe template against the gallery."""
    templates = protocol.benchmark.templates
    if templates is None or not templates.gallery:
        return {}
    gallery, probes = (
        _faces(protocol, model, rows, list(part)) for part in (templates.gallery, templates.probes)
    )
    found = identify(probes, gallery, model.metric)
    return {
        "identification": {
            "num_gallery": len(gallery),
            "num_probes": len(probes),
            "num_probes_without_mate": int((~found.mated).sum()),
            **rank_figures(found, probes.subject, RANKS),
            "tpir_at_fpir": {f"{fpir:g}": tpir_at_fpir(found, fpir) for fpir in FPIRS},
        }
    }


def _groups(protocol: Protocol, model: Model, pairs: ScoredPairs) -> dict[str, Any]:
    """Figures by group of people, which is the first folder of an image's name."""
    if not protocol.grouped:
        return {}
    groups = [name.split("/")[0] for name in pairs.left]
    subjects = pairs.subjects(protocol.subject_rule)
    return {"by_group": by_group(pairs, groups, model.metric, subjects)}


def _in_short(pairs: ScoredPairs, metric: str) -> dict[str, float]:
    curve, folds = roc(pairs.score, pairs.same), fold_results(pairs, metric)
    assert folds is not None  # a benchmark has at least two
    return {
        "accuracy": float(folds[0].accuracies.mean()),
        "auc": float(curve.auc()),
        "eer": float(curve.eer()),
    }
