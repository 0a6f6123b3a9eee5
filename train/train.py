"""Train a student from cached stores into runs/RUN/.

    facestill train start --rounds pool
    facestill train mined-1 --rounds identities mined-1 --after start
    torchrun --nproc-per-node 2 --no-python facestill train start --rounds pool

Writes student.safetensors and log.json. `--after` continues from that run's student, on its stores
and the new rounds. A run that was interrupted goes on where it stopped, to the same bits. Another
run of that name, finished or not, is replaced only with `--force`.
"""

from __future__ import annotations

from manifests.core import layout
from manifests.core.errors import InputError, Parser, run_command
from manifests.settings.params import load_params
from train.engine.processes import Processes, described, keep_freed_memory
from train.engine.supervised import open_plan
from train.engine.trainer import train_run


def main() -> int:
    processes = described()
    try:
        _main(processes)
    except InputError:
        if processes.first:
            raise
        return 2  # the first process says it, once
    return 0


def _main(processes: Processes) -> None:
    parser = Parser(__doc__)
    parser.add_argument("run", type=layout.run_name, help="a key of train.runs in params.yaml")
    parser.add_argument(
        "--rounds", type=layout.round_name, nargs="+", required=True, help="new ones to train on"
    )
    parser.add_argument("--after", type=layout.run_name, help="the run to continue from")
    parser.add_force()
    args = parser.parse_args()
    keep_freed_memory()
    plan = open_plan(args.run, args.rounds, args.after, load_params(), processes.count)
    train_run(plan, layout.run(args.run), processes, force=args.force)
    if processes.first:
        print(f"next: facestill gap {args.run} --rounds {rounds_to_measure()}")


def rounds_to_measure() -> str:
    """Those of the flow; where none is here, as when all rounds are another team's, the reader's
    own choice."""
    here = [name for name in (layout.PROBE, layout.POOL) if layout.faces(name).is_dir()]
    return " ".join(here) or "ROUND, one that it was not trained on"


if __name__ == "__main__":
    run_command(main)
