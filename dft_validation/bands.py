"""Band energies on a k-mesh, as any engine hands them over, and what follows from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dft_validation.tetrahedra import bin_average_dos, fermi_energy
from mat2spec.spectra.grids import EDOS_GRID, SpectralGrid

# Electrons of a neutral cell are whole numbers up to rounding.
_INTEGER_TOLERANCE = 1e-6


@dataclass(frozen=True)
class MeshBands:
    """Band energies on the irreducible points of a uniform k-mesh.

    Parameters
    ----------
    energies_ev
        Band energies in eV, zero of the engine, shape (n_spins, n_irreducible, n_bands).
    irreducible_of_kpoint
        For each point of the full mesh (C order) its irreducible point, shape (n1 * n2 * n3,).
    mesh
        Points per direction of the full mesh.
    lattice
        Lattice vectors as rows, in Angstrom, shape (3, 3).
    efermi
        Fermi energy in eV, same zero.
    n_electrons
        Valence electrons of the cell.
    """

    energies_ev: NDArray[np.float64]
    irreducible_of_kpoint: NDArray[np.int64]
    mesh: tuple[int, int, int]
    lattice: NDArray[np.float64]
    efermi: float
    n_electrons: float

    def __post_init__(self) -> None:
        if self.energies_ev.ndim != 3:
            raise ValueError(
                f"Band energies have shape {self.energies_ev.shape}; it must be (n_spins, n_irreducible, n_bands)."
            )
        if not np.isfinite(self.energies_ev).all() or not np.isfinite(self.efermi):
            raise ValueError("Some band energies or the Fermi energy are not finite numbers.")
        if len(self.irreducible_of_kpoint) != np.prod(self.mesh):
            raise ValueError(
                f"The k-mesh {self.mesh} has {np.prod(self.mesh)} points, but {len(self.irreducible_of_kpoint)} are mapped."
            )
        points = self.irreducible_of_kpoint
        if points.min() < 0 or points.max() >= self.energies_ev.shape[1]:
            raise ValueError("The k-mesh points at irreducible points that have no energies.")

    @property
    def n_bands(self) -> int:
        """Number of bands."""
        return self.energies_ev.shape[2]

    def full_mesh(self, spin: int) -> NDArray[np.float64]:
        """Energies of one spin channel on the full mesh, shape (n1, n2, n3, n_bands), in eV."""
        return self.energies_ev[spin][self.irreducible_of_kpoint].reshape(*self.mesh, self.n_bands)

    def without_last(self, n_dropped: int) -> MeshBands:
        """The same without the uppermost bands, which an iterative solver converges last."""
        kept = max(1, self.n_bands - n_dropped)
        return MeshBands(
            self.energies_ev[:, :, :kept],
            self.irreducible_of_kpoint,
            self.mesh,
            self.lattice,
            self.efermi,
            self.n_electrons,
        )


@dataclass(frozen=True)
class BandEdges:
    """Where the bands end and begin around the Fermi energy, in eV.

    Parameters
    ----------
    vbm, cbm
        Valence-band maximum and conduction-band minimum, zero of the engine; None for a metal.
    band_gap
        Difference of the two, 0 for a metal.
    """

    vbm: float | None
    cbm: float | None
    band_gap: float

    @property
    def is_metal(self) -> bool:
        """Whether there is no gap."""
        return self.vbm is None


def find_band_edges(bands: MeshBands, gap_tolerance_ev: float) -> BandEdges:
    """Band gap on the mesh points: a gap exists where every band lies wholly on one side of the Fermi energy.

    Parameters
    ----------
    bands
        Bands with their Fermi energy.
    gap_tolerance_ev
        Gaps up to this count as none, in eV: they are within the error of the mesh.
    """
    edges = _edges_by_filling(bands) if len(bands.energies_ev) == 1 else _edges_at_efermi(bands)
    if edges is None or edges[1] - edges[0] <= gap_tolerance_ev:
        return BandEdges(None, None, 0.0)
    return BandEdges(edges[0], edges[1], edges[1] - edges[0])


def _edges_by_filling(bands: MeshBands) -> tuple[float, float] | None:
    """VBM and CBM of doubly occupied bands: the electrons say how many, wherever smearing puts the Fermi energy."""
    n_filled = round(bands.n_electrons / 2)
    if abs(bands.n_electrons - 2 * n_filled) > _INTEGER_TOLERANCE or not 0 < n_filled < bands.n_bands:
        return None
    energies = bands.energies_ev[0]
    return float(energies[:, :n_filled].max()), float(energies[:, n_filled:].min())


def _edges_at_efermi(bands: MeshBands) -> tuple[float, float] | None:
    """VBM and CBM of two spin channels, which may hold different numbers of electrons: no band may cross E_F."""
    below = bands.energies_ev <= bands.efermi
    if (below.any(axis=1) != below.all(axis=1)).any() or below.all() or not below.any():
        return None
    return float(bands.energies_ev[below].max()), float(bands.energies_ev[~below].min())


def tetrahedron_efermi(bands: MeshBands, interpolation: int) -> float:
    """Fermi energy of a metal at which the interpolated bands hold its electrons, zero of the engine, in eV.

    Raises
    ------
    ValueError
        If they hold them nowhere near the engine's Fermi energy.
    """
    n_spins = bands.energies_ev.shape[0]
    channels = [bands.full_mesh(spin) for spin in range(n_spins)]
    n_states = bands.n_electrons * n_spins / 2
    return fermi_energy(channels, bands.lattice, n_states, bands.efermi, interpolation)


def covered_to_ev(bands: MeshBands, zero_ev: float) -> float:
    """Energy above `zero_ev` up to which no band is missing: the lowest energy of the last band, in eV."""
    return float(bands.energies_ev[:, :, -1].min() - zero_ev)


def edos_of_spins(
    bands: MeshBands, zero_ev: float, interpolation: int, grid: SpectralGrid = EDOS_GRID
) -> NDArray[np.float64]:
    """Bin-averaged density of states of each spin channel, states/eV per cell, shape (n_spins, grid.size).

    Parameters
    ----------
    bands
        Band energies of one or two spin channels; a single channel holds the electrons of both spins.
    zero_ev
        Energy that becomes the zero of the grid, in eV.
    interpolation
        Factor per direction by which the bands are refined.
    grid
        Bins, in eV.
    """
    n_spins = bands.energies_ev.shape[0]
    channels = [
        bin_average_dos(bands.full_mesh(spin) - zero_ev, bands.lattice, grid.edges, interpolation)
        for spin in range(n_spins)
    ]
    return np.array(channels) * (2.0 / n_spins)


def edos_of_bands(
    bands: MeshBands, zero_ev: float, interpolation: int, grid: SpectralGrid = EDOS_GRID
) -> NDArray[np.float64]:
    """Sum over the spin channels of `edos_of_spins`, shape (grid.size,)."""
    return np.sum(edos_of_spins(bands, zero_ev, interpolation, grid), axis=0)
