"""The small flow, built: two builds are the same bytes, and the commands of README and docs/ run on
one as they stand there. Those between two teams, in docs/SHARING.md, are run by test_sharing."""

from __future__ import annotations

import itertools
import re
import shlex
import shutil
from collections.abc import Iterator
from contextlib import chdir
from glob import glob
from pathlib import Path

import pytest
from PIL import Image

from manifests.core.digests import folder_hashes
from manifests.core.files import read_json
from manifests.stores.latents import LatentManifest
from manifests.stores.reading import FaceStore, TeacherStore, store_root
from tests.flow import ROOT, VERBS, build, run_stage

ROUNDS = ("pool", "probe", "identities", "mined-1", "mined-2")
SMALL = {  # of the toy preset
    "sample": {"pool": {"count": 256}, "probe": {"count": 64}},
    "boundaries": {"neighbours": 160},
    "identities": {"per_side": 4},
    "mine": {"count": 48},
    "train": {
        "student": {"width": 0.25, "input_size": 32},
        "warmup_faces": 256,
        "pool_rows": 256,
        "runs": {
            "start": {"faces_seen": 1280},
            "more": {"faces_seen": 64, "rate_from": 0.5, "rate_to": 0.0},  # of docs/TRAINING.md
        },
    },
    "mined": {name: {"faces_seen": 640} for name in ("mined-1", "mined-2")},
}


@pytest.fixture(scope="module")
def two_builds(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> list[Path]:
    """The second one without the stages at the end, which only measure and report."""
    return [
        build(tmp_path_factory.mktemp("a"), weights, SMALL),
        build(tmp_path_factory.mktemp("b"), weights, SMALL, until="eval.drift"),
    ]


def test_two_builds_give_identical_manifests_and_stores(two_builds: list[Path]) -> None:
    first, second = (
        folder_hashes(build / "data") | folder_hashes(build / "manifests") for build in two_builds
    )
    assert len(first) > 80
    assert first == second


def test_rounds_never_share_a_latent_with_the_probe(two_builds: list[Path]) -> None:
    latents = {
        name: {
            row.tobytes()
            for row in LatentManifest.read(
                two_builds[0] / f"manifests/rounds/{name}.parquet"
            ).latents
        }
        for name in ROUNDS
    }
    for one, other in itertools.combinations(ROUNDS, 2):
        assert not latents[one] & latents[other]


def test_face_ids_never_collide_between_rounds(two_builds: list[Path]) -> None:
    ids = [
        LatentManifest.read(two_builds[0] / f"manifests/rounds/{name}.parquet").face_id.tolist()
        for name in ROUNDS
    ]
    assert len(set(itertools.chain(*ids))) == sum(map(len, ids))


def test_passports_hold_the_root_of_the_bytes_on_disk(two_builds: list[Path]) -> None:
    for name in ROUNDS:
        faces = FaceStore.open(two_builds[0] / f"data/{name}/faces.zarr")
        teacher = TeacherStore.open(
            two_builds[0] / f"data/{name}/teachers/dlib-resnet.zarr", expect={"faces": faces.root}
        )
        assert store_root(faces.path) == faces.root
        assert store_root(teacher.path) == teacher.root


def test_mined_faces_descend_from_the_pool(two_builds: list[Path]) -> None:
    rounds = two_builds[0] / "manifests/rounds"
    pool = set(LatentManifest.read(rounds / "pool.parquet").face_id.tolist())
    mined = LatentManifest.read(rounds / "mined-2.parquet")
    assert set(mined.table["parent_id"].drop_null().to_pylist()) <= pool
    by_prior = mined.table["law"].to_pylist().count("prior")
    for name in ("parent_id", "region_id", "step", "score"):
        assert mined.table[name].null_count == by_prior


def test_summary_holds_what_it_promises(two_builds: list[Path]) -> None:
    summary = read_json(two_builds[0] / "reports/summary.json")
    assert summary["student"]["run_dir"] == "runs/mined-2"
    assert set(summary["num_faces"]) == set(ROUNDS)
    for role in ("student", "teacher"):
        low, high = summary["orl"][role]["accuracy_ci95"]
        assert low <= summary["orl"][role]["accuracy"] <= high
    assert summary["orl"]["teacher"]["accuracy"] > 0.97


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BY_TEAMS = "SHARING.md"  # its blocks of the shell
# What is not run here, by its page and how it begins, and why.
NOT_RUN = {
    ("ATTRIBUTES.md", "annotate pool --annotator onnx"): "a classifier of others",
    ("ATTRIBUTES.md", "annotate pool --annotator heads"): "a head that is any good: test_heads",
    ("BENCHMARKS.md", "verify --model runs/mined-2 --benchmark lfw"): "a published set",
    ("CLIENTS.md", "export"): "packages of their own: `make clients`",
    ("EVALUATION.md", "annotate"): "groups take heads that are any good: test_groups",
    ("EVALUATION.md", "verify --model MODEL"): "the same",
    ("EVALUATION.md", "verify …"): "half a command",
    ("EVALUATION.md", "face-quality"): "a run with a head of quality: the study's tests",
    ("EVALUATION.md", "discard"): "scores of many pairs: test_discard",
    ("OBJECTIVES.md", ""): "runs with several teachers: tests/train has them",
    ("ONLINE.md", ""): "a recipe at its full size: train/online has tests of its own",
    ("SUITES.md", "suite synthdistill"): "published sets",
    ("SUITES.md", "suite frcsyn"): "published sets",
    ("SUITES.md", "suite sdfr"): "published sets",
    ("TEACHERS.md", ""): "weights of others: tests/pipeline/teachers makes such files",
    ("TRAINING.md", "adopt-photographs"): "photographs behind their switch: test_real_faces",
    ("TRAINING.md", "train RUN --rounds real-faces"): "the same",
    ("TUTORIAL.md", "export runs/mined-2 --for mobile"): "LiteRT: `make clients`",
    ("cr-fiqa.md", ""): "a run with a head of quality: the study's tests",
    ("fair-distillation.md", ""): "networks at their full size: the study's tests",
    ("README.md", "embed pool --teacher arcface-iresnet"): "weights of others",
}  # fmt: skip
# What a reader puts in the place of a word.
STANDS_FOR = (
    (r"\bpairs:UNSEEN\b", "pairs:crops"),
    (r"\bpairs:[A-Z]+\b", "pairs:photos"),
    (r"\bfolder:\w+", "folder:photos/images"),
    (r"\bKIND:PATH\b", "folder:photos/images"),
    (r"^(adopt .*) --frame arcface112\b", r"\1"),
    (r"--pairs DIR\b", "--pairs modalities"),
    (r"\bROUND\b", "pool"),
    (r"\bRUN\b", "mined-2"),
    (r"\bTEXT\b", "CC0-1.0"),
    (r"\bFACE_ID\b", "CHILD"),
    (r" --teacher NAME\b", ""),
    (r"\bonnx:PATH\b", "onnx:FILE.onnx"),
    (r" …", ""),
    (r"\bonnx:DIR\b", "onnx:runs/exports/mined-2"),
    (r"^model-card DIR\b", "model-card runs/exports/mined-2"),
)


def commands_of(page: Path) -> list[str]:
    """The page's lines `facestill …` in blocks: continued lines as one, with the options that
    stand in brackets, without comments."""
    kinds = [""] if page.name == BY_TEAMS else ["", "sh"]
    blocks = re.findall(r"(?ms)^ *```(\w*)\n(.*?)^ *```", page.read_text(encoding="utf-8"))
    lines = (
        "\n".join(block for kind, block in blocks if kind in kinds)
        .replace("\\\n", " ")
        .splitlines()
    )
    found = (re.sub(r"[\[\]]", "", line.partition(" #")[0].strip()) for line in lines)
    return [" ".join(line.split()[1:]) for line in found if line.startswith("facestill ")]


def not_run(page: Path, command: str) -> list[tuple[str, str]]:
    return [key for key in NOT_RUN if page.name == key[0] and command.startswith(key[1])]


def run(command: str, child: int) -> None:
    for word, place in STANDS_FOR:
        command = re.sub(word, place, command)
    name, *arguments = shlex.split(command.replace("CHILD", str(child)))
    expanded = [sorted(glob(word)) if "*" in word else [word] for word in arguments]
    run_stage(VERBS[name].module, list(itertools.chain(*expanded)))


@pytest.fixture
def reader(two_builds: list[Path], tmp_path: Path, weights: Path) -> Iterator[Path]:
    """A copy of the built flow, with what a reader has beside it."""
    here = tmp_path / "here"
    shutil.copytree(two_builds[0], here, symlinks=True)
    shutil.copytree(ROOT / "manifests/suites", here / "manifests/suites")
    shutil.copy(ROOT / "manifests/suites/own.yaml", here / "FILE.yaml")
    shutil.copy(ROOT / "docs/RESULTS.md", here / "PAGE.md")
    _lay_photographs(here, weights / "orl")
    for name in ("A", "B", "C", "orl-start"):
        shutil.copytree(here / "reports/verify/orl/student", here / name)
    shutil.copy(here / "runs/exports/mined-2/student.onnx", here / "FILE.onnx")
    with chdir(here):
        run_stage("manifests.pack", ["pool", "--out", "pool.h5"])
        yield here


def _lay_photographs(here: Path, orl: Path) -> None:
    """Of ten people: as pairs, as crops, as two modalities, two photographs alone, and labelled."""
    labels = ["image,Male"]
    for person, number in itertools.product(range(1, 11), repeat=2):
        name = f"s{person}/{number}.png"
        with Image.open(orl / f"s{person}/{number}.pgm") as opened:
            picture = opened.convert("RGB")
        square = picture.resize((112, 112))
        for folder in ("photos/images", "crops/images", "modalities/visible", "modalities/thermal"):
            (here / folder / name).parent.mkdir(parents=True, exist_ok=True)
            (picture if folder == "photos/images" else square).save(here / folder / name)
        labels.append(f"{name},{1 if person % 2 else -1}")
    (here / "labels.csv").write_text("\n".join(labels) + "\n", encoding="utf-8")
    for folder in ("photos", "crops"):
        (here / folder / "pairs.csv").write_text("\n".join(_pairs()) + "\n", encoding="utf-8")
    for name, number in (("A", 1), ("B", 2)):
        shutil.copy(here / f"photos/images/s1/{number}.png", here / f"{name}.jpg")


def _pairs() -> Iterator[str]:
    """No photograph stands on both sides."""
    yield "fold,left,right,same"
    for fold, one in enumerate(range(1, 11, 2)):
        for who, n in itertools.product((one, one + 1), (1, 3)):
            yield f"{fold},s{who}/{n}.png,s{who}/{n + 1}.png,1"
        yield from (f"{fold},s{one}/{n}.png,s{one + 1}/{n + 1}.png,0" for n in (1, 3, 5, 7))


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_the_commands_of_a_page_run(page: Path, request: pytest.FixtureRequest) -> None:
    commands = [own for own in commands_of(page) if not not_run(page, own)]
    if not commands:
        return
    request.getfixturevalue("reader")
    mined = LatentManifest.read(Path("manifests/rounds/mined-2.parquet"))
    for command in commands:
        run(command, int(mined.face_id[0]))


def test_what_is_not_run_is_still_there_and_little() -> None:
    all_of = [(page, own) for page in PAGES for own in commands_of(page)]
    left = [not_run(page, own) for page, own in all_of]
    assert set(itertools.chain(*left)) == set(NOT_RUN)
    assert sum(map(bool, left)) < 0.45 * len(all_of)
