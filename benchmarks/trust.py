"""Trust in predictions, per model: calibrate it on held-out labels, and say how well it holds.

    python -m benchmarks.trust DATA [--spectrum edos] [--models mat2spec sitedos] [--write]

Figures are cross-fitted: each material is judged by a calibration that has seen no label of its formula. Spoilt crystals are
made of the held-out ones. With --write the calibration on all of them is put beside the weights, and the figures into docs/trust.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from flows.stages.predictors import load_one
from mat2spec.benchmark.trust import (
    HeldOut,
    cross_fitted,
    fit_trust,
    held_out_edos,
    held_out_edos_of_plan,
    held_out_phdos,
    share_flagged,
    trust_figures,
)
from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.spoilt import WAYS_TO_SPOIL
from mat2spec.prediction import Predictor
from mat2spec.settings import FORCE_CONSTANTS_MODEL, MODELS_WITH_SPIN, SHIPPED_WEIGHTS_DIR, PredictionSettings
from mat2spec.spectra.trust import CrystalFacts, TrustCalibration, trust_file
from mat2spec.tables.status import Status
from scripts.pages import DOCS, put_row

MODELS = {
    "edos": ("tight-binding", "tight-binding-mp", "student", "sitedos", "mat2spec", "gatgnn", "e3nn"),
    "phdos": ("sitedos", "mat2spec", "gatgnn", "e3nn", FORCE_CONSTANTS_MODEL),
}
# Its force constants of crystals without symmetry take minutes each; what flags them, their implausibility, is the same for all.
NOT_SPOILT = (FORCE_CONSTANTS_MODEL,)
# Where the figures stand in docs/trust.md.
SECTIONS = {"edos": "### Electronic densities of states", "phdos": "### Phonons"}
PREFIXES = {"edos": "", "phdos": "phonons: "}
PAGE = DOCS / "trust.md"
# Spoilt crystals of each kind.
N_SPOILT = 200


def labels_of(data_dir: Path, model: str, spectrum: str) -> HeldOut:
    """What a model was not trained on."""
    if spectrum == "phdos":
        return held_out_phdos(data_dir, pretraining=model != "e3nn")
    return held_out_edos_of_plan(data_dir) if model in MODELS_WITH_SPIN else held_out_edos(data_dir)


def calibrate(predictor: Predictor, labels: HeldOut) -> tuple[TrustCalibration, dict[str, float]]:
    """Calibration on all labels, and cross-fitted figures."""
    predictor.trust = None
    prediction = predictor.predict(labels.crystals)
    rows = np.flatnonzero([status == Status.OK for status in prediction.status])
    prediction, labels = prediction.take(rows), labels.take(rows)
    facts = CrystalFacts.of(labels.crystals)
    return fit_trust(prediction, labels, facts), dict(trust_figures(cross_fitted(prediction, labels, facts), labels))


def flag_spoilt(predictor: Predictor, labels: HeldOut) -> dict[str, float]:
    """Share of each kind of spoilt crystals that is refused or flagged."""
    chosen = np.random.default_rng(0).permutation(len(labels))
    found = {}
    for name, spoil in WAYS_TO_SPOIL.items():
        crystals = _changed(spoil(labels.crystals.take(chosen), 2), labels.crystals)
        found[name] = share_flagged(predictor.predict(crystals.take(np.arange(min(N_SPOILT, len(crystals))))))
    return found


def _changed(spoilt: Crystals, given: Crystals) -> Crystals:
    """Those that are another crystal now: rock salt with its elements exchanged is rock salt."""
    before = dict(zip(given.material_ids, CrystalFacts.of(given).implausibility, strict=True))
    after = CrystalFacts.of(spoilt).implausibility
    same = [np.isclose(before[name], now) for name, now in zip(spoilt.material_ids, after, strict=True)]
    return spoilt.take(np.flatnonzero(~np.array(same)))


def row_of(model: str, figures: dict[str, float]) -> str:
    """Figures of a model as a row of a table."""
    cells = [f"{value:.0f}" if name == "n" else f"{value:.2f}" for name, value in figures.items()]
    return f"| {model} | " + " | ".join(cells) + " |"


def main() -> None:
    """Print a row of figures per model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--spectrum", choices=sorted(MODELS), default="edos")
    parser.add_argument("--models", nargs="*")
    parser.add_argument(
        "--write", action="store_true", help="put the calibrations beside the weights, the figures into docs/trust.md"
    )
    given = parser.parse_args()
    torch.set_num_threads(1)
    for index, model in enumerate(given.models or MODELS[given.spectrum]):
        predictor = load_one(model, PredictionSettings(device="cpu"), given.spectrum)
        labels = labels_of(given.data, model, given.spectrum)
        calibration, figures = calibrate(predictor, labels)
        if given.write:
            path = trust_file(SHIPPED_WEIGHTS_DIR, model, given.spectrum)
            path.write_text(calibration.model_dump_json(indent=1) + "\n")
        predictor.trust = calibration
        spoilt = {} if model in NOT_SPOILT else flag_spoilt(predictor, labels)
        if given.write:
            put_row(PAGE, SECTIONS[given.spectrum], row_of(model, figures))
            if spoilt:
                put_row(PAGE, "## Spoilt crystals", row_of(f"{PREFIXES[given.spectrum]}{model}", spoilt))
        if not index:
            print("| model | " + " | ".join([*figures, *(f"flagged: {name}" for name in spoilt)]) + " |")
            print("|---" * (len(figures) + len(spoilt) + 1) + "|")
        print(row_of(model, figures | spoilt), flush=True)


if __name__ == "__main__":
    main()
