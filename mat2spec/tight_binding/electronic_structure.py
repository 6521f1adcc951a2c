"""Bands along the standard path, and projections on elements and orbitals.

Bands are those of the mean corrections of the ensemble. The projected densities are theirs too, before the second network
reweights site spectra, so that they sum to the density of the bands and not exactly to the predicted spectrum.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pymatgen.core import Structure
from pymatgen.electronic_structure.bandstructure import BandStructureSymmLine
from pymatgen.electronic_structure.core import Orbital, Spin
from pymatgen.electronic_structure.dos import CompleteDos
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer
from pymatgen.symmetry.bandstructure import HighSymmKpath
from torch import Tensor

from mat2spec.crystals.primitive_cell import PrimitiveCell
from mat2spec.descriptors.sevennet import site_scalars
from mat2spec.spectra.grids import EDOS_GRID, SpectralGrid
from mat2spec.spectra.pymatgen_dos import electronic_dos
from mat2spec.tight_binding.bloch import Basis, TightBindingCrystal
from mat2spec.tight_binding.channels import N_ORBITALS, ORBITAL_NAMES
from mat2spec.tight_binding.eigenproblem import Bands, orthogonalise, populations, solve
from mat2spec.tight_binding.filling import Filling, fill
from mat2spec.tight_binding.model import TightBinding
from mat2spec.tight_binding.problem import LinearBands, PreparationSettings, Problem, prepare
from mat2spec.tight_binding.sites import shell_densities, sum_by_element
from mat2spec.tight_binding.transport import BandTransport

POINTS_PER_SEGMENT = 20


@dataclass(frozen=True)
class ElectronicStructure:
    """Corrected tight-binding bands of one crystal in the standard primitive cell of pymatgen's k-paths.

    Parameters
    ----------
    structure
        The primitive cell.
    path
        Its high-symmetry path (Setyawan and Curtarolo, Comput. Mater. Sci. 49, 299 (2010)).
    problem
        Its matrices on a mesh.
    shifts_ev, scales
        Mean corrections of the ensemble, shape (n_spins, 3 x n_atoms) and (3 x n_atoms,).
    """

    structure: Structure
    path: HighSymmKpath
    problem: Problem
    shifts_ev: Tensor
    scales: Tensor

    @classmethod
    @torch.no_grad()
    def of(
        cls, model: TightBinding, structure: Structure, most_atoms: int | None = None, *, spin: bool = False
    ) -> ElectronicStructure:
        """Correct and solve the bands of a structure on the mesh of the model.

        Parameters
        ----------
        model
            The trained ensemble.
        structure
            Any cell of the crystal.
        most_atoms
            Maximum number of atoms in the primitive cell; no limit by default.
        spin
            Whether the spins of a crystal that can be magnetic are solved separately, which the model must support.

        Raises
        ------
        mat2spec.tight_binding.parameters.ParametersError
            If an element is not tabulated.
        ValueError
            If the primitive cell has too many atoms.
        """
        standard = SpacegroupAnalyzer(structure).get_primitive_standard_structure(international_monoclinic=False)
        path = HighSymmKpath(standard)
        primitive = path.prim
        numbers = np.array(primitive.atomic_numbers)
        if most_atoms is not None and len(numbers) > most_atoms:
            raise ValueError(
                f"{len(numbers)} atoms in the primitive cell are more than the {most_atoms} that are solved."
            )
        cell = PrimitiveCell.as_given(primitive.lattice.matrix, primitive.frac_coords, numbers)
        problem = prepare(cell, PreparationSettings(model.settings.kpoints_per_atom, spin=spin))
        (descriptors,) = site_scalars([cell], model.settings.descriptors)
        shifts, scales = model.corrections(torch.from_numpy(descriptors), problem)
        return cls(primitive, path, problem, shifts.mean(dim=0), scales.mean(dim=0))

    @cached_property
    def mesh_bands(self) -> LinearBands:
        """Bands on the mesh."""
        return LinearBands.solve(self.problem, self.shifts_ev, self.scales)

    @cached_property
    def filling(self) -> Filling:
        """Zero of energy, gap and metallicity from the bands on the mesh."""
        problem = self.problem
        return fill(self.mesh_bands.energies, problem.state_weights, problem.n_electrons, problem.n_spins)

    def band_structure(self, points_per_segment: int = POINTS_PER_SEGMENT) -> BandStructureSymmLine:
        """Bands along the standard path with orbital projections; `efermi` is E_F or the middle of the gap.

        Energies are in eV on the scale of the tables.
        """
        kpoints, labels = _path_points(self.path, points_per_segment)
        spins = (Spin.up, Spin.down)[: self.problem.n_spins]
        solved = dict(zip(spins, self._solve_at(kpoints), strict=True))
        return BandStructureSymmLine(
            kpoints.tolist(),
            {spin: energies.T for spin, (energies, _) in solved.items()},
            self.structure.lattice.reciprocal_lattice,
            float(self.filling.zero_ev) + self._middle_ev,
            labels,
            structure=self.structure,
            projections={spin: shares for spin, (_, shares) in solved.items()},
        )

    def dos(self, grid: SpectralGrid = EDOS_GRID) -> CompleteDos:
        """Density of states of these bands on sites and shells, to be plotted beside them: `efermi` is the same energy."""
        by_site = shell_densities(self.problem, self.mesh_bands, self.filling.zero_ev, grid)
        found = electronic_dos(grid, by_site.sum(axis=(0, 1)), self.structure, by_site)
        found.efermi = self._middle_ev
        return cast("CompleteDos", found)

    def projected_dos(self, grid: SpectralGrid = EDOS_GRID) -> pd.DataFrame:
        """Density of states by element and shell, states/eV per primitive cell; one column each, one row per bin."""
        densities = shell_densities(self.problem, self.mesh_bands, self.filling.zero_ev, grid)
        columns = sum_by_element(densities, self.problem.cell.atomic_numbers)
        return pd.DataFrame(columns, index=pd.Index(grid.centers, name="energy_ev"))

    @property
    def _middle_ev(self) -> float:
        """E_F or the middle of the gap, from the zero of energy."""
        return 0.0 if self.filling.is_metal else self.filling.gap_ev / 2

    def transport(self) -> BandTransport:
        """Effective masses and the Seebeck coefficient, from bands on a finer mesh."""
        return BandTransport.of(self.problem, self.shifts_ev, self.scales)

    def _solve_at(self, kpoints: NDArray[np.float64]) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Energies (n_kpoints, n_bands) and projections in pymatgen's form (n_bands, n_kpoints, 9, n_atoms), per spin."""
        crystal = TightBindingCrystal.of(self.problem.cell)
        overlap, hopping = (torch.from_numpy(matrix) for matrix in crystal.matrices(kpoints))
        weights = torch.full((len(kpoints),), 1 / len(kpoints), dtype=torch.float64)
        at_points = replace(
            self.problem, overlap=overlap, hopping=hopping, orthogonaliser=orthogonalise(overlap), weights=weights
        )
        scales = self.scales.double()
        return [
            _projected_bands(
                solve(at_points.hamiltonian(shifts, scales), at_points.orthogonaliser), overlap, crystal.basis
            )
            for shifts in self.shifts_ev.double()
        ]


def _projected_bands(bands: Bands, overlap: Tensor, basis: Basis) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    n = basis.size
    shares = populations(overlap, bands.coefficients, torch.eye(n, dtype=torch.float64)).numpy()
    projections = np.zeros((n, len(overlap), N_ORBITALS, basis.n_atoms))
    for orbital in range(n):
        atom = int(basis.atom[orbital])
        name = ORBITAL_NAMES[orbital - int(basis.first_orbital[atom])]
        projections[:, :, Orbital[name].value, atom] = shares[:, :, orbital].T
    return bands.energies.numpy(), projections


def _path_points(path: HighSymmKpath, points: int) -> tuple[NDArray[np.float64], dict[str, Any]]:
    """Points of the path branch by branch, ends of branches included, and the labelled ones."""
    known = path.kpath["kpoints"]
    kpoints: list[NDArray[np.float64]] = []
    labels: dict[str, Any] = {}
    for branch in path.kpath["path"]:
        for start, end in pairwise(branch):
            kpoints.append(np.linspace(known[start], known[end], points))
            labels |= {start: known[start], end: known[end]}
    return np.concatenate(kpoints), labels
