"""Train a student on faces that are made meanwhile, not stored, into runs/RUN/.

    facestill online RUN

SynthDistill's loop (arXiv 2308.14852): a step on fresh faces of the generator, then one on the same
latents, moved the further the more student and teacher agree; and on. `online: dynamic: false` in
params.yaml leaves fresh faces alone. Which student, loss and how many faces: `train`, and its run
of this name; latents are of latent_space, mapped as those of rounds are. No round has to be there.

Writes student.safetensors, log.json and centre.json. A run that was interrupted goes on where it
stopped, to the same bits. Another run of that name is replaced only with `--force`.
"""

from __future__ import annotations

from manifests.core import layout
from manifests.core.errors import Parser, run_command
from manifests.settings.params import load_params
from train.engine.processes import keep_freed_memory
from train.engine.trainer import train_run
from train.sampling.plan import open_online


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("run", type=layout.run_name, help="a key of train.runs in params.yaml")
    parser.add_force()
    args = parser.parse_args()
    keep_freed_memory()
    plan = open_online(args.run, load_params())
    train_run(plan, layout.run(args.run), force=args.force)
    print(f"next: facestill gap {args.run} --rounds {layout.PROBE}")


if __name__ == "__main__":
    run_command(main)
