"""Metal or not: what a spectrum, the metal head and a known band gap say together.

A predicted spectrum is smooth: it rarely shows that there are no states above E_F. The metal head
(`mat2spec.models.metal_head`) knows thousands of band gaps and no spectrum. Both enter a logistic regression whose
coefficients, one set for each model of spectra, are fitted to held-out materials by `scripts/calibrate_metals.py`. A band
gap that the source knows overrides both.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from importlib.resources import files
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit, logit

from mat2spec.settings import LARGEST_METAL_GAP_EV
from mat2spec.spectra.prediction import Prediction
from mat2spec.tables.columns import Column

CALIBRATION_FILE = "metal_calibration.json"
# Evidence beyond these limits is so rare in calibration data that it must not count for more.
_LARGEST_LOGIT, _LARGEST_LOG_RATIO, _LARGEST_ROOT_OF_GAP = 8.0, 2.0, 2.0


class DecidedBy(StrEnum):
    """What decides whether a material is a metal."""

    BAND_GAP = "band gap of the source"
    BOTH = "spectrum and metal head"
    SPECTRUM = "spectrum"


class Voices(NamedTuple):
    """Coefficients of a logistic regression for a metal.

    Parameters
    ----------
    prior
        Of the logit of the metal head's probability.
    dos
        Of the decimal logarithm of the lowest DOS above E_F over the threshold of a metal.
    gap
        Of the square root of the gap of the spectrum in eV; not positive.
    intercept
        Constant.
    """

    prior: float
    dos: float
    gap: float
    intercept: float


# Of a model that was not calibrated: about those of tight binding, whose spectra have gaps.
UNCALIBRATED = Voices(1.0, 0.1, -1.0, 0.5)


@lru_cache(maxsize=1)
def voices_of_models() -> dict[str, Voices]:
    """Calibrated coefficients by name of the model."""
    text = files(__package__).joinpath(CALIBRATION_FILE).read_text(encoding="utf-8")
    return {model: Voices(**entry["voices"]) for model, entry in json.loads(text)["models"].items()}


@dataclass(frozen=True)
class MetalEvidence:
    """What is known of materials beside their spectra, row by row.

    Parameters
    ----------
    models
        Which model predicted the spectrum, shape (n,).
    prior
        Probability of a metal by the metal head, shape (n,); NaN where unknown, as in tables of older runs.
    band_gaps_ev
        Band gap that the source knows, shape (n,); NaN where it knows none.
    """

    models: NDArray[np.object_]
    prior: NDArray[np.float64]
    band_gaps_ev: NDArray[np.float64]

    @classmethod
    def of_prediction(cls, prediction: Prediction) -> MetalEvidence:
        """What stands beside the spectra of a prediction; band gaps are not known."""
        n, prior = len(prediction), prediction.prior_metal_probability
        unknown = np.full(n, np.nan)
        return cls(
            np.array(prediction.speakers, dtype=object),
            unknown if prior is None else np.asarray(prior, dtype=np.float64),
            unknown,
        )

    @classmethod
    def of_rows(cls, predictions: pd.DataFrame, band_gaps_ev: NDArray[np.float64]) -> MetalEvidence:
        """What stands beside rows of a table of predictions, and the band gaps of their materials.

        `predicted_by` and `prior_metal_probability` may be missing, as in older runs.
        """
        models, unknown = predictions[Column.MODEL], pd.Series(np.nan, index=predictions.index)
        speakers = predictions.get(Column.PREDICTED_BY, models).fillna(models)
        prior = predictions.get(Column.PRIOR_METAL_PROBABILITY, unknown).to_numpy(na_value=np.nan)
        return cls(speakers.to_numpy(dtype=object), np.asarray(prior, dtype=np.float64), band_gaps_ev)

    def take(self, rows: slice | NDArray[np.integer]) -> MetalEvidence:
        """That of some rows."""
        return MetalEvidence(self.models[rows], self.prior[rows], self.band_gaps_ev[rows])


class MetalVerdict(NamedTuple):
    """Whether materials are metals, row by row.

    Parameters
    ----------
    is_metal
        Shape (n,).
    probability
        Of a metal, shape (n,).
    decided_by
        `DecidedBy` as text, shape (n,).
    """

    is_metal: NDArray[np.bool_]
    probability: NDArray[np.float64]
    decided_by: NDArray[np.object_]


def metal_features(
    prior: NDArray[np.float64], dos_over_threshold: NDArray[np.float64], gaps_ev: NDArray[np.float64]
) -> NDArray[np.float64]:
    """What the regression sees, in the order of `Voices`, shape (n, 3).

    Parameters
    ----------
    prior
        Probability by the metal head, shape (n,).
    dos_over_threshold
        Lowest DOS of any stretch just above E_F over the threshold of a metal, shape (n,).
    gaps_ev
        Width of the empty run above the VBM, zero for a spectrum of a metal, shape (n,).
    """
    with np.errstate(divide="ignore"):
        columns = (logit(prior), np.log10(np.maximum(dos_over_threshold, 0.0)), np.sqrt(gaps_ev))
    limits = (_LARGEST_LOGIT, _LARGEST_LOG_RATIO, _LARGEST_ROOT_OF_GAP)
    return np.stack([np.clip(values, -limit, limit) for values, limit in zip(columns, limits, strict=True)], axis=1)


def judge_metals(
    by_spectrum: NDArray[np.bool_],
    share: NDArray[np.float64],
    dos_over_threshold: NDArray[np.float64],
    gaps_ev: NDArray[np.float64],
    evidence: MetalEvidence | None,
) -> MetalVerdict:
    """Decide which materials are metals.

    Parameters
    ----------
    by_spectrum
        Whether the spectrum is that of a metal, shape (n,).
    share
        Share of thresholds at which it is, shape (n,).
    dos_over_threshold, gaps_ev
        As `metal_features` takes them.
    evidence
        What else is known; the spectrum decides alone without it, as one computed by DFT does.
    """
    decided_by = np.full(len(share), DecidedBy.SPECTRUM.value, dtype=object)
    if evidence is None:
        return MetalVerdict(by_spectrum, share, decided_by)
    has_prior, has_gap = np.isfinite(evidence.prior), np.isfinite(evidence.band_gaps_ev)
    voices = _voices_of_rows(evidence.models)
    features = metal_features(np.where(has_prior, evidence.prior, 0.5), dos_over_threshold, gaps_ev)
    joint = expit((features * voices[:, :3]).sum(axis=1) + voices[:, 3])
    known = evidence.band_gaps_ev <= LARGEST_METAL_GAP_EV
    probability = np.select([has_gap, has_prior], [known.astype(np.float64), joint], share)
    decided_by[has_prior], decided_by[has_gap] = DecidedBy.BOTH.value, DecidedBy.BAND_GAP.value
    return MetalVerdict(np.select([has_gap, has_prior], [known, joint >= 0.5], by_spectrum), probability, decided_by)


def _voices_of_rows(models: Sequence[str] | NDArray[np.object_]) -> NDArray[np.float64]:
    """Coefficients of each row, shape (n, 4)."""
    names, index = np.unique(np.asarray(models, dtype=str), return_inverse=True)
    known = voices_of_models()
    table = np.array([known.get(str(name), UNCALIBRATED) for name in names], dtype=np.float64).reshape(-1, 4)
    return table[index]
