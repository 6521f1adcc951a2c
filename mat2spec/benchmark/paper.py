"""Published figures: Tables 1 and 2 of Kong et al., Nat. Commun. 13, 949 (2022).

Table 1 was measured on another split (1,220/152/152) of the phonon spectra that are benchmarked here. Its MaxNorm rows
are of curves that are each divided by their own maximum (``blind``); those of SumNorm were multiplied by the sum of the
true curve (``oracle``), and so were those of Table 2. The Standard rows of Table 2 predict their scale.
"""

from __future__ import annotations

from typing import NamedTuple

from mat2spec.spectra.normalisation import Setting


class PublishedPhonons(NamedTuple):
    """One line of Table 1."""

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


class PublishedElectrons(NamedTuple):
    """One line of Table 2; None where nothing was predicted positive."""

    setting: Setting
    model: str
    r2: float
    mae: float
    mse: float
    wasserstein_ev: float
    gap_f1: float
    gap_precision: float | None
    gap_recall: float

    def scores(self) -> dict[str, float | None]:
        """The figures under the names of `mat2spec.benchmark.evaluation_edos.evaluate_edos`."""
        scale = "oracle" if self.setting.predicts_shape else "blind"
        return {
            f"r2_{scale}": self.r2,
            f"mae_{scale}": self.mae,
            f"mse_{scale}": self.mse,
            "wasserstein_ev": self.wasserstein_ev,
            "gap_f1": self.gap_f1,
            "gap_precision": self.gap_precision,
            "gap_recall": self.gap_recall,
        }


PUBLISHED_PHONONS = (
    PublishedPhonons(Setting.MAXNORM_MSE, "e3nn", 0.56, 0.094, 0.034, 39, 3.58, 30.9),
    PublishedPhonons(Setting.MAXNORM_MSE, "gatgnn", 0.45, 0.105, 0.042, 44, 4.66, 35.1),
    PublishedPhonons(Setting.MAXNORM_MSE, "mat2spec", 0.63, 0.086, 0.029, 33, 3.30, 26.2),
    PublishedPhonons(Setting.SUMNORM_WD, "e3nn", -0.48, 0.339, 1.884, 132, 11.7, 90.0),
    PublishedPhonons(Setting.SUMNORM_WD, "gatgnn", -2.78, 0.185, 0.065, 194, 19.6, 183),
    PublishedPhonons(Setting.SUMNORM_WD, "mat2spec", 0.57, 0.085, 0.026, 21, 1.32, 10.6),
    PublishedPhonons(Setting.SUMNORM_KL, "e3nn", 0.48, 0.105, 0.036, 50, 4.88, 41.1),
    PublishedPhonons(Setting.SUMNORM_KL, "gatgnn", -1.05, 0.177, 0.057, 215, 22.4, 205),
    PublishedPhonons(Setting.SUMNORM_KL, "mat2spec", 0.62, 0.078, 0.023, 24, 1.96, 17.1),
)
PUBLISHED_ELECTRONS = (
    PublishedElectrons(Setting.STANDARD_MAE, "e3nn", 0.39, 5.24, 105.1, 0.48, 0.035, 0.333, 0.019),
    PublishedElectrons(Setting.STANDARD_MAE, "gatgnn", 0.30, 4.89, 120.9, 0.42, 0.182, 0.263, 0.139),
    PublishedElectrons(Setting.STANDARD_MAE, "mat2spec", 0.53, 3.64, 80.4, 0.27, 0.352, 0.509, 0.269),
    PublishedElectrons(Setting.SUMNORM_WD, "e3nn", -2.1, 9.81, 542.8, 0.40, 0.0, 0.0, 0.0),
    PublishedElectrons(Setting.SUMNORM_WD, "gatgnn", 0.19, 6.41, 140.1, 0.26, 0.018, 0.200, 0.009),
    PublishedElectrons(Setting.SUMNORM_WD, "mat2spec", 0.38, 5.23, 107.7, 0.29, 0.018, 0.250, 0.009),
    PublishedElectrons(Setting.SUMNORM_KL, "e3nn", 0.41, 5.01, 101.9, 0.47, 0.0, 0.0, 0.0),
    PublishedElectrons(Setting.SUMNORM_KL, "gatgnn", 0.32, 4.89, 118.2, 0.35, 0.243, 0.450, 0.167),
    PublishedElectrons(Setting.SUMNORM_KL, "mat2spec", 0.57, 3.80, 74.5, 0.21, 0.397, 0.698, 0.278),
)
