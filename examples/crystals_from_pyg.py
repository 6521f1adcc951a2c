"""Predict the densities of states of crystals that are data of PyTorch Geometric.

    python examples/crystals_from_pyg.py

Any `Data` with atomic numbers `z`, Cartesian coordinates `pos` and lattice vectors `cell` (rows, in Angstrom) will do,
alone, in a list or in a `Batch` that a `DataLoader` hands out. Its own edges are not read: the models see the
neighbours that they were trained on.
"""

from __future__ import annotations

import torch
from torch_geometric.data import Batch, Data

from mat2spec.prediction import load_predictor


def cubic_perovskite(a: float, numbers: tuple[int, int, int], name: str) -> Data:
    """ABX3 with lattice parameter `a` in Angstrom and the atomic numbers of A, B and X."""
    fractional = torch.tensor([[0.5, 0.5, 0.5], [0, 0, 0], [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5]])
    a_site, b_site, anion = numbers
    return Data(
        z=torch.tensor([a_site, b_site, anion, anion, anion]),
        pos=a * fractional,
        cell=a * torch.eye(3),
        material_id=name,
    )


def main() -> None:
    """Predict two perovskites and print the states about the Fermi level."""
    crystals = [cubic_perovskite(3.85, (38, 23, 8), "SrVO3"), cubic_perovskite(4.0, (56, 22, 8), "BaTiO3")]
    prediction = load_predictor("gatgnn").predict(Batch.from_data_list(crystals))
    grid = prediction.grid
    near = abs(grid.centers) <= 1
    for name, spectrum in zip(prediction.material_ids, prediction.spectra, strict=True):
        states = spectrum[near].sum() * grid.width
        print(f"{name}: {states:.1f} states per cell within 1 eV of the energy zero ({grid.zero})")


if __name__ == "__main__":
    main()
