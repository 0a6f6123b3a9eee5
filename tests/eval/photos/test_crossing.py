"""Two models on one protocol: each side goes through its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from eval.photos.crossing import crossed, probe_images, verify_across
from eval.photos.models import Model
from eval.photos.verification import verify_models
from manifests.core.errors import InputError
from tests.protocols import CYAN, RED, colours, make_templates, opened, save, write_rows


def negative(model: Model) -> Model:
    """The same for pictures of the opposite colours."""

    def network(batch: torch.Tensor) -> torch.Tensor:
        return model.network(256.0 - batch)

    return replace(model, name="negative", sha256="d" * 64, network=network)


@pytest.fixture
def pairs(tmp_path: Path) -> str:
    """Ten folds of people who are RED or CYAN; the right sides are negatives."""
    rows = []
    for fold in range(10):
        for person, colour, other in (("m", RED, CYAN), ("n", CYAN, RED)):
            save(tmp_path / f"images/{person}{fold}/left.png", colour)
            save(tmp_path / f"images/{person}{fold}/right.png", other)
        for left, right in (("m", "m"), ("n", "n"), ("m", "n"), ("n", "m")):
            same = int(left == right)
            rows.append((fold, f"{left}{fold}/left.png", f"{right}{fold}/right.png", same))
    write_rows(tmp_path / "pairs.csv", ("fold", "left", "right", "same"), rows)
    return f"pairs:{tmp_path}"


def test_sides_are_embedded_apart(pairs: str) -> None:
    protocol, model = opened(pairs), colours()
    (alone,) = verify_models([model], protocol)
    across = verify_across(model, negative(model), protocol)
    # alone, every genuine pair has a score of -1 and every impostor pair of 1
    assert alone.metrics["auc"] == 0.0 and across.metrics["auc"] == 1.0
    assert across.metrics["accuracy"] == 1.0
    assert across.metrics["model"] == "colours, probes negative"
    assert across.metrics["model_sha256"] not in ("c" * 64, "d" * 64)


def test_a_model_across_itself_is_that_model(pairs: str) -> None:
    protocol, model = opened(pairs), colours()
    (alone,) = verify_models([model], protocol)
    across = verify_across(model, model, protocol)
    assert (across.pairs.score == alone.pairs.score).all()


def test_templates_are_parted_by_their_pairs_and_lists(tmp_path: Path) -> None:
    make_templates(tmp_path)
    rows = [(fold, *pair) for fold in range(10) for pair in ((1, 2), (1, 3))]
    write_rows(tmp_path / "pairs.csv", ("fold", "left", "right"), rows)
    benchmark = opened(f"templates:{tmp_path}").benchmark
    assert probe_images(benchmark) == {"r3.png", "g2.png"}


def test_an_image_on_both_sides_is_refused(tmp_path: Path) -> None:
    benchmark = opened(f"templates:{make_templates(tmp_path)}").benchmark
    with pytest.raises(InputError, match=r"r3\.png stands on both sides of pairs"):
        probe_images(benchmark)


def test_models_of_unlike_spaces_are_refused(pairs: str) -> None:
    model = colours()
    with pytest.raises(InputError, match="compared by cosine, far by euclidean"):
        crossed(model, replace(model, name="far", metric="euclidean"))
    wider = replace(model, name="wide", network=lambda batch: batch.mean(dim=3).flatten(1))
    with pytest.raises(InputError, match="colours embeds into 3 numbers, wide into"):
        verify_across(model, wider, opened(pairs))
