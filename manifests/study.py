"""Lay a study out beside the flow, its parameters checked.

    facestill study NAME          checks params/studies/NAME.yaml
    facestill study NAME SIZE     merges params/studies/NAME/SIZE.yaml into it

DVC sees the study's stages from then on, until params/studies/stages/NAME is removed. `make study
NAME=… [SIZE=…]` does this and runs the study; `git checkout params/studies` undoes a size.
"""

from __future__ import annotations

from manifests import studies
from manifests.core import layout
from manifests.core.backends import find_backend
from manifests.core.errors import Parser, conclude, run_command
from manifests.core.files import write_text
from manifests.settings.presets import merge_size
from manifests.settings.study import load_study


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("study", help="the NAME of a params/studies/NAME.yaml")
    parser.add_argument("size", nargs="?", help="the SIZE of a params/studies/NAME/SIZE.yaml")
    args = parser.parse_args()
    kind = find_backend(studies, "study", args.study).Study
    load_study(args.study, kind)
    if args.size:
        merge_size(args.study, args.size, kind)
    stages = layout.study_dvc(args.study)
    write_text(stages, layout.study_stages(args.study).read_text(encoding="utf-8"))
    conclude(stages, "laid out", f"dvc repro {stages}:{args.study}")


if __name__ == "__main__":
    run_command(main)
