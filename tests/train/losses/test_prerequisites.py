"""What an objective cannot do with the rounds at hand is said in one line, before any training."""

from __future__ import annotations

import shutil
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from manifests.core import layout
from manifests.core.errors import InputError
from manifests.settings.objectives import IdentityPart, Losses, Tuition
from manifests.settings.params import Params
from manifests.settings.training import Run
from manifests.stores.reading import FaceStore
from tests.toys import EMBEDDING_WIDTH, make_round
from tests.train.toys import add_teacher, asked, with_engine
from train.batching.sources import open_sources
from train.engine.preflight import check_run
from train.engine.processes import ALONE, Processes
from train.engine.supervised import Supervised, open_plan
from train.engine.trainer import train_run
from train.fuse import fuse

COUNT = 130
RUN = Run(faces_seen=320, rate_from=1.0, rate_to=0.1)


@pytest.fixture(scope="module")
def rounds_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("rounds")
    with chdir(root):
        make_round("pool", COUNT, seed=1)
        identities = np.random.default_rng(0).integers(0, 5, COUNT)
        make_round("people", COUNT, seed=2, origin="boundary", identity_id=identities)
        for round in ("pool", "people"):
            add_teacher(round, "wide", 24)
    return root


@pytest.fixture
def params(
    params: Params, rounds_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Params:
    """Rounds pool, without identities, and people, with five; teacher toy and a wider one."""
    shutil.copytree(rounds_once, tmp_path / "checkout")
    monkeypatch.chdir(tmp_path / "checkout")
    small = replace(params.train.student, name="small-resnet", input_size=32, width=0.25)
    train = replace(params.train, student=small, batch=16, leave_out=(), runs={"start": RUN})
    return replace(params, teacher="toy", train=train)


def plan(params: Params, *rounds: str) -> Supervised:
    return open_plan("start", rounds or ("pool", "people"), None, params)


@pytest.mark.parametrize("loss", ["arcface", "ekd", ["cosine", "adaface"]], ids=str)
def test_too_few_identities(params: Params, loss: Any) -> None:
    wanted = asked(params, loss, embedding_width=8)
    with pytest.raises(InputError, match=r"tells identities apart, the usable faces have 0; train"):
        plan(wanted, "pool")
    with_width = asked(params, loss, embedding_width=EMBEDDING_WIDTH)
    assert plan(with_width, "pool", "people").num_steps


def test_a_margin_alone_has_no_width_of_its_own(params: Params) -> None:
    with pytest.raises(InputError, match=r"embedding_width: null, .* no teacher to take it from"):
        plan(asked(params, "arcface"))
    assert plan(asked(params, "arcface", embedding_width=40)).embedding_width == 40


def test_unlike_widths_need_a_projection(params: Params) -> None:
    both = {"toy": Tuition(), "wide": Tuition()}
    message = r"cosine compares 16 coordinates of the student with 24 of wide; give it a projection"
    with pytest.raises(InputError, match=message):
        plan(asked(params, teachers=both))
    both["wide"] = Tuition(projection=True)
    assert plan(asked(params, teachers=both)).embedding_width == EMBEDDING_WIDTH
    assert plan(asked(params, "relational", teachers={**both, "wide": Tuition()})).num_steps
    with pytest.raises(InputError, match=r"or say train\.embedding_width: 16"):
        plan(asked(params, embedding_width=12))


def test_teachers_of_two_versions(params: Params) -> None:
    add_teacher("people", "wide", 24, version="2")
    with pytest.raises(InputError, match=r"people/teachers/wide\.zarr: embedded by another"):
        plan(asked(params, teachers={"wide": Tuition()}))


def test_a_teacher_without_a_store(params: Params) -> None:
    with pytest.raises(InputError, match=r"data/pool/teachers/absent\.zarr"):
        plan(asked(params, teachers={"absent": Tuition()}))


def test_a_store_without_the_mirrored_view(params: Params) -> None:
    add_teacher("people", "wide", 24, views=1)
    with pytest.raises(
        InputError, match=r"wide\.zarr: holds 1 view of each face, .* \(plain, flip\)"
    ):
        plan(asked(params, teachers={"wide": Tuition()}))


def test_teachers_that_nothing_looks_at(params: Params) -> None:
    wanted = asked(params, "arcface", teachers={"wide": Tuition()}, embedding_width=8)
    with pytest.raises(InputError, match=r"train\.teachers: wide, but train\.loss has no term"):
        plan(wanted)


class TestSnapshots:
    def test_are_as_many_as_epochs(self, params: Params) -> None:
        usable = int(FaceStore.open(layout.faces("pool")).ok().sum())
        epochs = (RUN.faces_seen // 16 - 1) * 16 // usable + 1
        assert epochs == 4
        for count, fits in ((epochs - 1, False), (epochs, True), (epochs + 1, False)):
            wanted = asked(params, snapshots=tuple(["toy", "wide"] * 3)[:count], teachers={})
            wanted = replace(
                wanted, train=replace(wanted.train, loss=Losses.parsed("relational", ""))
            )
            if fits:
                assert plan(wanted, "pool").num_epochs == count
            else:
                with pytest.raises(InputError, match=f"{count} snapshots for {epochs} epochs"):
                    plan(wanted, "pool")

    def test_stand_alone(self, params: Params) -> None:
        with pytest.raises(InputError, match=r"train\.snapshots beside train\.teachers"):
            plan(asked(params, snapshots=("toy",), teachers={"wide": Tuition()}))


class TestGroups:
    LOSS = ("cosface", {"name": "gkd", "head": "runs/tutor"})

    def test_need_the_teachers_head(self, params: Params) -> None:
        with pytest.raises(InputError, match=r"runs/tutor/head\.safetensors: no margin head here"):
            plan(asked(params, list(self.LOSS)))

    def test_have_one_teacher(self, params: Params) -> None:
        Path("runs/tutor").mkdir(parents=True)
        Path("runs/tutor/head.safetensors").touch()
        both = {"toy": Tuition(), "wide": Tuition()}
        with pytest.raises(InputError, match=r"gkd has one teacher, not toy, wide"):
            plan(asked(params, list(self.LOSS), teachers=both))
        with pytest.raises(InputError, match=r"head\.safetensors: not a margin head"):
            plan(asked(params, list(self.LOSS)))

    def test_leave_a_tail_out(self, params: Params) -> None:
        train_run(plan(asked(params, "cosface", embedding_width=EMBEDDING_WIDTH), "people"),
                  layout.run("tutor"))  # fmt: skip
        for size, fits in ((4, True), (5, False)):
            gkd = {"name": "gkd", "head": "runs/tutor", "group_size": size}
            wanted = asked(params, ["cosface", gkd])
            if fits:
                assert plan(wanted, "people").num_steps
            else:
                with pytest.raises(InputError, match=r"group_size 5 of 5 identities: no tail"):
                    plan(wanted, "people")


CENTRED = {"name": "arcface", "centres": "adadistill"}


class TestCentres:
    def test_are_one_teacher_s(self, params: Params) -> None:
        both = {"toy": Tuition(), "wide": Tuition(projection=True)}
        with pytest.raises(
            InputError, match=r"train\.loss: a centre has one teacher, not toy, wide"
        ):
            plan(asked(params, CENTRED, teachers=both))

    def test_are_as_wide_as_the_student(self, params: Params) -> None:
        wide = {"wide": Tuition(projection=True)}
        assert plan(asked(params, CENTRED, teachers=wide)).embedding_width == 24
        with pytest.raises(
            InputError, match=r"wide's embeddings of 24 numbers are the centres of a"
        ):
            plan(asked(params, CENTRED, teachers=wide, embedding_width=16))


class TestMemory:
    @pytest.mark.parametrize("name", ["relational", "ekd"])
    def test_is_of_one_teacher_s_faces(self, params: Params, name: str) -> None:
        wanted = asked(params, {"name": name, "memory": 2}, snapshots=("toy",) * 4)
        with pytest.raises(InputError, match=r"memory beside train\.snapshots"):
            plan(wanted)


class TestBalance:
    def test_somebody_has_so_many_faces(self, params: Params) -> None:
        wanted = with_engine(asked(params), faces_an_identity=4)
        assert plan(wanted, "people").num_steps
        with pytest.raises(InputError, match=r"4, but no identity has more than 0 usable faces"):
            plan(wanted, "pool")

    def test_a_batch_is_of_whole_slots(self, params: Params) -> None:
        wanted = with_engine(asked(params), faces_an_identity=3)
        with pytest.raises(InputError, match=r"faces_an_identity: 3, by which the 16 faces"):
            check_run(plan(wanted, "people"), ALONE)
        wanted = with_engine(asked(params), faces_an_identity=16)
        check_run(plan(wanted, "people"), ALONE)
        with pytest.raises(InputError, match=r"16, by which the 8 faces"):
            check_run(plan(wanted, "people"), Processes(0, 2))


class TestAdaptors:
    @pytest.fixture
    def fused(self, params: Params) -> Params:
        """An adaptor of toy and wide; the parameters that use it."""
        fewer = replace(params, fuse=replace(params.fuse, epochs=2, embedding_width=8))
        fuse("both", ["toy", "wide"], ["people"], fewer, layout.run("both"))
        return asked(fewer, teachers={"wide": Tuition(), "toy": Tuition()}, adaptor="both")

    def test_gives_the_width(self, fused: Params) -> None:
        opened = plan(fused)
        assert opened.embedding_width == 8
        assert "runs/both/adaptor.safetensors" in opened.stores

    def test_is_there(self, params: Params) -> None:
        with pytest.raises(InputError, match=r"runs/none/adaptor\.safetensors: no "):
            plan(asked(params, adaptor="none", teachers={"toy": Tuition(), "wide": Tuition()}))

    def test_is_of_the_named_teachers(self, fused: Params) -> None:
        with pytest.raises(InputError, match=r"an adaptor of toy, wide, but .* names toy; name"):
            plan(asked(fused, teachers={}, adaptor="both"))

    def test_is_of_these_very_teachers(self, fused: Params) -> None:
        for round in ("pool", "people"):
            add_teacher(round, "wide", 24, version="2")
        with pytest.raises(InputError, match=r"embedded by another wide than runs/both was made"):
            plan(fused)

    def test_of_another_adaptor_it_is_another_run(self, fused: Params) -> None:
        before = plan(fused).work
        other = replace(fused, fuse=replace(fused.fuse, seed=99))
        with pytest.raises(InputError, match=r"an adaptor of params\.seed 7, now it is 99"):
            fuse("both", ["toy", "wide"], ["people"], other, layout.run("both"))
        fuse("both", ["toy", "wide"], ["people"], other, layout.run("both"), force=True)
        assert plan(fused).work != before

    def test_has_one_width(self, fused: Params) -> None:
        with pytest.raises(InputError, match=r"embedding_width: 9, but the adaptor .* gives 8"):
            plan(replace(fused, train=replace(fused.train, embedding_width=9)))

    def test_takes_no_more_memory_than_its_file(self, fused: Params) -> None:
        path = layout.run("both") / "adaptor.safetensors"
        tensors = load_file(path)
        with safe_open(path, framework="pt") as opened:
            card = opened.metadata()["card"]
        wider = card.replace('"width":8}', '"width":1000000000000}')
        assert wider != card
        save_file(tensors, path, {"card": wider})
        with pytest.raises(InputError, match=r"adaptor\.safetensors: not an adaptor"):
            plan(fused)
        save_file(tensors, path)
        with pytest.raises(InputError, match=r"adaptor\.safetensors: not an adaptor"):
            plan(fused)

    @pytest.mark.parametrize(
        ("teachers", "rounds", "message"),
        [
            (["toy"], ["people"], r"teachers toy: name two or more, each once"),
            (["toy", "toy"], ["people"], r"teachers toy, toy: name two or more"),
            (["toy", "wide"], ["pool"], r"rounds pool: their usable faces have 0 identities"),
            (["toy", "wide"], ["probe"], r"round probe is never trained on"),
        ],
        ids=str,
    )
    def test_is_not_made_of_less(
        self, params: Params, teachers: list[str], rounds: list[str], message: str
    ) -> None:
        with pytest.raises(InputError, match=message):
            fuse("both", teachers, rounds, params, layout.run("both"))

    def test_is_made_by_a_margin_alone(self, params: Params) -> None:
        other = replace(params, fuse=replace(params.fuse, loss=Losses.parsed("cosine", "loss")))
        with pytest.raises(InputError, match=r"fuse\.loss: a margin alone"):
            fuse("both", ["toy", "wide"], ["people"], other, layout.run("both"))


class TestParts:
    def test_share_the_identities_out(self, params: Params) -> None:
        def seen(part: IdentityPart | None) -> tuple[set[int], int]:
            runs = {"start": replace(RUN, identities=part)}
            opened = plan(asked(params, "arcface", embedding_width=8, runs=runs), "people")
            (source,) = opened.sources
            head = opened.start_objective().head
            return set(source.identities[source.usable].tolist()), len(head.prototypes)

        parts = [seen(IdentityPart(part, 2)) for part in range(2)]
        assert [identities for identities, _ in parts] == [{0, 2, 4}, {1, 3}]
        assert [count for _, count in parts] == [3, 2]
        assert seen(None) == ({0, 1, 2, 3, 4}, 5)

    def test_leave_faces_of_nobody_out(self, params: Params) -> None:
        runs = {"start": replace(RUN, identities=IdentityPart(0, 2))}
        opened = plan(asked(params, runs=runs))
        assert [len(source.usable) > 0 for source in opened.sources] == [False, True]

    def test_labels_of_two_rounds_are_of_different_people(self, params: Params) -> None:
        make_round(
            "more", COUNT, seed=3, origin="boundary",
            identity_id=np.ma.masked_less(np.arange(COUNT) % 4, 1),
        )  # fmt: skip
        sources, _ = open_sources(["people", "pool", "more"], [params.teacher], params, {})
        opened = Supervised(
            "start", asked(params, "arcface", embedding_width=8), sources, 3, None, {}
        )
        head = opened.start_objective().head
        assert len(head.prototypes) == 5 + 0 + 3
