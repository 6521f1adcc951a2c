"""The quintile plot: five test materials from each fifth of the errors, true against predicted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mat2spec.benchmark.evaluation import material_errors, scale_to_maximum
from mat2spec.labels.labelled import LabelledSpectra
from mat2spec.tables.files import atomic_path

N_QUINTILES, PER_QUINTILE = 5, 5
PANEL_SIZE_IN = (2.6, 1.7)
NAMES = {"phdos": "phonon DOS", "edos": "electronic DOS"}
ABSCISSAE = {"phdos": "frequency", "edos": "energy from E_F or VBM"}
TRUE_COLOUR, PREDICTED_COLOUR = "0.25", "tab:red"


def choose_materials(errors: NDArray[np.float64]) -> NDArray[np.int64]:
    """Five materials of each quintile of the error, evenly spaced in rank, shape (5, 5); small errors first.

    With fewer than 25 materials some are chosen more than once.
    """
    ranked = np.argsort(errors, kind="stable")
    n_panels = N_QUINTILES * PER_QUINTILE
    ranks = ((np.arange(n_panels) + 0.5) / n_panels * len(errors)).astype(np.int64)
    return np.asarray(ranked[ranks].reshape(N_QUINTILES, PER_QUINTILE))


def draw_quintiles(path: Path, spectra: NDArray[np.float64], labels: LabelledSpectra, title: str) -> None:
    """Write the plot as PNG; both curves are divided by their own maximum.

    Parameters
    ----------
    path
        Where the picture goes.
    spectra
        Predicted spectra of any scale, shape (n, size).
    labels
        True spectra of the same materials.
    title
        Which model.
    """
    errors = material_errors(spectra, labels)
    chosen = choose_materials(errors)
    true, predicted = scale_to_maximum(labels.spectra), scale_to_maximum(spectra)
    size = (PANEL_SIZE_IN[0] * PER_QUINTILE, PANEL_SIZE_IN[1] * N_QUINTILES)
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(N_QUINTILES, PER_QUINTILE, sharex=True, sharey=True, squeeze=False)
    for panel, material in zip(axes.flat, chosen.flat, strict=True):
        panel.fill_between(labels.grid.centers, true[material], color=TRUE_COLOUR, alpha=0.25, linewidth=0)
        panel.plot(labels.grid.centers, true[material], color=TRUE_COLOUR, linewidth=0.8, label="true")
        panel.plot(labels.grid.centers, predicted[material], color=PREDICTED_COLOUR, linewidth=1.2, label="predicted")
        panel.set_title(f"{labels.formulas[material]}   MAE {errors[material]:.3f}", fontsize=8)
    for quintile, panel in enumerate(axes[:, 0], start=1):
        panel.set_ylabel(f"quintile {quintile}", fontsize=8)
    axes.flat[0].legend(fontsize=7, frameon=False)
    figure.suptitle(f"{title}: {NAMES[labels.grid.name]}, maximum 1", fontsize=10)
    figure.supxlabel(f"{ABSCISSAE[labels.grid.name]} / {labels.grid.unit}", fontsize=9)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110, metadata={"Software": None})
