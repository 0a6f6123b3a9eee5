"""Students of the study fair-distillation: fair choices of faces, honest cards, plain refusals."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from eval.annotators.measured import ATTRIBUTES
from manifests.core import layout
from manifests.core.errors import InputError
from manifests.core.parsing import parse
from manifests.records.attributes import FACES, Attribute, AttributeTable, Source
from manifests.settings.objectives import Losses
from manifests.settings.params import Params, load_params, read_yaml
from manifests.settings.real_faces import RealFaces
from manifests.settings.study import load_study
from manifests.stores.latents import LatentManifest
from manifests.stores.reading import FaceStore
from manifests.studies.fair_distillation import (
    NAME,
    Block,
    Cell,
    DataSet,
    Group,
    Part,
    People,
    Recipe,
    Study,
    expand,
)
from tests.study_students import lay_out_params
from tests.toys import EMBEDDING_WIDTH, make_round
from train.checkpoint import DISTILLED, FILE, LOG, load_student
from train.engine.optimizers import learning_rate
from train.engine.record import card_of
from train.students import build_student
from train.studies.fair_distillation.price import load_size
from train.studies.fair_distillation.train import (
    GRID,
    cell_params,
    open_cell,
    train_data_set,
)

ALLOWED = RealFaces("photographs", True, "volunteers", "own", None)
SETS = {
    "prior": DataSet("none", (Part(("pool",), 1.0),)),
    "identities": DataSet("all", (Part(("identities",), 1.0),)),
    "mix": DataSet("some", (Part(("identities",), 0.7), Part(("pool",), 0.3))),
    "both": DataSet("some", (Part(("identities", "pool"), 1.0),)),
    "people": DataSet("all", (Part(("real-faces",), 0.5), Part(("identities",), 0.5))),
}
STEPS, FACES_OF_A_SET = 6, 40


@pytest.fixture(scope="module")
def rounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 faces of the prior, 100 of ten identities, 60 of people: made once."""
    root = tmp_path_factory.mktemp("fair")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        lay_out_params()
        make_round("pool", 60, seed=1)
        make_round("identities", 100, seed=2, identity_id=np.arange(100) // 10)
        people = np.arange(60) // 6
        make_round("real-faces", 60, seed=3, real_faces="volunteers", identity_id=people)
    return root


@pytest.fixture
def params(rounds: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    monkeypatch.chdir(rounds)
    found = load_params()
    return replace(found, teacher="toy", train=replace(found.train, pool_rows=64))


@pytest.fixture
def study(params: Params) -> Study:
    found = load_study(NAME, Study)
    recipe = replace(
        found.recipe, faces_seen=16 * STEPS, batch=16, warmup_faces=32,
        embedding_width=EMBEDDING_WIDTH, leave_out=(),
    )  # fmt: skip
    small = replace(found.students["small-resnet"], input_size=16, width=0.125)
    block = Block(tuple(SETS), ("small",), ("elastic",), (False, True))
    return replace(
        found, faces=FACES_OF_A_SET, data=SETS, students={"small": small}, recipe=recipe,
        grid=(block,), seeds=(1, 2),
    )  # fmt: skip


def place(data: str, loss: str | None = "elastic", *, distilled: bool = True) -> Cell:
    return Cell(data, "small", loss, distilled)


def test_all_students_of_a_data_set_see_the_same_faces(params: Params, study: Study) -> None:
    rows = [
        [source.usable.tolist() for source in open_cell(cell, seed, params, study).sources]
        for cell in (place("mix"), place("mix", None))
        for seed in (1, 2)
    ]
    assert rows[0] == rows[1] == rows[2] == rows[3]
    assert [len(each) for each in rows[0]] == [28, 12]


def test_equally_many_faces_are_seen_whatever_the_data(params: Params, study: Study) -> None:
    for name in ("prior", "identities", "mix", "both"):
        plan = open_cell(place(name, None), 1, params, study)
        assert (plan.num_faces, plan.num_steps) == (FACES_OF_A_SET, STEPS)


def test_targets_of_all_data_sets_lie_about_the_mean_of_the_pool(
    params: Params, study: Study
) -> None:
    centres = [
        open_cell(place(name, None), 1, params, study).targets["toy"].centre.tolist()
        for name in ("prior", "identities", "mix")
    ]
    assert centres[0] == centres[1] == centres[2]
    stores = open_cell(place("identities"), 1, params, study).stores
    assert {path for path in stores if "pool" in path} == {"data/pool/teachers/toy.zarr"}


def test_labels_alone_need_no_teacher_and_the_loss_is_the_papers(
    params: Params, study: Study
) -> None:
    alone = open_cell(place("identities", distilled=False), 1, params, study)
    assert not alone.targets and not any("teachers" in path for path in alone.stores)
    taught = open_cell(place("identities"), 1, params, study)
    margin, pull = taught.params.train.loss.terms
    assert (margin.name, margin.weight) == ("elastic-arcface", 1.0)
    assert (pull.name, pull.weight, pull.convention) == ("unit-mse", 1.0, "kd-fairness")


def test_runs_are_trained_resumed_and_named(params: Params, study: Study) -> None:
    train_data_set("identities", None, params, study)
    folder = layout.study_run(NAME, "identities")
    grid = json.loads((folder / GRID).read_text())
    assert grid == {
        "small.elastic": {"runs": ["small.elastic-1", "small.elastic-2"], "why_not": None},
        "small.elastic-kd": {"runs": ["small.elastic-kd-1", "small.elastic-kd-2"], "why_not": None},
    }
    first = {run: load_student(folder / run).sha256 for own in grid.values() for run in own["runs"]}
    assert len({*first.values()}) == 4
    card = load_student(folder / "small.elastic-1").card
    assert card.training == "on identity labels (elastic-arcface), by no teacher"
    taught = load_student(folder / "small.elastic-kd-1").card
    assert taught.training == f"{DISTILLED}, and on identity labels (elastic-arcface)"
    assert card.faces_seen == taught.faces_seen == 16 * STEPS
    log = json.loads((folder / "small.elastic-kd-1" / LOG).read_text())
    assert log["params"]["chosen"]["rounds"] == {"identities": {"faces": 40, "identities": 10}}
    shutil.rmtree(folder)
    train_data_set("identities", "small.elastic", params, study)
    again = load_student(folder / "small.elastic-2")
    assert again.sha256 == first["small.elastic-2"]
    assert not (folder / "small.elastic-kd-1" / FILE).exists()


def test_another_choice_of_faces_is_another_run(params: Params, study: Study) -> None:
    cell = place("mix")
    before = open_cell(cell, 1, params, study)
    other = open_cell(cell, 1, params, replace(study, choice_seed=study.choice_seed + 1))
    assert before.work != other.work
    assert before.chosen["rows_sha256"] != other.chosen["rows_sha256"]
    assert before.work == open_cell(cell, 1, params, study).work


def test_empty_places_leave_their_reason(params: Params, study: Study) -> None:
    train_data_set("people", None, params, study)
    grid = json.loads((layout.study_run(NAME, "people") / GRID).read_text())
    reason = "no folder of real faces is named under real_faces in params.yaml"
    assert {own["why_not"] for own in grid.values()} == {reason}
    assert all(not own["runs"] for own in grid.values())


def test_real_faces_are_written_on_the_card(params: Params, study: Study) -> None:
    plan = open_cell(place("people"), 1, replace(params, real_faces=ALLOWED), study)
    card = card_of(plan, 1)
    assert card.training.endswith("; trained on real faces: 20 photographs of volunteers")
    assert card.people == ["volunteers"]


def test_real_faces_without_the_switch_are_refused(params: Params, study: Study) -> None:
    with pytest.raises(InputError, match="round real-faces: photographs of real people"):
        open_cell(place("people"), 1, params, study)


def test_photographs_of_others_than_params_name_are_refused(params: Params, study: Study) -> None:
    others = replace(params, real_faces=replace(ALLOWED, statement="somebody else"))
    with pytest.raises(
        InputError, match=r"photographs of volunteers; real_faces in params\.yaml al"
    ):
        open_cell(place("people"), 1, others, study)


def grouped(*groups: Group) -> DataSet:
    parts = (Part(("pool",), 1 / len(groups), group) for group in groups)
    return DataSet("none", tuple(parts))


def measure(name: str, values: np.ndarray) -> None:
    """The round's table of one attribute."""
    (skin,) = (own for own in ATTRIBUTES if own.name == "skin angle")
    ids = LatentManifest.read(layout.manifest(name)).face_id
    source = Source(FACES, name, FaceStore.open(layout.faces(name)).root)
    column = values.astype(np.float32)[:, None]
    annotator = {"name": "measured", "version": "1"}
    table = AttributeTable(annotator, source, (skin,), column, ids, None, ("",) * len(ids))
    table.write(layout.attributes(name, "measured"))


def test_groups_are_of_the_measured_value_and_undefined_ones_of_none(
    params: Params, study: Study
) -> None:
    values = np.linspace(-60, 60, 60)
    values[::7] = np.nan
    measure("pool", values)
    darker, lighter = Group("skin angle", high=0.0), Group("skin angle", low=0.0)
    parted = replace(study, faces=30, data={**SETS, "prior": grouped(darker, lighter)})
    plan = open_cell(place("prior", None), 1, params, parted)
    found = values[plan.sources[0].usable]
    assert (found < 0).sum() == 15 and (found >= 0).sum() == 15
    assert "data/attributes/measured/pool.parquet" in plan.stores


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (grouped(Group("skin angle", low=59.0)), r"part 1 \(pool\): \d usable faces, its share of"),
        (grouped(Group("hair", low=0.0)), "unknown attribute 'hair'; there are skin angle"),
        (
            grouped(Group("skin angle", low=0.0), Group("skin angle", low=1.0)),
            r"part 2 \(pool\): face \d+ of data/pool/faces.zarr may be of an earlier part",
        ),
        (DataSet("all", SETS["mix"].parts), r"labels: all, but 12 of 40 faces have no identity"),
        (DataSet("some", SETS["prior"].parts), "labels: some, but none of its faces has an ident"),
        (replace(SETS["prior"], faces=15), "prior: 15 faces are fewer than one batch of 16; lower"),
        (replace(SETS["prior"], faces=1000), "its share of 1 asks for 1000; lower faces"),
    ],
)
def test_data_sets_that_cannot_be_are_refused(
    params: Params, study: Study, data: DataSet, message: str
) -> None:
    measure("pool", np.linspace(-60, 60, 60))
    with pytest.raises(InputError, match=message):
        open_cell(place("prior", None), 1, params, replace(study, data={"prior": data}))


def test_shares_are_of_groups_of_people_and_an_identity_is_of_one(
    params: Params, study: Study
) -> None:
    """As the paper mixes by ethnicity: 70/30 within each group, by heads that were trained."""
    rng = np.random.default_rng(0)
    for name, count in (("real-faces", 60), ("identities", 100)):
        person = LatentManifest.read(layout.manifest(name)).table["identity_id"].to_numpy()
        north = np.clip(person % 2 * 0.6 + 0.2 + rng.normal(0, 0.05, count), 0, 1)
        likely(name, {"north": north, "south": 1 - north})
    groups = ("north", "south")
    parts = [
        Part((name,), share / 2, people=People(("north,south",), group, "heads-toy"))
        for group in groups
        for name, share in (("real-faces", 0.7), ("identities", 0.3))
    ]
    mixed = replace(study, data={"people": DataSet("all", tuple(parts))})
    plan = open_cell(place("people"), 1, replace(params, real_faces=ALLOWED), mixed)
    for source, share in zip(plan.sources, (0.7, 0.3), strict=True):
        person = source.identities[source.usable]
        counts = np.bincount(person % 2, minlength=2)
        assert counts.tolist() == [share / 2 * FACES_OF_A_SET] * 2
    assert "data/attributes/heads-toy/real-faces.parquet" in plan.stores


def likely(name: str, columns: dict[str, np.ndarray]) -> None:
    """The round's table of probabilities."""
    ids = LatentManifest.read(layout.manifest(name)).face_id
    source = Source(FACES, name, FaceStore.open(layout.faces(name)).root)
    kinds = tuple(
        Attribute(each, "probability", 0.0, 1.0, (0.0, 0.5, 1.0), f"that it is {each}")
        for each in columns
    )
    values = np.stack([*columns.values()], axis=1).astype(np.float32)
    annotator = {"name": "heads-toy", "version": "1"}
    table = AttributeTable(annotator, source, kinds, values, ids, None, ("",) * len(ids))
    table.write(layout.attributes(name, "heads-toy"))


def test_the_full_size_learns_by_the_authors_recipe(params: Params) -> None:
    """SGD at 0.025, down to a tenth before epochs 7, 13, 19 and 24 of 26, clipped at 5, mirrored
    and no more; the ResNet-50 with its dropout."""
    study = load_size("full")
    cell = next(cell for cell in expand(study, real_faces=True) if cell.student == "iresnet-50")
    own = cell_params(cell, 1, params, study)
    train, (run,) = own.train, own.train.runs.values()
    engine = (train.engine.optimizer, train.engine.momentum, train.engine.clip_norm)
    assert (*engine, train.weight_decay, train.batch) == ("sgd", 0.9, 5.0, 5e-4, 128)
    assert run.faces_seen == 26 * 1_248_932
    off = {name: value for name, value in asdict(train.noise).items() if name != "strongest"}
    assert not any(off.values())
    steps = run.faces_seen // train.batch
    rates = [learning_rate(int((e + 0.5) * steps / 26), steps, run, train) for e in range(26)]
    drops = [e for e in range(1, 26) if rates[e] < rates[e - 1]]
    assert drops == [7, 13, 19, 24]
    assert rates[0] == pytest.approx(0.025) and rates[-1] == pytest.approx(2.5e-6)
    network = build_student(train.student.name, input_size=112, width=0.1, embedding_width=8)
    assert [m.p for m in network.modules() if isinstance(m, nn.Dropout)] == [0.4]


def test_what_differs_between_students_is_no_part_of_the_recipe() -> None:
    recipe = read_yaml(layout.study_params(NAME))["recipe"]
    assert parse(Recipe, recipe | {"weight_decay": 0.1}, "r").own == {"weight_decay": 0.1}
    with pytest.raises(InputError, match="r: seed: the study itself says it; leave it out here"):
        parse(Recipe, recipe | {"seed": 3}, "r")
    with pytest.raises(InputError, match="r: unknown key 'sed'"):
        parse(Recipe, recipe | {"sed": 3}, "r")


def test_a_table_of_groups_must_be_there(params: Params, study: Study) -> None:
    parts = (Part(("identities",), 1.0, Group("skin angle", low=0.0)),)
    odd = replace(study, data={"prior": DataSet("all", parts)})
    with pytest.raises(
        InputError, match=r"measured/identities\.parquet: no such file; run `facestill ann"
    ):
        open_cell(place("prior"), 1, params, odd)


def test_fewer_identities_than_a_margin_needs_are_refused(params: Params, study: Study) -> None:
    make_round("alone", 60, seed=4, identity_id=np.zeros(60, int))
    one = replace(study, data={"prior": DataSet("all", (Part(("alone",), 1.0),))})
    with pytest.raises(InputError, match=r"elastic-arcface tells identities apart, .* have 1"):
        open_cell(place("prior"), 1, params, one)


def test_unknown_names_are_answered_with_the_valid_ones(params: Params, study: Study) -> None:
    with pytest.raises(InputError, match=r"unknown place in the grid of mix 'small.kd'; va"):
        train_data_set("mix", "small.kd", params, study)


def test_a_student_of_another_width_than_the_teacher_is_refused(
    params: Params, study: Study
) -> None:
    wide = replace(study, recipe=replace(study.recipe, embedding_width=99))
    with pytest.raises(InputError, match="compares 99 coordinates of the student with 16 of toy"):
        open_cell(place("prior", None), 1, params, wide)


def test_losses_of_the_study_are_margins(study: Study) -> None:
    assert all(isinstance(losses, Losses) and losses.margin for losses in study.losses.values())
