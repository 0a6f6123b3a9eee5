"""scores.parquet: one row a verified pair, from which every metric can be computed again.

Facts that are not a pair's own (model, metric, protocol, subject rule) lie in its metadata.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Literal, get_args

import pyarrow as pa

from manifests.core.errors import pick

KIND, GROUPED = "scores-1", "scores-2"
SCHEMA = pa.schema(
    {
        "pair_id": pa.int32(),
        "fold": pa.int16(),
        "left": pa.string(),
        "right": pa.string(),
        "same": pa.bool_(),
        "score": pa.float64(),  # higher: more alike
        "failed": pa.bool_(),  # a face of the pair was not detected, its central box was taken
    }
)
# Of both people of a pair; "" of a pair of two groups' people, or of one in none.
GROUP = pa.field("group", pa.string())
SCHEMAS = {KIND: SCHEMA, GROUPED: SCHEMA.append(GROUP)}

SubjectRule = Literal["folder", "stem", "top", "image"]
SUBJECT_RULES: dict[str, SubjectRule] = {rule: rule for rule in get_args(SubjectRule)}
NUMBERED = re.compile(r"(.+)_\d+")


def subject_of(name: str, rule: str) -> str:
    """The person of an image, as far as its name tells.

    folder: the folder it lies in (p0001/0002.jpg is of p0001). stem: its path without the
    number that ends it (Ada_Lovelace_0003.jpg is of Ada_Lovelace; a name without a number is
    its own). top: the first folder of its path (001/profile/02.jpg is of 001). image: nobody
    knows, every image stands for itself.
    Raises InputError for another rule.
    """
    path = PurePosixPath(name)
    match pick("subject rule", rule, SUBJECT_RULES):
        case "folder":
            return path.parent.as_posix()
        case "stem":
            numbered = NUMBERED.fullmatch(path.stem)
            return path.with_name(numbered[1] if numbered else path.stem).as_posix()
        case "top":
            return name.split("/")[0]
        case "image":
            return name
