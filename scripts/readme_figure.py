"""Draw docs/predicted_and_computed_edos.png from the tables of a finished run.

Shown are the computed materials with the smallest, the median and the largest Wasserstein distance
between the eDOS that the leading model predicted and the one that DFT gave: the good, the usual and
the bad.

    python scripts/readme_figure.py results/latest docs/predicted_and_computed_edos.png
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mat2spec.spectra.grids import EDOS_GRID
from mat2spec.spectra.metrics import wasserstein_distances
from mat2spec.tables.columns import Column
from mat2spec.tables.files import atomic_path
from mat2spec.tables.parquet import matrix_column
from screening.runs.folder import RunFolder
from screening.runs.schemas import TableName


def draw(run: RunFolder, path: Path) -> None:
    """Draw three of the materials that DFT computed in this run."""
    model, ids, predicted, uncertainty, computed = _spectra(run)
    formulas = run.read_table(TableName.CANDIDATES).set_index(Column.MATERIAL_ID)[Column.FORMULA]
    distance = wasserstein_distances(computed, predicted, EDOS_GRID)
    order = np.argsort(distance)
    figure = Figure(figsize=(12, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 3)
    places = {"best": order[0], "median": order[len(order) // 2], "worst": order[-1]}
    for panel, (place, index) in zip(panels, places.items(), strict=True):
        centers = EDOS_GRID.centers
        low, high = predicted[index] - uncertainty[index], predicted[index] + uncertainty[index]
        panel.fill_between(centers, computed[index], color="0.85", label="computed (GPAW, PBE)")
        panel.plot(centers, predicted[index], color="tab:blue", label=f"predicted ({model})")
        panel.fill_between(centers, low.clip(0), high, color="tab:blue", alpha=0.2, linewidth=0)
        panel.axvline(0, color="0.3", linestyle="--", linewidth=1)
        title = f"{formulas[ids[index]]}: {place} of {len(ids)}, WD {distance[index]:.2f} eV"
        panel.set(title=title, xlabel=r"$E - E_\mathrm{F}$ (eV)", xlim=(-4, 4))
        panel.set_ylim(0, 1.3 * max(computed[index].max(), predicted[index].max()))
    panels[0].set_ylabel("DOS (states/eV per cell)")
    panels[0].legend(fontsize=8)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def _spectra(run: RunFolder) -> tuple[str, list[str], np.ndarray, np.ndarray, np.ndarray]:
    leading = run.info["settings"]["prediction"]["models"][0]
    results = run.read_arrow(TableName.DFT_RESULTS)
    computed = dict(
        zip(
            results[Column.MATERIAL_ID].to_pylist(),
            matrix_column(results, Column.EDOS, EDOS_GRID.size).astype(np.float64),
            strict=True,
        )
    )
    predictions = run.read_arrow(TableName.PREDICTIONS)
    models, ids = predictions[Column.MODEL].to_pylist(), predictions[Column.MATERIAL_ID].to_pylist()
    wanted = [
        row
        for row, (model, material_id) in enumerate(zip(models, ids, strict=True))
        if model == leading and np.isfinite(computed.get(material_id, [np.nan])).all()
    ]
    chosen = predictions.take(wanted)
    material_ids = chosen[Column.MATERIAL_ID].to_pylist()
    return (
        leading,
        material_ids,
        matrix_column(chosen, Column.EDOS, EDOS_GRID.size),
        matrix_column(chosen, Column.UNCERTAINTY, EDOS_GRID.size),
        np.stack([computed[material_id] for material_id in material_ids]),
    )


if __name__ == "__main__":
    draw(RunFolder.attach(Path(sys.argv[1])), Path(sys.argv[2]))
