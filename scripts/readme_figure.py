"""Draw docs/gapped_metals.png: a gap that was predicted and found, and a prediction that failed.

Of the labels that the project carries only those count whose formula no weights were trained on. Gapped metals among them are
told by the rule of a screen, in the DFT spectra and in those that the model predicts from the structure. The success is
the one of median Wasserstein distance among the gapped metals that were found, the failure the farthest of those that
were missed or flagged falsely: nobody chose them by eye.

    python scripts/readme_figure.py docs/gapped_metals.png
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.composition import reduced_formulas
from mat2spec.labels.edos_store import read_edos_store
from mat2spec.labels.splits import split_of_formula
from mat2spec.prediction import load_predictor
from mat2spec.settings import SHIPPED_STORE
from mat2spec.spectra.grids import EDOS_GRID
from mat2spec.spectra.metrics import wasserstein_distances
from mat2spec.tables.columns import Column
from mat2spec.tables.files import atomic_path
from mat2spec.tables.parquet import matrix_column
from screening.classify.gaps import classify_spectra
from screening.settings import GapSettings

MODEL = "tight-binding"
# The gap is what matters: peaks above this are cut.
HEIGHT_IN_THRESHOLDS = 12
SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
PREDICTED, GAP, THRESHOLD = "#1f6fb4", "#f2a33a", "#b03a2e"


@dataclass(frozen=True)
class HeldOut:
    """Held-out materials: computed and predicted spectra in states/eV per cell, shape (n, 128), and what the rule says."""

    formulas: list[str]
    computed: NDArray[np.float64]
    predicted: NDArray[np.float64]
    deviation: NDArray[np.float64]
    by_dft: pd.DataFrame
    by_model: pd.DataFrame

    @property
    def distance_ev(self) -> NDArray[np.float64]:
        """Wasserstein distances between the two spectra, shape (n,)."""
        return wasserstein_distances(self.computed, self.predicted, EDOS_GRID)


def held_out() -> HeldOut:
    """Predict the labelled crystals whose formulas no weights were trained on."""
    store = read_edos_store(SHIPPED_STORE)
    formulas = [str(formula) for formula in reduced_formulas(Crystals.from_arrow(store))]
    rows = [row for row, formula in enumerate(formulas) if split_of_formula(formula) == "test"]
    labels = store.take(rows)
    crystals = Crystals.from_arrow(labels)
    computed = matrix_column(labels, Column.EDOS, EDOS_GRID.size).astype(np.float64)
    prediction = load_predictor(MODEL, device="cpu").predict(crystals)
    assert prediction.uncertainty is not None
    return HeldOut(
        formulas=[formulas[row] for row in rows],
        computed=computed,
        predicted=prediction.spectra,
        deviation=prediction.uncertainty,
        by_dft=classify_spectra(computed),
        by_model=classify_spectra(prediction.spectra),
    )


def choose(materials: HeldOut) -> tuple[int, int]:
    """Rows of the median success and of the worst failure."""
    true = materials.by_dft[Column.IS_GAPPED_METAL].to_numpy(dtype=bool)
    flagged = materials.by_model[Column.IS_GAPPED_METAL].to_numpy(dtype=bool)
    found = np.flatnonzero(true & flagged)
    wrong = np.flatnonzero(true != flagged)
    distance = materials.distance_ev
    print(
        f"{true.sum()} gapped metals among {len(true)}, {len(found)} found, {(flagged & ~true).sum()} flagged falsely"
    )
    median = found[np.argsort(distance[found])[(len(found) - 1) // 2]]
    return int(median), int(wrong[np.argmax(distance[wrong])])


def draw(materials: HeldOut, path: Path) -> None:
    """Draw both."""
    success, failure = choose(materials)
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    _draw_panel(left, materials, success, "predicted and found")
    _draw_panel(right, materials, failure, _failure(materials, failure))
    left.set_ylabel("DOS (states/eV per primitive cell)")
    figure.legend(*left.get_legend_handles_labels(), fontsize=10, loc="outside lower center", ncols=4)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def _failure(materials: HeldOut, row: int) -> str:
    return "a failure: missed" if materials.by_dft[Column.IS_GAPPED_METAL][row] else "a failure: flagged falsely"


def _draw_panel(panel: Axes, materials: HeldOut, row: int, verdict: str) -> None:
    energies, threshold = EDOS_GRID.centers, GapSettings().dos_threshold_states_per_ev
    computed, predicted, deviation = materials.computed[row], materials.predicted[row], materials.deviation[row]
    panel.fill_between(energies, computed, step="mid", color="0.80", label="computed by DFT (PBE), never trained on")
    panel.plot(
        energies,
        predicted,
        color=PREDICTED,
        linewidth=1.8,
        label="predicted from the structure and its standard deviation",
    )
    panel.fill_between(
        energies, (predicted - deviation).clip(0), predicted + deviation, color=PREDICTED, alpha=0.2, linewidth=0
    )
    panel.axhline(threshold, color=THRESHOLD, linestyle=":", linewidth=1.3, label="threshold of a gap")
    panel.axvline(0, color="0.25", linestyle="--", linewidth=1)
    top = HEIGHT_IN_THRESHOLDS * threshold
    for table, height, name, color in (
        (materials.by_model, 0.80, "predicted", PREDICTED),
        (materials.by_dft, 0.68, "DFT", "0.25"),
    ):
        _mark_gap(panel, table.iloc[row], height * top, name, color)
    formula = materials.formulas[row].translate(SUBSCRIPTS)
    panel.set(xlim=(-4, 4), ylim=(0, top), xlabel=r"$E - E_\mathrm{F}$ (eV)")
    panel.set_title(f"{formula}: {verdict}", fontsize=13, fontweight="bold", loc="left")


def _mark_gap(panel: Axes, found: pd.Series, height: float, name: str, color: str) -> None:
    if not found[Column.HAS_VB_GAP]:
        panel.text(
            -3.85, height, f"{name}: no gap whose top is near enough to E_F", color=color, va="bottom", fontsize=9
        )
        return
    bottom, top = max(found[Column.GAP_BOTTOM_EV], -4), found[Column.GAP_TOP_EV]
    panel.axvspan(bottom, top, color=GAP, alpha=0.13, linewidth=0)
    panel.annotate(
        "",
        (bottom, height),
        (top, height),
        arrowprops={"arrowstyle": "<->", "color": color, "shrinkA": 0, "shrinkB": 0},
    )
    width = f"{'≥' if found[Column.GAP_OPEN_AT_BOTTOM] else ''}{found[Column.GAP_WIDTH_EV]:.2f} eV"
    panel.text((bottom + top) / 2, height, f"{name} {width}", color=color, ha="center", va="bottom", fontsize=9)


if __name__ == "__main__":
    draw(held_out(), Path(sys.argv[1]))
