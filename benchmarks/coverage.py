"""How often the 95 % intervals of a run's precision/recall table hold the truth, by simulation.

    OMP_NUM_THREADS=1 python benchmarks/coverage.py [--designs 300] [--candidates 3000]

Each design draws a new population in which the truth is known: 3 % gapped metals, and two or three models with the
confidences of better and worse ones, whose errors are correlated. `select_for_dft` chooses from it with the default settings,
all picks are "computed", and `precision_recall` estimates what the population's own table says.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd

from screening.choose.selection import select_for_dft
from screening.evaluate.confusion import count
from screening.evaluate.evaluation import POPULATION, precision_recall
from screening.settings import EvaluationSettings

PREVALENCE = 0.03
# Separation of gapped metals from others in standard deviations of the models' scores, and the share each flags.
SEPARATIONS = {"a-good": 2.5, "b-fair": 1.5, "c-poor": 0.8}
SHARE_FLAGGED = {"a-good": 0.03, "b-fair": 0.02, "c-poor": 0.01}
CORRELATION = 0.5
SCORES = ("precision", "recall", "f1", "mcc")


def main() -> None:
    """Simulate with two models and with three, and print the coverage of each interval."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--designs", type=int, default=300)
    parser.add_argument("--candidates", type=int, default=3000)
    given = parser.parse_args()
    for n_models in (2, 3):
        rows = [row for seed in range(given.designs) for row in simulate(given.candidates, n_models, seed)]
        table = pd.DataFrame(rows)
        print(f"{n_models} models, {given.designs} designs of {given.candidates} candidates")
        print(table.groupby("model").mean().round(3).to_string())


def simulate(n: int, n_models: int, seed: int) -> list[dict[str, object]]:
    """For each model, which intervals hold the truth of the population, how wide they are, how often there is a point."""
    rng = np.random.default_rng(seed)
    truth = rng.random(n) < PREVALENCE
    ids = [f"m{index}" for index in range(n)]
    common = rng.normal(size=n)
    frames, flags = [], {}
    for model in list(SEPARATIONS)[:n_models]:
        own = rng.normal(size=n)
        score = SEPARATIONS[model] * truth + np.sqrt(CORRELATION) * common + np.sqrt(1 - CORRELATION) * own
        flags[model] = score >= np.quantile(score, 1 - SHARE_FLAGGED[model])
        confidence = 1 / (1 + np.exp(-2 * (score - score.mean())))
        frames.append(_classes(ids, model, flags[model], confidence))
    classes = pd.concat(frames, ignore_index=True)
    picks = select_for_dft(classes, pd.DataFrame({"material_id": ids, "nsites": 1})).picks
    answers = _classes(ids, "dft", truth, truth.astype(float)).assign(status="ok", reason="")
    answers = answers[answers.material_id.isin(picks.material_id)]
    table = precision_recall(classes, answers, picks, EvaluationSettings(n_draws=2000))
    population = table[table.estimate == POPULATION].set_index("model")
    return [_judge(population.loc[model], model, flag, truth) for model, flag in flags.items()]


def _classes(ids: list[str], model: str, flag: np.ndarray, confidence: np.ndarray) -> pd.DataFrame:
    columns = {name: pd.array(flag, dtype="boolean") for name in ("is_gapped_metal", "has_vb_gap", "is_metal")}
    return pd.DataFrame(
        {"material_id": ids, "model": model, "gapped_metal_confidence": confidence, "gap_width_ev": 1.0, **columns}
    )


def _judge(row: pd.Series, model: str, flag: np.ndarray, truth: np.ndarray) -> dict[str, object]:
    true = count(flag, truth)
    judged: dict[str, object] = {"model": model}
    for name in SCORES:
        low, high = row[f"{name}_low"], row[f"{name}_high"]
        judged[name] = low <= getattr(true, name) <= high
        judged[f"{name} width"] = high - low
        judged[f"{name} point"] = pd.notna(row[name])
    return judged


if __name__ == "__main__":
    main()
