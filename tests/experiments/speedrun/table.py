"""The table of the speedrun, as JSON and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from manifests.core.errors import InputError
from tests.experiments.speedrun.recipes import BASE, spelt
from tests.experiments.speedrun.runs import facts_of
from tests.experiments.tables import Results, difference, interval, mean_and_std

CHOOSES = "lfw_dev"  # the benchmark that target, front and differences are of
MEASURES = {"probe_gap": "gap", "lfw_dev": "lfw_dev", "orl": "orl"}  # {in the table: of a result}
COSTS = {"cpu_minutes": "cpu_seconds", "wall_minutes": "seconds"}
SAME = ("num_params", "macs", "faces_seen", "steps", "faces", "precision")  # for all seeds
HEAD = (
    "arm", "parameters", "faces seen", "CPU minutes", "probe gap", "lfw-dev", "ORL", "seeds",
    "lfw-dev less `base`", "… with the same `-x`",
)  # fmt: skip


def tabled(results: Results, target: float) -> dict[str, Any]:
    """`results`: {ARM-SEED: a result of tests.experiments.speedrun.runs}. Raises InputError if
    there is none, and if seeds of an arm were not of one recipe."""
    if not results:
        raise InputError("no result is there yet; name arms with --arms, or leave it out")
    seeds = seeds_by_arm(results)
    rows = {arm: row(results, arm, own) for arm, own in seeds.items()}
    for arm, own in rows.items():
        own["reaches_target"] = own[CHOOSES]["mean"] >= target
        as_long = f"{BASE}-x{spelt(arm)[1]:g}".removesuffix("-x1")
        own["difference_to_base"] = differences(results, arm, BASE, seeds[arm])
        own["difference_to_base_as_long"] = differences(results, arm, as_long, seeds[arm])
    for arm in front(rows):
        rows[arm]["on_front"] = True
    facts = [facts_of(result) for result in results.values()]
    return {
        "target": {CHOOSES: target},
        "hardware": facts[0]["hardware"],
        "commits": sorted({own["commit"] for own in facts if own["commit"]}),
        "arms": rows,
    }


def seeds_by_arm(results: Results) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for name in results:
        arm, _, seed = name.rpartition("-")
        found.setdefault(arm, []).append(int(seed))
    return {arm: sorted(found[arm]) for arm in sorted(found)}


def row(results: Results, arm: str, seeds: Sequence[int]) -> dict[str, Any]:
    """Of one arm."""
    each = [results[f"{arm}-{seed}"] for seed in seeds]
    facts = [facts_of(result) for result in each]
    for seed, own in zip(seeds, facts, strict=True):
        unlike = [key for key in ("recipe", "faces") if own[key] != facts[0][key]]
        if unlike:
            raise InputError(
                f"arm {arm}: seed {seed} had another {unlike[0]} than seed {seeds[0]}; move away "
                f"the results of that arm, and run it again: --arms {arm}"
            )
    return {
        "recipe": facts[0]["recipe"],
        "seeds": list(seeds),
        "on_front": False,
        **{key: facts[0][key] for key in SAME},
        **{shown: several([own[key] / 60 for own in facts]) for shown, key in COSTS.items()},
        "final_loss": several([own["loss"] for own in facts]),
        **{
            shown: several([float(result[key].mean()) for result in each])
            | {"ci95": interval(np.mean([result[key] for result in each], axis=0))}
            for shown, key in MEASURES.items()
        },
    }


def several(values: Sequence[float]) -> dict[str, Any]:
    return {**mean_and_std(values), "by_seed": [round(value, 5) for value in values]}


def differences(results: Results, arm: str, control: str, seeds: Sequence[int]) -> dict[str, Any]:
    """Paired by seed and by face or pair; {} of an arm to itself, and without a common seed."""
    if arm == control:
        return {}
    found = {
        shown: difference(results, arm, control, seeds, key) for shown, key in MEASURES.items()
    }
    return {
        shown: {**several(own["by_seed"]), "ci95": own["ci95"]}
        for shown, own in found.items()
        if own
    }


def front(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The arms that none is better than in as few CPU minutes, the cheapest first."""
    best, found = -1.0, []
    by_cost = sorted(rows, key=lambda arm: (minutes(rows[arm]), -accuracy(rows[arm])))
    for arm in by_cost:
        if accuracy(rows[arm]) > best:
            best = accuracy(rows[arm])
            found.append(arm)
    return found


def minutes(row: Mapping[str, Any]) -> float:
    return float(row["cpu_minutes"]["mean"])


def accuracy(row: Mapping[str, Any]) -> float:
    return float(row[CHOOSES]["mean"])


def markdown(table: Mapping[str, Any]) -> str:
    """The arms by CPU minutes, and in a sentence which reaches the target first."""
    rows = dict(sorted(table["arms"].items(), key=lambda item: minutes(item[1])))
    lines = [verdict(rows, table["target"][CHOOSES]), ""]
    lines += [f"| {' | '.join(HEAD)} |", "|" + "---|" * len(HEAD)]
    lines += [f"| {' | '.join(cells(arm, row))} |" for arm, row in rows.items()]
    return "\n".join(lines)


def verdict(rows: Mapping[str, Mapping[str, Any]], target: float) -> str:
    """`rows`: by CPU minutes."""
    reaching = [arm for arm, row in rows.items() if row["reaches_target"]]
    if not reaching:
        return f"No arm reaches {100 * target:g} % on lfw-dev."
    first = rows[reaching[0]]
    return (
        f"`{reaching[0]}` reaches {100 * target:g} % on lfw-dev in the fewest CPU minutes: "
        f"{spread(first['cpu_minutes'], digits=2)} (seeds: {len(first['seeds'])})."
    )


def cells(arm: str, row: Mapping[str, Any]) -> list[str]:
    cost = spread(row["cpu_minutes"], digits=2)
    to_base, as_long = (
        points(row[key].get(CHOOSES))
        for key in ("difference_to_base", "difference_to_base_as_long")
    )
    return [
        f"**`{arm}`**" if row["on_front"] else f"`{arm}`",
        f"{row['num_params'] / 1e6:.2f} M",
        f"{row['faces_seen']:,}",
        f"**{cost}**" if row["reaches_target"] else cost,
        spread(row["probe_gap"], digits=3),
        spread(row["lfw_dev"], 100) + " %",
        spread(row["orl"], 100) + " %",
        str(len(row["seeds"])),
        to_base,
        as_long,
    ]


def spread(found: Mapping[str, Any], times: float = 1.0, digits: int = 1) -> str:
    mean = f"{times * found['mean']:.{digits}f}"
    return mean if found["std"] is None else f"{mean} ± {times * found['std']:.{digits}f}"


def points(found: Mapping[str, Any] | None) -> str:
    """A difference of accuracies, and of how many seeds."""
    if found is None:
        return "–"
    text = spread(found, 100)
    return f"{'' if text.startswith('-') else '+'}{text} ({found['seeds']})".replace("-", "−")


def on_page(table: Mapping[str, Any], figure: str) -> str:
    """Figure and table; `figure`: its path from the page."""
    return f"![accuracy over CPU minutes]({figure})\n\n{markdown(table)}"
