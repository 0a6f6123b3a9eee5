"""Check a study's parameters, or merge a size into them.

    facestill study NAME          checks params/studies/NAME.yaml
    facestill study NAME SIZE     merges params/studies/NAME/SIZE.yaml into it

`make study NAME=… [SIZE=…]` does this and runs the study; `git checkout params/studies` undoes a
size.
"""

from __future__ import annotations

from manifests import studies
from manifests.core.backends import find_backend
from manifests.core.errors import Parser, run_command
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


if __name__ == "__main__":
    run_command(main)
