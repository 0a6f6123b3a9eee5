"""Verification within groups of people: every model on the same found faces, its scores kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from eval.alignment import alignment_by
from eval.benchmarks import frame_of, open_benchmark, open_protocols
from eval.benchmarks.base import Protocol
from eval.photos.embedding import embed_protocol
from eval.photos.models import Model
from eval.scoring.folds import insightface_accuracy
from eval.scoring.similarity import score_pairs
from eval.studies.fair_distillation.people_groups import GroupedPairs, grouped_pairs
from eval.studies.fair_distillation.spreads import Figures, Settings, fair_figures
from manifests.core.errors import InputError
from manifests.settings.params import Params
from manifests.studies.fair_distillation import WHERE, Fairness

RFW, PAIRS = "rfw", "pairs"


def open_all(params: Params, fairness: Fairness) -> dict[str, tuple[Protocol, GroupedPairs]]:
    """orl, and the pairs and RFW that are named, with pairs within groups of people.

    Raises InputError for a group with too few pairs, before anything is embedded.
    """
    protocols = open_protocols(params)
    if fairness.rfw is not None:
        text = f"{RFW}:{fairness.rfw}"
        alignment = None if frame_of(text) else alignment_by(params.aligner)
        protocols[RFW] = open_benchmark(text, alignment)
    unknown = sorted({*protocols} - {*fairness.fmr})
    if unknown:
        raise InputError(f"{WHERE}: fairness: fmr: no rate for {unknown[0]}; state one")
    return {
        name: (protocol, grouped_pairs(protocol, photographs_of(name, params), fairness))
        for name, protocol in protocols.items()
    }


def photographs_of(name: str, params: Params) -> str:
    """What `facestill annotate` calls the photographs of a benchmark."""
    return f"{name}:{params.verify.pairs}" if name == PAIRS else name


def measure(
    name: str,
    protocol: Protocol,
    grouped: GroupedPairs,
    models: Mapping[str, Model],
    fairness: Fairness,
    out: Path,
) -> dict[str, Figures]:
    """{run: figures} of all models on one benchmark; their scores go to OUT/NAME/RUN."""
    views = [model.views for model in models.values()]
    embedded, faces = embed_protocol(protocol, [*models.values()], views)
    failed = np.array([not face.detected for face in faces])
    settings = Settings(fairness.fmr[name], fairness.resamples, fairness.seed)
    found: dict[str, Figures] = {}
    for run, each, view in zip(models, embedded, views, strict=True):
        rows, metric = each.views[view], each.model.metric
        pairs, own = (
            score_pairs(benchmark, protocol.benchmark.images, rows, failed, metric)
            for benchmark in (grouped.benchmark, protocol.benchmark)
        )
        facts = facts_of(each.model, grouped.benchmark.protocol_sha256, protocol.subject_rule)
        pairs.write(out / name / run / "scores.parquet", facts)
        whole = insightface_accuracy(own.score, own.same, own.fold, metric).accuracies
        found[run] = {
            "accuracy": {"value": float(whole.mean())},
            **fair_figures(pairs, grouped, metric, protocol.subject_rule, settings),
        }
    return found


def facts_of(model: Model, protocol_sha256: str, rule: str) -> dict[str, str]:
    return {
        "model": model.name,
        "model_sha256": model.sha256,
        "metric": model.metric,
        "protocol_sha256": protocol_sha256,
        "subject_rule": rule,
    }
