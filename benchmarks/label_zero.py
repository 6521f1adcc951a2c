"""What an uncertain zero of energy costs: labels of the project against themselves with the zero moved.

    MAT2SPEC_DATA_DIR=DATA python benchmarks/label_zero.py [--shifts-ev 0.02 0.05 0.1] [--output benchmarks/edos]

The Fermi energy of a metal moves by some hundredths of an eV with the k-mesh and with the way in which bands are occupied,
the valence band maximum of an insulator with the k-points that the mesh happens to have. All labels are moved by the same
amount, up and down; the bins that enter the window at its ends repeat the last one.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mat2spec.benchmark.label_noise import ExactLabels, LabelNoise, compare_labels, write_label_noise
from mat2spec.graphs.settings import GraphSettings
from mat2spec.labels.labelled import LabelledSpectra
from mat2spec.labels.readers.data_folder import load_edos
from mat2spec.settings import shipped_stores
from mat2spec.spectra.grids import EDOS_GRID, rebin_to_edges
from screening.evaluate.gap_scores import find_gapped_metals


def moved(spectra: NDArray[np.floating], shift_ev: float) -> NDArray[np.float64]:
    """Spectra whose zero lies higher by `shift_ev`, shape (n, size); the integral over what stays in the window is kept."""
    n_more = int(np.ceil(abs(shift_ev) / EDOS_GRID.width))
    wide = np.pad(np.asarray(spectra, np.float64), ((0, 0), (n_more, n_more)), mode="edge")
    steps = np.arange(-n_more, EDOS_GRID.size + n_more + 1)
    edges = EDOS_GRID.edges[0] + EDOS_GRID.width * steps
    return np.stack([rebin_to_edges(edges - shift_ev, row, EDOS_GRID.edges) for row in wide])


def noise_of(data: LabelledSpectra, shift_ev: float) -> LabelNoise:
    """Half of the labels moved up and half down, by their order."""
    signs = np.where(np.arange(len(data)) % 2, 1.0, -1.0)
    both = {sign: moved(data.spectra, sign * shift_ev) for sign in (-1.0, 1.0)}
    noisy = np.where(signs[:, None] > 0, both[1.0], both[-1.0])
    what = f"zero of energy moved by {shift_ev:g} eV"
    exact = ExactLabels(data.spectra, data.n_atoms)
    return compare_labels(what, "benchmarks/label_zero.py", noisy, exact, find_gapped_metals)


def main() -> None:
    """Compare, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shifts-ev", type=float, nargs="+", default=[0.02, 0.05, 0.1])
    parser.add_argument("--output", type=Path, default=Path("benchmarks/edos"))
    arguments = parser.parse_args()
    data = load_edos(Path(os.environ["MAT2SPEC_DATA_DIR"]), GraphSettings(), shipped_stores())
    entries = [noise_of(data, shift) for shift in arguments.shifts_ev]
    for entry in entries:
        print(entry.what, {name: round(value, 3) for name, value in entry.metrics.items()})
    print(f"Written: {write_label_noise(arguments.output, entries)}")


if __name__ == "__main__":
    main()
