"""Makes a frozen benchmark manifest of a folder of photographs.

python -m eval.freeze pairs:DIR --out FILE.parquet
python -m eval.freeze orl:DIR --out manifests/benchmarks/orl.parquet
"""

from __future__ import annotations

from pathlib import Path

from eval import benchmarks
from manifests.backends import find_backend
from manifests.benchmarks import Benchmark
from manifests.errors import Parser, run_command


def main() -> None:
    parser = Parser(description="Freeze a benchmark.")
    parser.add_argument("benchmark", help="KIND:FOLDER")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    kind, _, folder = args.benchmark.partition(":")
    frozen: Benchmark = find_backend(benchmarks, "benchmark", kind).freeze(Path(folder))
    frozen.write(args.out)
    print(f"{args.out}: {len(frozen.fold)} pairs, protocol {frozen.protocol_sha256}")


if __name__ == "__main__":
    run_command(main)
