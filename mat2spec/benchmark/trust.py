"""Calibration of trust on held-out labels, and how well it holds: each material judged without labels of its formula.

The labels are those that no weights were trained or chosen by: test materials, the natural crystals and, for models of
unpolarised labels, those labels of the plan whose formula was not trained on.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.composition import ElementCounts, reduced_formulas, symbols
from mat2spec.crystals.magnetism import can_be_magnetic
from mat2spec.graphs.settings import GraphSettings
from mat2spec.labels.edos_store import read_edos_store
from mat2spec.labels.joining import with_crystals
from mat2spec.labels.labelled import LabelledSpectra, stack_column
from mat2spec.labels.levels import rows_at_level
from mat2spec.labels.readers.data_folder import EDOS_NATURAL_FILE, load_edos, load_phdos
from mat2spec.labels.reserved import STRUCTURES_FILE
from mat2spec.labels.splits import STORE_TEST, Split, tenth_of_formula
from mat2spec.settings import SHIPPED_SHARDS, Level
from mat2spec.spectra.grids import EDOS_GRID
from mat2spec.spectra.prediction import Prediction
from mat2spec.spectra.trust import (
    CrystalFacts,
    Floats,
    Trust,
    TrustCalibration,
    calibrated_deviation,
    error_features,
    expected_errors,
    judge,
    standardise,
)
from mat2spec.spectra.uncertainty import INTERVAL_90
from mat2spec.tables.parquet import read_table
from mat2spec.tables.status import Status

# Of the ridge regression, in labels: keeps the expected error near the one that the model states.
RIDGE = 30.0
N_FOLDS = 5
# Share of the calibration materials that is flagged, less than the quarter that may be, and the share of the least plausible ones
# that is flagged in any case: no error was ever computed for impossible crystals.
FLAGGED, IMPLAUSIBLE = 0.22, 0.09
# Bins with more than this share of the largest count as part of a spectrum.
HIGH = 0.1
WANTED = 0.9
_NO_LIMIT = 1e9
_FACTORS = np.geomspace(0.2, 2.5, 10)
_FLOORS = tuple(np.linspace(0, 6, 31).tolist())
# More of the floor where the spectrum is high: there the errors are, and bins without states are held by any interval.
_TILTS = (0.0, 0.5, 1.0)


@dataclass(frozen=True)
class HeldOut:
    """Labels that a model was neither trained nor chosen by.

    Parameters
    ----------
    crystals, formulas
        The crystals, n of them.
    spectra
        Computed spectra per cell, shape (n, size).
    label_counts
        Training labels with each element.
    """

    crystals: Crystals
    formulas: NDArray[np.object_]
    spectra: Floats
    label_counts: dict[str, int]

    def __len__(self) -> int:
        return len(self.crystals)

    def take(self, rows: NDArray[np.integer]) -> HeldOut:
        """The materials at `rows`."""
        return replace(
            self, crystals=self.crystals.take(rows), formulas=self.formulas[rows], spectra=self.spectra[rows]
        )


def held_out_edos(data_dir: Path) -> HeldOut:
    """Unpolarised electronic densities of states: tests of old, natural crystals and labels of the plan."""
    data = load_edos(data_dir, GraphSettings())
    trained = set(data.formulas[np.isin(data.split, [Split.TRAIN, Split.VALID])])
    natural = read_table(data_dir / EDOS_NATURAL_FILE)
    plan, _ = with_crystals(read_edos_store(SHIPPED_SHARDS), data_dir / STRUCTURES_FILE)
    plan = plan.filter(rows_at_level(plan, Level.UNPOLARISED))
    parts = [_labels(data, np.isin(data.split, [Split.TEST, STORE_TEST]))]
    for table in (natural, plan):
        crystals = Crystals.from_arrow(table)
        # Labels of a database count states per primitive cell.
        size = table["nsites"].to_numpy() if "nsites" in table.column_names else crystals.n_sites
        parts.append((crystals, stack_column(table, "edos", EDOS_GRID) * (crystals.n_sites / size)[:, None]))
    crystals = Crystals.concatenate([part for part, _ in parts])
    spectra, formulas = np.concatenate([part for _, part in parts]), reduced_formulas(crystals)
    new = np.flatnonzero(~np.isin(formulas, list(trained)) & _first(crystals.material_ids))
    return HeldOut(crystals.take(new), formulas[new], spectra[new], count_labels(data.part(Split.TRAIN).crystals))


def held_out_edos_of_plan(data_dir: Path) -> HeldOut:
    """Electronic densities of states at the level of the Materials Project: all test and calibration materials."""
    data = load_edos(data_dir, GraphSettings(), level=Level.MP)
    old = np.isin(data.split, [Split.TEST, STORE_TEST])
    assert data.crystals is not None
    magnetic = np.array([can_be_magnetic(data.crystals.cell(index).atomic_numbers) for index in range(len(data))])
    crystals, spectra = _labels(data, ~np.isin(data.split, [Split.TRAIN, Split.VALID]) & ~(old & magnetic))
    also = load_edos(data_dir, GraphSettings()).part(Split.TRAIN).crystals
    known = data.part(Split.TRAIN).crystals
    assert known is not None
    assert also is not None
    train = Crystals.concatenate([known, also])
    return HeldOut(
        crystals,
        reduced_formulas(crystals),
        spectra,
        count_labels(train.take(np.flatnonzero(_first(train.material_ids)))),
    )


def held_out_phdos(data_dir: Path, *, pretraining: bool = True) -> HeldOut:
    """Phonons: the published test materials; with what training labels depends on the model."""
    data = load_phdos(data_dir, GraphSettings(), pretraining)
    test = data.split == Split.TEST
    crystals, spectra = _labels(data, test)
    return HeldOut(crystals, data.formulas[test], spectra, count_labels(data.part(Split.TRAIN).crystals))


def _labels(data: LabelledSpectra, chosen: NDArray[np.bool_]) -> tuple[Crystals, Floats]:
    assert data.crystals is not None
    crystals = data.crystals.take(np.flatnonzero(chosen))
    return crystals, data.spectra[chosen].astype(np.float64) * crystals.n_sites[:, None]


def _first(names: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Whether each is the first of its name."""
    found = np.zeros(len(names), dtype=np.bool_)
    found[np.unique(names.astype(str), return_index=True)[1]] = True
    return found


def count_labels(crystals: Crystals | None) -> dict[str, int]:
    """How many crystals have each element."""
    assert crystals is not None
    numbers, counts = np.unique(ElementCounts.from_crystals(crystals).atomic_number, return_counts=True)
    return {symbols()[number]: n for number, n in zip(numbers.tolist(), counts.tolist(), strict=True)}


def true_errors(prediction: Prediction, spectra: Floats) -> Floats:
    """Integral of the absolute error over that of the predicted spectrum, shape (n,)."""
    predicted = prediction.spectra.astype(np.float64)
    return np.asarray(np.abs(predicted - spectra).sum(axis=1) / predicted.sum(axis=1))


def fit_trust(prediction: Prediction, labels: HeldOut, facts: CrystalFacts) -> TrustCalibration:
    """Calibrate what a model says of its errors.

    Parameters
    ----------
    prediction
        The model's predictions of the labelled crystals, with its own errors, none of them failed.
    labels
        The computed spectra.
    facts
        Of the crystals.
    """
    features = error_features(prediction, labels.label_counts, facts)
    errors = true_errors(prediction, labels.spectra)
    change = np.log(errors / prediction.relative_error)
    mean, deviation = features.mean(axis=0), features.std(axis=0) + 1e-6
    standard = standardise(features, mean, deviation)
    slopes = np.linalg.solve(
        standard.T @ standard + RIDGE * np.eye(standard.shape[1]), standard.T @ (change - change.mean())
    )
    # The mean error is met exactly.
    unscaled = prediction.relative_error * np.exp(standard @ slopes)
    calibration = TrustCalibration(
        model=prediction.model,
        spectrum=prediction.grid.name,
        weights_hash=prediction.weights_hash,
        label_counts=labels.label_counts,
        feature_mean=mean.tolist(),
        feature_std=deviation.tolist(),
        coefficients=slopes.tolist(),
        intercept=float(np.log(errors.mean() / unscaled.mean())),
        interval_factor=1.0,
        interval_floor=0.0,
        error_limit=_NO_LIMIT,
        implausibility_limit=round(min(1.0, float(np.nanquantile(facts.implausibility, 1 - IMPLAUSIBLE))), 3),
        n_labels=len(labels),
    )
    expected = expected_errors(prediction, calibration, facts)
    factor, floor, tilt = _fit_intervals(prediction, expected, labels.spectra)
    judged = judge(prediction, calibration, facts)
    beyond = np.array([verdict != Trust.OK for verdict in judged.trust], dtype=np.bool_)
    share = np.clip((FLAGGED - beyond.mean()) / max(1 - beyond.mean(), 1e-9), 0.02, 1.0)
    limit = float(np.quantile(expected[~beyond], 1 - share)) if (~beyond).any() else 1.0
    return calibration.model_copy(
        update={
            "interval_factor": factor,
            "interval_floor": floor,
            "interval_tilt": tilt,
            "error_limit": round(limit, 3),
        }
    )


def _fit_intervals(prediction: Prediction, expected: Floats, true: Floats) -> tuple[float, float, float]:
    """Factor, floor and its tilt with which 90 % of all bins and of the high ones are held, as nearly as both can be."""
    best = (np.inf, 0.0, 1.0, 0.0)
    own = calibrated_deviation(prediction, expected, 1.0, 0.0)
    for tilt in _TILTS:
        around = calibrated_deviation(prediction, expected, 0.0, 1.0, tilt)
        for factor, floor in itertools.product(_FACTORS.tolist(), _FLOORS):
            whole, high = _coverage(prediction.spectra, np.hypot(factor * own, floor * around), true)
            worst = max(abs(whole - WANTED), abs(high - WANTED))
            best = min(best, (worst, tilt, factor, floor))
    _, tilt, factor, floor = best
    return round(factor, 4), round(floor, 4), tilt


def _coverage(predicted: NDArray[np.floating], deviation: NDArray[np.floating], true: Floats) -> tuple[float, float]:
    """Share of all bins, and of those with a high computed DOS, within 90 % intervals."""
    inside = np.abs(predicted - true) <= INTERVAL_90 * deviation
    high = true > HIGH * true.max(axis=1, keepdims=True)
    return float(inside.mean()), float(inside[high].mean())


def cross_fitted(prediction: Prediction, labels: HeldOut, facts: CrystalFacts) -> Prediction:
    """The prediction judged by calibrations on five folds of formulas, each row by the one without its formula."""
    fold = np.array([tenth_of_formula(str(formula), seed=3) % N_FOLDS for formula in labels.formulas])
    parts: list[tuple[NDArray[np.int64], Prediction]] = []
    for one in range(N_FOLDS):
        rows, others = np.flatnonzero(fold == one), np.flatnonzero(fold != one)
        fitted = fit_trust(prediction.take(others), labels.take(others), facts.take(others))
        parts.append((rows, judge(prediction.take(rows), fitted, facts.take(rows))))
    order = np.argsort(np.concatenate([rows for rows, _ in parts]))
    return _joined([part for _, part in parts]).take(order)


def _joined(parts: list[Prediction]) -> Prediction:
    joined: dict[str, object] = {}
    for name in parts[0].__dataclass_fields__:
        values = [getattr(part, name) for part in parts]
        if isinstance(values[0], np.ndarray):
            joined[name] = np.concatenate(values)
        elif isinstance(values[0], list):
            joined[name] = [value for part in values for value in part]
    return replace(parts[0], **joined, crystals=None)  # type: ignore[arg-type]


def trust_figures(judged: Prediction, labels: HeldOut) -> Mapping[str, float]:
    """How well errors, intervals and verdicts hold on materials that they were not calibrated on."""
    errors = true_errors(judged, labels.spectra)
    flagged = np.array([verdict != Trust.OK for verdict in judged.trust], dtype=np.bool_)
    outside = np.array([verdict == Trust.OUTSIDE for verdict in judged.trust], dtype=np.bool_)
    worst = errors >= np.quantile(errors, 0.9)
    whole, high = _coverage(judged.spectra, judged.uncertainty, labels.spectra)
    return {
        "n": len(labels),
        "error": float(errors.mean()),
        "rank correlation": float(spearmanr(errors, judged.relative_error).statistic),
        "flagged": float(flagged.mean()),
        "outside": float(outside.mean()),
        "worst decile flagged": float(flagged[worst].mean()),
        "error if ok": float(errors[~flagged].mean()),
        "error if flagged": float(errors[flagged].mean()),
        "in 90 % interval": whole,
        "where DOS is high": high,
    }


def share_flagged(judged: Prediction) -> float:
    """Share of crystals that are refused or not called ok."""
    pairs = zip(judged.status, judged.trust or [Trust.OK] * len(judged), strict=True)
    return float(np.mean([status != Status.OK or verdict != Trust.OK for status, verdict in pairs]))
