"""Figures of spectra for pages and artifacts."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.graph_objects import Figure

from mat2spec.spectra.grids import EDOS_GRID, SpectralGrid

PREDICTED_COLOR = "#d95f02"
DFT_COLOR = "#1b6ca8"
GAP_COLOR = "#7a9e7e"
FIGURE_WIDTH_PX = 900
FIGURE_HEIGHT_PX = 500


def spectrum_figure(
    predictions: Mapping[str, NDArray[np.floating]],
    dft: NDArray[np.floating] | None = None,
    uncertainties: Mapping[str, NDArray[np.floating]] | None = None,
    gap: tuple[float, float] | None = None,
    title: str = "",
    grid: SpectralGrid = EDOS_GRID,
) -> Figure:
    """Plot predicted densities of states against the computed one.

    Parameters
    ----------
    predictions
        Spectrum of each model, shape (grid.size,), states/eV per cell.
    dft
        Computed spectrum on the same grid, or None.
    uncertainties
        One standard deviation per bin of some or all models, shape (grid.size,): drawn as bands.
    gap
        Bottom and top of the gap to mark, in eV relative to E_F.
    title
        Heading, for instance formula and identifier.
    grid
        The grid of the spectra.

    Returns
    -------
    plotly.graph_objects.Figure
        DOS over E - E_F.

    Raises
    ------
    ValueError
        If a spectrum is not on the grid or there is none.
    """
    if not predictions and dft is None:
        raise ValueError("There is no spectrum to plot; give a prediction or a DFT spectrum.")
    figure = go.Figure()
    if dft is not None:
        grid.check(dft)
        figure.add_trace(_dft_trace(np.asarray(dft), grid))
    for index, (model, spectrum) in enumerate(predictions.items()):
        grid.check(spectrum)
        color = model_color(index)
        band = (uncertainties or {}).get(model)
        if band is not None:
            grid.check(band)
            figure.add_trace(_band_trace(np.asarray(spectrum), np.asarray(band), model, color, grid))
        figure.add_trace(
            go.Scatter(
                x=grid.centers, y=np.asarray(spectrum), name=f"{model}, predicted", line={"color": color, "width": 2}
            )
        )
    if grid == EDOS_GRID:
        _mark(figure, gap)
    _lay_out(figure, title, grid)
    return figure


def model_color(index: int) -> str:
    """Colour of the model at this place in the alphabet."""
    colors = (PREDICTED_COLOR, "#7570b3", "#66a61e", "#e7298a")
    return colors[index % len(colors)]


def _dft_trace(spectrum: NDArray[np.floating], grid: SpectralGrid) -> object:
    """The DFT spectrum as a histogram of its bin averages."""
    return go.Scatter(
        x=grid.centers,
        y=spectrum,
        name="DFT",
        line={"color": DFT_COLOR, "width": 1.5, "shape": "hvh"},
        fill="tozeroy",
        fillcolor="rgba(27, 108, 168, 0.18)",
    )


def _band_trace(
    spectrum: NDArray[np.floating], band: NDArray[np.floating], model: str, color: str, grid: SpectralGrid
) -> object:
    upper, lower = spectrum + band, np.maximum(spectrum - band, 0.0)
    return go.Scatter(
        x=np.concatenate([grid.centers, grid.centers[::-1]]),
        y=np.concatenate([upper, lower[::-1]]),
        fill="toself",
        fillcolor=color,
        opacity=0.2,
        line={"width": 0},
        hoverinfo="skip",
        name=f"{model}, one standard deviation",
    )


def _mark(figure: Figure, gap: tuple[float, float] | None) -> None:
    """Mark E_F and the gap below it, if any."""
    figure.add_vline(x=0.0, line={"color": "#444444", "dash": "dash", "width": 1}, annotation_text="E<sub>F</sub>")
    if gap is not None:
        bottom, top = gap
        figure.add_vrect(
            x0=bottom,
            x1=top,
            fillcolor=GAP_COLOR,
            opacity=0.22,
            line_width=0,
            annotation_text=f"gap {top - bottom:.2f} eV",
            annotation_position="top left",
        )


def _lay_out(figure: Figure, title: str, grid: SpectralGrid) -> None:
    figure.update_layout(
        title=title or None,
        template="plotly_white",
        width=FIGURE_WIDTH_PX,
        height=FIGURE_HEIGHT_PX,
        legend={"orientation": "h", "y": -0.16, "yanchor": "top", "x": 0.0, "xanchor": "left"},
        hovermode="x unified",
    )
    abscissa = "E \N{MINUS SIGN} E<sub>F</sub> (eV)" if grid == EDOS_GRID else f"frequency ({grid.unit})"
    figure.update_xaxes(title=abscissa, range=[float(grid.edges[0]), float(grid.edges[-1])])
    figure.update_yaxes(title=f"DOS (states/{grid.unit} per cell)", rangemode="tozero")
