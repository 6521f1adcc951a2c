"""Probability that a predicted material is a gapped metal.

The product of the confidences of gap and metal ranks materials, but is not a probability. Platt's scaling (Platt, Advances in
Large Margin Classifiers, MIT Press 1999, p. 61) of its log-odds makes it one: two coefficients for each model, fitted to
labels that trained and stopped no model (`scripts/calibrate_gapped_metals.py`). As these are few, the coefficients of
a model are drawn towards those of all models together, which also serve a model that was not calibrated.
"""

from __future__ import annotations

import json
from functools import lru_cache
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from screening.settings import GapSettings

CALIBRATION_FILE = "gapped_metal_calibration.json"
# Scores beyond it are so rare in calibration data that they must not count for more.
_SMALLEST_SCORE = 0.01


class Platt(NamedTuple):
    """Slope, not negative, and intercept of the log-odds of a probability over those of a score."""

    slope: float
    intercept: float


class Skill(NamedTuple):
    """What is known of a model from held-out labels: its scaling, and how well it ranks gapped metals (0 to 1)."""

    platt: Platt
    average_precision: float


@lru_cache(maxsize=1)
def _calibration() -> dict[str, Any]:
    text = files(__package__).joinpath(CALIBRATION_FILE).read_text(encoding="utf-8")
    content: dict[str, Any] = json.loads(text)
    return content


def skill_of(model: str) -> Skill:
    """That of a model; of all models together if it was not calibrated."""
    content = _calibration()
    entry = content["models"].get(model, content["pooled"])
    return Skill(Platt(**entry["platt"]), entry["average_precision"])


def best_cut() -> float:
    """Probability from which the F1 score on held-out labels is largest, one for all models."""
    return float(_calibration()["cut"])


def gapped_metal_cut(settings: GapSettings) -> float:
    """Probability from which a predicted metal is called a gapped metal: that of the settings, else `best_cut`."""
    return best_cut() if settings.min_probability is None else settings.min_probability


def score_logits(score: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log-odds of a score from 0 to 1, limited."""
    return np.asarray(logit(np.clip(score, _SMALLEST_SCORE, 1 - _SMALLEST_SCORE)), dtype=np.float64)


def gapped_metal_probability(score: NDArray[np.float64], models: NDArray[np.object_]) -> NDArray[np.float64]:
    """Probability of a gapped metal.

    Parameters
    ----------
    score
        Product of the confidences of gap and metal, shape (n,).
    models
        Which model predicted the spectrum, shape (n,).
    """
    names, index = np.unique(np.asarray(models, dtype=str), return_inverse=True)
    platt = np.array([skill_of(str(name)).platt for name in names], dtype=np.float64).reshape(-1, 2)[index]
    return np.asarray(expit(platt[:, 0] * score_logits(score) + platt[:, 1]), dtype=np.float64)
