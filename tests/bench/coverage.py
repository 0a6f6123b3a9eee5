"""How often 95 % intervals hold the truth, over simulated benchmarks: docs/log/evaluation.md.

    python -m tests.bench.coverage

People shift the scores of all their pairs. Four minutes on one core. The second table is of a
threshold at a false match rate, by the number of people that its impostor pairs come from.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from eval.scoring.intervals import PairSubjects, Statistic, at_least, identity_bootstrap, wilson
from eval.scoring.roc import RankedPairs
from tests.results import ACCURACY, AUC, MARGIN, SPREAD, sample

TRIALS, RESAMPLES = 200, 300
DESIGNS = {
    "40 people, 3,600 pairs (as ORL)": (40, 45, 1800),
    "400 people, 1,600 pairs": (400, 2, 800),
    "3,000 people, 6,000 pairs (as LFW)": (3000, 1, 3000),
}
FMR, IMPOSTORS, PEOPLE = 0.01, 1200, (40, 10, 4, 2)
COLUMNS = ("Wilson, accuracy", "over people, accuracy", "over pairs, AUC", "over people, AUC")


def main() -> None:
    print(f"| | {' | '.join(COLUMNS)} |\n|---|---|---|---|---|")
    for name, (people, genuine_each, impostors) in DESIGNS.items():
        found = np.array(
            [
                intervals(seed, people=people, genuine_each=genuine_each, impostors=impostors)
                for seed in range(TRIALS)
            ]
        )
        truth = np.array([ACCURACY, ACCURACY, AUC, AUC])
        held = ((found[..., 0] <= truth) & (truth <= found[..., 1])).mean(axis=0)
        width = (found[..., 1] - found[..., 0]).mean(axis=0)
        cells = [f"{h:.0%}, {100 * w:.1f}" for h, w in zip(held, width, strict=True)]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    print("\n| people | threshold held |\n|---|---|")
    for people in PEOPLE:
        truth = -MARGIN + SPREAD * norm.ppf(1 - FMR)  # of impostors' scores
        ends = [threshold_interval(seed, people) for seed in range(TRIALS)]
        share = np.mean([low <= truth <= high for low, high in ends])
        print(f"| {people} | {share:.0%} |", flush=True)


def threshold_interval(seed: int, people: int) -> tuple[float, float]:
    """As `threshold_at` has it, which refuses people as few as these."""
    subjects, same, scores = sample(seed, people=people, genuine_each=2, impostors=IMPOSTORS)
    ranked = RankedPairs.of(scores, same)
    found = identity_bootstrap(
        lambda weights: np.array([ranked.curve(weights).threshold_at(FMR)]),
        subjects,
        resamples=RESAMPLES,
        seed=seed,
    )
    return found.interval(0)


def intervals(seed: int, *, people: int, genuine_each: int, impostors: int) -> np.ndarray:
    """The intervals of COLUMNS on one simulated benchmark."""
    subjects, same, scores = sample(
        seed, people=people, genuine_each=genuine_each, impostors=impostors
    )
    correct = (scores > 0) == same
    statistic = accuracy_and_auc(RankedPairs.of(scores, same), correct)
    each = np.arange(len(same))
    by_people, by_pair = (
        identity_bootstrap(statistic, of, resamples=RESAMPLES, seed=seed)
        for of in (subjects, PairSubjects(each, each, len(same)))
    )
    own = wilson(int(correct.sum()), len(correct))
    wider = at_least(by_people.interval(0), own)
    return np.array([own, wider, by_pair.interval(1), by_people.interval(1)])


def accuracy_and_auc(ranked: RankedPairs, correct: np.ndarray) -> Statistic:
    return lambda weights: np.array(
        [weights[correct].sum() / weights.sum(), ranked.curve(weights).auc()]
    )


if __name__ == "__main__":
    main()
