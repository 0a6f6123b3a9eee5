"""Identities in the spaces of a mapping, whose latents are correlated and lie about a mean."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from manifests.records.boundaries import Boundaries
from manifests.settings.params import Identities
from manifests.settings.presets import params_by
from pipeline.arrays.neighbours import unit_rows
from pipeline.boundaries import draw_boundaries, split_rows
from pipeline.generators import load_generator
from pipeline.generators.base import Generator
from pipeline.identities.planes import moments, scale_of
from pipeline.identities.sampling import geometry_of_pool, sample_identities
from pipeline.identities.sampling_laws import LAWS, Geometry, geometry_of
from pipeline.sample import mapped, with_drawn_attributes
from tests.conftest import ROOT
from tests.gan_control import checkpoint
from tests.stylegans import SMALL2, declare, network_of, write_pickle

FACES, EMBEDDING = 1500, 6
EVEN = Identities(
    law="even", per_side=3, strength=1.1, jitter=0.6, protection=2.0, decorrelation=1.0,
    restore_norm=True, seed=4,
)  # fmt: skip


@pytest.fixture(scope="module", params=["w", "w+"])
def pool(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, np.ndarray, np.ndarray]:
    """Space, latents of a small StyleGAN2's truncated mapping, and centred embeddings of a
    teacher that sees what they came from."""
    path = tmp_path_factory.mktemp("weights") / "small.pkl"
    write_pickle(path, network_of(2, SMALL2), SMALL2)
    rng = np.random.default_rng(0)
    z = rng.standard_normal((FACES, 12), dtype=np.float32)  # SMALL2's z
    generator = load_generator(f"stylegan2:{path}", Path("weights")).in_space(request.param, 0.7)
    seen = z @ rng.standard_normal((z.shape[1], EMBEDDING), dtype=np.float32)
    embeddings = unit_rows(seen)
    return request.param, mapped(generator, z), embeddings - embeddings.mean(axis=0)


@pytest.fixture(scope="module")
def found(pool: tuple[str, np.ndarray, np.ndarray]) -> tuple[Geometry, np.ndarray]:
    """The pool's geometry, found from all rows but ten, and those rows in its coordinates."""
    space, latents, embeddings = pool
    usable = np.arange(10, FACES)
    scale = scale_of(latents, usable, space)
    boundaries = Boundaries(
        np.arange(1), unit_rows(np.ones((1, latents.shape[1]), np.float32)), np.ones(1, np.float32),
        ("",), space, "ridge", "ab" * 32, "cd" * 32, scale,
    )  # fmt: skip
    geometry = geometry_of_pool(latents, usable, embeddings, boundaries, 0.01, True)
    return geometry, latents[usable].astype(np.float64) / scale


def test_an_average_latent_has_a_distinctness_of_one(found: tuple[Geometry, np.ndarray]) -> None:
    geometry, x = found
    assert geometry.norm is None  # it has a meaning in z alone
    assert np.sqrt((geometry.distinctness(x) ** 2).mean()) == pytest.approx(1.0, rel=1e-6)
    assert geometry.distinctness(x.mean(axis=0)[None])[0] == pytest.approx(0.0, abs=1e-6)


def test_even_finds_two_people_of_one_distinctness(found: tuple[Geometry, np.ndarray]) -> None:
    geometry, x = found
    normals = np.random.default_rng(1).standard_normal((30, EMBEDDING))
    still = Identities(**{**vars(EVEN), "jitter": 0.0})
    near = []
    for reference, normal in zip(x, normals, strict=False):
        direction = unit_rows(geometry.directions[:, :EMBEDDING] @ normal)
        stream = [np.random.default_rng(0)]
        sides = LAWS["even"](reference, direction, geometry, stream, still)
        both = geometry.distinctness(np.concatenate([sides.similar, sides.dissimilar]))
        assert both.min() >= still.strength
        assert geometry.seen(sides.dissimilar - sides.similar)[0] > still.strength
        near += both.tolist()
    assert np.median(near) < still.strength + 0.1  # no further than it takes


@given(st.integers(0, 99), st.floats(0.01, 100.0), st.floats(-50.0, 50.0))
def test_where_and_how_large_latents_are_does_not_change_it(
    seed: int, size: float, shift: float
) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((60, 5)) @ rng.standard_normal((5, 5))
    response = rng.standard_normal((5, 3))
    rows, ones = np.arange(60), np.ones(5)
    plain = geometry_of(response, None, moments(x, rows, ones, response))
    y = size * x + shift
    moved = geometry_of(response, None, moments(y, rows, ones, response))
    np.testing.assert_allclose(moved.distinctness(y), plain.distinctness(x), rtol=1e-6, atol=1e-6)


def test_moments_by_hand() -> None:
    latents = np.array([[2.0, 0.0], [6.0, 2.0], [99.0, 99.0]])
    mean, square = moments(latents, np.arange(2), np.array([2.0, 1.0]), np.array([[1.0], [2.0]]))
    np.testing.assert_allclose(mean, [2.0, 1.0])
    assert square == pytest.approx(9.0)  # either differs by (1, 1), which makes 1 + 2


@pytest.mark.parametrize("kind", ["stylegan2", "gan-control"])
def test_the_preset_walks_in_w_as_published(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`params/exfacegan.yaml` on generators with random weights: offsets of 0 to 30 for every
    coordinate along an unscaled normal, the same ones on both sides."""
    generator = mapped_generator(kind, tmp_path)
    monkeypatch.chdir(ROOT)
    params = params_by("exfacegan")
    assert (params.latent_space, params.identities.strength) == ("w", 30.0)
    assert params.boundaries.references * 2 * params.identities.per_side == 500_000
    z = np.random.default_rng(3).standard_normal((300, generator.prior_width), dtype=np.float32)
    latents = mapped(generator, z)
    embeddings = unit_rows(z @ np.random.default_rng(4).standard_normal((z.shape[1], EMBEDDING)))
    own = replace(params.boundaries, references=2, neighbours=280)
    split = split_rows(np.arange(len(latents)), own)
    normals, accuracy, scale = draw_boundaries(latents, embeddings, split, own, "w")
    boundaries = Boundaries(
        np.sort(split.references), normals, accuracy.astype(np.float32), ("", ""), "w",
        own.solver, "ab" * 32, "cd" * 32, scale,
    )  # fmt: skip
    geometry = geometry_of_pool(latents, split.fit, embeddings, boundaries, 0.01, True)
    columns = sample_identities(np.arange(300), latents, boundaries, geometry, params.identities)
    references = latents[columns["parent_id"]]
    offsets = (columns["latents"] - references) / normals[columns["identity_id"] // 2]
    signed = offsets * np.where(columns["side"] > 0, 1, -1)[:, None]
    moved = np.abs(normals[columns["identity_id"] // 2]) > 0.02  # elsewhere rounding shows
    assert -0.1 < signed[moved].min() < 1.0 and 29.0 < signed[moved].max() < 30.1
    assert signed[moved].mean() == pytest.approx(15.0, abs=0.5)
    assert [*np.bincount(columns["identity_id"])] == [50] * 4
    drawn = with_drawn_attributes(generator, columns["latents"], params.identities.seed)
    still = (drawn == columns["latents"]).all(axis=0)
    assert still.all() if kind == "stylegan2" else still[:128].all() and not still[128:384].any()


def mapped_generator(kind: str, folder: Path) -> Generator:
    path = folder / f"{kind}.{'pkl' if kind == 'stylegan2' else 'pt'}"
    if kind == "stylegan2":
        write_pickle(path, network_of(2, SMALL2), SMALL2)
    else:
        torch.save({"g_ema": checkpoint()}, path)
        declare(path)
    return load_generator(f"{kind}:{path}", Path("weights")).in_space("w", 1.0)
