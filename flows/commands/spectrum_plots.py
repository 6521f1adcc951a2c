"""Plot predicted spectra to a file: an interactive plotly page or a static picture."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mat2spec.spectra.grids import EDOS_GRID
from mat2spec.tables.files import atomic_path
from mat2spec.tables.status import Status
from mat2spec.tables.text import one_line
from screening.report.figures import spectrum_figure
from screening.report.page import figures_page

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mat2spec.spectra.prediction import Prediction

PLOT_ENDINGS = (".html", ".png", ".svg", ".pdf")
MAX_PLOTTED = 30
PANEL_SIZE_IN = (8.0, 3.6)


def write_plot(predictions: Sequence[Prediction], path: Path) -> None:
    """Plot the spectra of up to 30 crystals, one panel for each with all models."""
    shown = _plottable(predictions)
    with atomic_path(path) as temporary:
        if path.suffix.lower() == ".html":
            temporary.write_text(_page(predictions, shown), encoding="utf-8")
        else:
            _draw_picture(predictions, shown, temporary, path.suffix.lower().lstrip("."))


def _plottable(predictions: Sequence[Prediction]) -> list[int]:
    """Crystals with a prediction of at least one model."""
    n_crystals = len(predictions[0])
    usable = [i for i in range(n_crystals) if any(prediction.status[i] == Status.OK for prediction in predictions)]
    return usable[:MAX_PLOTTED]


def _page(predictions: Sequence[Prediction], shown: Sequence[int]) -> str:
    figures = []
    for crystal in shown:
        usable = [prediction for prediction in predictions if prediction.status[crystal] == Status.OK]
        figure = spectrum_figure(
            {prediction.model: prediction.spectra[crystal] for prediction in usable},
            uncertainties={prediction.model: prediction.uncertainty[crystal] for prediction in usable},
            title=html.escape(one_line(str(predictions[0].material_ids[crystal]))),
            grid=predictions[0].grid,
        )
        figures.append(figure)
    return figures_page(figures, "Predicted densities of states")


def _draw_picture(predictions: Sequence[Prediction], shown: Sequence[int], path: Path, kind: str) -> None:
    # plotly needs a browser to write pictures, which many machines lack; matplotlib comes with pymatgen.
    figure = Figure(figsize=(PANEL_SIZE_IN[0], PANEL_SIZE_IN[1] * len(shown)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(shown), 1, squeeze=False)[:, 0]
    grid = predictions[0].grid
    centers = grid.centers
    for panel, crystal in zip(panels, shown, strict=True):
        for prediction in predictions:
            if prediction.status[crystal] == Status.OK:
                spectrum, band = prediction.spectra[crystal], prediction.uncertainty[crystal]
                (line,) = panel.plot(centers, spectrum, label=prediction.model)
                lower = (spectrum - band).clip(min=0)
                panel.fill_between(centers, lower, spectrum + band, alpha=0.2, color=line.get_color(), linewidth=0)
        if grid == EDOS_GRID:
            panel.axvline(0.0, color="0.3", linestyle="--", linewidth=1)
        panel.set(
            title=one_line(str(predictions[0].material_ids[crystal])),
            xlabel=r"$E - E_\mathrm{F}$ (eV)" if grid == EDOS_GRID else f"frequency ({grid.unit})",
            ylabel=f"DOS (states/{grid.unit} per cell)",
            xlim=(centers[0], centers[-1]),
        )
        # A dollar sign in a name must not start a formula.
        panel.title.set_parse_math(False)
        panel.set_ylim(bottom=0)
        panel.legend()
    figure.savefig(path, format=kind, dpi=150)
