"""The grid of the study fair-distillation: which students there are, and what no grid can have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from manifests.core import layout
from manifests.core.errors import InputError
from manifests.core.parsing import parse
from manifests.settings.params import read_yaml
from manifests.settings.presets import merged
from manifests.studies.fair_distillation import (
    NAME,
    NO_FOLDER,
    NO_LABELS,
    SOME_LABELS,
    Block,
    DataSet,
    Group,
    Part,
    Study,
    check_study,
    expand,
    models,
)
from tests.conftest import ROOT

SIZES = ["", *sorted(path.stem for path in (ROOT / layout.STUDY_PARAMS / NAME).glob("*.yaml"))]


def study_of(size: str = "") -> Study:
    values = read_yaml(ROOT / layout.study_params(NAME))
    if size:
        values = merged(values, read_yaml(ROOT / layout.study_size(NAME, size)))
    found: Study = parse(Study, values, NAME)
    return found


@pytest.fixture
def study() -> Study:
    """Data sets of all labels and of real faces, one student, one loss."""
    parts = {
        "bare": DataSet("none", (Part(("pool",), 1.0),)),
        "half": DataSet("some", (Part(("identities",), 0.5), Part(("pool",), 0.5))),
        "whole": DataSet("all", (Part(("identities",), 1.0),)),
        "people": DataSet("all", (Part(("real-faces",), 1.0),)),
    }
    found = study_of()
    block = Block(tuple(parts), ("small-resnet",), ("elastic",), (False, True))
    return replace(found, data=parts, grid=(block,))


@pytest.mark.parametrize("size", SIZES)
def test_every_size_has_a_grid(size: str) -> None:
    study = study_of(size)
    check_study(study)
    cells = expand(study, real_faces=False)
    assert len({cell.name for cell in cells}) == len(cells)
    assert all(cell.loss or cell.distilled for cell in cells)


def test_the_smoke_size_trains_twelve_models_and_more_with_two_seeds() -> None:
    study = study_of()
    found = models(study, real_faces=False)
    assert len(found) >= 12 * 2 and len(study.seeds) >= 2
    assert {cell.data for cell, _ in found} >= {"prior", "identities", "mined", "mix-70-30"}


def test_the_grid_by_hand(study: Study) -> None:
    assert {cell.name: cell.why_not for cell in expand(study, real_faces=False)} == {
        "bare/small-resnet.elastic": NO_LABELS,
        "bare/small-resnet.kd": None,  # there is nothing for the margin to look at
        "half/small-resnet.elastic": SOME_LABELS,
        "half/small-resnet.elastic-kd": None,
        "whole/small-resnet.elastic": None,
        "whole/small-resnet.elastic-kd": None,
        "people/small-resnet.elastic": NO_FOLDER,
        "people/small-resnet.elastic-kd": NO_FOLDER,
    }
    assert len(models(study, real_faces=False)) == 4 * len(study.seeds)


def test_a_folder_of_real_faces_fills_its_places(study: Study) -> None:
    filled = [cell.data for cell in expand(study, real_faces=True) if cell.why_not is None]
    assert filled.count("people") == 2


def test_places_of_several_blocks_are_there_once(study: Study) -> None:
    (block,) = study.grid
    alone = replace(block, losses=("none", "elastic"), data=("bare", "whole"))
    doubled = replace(study, grid=(block, alone, block))
    names = [cell.name for cell in expand(doubled, real_faces=False)]
    assert len(names) == len({*names})
    before = {cell.name for cell in expand(study, real_faces=False)}
    assert set(names) - before == {"whole/small-resnet.kd"}


def test_a_run_is_called_by_its_place_and_seed(study: Study) -> None:
    cell, seed = models(study, real_faces=False)[-1]
    assert cell.run(seed) == "whole/small-resnet.elastic-kd-3"


Change = Callable[[Study], Study]


def with_whole(study: Study, **changes: object) -> Study:
    return replace(study, data={**study.data, "whole": replace(study.data["whole"], **changes)})


def shares(*values: float) -> tuple[Part, ...]:
    return tuple(Part((f"round-{at}",), value) for at, value in enumerate(values))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: with_whole(s, parts=shares(0.7, 0.2)), "shares 0.7, 0.2 add up to 0.9"),
        (lambda s: with_whole(s, parts=()), "shares none add up to 0"),
        (lambda s: with_whole(s, parts=(Part(("probe",), 1.0),)), "rounds probe: name at least"),
        (lambda s: with_whole(s, parts=(Part((), 1.0),)), "rounds none: name at least one"),
        (
            lambda s: with_whole(s, parts=(Part(("pool",), 1.0, Group("yaw", 5.0, 5.0)),)),
            "yaw from 5 to 5 holds no value",
        ),
        (
            lambda s: replace(s, grid=(replace(s.grid[0], data=("hole",)),)),
            r"unknown data set in grid\[0\] 'hole'; valid names: bare, half",
        ),
        (
            lambda s: replace(s, grid=(replace(s.grid[0], losses=("curricular",)),)),
            "unknown loss in grid",
        ),
        (
            lambda s: replace(s, grid=(replace(s.grid[0], students=("r100",)),)),
            "unknown student in grid",
        ),
        (lambda s: replace(s, losses={"pull": s.distillation}), "losses: pull: expected one marg"),
        (lambda s: replace(s, distillation=s.losses["elastic"]), "of a teacher's embeddings alone"),
        (lambda s: replace(s, seeds=(1, 1)), r"seeds \[1, 1\]: name at least one, and none tw"),
        (lambda s: replace(s, seeds=()), r"seeds \[\]: name at least one"),
        (
            lambda s: replace(s, data={"a/b": s.data["whole"]}, grid=()),
            "'a/b': data sets, students and losses are called by letters",
        ),
        (
            lambda s: replace(s, recipe=replace(s.recipe, faces_seen=10)),
            "faces_seen 10 is less than one batch of 64",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_no_grid_can_have_is_refused(study: Study, change: Change, message: str) -> None:
    check_study(study)
    with pytest.raises(InputError, match=message):
        check_study(change(study))
