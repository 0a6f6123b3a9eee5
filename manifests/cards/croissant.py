"""Croissant: a round's facts as Croissant 1.1 JSON-LD with the responsible-AI vocabulary.

The document is a function of stores and manifest alone: two builds of a round have the same
one. Croissant wants a url, a creator, a date and a version too; nothing on disk knows them and
a clock would be a lie, so they are left out unless the publisher names them.

What a passport says stands in values only, never in keys or ids, so that no text in it can
change the structure of the document.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import PurePath
from typing import Any

import pyarrow as pa

from manifests.cards import statements
from manifests.cards.facts import (
    NOT_STATED,
    ArrayFacts,
    FileFacts,
    ManifestFacts,
    RoundFacts,
    StoreFacts,
    leaves,
)
from manifests.core.errors import InputError
from manifests.stores.passport import NAME as PASSPORT

Json = dict[str, Any]

CROISSANT = "http://mlcommons.org/croissant/"
CONFORMS_TO = [f"{CROISSANT}1.1", f"{CROISSANT}RAI/1.0"]
TERMS = (
    "annotation", "arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "excludes",
    "extract", "field", "fileObject", "fileProperty", "fileSet", "format", "includes", "isArray",
    "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "readLines", "recordSet",
    "references", "regex", "repeated", "replace", "samplingRate", "sdVersion", "separator",
    "source", "subField", "transform", "unArchive",
)  # fmt: skip
CONTEXT: Json = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": CROISSANT,
    "rai": f"{CROISSANT}RAI/",
    "dct": "http://purl.org/dc/terms/",
    "prov": "http://www.w3.org/ns/prov#",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "description": {"@container": "@language"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    **{term: f"cr:{term}" for term in TERMS},
}
FORMATS = {".json": "application/json", ".jsonl": "application/jsonlines"}
BYTES = "application/octet-stream"
PARQUET = "application/x-parquet"
ZARR = "https://zarr-specs.readthedocs.io/en/latest/v3/core/index.html"  # has no media type
DATA_TYPES = {
    "bool": "sc:Boolean", "double": "cr:Float64", "float": "cr:Float32", "int16": "cr:Int16",
    "int32": "cr:Int32", "int64": "cr:Int64", "int8": "cr:Int8", "string": "sc:Text",
    "uint8": "cr:UInt8",
}  # fmt: skip
ROWS = "rows"  # id of the record set


@dataclass(frozen=True)
class Publication:
    """What only the publisher of a round knows."""

    url: str | None = None
    date: str | None = None  # ISO 8601, such as 2026-11-22
    creator: str | None = None  # an organisation
    version: str | None = None  # MAJOR.MINOR.PATCH

    def __post_init__(self) -> None:
        if self.url is not None and not re.fullmatch(r"https?://[^\s<>\"]+", self.url):
            raise InputError(f"url {self.url!r}: expected http:// or https:// and no spaces")
        if self.version is not None and not re.fullmatch(r"[0-9]+(\.[0-9]+){2}", self.version):
            raise InputError(f"version {self.version!r}: expected MAJOR.MINOR.PATCH, such as 1.0.0")
        if self.date is not None and not _is_date(self.date):
            raise InputError(f"date {self.date!r}: expected a date such as 2026-11-22")


def describe(facts: RoundFacts, publication: Publication | None = None, place: str = ".") -> Json:
    """The JSON-LD document of a round, for the folder `place`, a path with slashes from where
    data/ and manifests/ lie: readers take paths relative to the document."""
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": f"facestill-{facts.name}",
        "description": statements.summary(facts),
        "keywords": ["face recognition", "knowledge distillation", "embeddings"],
        **_license(facts),
        **_published(publication or Publication()),
        **_responsible_ai(facts),
        **_provenance(facts),
        "distribution": list(_distribution(facts, place)),
        "recordSet": [_record_set(facts.manifest)] if facts.manifest else [],
    }


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _published(publication: Publication) -> Json:
    creator = {"@type": "sc:Organization", "name": publication.creator}
    known = {
        "url": publication.url,
        "datePublished": publication.date,
        "creator": creator if publication.creator else None,
        "version": publication.version,
    }
    return {name: value for name, value in known.items() if value is not None}


def _license(facts: RoundFacts) -> Json:
    """The terms of what the round was made with; it is not ours to give it a licence of its own."""
    works = [
        {"@type": "sc:CreativeWork", "name": f"Terms of {name}", "description": terms}
        for name, terms in facts.licences
    ]
    return {"license": works} if works else {}


def _responsible_ai(facts: RoundFacts) -> Json:
    said: Json = {
        "dataCollection": " ".join(statements.collection(facts)),
        "dataCollectionMissingData": statements.missing_data(facts),
        "dataPreprocessingProtocol": statements.preprocessing(facts),
        "dataUseCases": statements.use_cases(facts),
        "dataLimitations": statements.limitations(facts),
        "dataBiases": statements.biases(facts),
        "personalSensitiveInformation": statements.personal_information(facts),
        "dataSocialImpact": statements.social_impact(facts),
        "dataReleaseMaintenancePlan": " ".join(statements.maintenance(facts)),
        "machineAnnotationTools": [f"teacher {store.maker}" for store in facts.teachers],
    }
    if facts.num_generated:  # what was imported may be synthetic or not: nothing is said of it
        said["hasSyntheticData"] = True
    return {f"rai:{name}": value for name, value in said.items() if value}


def _provenance(facts: RoundFacts) -> Json:
    return {
        "prov:wasDerivedFrom": [_weights(store) for store in facts.stores],
        "prov:wasGeneratedBy": [_activity(facts, store) for store in facts.stores],
    }


def _weights(store: StoreFacts) -> Json:
    entity = {"@id": f"{store.path}#weights", "@type": "prov:Entity"}
    if store.weights_sha256 != NOT_STATED:
        entity["sha256"] = store.weights_sha256
    return {**entity, "prov:label": f"weights of {store.maker}"}


def _activity(facts: RoundFacts, store: StoreFacts) -> Json:
    """How a store was made: from the manifest or from the faces, with what weights."""
    used = [f"{store.path}#weights"]
    if store is not facts.faces:
        used.append(f"{facts.faces.path}/images")
    elif facts.manifest:
        used.append(facts.manifest.file.path)
    return {
        "@id": f"{store.path}#making",
        "@type": "prov:Activity",
        "prov:label": f"making of {store.path} with {store.maker}",
        "prov:used": [{"@id": each} for each in used],
    }


def _distribution(facts: RoundFacts, place: str) -> Iterator[Json]:
    if facts.manifest:
        digest = {"digest": facts.manifest.digest, **asdict(facts.manifest.recipe)}
        yield _file_object(facts.manifest.file, place, PARQUET, {"manifest": digest})
    for store in facts.stores:
        for file in store.files:
            is_passport = file.path == f"{store.path}/{PASSPORT}"
            stated = {"passport": asdict(store.passport)} if is_passport else {}
            media_type = FORMATS.get(PurePath(file.path).suffix, BYTES)
            yield _file_object(file, place, media_type, stated)
        yield from (_file_set(store, array, place) for array in store.arrays)


def _file_object(file: FileFacts, place: str, media_type: str, stated: Mapping[str, Any]) -> Json:
    return {
        "@type": "cr:FileObject",
        "@id": file.path,
        "name": PurePath(file.path).name,
        "contentUrl": posixpath.relpath(file.path, place),
        "contentSize": f"{file.num_bytes} B",
        "encodingFormat": media_type,
        "sha256": file.sha256,
        **(_properties(stated) if stated else {}),
    }


def _file_set(store: StoreFacts, array: ArrayFacts, place: str) -> Json:
    shape = " x ".join(map(str, array.shape))
    return {
        "@type": "cr:FileSet",
        "@id": f"{store.path}/{array.name}",
        "name": f"{store.name}/{array.name}",
        "description": f"Zarr array of {array.dtype}, {shape}; its first axis is the row.",
        "encodingFormat": ZARR,
        "includes": posixpath.relpath(f"{store.path}/{array.name}/**", place),
        "prov:wasGeneratedBy": {"@id": f"{store.path}#making"},
    }


def _properties(stated: Mapping[str, Any]) -> Json:
    kind: Json = {"@type": "sc:PropertyValue"}
    return {"additionalProperty": [kind | {"name": p, "value": v} for p, v in leaves(stated)]}


def _record_set(manifest: ManifestFacts) -> Json:
    return {
        "@type": "cr:RecordSet",
        "@id": ROWS,
        "name": "rows of the manifest",
        "description": f"{manifest.num_rows:,} rows; row i is row i of every Zarr array.",
        "key": {"@id": f"{ROWS}/face_id"},
        "field": [_field(column, manifest.file.path) for column in manifest.columns],
    }


def _field(column: pa.Field, file: str) -> Json:
    kind, array = column.type, {}
    if pa.types.is_fixed_size_list(kind):
        kind, array = kind.value_type, {"isArray": True, "arrayShape": str(kind.list_size)}
    return {
        "@type": "cr:Field",
        "@id": f"{ROWS}/{column.name}",
        "name": column.name,
        "description": statements.COLUMNS.get(column.name, "Not described."),
        "dataType": DATA_TYPES[str(kind)],
        "source": {"fileObject": {"@id": file}, "extract": {"column": column.name}},
        **array,
    }
