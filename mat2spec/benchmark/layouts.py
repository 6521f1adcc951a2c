"""Layout of the table for each kind of spectrum: its columns, their meaning, and the published rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mat2spec.benchmark.paper import PUBLISHED_ELECTRONS, PUBLISHED_PHONONS, PublishedElectrons, PublishedPhonons

TRAINING = "training"
_COMMON = {
    "coverage_90": ("90 % coverage", "{:.2f}"),
    "error_rank_correlation": ("rank corr.", "{:.2f}"),
}
_PHONONS = """\
Test materials of the published tutorial split of the DFPT phonon spectra (1,191 / 141 / 189), less training materials
of reserved formulas; `paper` rows: Table 1 of Kong et al., Nat. Commun. 13, 949 (2022), which is **another split**
(1,220 / 152 / 152) of the same data. Mean +- standard deviation over seeds; `ensemble` is the mean spectrum of the
seeds, with the spread of the seeds, calibrated on the validation materials, as uncertainty. `baseline` rows know the
composition only: the mean spectrum, the nearest composition, and the ten nearest with the same parity of electrons.

- **[a, b]**: 95 % bootstrap interval, 2,000 samples of formulas; of several seeds the mean of their ends.
- **blind**: true and predicted curve each divided by its own maximum (the published y axis, maximum 1). Paper rows of
  maxnorm-mse are of this kind.
- **3N**: both curves with three modes per atom, states per cm-1 per atom: blind too, for 3N needs no label.
- **oracle**: predicted shape times the sum of the true curve of maximum 1. Uses the label's own sum, as the paper's
  rows of sumnorm-wd and sumnorm-kl do. Never compare it with a blind figure.
- WD: Wasserstein distance of curves that sum to one. C_V: Einstein function, 3N modes, 300 K, J/(K mol) per cell, from
  the 51-point curves; in `paper` rows per formula unit, it seems, which holds 0.7 of a cell. Mean frequency in cm-1. Coverage: share of bins within the 90 % interval (of one model: the
  residuals of validation materials). Rank correlation: Spearman's, of expected with true error of a spectrum.
- training: spectra trained on x epochs, and the time that it took on the device (one core of a busy machine for cpu).
"""
_ELECTRONS = """\
One table for each test set; no formula of any is trained on. `paper` rows: Table 2 of Kong et al., Nat. Commun. 13, 949
(2022), on 3,756 materials of the Materials Project. **Only on the paper's own archive are they of the same materials**;
on any other source they are of other crystals, another DFT code and another number of labels. Mean +- standard deviation
over seeds; `ensemble` is the mean of the seeds, with their spread, calibrated on the calibration (else validation)
materials, as uncertainty. `baseline` rows know the composition only: the mean spectrum, the nearest composition, and the
ten nearest with the same parity of the number of electrons.

- **[a, b]**: 95 % bootstrap interval, 2,000 samples of formulas; of several seeds the mean of their ends.
- **blind**: the scale is predicted: by the model itself (standard-mae), or for a shape by the same model trained in the
  setting standard-mae with the same seed. Empty where that was not trained.
- **oracle**: predicted shape times the sum of the true spectrum, as in the paper's rows of sumnorm-wd and sumnorm-kl.
  Never compare it with a blind figure.
- MAE and MSE in states/eV per cell, WD (Wasserstein distance of shapes) in eV. Gap F1, precision, recall, MCC (Matthews
  correlation coefficient): gapped metals in the blind spectra by the classifier of the screen, against those in the true
  spectra; baselines take the share of gapped metals among the neighbours. Gap AP: average precision of the ranking by
  confidence; a ranking that knows nothing has the share of gapped metals. Coverage: share of bins of the shape within
  the 90 % interval. Rank correlation: Spearman's, of expected with true error of a shape.
- training: spectra trained on x epochs, and the time that it took on the device (one core of a busy machine for cpu).
"""


@dataclass(frozen=True)
class Layout:
    """The table of a kind of spectrum.

    Parameters
    ----------
    title
        Its heading.
    explanation
        What rows and columns mean, as Markdown.
    columns
        Name of a figure to the head of its column and its format.
    published
        Rows of the paper.
    """

    title: str
    explanation: str
    columns: dict[str, tuple[str, str]]
    published: Sequence[PublishedPhonons | PublishedElectrons]

    @property
    def header(self) -> list[str]:
        """Heads of all columns."""
        return ["setting", "model", "seeds", TRAINING, *(title for title, _ in self.columns.values())]


LAYOUTS = {
    "phdos": Layout(
        title="Phonon benchmark",
        explanation=_PHONONS,
        columns={
            "r2_blind": ("R2 blind", "{:.3f}"),
            "mae_blind": ("MAE blind", "{:.4f}"),
            "mse_blind": ("MSE blind", "{:.4f}"),
            "r2_modes": ("R2 3N", "{:.3f}"),
            "r2_oracle": ("R2 oracle", "{:.3f}"),
            "mae_oracle": ("MAE oracle", "{:.4f}"),
            "mse_oracle": ("MSE oracle", "{:.4f}"),
            "wasserstein_cm1": ("WD / cm-1", "{:.1f}"),
            "heat_capacity_mae": ("C_V MAE", "{:.2f}"),
            "mean_frequency_mae_cm1": ("mean freq. MAE", "{:.1f}"),
            **_COMMON,
        },
        published=PUBLISHED_PHONONS,
    ),
    "edos": Layout(
        title="Benchmark of electronic densities of states",
        explanation=_ELECTRONS,
        columns={
            "r2_blind": ("R2 blind", "{:.3f}"),
            "mae_blind": ("MAE blind", "{:.3f}"),
            "mse_blind": ("MSE blind", "{:.2f}"),
            "r2_oracle": ("R2 oracle", "{:.3f}"),
            "mae_oracle": ("MAE oracle", "{:.3f}"),
            "mse_oracle": ("MSE oracle", "{:.2f}"),
            "wasserstein_ev": ("WD / eV", "{:.3f}"),
            "gap_f1": ("gap F1", "{:.3f}"),
            "gap_precision": ("gap precision", "{:.3f}"),
            "gap_recall": ("gap recall", "{:.3f}"),
            "gap_mcc": ("gap MCC", "{:.3f}"),
            "gap_average_precision": ("gap AP", "{:.3f}"),
            **_COMMON,
        },
        published=PUBLISHED_ELECTRONS,
    ),
}
