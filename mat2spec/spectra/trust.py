"""How far a prediction can be trusted: expected error, intervals and one verdict, calibrated on labels of their own.

What a model says of its errors is learned on the labels that chose its weights, and it knows only crystals that are
crystals. Here that is corrected with held-out labels that no weights were chosen by (`mat2spec.benchmark.trust`): the expected
error by a ridge regression of its logarithm, the intervals by a factor and a floor, so that 90 % of them hold the computed value
both of all bins and of those where the computed density of states is above a tenth of its maximum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from pymatgen.core import Element
from scipy.ndimage import gaussian_filter1d

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.bonds import high_frequency_bonds
from mat2spec.crystals.checks import Examination, examine
from mat2spec.crystals.composition import ElementCounts, symbols
from mat2spec.crystals.elements import MAX_ATOMIC_NUMBER, atomic_masses, electronegativities
from mat2spec.crystals.plausibility import shipped_plausibility
from mat2spec.spectra.grids import EDOS_GRID, SpectralGrid
from mat2spec.spectra.prediction import Prediction
from mat2spec.tables.status import Status

# Elements with fewer training labels make a prediction a caution.
FEW_LABELS = 3

_TINY = 1e-12
_SMALLEST_DISTANCE = 0.05
_LARGEST_FEATURE = 3.0
# Standard deviation in bins of the smoothing that carries the width of a peak to the bins around it.
_SMOOTHING_BINS = 4.0
Floats = NDArray[np.float64]


class Trust(StrEnum):
    """The verdict on a prediction."""

    OK = "ok"
    CAUTION = "caution"
    OUTSIDE = "outside"


class TrustCalibration(BaseModel):
    """What held-out labels tell of the predictions of one model; a small file beside its weights."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(description="Name of the model.")
    spectrum: str = Field(description="Name of its spectral grid.")
    weights_hash: str = Field(description="The weights that it belongs to.")
    label_counts: dict[str, int] = Field(description="Training labels with each element.")
    feature_mean: list[float] = Field(description="Of `error_features`.")
    feature_std: list[float] = Field(description="Of `error_features`.")
    coefficients: list[float] = Field(description="Of the logarithm of true over stated error, per standard deviation.")
    intercept: float = Field(description="Of the same regression.")
    interval_factor: float = Field(description="On the stated standard deviation of a bin.")
    interval_floor: float = Field(
        description="Least standard deviation of a bin, in units of the predicted spectrum around it."
    )
    interval_tilt: float = Field(
        default=0.0,
        description="Power of the predicted spectrum over its maximum by which the floor rises where it is high.",
    )
    error_limit: float = Field(description="Expected relative error above which a prediction is a caution.")
    implausibility_limit: float = Field(
        default=1.0, description="Implausibility above which a prediction is a caution; from 1 on it is outside."
    )
    n_labels: int = Field(description="Held-out labels behind it.")


@dataclass(frozen=True)
class CrystalFacts:
    """What a verdict asks of crystals, whatever model predicts them.

    Parameters
    ----------
    crystals
        The crystals.
    implausibility
        As of `mat2spec.crystals.plausibility.Plausibility.implausibility`, shape (n,).
    examination
        Their problems and notes, where they are known.
    """

    crystals: Crystals
    implausibility: Floats
    examination: Examination | None = None

    @classmethod
    def of(cls, crystals: Crystals, examination: Examination | None = None) -> CrystalFacts:
        """Facts of crystals by the statistics that ship."""
        found = examination or examine(crystals)
        return cls(crystals, shipped_plausibility().implausibility(crystals, found.problems), found)

    def take(self, rows: Sequence[int] | NDArray[np.integer]) -> CrystalFacts:
        """Those at `rows`."""
        chosen = np.asarray(rows, dtype=np.int64)
        found = None if self.examination is None else self.examination.take(chosen)
        return CrystalFacts(self.crystals.take(chosen), self.implausibility[chosen], found)

    @property
    def problems(self) -> list[str | None] | None:
        """Why crystals cannot be used, or None for each that can; None where that is not known."""
        return None if self.examination is None else list(self.examination.problems)


def trust_file(folder: Path, model: str, spectrum: str) -> Path:
    """Where the calibration of a model lies beside its weights."""
    return folder / f"{model}-{spectrum}-trust.json"


def load_trust(folder: Path, model: str, spectrum: str, weights_hash: str) -> TrustCalibration | None:
    """The calibration of these weights; None if there is none, or it belongs to others."""
    path = trust_file(folder, model, spectrum)
    if not path.is_file():
        return None
    found = TrustCalibration.model_validate_json(path.read_text())
    return found if found.weights_hash == weights_hash else None


def judge(prediction: Prediction, calibration: TrustCalibration | None, facts: CrystalFacts) -> Prediction:
    """A prediction with calibrated errors and a verdict on each crystal.

    Parameters
    ----------
    prediction
        What a model gives, with its own errors.
    calibration
        Of its weights; without it errors stay what they are, and there is no verdict.
    facts
        Of the same crystals.
    """
    implausibility = np.asarray(facts.implausibility, dtype=np.float32)
    if calibration is None:
        return replace(prediction, implausibility=implausibility)
    ok = np.array([status == Status.OK for status in prediction.status], dtype=np.bool_)
    expected = np.full(len(prediction), np.nan)
    expected[ok] = expected_errors(prediction, calibration, facts)[ok]
    ok &= np.isfinite(expected)
    widths = calibration.interval_factor, calibration.interval_floor, calibration.interval_tilt
    uncertainty = calibrated_deviation(prediction, expected, *widths)
    unseen = unseen_elements(facts.crystals, calibration.label_counts)
    judged = replace(
        prediction,
        uncertainty=uncertainty.astype(np.float32),
        relative_error=expected.astype(np.float32),
        implausibility=implausibility,
        unseen_elements=[", ".join(names) for names in unseen],
    )
    verdicts = _verdicts(judged, calibration, facts, unseen)
    return replace(
        judged,
        trust=[verdict if good else None for (verdict, _), good in zip(verdicts, ok, strict=True)],
        trust_reason=[reason if good else "" for (_, reason), good in zip(verdicts, ok, strict=True)],
    )


def expected_errors(prediction: Prediction, calibration: TrustCalibration, facts: CrystalFacts) -> Floats:
    """Expected integral of the absolute error over that of the predicted spectrum, shape (n,)."""
    with np.errstate(invalid="ignore"):
        features = error_features(prediction, calibration.label_counts, facts)
    standard = standardise(features, np.array(calibration.feature_mean), np.array(calibration.feature_std))
    change = calibration.intercept + standard @ np.array(calibration.coefficients)
    return np.asarray(prediction.relative_error.astype(np.float64) * np.exp(change))


def standardise(features: Floats, mean: Floats, deviation: Floats) -> Floats:
    """`error_features` in standard deviations, as the regression sees them: bounded."""
    return ((features - mean) / deviation).clip(-_LARGEST_FEATURE, _LARGEST_FEATURE)


def calibrated_deviation(
    prediction: Prediction, expected: Floats, factor: float, floor: float, tilt: float = 0.0
) -> Floats:
    """Standard deviation of each bin for these expected errors, shape (n, size); of which `INTERVAL_90` hold 90 %."""
    own = prediction.uncertainty.astype(np.float64) * (expected / prediction.relative_error)[:, None]
    around = gaussian_filter1d(prediction.spectra.astype(np.float64), _SMOOTHING_BINS, axis=1, mode="nearest")
    height = around / np.maximum(around.max(axis=1, keepdims=True), _TINY)
    return np.asarray(np.hypot(factor * own, floor * height**tilt * around))


def error_features(prediction: Prediction, label_counts: Mapping[str, int], facts: CrystalFacts) -> Floats:
    """What the error of a spectrum may follow, shape (n, 18); none depends on the choice of the cell.

    Stated error and distance; peakedness, entropy, centre and width of the spectrum; its integral per atom; how many
    labels have the elements, on average and the rarest; shares of d and f elements and of hydrogen; mean and range of
    the electronegativity; volume per atom, mean and least mass; how unlike real crystals it is.
    """
    crystals, n = facts.crystals, len(prediction)
    spectra = prediction.spectra.astype(np.float64)
    shapes = spectra / np.maximum(spectra.sum(axis=1, keepdims=True), _TINY)
    place = np.arange(shapes.shape[1]) / shapes.shape[1]
    centre = shapes @ place
    sites = _Sites(crystals)
    support = np.log1p(_counts(label_counts))
    electronegativity = electronegativities()
    mass = np.maximum(atomic_masses().astype(np.float64), 1.0)
    n_sites = np.maximum(crystals.n_sites, 1)
    is_hydrogen = np.arange(MAX_ATOMIC_NUMBER + 1) == 1
    columns = [
        np.log(np.maximum(prediction.relative_error, _TINY)),
        np.log(np.maximum(prediction.domain_distance, _SMALLEST_DISTANCE)),
        np.log(np.maximum((shapes**2).sum(axis=1), _TINY)),
        -(shapes * np.log(np.maximum(shapes, _TINY))).sum(axis=1),
        centre,
        np.sqrt(np.maximum(shapes @ place**2 - centre**2, 0)),
        np.log(np.maximum(spectra.sum(axis=1), _TINY) / n_sites),
        sites.mean(support),
        sites.least(support),
        sites.mean(_block("d")),
        sites.mean(_block("f")),
        sites.mean(is_hydrogen.astype(np.float64)),
        sites.mean(electronegativity),
        sites.largest(electronegativity) - sites.least(electronegativity),
        np.log(np.maximum(crystals.volumes, _TINY) / n_sites),
        np.log(np.maximum(sites.mean(mass), 1.0)),
        np.log(np.maximum(sites.least(mass), 1.0)),
        np.log(np.maximum(facts.implausibility, _TINY)),
    ]
    return np.stack([np.asarray(column, dtype=np.float64).reshape(n) for column in columns], axis=1)


class _Sites:
    """Means and extremes over the sites of each crystal of a number that each element has."""

    def __init__(self, crystals: Crystals) -> None:
        self.n = len(crystals)
        self.n_sites = np.maximum(crystals.n_sites, 1)
        self.crystal = np.repeat(np.arange(self.n), crystals.n_sites)
        known = (crystals.atomic_numbers >= 0) & (crystals.atomic_numbers <= MAX_ATOMIC_NUMBER)
        self.numbers = np.where(known, crystals.atomic_numbers, 0)

    def mean(self, of_element: Floats) -> Floats:
        return np.asarray(np.bincount(self.crystal, of_element[self.numbers], self.n) / self.n_sites)

    def least(self, of_element: Floats) -> Floats:
        return -self.largest(-of_element)

    def largest(self, of_element: Floats) -> Floats:
        found = np.full(self.n, -np.inf)
        np.maximum.at(found, self.crystal, of_element[self.numbers])
        return found


def _counts(label_counts: Mapping[str, int]) -> Floats:
    return np.array([label_counts.get(name, 0) for name in symbols()[: MAX_ATOMIC_NUMBER + 1]], dtype=np.float64)


@lru_cache(maxsize=2)
def _block(name: str) -> Floats:
    """One for the elements of a block, shape (MAX_ATOMIC_NUMBER + 1,)."""
    return np.array([0.0, *(float(Element.from_Z(z).block == name) for z in range(1, MAX_ATOMIC_NUMBER + 1))])


def unseen_elements(crystals: Crystals, label_counts: Mapping[str, int]) -> list[list[str]]:
    """Elements of each crystal that no training label has, in order of their atomic numbers."""
    present = ElementCounts.from_crystals(crystals).elements()
    return [[name for name in names if not label_counts.get(name)] for names in present]


def _rare_elements(crystals: Crystals, label_counts: Mapping[str, int]) -> list[list[str]]:
    """Elements of each crystal that few training labels have, in order of their atomic numbers."""
    present = ElementCounts.from_crystals(crystals).elements()
    return [[name for name in names if 0 < label_counts.get(name, 0) < FEW_LABELS] for names in present]


def _verdicts(
    judged: Prediction, calibration: TrustCalibration, facts: CrystalFacts, unseen: Sequence[Sequence[str]]
) -> list[tuple[Trust, str]]:
    """Verdict and reason of every crystal; the first reason of the worst verdict."""
    bonds = [""] * len(judged) if judged.grid == EDOS_GRID else high_frequency_bonds(facts.crystals)
    rarest = _rare_elements(facts.crystals, calibration.label_counts)
    return [
        _verdict(names, rare, float(odd), float(far), float(error), calibration, bond, judged.grid)
        for names, rare, odd, far, error, bond in zip(
            unseen,
            rarest,
            facts.implausibility,
            judged.domain_distance,
            judged.relative_error,
            bonds,
            strict=True,
        )
    ]


def _verdict(
    unseen: Sequence[str],
    rare: Sequence[str],
    implausibility: float,
    distance: float,
    error: float,
    calibration: TrustCalibration,
    bonds: str,
    grid: SpectralGrid,
) -> tuple[Trust, str]:
    limit = calibration.error_limit
    checks = (
        (bool(unseen), Trust.OUTSIDE, f"no training label has {' or '.join(unseen)}"),
        (
            implausibility > 1,
            Trust.OUTSIDE,
            "its bond lengths, volume, elements or their arrangement are unlike those of real crystals",
        ),
        (distance > 1, Trust.OUTSIDE, f"unlike the training crystals (domain distance {distance:.2f})"),
        (error > limit, Trust.CAUTION, f"expected error {error:.0%} of the spectrum, above {limit:.0%}"),
        (
            implausibility > calibration.implausibility_limit,
            Trust.CAUTION,
            f"its bonds, volume and elements are less usual than those of most labels (implausibility {implausibility:.2f})",
        ),
        (bool(bonds), Trust.CAUTION, f"modes above {grid.last_center:,.0f} cm-1 are likely ({bonds})"),
        (bool(rare), Trust.CAUTION, f"fewer than {FEW_LABELS} training labels have {' or '.join(rare)}"),
    )
    return next(((verdict, reason) for holds, verdict, reason in checks if holds), (Trust.OK, ""))
