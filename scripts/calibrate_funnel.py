"""Choose the cut of a funnel: from which score of the fast model on the accurate one predicts.

    OMP_NUM_THREADS=1 python -m scripts.calibrate_funnel DATA --work FOLDER [--accurate MODEL]

Crystals of `mp_structures.parquet` that pass the default filters of a screen, of formulas that neither model was trained
on (the test tenths of `mat2spec.labels.splits`); reserved ids and formulas take no part. The fast model predicts
`N_FAST` of them, the accurate one those that the fast one gives any confidence as gapped metals and some 40 % of the
others, which count more. A logistic regression on `screening.choose.funnel.score_features` gives the score; the cut is
the highest that keeps 98 % of the accurate model's gapped metals, of scores by fits that left the material out. Predictions
stay in the folder, so a stopped calibration resumes. 5 CPU minutes for tight binding.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.primitive import CellSizes
from mat2spec.labels.reserved import RESERVED_FILE, STRUCTURES_FILE, reserved_formulas
from mat2spec.labels.splits import tenth_of_formula
from mat2spec.prediction import load_predictor, predict_with_models
from mat2spec.settings import EDOS_MODELS, SHIPPED_WEIGHTS_DIR
from mat2spec.spectra.grids import EDOS_GRID
from mat2spec.spectra.prediction import predictions_table
from mat2spec.tables.columns import Column
from mat2spec.tables.parquet import is_true, matrix_column, read_table, write_table
from screening.choose.filters import filter_candidates
from screening.choose.funnel import CUT_FILE, Cut, score_features
from screening.classify.gaps import classify_spectra
from screening.classify.metals import MetalEvidence
from screening.evaluate.confusion import wilson_interval
from screening.settings import FilterSettings, GapSettings, SourceKind, SourceSettings
from screening.sources.opening import open_source

TEST_TENTHS = (0, 2)
N_FAST, CHUNK, SEED, SEED_OF_CHOICE = 8000, 400, 2022, 1
TARGET_RECALL = 0.98
SHARES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7)


def draw(data: Path) -> tuple[pd.DataFrame, Crystals]:
    """Random candidates of formulas that no model was trained on, and their crystals."""
    source = open_source(SourceSettings(kind=SourceKind.PARQUET, path=data / STRUCTURES_FILE))
    candidates, _ = filter_candidates(source.properties(), FilterSettings(), set())
    reserved_ids, reserved = set((data / RESERVED_FILE).read_text().split()), reserved_formulas(data)
    allowed = [
        formula not in reserved and name not in reserved_ids and tenth_of_formula(formula) in TEST_TENTHS
        for formula, name in zip(candidates[Column.FORMULA], candidates[Column.MATERIAL_ID], strict=True)
    ]
    rows = candidates[allowed].sample(N_FAST, random_state=SEED).reset_index(drop=True)
    return rows, source.crystals(rows[Column.MATERIAL_ID].tolist())


def predicted(model: str, crystals: Crystals, folder: Path) -> pa.Table:
    """The table of predictions of a model, chunk by chunk; those in the folder, of these weights and crystals, are not made again."""
    predictor = load_predictor(model)
    parts = []
    for start in range(0, len(crystals), CHUNK):
        rows = np.arange(start, min(start + CHUNK, len(crystals)))
        content = "\n".join([predictor.weights_hash, *crystals.material_ids[rows]])
        path = folder / f"{model}-{start:06d}-{hashlib.sha256(content.encode()).hexdigest()[:12]}.parquet"
        if not path.exists():
            (prediction,) = predict_with_models([predictor], crystals.take(rows))
            write_table(path, predictions_table(prediction))
            print(path.name, flush=True)
        parts.append(read_table(path))
    return pa.concat_tables(parts)


class Calibration(NamedTuple):
    """What is known of the materials that the accurate model predicted.

    Parameters
    ----------
    features
        Of the fast model, shape (n, 4); finite.
    is_hit
        Whether the accurate model calls it a gapped metal, shape (n,).
    weights
        How many of the drawn materials each stands for, shape (n,).
    """

    features: NDArray[np.float64]
    is_hit: NDArray[np.bool_]
    weights: NDArray[np.float64]


def choose_for_accurate(confidence: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Rows in random order, and how many each stands for.

    A quarter of all in the order of the fast model's confidence, ties at random, and a random quarter of the others: since far
    fewer have any confidence, all of these and a random sample of those with none.
    """
    rng = np.random.default_rng(SEED_OF_CHOICE)
    order = np.argsort(-(confidence + 1e-9 * rng.random(len(confidence))), kind="stable")
    upper, rest = order[: len(order) // 4], order[len(order) // 4 :]
    chosen = rng.permutation(np.concatenate([upper, rng.permutation(rest)[: len(rest) // 4]]))
    is_any = confidence > 0
    weights = np.where(is_any[chosen], 1.0, (~is_any).sum() / (~is_any[chosen]).sum())
    return chosen, weights


def compare(rows: pd.DataFrame, crystals: Crystals, fast: str, accurate: str, folder: Path) -> Calibration:
    """Predict with both models."""
    sizes = CellSizes.of_crystals(crystals)
    scan = predicted(fast, crystals, folder)
    spectra = matrix_column(scan, Column.EDOS, EDOS_GRID.size)
    features = score_features(spectra, scan[Column.RELATIVE_ERROR].to_numpy(), sizes, GapSettings())
    said = classes_of(scan, fast, rows, sizes)
    # The calibrated probability is never zero; this product mostly is.
    confidence = said[Column.GAP_CONFIDENCE] * said[Column.METAL_CONFIDENCE]
    chosen, weights = choose_for_accurate(confidence.to_numpy(dtype=np.float64, na_value=-1.0))
    answers = predicted(accurate, crystals.take(chosen), folder)
    few = CellSizes(sizes.n_sites[chosen], sizes.n_primitive[chosen], sizes.volumes[chosen])
    classes = classes_of(answers, accurate, rows.iloc[chosen], few)
    usable = np.isfinite(features[chosen]).all(axis=1)
    is_hit = is_true(classes[Column.IS_GAPPED_METAL])
    return Calibration(features[chosen][usable], is_hit[usable], weights[usable])


def classes_of(predictions: pa.Table, model: str, rows: pd.DataFrame, sizes: CellSizes) -> pd.DataFrame:
    """Classes of predicted spectra as in a screen."""
    evidence = MetalEvidence(
        np.full(len(rows), model, dtype=object),
        predictions[Column.PRIOR_METAL_PROBABILITY].to_numpy().astype(np.float64),
        rows[Column.BAND_GAP].to_numpy(dtype=np.float64, na_value=np.nan),
    )
    spectra = matrix_column(predictions, Column.EDOS, EDOS_GRID.size)
    return classify_spectra(spectra, n_sites=sizes.n_sites, n_primitive=sizes.n_primitive, evidence=evidence)


def fit(data: Calibration) -> tuple[NDArray[np.float64], float, NDArray[np.float64]]:
    """Coefficients, intercept, and the score of each material by a fit without its fold, shape (n,)."""
    model = LogisticRegression(C=10.0)
    weights = {"sample_weight": data.weights}
    scores = cross_val_predict(model, data.features, data.is_hit, cv=5, method="decision_function", params=weights)
    model.fit(data.features, data.is_hit, **weights)
    return model.coef_[0], float(model.intercept_[0]), scores


def find_cut(data: Calibration, scores: NDArray[np.float64]) -> dict[str, Any]:
    """The highest cut that keeps the target share of hits, and what it keeps."""
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum((data.weights * data.is_hit)[order]) / (data.weights * data.is_hit).sum()
    read = np.cumsum(data.weights[order]) / data.weights.sum()
    last = int(np.searchsorted(hits, TARGET_RECALL))
    kept = int(data.is_hit[order[: last + 1]].sum())
    interval = wilson_interval(kept, int(data.is_hit.sum()))
    return {
        "cut": round(float(scores[order[last]]), 4),
        "recall": round(float(hits[last]), 4),
        "recall_low": round(float(interval.low or 0), 4),
        "recall_high": round(float(interval.high or 1), 4),
        "pass_fraction": round(float(read[last]), 4),
        "n_accurate": len(scores),
        "n_positives": int(data.is_hit.sum()),
        "recall_of_highest": {str(share): round(float(np.interp(share, read, hits)), 3) for share in SHARES},
    }


def main() -> None:
    """Predict, fit, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="folder in which predictions are kept")
    parser.add_argument("--fast", default="student")
    parser.add_argument("--accurate", default=EDOS_MODELS[0])
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    rows, crystals = draw(given.data)
    data = compare(rows, crystals, given.fast, given.accurate, given.work)
    coefficients, intercept, scores = fit(data)
    cut = Cut(
        fast_weights=load_predictor(given.fast).weights_hash,
        accurate_weights=load_predictor(given.accurate).weights_hash,
        coefficients=tuple(round(float(value), 4) for value in coefficients),
        intercept=round(intercept, 4),
        n_fast=len(rows),
        **find_cut(data, scores),
    )
    path = SHIPPED_WEIGHTS_DIR / CUT_FILE.format(fast=given.fast)
    known = json.loads(path.read_text()) if path.exists() else {}
    known[given.accurate] = cut.model_dump(mode="json")
    path.write_text(json.dumps(known, indent=2) + "\n")
    print(json.dumps(known[given.accurate], indent=2))


if __name__ == "__main__":
    main()
