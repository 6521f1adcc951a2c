"""Make the confidence of every model in a gapped metal a probability, and choose the cut from which one is named.

    python -m scripts.calibrate_gapped_metals DATA

On labels that trained and stopped no model: those of `mat2spec.benchmark.trust`, at the level of theory of each model. The
truth is the class of the computed spectrum. Coefficients, figures and the reliability of the probabilities go to
`screening/classify/gapped_metal_calibration.json`, and the tables of docs/metals.md are printed and docs/reliability.png is drawn. Figures are cross-fitted:
no probability comes from a fit that saw a label of its formula. It takes a minute. After a training run
`python -m scripts.calibrate_metals DATA MODEL` first: the confidence of a metal enters.
"""

from __future__ import annotations

import argparse
import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.metrics import average_precision_score, roc_auc_score

from mat2spec.benchmark.trust import N_FOLDS, HeldOut, held_out_edos, held_out_edos_of_plan
from mat2spec.crystals.primitive import CellSizes
from mat2spec.labels.splits import tenth_of_formula
from mat2spec.prediction import load_predictor, predict_with_models
from mat2spec.settings import MODELS_WITH_SPIN
from mat2spec.tables.columns import Column
from mat2spec.tables.parquet import is_true
from screening.classify import gapped_metals
from screening.classify.gapped_metals import CALIBRATION_FILE, Platt, score_logits
from screening.classify.gaps import classify_spectra
from screening.classify.metals import MetalEvidence
from screening.evaluate.confusion import count, wilson_interval
from scripts import reliability_curve

PLAIN_MODELS = ("tight-binding", "sitedos", "mat2spec", "gatgnn", "e3nn")
# With fewer true gapped metals a model gets the coefficients of all together.
FEWEST_POSITIVES = 8
# Precision of the prior that draws the coefficients of a model towards those of all.
PRIOR_PRECISION = 1.0
NEAR_BEST = 0.95
CUTS = np.round(np.arange(0.05, 0.61, 0.01), 2)
BINS = (0.0, 0.05, 0.1, 0.2, 0.4, 1.0)


@dataclass(frozen=True)
class Scores:
    """What a model says of labelled materials.

    Parameters
    ----------
    logits
        Log-odds of its score, shape (n,).
    metal
        Whether it calls the material a metal, shape (n,).
    truth
        Whether the computed spectrum is that of a gapped metal, shape (n,).
    by_rule
        Whether it is a gapped metal if its gap is judged by the rule for computed spectra, shape (n,).
    fold
        Of the formula, shape (n,).
    """

    logits: NDArray[np.float64]
    metal: NDArray[np.bool_]
    truth: NDArray[np.bool_]
    by_rule: NDArray[np.bool_]
    fold: NDArray[np.int64]

    def take(self, rows: NDArray[np.bool_]) -> Scores:
        """Those of some materials."""
        return Scores(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


class Labelled(NamedTuple):
    """Weights of a model, and what it says of labelled materials."""

    weights: str
    scores: Scores


def main() -> None:
    """Predict, fit, choose the cut, write and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    kept: dict[str, Labelled] = {}
    for models, held_out in ((PLAIN_MODELS, held_out_edos), (MODELS_WITH_SPIN, held_out_edos_of_plan)):
        labels = held_out(given.data)
        kept |= {name: predict(name, labels) for name in models}
    content = calibrate(kept)
    file = Path(gapped_metals.__file__).with_name(CALIBRATION_FILE)
    file.write_text(json.dumps(content, indent=1) + "\n")
    print_tables(content)
    reliability_curve.draw(content)


def predict(model: str, labels: HeldOut) -> Labelled:
    """What a model says of every labelled material that it can predict."""
    predictor = load_predictor(model, device="cpu")
    (prediction,) = predict_with_models([predictor], labels.crystals)
    sizes = CellSizes.of_crystals(labels.crystals)
    evidence = MetalEvidence.of_prediction(prediction)
    said = classify_spectra(prediction.spectra, n_sites=sizes.n_sites, n_primitive=sizes.n_primitive, evidence=evidence)
    computed = classify_spectra(labels.spectra, n_sites=sizes.n_sites, n_primitive=sizes.n_primitive)
    score = (said[Column.GAP_CONFIDENCE] * said[Column.METAL_CONFIDENCE]).to_numpy(dtype=np.float64, na_value=np.nan)
    has_gap = is_true(said[Column.HAS_VB_GAP]) & ~is_true(said[Column.BELOW_THRESHOLD_EVERYWHERE])
    metal, truth = is_true(said[Column.IS_METAL]), is_true(computed[Column.IS_GAPPED_METAL])
    fold = np.array([tenth_of_formula(str(formula), seed=3) % N_FOLDS for formula in labels.formulas])
    scores = Scores(score_logits(score), metal, truth, has_gap & metal, fold)
    return Labelled(predictor.weights_hash, scores.take(np.isfinite(score)))


def calibrate(kept: dict[str, Labelled]) -> dict[str, Any]:
    """The content of the calibration file."""
    scores = {name: kept[name].scores for name in sorted(kept)}
    pooled = fit(list(scores.values()), None)
    probability = {name: cross_fitted(name, scores) for name in scores}
    cut = choose_cut(probability, scores)
    models = {
        name: {
            "weights": kept[name].weights,
            "platt": _rounded(fit([own], pooled)._asdict()),
            **_figures(own, probability[name], cut),
        }
        for name, own in scores.items()
    }
    precision = float(np.mean([entry["average_precision"] for entry in models.values()]))
    return {
        "cut": cut,
        "pooled": {"platt": _rounded(pooled._asdict()), "average_precision": round(precision, 4)},
        "models": models,
    }


def fit(parts: list[Scores], pooled: Platt | None) -> Platt:
    """Platt's scaling of all parts together, drawn towards the pooled one where it is given."""
    logits, truth = (np.concatenate([getattr(part, name) for part in parts]) for name in ("logits", "truth"))
    if pooled is not None and truth.sum() < FEWEST_POSITIVES:
        return pooled
    sign = np.where(truth, 1.0, -1.0)
    centre = np.array([0.5, -1.0] if pooled is None else pooled)
    precision = 0.0 if pooled is None else PRIOR_PRECISION

    def loss(platt: NDArray[np.float64]) -> float:
        margin = sign * (platt[0] * logits + platt[1])
        return float(np.logaddexp(0, -margin).sum() + precision / 2 * ((platt - centre) ** 2).sum())

    found = minimize(loss, centre, method="L-BFGS-B", bounds=[(0, None), (None, None)]).x
    return Platt(float(found[0]), float(found[1]))


def cross_fitted(model: str, scores: dict[str, Scores]) -> NDArray[np.float64]:
    """Probabilities of a model, each from a fit without the labels of its formula."""
    own = scores[model]
    probability = np.zeros(len(own.truth))
    for fold in range(N_FOLDS):
        pooled = fit([part.take(part.fold != fold) for part in scores.values()], None)
        platt = fit([own.take(own.fold != fold)], pooled)
        rows = own.fold == fold
        probability[rows] = expit(platt.slope * own.logits[rows] + platt.intercept)
    return probability


def choose_cut(probability: dict[str, NDArray[np.float64]], scores: dict[str, Scores]) -> float:
    """The largest cut whose mean F1 of the models, weighted as in the ranking, is within `NEAR_BEST` of the best one.

    With a few tens of gapped metals the score is nearly flat over a range of cuts; the largest names the fewest.
    """
    weights = [average_precision_score(own.truth, own.logits) for own in scores.values()]
    f1 = []
    for cut in CUTS:
        tables = [count((probability[name] >= cut) & own.metal, own.truth) for name, own in scores.items()]
        f1.append(float(np.average([table.f1 or 0.0 for table in tables], weights=weights)))
    print(
        "mean F1 by cut: " + ", ".join(f"{cut:g}: {score:.3f}" for cut, score in zip(CUTS[::2], f1[::2], strict=True))
    )
    return float(CUTS[np.flatnonzero(np.array(f1) >= NEAR_BEST * max(f1))[-1]])


def _figures(own: Scores, probability: NDArray[np.float64], cut: float) -> dict[str, Any]:
    """How a model does at the cut and by the rule, and how often it is right where it states a probability."""
    named, by_rule = count((probability >= cut) & own.metal, own.truth), count(own.by_rule, own.truth)
    bins = []
    for low, high in itertools.pairwise(BINS):
        rows = (probability >= low) & (probability < high)
        if rows.any():
            bins.append([round(float(probability[rows].mean()), 3), int(own.truth[rows].sum()), int(rows.sum())])
    base = own.truth.mean()
    return {
        "n": len(own.truth),
        "positives": int(own.truth.sum()),
        "roc_auc": round(float(roc_auc_score(own.truth, own.logits)), 3),
        "average_precision": round(float(average_precision_score(own.truth, own.logits)), 4),
        "brier_score": round(float(np.mean((probability - own.truth) ** 2)), 4),
        "brier_score_of_the_share": round(float(base * (1 - base)), 4),
        "at_the_cut": [named.tp, named.fp, named.fn],
        "by_the_rule": [by_rule.tp, by_rule.fp, by_rule.fn],
        "reliability": bins,
    }


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.items()}


def print_tables(content: dict[str, Any]) -> None:
    """The tables of docs/metals.md."""
    print(f"cut: {content['cut']:g}\n")
    print(
        "| model | labels | gapped metals | ROC AUC | average precision | Brier score (of the share) | named | precision | recall | recall by the rule |"
    )
    print("|---" * 10 + "|")
    for name, entry in content["models"].items():
        tp, fp, fn = (int(value) for value in entry["at_the_cut"])
        rule_tp, _, rule_fn = (int(value) for value in entry["by_the_rule"])
        cells = [
            name,
            entry["n"],
            entry["positives"],
            f"{entry['roc_auc']:.2f}",
            f"{entry['average_precision']:.2f}",
            f"{entry['brier_score']:.3f} ({entry['brier_score_of_the_share']:.3f})",
            tp + fp,
            _share(tp, tp + fp),
            _share(tp, tp + fn),
            _share(rule_tp, rule_tp + rule_fn),
        ]
        print("| " + " | ".join(map(str, cells)) + " |")
    print("\n| model | " + " | ".join(f"{low:g}-{high:g}" for low, high in itertools.pairwise(BINS)) + " |")
    print("|---" * len(BINS) + "|")
    for name, entry in content["models"].items():
        by_bin = {
            int(np.searchsorted(BINS, mean, side="right")): (mean, true, n) for mean, true, n in entry["reliability"]
        }
        cells = [
            f"{by_bin[place][0]:.2f}: {_share(by_bin[place][1], by_bin[place][2])} of {by_bin[place][2]}"
            if place in by_bin
            else ""
            for place in range(1, len(BINS))
        ]
        print(f"| {name} | " + " | ".join(cells) + " |")


def _share(part: int, whole: int) -> str:
    """A share with its 95 % interval."""
    ends = wilson_interval(part, whole)
    return "" if ends.low is None else f"{part / whole:.2f} ({ends.low:.2f}-{ends.high:.2f})"


if __name__ == "__main__":
    main()
