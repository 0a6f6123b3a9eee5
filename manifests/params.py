"""Check params.yaml, or merge a preset into it.

    facestill params            checks params.yaml
    facestill params PRESET     merges params/PRESET.yaml into it

`git checkout params.yaml` undoes a preset.
"""

from __future__ import annotations

from manifests.core.errors import Parser, run_command
from manifests.settings.params import load_params
from manifests.settings.presets import merge_preset


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("preset", nargs="?", help="the PRESET of a params/PRESET.yaml")
    args = parser.parse_args()
    load_params()
    if args.preset:
        merge_preset(args.preset)


if __name__ == "__main__":
    run_command(main)
