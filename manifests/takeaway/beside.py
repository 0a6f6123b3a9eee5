"""What lies beside the faces of a take-away, so that it speaks for itself.

README.md          a card as Hugging Face reads it, then the round's datasheet
croissant.json     the same for machines
passports/         of the stores that the faces and embeddings come from
marks/             of the faces here, one a line: more than the columns marks_TEACHER say
pack.json          round, rows, columns, and what this kind loses
SHA256SUMS         of every other file: `sha256sum -c SHA256SUMS`
"""

from __future__ import annotations

import hashlib
import math
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from manifests.cards.croissant import DATA_TYPES, PARQUET, Json, Publication, describe
from manifests.cards.datasheets import body
from manifests.cards.facts import RoundFacts, read_round
from manifests.cards.front_matter import of_round, size_category
from manifests.cards.markdown import code, inline
from manifests.cards.statements import COLUMNS
from manifests.core.digests import canonical_json, folder_hashes
from manifests.core.files import write_json, write_text
from manifests.core.layout import SUMS
from manifests.records.marks import Mark
from manifests.stores.passport import NAME as PASSPORT
from manifests.takeaway.blocks import Part, blocks, marks_of, meanings, plan_parts
from manifests.takeaway.choosing import Chosen
from manifests.takeaway.kinds.contract import Kind, Place
from manifests.takeaway.pictures import ENCODER

README, RECORD = "README.md", "pack.json"
SCHEMA = "facestill-pack-1"
PICTURE = pa.binary()  # of an encoded one, to those who are told of columns
SAID = COLUMNS | {
    "image": "The picture, a PNG file.",
    "row": "Row of the face in the stores that it comes from.",
    "ok": "Whether the face is usable; where it is not, the numbers of teachers are NaN.",
    "reason": "Why not; ok where it is.",
    "quality": "Score of the face's detector.",
    "landmarks": "x0, y0, x1, … of five points, in pixels of the picture.",
    "file_name": "The picture's file.",
    "label": "Place of the identity among those here, ascending: the number of its class.",
    "record": "Number of the picture's record in train.rec.",
}


def write_beside(
    name: str, kind: Kind, chosen: Chosen, table: pa.Table, num_asked: int, place: Place
) -> list[str]:
    """Writes all of it into `place.finished`, whose other files are there; returns the paths of
    all files there, relative to it. `table`: what is known of the chosen faces."""
    facts = read_round(chosen.name, list(chosen.teachers))
    schema = next(blocks(chosen, table, Part(0, 1, 0, 1))).table.schema
    if kind.layout.picture:
        schema = schema.insert(0, pa.field(kind.layout.picture, PICTURE))
    record = _record(name, kind, chosen, schema, num_asked)
    write_json(place.finished / RECORD, record)
    write_json(place.finished / "croissant.json", _croissant(facts, kind, schema, record))
    write_text(place.finished / README, _readme(facts, kind, record))
    _copy_papers(chosen, place.finished)
    sums = folder_hashes(place.finished, leave_out=[SUMS])
    lines = (f"{digest}  {file}\n" for file, digest in sorted(sums.items()))
    write_text(place.finished / SUMS, "".join(lines))
    return [*sums, SUMS]


def stranger_in(folder: Path) -> str | None:
    """A file of `folder` that is none of an older take-away's, by its own list; None without."""
    sums = folder / SUMS
    lines = sums.read_bytes().split(b"\n") if (folder / RECORD).is_file() and sums.is_file() else []
    listed = {SUMS, *(os.fsdecode(line[66:]) for line in lines)}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if (path.is_symlink() or not path.is_dir()) and name not in listed:
            return name
    return None


def _copy_papers(chosen: Chosen, out: Path) -> None:
    stores = {"faces": chosen.faces.path}
    stores |= {f"teachers/{name}": store.path for name, store in chosen.teachers.items()}
    papers = {f"passports/{name}.json": path / PASSPORT for name, path in stores.items()}
    for name, path in papers.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, out / name)
    here = set(chosen.rows.tolist())
    for teacher, marks in marks_of(chosen).items():
        lines = (_marked(mark) for mark in marks.marks if mark.row in here)
        write_text(out / f"marks/{teacher}.jsonl", "".join(lines))


def _marked(mark: Mark) -> str:
    """A line of JSON, which has no NaN."""
    value = mark.value if math.isfinite(mark.value) else None
    return canonical_json({**asdict(mark), "value": value}) + "\n"


def _record(name: str, kind: Kind, chosen: Chosen, schema: pa.Schema, num_asked: int) -> Json:
    ids = chosen.manifest.face_id[chosen.rows].astype("<i8")
    return {
        "schema": SCHEMA,
        "kind": name,
        "round": chosen.name,
        "recipe": asdict(chosen.manifest.recipe),
        "roots": {
            "manifest": chosen.manifest.digest,
            "faces": chosen.faces.root,
            **{f"teachers/{each}": store.root for each, store in chosen.teachers.items()},
        },
        "num_rows": len(chosen),
        "num_ok": int(chosen.faces.ok()[chosen.rows].sum()),
        "num_source_rows": len(chosen.manifest),
        "num_source_ok": chosen.faces.passport.num_ok,
        "num_without_place": num_asked - len(chosen),
        "face_ids_sha256": hashlib.sha256(ids.tobytes()).hexdigest(),
        "frame": chosen.faces.frame,
        "landmark_scheme": chosen.faces.group.attrs.get("landmark_scheme"),
        "columns": [
            {"name": column, "type": kind_of, "meaning": meaning}
            for column, kind_of, meaning in meanings(schema, SAID)
        ],
        "marks": {teacher: dict(marks.rule) for teacher, marks in marks_of(chosen).items()},
        "pictures": ENCODER,
        "loses": list(kind.layout.loses),
    }


def _readme(facts: RoundFacts, kind: Kind, record: Json) -> str:
    more: Json = {
        "license_link": README,
        "size_categories": [size_category(record["num_rows"])],
    }
    if kind.layout.loads_as:
        more["configs"] = [{"config_name": "default", **kind.layout.loads_as}]
    front, sheet = of_round(facts, more), body(facts, Publication())
    return f"{front}\n{_opening(facts, kind, record)}\n{sheet}"


def _opening(facts: RoundFacts, kind: Kind, record: Json) -> str:
    """What this take-away is, and how it is read."""
    lines = [
        f"# Faces of round {inline(facts.name)}",
        "",
        f"{record['num_rows']:,} of the round's {record['num_source_rows']:,} faces, taken away by "
        f"`facestill pack --to {record['kind']}`. `{RECORD}` says which, `sha256sum -c {SUMS}` "
        "checks every file, `passports/` says of each store what made it.",
        "",
        _reading(kind.layout.reading, record),
        "| column | type | |",
        "|---|---|---|",
        *(
            f"| {code(each['name'])} | {inline(each['type'])} | {inline(each['meaning'])} |"
            for each in record["columns"]
        ),
        "",
        "What this form loses: " + " ".join(kind.layout.loses),
        "",
        "The datasheet below is of the whole round; its paths are those of the place where it was "
        "made.",
        "",
    ]
    return "\n".join(lines)


def _reading(text: str, record: Json) -> str:
    """The kind's own lines, for who stands in the take-away's folder."""
    teachers = [name.partition("/")[2] for name in record["roots"] if "/" in name]
    text = told(text.replace("OUT/", "").replace('"OUT"', '"."'), ".", record["num_rows"])
    return text.replace("TEACHER", teachers[0] if teachers else "TEACHER")


def told(text: str, out: str, count: int) -> str:
    """A kind's words on reading it, of this folder and so many faces."""
    last = plan_parts(count)[-1].number
    return text.replace("OUT", out).replace("LAST", f"{last:06d}")


def _croissant(facts: RoundFacts, kind: Kind, schema: pa.Schema, record: Json) -> Json:
    """The round's own document, but for its files and records, which are others here."""
    patterns = {*kind.layout.data, *filter(None, [kind.layout.table])}
    files = [
        {
            "@type": "cr:FileSet",
            "@id": pattern,
            "name": pattern,
            "encodingFormat": PARQUET if pattern.endswith("parquet") else _media_type(pattern),
            "includes": pattern,
        }
        for pattern in sorted(patterns)
    ]
    table = kind.layout.table
    rows = {
        "@type": "cr:RecordSet",
        "@id": "rows",
        "name": "faces",
        "description": f"{record['num_rows']:,} faces.",
        "key": {"@id": "rows/face_id"},
        "field": [_field(field, str(table)) for field in schema],
    }
    described = describe(facts)
    return {**described, "distribution": files, "recordSet": [rows] if table else []}


def _media_type(pattern: str) -> str:
    return {"png": "image/png", "tar": "application/x-tar"}.get(
        pattern.rpartition(".")[2], "application/octet-stream"
    )


def _field(field: pa.Field, table: str) -> Json:
    ((_, _, meaning),) = meanings(pa.schema([field]), SAID)
    kind, array = field.type, {}
    if pa.types.is_fixed_size_list(kind):
        kind, array = kind.value_type, {"isArray": True, "arrayShape": str(kind.list_size)}
    known: Any = DATA_TYPES | {"halffloat": "cr:Float16", str(PICTURE): "sc:ImageObject"}
    source: Json = {"fileSet": {"@id": table}, "extract": {"column": field.name}}
    if kind == PICTURE:
        source["transform"] = {"jsonPath": "bytes"}
    return {
        "@type": "cr:Field",
        "@id": f"rows/{field.name}",
        "name": field.name,
        "description": meaning,
        "dataType": known[str(kind)],
        "source": source,
        **array,
    }
