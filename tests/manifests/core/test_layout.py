"""What a user calls a run or a round: a name, or any path that stands for it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from manifests.core import layout
from manifests.core.errors import InputError
from tests.conftest import ROOT
from tests.toys import make_round

RESOLVED = {"round_name", "run_name", "run_folder", "stores"}
ASKED = {
    "round", "rounds", "--rounds", "--children", "--against", "run", "--after", "--gaps", "--stage",
    "stores",
}  # fmt: skip


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "path",
    [
        "{}", "data/{}", "data/{}/", "./data/{}", "data/{}/faces.zarr", "data/{}/teachers/x.zarr",
        "data/{}/marks/x.parquet", "manifests/rounds/{}.parquet",
        "manifests/rounds/{}.summary.json",
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["mined-1", "team/pool"])
def test_a_round_is_known_by_its_name_and_by_its_paths(here: Path, name: str, path: str) -> None:
    given = path.format(name)
    assert layout.round_name(given) == name
    if given.startswith(("data", "manifests")):
        assert layout.round_name((here / given).as_posix()) == name


@pytest.mark.parametrize("text", ["orl", "folder:/a/b", "pairs:data/x", "/elsewhere/pool", ""])
def test_what_is_no_path_of_a_round_is_left_alone(here: Path, text: str) -> None:
    assert layout.round_name(text) == text


@pytest.mark.parametrize("name", ["mined-2", "studies/usynthface/distilled"])
def test_a_run_is_known_by_its_name_and_by_its_folder(here: Path, name: str) -> None:
    folder = Path("runs") / name
    for given in (name, f"{name}/", f"runs/{name}", f"./runs/{name}/", str(here / "runs" / name)):
        assert (layout.run_name(given), layout.run_folder(given)) == (name, folder)


@pytest.mark.parametrize("text", ["/elsewhere/run", "../run", "", "a b", "a//b", "-x"])
def test_what_names_no_run_is_refused(here: Path, text: str) -> None:
    with pytest.raises(InputError, match="expected a name such as mined-2, or runs/mined-2"):
        layout.run_name(text)


def test_a_student_may_lie_in_any_folder_but_a_run_of_that_name_comes_first(here: Path) -> None:
    for folder in ("given", "both", "runs/both"):
        Path(folder).mkdir(parents=True)
    assert layout.run_folder("given") == Path("given")
    assert layout.run_folder("both") == Path("runs/both")
    assert layout.run_folder("none") == Path("runs/none")
    assert layout.run_folder(str(here / "both")) == here / "both"


def test_the_stores_of_a_round_by_any_of_its_names_or_one(here: Path) -> None:
    make_round("pool", 8)
    both = [layout.faces("pool"), layout.teacher("pool", "toy")]
    for given in ("pool", "data/pool", "manifests/rounds/pool.parquet"):
        assert layout.stores(given) == both
    for store in (*both, Path("elsewhere.zarr"), Path("data/none"), Path("../x")):
        assert layout.stores(store.as_posix()) == [store]


def test_every_command_takes_both() -> None:
    """Else one wants mined-2, another one runs/mined-2, and says so to who typed the first."""
    files = [file for name in ("manifests", "pipeline", "train", "eval")
             for file in (ROOT / name).glob("*.py")]  # fmt: skip
    asked = [
        (file.name, call.args[0].value, {word.arg: word.value for word in call.keywords})
        for file in files
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr == "add_argument"
        and isinstance(call.args[0], ast.Constant)
        and call.args[0].value in ASKED
    ]
    assert len(asked) > 20
    for file, name, words in asked:
        kind = words.get("type")
        found = getattr(kind, "attr", getattr(kind, "id", None))
        assert found in RESOLVED, (file, name)


@pytest.mark.parametrize(
    ("path", "maker"),
    [
        (layout.manifest("pool"), "`facestill sample pool`"),
        (layout.manifest("mined-3"), "`facestill mine mined-3 --gaps RUN`"),
        (layout.faces("team/pool"), "`facestill render team/pool`"),
        (layout.teacher("pool", "dlib-resnet"), "`facestill embed pool`"),
        (layout.marks("pool", "dlib-resnet"), "`facestill screen pool`"),
        (layout.gap_table("start", "pool"), "`facestill gap start --rounds probe pool`"),
        (layout.regions("mined-1"), "`facestill mine mined-1 --gaps RUN`"),
        (layout.children_gaps("mined-1"), "`facestill gap RUN --children mined-1`"),
        (layout.attributes("pool", "measured"), "`facestill annotate pool`"),
        (layout.boundaries("pool"), "`facestill boundaries`"),
        (layout.gap_report("start"), "`facestill gap start --rounds probe`"),
        (layout.manifest("team/pool"), "the stage that makes it"),
        (layout.manifest("team/mined-1"), "the stage that makes it"),
        (Path("data/$(id)/faces.zarr"), "the stage that makes it"),
        (Path("data/-rf/faces.zarr"), "the stage that makes it"),
        (Path("elsewhere/pool.parquet"), "the stage that makes it"),
        (Path("/data/pool/faces.zarr"), "the stage that makes it"),
    ],
)
def test_what_is_absent_names_its_maker(path: Path, maker: str) -> None:
    assert layout.maker_of(path) == maker
