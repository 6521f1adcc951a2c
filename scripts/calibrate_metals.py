"""Fit how spectrum and metal head together say whether a material is a metal, and judge it on other materials.

    OMP_NUM_THREADS=1 python -m scripts.calibrate_metals DATA [MODEL ...] [--spectra FOLDER]

Materials with a known PBE gap in `mp_structures.parquet`, at most 24 sites per cell, drawn at random: 900 of the formulas
that calibrated the metal head and that no model of spectra was trained on, and 900 of those that tested it, on which a few
forms of the features and the least sure class were compared too. Reserved ids and formulas take no part. The coefficients go to `screening/classify/metal_calibration.json`;
only the models named are replaced there. The graph models take two minutes on one core, tight binding some five each;
spectra that are kept in a folder are not predicted again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.primitive import CellSizes
from mat2spec.models.metal_head import METAL_GAP_EV, shipped_metal_head
from mat2spec.prediction import Predictor, load_predictor
from mat2spec.tables.columns import Column
from mat2spec.tight_binding.metal_head import shipped_site_metal_head
from screening.classify import metals
from screening.classify.gaps import classify_spectra
from screening.classify.metals import CALIBRATION_FILE, Voices, metal_features
from screening.settings import ClassifySettings, GapSettings
from scripts.train_metal_head import WIDE_GAP_EV, read_gaps

MODELS = ("mat2spec", "gatgnn", "e3nn", "sitedos", "tight-binding", "tight-binding-mp")
N_PER_PART, MAX_SITES, SEED = 900, 24, 2022
# Prior of no evidence on every coefficient, as of one material.
RIDGE = 1.0


def main() -> None:
    """Predict, fit, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--spectra", type=Path, help="folder in which predicted spectra are kept")
    given = parser.parse_args()
    rows, crystals = draw(*read_gaps(given.data))
    head = shipped_metal_head()
    by_composition = head.probability_of_metal(crystals)
    heads = {"metal_head": head.weights_hash, "site_metal_head": shipped_site_metal_head().weights_hash}
    for name in given.models:
        found = calibrate(name, rows, crystals, by_composition, given.spectra)
        print(name, json.dumps(found, indent=1), flush=True)
        store(name, found, heads)


def store(name: str, found: dict[str, Any], heads: dict[str, str]) -> None:
    """Put a model into the file, beside those that other processes put there; those of other heads leave it."""
    file = Path(metals.__file__).with_name(CALIBRATION_FILE)
    with FileLock(file.with_name(f".{file.name}.lock")):
        before = json.loads(file.read_text()) if file.exists() else {"models": {}}
        models = (before["models"] if heads.items() <= before.items() else {}) | {name: found}
        content = {**heads, "metal_gap_ev": METAL_GAP_EV, "models": dict(sorted(models.items()))}
        file.write_text(json.dumps(content, indent=2) + "\n")


def draw(rows: pd.DataFrame, crystals: Crystals) -> tuple[pd.DataFrame, Crystals]:
    """Random materials of the calibration and of the test formulas."""
    rng = np.random.default_rng(SEED)
    is_small = crystals.n_sites <= MAX_SITES
    parts = [np.flatnonzero((rows.split == part).to_numpy() & is_small) for part in ("valid", "test")]
    chosen = np.concatenate([np.sort(rng.permutation(part)[:N_PER_PART]) for part in parts])
    return rows.iloc[chosen].reset_index(drop=True), crystals.take(chosen)


def calibrate(
    model: str, rows: pd.DataFrame, crystals: Crystals, by_composition: NDArray[np.float64], folder: Path | None
) -> dict[str, Any]:
    """Coefficients of one model and how it does on the test formulas."""
    predictor = load_predictor(model)
    sizes = CellSizes.of_crystals(crystals)
    spectra, by_sites = predict(predictor, crystals, folder)
    prior = np.where(np.isfinite(by_sites), by_sites, by_composition)
    classes = classify_spectra(spectra, predictor.grid, None, sizes.n_sites, sizes.n_primitive)
    over = classes[Column.DOS_ABOVE_EFERMI].to_numpy(dtype=np.float64) / GapSettings().metal_dos_threshold
    gaps = np.nan_to_num(classes[Column.DOS_GAP_EV].to_numpy(dtype=np.float64))
    usable = classes[Column.IS_METAL].notna().to_numpy(dtype=np.bool_)
    features = metal_features(prior[usable], over[usable], gaps[usable])
    rows = rows[usable]
    is_metal, fitted = (rows.band_gap <= METAL_GAP_EV).to_numpy(), (rows.split == "valid").to_numpy()
    voices = fit(features[fitted], is_metal[fitted])
    joint = expit(features @ np.array(voices[:3]) + voices.intercept)
    return {
        "weights": predictor.weights_hash,
        "voices": {name: round(value, 4) for name, value in voices._asdict().items()},
        "test": judge(joint[~fitted], rows.band_gap[~fitted].to_numpy()),
        "test_metal_head_alone": judge(prior[usable][~fitted], rows.band_gap[~fitted].to_numpy()),
    }


def predict(
    predictor: Predictor, crystals: Crystals, folder: Path | None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Spectra of the drawn crystals and what the site metal head says where it speaks, from the folder if they are there."""
    file = None if folder is None else folder / f"{predictor.name}-{predictor.weights_hash}-{len(crystals)}.npz"
    if file is not None and file.exists():
        with np.load(file) as kept:
            return kept["spectra"], kept["by_sites"]
    prediction = predictor.predict(crystals)
    by_sites = prediction.prior_metal_probability
    by_sites = np.full(len(crystals), np.nan, dtype=np.float32) if by_sites is None else by_sites
    if file is not None:
        np.savez(file, spectra=prediction.spectra, by_sites=by_sites)
    return prediction.spectra, by_sites


def fit(features: NDArray[np.float64], is_metal: NDArray[np.bool_]) -> Voices:
    """Logistic regression whose coefficients have the sign that physics gives them."""
    sign = np.where(is_metal, 1.0, -1.0)

    def loss(parameters: NDArray[np.float64]) -> float:
        margin = sign * (features @ parameters[:3] + parameters[3])
        return float(np.logaddexp(0, -margin).sum() + RIDGE / 2 * (parameters[:3] ** 2).sum())

    found = minimize(
        loss, [1.0, 0.0, 0.0, 0.0], method="L-BFGS-B", bounds=[(0, None), (0, None), (None, 0), (None, None)]
    )
    return Voices(*(float(value) for value in found.x))


def judge(probability: NDArray[np.float64], gaps: NDArray[np.float64]) -> dict[str, float]:
    """Figures on the test formulas; 'sure' is what has an electronic class."""
    metal, wide = gaps <= METAL_GAP_EV, gaps > WIDE_GAP_EV
    called = probability >= 0.5
    sure = np.maximum(probability, 1 - probability) >= ClassifySettings().class_confidence_min
    figures = {
        "n": len(gaps),
        "roc_auc": roc_auc_score(metal, probability),
        "brier_score": np.mean((probability - metal) ** 2),
        "insulators_above_1_ev_called_metal": called[wide].mean(),
        "metals_called_non_metals": (~called)[metal].mean(),
        "unsure": 1 - sure.mean(),
        "wrong_where_sure": (called != metal)[sure].mean(),
        "insulators_above_1_ev_surely_called_metal": (called & sure)[wide].mean(),
    }
    return {name: round(float(value), 4) for name, value in figures.items()}


if __name__ == "__main__":
    main()
