"""Sealed stores are damaged in every kind of file: verify must find it, readers must not return
anything else than what was sealed.

Two sound files that are swapped deceive readers, whose checks are within files: only verify can
find that. Such cases are counted apart.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from manifests import check as verify
from manifests.building.ledger import NAME as LEDGER
from manifests.core.errors import InputError
from manifests.stores.metadata import METADATA, files_of
from manifests.stores.passport import NAME as PASSPORT
from manifests.stores.reading import FaceStore, TeacherStore
from tests.campaign.ground import OUTPUTS, SEED, STAGES, Ground, Outcome, copy
from tests.campaign.processes import run as run_command

NAME = "corruptions"
COUNT = 300
BY_COMMAND = 7  # every so many cases are verified by the command too
SWAPPED = "swapped"


def change_byte(path: Path, rng: np.random.Generator, others: Sequence[Path]) -> str:
    data = bytearray(path.read_bytes())
    at, bits = int(rng.integers(len(data))), int(rng.integers(1, 256))
    data[at] ^= bits
    _replace(path, bytes(data))
    return f"byte {at} ^ {bits:#04x}"


def truncate(path: Path, rng: np.random.Generator, others: Sequence[Path]) -> str:
    data = path.read_bytes()
    length = int(rng.integers(len(data)))
    _replace(path, data[:length])
    return f"cut to {length} of {len(data)} bytes"


def empty(path: Path, rng: np.random.Generator, others: Sequence[Path]) -> str:
    _replace(path, b"")
    return "cut to 0 bytes"


def delete(path: Path, rng: np.random.Generator, others: Sequence[Path]) -> str:
    path.unlink()
    return "deleted"


def add_beside(path: Path, rng: np.random.Generator, others: Sequence[Path]) -> str:
    name = str(rng.choice(["stray", f"{path.name}.bak", METADATA.upper(), "0", ".hidden"]))
    target = path.with_name(name) if not path.with_name(name).exists() else path.parent / "x"
    shutil.copyfile(path, target)
    return f"{target.name} added beside"


def swap(path: Path, rng: np.random.Generator, others: Sequence[Path]) -> str:
    """With another file, of its kind if there is one."""
    other = others[int(rng.integers(len(others)))]
    kept = path.read_bytes()
    _replace(path, other.read_bytes())
    _replace(other, kept)
    return f"{SWAPPED} with {other.as_posix()[-40:]}"


def _replace(path: Path, data: bytes) -> None:
    path.unlink()  # a hard link: the original stays as it is
    path.write_bytes(data)


Damage = Callable[[Path, np.random.Generator, Sequence[Path]], str]
DAMAGES: Sequence[Damage] = (
    change_byte, truncate, change_byte, delete, change_byte, empty, truncate, add_beside,
    change_byte, swap,
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    stage: str
    kind: str
    damage: Damage
    seed: tuple[int, ...]


def draw(index: int) -> Case:
    """Stores take turns, then kinds of files, whatever their sizes, then damages."""
    stage, turn = STAGES[index % 2], index // 2
    pairs = list(product(DAMAGES, KINDS[stage]))
    damage, kind = pairs[turn % len(pairs)]
    return Case(stage, kind, damage, (SEED, 2, index))


KINDS: Mapping[str, Sequence[str]] = {
    "render": ("images", "ok", "reason", "landmarks", "quality", "array", "group", "ledger",
               "passport"),
    "embed": ("embeddings", "norms", "array", "group", "ledger", "passport"),
}  # fmt: skip


def files_of_kind(store: Path, kind: str) -> list[Path]:
    names = sorted(files_of(store))
    alone = {"group": METADATA, "ledger": LEDGER, "passport": PASSPORT}
    if kind in alone:
        return [store / alone[kind]]
    if kind == "array":
        return [store / name for name in names if name.endswith(f"/{METADATA}")]
    return [store / name for name in names if name.startswith(f"{kind}/c/")]


def run(ground: Ground, index: int) -> Outcome:
    case = draw(index)
    rng = np.random.default_rng(case.seed)
    root = ground.root / f"corruption-{index}"
    store = copy(ground.built / OUTPUTS[case.stage], root / "alone" / OUTPUTS[case.stage].name)
    files = files_of_kind(store, case.kind)
    file = files[int(rng.integers(len(files)))]
    shards = [each for each in sorted(store.glob("*/c/**/*")) if each.is_file()]
    others = [each for each in files if each != file] or [s for s in shards if s != file]
    done = case.damage(file, rng, others)
    text = f"{case.stage}: {file.relative_to(store)} {done}"
    found, read = _verify(store), _read(ground, case.stage, store)
    by_command = index % BY_COMMAND == 0
    if by_command:
        found = found and _verify_by_command(store)
    faults = [] if found else ["verify did not find it"]
    swapped = SWAPPED in done
    if read == "wrong" and not swapped:
        faults.append("readers returned other data than was sealed")
    if read.startswith("unclear"):
        faults.append(read)
    shutil.rmtree(root)
    detail = {"found": found, "read": read, "swapped": swapped, "by_command": by_command,
              "kind": case.kind, "damage": case.damage.__name__}  # fmt: skip
    return Outcome(f"{NAME}:{index}", text, tuple(faults), detail)


def _verify(store: Path) -> bool:
    with mock.patch.object(verify, "Bar", lambda names, **_: names):  # one bar is enough
        return bool(verify.find_faults(store))


def _verify_by_command(store: Path) -> bool:
    ended = run_command(store.parent, "manifests.check", store.name)
    return ended.code == 1 and store.name in ended.out and bool(ended.complaint)


def _read(ground: Ground, stage: str, store: Path) -> str:
    """right, wrong, refused, or what else was raised."""
    wanted = _contents(stage, ground.built / OUTPUTS[stage])
    try:
        found = contents(stage, store)
    except InputError:
        return "refused"
    except Exception as error:  # any other kind is what this looks for
        return f"unclear error {error!r}"
    same = all(np.array_equal(found[name], wanted[name], equal_nan=True) for name in wanted)
    return "right" if same and set(found) == set(wanted) else "wrong"


def contents(stage: str, path: Path) -> dict[str, np.ndarray]:
    """All that a reader can ask a store for."""
    if stage == "render":
        faces = FaceStore.open(path)
        half = len(faces) // 2 + 1
        frame = [float(faces.frame[name]) for name in ("size", "left", "top", "extent")]
        columns = {name: faces.column(name) for name in ("reason", "landmarks", "quality")}
        return {
            **{name: column.astype(float) for name, column in columns.items()},
            "images": faces.images(0, len(faces)),
            "part": faces.images(half, half + 3),
            "ok": faces.ok().astype(float),
            "frame": np.array(frame),
        }
    teacher = TeacherStore.open(path)
    return {
        "embeddings": teacher.embeddings().astype(float),
        "norms": teacher.norms().astype(float),
        "centre": teacher.centre(),
        "spread": np.array(teacher.spread()),
    }


_contents = lru_cache(maxsize=2)(contents)


def summary(ground: Ground, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    details = [outcome.detail for outcome in outcomes]
    swaps = [detail for detail in details if detail["swapped"]]
    rest = [detail for detail in details if not detail["swapped"]]
    return {
        "corruptions": len(details),
        "corruptions_detected": sum(detail["found"] for detail in details),
        "detected_by_command": sum(detail["found"] and detail["by_command"] for detail in details),
        "wrong_reads": sum(detail["read"] == "wrong" for detail in rest),
        "unclear_errors": sum(detail["read"].startswith("unclear") for detail in details),
        "swaps": len(swaps),
        "swaps_detected": sum(detail["found"] for detail in swaps),
        "swaps_read_without_notice": sum(detail["read"] == "wrong" for detail in swaps),
        **{
            f"by_{key}": {value: sum(d[key] == value for d in details) for value in sorted(values)}
            for key in ("kind", "damage", "read")
            for values in [{detail[key] for detail in details}]
        },
    }
