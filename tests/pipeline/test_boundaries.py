from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.preprocessing import MinMaxScaler
from sklearn.svm import LinearSVC
from threadpoolctl import threadpool_limits

from manifests.core import layout
from manifests.core.errors import InputError
from manifests.records.boundaries import Boundaries
from manifests.settings.params import MOST_PENALTY, BoundaryParams, Params, Threshold, load_params
from manifests.stores.latents import LatentManifest
from pipeline.arrays.neighbours import unit_rows
from pipeline.boundaries import (
    ONE_SIDED,
    boundaries_of_pool,
    draw_boundaries,
    main,
    refusals,
    split_rows,
)
from pipeline.identities import labels as labelling
from pipeline.identities import planes as solving
from pipeline.identities.labels import RULES, Split, label_blocks
from pipeline.identities.planes import (
    Planes,
    held_out_accuracy,
    linear_svc,
    response,
    ridge,
    scale_of,
)
from tests import references

MEDIAN = Threshold("median", 0.5)
SETTINGS = BoundaryParams(
    solver="ridge",
    threshold=MEDIAN,
    references=5,
    neighbours=600,
    most_alike=1.0,
    penalty=0.01,
    held_out=0.3,
    min_accuracy=0.0,
    seed=1,
)
WIDTH = 12


@pytest.fixture(scope="module")
def latents() -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.standard_normal((800, WIDTH)).astype(np.float32) + np.float32(0.5)


@pytest.fixture(scope="module")
def embeddings(latents: np.ndarray) -> np.ndarray:
    """A noisy rotation of the latents: who lies near in one lies near in the other."""
    rng = np.random.default_rng(1)
    rotation = np.linalg.qr(rng.standard_normal((WIDTH, WIDTH)))[0]
    noise = rng.standard_normal(latents.shape)
    return unit_rows((latents - 0.5) @ rotation + 0.5 * noise).astype(np.float32)


@pytest.fixture(scope="module")
def split() -> Split:
    """Faces 0 to 4 and their neighbours, the last hundred held out."""
    return Split(np.arange(5), np.arange(5, 700), np.arange(700, 800))


@pytest.fixture(scope="module")
def labels(embeddings: np.ndarray, split: Split) -> np.ndarray:
    ((_, fit, _),) = label_blocks(embeddings, split, MEDIAN)
    return fit


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


@pytest.mark.parametrize("count", [600, 601])
def test_median_labels_equal_their_slow_twin(embeddings: np.ndarray, count: int) -> None:
    split = Split(np.arange(3), np.arange(5, 405), np.arange(405, 5 + count))
    ((_, *parts),) = label_blocks(embeddings, split, MEDIAN)
    twin = references.median_labels(embeddings[:3], embeddings[5 : 5 + count])
    found = np.concatenate(parts)
    assert (found != twin).mean() < 0.002  # the median itself may round to either side
    assert ((found < 0).sum(axis=0) == (count + 1) // 2).all()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_quantile_leaves_its_share_dissimilar(embeddings: np.ndarray, share: float) -> None:
    split = Split(np.arange(5), np.arange(5, 505), np.arange(0))
    ((_, found, _),) = label_blocks(embeddings, split, Threshold("quantile", share))
    assert ((found > 0).sum(axis=0) == round(500 * share)).all()


def test_a_fixed_cosine_parts_by_itself(embeddings: np.ndarray, split: Split) -> None:
    ((_, found, _),) = label_blocks(embeddings, split, Threshold("cosine", 0.2))
    for column, reference in enumerate(split.references):
        alike = cosines(embeddings[split.fit], embeddings[[reference]])
        assert np.array_equal(found[:, column] < 0, alike >= 0.2)


@pytest.mark.parametrize("rule", sorted(RULES))
def test_blocks_do_not_change_labels_or_planes(
    latents: np.ndarray, embeddings: np.ndarray, monkeypatch: pytest.MonkeyPatch, rule: str
) -> None:
    settings = replace(SETTINGS, references=40, threshold=Threshold(rule, 0.3))
    split = split_rows(np.arange(len(latents)), settings)
    whole = draw_boundaries(latents, embeddings, split, settings)
    for module in (labelling, solving):
        monkeypatch.setattr(module, "BLOCK_ROWS", 7)
    monkeypatch.setattr(labelling, "CELLS", 1)
    monkeypatch.setattr(labelling, "LEAST_BLOCK", 3)
    parts = draw_boundaries(latents, embeddings, split, settings)
    # Sums over the neighbours are taken in float32, in another order: an eps a term at most.
    atol = len(split.fit) * np.finfo(np.float32).eps
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(one, other, atol=atol)


def test_the_planes_are_the_same_whatever_cores_there_are() -> None:
    rng = np.random.default_rng(4)
    latents = rng.standard_normal((3000, 512), np.float32)  # small products have one thread anyway
    embeddings = unit_rows(latents[:, :128] + rng.standard_normal((3000, 128), np.float32))
    settings = replace(SETTINGS, references=64, neighbours=2500)
    split = split_rows(np.arange(len(latents)), settings)
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads, user_api="blas"):
            found.append(draw_boundaries(latents, embeddings, split, settings)[0])
    assert np.array_equal(*found)


@pytest.mark.parametrize("penalty", [0.0, 0.01, 1.0])
def test_ridge_equals_its_slow_twin(
    latents: np.ndarray, labels: np.ndarray, split: Split, penalty: float
) -> None:
    halves = labels[: len(labels) // 2 * 2]
    halves = np.where(np.argsort(np.argsort(halves, axis=0), axis=0) < len(halves) / 2, -1.0, 1.0)
    rows = split.fit[: len(halves)]
    found = ridge(latents, rows, np.ones(WIDTH), replace(SETTINGS, penalty=penalty))(halves)
    twin = references.ridge(latents[rows].astype(np.float64), halves, penalty)
    np.testing.assert_allclose(found.weights, twin[0], atol=1e-9)
    np.testing.assert_allclose(found.offsets, twin[1], atol=1e-3)  # midway, not least squares


def test_a_lopsided_plane_lies_midway_between_the_sides() -> None:
    latents = np.array([[0.0], [0.2], [-0.2], [4.0]])
    labels = np.array([[-1.0], [-1.0], [-1.0], [1.0]])
    planes = ridge(latents, np.arange(4), np.ones(1), SETTINGS)(labels)
    np.testing.assert_allclose(-planes.offsets / planes.weights[:, 0], [2.0])


def test_the_largest_penalty_still_finds_units(
    latents: np.ndarray, embeddings: np.ndarray, split: Split
) -> None:
    """It leaves the difference of the two sides' means."""
    settings = replace(SETTINGS, penalty=MOST_PENALTY)
    normals, accuracy, _ = draw_boundaries(latents, embeddings, split, settings)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1.0, rtol=1e-6)
    assert accuracy.min() > 0.6


def test_latents_that_determine_no_plane_are_refused(latents: np.ndarray) -> None:
    flat = latents * (np.arange(WIDTH) > 0)
    with pytest.raises(InputError, match=r"700 neighbours do not .* 12 coordinates; raise"):
        ridge(flat, np.arange(700), np.ones(WIDTH), replace(SETTINGS, penalty=0.0))


def test_the_response_of_a_linear_teacher_is_its_matrix(latents: np.ndarray) -> None:
    matrix = np.random.default_rng(3).standard_normal((WIDTH, 5))
    embeddings = latents.astype(np.float64) @ matrix + 7.0
    found = response(latents, np.arange(100, 800), np.ones(WIDTH), embeddings, 0.0)
    np.testing.assert_allclose(found, matrix, atol=1e-9)


def test_units_of_coordinates_do_not_change_who_is_where(
    latents: np.ndarray, embeddings: np.ndarray, split: Split
) -> None:
    """In w a coordinate may move a hundred times as far as another."""
    units = np.geomspace(0.01, 100.0, WIDTH)
    stretched = (latents * units).astype(np.float32)
    plain = draw_boundaries(latents, embeddings, split, SETTINGS, "w")
    found = draw_boundaries(stretched, embeddings, split, SETTINGS, "w")
    np.testing.assert_allclose(found[2], plain[2] * units, rtol=1e-4)
    np.testing.assert_allclose(found[0], plain[0], atol=1e-4)
    assert np.array_equal(scale_of(latents, split.fit, "z"), np.ones(WIDTH))


def test_a_coordinate_that_never_moves_has_a_unit(latents: np.ndarray, split: Split) -> None:
    still = latents.copy()
    still[:, 3] = 2.0
    assert scale_of(still, split.fit, "w+")[3] == 1.0


def test_ridge_finds_the_normals_of_the_published_solver(
    latents: np.ndarray, labels: np.ndarray, split: Split
) -> None:
    ours, theirs = (
        solver(latents, split.fit, np.ones(WIDTH), SETTINGS)(labels).weights
        for solver in (ridge, linear_svc)
    )
    assert cosines(ours, theirs).min() > 0.95


def test_released_units_are_those_of_the_released_code(
    latents: np.ndarray, embeddings: np.ndarray, split: Split
) -> None:
    """Fitted on MinMaxScaler's coordinates, and the scaling never undone."""
    stretched = latents * np.linspace(0.2, 5.0, WIDTH, dtype=np.float32)
    settings = replace(SETTINGS, solver="linear_svc", units="released")
    normals, accuracy, scale = draw_boundaries(stretched, embeddings, split, settings, "w")
    rows = np.concatenate([split.fit, split.held_out])
    scaler = MinMaxScaler((-1.0, 1.0)).fit(stretched[rows])
    fitted, judged = (scaler.transform(stretched[own]) for own in (split.fit, split.held_out))
    for at, (_, labels, held) in enumerate(one_by_one(embeddings, split)):
        svc = LinearSVC(dual=False, class_weight="balanced", random_state=SETTINGS.seed)
        svc.fit(fitted, labels[:, 0])
        assert cosines(normals[[at]], svc.coef_).min() > 0.9999
        assert accuracy[at] == pytest.approx(np.mean(
            [(svc.predict(judged) == side)[held[:, 0] == side].mean() for side in (-1, 1)]
        ), abs=0.02)  # fmt: skip
    assert (scale == 1.0).all()


def one_by_one(
    embeddings: np.ndarray, split: Split
) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    for row in split.references:
        yield from label_blocks(embeddings, replace(split, references=np.array([row])), MEDIAN)


@pytest.mark.parametrize("solver", ["ridge", "linear_svc"])
def test_normals_are_units_towards_the_dissimilar_side(
    latents: np.ndarray, embeddings: np.ndarray, labels: np.ndarray, solver: str
) -> None:
    settings = replace(SETTINGS, solver=solver)
    split = split_rows(np.arange(len(latents)), settings)
    normals, accuracy, _ = draw_boundaries(latents, embeddings, split, settings)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1.0, rtol=1e-6)
    for reference, normal in zip(split.references, normals, strict=True):
        alike = cosines(embeddings, embeddings[[reference]])
        places = latents @ normal
        assert places[alike > 0.5].mean() < places.mean() < places[alike < -0.5].mean()
    assert accuracy.min() > 0.6


def test_accuracy_counts_the_right_sides() -> None:
    latents = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    labels = np.array([[-1.0, -1.0, 1.0], [-1.0, -1.0, 1.0], [1.0, -1.0, 1.0], [1.0, 1.0, 1.0]])
    planes = Planes(np.ones((3, 1)), np.zeros(3))
    found = held_out_accuracy(planes, latents, np.arange(4), np.ones(1), labels)
    # the mean over both sides: of three similar neighbours two are right; one side: nothing said
    np.testing.assert_allclose(found, [1.0, (2 / 3 + 1) / 2, 0.0])


@pytest.mark.parametrize("solver", ["ridge", "linear_svc"])
def test_a_boundary_with_one_side_alone_is_refused(
    latents: np.ndarray, embeddings: np.ndarray, split: Split, solver: str
) -> None:
    settings = replace(SETTINGS, solver=solver, threshold=Threshold("cosine", -0.999))
    normals, accuracy, _ = draw_boundaries(latents, embeddings, split, settings)
    assert not normals.any()
    assert not accuracy.any()
    reasons = refusals(normals, accuracy, embeddings[split.references], settings)
    assert set(reasons) == {ONE_SIDED}


def test_references_that_look_alike_become_one_identity() -> None:
    looks = unit_rows(np.array([[1.0, 0.0], [0.9, 0.1], [0.95, 0.05], [0.0, 1.0]]))
    settings = replace(SETTINGS, most_alike=0.9, min_accuracy=0.6)
    found = refusals(np.ones((4, 3)), np.array([0.5, 0.7, 0.7, 0.7]), looks, settings)
    assert found[0] == "accuracy below 0.6"  # and no face that a later one could repeat
    assert (found[1], found[3]) == ("", "")
    assert found[2] == "looks like reference 1 (cosine 0.998)"


def test_no_face_serves_twice() -> None:
    split = split_rows(np.arange(1000), SETTINGS)
    drawn = np.concatenate([split.references, split.fit, split.held_out])
    assert len(set(drawn.tolist())) == SETTINGS.references + SETTINGS.neighbours
    assert (len(split.fit), len(split.held_out)) == (420, 180)


def test_only_usable_faces_are_drawn() -> None:
    usable = np.arange(0, 2000, 2)
    split = split_rows(usable, SETTINGS)
    assert set(split.references) | set(split.fit) | set(split.held_out) <= set(usable)


def test_too_few_faces_say_how_many_are_missing() -> None:
    with pytest.raises(InputError, match=r"605 usable pool faces wanted .* has 604; enlarge"):
        split_rows(np.arange(604), SETTINGS)


class TestOnARealPool:
    @pytest.fixture
    def small(self, rounds: Path) -> Params:
        settings = replace(SETTINGS, references=4, neighbours=40)
        return replace(load_params(), boundaries=settings)

    def test_boundaries_name_what_they_were_drawn_from(self, small: Params) -> None:
        pool = LatentManifest.read(Path("manifests/rounds/pool.parquet"))
        found = boundaries_of_pool(small)
        assert set(found.face_id) <= set(pool.face_id)
        assert found.manifest_digest == pool.digest
        assert found.normal.shape == (4, pool.recipe.latent_width)

    def test_same_seed_same_boundaries(self, small: Params) -> None:
        assert boundaries_of_pool(small).digest == boundaries_of_pool(small).digest

    def test_the_stage_says_how_many_were_kept(
        self, small: Params, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr("pipeline.boundaries.params_by", lambda _: small)
        monkeypatch.setattr("sys.argv", ["boundaries"])
        main()
        said = capsys.readouterr().out
        assert "pool/boundaries.parquet: 4 of 4 boundaries kept, held-out accuracy 0." in said
        assert said.endswith("\nnext: facestill sample identities\n")
        assert Boundaries.read(layout.boundaries("pool")).kept.all()

    def test_inaccurate_boundaries_keep_their_row_and_a_reason(self, small: Params) -> None:
        strict = replace(small, boundaries=replace(small.boundaries, min_accuracy=1.01))
        found = boundaries_of_pool(strict)
        assert not found.kept.any()
        assert set(found.reason) == {"accuracy below 1.01"}
