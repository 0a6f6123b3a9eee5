"""Check params.yaml, or merge a preset into it.

    facestill params            checks params.yaml
    facestill params PRESET     merges params/PRESET.yaml into it
    facestill params --schema   writes params/schema.json, by which an editor knows what it may say

`git checkout params.yaml` undoes a preset.
"""

from __future__ import annotations

from manifests.core.backends import require_there, split_kind
from manifests.core.errors import Parser, conclude, run_command
from manifests.core.files import write_json
from manifests.settings.params import PATH, Params, load_params
from manifests.settings.presets import merge_preset
from manifests.settings.schema import SCHEMA, schema_of


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("preset", nargs="?", help="the PRESET of a params/PRESET.yaml")
    parser.add_argument("--schema", action="store_true", help=f"write {SCHEMA} and end")
    args = parser.parse_args()
    if args.schema:
        write_json(SCHEMA, schema_of(Params) | {"default": load_params().recipe})
        conclude(SCHEMA, "types, bounds and defaults of params.yaml, for editors and the report")
        return
    params = load_params()
    if args.preset:
        merge_preset(args.preset)
    else:
        require_files(params)
    merged = f", with {args.preset} merged into it" if args.preset else ""
    conclude(PATH, f"every value is within its bounds{merged}", "dvc repro")


def require_files(params: Params) -> None:
    """Raises InputError for a file that the flow would not find."""
    texts = {
        "generator": params.generator,
        "aligner": params.aligner,
        **{f"teachers: {name}": text for name, text in params.teachers.items()},
    }
    for key, text in texts.items():
        if file := split_kind(text)[1]:
            require_there(f"{PATH}: {key}", file)


if __name__ == "__main__":
    run_command(main)
