"""A face's way back to the prior, through every kind of round."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from manifests.core import layout
from manifests.core.errors import InputError, run_command
from manifests.stores.latents import LatentManifest, Recipe, build, schema
from pipeline.mine import main
from pipeline.mining.lineage import describe, trace

FACES, WIDTH = 6, 4


def manifest(
    name: str, origin: str = "prior", count: int = FACES, **columns: object
) -> LatentManifest:
    latents = np.random.default_rng(len(name)).standard_normal((count, WIDTH)).astype(np.float32)
    return build(Recipe(name, "toy", "ab" * 32, WIDTH), latents, origin=origin, **columns)


@pytest.fixture
def rounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, LatentManifest]:
    """A pool, identities of it, a round mined from it, and one of another team; row i's parent
    is row i of the pool, but the mined round's last row is a draw of the prior."""
    monkeypatch.chdir(tmp_path)
    pool = manifest("pool")
    steps = np.linspace(0.5, 1.0, FACES, dtype=np.float32)
    nothing = np.arange(FACES) == FACES - 1
    made = {
        "pool": pool,
        "identities": manifest(
            "identities", "boundary", law="along-normal", parent_id=pool.face_id, step=steps,
            identity_id=np.arange(FACES), side=np.array([-1, 1] * 3, np.int8),
        ),
        "mined-1": manifest(
            "mined-1", "mined", law=np.where(nothing, "prior", "dynamic"),
            parent_id=np.ma.masked_array(pool.face_id, nothing),
            region_id=np.ma.masked_array(np.full(FACES, 11, np.int32), nothing),
            step=np.ma.masked_array(steps, nothing), score=np.ma.masked_array(steps / 2, nothing),
        ),
        "teamA/photos": imported("photos"),
    }  # fmt: skip
    for name, one in made.items():
        one.write(layout.manifest(name))
    return made


def imported(name: str) -> LatentManifest:
    """Faces without latents, whose source is known."""
    whole = manifest(name, "imported")
    table = whole.table
    for column, values in (("latent", [None] * FACES), ("source_sha256", ["cd" * 32] * FACES)):
        at = table.schema.get_field_index(column)
        field = schema(WIDTH).field(column)
        table = table.set_column(at, field, pa.array(values, field.type))
    return LatentManifest(whole.recipe, table)


def explained(
    face_id: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> str:
    monkeypatch.setattr(sys, "argv", ["mine", "explain", str(face_id)])
    with pytest.raises(SystemExit) as ended:
        run_command(main)
    out, err = capsys.readouterr()
    if ended.value.code:
        assert ended.value.code == 2 and not out and err.count("\n") == 1
    return out + err


class TestExplain:
    @pytest.fixture(autouse=True)
    def _say(
        self,
        rounds: dict[str, LatentManifest],
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        self.rounds = rounds
        self.say = lambda face_id: explained(int(face_id), capsys, monkeypatch)

    def ids(self, name: str) -> np.ndarray:
        return self.rounds[name].face_id

    def test_a_mined_face_goes_back_to_the_pool(self) -> None:
        assert self.say(self.ids("mined-1")[2]) == (
            f"face {self.ids('mined-1')[2]}: round mined-1, row 2, by dynamic, step 0.700, from "
            "region 11, where its parent's hardness was 0.350\n"
            f"face {self.ids('pool')[2]}: round pool, row 2, drawn from the prior\n"
        )

    @pytest.mark.parametrize(("row", "side"), [(2, "like"), (3, "unlike")])
    def test_a_face_of_an_identity_goes_back_to_its_reference(self, row: int, side: str) -> None:
        first, last = self.say(self.ids("identities")[row]).splitlines()
        wanted = (
            f"round identities, row {row}, identity {row} ({side} its reference) by along-normal"
        )
        assert wanted in first
        assert last.endswith(f"round pool, row {row}, drawn from the prior")

    @pytest.mark.parametrize(("name", "row"), [("pool", 0), ("mined-1", FACES - 1)])
    def test_a_face_of_the_prior_has_no_parent(self, name: str, row: int) -> None:
        face = self.ids(name)[row]
        assert self.say(face) == f"face {face}: round {name}, row {row}, drawn from the prior\n"

    def test_an_imported_face_names_its_source(self) -> None:
        face = self.ids("teamA/photos")[1]
        wanted = f"face {face}: round teamA/photos, row 1, imported, source sha256 {'cd' * 32}\n"
        assert self.say(face) == wanted

    @pytest.mark.parametrize("face", [0, -1, 1 << 62, 10**30])
    def test_an_unknown_face_is_answered_with_the_rounds(self, face: int) -> None:
        assert self.say(face) == (
            f"error: face {face}: no manifest holds this face; looked at identities, mined-1, "
            "pool, teamA/photos\n"
        )

    def test_a_missing_parent_is_named(self) -> None:
        layout.manifest("pool").unlink()
        assert f"face {self.ids('pool')[0]}: its parent is in no" in self.say(
            self.ids("mined-1")[0]
        )

    def test_a_face_that_is_its_own_ancestor_is_refused(self) -> None:
        """Nobody makes such manifests but by hand."""
        ids = self.ids("pool")
        manifest("pool", parent_id=np.roll(ids, 1)).write(layout.manifest("pool"))
        assert "is its own ancestor; sample the rounds again" in self.say(self.ids("mined-1")[0])

    def test_a_stranger_may_leave_every_column_empty(self) -> None:
        parent = self.ids("pool")
        for origin in ("mined", "boundary"):
            theirs = manifest(origin, origin, parent_id=parent)
            theirs.write(layout.manifest(f"teamB/{origin}"))
            assert "step unknown" in self.say(theirs.face_id[0])

    def test_without_any_manifest_it_says_where_it_looked(self) -> None:
        for path in layout.MANIFESTS.rglob("*.parquet"):
            path.unlink()
        assert self.say(5) == (
            "error: face 5: no manifest holds this face; looked at manifests/rounds\n"
        )


def test_an_ancestor_knows_its_place(rounds: dict[str, LatentManifest]) -> None:
    child, parent = trace(int(rounds["mined-1"].face_id[4]), layout.MANIFESTS)
    assert (child.round, child.row, child.facts["law"]) == ("mined-1", 4, "dynamic")
    assert (parent.round, parent.row, parent.parent_id) == ("pool", 4, None)
    assert len(describe([child, parent])) == 2


def test_what_is_no_manifest_is_named(rounds: dict[str, LatentManifest]) -> None:
    (layout.MANIFESTS / "notes.parquet").write_bytes(b"notes")
    with pytest.raises(InputError, match=r"notes\.parquet: not a readable Parquet file"):
        trace(1, layout.MANIFESTS)
