"""Figures of merit of weighted materials, and their bootstrap intervals.

Materials of one formula are not independent evidence, so formulas are drawn, not materials.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mat2spec.benchmark.detection import GappedMetals, average_precision, flag_scores

N_DRAWS = 2000
SEED = 0
CONFIDENCE_LEVEL = 0.95
# With fewer formulas an interval would reflect the method rather than the model.
MIN_FORMULAS = 5

FloatArray = NDArray[np.float64]
Scores = dict[str, float | None]
Intervals = dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Contributions:
    """Contributions of n materials to the figures of merit.

    Parameters
    ----------
    curves
        Name of a scale to true and predicted curves, both (n, size): they give ``r2_``, ``mae_`` and ``mse_`` of it.
    means
        Name of a figure to its value of each material, shape (n,): the figure is their mean.
    gapped_metals
        Predicted and true ones: they give ``gap_precision``, ``gap_recall``, ``gap_f1``, ``gap_mcc`` and
        ``gap_average_precision``; None without.
    """

    curves: Mapping[str, tuple[FloatArray, FloatArray]]
    means: Mapping[str, FloatArray] = field(default_factory=dict)
    gapped_metals: tuple[GappedMetals, GappedMetals] | None = None

    @property
    def n(self) -> int:
        """Number of materials."""
        return len(next(iter(self.curves.values()))[0])

    def scores(self) -> Scores:
        """The figures of all materials, each counted once; None where undefined."""
        return {name: _or_none(float(value[0])) for name, value in self.drawn(np.ones((1, self.n))).items()}

    def of_materials(self) -> dict[str, FloatArray]:
        """``mae_`` and ``mse_`` of each scale and all means, of every material; each of shape (n,)."""
        figures = dict(self.means)
        for scale, (true, predicted) in self.curves.items():
            figures[f"mae_{scale}"] = np.abs(true - predicted).mean(axis=1)
            figures[f"mse_{scale}"] = ((true - predicted) ** 2).mean(axis=1)
        return figures

    def intervals(self, formulas: NDArray[np.object_]) -> Intervals:
        """Central 95 % interval of each figure over bootstrap samples of formulas (Efron, Ann. Statist. 7, 1, 1979).

        Figures that are undefined in too many samples have no interval, such as the precision if one material was flagged;
        with fewer than 5 formulas there are no intervals.

        Parameters
        ----------
        formulas
            Shape (n,).
        """
        if len(set(formulas)) < MIN_FORMULAS:
            return {}
        tails = [(1 - CONFIDENCE_LEVEL) / 2, (1 + CONFIDENCE_LEVEL) / 2]
        intervals = {}
        for name, values in self.drawn(draw_formulas(formulas)).items():
            known = values[np.isfinite(values)]
            if len(known) >= CONFIDENCE_LEVEL * len(values):
                low, high = np.quantile(known, tails)
                intervals[name] = (float(low), float(high))
        return intervals

    def drawn(self, weights: FloatArray) -> dict[str, FloatArray]:
        """The figures of weighted materials, each of shape (n_draws,); NaN where one is not defined.

        Parameters
        ----------
        weights
            How often each material is in each draw, shape (n_draws, n).
        """
        figures: dict[str, FloatArray] = {}
        for scale, (true, predicted) in self.curves.items():
            figures |= _pointwise(true, predicted, scale, weights)
        total = weights.sum(axis=1)
        figures |= {name: weights @ values / total for name, values in self.means.items()}
        return figures | self._of_gapped_metals(weights)

    def _of_gapped_metals(self, weights: FloatArray) -> dict[str, FloatArray]:
        if self.gapped_metals is None:
            return {}
        predicted, true = self.gapped_metals
        figures = flag_scores(predicted.flags, true.flags, weights)
        figures["average_precision"] = average_precision(predicted.confidence, true.flags, weights)
        return {f"gap_{name}": values for name, values in figures.items()}


def draw_formulas(formulas: NDArray[np.object_]) -> FloatArray:
    """How often each material is in each bootstrap sample of formulas, shape (N_DRAWS, n); always the same.

    The samples do not depend on the order of the materials.
    """
    names, member = np.unique(formulas.astype(str), return_inverse=True)
    shares = np.full(len(names), 1 / len(names))
    counts = np.random.default_rng(SEED).multinomial(len(names), shares, size=N_DRAWS)
    return counts[:, member].astype(np.float64)


def _pointwise(true: FloatArray, predicted: FloatArray, scale: str, weights: FloatArray) -> dict[str, FloatArray]:
    """R2, MAE and MSE over bins and weighted materials; see `mat2spec.spectra.metrics`."""
    n_values = weights.sum(axis=1) * true.shape[1]
    squared = weights @ ((true - predicted) ** 2).sum(axis=1)
    # The mean over all materials is subtracted first so that sums of squares lose no digits.
    centred = true - true.mean(axis=0)
    sums = weights @ centred
    about_mean = weights @ (centred**2).sum(axis=1) - (sums**2).sum(axis=1) / weights.sum(axis=1)
    varies = about_mean > 1e-12 * (centred**2).sum()
    r2 = 1 - np.divide(squared, about_mean, out=np.full_like(squared, np.nan), where=varies)
    absolute = weights @ np.abs(true - predicted).sum(axis=1)
    return {f"r2_{scale}": r2, f"mae_{scale}": absolute / n_values, f"mse_{scale}": squared / n_values}


def _or_none(value: float) -> float | None:
    return value if np.isfinite(value) else None
