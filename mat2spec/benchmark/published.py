"""Published figures for phonon spectra: Table 1 of Kong et al., Nat. Commun. 13, 949 (2022).

Measured on another split (1,220/152/152) of the same data than the benchmark here. The MaxNorm rows are
of curves that are each divided by their own maximum (``blind``); those of SumNorm were multiplied by
the sum of the true curve (``oracle``).
"""

from __future__ import annotations

from typing import NamedTuple

from mat2spec.normalisation import Setting


class PublishedRow(NamedTuple):
    """One line of the table."""

    setting: Setting
    model: str
    r2: float
    mae: float
    mse: float
    wasserstein_cm1: float
    heat_capacity_mae: float
    mean_frequency_mae_cm1: float

    def scores(self) -> dict[str, float | None]:
        """The figures under the names of `mat2spec.benchmark.evaluation.evaluate_phdos`."""
        scale = "blind" if self.setting is Setting.MAXNORM_MSE else "oracle"
        return {
            f"r2_{scale}": self.r2,
            f"mae_{scale}": self.mae,
            f"mse_{scale}": self.mse,
            "wasserstein_cm1": self.wasserstein_cm1,
            "heat_capacity_mae": self.heat_capacity_mae,
            "mean_frequency_mae_cm1": self.mean_frequency_mae_cm1,
        }


PUBLISHED = (
    PublishedRow(Setting.MAXNORM_MSE, "e3nn", 0.56, 0.094, 0.034, 39, 3.58, 30.9),
    PublishedRow(Setting.MAXNORM_MSE, "gatgnn", 0.45, 0.105, 0.042, 44, 4.66, 35.1),
    PublishedRow(Setting.MAXNORM_MSE, "mat2spec", 0.63, 0.086, 0.029, 33, 3.30, 26.2),
    PublishedRow(Setting.SUMNORM_WD, "e3nn", -0.48, 0.339, 1.884, 132, 11.7, 90.0),
    PublishedRow(Setting.SUMNORM_WD, "gatgnn", -2.78, 0.185, 0.065, 194, 19.6, 183),
    PublishedRow(Setting.SUMNORM_WD, "mat2spec", 0.57, 0.085, 0.026, 21, 1.32, 10.6),
    PublishedRow(Setting.SUMNORM_KL, "e3nn", 0.48, 0.105, 0.036, 50, 4.88, 41.1),
    PublishedRow(Setting.SUMNORM_KL, "gatgnn", -1.05, 0.177, 0.057, 215, 22.4, 205),
    PublishedRow(Setting.SUMNORM_KL, "mat2spec", 0.62, 0.078, 0.023, 24, 1.96, 17.1),
)
