"""What an export's folder has for the Hugging Face hub: a card with front matter, config.json."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from manifests.cards.front_matter import ABOUT, LICENCE, NOT_OURS, TASK, front_matter
from manifests.cards.model import INT8_NETWORK, ModelCard
from manifests.cards.verifications import Verification
from manifests.records.exports import FLOAT, INT8, Export

README, CONFIG = "README.md", "config.json"
METRICS = {"accuracy": "accuracy", "auc": "roc_auc", "eer": "equal_error_rate"}  # the hub's names


def readme(card: ModelCard, text: str) -> str:
    """The card's `text` behind its front matter."""
    return f"{front_matter(_filed_under(card))}\n{text}"


def config(export: Export) -> dict[str, Any]:
    """What somebody must know to feed the files: places and pixels are those of MODEL_CARD.md."""
    student = export.student
    return {
        "model_type": "facestill-student",
        "architectures": [student.name],
        "width": student.width,
        "input": {
            "name": "pictures",
            "layout": "nchw",
            "colours": "rgb",
            "dtype": export.pixels,
            "range": [0, 255],
            "normalisation": "in-graph",
            "size": student.input_size,
            "other_sizes": "resampled in the ONNX graph; the safetensors network takes its own",
        },
        "frame": {"name": student.frame, **_places(export)},
        "output": {"name": "embeddings", "width": student.embedding_width, "normalised": False},
        "compared_by": {"metric": student.metric, "views": student.views},
        "files": {name: asdict(export.files[name]) for name in export.names},
        "weights_sha256": student.sha256,
    }


def _places(export: Export) -> dict[str, Any]:
    """Landmarks of an aligned face, in pixels from the outer corner of the first pixel."""
    if export.template is None:
        return {}
    return {
        "size": export.template.size,
        "landmarks": [asdict(point) for point in export.template.five],
    }


def _filed_under(card: ModelCard) -> dict[str, Any]:
    faces = ("synthetic",) if card.only_rendered else ()
    people = ("photographs-of-people",) if card.real_faces else ()
    results = list(map(_result, card.verifications))
    name = f"facestill-{card.export.student.name}-{card.export.run}"
    measured = {
        "metrics": list(METRICS.values()),
        "model-index": [{"name": name, "results": results}],
    }
    return {
        **NOT_OURS,
        "license_link": LICENCE,
        "library_name": "onnx",
        "pipeline_tag": TASK,
        "tags": [*ABOUT, "onnx", "safetensors", *faces, *people],
        **(measured if results else {}),
    }


def _result(own: Verification) -> dict[str, Any]:
    """One verification as an entry of the hub's model-index."""
    figures = own.figures
    pairs = f"{figures.num_pairs:,} pairs of {figures.num_subjects:,} people"
    return {
        "task": {"type": TASK, "name": "Face verification"},
        "dataset": {
            "type": figures.benchmark,
            "name": f"{figures.benchmark}: {pairs}",
            "revision": figures.protocol_sha256,
        },
        "metrics": list(_metrics(own)),
    }


def _metrics(own: Verification) -> Iterator[dict[str, Any]]:
    file = INT8 if own.network == INT8_NETWORK else FLOAT
    for name, theirs in METRICS.items():
        value = getattr(own.figures, name)
        if value is not None:
            yield {"type": theirs, "value": value, "name": f"{theirs} of {file}"}
